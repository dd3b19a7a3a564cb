package quota

import (
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// The codes of refusals that have no row of their own in the table of limits.
const (
	CodeKeptOut = "kept_out"
	CodeMethod  = "method_rate"
)

// Refusal is what a tenant's limit says no with. Its text may be shown.
type Refusal struct {
	fault.Limit
	// Value is what the request would have come to; 0 = not counted.
	Value int64
}

func refuse(row tenants.LimitRow, most, burst int, retryAfter time.Duration) *Refusal {
	return &Refusal{Limit: row.RefusalAt(most, burst, retryAfter)}
}

// Error says which limit it is and when to come back.
func (r *Refusal) Error() string { return r.String() }

// Unwrap makes the text one that hubs shows to clients.
func (r *Refusal) Unwrap() error { return hubs.NewError(r.String()) }

// row returns a row of the table that there is.
func row(name string) tenants.LimitRow {
	r, ok := tenants.Row(name)
	if !ok {
		panic("quota: no limit " + name)
	}
	return r
}
