package serverconn

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// What may wait for one server connection, in bytes.
const (
	// outboxRoom is from where on data of clients waits for room.
	outboxRoom = 1 << 20
	// outboxMost is what the rest (openings, closes, acks, pings) may take on top
	// before the app server counts as stalled.
	outboxMost = 16 << 20
	// writeSize is the most that is written at once: each piece must be taken in
	// within Timing.Stalled.
	writeSize = 32 << 10
	// keptOutbox is how large a buffer may be that is kept for reuse.
	keptOutbox = 64 << 10
)

var (
	// errClosed: the server connection has ended.
	errClosed = errors.New("the server connection has ended")
	// errStalled: the app server doesn't take in what it is sent.
	errStalled = errors.New("the app server doesn't read")
)

// outbox is what waits for a server connection, encoded, and its one writer.
type outbox struct {
	mu      sync.Mutex
	waiting []byte
	writing int   // bytes that the writer has taken
	ended   error // why nothing more is taken in
	flush   bool  // end once what waits is written
	room    chan struct{}
	wake    chan struct{} // holds one
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

// put queues messages that belong to one client; it waits for room until ctx or
// done ends. All of the messages are queued or none.
func (o *outbox) put(ctx context.Context, done <-chan struct{}, m ...serviceprotocol.Message) error {
	for {
		o.mu.Lock()
		if o.ended != nil {
			o.mu.Unlock()
			return errClosed
		}
		if len(o.waiting) < outboxRoom {
			o.append(m)
			o.mu.Unlock()
			return nil
		}
		if o.room == nil {
			o.room = make(chan struct{})
		}
		room := o.room
		o.mu.Unlock()
		select {
		case <-room:
		case <-done:
			return errClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// force queues messages without waiting. It reports false when the connection has
// ended, which it does when far too much waits.
func (o *outbox) force(m ...serviceprotocol.Message) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended != nil {
		return false
	}
	if len(o.waiting) > outboxRoom+outboxMost {
		o.end(errStalled)
		return false
	}
	o.append(m)
	return true
}

// full reports whether data waits for room, or would soon.
func (o *outbox) full() bool { return o.size() >= outboxRoom }

// size is how many bytes are not yet written.
func (o *outbox) size() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return int64(len(o.waiting) + o.writing)
}

// append encodes messages. o.mu is held.
func (o *outbox) append(list []serviceprotocol.Message) {
	for _, m := range list {
		o.waiting = serviceprotocol.Append(o.waiting, m)
	}
	o.signal()
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// finish takes in nothing more and ends the writer when all is written.
func (o *outbox) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended == nil {
		o.flush = true
		o.stop(errClosed)
	}
}

// abandon drops what waits and ends the writer.
func (o *outbox) abandon() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end(errClosed)
}

// end is abandon for a reason. o.mu is held.
func (o *outbox) end(cause error) {
	o.waiting, o.flush = nil, false
	if o.ended == nil {
		o.stop(cause)
	} else {
		o.signal()
	}
}

func (o *outbox) stop(cause error) {
	o.ended = cause
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
	o.signal()
}

// take returns what waits, in place of a buffer that is empty; more is false when
// the writer is to end after it.
func (o *outbox) take(empty []byte) (data []byte, more bool, cause error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	data, o.waiting = o.waiting, empty[:0]
	o.writing = len(data)
	if o.room != nil && len(data) >= outboxRoom {
		close(o.room)
		o.room = nil
	}
	return data, o.ended == nil || o.flush && len(data) > 0, o.ended
}

// write writes to conn what is queued, and ping every so often, until the outbox
// ends. The error is why: errClosed, errStalled, or of the socket.
func (o *outbox) write(conn net.Conn, t Timing, ping func() []serviceprotocol.Message) error {
	tick := time.NewTicker(t.Ping)
	defer tick.Stop()
	var spare []byte
	for {
		data, more, cause := o.take(spare)
		for rest := data; len(rest) > 0; {
			n, began := min(len(rest), writeSize), time.Now()
			if err := conn.SetWriteDeadline(time.Now().Add(t.Stalled)); err != nil {
				o.abandon()
				return err
			}
			if _, err := conn.Write(rest[:n]); err != nil {
				o.abandon()
				if time.Since(began) >= t.Stalled {
					err = errStalled
				}
				return err
			}
			rest = rest[n:]
		}
		if !more {
			return cause
		}
		if spare = data[:0]; cap(spare) > keptOutbox {
			spare = nil
		}
		if len(data) > 0 {
			select {
			case <-tick.C: // due, however much there is to write
				o.force(ping()...)
			default:
			}
			continue
		}
		select {
		case <-o.wake:
		case <-tick.C:
			o.force(ping()...)
		}
	}
}
