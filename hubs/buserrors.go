package hubs

import (
	"errors"
	"fmt"
	"time"
)

// OverloadError is a Backplane's refusal of a publisher that takes more than its
// part of what all share. Nothing was published. It is an ErrUnavailable: what
// repeats those repeats it.
type OverloadError struct {
	Code string // of the product's error codes
	Text string // may be shown
	// Own: the limit is the publisher's own; else it is of what all share.
	Own        bool
	RetryAfter time.Duration // a repeat before can't succeed
}

// Error is the code and the text.
func (e *OverloadError) Error() string { return e.Code + ": " + e.Text }

// Unwrap returns ErrUnavailable.
func (e *OverloadError) Unwrap() error { return ErrUnavailable }

// UserGroupLimitError is a Backplane's refusal of AddUserToGroup: what it remembers
// of the groups of the hub's users may not become more. Nothing was published.
type UserGroupLimitError struct{ Limit int64 } // in bytes

// Error names the limit.
func (e *UserGroupLimitError) Error() string {
	return fmt.Sprintf("the groups remembered of the hub's users take %d bytes, which is all they may", e.Limit)
}

// What a Backplane answers when it can't do what it was asked. An error may
// wrap several: ErrUnavailable alone means that nothing was published, together
// with ErrOutcomeUnknown that it may have been.
var (
	// ErrUnavailable: the backplane can't be reached or is out of room.
	ErrUnavailable = errors.New("the message bus is unavailable")
	// ErrOutcomeUnknown: the entry may or may not have been accepted. A repeat
	// with the same idempotency key finds out.
	ErrOutcomeUnknown = errors.New("the outcome is unknown")
	// ErrUnanswered: not every node that serves the hub answered in time. The
	// number that comes with it counts those that did.
	ErrUnanswered = errors.New("not every node answered")
	// ErrNotReplicated: no copy of the stream has the entry, or none is known to.
	ErrNotReplicated = errors.New("the entry is on no replica")
	// ErrIdempotencyConflict: the idempotency key was used for another entry.
	ErrIdempotencyConflict = errors.New("the idempotency key was used with another body")
	// ErrEntryTooLarge: the entry is larger than the backplane carries.
	ErrEntryTooLarge = errors.New("the entry is too large")
)
