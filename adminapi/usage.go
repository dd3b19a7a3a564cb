package adminapi

import (
	"fmt"
	"net/http"

	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/tenants"
)

// GetUsage implements ServerInterface.
func (s *server) GetUsage(w http.ResponseWriter, r *http.Request, ref TenantPath, params GetUsageParams) {
	t, err := s.tenants.Tenant(r.Context(), callerOf(r), ref)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	u, err := s.billing.Usage(r.Context(), t.ID, billing.Query{From: value(params.From), To: value(params.To), Step: billing.Step(value(params.Step))})
	s.answer(w, r, http.StatusOK, Usage{
		From: u.From, To: u.To, Step: UsageStep(u.Step), Points: usagePoints(u.Points), Totals: usageValues(u.Totals), Month: usageMonth(u.Month),
	}, err)
}

// GetUsageTop implements ServerInterface.
func (s *server) GetUsageTop(w http.ResponseWriter, r *http.Request, ref TenantPath, params GetUsageTopParams) {
	t, err := s.tenants.Tenant(r.Context(), callerOf(r), ref)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	q := billing.Query{From: value(params.From), To: value(params.To), Step: billing.Step(value(params.Step))}
	top, err := s.billing.Top(r.Context(), t.ID, q, billing.Dimension(params.By))
	answer := UsageTop{
		From: top.From, To: top.To, Step: UsageStep(top.Step), By: UsageDimension(top.By), Other: topSum(top.Other), Total: topSum(top.Total),
		Values: make([]UsageTopValue, 0, len(top.Values)),
	}
	for _, v := range top.Values {
		answer.Values = append(answer.Values, UsageTopValue{Value: v.Value, MessagesAccepted: v.Accepted, MessagesDelivered: v.Delivered})
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

func topSum(v billing.TopValue) UsageTopSum {
	return UsageTopSum{MessagesAccepted: v.Accepted, MessagesDelivered: v.Delivered}
}

// GetActivity implements ServerInterface.
func (s *server) GetActivity(w http.ResponseWriter, r *http.Request, ref TenantPath) {
	t, err := s.tenants.Tenant(r.Context(), callerOf(r), ref)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	a, err := s.billing.Activity(r.Context(), t.ID)
	s.answer(w, r, http.StatusOK, activity(a), err)
}

// ListPlans implements ServerInterface.
func (s *server) ListPlans(w http.ResponseWriter, r *http.Request, params ListPlansParams) {
	plans, err := s.billing.Plans(r.Context())
	page, next, err := paged(err, smallestPlans, plans, params.Cursor, params.Limit)
	answer := PlanList{Plans: make([]Plan, 0, len(page)), NextCursor: next}
	for _, p := range page {
		shown := Plan{ID: p.ID, Name: p.Name, MessagesPerMonth: p.MessagesPerMonth, ConnectionMinutesPerMonth: p.ConnectionMinutesPerMonth}
		shown.Limits = append(shown.Limits,
			PlanLimit{Limit: tenants.LimitTenants, Title: "Tenants", Max: int64(p.MaxTenants), Unit: "tenants", Scope: PlanLimitScopeAccount},
			PlanLimit{Limit: tenants.LimitMembers, Title: "Members", Max: int64(p.MaxMembers), Unit: "people", Scope: PlanLimitScopeAccount})
		for _, r := range tenants.Rows() {
			shown.Limits = append(shown.Limits, PlanLimit{Limit: r.Name, Title: r.Title, Max: int64(r.Of(&p.Limits)), Unit: r.Unit, Scope: PlanLimitScope(r.Scope)})
		}
		answer.Plans = append(answer.Plans, shown)
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

var smallestPlans = order[billing.Plan]{
	list: "plans", place: func(p billing.Plan) []string { return []string{fmt.Sprintf("%020d", p.MessagesPerMonth), p.ID} },
}

// NewLiveUsage returns the argument of the live method `usage`.
func NewLiveUsage(t tenants.ID, l billing.Live) LiveUsage {
	return LiveUsage{TenantID: string(t), Points: usagePoints(l.Points), Month: usageMonth(l.Month)}
}

// NewActivity returns the argument of the live method `activity`.
func NewActivity(a billing.Activity) Activity { return activity(a) }

func activity(a billing.Activity) Activity {
	return Activity{
		TenantID: string(a.Tenant), ConnectionsNow: a.ConnectionsNow, FirstConnectionAt: optional(a.FirstConnectionAt),
		FirstMessageAt: optional(a.FirstMessageAt), LastMessageAt: optional(a.LastMessageAt),
	}
}

func usagePoints(points []billing.Point) []UsagePoint {
	shown := make([]UsagePoint, 0, len(points))
	for _, p := range points {
		shown = append(shown, UsagePoint{At: p.At, Values: usageValues(p.Values)})
	}
	return shown
}

func usageValues(v billing.Values) UsageValues {
	refused := v.Refused
	if refused == nil {
		refused = map[string]int64{}
	}
	return UsageValues{
		Messages: v.Messages(), MessagesAccepted: v.Accepted, MessagesDelivered: v.Delivered, DeliveredBytes: v.DeliveredBytes,
		ReceivedBytes: v.ReceivedBytes, ConnectionMinutes: v.ConnectionMinutes(), ConnectionsOpened: v.Opened,
		PeakConnections: v.Peak, Refused: refused,
	}
}

func usageMonth(m billing.Month) UsageMonth {
	return UsageMonth{
		From: m.From, To: m.To, Plan: m.Plan, Messages: m.Messages, ConnectionMinutes: m.ConnectionMinutes,
		AccountMessages: m.AccountMessages, AccountConnectionMinutes: m.AccountConnectionMinutes,
		MessagesAllowed: m.MessagesAllowed, ConnectionMinutesAllowed: m.ConnectionMinutesAllowed,
	}
}
