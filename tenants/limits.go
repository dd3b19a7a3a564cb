package tenants

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// LimitScope is what a limit is counted over.
type LimitScope string

// The scopes of limits.
const (
	ScopeIP         LimitScope = "ip" // one address, on one edge
	ScopeConnection LimitScope = "connection"
	ScopeUser       LimitScope = "user"
	ScopeGroup      LimitScope = "group"
	ScopeHub        LimitScope = "hub"
	ScopeTenant     LimitScope = "tenant" // the whole fleet
	ScopeMessage    LimitScope = "message"
	ScopeRequest    LimitScope = "request"
)

// LimitKind is what a limit does to what is beyond it.
type LimitKind string

// The kinds of limits.
const (
	HardLimit     LimitKind = "hard"     // one more is refused
	SoftLimit     LimitKind = "soft"     // hard on Free; else served up to 120 %, with a warning
	ThrottleLimit LimitKind = "throttle" // what comes too fast is refused; later it will do
	ShapeLimit    LimitKind = "shape"    // what comes too fast waits, then is refused
	BurstLimit    LimitKind = "burst"    // how much of a rate may come at once
	TrimLimit     LimitKind = "trim"     // the oldest goes
	SettingLimit  LimitKind = "setting"  // the most that a hub's setting may say
)

// LimitSource is where a limit's value comes from.
type LimitSource string

// The sources of limits.
const (
	FromPlan     LimitSource = "plan"
	FromOverride LimitSource = "override"
)

// LimitRow is a row of the table of limits: what all that is said of a limit, and
// all that enforces it, comes from.
type LimitRow struct {
	Name  string // lower snake case, as in documents, texts and the API
	Title string
	Unit  string
	Scope LimitScope
	Kind  LimitKind
	// Free, Pro and Scale are the values of the plans; a plan of another name has
	// those of Scale.
	Free, Pro, Scale int
	// Least and Most bound an override, whoever makes it.
	Least, Most int
	// Code is that of refusals, with a page in docs/errors; "" = nothing is refused.
	Code string
	// At is what happens at the limit, for the documentation.
	At string
	// Rate is the limit whose bucket this one is the depth of; "" = none.
	Rate string
	// NoDryRun is why it can't be tried out; "" = it can.
	NoDryRun string

	of func(*Limits) *int
}

// CountedWhere says where what a limit bounds is counted.
type CountedWhere string

// The places.
const (
	CountedFleet CountedWhere = "fleet" // over all edges together
	// CountedEdge is on each edge by itself: over several edges more is let through, at
	// most the limit on each.
	CountedEdge CountedWhere = "edge"
	// CountedOne is for one thing, which one edge has or judges at a time.
	CountedOne CountedWhere = "one"
)

// Counted says where what the limit bounds is counted.
func (r LimitRow) Counted() CountedWhere {
	switch {
	case r.Scope == ScopeIP, r.Name == "group_publishes_per_second", r.Name == "group_publish_burst", r.Name == "max_upstream_requests":
		return CountedEdge
	case r.Scope == ScopeTenant, r.Scope == ScopeUser, r.Name == "max_presence_members":
		return CountedFleet
	default:
		return CountedOne
	}
}

// Shown says which use of the limit is shown beside it, or why none is.
func (r LimitRow) Shown() string {
	switch {
	case r.Rate != "":
		return "none: it is how much of the rate may come at once"
	case r.Name == "max_hubs", r.Name == "history_bytes", r.Name == "max_upstream_endpoints":
		return "now"
	case r.Name == "max_method_limits", r.Name == "max_parallel_calls":
		return "now, of the hub whose settings say most"
	case r.Name == "max_connections_per_user":
		return "today's largest, over all edges"
	case r.Name == "max_connections_per_ip":
		return "today's largest on one edge"
	case r.Name == "max_upstream_requests":
		return "none: each edge has its own, refusals are counted"
	case r.Scope == ScopeTenant:
		return "now and today's peak"
	case r.Kind == SettingLimit, r.Kind == TrimLimit:
		return "none: nothing is used up"
	case r.Scope == ScopeMessage, r.Scope == ScopeRequest, r.Name == "max_presence_state_bytes":
		return "none: each is judged by itself, refusals are counted"
	default:
		return "none: each " + string(r.Scope) + " has its own, refusals are counted"
	}
}

// Row returns the row of a limit.
func Row(name string) (LimitRow, bool) {
	i, ok := rowByName[name]
	if !ok {
		return LimitRow{}, false
	}
	return limitRows[i], true
}

// Rows lists the table in its order.
func Rows() []LimitRow { return slices.Clone(limitRows) }

var rowByName = func() map[string]int {
	byName := make(map[string]int, len(limitRows))
	for i, r := range limitRows {
		byName[r.Name] = i
	}
	return byName
}()

// Of returns the limit's value in l.
func (r LimitRow) Of(l *Limits) int { return *r.of(l) }

// PlanValue is the default of a plan, by the plan's id.
func (r LimitRow) PlanValue(plan string) int {
	switch plan {
	case "free":
		return r.Free
	case "pro":
		return r.Pro
	}
	return r.Scale
}

// Ceiling is the most that a tenant's own people can set a limit to, given what the
// plan has: twice that. It is also what is in force while a lower value is only
// tried out.
func (r LimitRow) Ceiling(planValue int) int { return max(planValue, min(2*planValue, r.Most)) }

// PlanLimits returns the limits of a plan; stored is a JSON object of those that
// differ from the table, nil = none.
func PlanLimits(plan string, stored []byte) (Limits, error) {
	var l Limits
	for _, r := range limitRows {
		*r.of(&l) = r.PlanValue(plan)
	}
	if len(stored) == 0 {
		return l, nil
	}
	if err := json.Unmarshal(stored, &l); err != nil {
		return Limits{}, fmt.Errorf("limits of plan %s: %w", plan, err)
	}
	if err := l.Check(); err != nil {
		return Limits{}, fmt.Errorf("limits of plan %s: %w", plan, err)
	}
	return l, nil
}

// Check returns an error that names a limit that can't be.
func (l Limits) Check() error {
	for _, r := range limitRows {
		if r.Of(&l) < 0 {
			return fmt.Errorf("%s is %d, and can't be less than 0", r.Name, r.Of(&l))
		}
	}
	return nil
}

// Refusal is what the limit says no with when l is in force.
func (r LimitRow) Refusal(l *Limits, retryAfter time.Duration) fault.Limit {
	return r.RefusalAt(r.Of(l), r.Burst(l), retryAfter)
}

// RefusalAt is Refusal for a value; burst is 0 when it is no rate.
func (r LimitRow) RefusalAt(most, burst int, retryAfter time.Duration) fault.Limit {
	refusal := fault.Limit{
		Code: r.Code, Scope: string(r.Scope), Limit: r.Name, Max: int64(most), Burst: int64(burst), Doc: fault.PagesURL + r.Code,
		RetryAfterMS: int64(math.Ceil(float64(retryAfter) / float64(time.Millisecond))),
	}
	if r.Counted() == CountedEdge {
		refusal.Counted = fault.CountedEdge
	}
	return refusal
}

// Burst is how much of a rate may come at once, at least a second's worth; 0 = the
// limit is no rate.
func (r LimitRow) Burst(l *Limits) int {
	if r.Kind != ThrottleLimit && r.Kind != ShapeLimit {
		return 0
	}
	if b, ok := burstOf[r.Name]; ok {
		return max(r.Of(l), limitRows[b].Of(l))
	}
	return r.Of(l)
}

// RowOfCode returns the row whose refusals have a code.
func RowOfCode(code string) (LimitRow, bool) {
	i, ok := rowByCode[code]
	if !ok {
		return LimitRow{}, false
	}
	return limitRows[i], true
}

var rowByCode = func() map[string]int {
	byCode := make(map[string]int)
	for i, r := range limitRows {
		if r.Code != "" {
			byCode[r.Code] = i
		}
	}
	return byCode
}()

// mustRow returns the row of a limit that there is.
func mustRow(name string) LimitRow {
	r, ok := Row(name)
	if !ok {
		panic("no limit " + name)
	}
	return r
}

// burstOf has the rows of bursts, by the rates that they are of.
var burstOf = func() map[string]int {
	bursts := make(map[string]int)
	for i, r := range limitRows {
		if r.Rate != "" {
			bursts[r.Rate] = i
		}
	}
	return bursts
}()

// Fill gives the limits that a document lacks, since it was written before there was
// one, the plan's value. None of them can be set to 0.
func (l *Limits) Fill(plan string) {
	for _, r := range limitRows {
		if v := r.of(l); *v == 0 && r.Least > 0 {
			*v = r.PlanValue(plan)
		}
	}
}

// Override replaces one limit of the plan for one tenant.
type Override struct {
	Limit string
	// Value is nil in an override that only tries the plan's value out.
	Value *int
	// DryRun: the value is not enforced; what it would have refused is counted.
	DryRun bool
	// Expires is when the plan's value is back; nil = never.
	Expires *time.Time
	// By is who made it; "" = the account.
	By Authority
	// Reason is why an operator made it.
	Reason string
}

// inForce reports whether the override counts at a time.
func (o Override) inForce(at time.Time) bool { return o.Expires == nil || at.Before(*o.Expires) }

// within returns the value under a plan's: one of the account that was set under a
// larger plan counts for what this plan would let it set, so without an end for no
// more than the plan's own.
func (o Override) within(r LimitRow, plan int) int {
	switch {
	case o.Value == nil:
		return plan
	case o.By == ByOperator:
		return *o.Value
	case o.Expires == nil:
		return min(*o.Value, plan)
	}
	return min(*o.Value, r.Ceiling(plan))
}

// With returns a plan's limits with the overrides that count at a time. Overrides of
// unknown limits are left out.
func (l Limits) With(overrides []Override, at time.Time) Limits {
	plan := l
	l.Tried = nil
	for _, o := range overrides {
		r, known := Row(o.Limit)
		if !known || !o.inForce(at) {
			continue
		}
		value := o.within(r, r.Of(&plan))
		if !o.DryRun || r.NoDryRun != "" {
			*r.of(&l) = value
			continue
		}
		*r.of(&l) = max(value, r.Ceiling(r.Of(&plan)))
		if l.Tried == nil {
			l.Tried = new(Limits)
		}
		*r.of(l.Tried) = value
	}
	return l
}

// LimitsFrom are the limits that count from a time on.
type LimitsFrom struct {
	At     int64  `json:"at"` // Unix milliseconds
	Limits Limits `json:"limits"`
}

// laterLimits are the limits of the times at which overrides end, the first first.
func laterLimits(plan Limits, overrides []Override, now time.Time) (later []LimitsFrom) {
	for _, o := range overrides {
		if o.Expires != nil && o.inForce(now) {
			later = append(later, LimitsFrom{At: o.Expires.UnixMilli()})
		}
	}
	slices.SortFunc(later, func(a, b LimitsFrom) int { return int(a.At - b.At) })
	later = slices.CompactFunc(later, func(a, b LimitsFrom) bool { return a.At == b.At })
	for i := range later {
		// Expiries have microseconds: one millisecond on, all of this one have ended.
		later[i].Limits = plan.With(overrides, time.UnixMilli(later[i].At+1))
	}
	return later
}

// LimitsAt returns the limits in force at a time: overrides end by themselves,
// whoever is away then. Nobody may change what it points to.
func (d *Document) LimitsAt(now time.Time) *Limits {
	in := &d.Limits
	if len(d.LaterLimits) == 0 {
		return in
	}
	at := now.UnixMilli()
	for i := range d.LaterLimits {
		if at < d.LaterLimits[i].At {
			break
		}
		in = &d.LaterLimits[i].Limits
	}
	return in
}

// Limit is one limit in force for a tenant, with where it comes from.
type Limit struct {
	LimitRow
	Value  int // enforced
	Plan   int // what the plan has
	Source LimitSource
	// Override is what was set, which may be more than Value and the plan allow; nil =
	// nothing.
	Override *Override
	// Lowest and Highest bound what the tenant's own people may set.
	Lowest, Highest int
}

// List returns the limits of a plan one by one, with the overrides that count.
func (l Limits) List(overrides []Override, at time.Time) []Limit {
	of := make(map[string]*Override, len(overrides))
	for i, o := range overrides {
		if o.inForce(at) {
			of[o.Limit] = &overrides[i]
		}
	}
	effective := l.With(overrides, at)
	list := make([]Limit, 0, len(limitRows))
	for _, r := range limitRows {
		shown := Limit{LimitRow: r, Value: r.Of(&effective), Plan: r.Of(&l), Source: FromPlan, Override: of[r.Name], Lowest: r.Least}
		shown.Highest = r.Ceiling(shown.Plan)
		if o := shown.Override; o != nil && (o.DryRun || *o.Value == shown.Plan || shown.Value != shown.Plan) {
			shown.Source = FromOverride
		}
		list = append(list, shown)
	}
	return list
}
