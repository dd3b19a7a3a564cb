package adminapi

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// LimitFigures are what edges have counted of one limit of a tenant today (UTC).
type LimitFigures struct {
	Used, Peak           int64 // when Known
	Known                bool
	Largest              bool // Peak is the most that one user or address had
	Refused, WouldRefuse int64
	LastHit              time.Time // zero = never
}

// GetLimits implements ServerInterface.
func (s *server) GetLimits(w http.ResponseWriter, r *http.Request, ref TenantPath) {
	t, limits, err := s.limitsOf(r.Context(), callerOf(r), ref)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	answer := LimitList{Plan: t.Plan, Limits: make([]Limit, 0, len(limits))}
	if answer.Allowances, err = s.allowancesOf(r.Context(), t.Tenant); err != nil {
		s.problem(w, r, err)
		return
	}
	for _, l := range limits {
		answer.Limits = append(answer.Limits, l.shown)
	}
	s.answer(w, r, http.StatusOK, answer, nil)
}

// GetLimit implements ServerInterface.
func (s *server) GetLimit(w http.ResponseWriter, r *http.Request, ref TenantPath, name string) {
	s.answerLimit(w, r, ref, name)
}

func (s *server) answerLimit(w http.ResponseWriter, r *http.Request, ref, name string) {
	_, limits, err := s.limitsOf(r.Context(), callerOf(r), ref)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	i := slices.IndexFunc(limits, func(l shownLimit) bool { return l.Name == name })
	if i < 0 {
		s.problem(w, r, tenants.NoSuchLimit())
		return
	}
	w.Header().Set(etagHeader, limitTag(limits[i].Limit))
	s.answer(w, r, http.StatusOK, limits[i].shown, nil)
}

// shownLimit is a limit with how it is shown.
type shownLimit struct {
	tenants.Limit
	shown Limit
}

// limitsOf returns every limit of a tenant with what is known of its use.
func (s *server) limitsOf(ctx context.Context, c tenants.Caller, ref string) (tenants.MemberTenant, []shownLimit, error) {
	t, limits, used, err := s.tenants.Limits(ctx, c, ref)
	if err != nil {
		return t, nil, err
	}
	figures := s.figuresOf(ctx, t.ID)
	activity, err := s.billing.Activity(ctx, t.ID)
	if err != nil {
		return t, nil, err
	}
	used["max_connections"] = activity.ConnectionsNow
	if s.streamBytes != nil {
		// Without Redis nobody knows, and the number is left out.
		if bytes, err := s.streamBytes(ctx, t.ID); err == nil {
			used["history_bytes"] = bytes
		} else {
			s.logger.WarnContext(ctx, "sizes of streams can't be read", "error", err)
		}
	}
	all := make([]shownLimit, 0, len(limits))
	for _, l := range limits {
		shown := limit(l, figures[l.Name])
		if n, ok := used[l.Name]; ok {
			shown.Used = &n
		}
		all = append(all, shownLimit{l, shown})
	}
	return t, all, nil
}

// tagAmong is the tag of what is set of the limit of that name.
func tagAmong(limits []tenants.Limit, name string) (string, error) {
	i := slices.IndexFunc(limits, func(l tenants.Limit) bool { return l.Name == name })
	if i < 0 {
		return "", tenants.NoSuchLimit()
	}
	return limitTag(limits[i]), nil
}

// limitTag is the tag of what is set of a limit.
func limitTag(l tenants.Limit) string { return settingsTag(l.Name, l.Override) }

// allowancesOf returns what the plan of a tenant's account allows in this period.
func (s *server) allowancesOf(ctx context.Context, t tenants.Tenant) ([]PlanAllowance, error) {
	sub, err := s.tenants.SubscriptionOf(ctx, t.Account)
	if err != nil {
		return nil, err
	}
	m, err := s.billing.Month(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	shown := func(name PlanAllowanceLimit, most, used int64, hard bool) PlanAllowance {
		return PlanAllowance{Limit: name, Max: most, Used: used, Hard: hard, Exceeded: hard && used >= most, To: m.To}
	}
	return []PlanAllowance{
		shown(MessagesPerMonth, sub.MessagesAllowed, m.AccountMessages, sub.HardMessages),
		shown(ConnectionMinutesPerMonth, sub.ConnectionMinutesAllowed, m.AccountConnectionMinutes, sub.HardMinutes),
	}, nil
}

// figuresOf returns what is known of a tenant's limits, by their names; without Redis
// nothing is.
func (s *server) figuresOf(ctx context.Context, t tenants.ID) map[string]LimitFigures {
	if s.limitFigures == nil {
		return nil
	}
	figures, err := s.limitFigures(ctx, t)
	if err != nil {
		s.logger.WarnContext(ctx, "figures of limits can't be read", "error", err)
	}
	return figures
}

// PutLimit implements ServerInterface.
func (s *server) PutLimit(w http.ResponseWriter, r *http.Request, ref TenantPath, name string) {
	in, err := body[LimitOverride](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	o := tenants.Override{Limit: name, DryRun: deref(in.DryRun), Expires: in.ExpiresAt}
	if in.Max != nil {
		value := int(*in.Max)
		o.Value = &value
	}
	if err := s.tenants.OverrideLimit(r.Context(), callerOf(r), ref, o); err != nil {
		s.problem(w, r, err)
		return
	}
	s.answerLimit(w, r, ref, name)
}

// DeleteLimit implements ServerInterface.
func (s *server) DeleteLimit(w http.ResponseWriter, r *http.Request, ref TenantPath, name string) {
	s.done(w, r, s.tenants.ResetLimit(r.Context(), callerOf(r), ref, name))
}

func limit(l tenants.Limit, f LimitFigures) Limit {
	shown := Limit{
		Limit: l.Name, Title: l.Title, Max: int64(l.Value), PlanMax: int64(l.Plan), Unit: l.Unit, Scope: LimitScope(l.Scope), Kind: LimitKind(l.Kind),
		Source: LimitSource(l.Source), Lowest: int64(l.Lowest), Highest: int64(l.Highest), CanDryRun: l.NoDryRun == "", NoDryRun: given(l.NoDryRun), Counted: LimitCounted(l.Counted()), Shown: l.Shown(),
		LastHitAt: optional(f.LastHit),
	}
	if f.Known {
		shown.Used = &f.Used
	}
	if f.Known || f.Largest {
		shown.Peak = &f.Peak
	}
	if l.Code != "" {
		doc := fault.PagesURL + l.Code
		shown.Code, shown.Doc = &l.Code, &doc
		shown.Refused, shown.WouldRefuse = &f.Refused, &f.WouldRefuse
	}
	if o := l.Override; o != nil {
		shown.OverrideBy = authority(o.By)
		shown.Override = &LimitOverride{DryRun: &o.DryRun, ExpiresAt: o.Expires}
		if o.Value != nil {
			value := int64(*o.Value)
			shown.Override.Max = &value
		}
	}
	return shown
}

// methodRates reads the rates of a hub's methods.
func methodRates(in *MethodRates) *map[string]tenants.MethodRate {
	if in == nil {
		return nil
	}
	rates := make(map[string]tenants.MethodRate, len(*in))
	for name, r := range *in {
		rates[name] = tenants.MethodRate{PerSecond: r.PerSecond, Burst: deref(r.Burst)}
	}
	return &rates
}

func shownMethodRates(rates map[string]tenants.MethodRate) MethodRates {
	shown := make(MethodRates, len(rates))
	for name, r := range rates {
		shown[name] = MethodRate{PerSecond: r.PerSecond, Burst: &r.Burst}
	}
	return shown
}
