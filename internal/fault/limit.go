package fault

import (
	"strconv"
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
	// Counted is CountedEdge for a limit that each edge judges by itself.
	Counted string `json:"counted,omitempty"`
	// Burst is how much of a rate may come at once; 0 = it is no rate.
	Burst int64 `json:"burst,omitempty"`
	// RetryAfterMS is when a repeat can succeed; 0 = not by waiting.
	RetryAfterMS int64  `json:"retry_after_ms,omitempty"`
	Doc          string `json:"doc"`
	// RequestID names the request, or the connection on which it happened.
	RequestID string `json:"request_id,omitempty"`
}

// CountedEdge says that over several edges more than a limit gets through.
const CountedEdge = "edge"

// Rate reports whether Max is one per second.
func (l *Limit) Rate() bool { return l.Burst > 0 }

// String is the line of text: the code, then key=value.
func (l *Limit) String() string {
	// In every refusal, of which there may be very many: fmt would be dear.
	b := make([]byte, 0, 256)
	b = append(append(append(append(b, l.Code...), " scope="...), l.Scope...), " limit="...)
	b = strconv.AppendInt(append(append(b, l.Limit...), " max="...), l.Max, 10)
	if l.Rate() {
		b = strconv.AppendInt(append(b, "/s burst="...), l.Burst, 10)
	}
	if l.Counted != "" {
		b = append(append(b, " counted="...), l.Counted...)
	}
	if l.RetryAfterMS > 0 {
		b = strconv.AppendInt(append(b, " retry_after_ms="...), l.RetryAfterMS, 10)
	}
	if l.RequestID != "" {
		b = append(append(b, " request_id="...), l.RequestID...)
	}
	return string(append(append(b, " see="...), l.Doc...))
}

// RetryAfter is RetryAfterMS as a duration.
func (l *Limit) RetryAfter() time.Duration { return time.Duration(l.RetryAfterMS) * time.Millisecond }

// WithLimit says which limit the error is about.
func (e *Error) WithLimit(l Limit) *Error {
	e.Code, e.Limit, e.RetryAfter = l.Code, &l, l.RetryAfter()
	return e
}
