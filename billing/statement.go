package billing

import (
	"context"
	"time"

	"github.com/signalbox/signalbox/tenants"
)

// FinalAfter is how long after its end a period's statement is final: usage that
// comes any later counts in the period in which it comes, as corrections do.
const FinalAfter = 73 * time.Hour

// Statements is all that invoices and providers of payments need to know. Who makes
// an invoice asks for the statement of an ended period once it is final, and uses
// Statement.ID as the key of idempotency of whatever it makes: the statement of an
// account and a period is always the same from then on. It must not add up usage by
// itself, and nothing in the data plane waits for it.
type Statements interface {
	// Statement returns the statement of the period that a time is in, which may be
	// the present one: what has been used so far. An account that isn't there is a
	// fault of kind NotFound.
	Statement(ctx context.Context, account tenants.AccountID, at time.Time) (Statement, error)
}

var _ Statements = (*Service)(nil)

// Statement is what an account used in a period and what that costs.
type Statement struct {
	ID       string // account and first day
	Account  tenants.AccountID
	From, To time.Time
	Plans    []PlanSpan // in order, without gaps
	Tenants  []TenantAmounts
	Totals   Amounts // the sum of Tenants

	MessagesAllowed          int64
	ConnectionMinutesAllowed int64
	ExtraMessages            int64
	ExtraConnectionMinutes   int64

	Currency string
	Charges  []Charge
	Total    int64 // cents, the sum of Charges
	// Final says that nothing of it will change any more; FinalAt is when that is.
	Final   bool
	FinalAt time.Time
}

// PlanSpan is a part of a period in which the account had one plan.
type PlanSpan struct {
	Plan     Plan
	From, To time.Time
}

// TenantAmounts is what a tenant used.
type TenantAmounts struct {
	Tenant tenants.ID
	Name   string // "" = it is gone
	Amounts
}

// ChargeKind is what a charge is for.
type ChargeKind string

// The kinds of charges.
const (
	ChargePlan     ChargeKind = "plan"
	ChargeMessages ChargeKind = "extra_messages"
	ChargeMinutes  ChargeKind = "extra_connection_minutes"
)

// Charge is a line of a statement.
type Charge struct {
	Kind ChargeKind
	Plan string
	// Quantity is seconds of the plan, or its part of what was used beyond the
	// allowance.
	Quantity int64
	Price    int64 // cents for a whole period, or for a million
	Amount   int64 // cents, rounded down
}

// UsedAt is what was used in the hour or the day that begins at At.
type UsedAt struct {
	At                time.Time
	Day               bool
	Messages          int64
	ConnectionSeconds int64
}

// PlanSince says that an account has had a plan from a time on.
type PlanSince struct {
	Plan  Plan
	Since time.Time
}

// Statement implements Statements.
func (s *Service) Statement(ctx context.Context, account tenants.AccountID, at time.Time) (Statement, error) {
	now := s.now()
	if at.IsZero() {
		at = now
	}
	if _, _, err := whole(at, at.Add(time.Hour), time.Hour, now); err != nil {
		return Statement{}, err
	}
	from, to, plans, err := s.store.Subscribed(ctx, account, at)
	if err != nil {
		return Statement{}, err
	}
	used, err := s.store.AccountAmounts(ctx, account, from, to)
	if err != nil {
		return Statement{}, err
	}
	st := Statement{
		ID: string(account) + "-" + from.Format("2006-01-02"), Account: account, From: from, To: to, Plans: spans(plans, from, to), Tenants: used,
		FinalAt: to.Add(FinalAfter), Final: !now.Before(to.Add(FinalAfter)),
	}
	for _, t := range used {
		st.Totals = st.Totals.Plus(t.Amounts)
	}
	var when []UsedAt
	if len(st.Plans) > 1 {
		var changes []time.Time
		for _, p := range st.Plans[1:] {
			if day := p.From.Truncate(24 * time.Hour); len(changes) == 0 || !day.Equal(changes[len(changes)-1]) {
				changes = append(changes, day)
			}
		}
		if when, err = s.store.UsedAt(ctx, account, from, to, changes); err != nil {
			return Statement{}, err
		}
	}
	st.rate(when)
	return st, nil
}

// spans cuts a period where the plan changed.
func spans(plans []PlanSince, from, to time.Time) []PlanSpan {
	var list []PlanSpan
	tenants.EachSpan(plans, func(p PlanSince) time.Time { return p.Since }, from, to, func(p PlanSince, from, to time.Time) {
		list = append(list, PlanSpan{Plan: p.Plan, From: from, To: to})
	})
	return list
}

// rate says what the statement's usage costs; when is what was used when, and isn't
// looked at where there was one plan. A plan that lasted for a part of the period costs
// and allows that part, to the second, rounded down. The parts of the allowance add up.
// What is beyond them is divided over the plans by what each was used beyond its own
// part, at its price: a change afterwards makes nothing cheaper.
func (st *Statement) rate(when []UsedAt) {
	length := int64(st.To.Sub(st.From) / time.Second)
	messages, seconds := st.usedBy(when)
	var beyond [2][]int64 // of messages and of seconds of connections
	for i, p := range st.Plans {
		// Plans change between two seconds; the spans' seconds must add up.
		lasted := p.To.Unix() - p.From.Unix()
		ofMessages, ofMinutes := tenants.Part(p.Plan.MessagesPerMonth, lasted, length), tenants.Part(p.Plan.ConnectionMinutesPerMonth, lasted, length)
		st.MessagesAllowed += ofMessages
		st.ConnectionMinutesAllowed += ofMinutes
		beyond[0], beyond[1] = append(beyond[0], max(0, messages[i]-ofMessages)), append(beyond[1], max(0, seconds[i]-60*ofMinutes))
		if p.Plan.Price > 0 {
			st.charge(Charge{Kind: ChargePlan, Plan: p.Plan.ID, Quantity: lasted, Price: p.Plan.Price, Amount: tenants.Part(p.Plan.Price, lasted, length)})
		}
	}
	if len(st.Plans) == 0 {
		return
	}
	st.Currency = st.Plans[len(st.Plans)-1].Plan.Currency
	used := Values{Accepted: st.Totals.Accepted, Delivered: st.Totals.Delivered, ConnectionSeconds: st.Totals.ConnectionSeconds}
	st.ExtraMessages = max(0, used.Messages()-st.MessagesAllowed)
	st.ExtraConnectionMinutes = max(0, used.ConnectionMinutes()-st.ConnectionMinutesAllowed)
	st.extra(ChargeMessages, st.ExtraMessages, beyond[0], func(p Plan) int64 { return p.ExtraMessagesPrice })
	st.extra(ChargeMinutes, st.ExtraConnectionMinutes, beyond[1], func(p Plan) int64 { return p.ExtraMinutesPrice })
}

// usedBy sums what was used under each of the plans. An hour in which the plan changed
// counts as the dearest one's that it had.
func (st *Statement) usedBy(when []UsedAt) (messages, seconds []int64) {
	messages, seconds = make([]int64, len(st.Plans)), make([]int64, len(st.Plans))
	if len(st.Plans) == 1 {
		messages[0], seconds[0] = st.Totals.Accepted+st.Totals.Delivered, st.Totals.ConnectionSeconds
	}
	for _, u := range when {
		width := time.Hour
		if u.Day {
			width = 24 * time.Hour
		}
		ofMessages, ofSeconds := -1, -1
		for i, p := range st.Plans {
			if !p.From.Before(u.At.Add(width)) || !u.At.Before(p.To) {
				continue
			}
			if ofMessages < 0 || p.Plan.ExtraMessagesPrice > st.Plans[ofMessages].Plan.ExtraMessagesPrice {
				ofMessages = i
			}
			if ofSeconds < 0 || p.Plan.ExtraMinutesPrice > st.Plans[ofSeconds].Plan.ExtraMinutesPrice {
				ofSeconds = i
			}
		}
		if ofMessages >= 0 {
			messages[ofMessages] += u.Messages
			seconds[ofSeconds] += u.ConnectionSeconds
		}
	}
	return messages, seconds
}

// extra charges what was used beyond the allowance, in the parts that beyond has of it
// by plans.
func (st *Statement) extra(kind ChargeKind, quantity int64, beyond []int64, price func(Plan) int64) {
	const million = 1_000_000
	whole, last := int64(0), len(beyond)-1 // the last one has what rounding leaves
	for i, n := range beyond {
		if whole += n; n > 0 {
			last = i
		}
	}
	left := quantity
	for i, p := range st.Plans {
		of := int64(0)
		switch {
		case i == last:
			of = left
		case beyond[i] > 0:
			of = tenants.Part(quantity, beyond[i], whole)
		}
		left -= of
		if price := price(p.Plan); price > 0 && of > 0 {
			st.charge(Charge{Kind: kind, Plan: p.Plan.ID, Quantity: of, Price: price, Amount: tenants.Part(price, of, million)})
		}
		if i == last {
			break
		}
	}
}

func (st *Statement) charge(c Charge) {
	st.Charges = append(st.Charges, c)
	st.Total += c.Amount
}
