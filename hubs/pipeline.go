package hubs

import "context"

// Pipeline is a Backplane that takes in further entries before it has answered
// the first, for publishers who send much and in order.
type Pipeline interface {
	// Begin hands an entry over. Entries that are begun one after the other are
	// numbered in that order, as far as they are accepted. A command is asked for
	// its matches, see Backplane.Command. Begin doesn't wait for outcomes, unless what is
	// begun next would come before it otherwise; an error means that nothing was
	// published.
	Begin(ctx context.Context, e *Entry, o PublishOptions, command bool) (Begun, error)
}

// Begun is an entry on its way. Its methods may be called by any goroutine, any
// number of times.
type Begun interface {
	// Accepted waits for what Backplane.Publish returns.
	Accepted(ctx context.Context) (Position, error)
	// Matched waits for what Backplane.Command returns. It must be called for
	// every command.
	Matched(ctx context.Context) (int, error)
}

// Begin begins an entry with b. A Backplane that is no Pipeline is waited for:
// the outcome is there when Begin returns.
func Begin(ctx context.Context, b Backplane, e *Entry, o PublishOptions, command bool) (Begun, error) {
	if p, ok := b.(Pipeline); ok {
		return p.Begin(ctx, e, o, command)
	}
	var d begunAlready
	if command {
		d.at, d.matched, d.err = b.Command(ctx, e, o)
	} else {
		d.at, d.err = b.Publish(ctx, e, o)
	}
	return d, nil
}

// begunAlready is an entry whose outcome is known.
type begunAlready struct {
	at      Position
	matched int
	err     error
}

func (d begunAlready) Accepted(context.Context) (Position, error) {
	if d.at != (Position{}) {
		return d.at, nil // what failed, if anything, is the count
	}
	return d.at, d.err
}

func (d begunAlready) Matched(context.Context) (int, error) { return d.matched, d.err }
