package hubs

import (
	"errors"
	"fmt"
)

// Error is an error whose text may be shown to the client: what HubException is
// in ASP.NET Core. The text of every other error stays on the server unless
// Options.EnableDetailedErrors is set.
type Error struct{ text string }

// NewError returns an Error with this text.
func NewError(text string) *Error { return &Error{text: text} }

// Errorf returns an Error with a formatted text.
func Errorf(format string, args ...any) *Error { return &Error{text: fmt.Sprintf(format, args...)} }

// Error returns the text.
func (e *Error) Error() string { return e.text }

// LimitError is a limit of a connection that says no. Its text may be shown.
type LimitError struct {
	// Code is what Meter.Refused gets for it.
	Code  string
	Limit int
	text  string
}

// NewLimitError returns a LimitError with this text.
func NewLimitError(code string, limit int, text string) *LimitError {
	return &LimitError{Code: code, Limit: limit, text: text}
}

// Error returns the text.
func (e *LimitError) Error() string { return e.text }

// Unwrap makes the text one that is shown to clients.
func (e *LimitError) Unwrap() error { return NewError(e.text) }

// manyStreams refuses one more stream.
func manyStreams(limit int, what string) error {
	return &LimitError{RefusedStreams, limit, fmt.Sprintf("At most %d %s can be open at once.", limit, what)}
}

// limitText is what a client is told whose connection a limit ends; text where the
// server has no words of its own.
func (c *Connection) limitText(code string, limit int, text string) string {
	if f := c.server.limitText; f != nil {
		return f(c.ID(), code, limit)
	}
	return text
}

// What Serve returns, and what OnDisconnected is told, when a connection ended
// otherwise than by the client's wish.
var (
	// ErrServerClosed: the Server is closing or closed.
	ErrServerClosed = errors.New("the hub server is closed")
	// ErrSlowConsumer: more was waiting for the connection than its queue holds.
	ErrSlowConsumer = errors.New("the client reads too slowly")
	// ErrClientTimeout: the client was silent for Options.ClientTimeoutInterval.
	ErrClientTimeout = errors.New("the client has been silent for too long")
	// ErrAuthenticationExpired: Principal.Expires has come.
	ErrAuthenticationExpired = errors.New("the authentication has expired")
	// ErrMoved: the client goes on at another server. A Transport's Wait returns it
	// then: what runs for the client is ended, what waits for it is still sent.
	ErrMoved = errors.New("the connection moved to another server")
	// ErrHandshake: the handshake failed; the client was told why.
	ErrHandshake = errors.New("the handshake failed")
	// ErrClosedByServer: an entry, Drain or CloseWhere closed the connection.
	ErrClosedByServer = errors.New("the connection was closed by the server")
)

// The texts of ASP.NET Core SignalR (HubConnectionContext, HubConnectionHandler, DefaultHubDispatcher), which clients show to people.
const (
	textClosedWithError = "Connection closed with an error."
	textMoved           = "The connection moved to another server."
	textSlowConsumer    = "Connection closed: the client reads too slowly, more than its queue holds was waiting."
)

// InvocationError is the text of the Completion that answers the invocation of
// target with err: an *Error shows its text, anything else only when detailed.
func InvocationError(target string, err error, detailed bool) string {
	return withDetail(fmt.Sprintf("An unexpected error occurred invoking '%s' on the server.", target), err, detailed)
}

// withDetail adds to head what err may show of itself.
func withDetail(head string, err error, detailed bool) string {
	var safe *Error
	switch {
	case errors.As(err, &safe):
		return head + " HubException: " + safe.text
	case detailed && err != nil:
		return head + " " + exceptionName(err) + ": " + err.Error()
	}
	return head
}

// exceptionName is the .NET name that clients know for the kind of err.
func exceptionName(err error) string {
	var invalid *dataError
	var operation *operationError
	switch {
	case errors.As(err, &operation):
		return "InvalidOperationException"
	case errors.As(err, &invalid):
		return "InvalidDataException"
	case errors.Is(err, ErrClientTimeout):
		return "OperationCanceledException"
	}
	return "Exception"
}

// dataError is what the client did wrong on the wire; it ends the connection.
type dataError struct{ err error }

func (e *dataError) Error() string { return e.err.Error() }
func (e *dataError) Unwrap() error { return e.err }

func invalidData(format string, args ...any) error {
	return &dataError{err: fmt.Errorf(format, args...)}
}
