package hubs

import (
	"context"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// Filter stands between the clients of a hub and its Dispatcher. Filters are
// called in the order of Config.Filters; each decides whether and when to call
// next. They are called by many connections at once. Embed PassFilter to
// implement only some of the methods.
type Filter interface {
	// OnConnected runs after the handshake, when the connection already gets
	// broadcasts. An error closes the connection; an *Error is shown.
	OnConnected(ctx context.Context, c *Connection, next func(context.Context) error) error
	// OnInvocation runs for every Invocation and StreamInvocation. An error
	// refuses it: the caller gets a Completion with InvocationError's text when
	// it waits for one. A filter that refuses with an *Error counts that itself,
	// by a code of its own. m borrows from the read buffer, as protocol.Message says.
	OnInvocation(ctx context.Context, c *Connection, m *protocol.Message, next func(context.Context) error) error
	// OnDisconnected runs once for every connection whose OnConnected was
	// called. cause is nil when the client left in the orderly way.
	OnDisconnected(ctx context.Context, c *Connection, cause error, next func(context.Context, error))
}

// PassFilter is a Filter that only calls next.
type PassFilter struct{}

// OnConnected calls next.
func (PassFilter) OnConnected(ctx context.Context, _ *Connection, next func(context.Context) error) error {
	return next(ctx)
}

// OnInvocation calls next.
func (PassFilter) OnInvocation(ctx context.Context, _ *Connection, _ *protocol.Message, next func(context.Context) error) error {
	return next(ctx)
}

// OnDisconnected calls next.
func (PassFilter) OnDisconnected(ctx context.Context, _ *Connection, cause error, next func(context.Context, error)) {
	next(ctx, cause)
}

// chain is the filters of a Server with its Dispatcher at the end.
type chain struct {
	filters    []Filter
	dispatcher Dispatcher
}

// chain is the Server's filters with who handles c.
func (c *Connection) chain() chain { return chain{c.server.chain.filters, c.dispatcher} }

func (ch chain) connected(ctx context.Context, c *Connection) error {
	if len(ch.filters) == 0 {
		return ch.dispatcher.Connected(ctx, c)
	}
	rest := chain{ch.filters[1:], ch.dispatcher}
	return ch.filters[0].OnConnected(ctx, c, func(ctx context.Context) error { return rest.connected(ctx, c) })
}

func (ch chain) invocation(ctx context.Context, c *Connection, m *protocol.Message) error {
	if len(ch.filters) == 0 {
		return ch.dispatcher.Message(ctx, c, m)
	}
	rest := chain{ch.filters[1:], ch.dispatcher}
	return ch.filters[0].OnInvocation(ctx, c, m, func(ctx context.Context) error { return rest.invocation(ctx, c, m) })
}

func (ch chain) disconnected(ctx context.Context, c *Connection, cause error) {
	if len(ch.filters) == 0 {
		ch.dispatcher.Disconnected(ctx, c, cause)
		return
	}
	rest := chain{ch.filters[1:], ch.dispatcher}
	ch.filters[0].OnDisconnected(ctx, c, cause, func(ctx context.Context, cause error) { rest.disconnected(ctx, c, cause) })
}
