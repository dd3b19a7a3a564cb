package adminapi

import (
	"cmp"
	"net/http"
	"time"

	"github.com/signalbox/signalbox/tenants"
)

// GetPlan implements ServerInterface.
func (s *server) GetPlan(w http.ResponseWriter, r *http.Request, account AccountPath) {
	sub, _, err := s.tenants.Subscription(r.Context(), callerOf(r), tenants.AccountID(account))
	s.answer(w, r, http.StatusOK, planState(sub, s.now()), err)
}

// PutPlan implements ServerInterface.
func (s *server) PutPlan(w http.ResponseWriter, r *http.Request, account AccountPath) {
	in, err := body[PlanChange](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	from := tenants.PlanFrom(cmp.Or(value(in.Effective), Now))
	sub, err := s.tenants.ChangePlan(r.Context(), callerOf(r), tenants.AccountID(account), in.Plan, from)
	s.answer(w, r, http.StatusOK, planState(sub, s.now()), err)
}

func planState(sub tenants.Subscription, now time.Time) PlanState {
	state := PlanState{Plan: sub.Plan, Since: sub.PlanSince, Tenants: sub.Tenants, MaxTenants: sub.MaxTenants}
	state.From, state.To = tenants.Period(sub.AnchorDay, now)
	if sub.Next != nil {
		state.NextPlan, state.NextPlanAt = &sub.Next.Plan, &sub.Next.At
	}
	return state
}
