package adminapi

import (
	"cmp"
	"net/http"
	"time"

	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/tenants"
)

// GetPlan implements ServerInterface.
func (s *server) GetPlan(w http.ResponseWriter, r *http.Request, account AccountPath) {
	sub, _, err := s.tenants.Subscription(r.Context(), callerOf(r), tenants.AccountID(account))
	s.answerPlan(w, r, sub, err)
}

// PutPlan implements ServerInterface.
func (s *server) PutPlan(w http.ResponseWriter, r *http.Request, account AccountPath) {
	in, err := body[PlanChange](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	sub, _, err := s.tenants.Subscription(r.Context(), callerOf(r), tenants.AccountID(account))
	if err != nil {
		s.problem(w, r, err)
		return
	}
	st, err := s.statements.Statement(r.Context(), sub.Account, time.Time{})
	if err != nil {
		s.problem(w, r, err)
		return
	}
	sub, err = s.tenants.ChangePlan(r.Context(), callerOf(r), sub.Account, in.Plan, tenants.PlanFrom(cmp.Or(value(in.Effective), Now)), usedIn(st))
	s.answerPlan(w, r, sub, err)
}

func (s *server) answerPlan(w http.ResponseWriter, r *http.Request, sub tenants.Subscription, err error) {
	if err == nil {
		w.Header().Set(etagHeader, planTag(sub))
	}
	s.answer(w, r, http.StatusOK, planState(sub, s.now()), err)
}

// planTag is the tag of what is set of an account's plan.
func planTag(sub tenants.Subscription) string { return settingsTag(sub.Plan, sub.PlanSince, sub.Next) }

// usedIn is what an account has used in a period.
func usedIn(st billing.Statement) tenants.Allowed {
	used := billing.Values{Accepted: st.Totals.Accepted, Delivered: st.Totals.Delivered, ConnectionSeconds: st.Totals.ConnectionSeconds}
	return tenants.Allowed{Messages: used.Messages(), ConnectionMinutes: used.ConnectionMinutes()}
}

func planState(sub tenants.Subscription, now time.Time) PlanState {
	state := PlanState{Plan: sub.Plan, Since: sub.PlanSince, Tenants: sub.Tenants, MaxTenants: sub.MaxTenants, Members: sub.Members, MaxMembers: sub.MaxMembers}
	state.From, state.To = tenants.Period(sub.AnchorDay, now)
	if sub.Next != nil {
		state.NextPlan, state.NextPlanAt = &sub.Next.Plan, &sub.Next.At
	}
	return state
}
