package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/signalbox/signalbox/hubs/client"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// The statuses that the program ends with. docs/cli.md has them, too.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitRefused     = 3
	exitSignIn      = 4
	exitNotFound    = 5
	exitInterrupted = 130
)

// exits says what each status means, for the reference.
var exits = []struct {
	status  int
	meaning string
}{
	{exitOK, "Done."},
	{exitFailed, "It failed: the service can't be reached, or has a fault."},
	{exitUsage, "The command line is wrong, or a value in it is not accepted."},
	{exitRefused, "The service refuses it: a limit, a role, or something that it clashes with."},
	{exitSignIn, "Nobody is signed in, or the token is not good any more."},
	{exitNotFound, "There is no such thing, or none that you may see."},
	{exitInterrupted, "Ctrl-C."},
}

// errNotSignedIn is why a command can't begin.
var errNotSignedIn = errors.New("nobody is signed in: run \"signalbox login\", or set " + envToken)

// fail says what went wrong, on the standard error, and returns the status.
func (p *program) fail(ctx context.Context, err error) int {
	var wrong *usageError
	var refused *Problem
	var closed *client.Refused
	var handshake *protocol.HandshakeError
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &wrong):
		p.say("signalbox: %s", wrong.text)
		return exitUsage
	case errors.As(err, &refused):
		p.say("%s", refused.text())
		return exitOf(refused.Status)
	case errors.As(err, &closed):
		p.say("signalbox: %s", err)
		return exitOf(closed.Status)
	case errors.As(err, &handshake):
		p.say("signalbox: %s", err)
		return exitRefused
	case errors.Is(err, errNotSignedIn):
		p.say("signalbox: %s", err)
		return exitSignIn
	case strings.HasPrefix(err.Error(), "unknown command"): // cobra has no type for it
		p.say("signalbox: %s", err)
		return exitUsage
	}
	p.say("signalbox: %s", err)
	return exitFailed
}

// exitOf is the status for an answer that refuses.
func exitOf(status int) int {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return exitUsage
	case http.StatusUnauthorized:
		return exitSignIn
	case http.StatusNotFound:
		return exitNotFound
	}
	if status < http.StatusInternalServerError {
		return exitRefused
	}
	return exitFailed
}

// Problem is an answer that refuses, as application/problem+json (RFC 9457).
type Problem struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Code      string       `json:"code"`
	Detail    string       `json:"detail"`
	RequestID string       `json:"request_id"`
	Errors    []fieldError `json:"errors"`
	// Of a limit.
	Limit        string `json:"limit"`
	Scope        string `json:"scope"`
	Max          *int64 `json:"max"`
	Burst        int64  `json:"burst"`
	Counted      string `json:"counted"`
	RetryAfterMS int64  `json:"retry_after_ms"`
	Doc          string `json:"doc"`

	// Of history that is no longer kept.
	From string `json:"from"`
	To   string `json:"to"`

	retryAfter string // the header field
}

type fieldError struct {
	Field    string `json:"field"`
	Message  string `json:"message"`
	Accepted string `json:"accepted"`
}

// Error is the problem in one line.
func (e *Problem) Error() string { return e.Code + ": " + e.sentence() }

func (e *Problem) sentence() string {
	if e.Detail != "" {
		return e.Detail
	}
	return e.Title
}

// text is the problem for a person: what, which fields, which limit, where to read on.
func (e *Problem) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "signalbox: %s (%s, HTTP %d)", e.sentence(), e.Code, e.Status)
	for _, f := range e.Errors {
		fmt.Fprintf(&b, "\n  %s %s", f.Field, f.Message)
		if f.Accepted != "" {
			fmt.Fprintf(&b, "; accepted: %s", f.Accepted)
		}
	}
	if e.Limit != "" {
		fmt.Fprintf(&b, "\n  limit %s", e.Limit)
		if e.Max != nil {
			fmt.Fprintf(&b, ": %d", *e.Max)
		}
		if e.Burst > 0 {
			fmt.Fprintf(&b, ", at once %d", e.Burst)
		}
		if e.Scope != "" {
			fmt.Fprintf(&b, ", of the %s", e.Scope)
		}
		if e.Counted == "edge" {
			b.WriteString(", on each edge by itself")
		}
		fmt.Fprintf(&b, "; see it with: signalbox limits show %s", e.Limit)
	}
	switch {
	case e.RetryAfterMS > 0:
		fmt.Fprintf(&b, "\n  try again in %d ms", e.RetryAfterMS)
	case e.retryAfter != "":
		fmt.Fprintf(&b, "\n  try again in %s s", e.retryAfter)
	}
	if e.Status == http.StatusUnauthorized {
		b.WriteString("\n  sign in with: signalbox login")
	}
	if doc := e.Doc; doc != "" {
		fmt.Fprintf(&b, "\n  read %s", doc)
	} else if strings.HasPrefix(e.Type, "http") {
		fmt.Fprintf(&b, "\n  read %s", e.Type)
	}
	if e.RequestID != "" {
		fmt.Fprintf(&b, "\n  request %s", e.RequestID)
	}
	return b.String()
}
