package hubs

import (
	"context"
	"errors"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
)

// ServeStream answers a StreamInvocation that a Filter has taken, whoever handles
// the connection's other messages. produce runs on a goroutine of its own; send
// encodes one item and waits until the client has room for it. Its ctx is done
// when the client cancels the stream or leaves, and then nothing more is said. An
// error completes the stream as InvocationError words it. Only a Filter's
// OnInvocation may call it.
func (c *Connection) ServeStream(m *protocol.Message, produce func(ctx context.Context, send func(item any) error) error) error {
	id, target := m.InvocationID, m.Target
	ctx, cancel := context.WithCancelCause(c.ctx)
	c.mu.Lock()
	_, taken := c.served[id]
	switch {
	case taken:
		c.mu.Unlock()
		cancel(nil)
		return Errorf("Invocation ID '%s' is already in use.", id)
	case len(c.served) >= c.server.options.Load().MaximumOpenStreams:
		c.mu.Unlock()
		cancel(nil)
		return manyStreams(c.server.options.Load().MaximumOpenStreams, "streams")
	}
	if c.served == nil {
		c.served = make(map[string]context.CancelCauseFunc, 1)
	}
	c.served[id] = cancel
	c.mu.Unlock()
	c.invocations.Add(1)
	go func() {
		defer c.invocations.Done()
		defer cancel(nil)
		var err error
		if p := c.server.guard(c, func() {
			err = produce(ctx, func(item any) error { return c.sendServed(ctx, id, item) })
		}); p != nil {
			err = p
		}
		canceled := errors.Is(context.Cause(ctx), errCanceledByClient)
		c.mu.Lock()
		delete(c.served, id)
		c.mu.Unlock()
		end := &protocol.Message{Type: protocol.Completion, InvocationID: id}
		if err != nil && !canceled {
			end.Error, end.HasError = InvocationError(target, err, c.server.options.Load().EnableDetailedErrors), true
		}
		_ = c.sendFollowing(end) // has nothing that can't be encoded
	}()
	return nil
}

func (c *Connection) sendServed(ctx context.Context, id string, item any) error {
	if err := c.awaitRoom(ctx, streamMessages, streamBytes); err != nil {
		return err
	}
	raw, err := values.Encode(c.proto.Encoding(), item)
	if err != nil {
		return err
	}
	return c.sendFollowing(&protocol.Message{Type: protocol.StreamItem, InvocationID: id, Item: raw})
}

// cancelServed ends a stream of ServeStream; false = there is none with this id.
func (c *Connection) cancelServed(id string) bool {
	c.mu.Lock()
	cancel, ok := c.served[id]
	c.mu.Unlock()
	if ok {
		cancel(errCanceledByClient)
	}
	return ok
}
