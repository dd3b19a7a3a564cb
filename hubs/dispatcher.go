package hubs

import (
	"context"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// Dispatcher receives everything that clients of a hub send after the
// handshake, except pings and Close messages. It is called by many connections
// at once, and for one connection in the order of the wire.
type Dispatcher interface {
	// Connected is called once per connection, before its first message. An
	// error closes the connection; an *Error is shown.
	Connected(ctx context.Context, c *Connection) error
	// Message gets an Invocation, StreamInvocation, StreamItem, Completion or
	// CancelInvocation, which it must not keep: m may borrow from the read
	// buffer. Nothing more is read from that client until it returns, unless it
	// is an invocation and Options.MaximumParallelInvocationsPerClient allows
	// more at once.
	// An error of an invocation is answered as Filter.OnInvocation describes;
	// any other error closes the connection.
	Message(ctx context.Context, c *Connection, m *protocol.Message) error
	// Disconnected is called once per connection whose Connected was called.
	// cause is nil when the client left in the orderly way.
	Disconnected(ctx context.Context, c *Connection, cause error)
}

// BroadcastOnly returns the Dispatcher of a hub to which clients only listen.
// An invocation that waits for an answer gets an error that names what to set
// up; one that doesn't is counted as RefusedNoHandler.
func BroadcastOnly(hub string) Dispatcher {
	return broadcastOnly{
		err: Errorf("Hub '%s' has no handler for invocations. Connect an app server, set an upstream URL, or publish over the REST API.", hub),
	}
}

type broadcastOnly struct{ err *Error }

func (broadcastOnly) Connected(context.Context, *Connection) error { return nil }

func (b broadcastOnly) Message(_ context.Context, c *Connection, m *protocol.Message) error {
	switch m.Type {
	case protocol.Invocation, protocol.StreamInvocation:
		c.server.meter.Refused(RefusedNoHandler)
		return c.refuse(m, InvocationError(m.Target, b.err, false))
	}
	return c.Stray(m)
}

func (broadcastOnly) Disconnected(context.Context, *Connection, error) {}
