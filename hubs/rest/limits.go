package rest

import (
	"net/http"
	"strconv"
	"time"
)

// Allowance is what a tenant has left of a rate, as far as this edge knows.
type Allowance struct {
	Name      string        // of the limit, "messages_per_second" and the like
	Quota     int64         // the most that can be taken at once
	Window    time.Duration // in which that much comes back
	Remaining int64
	Reset     time.Duration // until all of it is there again
}

// headers writes a in the header fields of draft-ietf-httpapi-ratelimit-headers.
// What remains is a hint: other edges take from the same.
func (a Allowance) headers(header http.Header) {
	reset := "0"
	if a.Reset > 0 {
		reset = seconds(a.Reset)
	}
	// In every answer, twice: fmt would be the dearest part of many a request.
	name := strconv.Quote(a.Name)
	header[headerPolicy] = []string{name + ";q=" + strconv.FormatInt(a.Quota, 10) + ";w=" + seconds(a.Window)}
	header[headerLimit] = []string{name + ";r=" + strconv.FormatInt(max(0, a.Remaining), 10) + ";t=" + reset}
}

// The header fields, as http.Header has their names.
const (
	headerPolicy = "Ratelimit-Policy"
	headerLimit  = "Ratelimit"
)

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
	header.Set("Retry-After", seconds(e.RetryAfter))
	if e.Window > 0 {
		Allowance{Name: e.Name, Quota: e.Limit, Window: e.Window, Reset: e.RetryAfter}.headers(header)
	}
}

// limitHeaders tells every answer's reader what is left of the limit that the
// request counts against.
func (c *call) limitHeaders() {
	if c.Allowance != nil {
		c.Allowance(c.sends).headers(c.w.Header())
	}
}
