// Package unhurried has contexts with a time-out that costs nothing until somebody asks
// when it is over: what takes thousands of clients a second bounds each step of theirs,
// and nearly none waits.
package unhurried

import (
	"context"
	"sync"
	"time"
)

// Context is like what context.WithTimeout returns, but makes its timer only for who
// asks for Done.
type Context struct {
	parent context.Context
	until  time.Time

	mu    sync.Mutex
	timed context.Context // once somebody has asked for Done
	stop  context.CancelFunc
	over  bool
}

// With returns a Context that is done after d, when parent is, or with Stop, which must
// be called.
func With(parent context.Context, d time.Duration) *Context {
	c := &Context{parent: parent, until: time.Now().Add(d)}
	if end, bounded := parent.Deadline(); bounded && end.Before(c.until) {
		c.until = end
	}
	return c
}

// Stop ends the Context.
func (c *Context) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.stop != nil {
		c.stop()
	}
}

// Unbounded returns what ends the Context beside its deadline. Who has a timer of its
// own waits for both.
func (c *Context) Unbounded() context.Context { return c.parent }

// Deadline implements context.Context.
func (c *Context) Deadline() (time.Time, bool) { return c.until, true }

// Done implements context.Context.
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed, c.stop = context.WithDeadline(c.parent, c.until)
		if c.over {
			c.stop()
		}
	}
	return c.timed.Done()
}

// Err implements context.Context.
func (c *Context) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.timed != nil && c.timed.Err() != nil:
		return c.timed.Err()
	case c.timed != nil:
		return nil // nor is Done
	case c.over:
		return context.Canceled
	case c.parent.Err() != nil:
		return c.parent.Err()
	case !time.Now().Before(c.until):
		return context.DeadlineExceeded
	}
	return nil
}

// Value implements context.Context. Contexts that are derived find what their parent's
// Done belongs to.
func (c *Context) Value(key any) any {
	c.mu.Lock()
	timed := c.timed
	c.mu.Unlock()
	if timed != nil {
		return timed.Value(key)
	}
	return c.parent.Value(key)
}
