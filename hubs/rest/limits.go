package rest

import (
	"errors"
	"net/http"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/httpserver"
)

// Allowance is what a tenant has left of a rate, as far as this edge knows. What
// remains is a hint: other edges take from the same.
type Allowance = httpserver.Allowance

// LimitError is what a tenant's limit says no with. It is answered with 429.
type LimitError struct {
	fault.Limit
	Window time.Duration // in which a burst comes back; 0 = it is no rate
	Text   string        // safe to show
}

// Error returns the text.
func (e *LimitError) Error() string { return e.Text }

// headers says when to come back.
func (e *LimitError) headers(header http.Header) {
	header.Set("Retry-After", httpserver.Seconds(e.RetryAfter()))
	if e.Window > 0 {
		Allowance{Name: e.Limit.Limit, Quota: e.Burst, Window: e.Window, Reset: e.RetryAfter()}.Headers(header)
	}
}

// slow takes the time of an answer that a limit says no. The request doesn't count as
// one that is under way meanwhile.
func (c *call) slow(err error) {
	var limit *LimitError
	if c.Slow == nil || !errors.As(err, &limit) {
		return
	}
	if c.Done != nil {
		c.Done()
	}
	c.Slow(c.r.Context())
}

// limitHeaders tells every answer's reader what is left of the limits that the
// request counts against.
func (c *call) limitHeaders() {
	if c.Allowances != nil {
		httpserver.Allowances(c.w.Header(), c.Allowances(c.sends)...)
	}
}
