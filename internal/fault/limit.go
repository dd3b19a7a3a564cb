package fault

import (
	"fmt"
	"strings"
	"time"
)

// Limit says which limit refused something, in the words of every surface: as JSON in
// answers over HTTP, webhooks and notices to clients, as one line of text in
// completions, Close messages and the answer to negotiate.
type Limit struct {
	Code  string `json:"code"`  // with a page in docs/errors
	Scope string `json:"scope"` // what is counted: ip, connection, user, group, hub, tenant, message, request
	Limit string `json:"limit"` // the limit's name
	Max   int64  `json:"max"`
	// Burst is how much of a rate may come at once; 0 = it is no rate.
	Burst int64 `json:"burst,omitempty"`
	// RetryAfterMS is when a repeat can succeed; 0 = not by waiting.
	RetryAfterMS int64  `json:"retry_after_ms,omitempty"`
	Doc          string `json:"doc"`
	// RequestID names the request, or the connection on which it happened.
	RequestID string `json:"request_id,omitempty"`
}

// Rate reports whether Max is one per second.
func (l *Limit) Rate() bool { return l.Burst > 0 }

// String is the line of text: the code, then key=value.
func (l *Limit) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s scope=%s limit=%s max=%d", l.Code, l.Scope, l.Limit, l.Max)
	if l.Rate() {
		fmt.Fprintf(&b, "/s burst=%d", l.Burst)
	}
	if l.RetryAfterMS > 0 {
		fmt.Fprintf(&b, " retry_after_ms=%d", l.RetryAfterMS)
	}
	if l.RequestID != "" {
		fmt.Fprintf(&b, " request_id=%s", l.RequestID)
	}
	fmt.Fprintf(&b, " see=%s", l.Doc)
	return b.String()
}

// RetryAfter is RetryAfterMS as a duration.
func (l *Limit) RetryAfter() time.Duration { return time.Duration(l.RetryAfterMS) * time.Millisecond }

// WithLimit says which limit the error is about.
func (e *Error) WithLimit(l Limit) *Error {
	e.Code, e.Limit, e.RetryAfter = l.Code, &l, l.RetryAfter()
	return e
}
