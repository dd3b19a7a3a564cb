package pairing

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// moveWithin bounds the migration of a client, of which the service promises that
// it takes no more than 2 s.
const moveWithin = 1800 * time.Millisecond

// runningWithin is how long a client that is about to move waits for the answers to
// what it has called.
const runningWithin = 500 * time.Millisecond

// client is one client at its edge, with the sessions that it has one after the
// other.
type client struct {
	proxy *Proxy
	conn  *hubs.Connection
	told  Client // what the first app server was told

	// sending is held while a message is passed on, and while the client moves.
	sending chan struct{}

	mu      sync.Mutex
	session Session // nil until the first is open
	turn    int     // of the session that counts, see downstream
	move    bool    // its app server has asked to move the client
	moving  bool    // which is under way
	done    bool    // the app server knows of the end, or can't be told
	closed  bool    // nothing more comes from the client
	reason  string  // why, for its app server
}

var _ hubs.ProxySession = (*client)(nil)

// begin puts the first session in its place.
func (c *client) begin(s Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = s
	c.startMove()
}

// Message implements hubs.ProxySession. When the app server can't be told any more,
// the client is being closed, or that is seen to here.
func (c *client) Message(ctx context.Context, m *protocol.Message, raw []byte) error {
	select {
	case c.sending <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-c.sending }()
	c.mu.Lock()
	s, done := c.session, c.done
	c.mu.Unlock()
	if done {
		return nil
	}
	c.conn.Asked(m)
	err := s.Send(ctx, raw, dataType(m.Type))
	if err != nil && ctx.Err() == nil {
		c.lose()
		return nil
	}
	return err
}

// dataType says what a message is in the terms of the service protocol.
func dataType(t protocol.Type) DataType {
	switch t {
	case protocol.Invocation, protocol.StreamInvocation:
		return DataInvocation
	case protocol.StreamItem, protocol.Completion, protocol.CancelInvocation, protocol.Ping:
		return DataOther
	case protocol.Close:
		return DataClose
	}
	return DataUnknown
}

// Close implements hubs.ProxySession.
func (c *client) Close(cause error) {
	c.mu.Lock()
	c.closed, c.reason = true, endReason(cause)
	reason, s := c.reason, c.session
	if c.done || c.moving { // a move under way ends what it has
		s = nil
	}
	c.mu.Unlock()
	if s != nil {
		s.End(reason, "")
	}
}

// endReason is why the client is gone, for its app server.
func endReason(cause error) string {
	switch {
	case cause == nil:
		return ""
	case errors.Is(cause, hubs.ErrHandshake), errors.Is(cause, hubs.ErrSlowConsumer), errors.Is(cause, hubs.ErrClientTimeout), errors.Is(cause, hubs.ErrClosedByServer), errors.Is(cause, hubs.ErrServerClosed):
		return cause.Error()
	}
	return "the connection to the client is lost" // the cause may name addresses
}

// lose closes the client since it has no app server any more.
func (c *client) lose() {
	c.mu.Lock()
	lost := !c.done && !c.closed
	c.done = true
	c.mu.Unlock()
	if lost {
		c.proxy.Refused(CodeServerLost)
		c.conn.Close(textServerLost, true)
	}
}

// next makes the way back of the client's next session, and shuts that of the one
// before, whose wish to move the client is fulfilled with it. It reports false when
// the client has come to its end.
func (c *client) next() (*downstream, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done || c.closed {
		return nil, false
	}
	c.turn++
	c.move = false
	return &downstream{c: c, turn: c.turn}, true
}

// downstream is the way back of one session.
type downstream struct {
	c    *client
	turn int
	held bool // the app server is asked to stop for a while; guarded by client.mu
}

var _ Downstream = (*downstream)(nil)

// counts reports whether the session is still the client's.
func (d *downstream) counts() bool {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	return d.c.turn == d.turn && !d.c.done
}

// Deliver implements Downstream.
func (d *downstream) Deliver(after hubs.Position, payload []byte, settled *sync.WaitGroup) {
	settled.Add(1)
	defer settled.Done()
	if d.counts() {
		d.c.conn.Forward(after, payload)
		d.hold()
	}
}

// Close implements Downstream.
func (d *downstream) Close(after hubs.Position, reason string) {
	if !d.counts() {
		return
	}
	d.c.mu.Lock()
	d.c.done = true
	d.c.mu.Unlock()
	d.c.conn.CloseAfter(after, reason, false)
}

// Lost implements Downstream. A client that is being moved may have been let go of
// already: whether it has, the pause says.
func (d *downstream) Lost(cause error) {
	d.c.mu.Lock()
	counts := d.c.turn == d.turn && !d.c.done && !d.c.moving
	d.c.mu.Unlock()
	if counts {
		d.c.proxy.Logger.Debug("app server lost", "hub", d.c.proxy.Hub.Name, "connection", d.c.conn.ID(), "error", cause)
		d.c.lose()
	}
}

// Migrate implements Downstream.
func (d *downstream) Migrate() {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	if d.c.turn == d.turn {
		d.c.move = true
		d.c.startMove()
	}
}
