package serverlink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/signalbox/signalbox/tenants"
)

// Timing is how soon links react. Zero values mean the defaults.
type Timing struct {
	// PingEvery is how often each side asks for a sign of life; 500 ms.
	PingEvery time.Duration
	// DeadAfter without an answer a link is cut; 1.5 s, so that the clients of an
	// edge that hangs are told within 2 s.
	DeadAfter time.Duration
	// IdleAfter without a pairing a link is closed; 1 min.
	IdleAfter time.Duration
	// DialWithin bounds making a link; 700 ms.
	DialWithin time.Duration
	// OpenWithin bounds the whole of Fleet.Open; 1.5 s.
	OpenWithin time.Duration
}

func (t Timing) withDefaults() Timing {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&t.PingEvery, 500 * time.Millisecond},
		{&t.DeadAfter, 1500 * time.Millisecond},
		{&t.IdleAfter, time.Minute},
		{&t.DialWithin, 700 * time.Millisecond},
		{&t.OpenWithin, 1500 * time.Millisecond},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	return t
}

const (
	// chunkSize is how much of a tenant's queue goes out per turn: any piece of a
	// message with its head fits.
	chunkSize = maxPayload + 1<<10
	// batchSize is about how much one write takes.
	batchSize = 64 << 10
	// laneSize is how much may be queued for a tenant on one link.
	laneSize = 4 << 20

	lastWords = 500 * time.Millisecond
)

// errIdle ends a link that nobody uses; it is no failure.
var errIdle = errors.New("the link was idle")

// peer is what a link does for one side. Its methods are called by the reader
// of the link, or once that has ended, and must not block.
type peer interface {
	// take handles a frame. An error cuts the link.
	take(f frame) error
	// down is called once, when the link is gone.
	down(cause error)
}

// link is one connection between two edges.
type link struct {
	conn   net.Conn
	run    string // of the other edge
	timing Timing
	log    *slog.Logger
	work   sync.WaitGroup // goroutines of the link and its pairings

	wake chan struct{} // holds one: something is queued
	dead chan struct{} // closed with the link

	mu       sync.Mutex
	cause    error // why the link is dead; nil while it lives
	last     error // why it ends once all that is queued is written
	lanes    map[tenants.ID]*lane
	turns    []*lane // lanes with something queued, in turn
	urgent   []byte  // pings and pongs
	pinged   uint64
	answered time.Time // of the last pong
}

// lane is what is queued for one tenant.
type lane struct {
	tenant tenants.ID
	chunks [][]byte // of whole frames
	bytes  int
	turn   bool          // in link.turns
	room   chan struct{} // closed when there is room again; nil when nobody waits
	users  int           // pairings
}

// chunks are reused: a burst would otherwise leave them all to the collector.
var chunks = sync.Pool{New: func() any { b := make([]byte, 0, chunkSize); return &b }}

func newLink(conn net.Conn, run string, t Timing, log *slog.Logger) *link {
	return &link{
		conn: conn, run: run, timing: t, log: log,
		wake: make(chan struct{}, 1), dead: make(chan struct{}),
		lanes: make(map[tenants.ID]*lane), answered: time.Now(),
	}
}

// serve runs the link until it is dead and all its goroutines have ended.
func (l *link) serve(p peer, in *frameReader) {
	l.work.Go(l.write)
	l.work.Go(l.watch)
	l.cut(l.read(p, in))
	p.down(l.err())
	l.work.Wait()
}

// cut ends the link at once. Only the first cause counts.
func (l *link) cut(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		return
	}
	if l.last != nil {
		cause = l.last
	}
	l.cause = cause
	close(l.dead)
	_ = l.bare().Close() // whatever it says, nobody uses it any more
	for _, ln := range l.lanes {
		ln.wakeWaiting()
	}
	l.lanes, l.turns, l.urgent = nil, nil, nil
}

// finish ends the link once what is queued is written, which may take as long as
// lastWords.
func (l *link) finish(cause error) {
	l.mu.Lock()
	l.last = cause
	l.mu.Unlock()
	l.rouse()
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-l.dead:
	case <-timer.C:
		l.cut(cause)
	}
}

// bare is the connection below TLS: closing that doesn't wait for a farewell to
// be written.
func (l *link) bare() net.Conn {
	if c, ok := l.conn.(*tls.Conn); ok {
		return c.NetConn()
	}
	return l.conn
}

// farewell tells the other side that nothing follows. That closes the link when
// it has read all; closing it here would destroy what it hasn't.
func (l *link) farewell() error {
	if c, ok := l.conn.(*tls.Conn); ok {
		return c.CloseWrite()
	}
	return l.conn.Close()
}

func (l *link) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// lane returns the queue of a tenant; leaveLane gives it back.
func (l *link) lane(t tenants.ID) *lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := l.lanes[t]
	if ln == nil {
		ln = &lane{tenant: t}
		if l.cause == nil {
			l.lanes[t] = ln
		}
	}
	ln.users++
	return ln
}

func (l *link) leaveLane(ln *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln.users--
	l.dropLane(ln)
}

// dropLane forgets a lane without pairings and frames. l.mu is held.
func (l *link) dropLane(ln *lane) {
	if ln.users == 0 && ln.bytes == 0 && l.lanes[ln.tenant] == ln {
		delete(l.lanes, ln.tenant)
	}
}

func (ln *lane) wakeWaiting() {
	if ln.room != nil {
		close(ln.room)
		ln.room = nil
	}
}

// await returns once the lane has room.
func (l *link) await(ctx context.Context, ln *lane) error {
	for {
		l.mu.Lock()
		if l.cause != nil {
			l.mu.Unlock()
			return l.cause
		}
		if ln.bytes < laneSize {
			l.mu.Unlock()
			return nil
		}
		if ln.room == nil {
			ln.room = make(chan struct{})
		}
		room := ln.room
		l.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// put queues a frame: its head and its payload. It doesn't block, nor keep
// either; what must wait for room calls await first. A dead link drops it.
func (l *link) put(ln *lane, head, payload []byte) {
	l.mu.Lock()
	if l.cause != nil {
		l.mu.Unlock()
		return
	}
	n := len(head) + len(payload)
	last := len(ln.chunks) - 1
	if last < 0 || len(ln.chunks[last])+n > chunkSize {
		ln.chunks = append(ln.chunks, *chunks.Get().(*[]byte))
		last++
	}
	ln.chunks[last] = append(append(ln.chunks[last], head...), payload...)
	ln.bytes += n
	if !ln.turn {
		ln.turn = true
		l.turns = append(l.turns, ln)
	}
	l.mu.Unlock()
	l.rouse()
}

func (l *link) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// write sends what is queued, many frames at a time.
func (l *link) write() {
	out := make([]byte, 0, batchSize+chunkSize)
	for {
		var last error
		if out, last = l.batch(out[:0]); len(out) == 0 {
			if last != nil {
				if l.farewell() != nil {
					l.cut(last)
				}
				return
			}
			select {
			case <-l.wake:
				continue
			case <-l.dead:
				return
			}
		}
		// A peer that takes nothing for so long doesn't live.
		err := l.conn.SetWriteDeadline(time.Now().Add(l.timing.DeadAfter))
		if err == nil {
			_, err = l.conn.Write(out)
		}
		if err != nil {
			l.cut(fmt.Errorf("write to edge: %w", err))
			return
		}
	}
}

// batch appends what goes out next: a chunk of each tenant in turn. When there is
// nothing, last says whether the link ends.
func (l *link) batch(out []byte) (_ []byte, last error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out = append(out, l.urgent...)
	l.urgent = l.urgent[:0]
	for len(l.turns) > 0 && len(out) < batchSize {
		ln := l.turns[0]
		chunk := ln.chunks[0]
		out = append(out, chunk...)
		ln.chunks[0] = nil
		ln.chunks = ln.chunks[1:]
		ln.bytes -= len(chunk)
		if cap(chunk) <= chunkSize {
			chunk = chunk[:0]
			chunks.Put(&chunk)
		}
		if ln.bytes < laneSize/2 {
			ln.wakeWaiting()
		}
		l.turns[0] = nil
		l.turns = l.turns[1:]
		if len(ln.chunks) > 0 {
			l.turns = append(l.turns, ln)
			continue
		}
		ln.turn, ln.chunks = false, nil
		l.dropLane(ln)
	}
	return out, l.last
}

// read handles frames until the link ends.
func (l *link) read(p peer, in *frameReader) error {
	last := time.Now()
	for {
		f, err := in.next()
		if err != nil {
			return fmt.Errorf("read from edge: %w", err)
		}
		// After a long sleep of this process the other side has given up, and what
		// is still to be read is of pairings that are over.
		now := time.Now()
		if now.Sub(last) > 2*l.timing.DeadAfter {
			return fmt.Errorf("this edge slept for %v", now.Sub(last).Round(time.Millisecond))
		}
		last = now
		switch f.kind {
		case kindPing:
			body := fields{rest: f.body}
			n := body.uvarint()
			if body.err != nil {
				return body.err
			}
			l.beat(appendNumber(nil, kindPong, n))
		case kindPong:
			l.mu.Lock()
			l.answered = now
			l.mu.Unlock()
		default:
			if err := p.take(f); err != nil {
				return err
			}
		}
	}
}

// beat queues a ping or a pong before all else.
func (l *link) beat(b []byte) {
	l.mu.Lock()
	// Pongs of a writer that is stuck aren't heaped up: it is about to be cut.
	if l.cause == nil && len(l.urgent) < 1<<10 {
		l.urgent = append(l.urgent, b...)
	}
	l.mu.Unlock()
	l.rouse()
}

// watch pings and cuts the link when no answer comes.
func (l *link) watch() {
	tick := time.NewTicker(l.timing.PingEvery / 2)
	defer tick.Stop()
	for odd := false; ; odd = !odd {
		select {
		case <-l.dead:
			return
		case <-tick.C:
		}
		silent := l.silence()
		l.mu.Lock()
		l.pinged++
		n := l.pinged
		l.mu.Unlock()
		if silent > l.timing.DeadAfter {
			l.cut(fmt.Errorf("edge %s has not answered for %v", l.run, silent.Round(time.Millisecond)))
			return
		}
		if !odd {
			l.beat(appendNumber(nil, kindPing, n))
		}
	}
}

// silence is how long the other side hasn't answered.
func (l *link) silence() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.answered)
}

// queued is how many bytes wait to be written.
func (l *link) queued() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ln := range l.lanes {
		n += ln.bytes
	}
	return n
}
