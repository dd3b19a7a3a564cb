package rest

import (
	"net/http"
	"time"

	"github.com/signalbox/signalbox/internal/httpserver"
)

// Allowance is what a tenant has left of a rate, as far as this edge knows. What
// remains is a hint: other edges take from the same.
type Allowance = httpserver.Allowance

// LimitError is what a tenant's limit says no with. It is answered with 429.
type LimitError struct {
	Code   string        // "rate_limited" and the like
	Name   string        // of the limit, "messages_per_second" and the like
	Limit  int64         // its value
	Window time.Duration // over which it counts; 0 = it is no rate
	// RetryAfter is when a repeat can succeed; it is rounded up to a second.
	RetryAfter time.Duration
	Text       string // safe to show
}

// Error returns the text.
func (e *LimitError) Error() string { return e.Text }

// headers says when to come back.
func (e *LimitError) headers(header http.Header) {
	header.Set("Retry-After", httpserver.Seconds(e.RetryAfter))
	if e.Window > 0 {
		Allowance{Name: e.Name, Quota: e.Limit, Window: e.Window, Reset: e.RetryAfter}.Headers(header)
	}
}

// limitHeaders tells every answer's reader what is left of the limit that the
// request counts against.
func (c *call) limitHeaders() {
	if c.Allowance != nil {
		c.Allowance(c.sends).Headers(c.w.Header())
	}
}
