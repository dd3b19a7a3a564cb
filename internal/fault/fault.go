// Package fault is the error that crosses layers: what went wrong in words that
// may be shown to the caller, apart from the cause, which may not.
package fault

import (
	"errors"
	"time"
)

// Kind is what sort of error it is; each transport maps kinds to its own status.
type Kind string

// The kinds of error.
const (
	Invalid         Kind = "invalid"            // the request is malformed or breaks a rule
	Unauthenticated Kind = "unauthenticated"    // who asks is unknown
	Forbidden       Kind = "forbidden"          // who asks may not do this
	NotFound        Kind = "not_found"          // there is none, or none that the caller may see
	NotAllowed      Kind = "method_not_allowed" // not in this way
	NotAcceptable   Kind = "not_acceptable"     // not in a form that is accepted
	UnsupportedType Kind = "unsupported_media_type"
	Conflict        Kind = "conflict"       // it clashes with what is there
	Changed         Kind = "changed"        // it isn't any more what the caller has seen
	QuotaExceeded   Kind = "quota_exceeded" // a limit of the plan is reached
	RateLimited     Kind = "rate_limited"   // too often; later it will do
	TooLarge        Kind = "too_large"      // more bytes than allowed
	Unavailable     Kind = "unavailable"    // something that is needed is away
	Internal        Kind = "internal"       // our mistake
)

// Field is one thing wrong with the input.
type Field struct {
	Name     string // dotted path in the body, or the parameter's name
	Message  string
	Accepted string // what would have been accepted; may be empty
}

// Error is an error with a safe message. Its Error method is for logs: it shows
// the cause.
type Error struct {
	Kind    Kind
	Code    string // stable, lower snake case; the kind when there is none of its own
	Message string // safe to show
	Fields  []Field
	// RetryAfter is how long to wait; 0 = not said.
	RetryAfter time.Duration
	// Limit says which limit it is about; nil = none.
	Limit *Limit
	cause error
}

// New returns an error of that kind with a safe message.
func New(kind Kind, message string) *Error {
	return &Error{Kind: kind, Code: string(kind), Message: message}
}

// Wrap returns an error of that kind with a safe message and a cause that only
// logs show.
func Wrap(kind Kind, message string, cause error) *Error {
	return &Error{Kind: kind, Code: string(kind), Message: message, cause: cause}
}

// InvalidFields returns an Invalid error that names every field at fault.
func InvalidFields(fields ...Field) *Error {
	return &Error{Kind: Invalid, Code: string(Invalid), Message: "The request has invalid values.", Fields: fields}
}

// WithCode gives the error a code of its own.
func (e *Error) WithCode(code string) *Error {
	e.Code = code
	return e
}

// Error implements error.
func (e *Error) Error() string {
	text := e.Code + ": " + e.Message
	for _, f := range e.Fields {
		text += " [" + f.Name + ": " + f.Message + "]"
	}
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// KindOf returns the kind of err: that of the first *Error in its chain, else
// Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}
