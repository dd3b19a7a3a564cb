package quota

import (
	"fmt"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

// The codes of refusals.
const (
	CodeConnections = "connection_limit"
	CodeMessages    = "rate_limited"
	CodeRequests    = "too_many_requests"
	CodeMemberships = hubs.RefusedMemberships
)

// Refusal is what a tenant's limit says no with. Its text may be shown.
type Refusal struct {
	Code  string
	Limit int64 // connections, or messages or requests per second
	Value int64 // what the request would have come to; 0 = not counted
	// RetryAfter is the earliest time at which a repeat can succeed.
	RetryAfter time.Duration
}

// Error says which limit it is and when to come back.
func (r *Refusal) Error() string {
	switch r.Code {
	case CodeConnections:
		return fmt.Sprintf("%s: the tenant has all of its %d concurrent connections open", r.Code, r.Limit)
	case CodeMemberships:
		return fmt.Sprintf("%s: the tenant's connections are in groups %d times together, which is all they may be", r.Code, r.Limit)
	case CodeRequests:
		return fmt.Sprintf("%s: the tenant makes more than its %d requests per second that change or ask something; retry after %d ms",
			r.Code, r.Limit, r.RetryAfter.Milliseconds())
	default:
		return fmt.Sprintf("%s: the tenant sends more than its %d messages per second; retry after %d ms",
			r.Code, r.Limit, r.RetryAfter.Milliseconds())
	}
}

// Unwrap makes the text one that hubs shows to clients.
func (r *Refusal) Unwrap() error { return hubs.NewError(r.Error()) }
