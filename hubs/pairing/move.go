package pairing

import (
	"context"
	"fmt"
)

// startMove starts a migration that is asked for and can begin. c.mu is held.
func (c *client) startMove() {
	if !c.move || c.moving || c.session == nil || c.done || c.closed {
		return
	}
	c.move, c.moving = false, true
	from := c.session
	c.proxy.work.Go(func() { c.moveFrom(from) })
}

// moveFrom gives the client another app server, so that it sees nothing of it, or
// closes it with leave to reconnect.
func (c *client) moveFrom(from Session) {
	ctx, cancel := context.WithTimeout(c.conn.Context(), moveWithin)
	defer cancel()
	to, err := c.change(ctx, from)

	c.mu.Lock()
	c.moving = false
	closed, reason := c.closed, c.reason
	if err == nil && !closed {
		c.session = to
		c.startMove() // the new one may be about to go as well
	}
	c.mu.Unlock()
	switch {
	case err != nil && !closed && c.conn.Context().Err() != nil:
		// The client has left meanwhile: Close is about to say so.
	case err != nil:
		// Nothing is sent any more: sending stays held.
		from.End(reason, "")
		c.proxy.Logger.Debug("client not moved", "hub", c.proxy.Hub.Name, "connection", c.conn.ID(), "error", err)
		c.lose()
	case closed:
		from.End("", to.ServerID())
		to.End(reason, "")
	default:
		from.End("", to.ServerID())
		<-c.sending
	}
}

// change pauses a session and opens another. When there is no error, sending is
// held.
func (c *client) change(ctx context.Context, from Session) (Session, error) {
	select {
	case c.sending <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the client's last message: %w", context.Cause(ctx))
	}
	// App servers don't finish what runs for a client that is paused, and what they
	// would have said is lost.
	running, enough := context.WithTimeout(ctx, runningWithin)
	c.conn.AwaitAnswers(running)
	enough()
	if err := from.Pause(ctx); err != nil {
		return nil, fmt.Errorf("pause: %w", err)
	}
	way, ok := c.next()
	if !ok {
		return nil, ErrEnded
	}
	told := c.told
	// A client that waits for the answer to its handshake is new to the next app
	// server, too.
	if c.conn.Answered() {
		told.MovedFrom = from.ServerID()
		c.conn.Discard() // half a message would never have an end
		for range c.conn.FailInvocations(textServerMoved) {
			c.proxy.Refused(CodeServerMoved)
		}
	}
	to, err := c.proxy.Opener.Open(ctx, &told, way)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	return to, nil
}
