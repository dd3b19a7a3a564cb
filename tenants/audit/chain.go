package audit

import "fmt"

// Break is where a chain is not what it should be.
type Break struct {
	Number int64 // of the first event that is wrong or missing
	Reason string
}

// Error implements error.
func (b *Break) Error() string { return fmt.Sprintf("event %d: %s", b.Number, b.Reason) }

// Chain verifies a chain, event by event in their order. The zero value expects
// the first event of a chain.
type Chain struct {
	// Gaps lets events be missing, as in a filtered export. What is there is verified
	// by itself, and to the one before where that is there.
	Gaps bool
	// From is what came before the first event, for a part of a chain. The zero value
	// is the beginning.
	From Head
	// Kept are heads that were noted before, which have to be in the chain.
	Kept []Head

	begun  bool
	name   string
	last   Head
	passed int64
}

// Add takes the next event. It returns a *Break when the event is not what has to
// follow; what comes after one means nothing.
func (c *Chain) Add(e *Event) error {
	if !c.begun {
		c.begun, c.name, c.last = true, e.Chain, c.From
	}
	next := c.last.Number + 1
	switch {
	case e.Chain != c.name:
		return &Break{next, fmt.Sprintf("an event of another chain, %q, follows", e.Chain)}
	case e.Number < next:
		return &Break{e.Number, "is there once more, or out of its order"}
	case e.Number > next && !c.Gaps:
		return &Break{next, fmt.Sprintf("is missing: event %d follows", e.Number)}
	case e.Sum() != e.Hash:
		return &Break{e.Number, "was changed: its hash is not that of its fields"}
	case e.Number == next && e.Previous != c.last.Hash:
		return &Break{e.Number, "doesn't follow the event before: that one was replaced, or this one"}
	}
	c.last = Head{e.Number, e.Hash}
	c.passed++
	for _, k := range c.Kept {
		if k.Number == e.Number && k.Hash != e.Hash {
			return &Break{e.Number, "is not the one that was there when its hash was noted: the chain was written anew"}
		}
	}
	return nil
}

// End is for when there are no more events. It returns a *Break when the chain ends
// before one of the heads that were noted.
func (c *Chain) End() error {
	if c.Gaps {
		return nil
	}
	last := c.Head()
	for _, k := range c.Kept {
		if k.Number > last.Number {
			return &Break{last.Number + 1, fmt.Sprintf("is missing with all that followed: the chain was at event %d once", k.Number)}
		}
	}
	return nil
}

// Head is the last event that was verified.
func (c *Chain) Head() Head {
	if !c.begun {
		return c.From
	}
	return c.last
}

// Events is how many were verified.
func (c *Chain) Events() int64 { return c.passed }
