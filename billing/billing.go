// Package billing knows plans, and what tenants used against them. It reads the
// ledger that package usage fills; it sends no invoices yet.
package billing

import (
	"time"

	"github.com/signalbox/signalbox/tenants"
)

// Plan is what an account buys.
type Plan struct {
	ID                        string
	Name                      string
	MessagesPerMonth          int64
	ConnectionMinutesPerMonth int64
	MaxTenants, MaxMembers    int            // of an account
	Limits                    tenants.Limits // of each tenant

	Currency string
	Price    int64 // cents for a period
	// What a million beyond the allowance costs, in cents; 0 = nothing is charged.
	ExtraMessagesPrice int64
	ExtraMinutesPrice  int64
}

// Values is what was used in some span of time. Refusals are shown and never
// billed.
type Values struct {
	Accepted          int64 // messages
	Delivered         int64 // messages
	DeliveredBytes    int64
	ReceivedBytes     int64
	ConnectionSeconds int64
	Opened            int64 // connections
	Peak              int64 // connections at once in any minute
	Refused           map[string]int64
}

// Messages is what the plan counts: accepted and delivered.
func (v Values) Messages() int64 { return v.Accepted + v.Delivered }

// ConnectionMinutes are rounded up.
func (v Values) ConnectionMinutes() int64 { return (v.ConnectionSeconds + 59) / 60 }

// add adds what came after v.
func (v *Values) add(o Values) {
	v.Accepted += o.Accepted
	v.Delivered += o.Delivered
	v.DeliveredBytes += o.DeliveredBytes
	v.ReceivedBytes += o.ReceivedBytes
	v.ConnectionSeconds += o.ConnectionSeconds
	v.Opened += o.Opened
	v.Peak = max(v.Peak, o.Peak)
	for code, n := range o.Refused {
		if v.Refused == nil {
			v.Refused = make(map[string]int64)
		}
		v.Refused[code] += n
	}
}

// Point is what was used in the step that begins at At.
type Point struct {
	At     time.Time
	Values Values
}

// Usage is what a tenant used in [From, To), one point for each step.
type Usage struct {
	From, To time.Time
	Step     Step
	Points   []Point
	Totals   Values
	Month    Month
}

// Month is what was used in a period of the subscription, against the plan. Allowances
// are the account's: its tenants share them. Where the plan has changed they are those of
// each plan for its part, as in the period's statement.
type Month struct {
	Account                  tenants.AccountID
	From, To                 time.Time
	Plan                     string // the plan's id
	Messages                 int64
	ConnectionMinutes        int64
	AccountMessages          int64
	AccountConnectionMinutes int64
	MessagesAllowed          int64
	ConnectionMinutesAllowed int64
}

// Activity tells what of a tenant is alive. Zero times mean never.
type Activity struct {
	Tenant            tenants.ID
	ConnectionsNow    int64
	FirstConnectionAt time.Time
	FirstMessageAt    time.Time
	LastMessageAt     time.Time
}
