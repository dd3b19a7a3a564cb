package hubs

import (
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// Stateful reconnect (HubProtocol.md, version 2): messages are numbered from 1
// in either direction and kept until the other side has acknowledged them. A
// connection whose WebSocket is lost stays, and goes on where it was when its
// client comes back on another one.

// ErrNotResumable refuses a socket for a connection that isn't there, is ending,
// or hasn't agreed on stateful reconnect.
var ErrNotResumable = errors.New("the connection can't be resumed")

// unnumbered is queued.units of what has no number: handshake, Close, Ping, Ack
// and Sequence.
const unnumbered = -1

// statefulVersion is the version of the hub protocols that has Ack and Sequence.
const statefulVersion = 2

// acknowledgeEvery is how often, at most, the client is told what has come in.
const acknowledgeEvery = time.Second

// resumption is what a connection with stateful reconnect has beyond others. It
// is guarded by outbound.mu but for what is said to belong to the reader.
type resumption struct {
	on      bool // the handshake agreed on it
	away    bool // the socket is lost and no other is there yet
	since   int64
	cause   error
	arrived chan struct{} // holds one: another socket was attached

	// sent are the messages from number first on that a socket was given. Those
	// up to acked are acknowledged and in it no more than to be sent again.
	sent    []queued
	first   int64
	acked   int64
	unacked int   // bytes of sent after acked
	kept    int   // bytes of sent
	earlier int64 // highest number that went to a socket before this one
	replay  bool  // the socket has had nothing yet
	ping    bool  // a ping is due
	ack     bool  // an Ack is due
	ackAt   int64 // clock() when the last Ack was due; 0 = never
	told    int64 // highest number that the client was sent an Ack for

	batch   []queued // the writer's
	writing int64    // the writer's: number of the next message of batch to be written
	metered int64    // the writer's: highest number that was metered

	received atomic.Int64 // highest number that came in; only the reader sets it
	next     int64        // the reader's: number of the next message on this socket
	strange  bool         // the reader's: the socket's Sequence isn't there yet
}

func newResumption() *resumption {
	return &resumption{arrived: make(chan struct{}, 1), first: 1, next: 1}
}

// last is the highest number that a socket was given.
func (r *resumption) last() int64 { return r.first + int64(len(r.sent)) - 1 }

// Resumable reports whether Resume may be called for the connection.
func (s *Server) Resumable(id string) bool {
	c := s.store.find(id)
	if c == nil || c.resume == nil {
		return false
	}
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.resumable()
}

// resumable reports whether the connection outlives its socket: not before the
// handshake's answer is on its way. c.out.mu is held.
func (c *Connection) resumable() bool {
	r, o := c.resume, &c.out
	return r != nil && r.on && (r.away || !o.held) && !o.ending && !o.dead
}

// Resume gives a connection another socket in place of the one that it has lost
// or still has. The caller has made sure that it is the same client's. The
// connection closes t in the end, unless Resume fails with ErrNotResumable.
func (s *Server) Resume(id string, t Transport) error {
	c := s.store.find(id)
	if c == nil {
		return ErrNotResumable
	}
	t.SetFormat(c.proto.TransferFormat())
	r, o := c.resume, &c.out
	o.mu.Lock()
	if !c.resumable() {
		o.mu.Unlock()
		return ErrNotResumable
	}
	// The reader and the writer turn to the new socket once and never back.
	old := c.transport
	c.transport = t
	r.away, r.cause, o.held = false, nil, false
	r.replay, r.earlier, r.ping, r.told = true, r.last(), false, 0
	// The last Ack may be lost with the socket. It isn't repeated at once: stock
	// clients mislay what they send while an Ack interrupts their replay.
	r.ack, r.ackAt = false, clock()
	c.lastRead.Store(clock())
	c.lastWrite.Store(clock())
	schedule := o.begin()
	o.mu.Unlock()
	old.Abort()
	select {
	case r.arrived <- struct{}{}:
	default:
	}
	if schedule {
		writers.schedule(c)
	}
	s.log.Debug("resumed", "hub", s.name, "connection", id)
	return nil
}

// lost notes that the socket t failed and reports whether the connection goes on
// without it.
func (c *Connection) lost(t Transport, cause error) bool {
	r, o := c.resume, &c.out
	if r == nil {
		return false
	}
	o.mu.Lock()
	stays := c.resumable()
	if stays && c.transport == t && !r.away {
		r.away, r.since, r.cause = true, clock(), cause
		o.held = true
	}
	o.mu.Unlock()
	if stays {
		t.Abort()
	}
	return stays
}

// isAway reports whether the client has no socket now. c.out.mu is held.
func (c *Connection) isAway() bool { return c.resume != nil && c.resume.away }

// socket is the transport in use.
func (c *Connection) socket() Transport {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.transport
}

// checkAway ends a connection whose client stays away for too long. When the
// client is away it reports true and when to look again.
func (c *Connection) checkAway(now int64, window time.Duration) (next time.Duration, away bool) {
	r, o := c.resume, &c.out
	o.mu.Lock()
	if !r.away || o.dead {
		o.mu.Unlock()
		return 0, false
	}
	if left := window - time.Duration(now-r.since); left > 0 {
		o.mu.Unlock()
		return left, true
	}
	cause := r.cause
	t := c.die(cause)
	o.mu.Unlock()
	c.cancel(cause)
	t.Abort()
	return maxCheck, true
}

// checkAck has an Ack sent when something new has come in, and returns when to look
// again: a client whose buffer is full waits for it.
func (c *Connection) checkAck(now int64) time.Duration {
	r, o := c.resume, &c.out
	next := acknowledgeEvery
	o.mu.Lock()
	if left := acknowledgeEvery - time.Duration(now-r.ackAt); r.ackAt != 0 && left > 0 {
		next = left
	}
	schedule := false
	if c.resumable() && r.received.Load() > r.told && (r.ackAt == 0 || now-r.ackAt >= int64(acknowledgeEvery)) {
		r.ack, r.ackAt = true, now
		schedule = o.begin()
	}
	o.mu.Unlock()
	if schedule {
		writers.schedule(c)
	}
	return next
}

// pingAhead has a ping sent even while messages wait for an Ack. It reports
// false when the connection isn't one with stateful reconnect.
func (c *Connection) pingAhead() bool {
	r, o := c.resume, &c.out
	if r == nil {
		return false
	}
	o.mu.Lock()
	on := r.on
	schedule := false
	if on && !o.ending && !o.dead && !o.held {
		r.ping = true
		schedule = o.begin()
	}
	o.mu.Unlock()
	if schedule {
		writers.schedule(c)
	}
	return on
}

// begin reports whether the caller must schedule the connection for a write that
// isn't in the queue. o.mu is held.
func (o *outbound) begin() bool {
	if o.writing || o.held || o.dead {
		return false
	}
	o.writing = true
	return true
}

// reattach waits for the socket that takes the place of the one that failed
// with err. It reports false when the connection has come to its end.
func (in *inbound) reattach(err error) bool {
	var broken *Violation
	if errors.Is(err, io.EOF) || errors.As(err, &broken) || !in.c.lost(in.transport, err) {
		return false
	}
	var ping <-chan time.Time
	if in.c.proxied != nil && in.c.pinged.Load() {
		ticker := time.NewTicker(pingForAway)
		defer ticker.Stop()
		ping = ticker.C
	}
	for {
		if t := in.c.socket(); t != in.transport {
			in.readFrom(t)
			in.release() // half a message is of no use any more
			in.c.resume.strange = true
			return true
		}
		select {
		case <-in.c.resume.arrived:
		case <-ping:
			if in.c.proxied.pingForClient() != nil {
				return false
			}
		case <-in.c.ctx.Done():
			return false
		}
	}
}
