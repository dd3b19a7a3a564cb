package hubs

import (
	"errors"
	"fmt"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// invoke runs the filters and the dispatcher for an invocation: on the reader
// when a client's invocations run one after the other, else beside it. The
// reader waits while as many run as the hub allows.
func (c *Connection) invoke(m *protocol.Message) error {
	if d, ok := c.dispatcher.(*methods); ok {
		d.accept(c, m) // it has a queue of its own and answers itself
		return nil
	}
	parallel := c.server.options.Load().MaximumParallelInvocationsPerClient
	if parallel <= 1 {
		return c.invokeNow(m)
	}
	if c.slots == nil {
		c.slots = make(chan struct{}, parallel)
	}
	select {
	case c.slots <- struct{}{}:
	case <-c.ctx.Done():
		return nil // the reader finds out why
	}
	own := m.Clone()
	c.invoking.Add(1)
	c.invocations.Go(func() {
		defer c.invoking.Add(-1)
		defer func() { <-c.slots }()
		var err error
		if p := c.server.guard(c, func() { err = c.invokeNow(own) }); p != nil {
			err = p
		}
		if err != nil {
			_ = c.sayEnd(err)
		}
	})
	return nil
}

// invokeNow runs one invocation and answers it when it is refused. An error
// means that the connection can't go on.
func (c *Connection) invokeNow(m *protocol.Message) error {
	if m.BindingError != "" {
		c.server.meter.Refused(RefusedInvocation)
		head := fmt.Sprintf("Failed to invoke '%s' due to an error on the server.", m.Target)
		return c.refuse(m, withDetail(head, invalidData("%s", m.BindingError), c.server.options.Load().EnableDetailedErrors))
	}
	if err := c.chain().invocation(c.ctx, c, m); err != nil {
		var deliberate *Error
		if !errors.As(err, &deliberate) {
			c.server.meter.Refused(RefusedInvocation)
		}
		return c.refuse(m, InvocationError(m.Target, err, c.server.options.Load().EnableDetailedErrors))
	}
	return nil
}

// refuse answers an invocation with an error, if its caller waits.
func (c *Connection) refuse(m *protocol.Message, text string) error {
	if m.InvocationID == "" {
		return nil
	}
	return c.Send(&protocol.Message{Type: protocol.Completion, InvocationID: m.InvocationID, Error: text, HasError: true})
}
