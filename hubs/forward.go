package hubs

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// maxForwarded bounds one message of a hub server to its client, framing
// excluded, in bytes.
const maxForwarded = 16 << 20

// Forward takes bytes for the client from its hub server, see Proxy: any piece
// of its hub protocol, in order. Whole messages are queued behind the entry at
// after as SendAfter does, and metered as deliveries; what is left waits for the
// next piece. The first record is the answer to the handshake, a Close message
// ends the connection. It keeps nothing of data and doesn't block. When it
// returns, all has its place before whatever is published to the hub from then on.
//
// What waits for the client is its backlog, which Options.OutboundMessages and
// OutboundBytes don't bound: the caller has the hub server stop when it grows, see
// Backlog and AwaitBacklog. Beyond MaxBacklog, or 64 MiB for all clients of the
// Server together, the client is closed as a slow consumer.
//
// For a connection that has no Proxy or has ended it does nothing.
func (c *Connection) Forward(after Position, data []byte) {
	if c.proxied == nil || len(data) == 0 {
		return
	}
	b := &c.proxied.back
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken {
		return
	}
	err := c.cut(b, after, data)
	if err == nil {
		err = c.countRest(b)
	}
	if err != nil {
		b.broken, b.rest = true, nil
		if c.isEnding() {
			return
		}
		c.server.meter.Refused(RefusedProtocol)
		c.server.log.Warn("a hub server sent what is no hub message", "hub", c.server.name, "connection", c.ID(), "error", err)
		c.end(err, textClosedWithError, false)
	}
}

// Discard forgets the beginning of a message that the hub server will not end.
func (c *Connection) Discard() {
	if c.proxied != nil {
		c.proxied.back.mu.Lock()
		defer c.proxied.back.mu.Unlock()
		c.proxied.back.rest = nil
		_ = c.countRest(&c.proxied.back) // which is less than before
	}
}

// Answered reports whether the hub server has answered the client's handshake.
func (c *Connection) Answered() bool {
	if c.proxied == nil {
		return c.open.Load()
	}
	c.proxied.back.mu.Lock()
	defer c.proxied.back.mu.Unlock()
	return c.proxied.back.open
}

// CloseAfter ends the connection behind everything up to the entry at p; see
// Close and SendAfter.
func (c *Connection) CloseAfter(p Position, reason string, allowReconnect bool) {
	if c.isUnanswered() {
		c.Close(reason, allowReconnect)
		return
	}
	c.doAfter(waitingFrame{after: p, item: queued{frame: c.closeFrame(reason, allowReconnect)}, last: true})
}

// cut queues the whole messages of one piece. b.mu is held.
func (c *Connection) cut(b *back, after Position, data []byte) error {
	var own []byte // frames stay in it: it is not written to again
	if len(b.rest) > 0 {
		own = append(b.rest, data...)
		// Looking for the end of a message once more with each of its pieces would
		// cost the square of its length.
		if b.open && c.proto.Encoding() == protocol.JSON && bytes.IndexByte(data, recordSeparator) < 0 && len(own) <= maxForwarded {
			b.rest = own
			return nil
		}
	} else {
		own = bytes.Clone(data)
	}
	left := own
	for len(left) > 0 {
		n, err := c.forwardFirst(b, after, left)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		left = left[n:]
	}
	switch {
	case len(left) == 0:
		b.rest = nil
	case len(left) == len(own):
		b.rest = own
	default:
		b.rest = bytes.Clone(left)
	}
	return nil
}

// recordSeparator ends every JSON message.
const recordSeparator = 0x1e

// forwarded are messages to parse into.
var forwarded = sync.Pool{New: func() any { return new(protocol.Message) }}

// forwardFirst queues the first message of data and returns its length, or 0
// when it isn't complete.
func (c *Connection) forwardFirst(b *back, after Position, data []byte) (int, error) {
	if !b.open {
		return c.forwardAnswer(b, data)
	}
	if protocol.Oversized(c.proto, data, maxForwarded) {
		return 0, fmt.Errorf("a message is larger than %d bytes", maxForwarded)
	}
	m := forwarded.Get().(*protocol.Message)
	defer forwarded.Put(m)
	n, err := c.proto.Parse(data, m)
	if err != nil || n == 0 {
		return 0, err
	}
	next := waitingFrame{after: after, item: queued{frame: data[:n:n], passed: true}}
	switch m.Type {
	case protocol.Completion:
		defer c.proxied.unanswered.completed(m.InvocationID) // behind it in the queue comes the Close message
		next.item.units = Units(n)
	case protocol.Invocation, protocol.StreamItem:
		next.item.units = Units(n)
	case protocol.StreamInvocation, protocol.CancelInvocation:
		// Numbered, but nothing that is delivered.
	case protocol.Ping:
		c.ping()
		return n, nil
	case protocol.Ack, protocol.Sequence:
		return n, nil // it counts other messages than the client does
	case protocol.Close:
		next.last = true
		b.broken = true
	default:
		next.item.units = unnumbered
	}
	if !c.addBacklog(n) {
		return 0, ErrSlowConsumer
	}
	c.doAfter(next)
	return n, nil
}

// forwardAnswer lets the answer to the handshake go before all that has been held
// back for it.
func (c *Connection) forwardAnswer(b *back, data []byte) (int, error) {
	text, n, err := protocol.ParseHandshakeResponse(data)
	if err != nil || n == 0 {
		return 0, err
	}
	b.open = true
	defer close(b.answered)
	answer := queued{frame: data[:n:n], units: unnumbered}
	o := &c.out
	o.mu.Lock()
	schedule := false
	switch {
	case o.ending || o.dead:
	case text != "":
		b.broken = true
		o.drop()
		schedule = o.last(answer, fmt.Errorf("%w: %s", ErrHandshake, text), EndNormal)
	default:
		o.unanswered = false
		o.queue = slices.Insert(o.queue, 0, answer)
		o.messages++
		o.bytes += n
	}
	o.mu.Unlock()
	if schedule {
		writers.schedule(c)
	}
	return n, nil
}

// isUnanswered reports whether a hub server's answer to the handshake is awaited.
func (c *Connection) isUnanswered() bool {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.unanswered
}

// goodbye is the last that a client is told: a Close message, or an error in
// answer to its handshake when that is still due, before which nothing may come.
// c.out.mu is held.
func (c *Connection) goodbye(reason string, allowReconnect bool) queued {
	if !c.out.unanswered {
		return queued{frame: c.closeFrame(reason, allowReconnect)}
	}
	c.out.drop()
	if reason == "" {
		reason = protocol.HandshakeErrorText(errClosedEarly, false)
	}
	return queued{frame: protocol.AppendHandshakeResponse(nil, reason)}
}

// errClosedEarly: the connection was closed before its handshake was answered.
var errClosedEarly = errors.New("closed during the handshake")
