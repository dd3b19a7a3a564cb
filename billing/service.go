package billing

import (
	"context"
	"time"

	"github.com/signalbox/signalbox/tenants"
)

// Store reads plans and the ledger.
type Store interface {
	Plans(ctx context.Context) ([]Plan, error)
	// Points returns the steps of [from, to) in which something was used, in
	// order.
	Points(ctx context.Context, t tenants.ID, from, to time.Time, step Step) ([]Point, error)
	// Subscribed returns the period of an account that a time is in, and the plans that
	// it has had, in order, with what they asked and allowed when the period, or the
	// plan in it, began.
	Subscribed(ctx context.Context, account tenants.AccountID, at time.Time) (from, to time.Time, plans []PlanSince, err error)
	// AccountAmounts sums the ledger over the days of [from, to), by tenant.
	AccountAmounts(ctx context.Context, account tenants.AccountID, from, to time.Time) ([]TenantAmounts, error)
	// UsedAt returns what an account has used of what plans allow over the days of
	// [from, to): of the days that are named by their hours, of the others by the day
	// or the hour.
	UsedAt(ctx context.Context, account tenants.AccountID, from, to time.Time, byHour []time.Time) ([]UsedAt, error)
	// AnchorDay is that of the account of a tenant.
	AnchorDay(ctx context.Context, t tenants.ID) (int, error)
	// Spent returns what the accounts of some tenants have used in their periods that
	// now is in.
	Spent(ctx context.Context, of []tenants.ID, now time.Time) ([]Spent, error)
	// Month sums [from, to) for a tenant and for its account.
	Month(ctx context.Context, t tenants.ID, from, to time.Time) (Month, error)
	// Activity counts connections on edges that were heard of within silence, by
	// the clock of the ledger, which also says when that was.
	Activity(ctx context.Context, t tenants.ID, silence time.Duration) (Activity, error)
	// Hubs returns the names of up to most hubs that were used since a day, the
	// latest first.
	Hubs(ctx context.Context, t tenants.ID, since time.Time, most int) ([]string, error)
	// Top returns the most values of a dimension with what was accepted and delivered
	// for them, the largest first, and what that was altogether.
	Top(ctx context.Context, t tenants.ID, q Query, by Dimension, most int) (top []TopValue, total TopValue, err error)
	// Correct adds a row to the ledger, in the hour of at.
	Correct(ctx context.Context, c Correction, at time.Time) error
	// Entries hands out the entries of [from, to), in the order of hour, tenant
	// and hub, those of a kind or, with "", of all.
	Entries(ctx context.Context, w Whose, from, to time.Time, kind Kind, each func(Entry) error) error
	// CountEntries counts them.
	CountEntries(ctx context.Context, w Whose, from, to time.Time, kind Kind) (int, error)
	// Keys returns when each access key of a tenant was used last.
	Keys(ctx context.Context, t tenants.ID) (map[string]time.Time, error)
	// Watch remembers that somebody looks at a tenant's usage.
	Watch(ctx context.Context, t tenants.ID, until time.Time) error
	// Watched returns those of the tenants that somebody looks at.
	Watched(ctx context.Context, among []tenants.ID, now time.Time) ([]tenants.ID, error)
}

// edgeSilence is after how long the connections of an edge that says nothing no
// longer count. Edges flush every two seconds.
const edgeSilence = 10 * time.Second

// livePoints is how many minutes a live update carries: late flushes still
// change the ones before the current one.
const livePoints = 3

// HubsShownFor is how long after its last use a hub counts as used.
const HubsShownFor = 30 * 24 * time.Hour

// maxHubs bounds how many used hubs are listed.
const maxHubs = 2000

// Service answers what was used. It is safe for concurrent use.
type Service struct {
	store Store
	now   func() time.Time
}

// NewService makes a Service; now may be nil.
func NewService(store Store, now func() time.Time) *Service {
	if now == nil {
		now = time.Now
	}
	return &Service{store: store, now: now}
}

// Plans returns all plans, smallest first.
func (s *Service) Plans(ctx context.Context) ([]Plan, error) { return s.store.Plans(ctx) }

// Usage returns what a tenant used, without gaps.
func (s *Service) Usage(ctx context.Context, t tenants.ID, q Query) (Usage, error) {
	q, err := q.resolve(s.now())
	if err != nil {
		return Usage{}, err
	}
	used, err := s.store.Points(ctx, t, q.From, q.To, q.Step)
	if err != nil {
		return Usage{}, err
	}
	u := Usage{From: q.From, To: q.To, Step: q.Step}
	for at := q.From; at.Before(q.To); at = at.Add(steps[q.Step].width) {
		p := Point{At: at}
		if len(used) > 0 && used[0].At.Equal(at) {
			p.Values, used = used[0].Values, used[1:]
		}
		u.Points = append(u.Points, p)
		u.Totals.add(p.Values)
	}
	u.Month, err = s.Month(ctx, t)
	return u, err
}

// Month returns what was used in the present period of the account's subscription.
func (s *Service) Month(ctx context.Context, t tenants.ID) (Month, error) {
	anchor, err := s.store.AnchorDay(ctx, t)
	if err != nil {
		return Month{}, err
	}
	from, to := tenants.Period(anchor, s.now())
	m, err := s.store.Month(ctx, t, from, to)
	if err != nil {
		return Month{}, err
	}
	_, _, plans, err := s.store.Subscribed(ctx, m.Account, from)
	if err != nil || len(plans) == 0 {
		return m, err
	}
	terms := make([]tenants.PlanTerms, 0, len(plans))
	for _, p := range plans {
		terms = append(terms, tenants.PlanTerms{Since: p.Since, Messages: p.Plan.MessagesPerMonth, ConnectionMinutes: p.Plan.ConnectionMinutesPerMonth})
	}
	allowed := tenants.SharedAllowance(terms, from, to)
	m.MessagesAllowed, m.ConnectionMinutesAllowed = allowed.Messages, allowed.ConnectionMinutes
	return m, nil
}

// Spent is what an account has used in a period.
type Spent struct {
	Account           tenants.AccountID
	Tenant            tenants.ID // one of those that were asked for
	From              time.Time
	Messages          int64
	ConnectionSeconds int64
}

// Spent returns what the accounts of some tenants have used in their present periods.
func (s *Service) Spent(ctx context.Context, of []tenants.ID) ([]Spent, error) {
	return s.store.Spent(ctx, of, s.now())
}

// Activity tells what of a tenant is alive.
func (s *Service) Activity(ctx context.Context, t tenants.ID) (Activity, error) {
	return s.store.Activity(ctx, t, edgeSilence)
}

// Hubs returns the names of the hubs that were used within HubsShownFor, the
// latest first, whether they have settings or not.
func (s *Service) Hubs(ctx context.Context, t tenants.ID) ([]string, error) {
	return s.store.Hubs(ctx, t, s.now().UTC().Add(-HubsShownFor), maxHubs)
}

// Keys returns when each access key was used last, by its id. Those that never were
// are left out.
func (s *Service) Keys(ctx context.Context, t tenants.ID) (map[string]time.Time, error) {
	return s.store.Keys(ctx, t)
}

// Live is what a watching console is sent after each change.
type Live struct {
	Points   []Point // the last minutes
	Month    Month
	Activity Activity
}

// Live returns the newest figures of a tenant.
func (s *Service) Live(ctx context.Context, t tenants.ID) (Live, error) {
	now := s.now()
	usage, err := s.Usage(ctx, t, Query{From: now.Add(-(livePoints - 1) * time.Minute), To: now, Step: Minute})
	if err != nil {
		return Live{}, err
	}
	activity, err := s.Activity(ctx, t)
	return Live{Points: usage.Points, Month: usage.Month, Activity: activity}, err
}

// Watch asks for live updates of a tenant until a time.
func (s *Service) Watch(ctx context.Context, t tenants.ID, until time.Time) error {
	return s.store.Watch(ctx, t, until)
}

// Watched returns those of the tenants for which somebody wants live updates.
func (s *Service) Watched(ctx context.Context, among []tenants.ID) ([]tenants.ID, error) {
	return s.store.Watched(ctx, among, s.now())
}
