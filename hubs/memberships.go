package hubs

import (
	"errors"
	"fmt"
)

// Memberships is a bound on the groups of all connections together, which any
// number of Servers share. A membership is one connection in one group. Its
// methods are called by many goroutines, under locks: they must not block, but for an
// answer that takes milliseconds, and seldom.
type Memberships interface {
	// Join takes one membership. The error is an *Error that says why there is none.
	Join() error
	// Leave gives n memberships back.
	Leave(n int)
}

// unbounded is no bound.
type unbounded struct{}

func (unbounded) Join() error { return nil }
func (unbounded) Leave(int)   {}

// CanJoin returns an *Error that says why the connection can't join one more group,
// or nil when it can.
func (c *Connection) CanJoin() error {
	limit := c.server.options.Load().MaximumGroups
	c.mu.Lock()
	n := len(c.groups)
	c.mu.Unlock()
	if n >= limit {
		return &LimitError{RefusedGroups, limit, fmt.Sprintf("A connection can be in at most %d groups.", limit)}
	}
	err := c.server.memberships.Join()
	if err == nil {
		c.server.memberships.Leave(1)
	}
	return err
}

// RoomFor returns what CanJoin does of a group that the connection isn't in, and counts
// the refusal. Of one that it is in it returns nil.
func (c *Connection) RoomFor(group string) error {
	c.mu.Lock()
	_, in := c.groups[group]
	c.mu.Unlock()
	if in {
		return nil
	}
	err := c.CanJoin()
	if err == nil {
		return nil
	}
	code := RefusedMemberships
	if limit := (*LimitError)(nil); errors.As(err, &limit) {
		code = limit.Code
	}
	c.server.meter.Refused(code)
	return err
}
