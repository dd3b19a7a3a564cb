package adminapi_test

import (
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signalbox/signalbox/adminapi"
	"github.com/signalbox/signalbox/billing/billingstore"
	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/internal/scope"
	"github.com/signalbox/signalbox/tenants"
)

func TestPlan_changes_at_once_and_at_the_periods_end(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64 // of the clock
	w := newWorld(t, settings{now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	ada, acme := w.signUp("ada@example.com", "acme")
	w.verified(acme)
	id, account := tenants.ID(acme.at("tenant", "id")), "/v1/accounts/"+acme.at("account", "id")
	var state adminapi.PlanState
	get := func(a answer) {
		t.Helper()
		state = adminapi.PlanState{}
		read(t, a, &state)
	}
	get(ada.call("GET", account+"/plan", nil))
	if state.Plan != "free" || state.NextPlan != nil || state.Tenants != 1 || state.MaxTenants != 3 || !state.From.Before(state.To) {
		t.Fatalf("the first plan is %+v", state)
	}
	for field, body := range map[string]map[string]any{"plan": {"plan": "gold"}, "effective": {"plan": "pro", "effective": "later"}} {
		if a := ada.call("PUT", account+"/plan", body); a.status != http.StatusBadRequest || !slices.Contains(a.errorFields(), field) {
			t.Errorf("%s: %d %s", field, a.status, a.text)
		}
	}
	connections := func() int {
		t.Helper()
		doc, err := w.service.Document(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return doc.Limits.MaxConnections
	}
	published := w.published.of(string(id))
	get(ada.call("PUT", account+"/plan", map[string]any{"plan": "pro"}))
	if state.Plan != "pro" || connections() != 5000 || w.published.of(string(id)) == published {
		t.Errorf("at once: %+v, %d connections", state, connections())
	}
	var st adminapi.Statement
	read(t, ada.call("GET", account+"/statement", nil), &st)
	if len(st.Plans) != 2 || st.Plans[0].Plan != "free" || st.Plans[1].Plan != "pro" || !st.Plans[1].From.Equal(state.Since) || st.Total == 0 || st.Total >= 4900 {
		t.Errorf("the period is %+v, %d", st.Plans, st.Total)
	}

	// A plan that would refuse everything at once comes with the next period alone.
	now := time.Now()
	if _, err := billingstore.New(w.pool).Commit(scope.System(t.Context(), scope.Usage), usage.Flush{EdgeRun: "e", Sequence: 1, SentAt: now, Deltas: []usage.Delta{
		{Tenant: id, Hub: "chat", Minute: now, Delivered: 3_500_000},
	}}); err != nil {
		t.Fatal(err)
	}
	want(t, ada.call("PUT", account+"/plan", map[string]any{"plan": "free"}), http.StatusConflict, "allowance_used")
	get(ada.call("GET", account+"/plan", nil))
	if state.Plan != "pro" || connections() != 5000 {
		t.Errorf("a change that was refused left %+v", state)
	}

	// What is to come can be taken back.
	get(ada.call("PUT", account+"/plan", map[string]any{"plan": "free", "effective": "period_end"}))
	if state.Plan != "pro" || state.NextPlan == nil || *state.NextPlan != "free" || !state.NextPlanAt.Equal(state.To) {
		t.Errorf("to come: %+v", state)
	}
	get(ada.call("PUT", account+"/plan", map[string]any{"plan": "pro"}))
	if state.NextPlan != nil {
		t.Errorf("taken back: %+v", state)
	}
	for _, name := range []string{"Two", "Three", "Four"} {
		want(t, ada.call("POST", "/v1/tenants", map[string]any{"name": name}), http.StatusCreated, "")
	}
	get(ada.call("PUT", account+"/plan", map[string]any{"plan": "free", "effective": "period_end"}))
	end := state.To
	if err := w.service.ApplyPlans(scope.System(t.Context(), scope.Usage)); err != nil {
		t.Fatal(err)
	}
	if connections() != 5000 {
		t.Error("the plan changed before its time")
	}
	ahead.Store(int64(time.Until(end) + time.Minute)) // the change is late
	for range 2 {
		if err := w.service.ApplyPlans(scope.System(t.Context(), scope.Usage)); err != nil {
			t.Fatal(err)
		}
	}
	ada, _ = w.signIn("ada@example.com", password) // the session has ended meanwhile
	get(ada.call("GET", account+"/plan", nil))
	if state.Plan != "free" || state.NextPlan != nil || !state.Since.Equal(end) || connections() != 200 {
		t.Errorf("at the end: %+v, %d connections", state, connections())
	}
	read(t, ada.call("GET", account+"/statement?at="+end.Add(-time.Second).Format(time.RFC3339), nil), &st)
	if len(st.Plans) != 2 || !st.Plans[1].To.Equal(end) {
		t.Errorf("the former period is %+v", st.Plans)
	}
	read(t, ada.call("GET", account+"/statement", nil), &st)
	if len(st.Plans) != 1 || st.Plans[0].Plan != "free" || st.Total != 0 {
		t.Errorf("the new period is %+v, %d", st.Plans, st.Total)
	}

	// More than the plan allows stays, and nothing comes to it.
	if state.Tenants != 4 || state.MaxTenants != 3 {
		t.Errorf("%d of %d tenants", state.Tenants, state.MaxTenants)
	}
	want(t, ada.call("POST", "/v1/tenants", map[string]any{"name": "Five"}), http.StatusConflict, "max_tenants")

	changed := []string{"plan.changed", "plan.change_scheduled", "plan.change_withdrawn", "plan.change_scheduled"}
	if got := w.actions(acme.at("account", "id")); !slices.Equal(slices.DeleteFunc(got, func(a string) bool { return !slices.Contains(changed, a) }), changed) {
		t.Errorf("the audit has %v", got)
	}
	if n := w.count("audit_events WHERE action = 'plan.changed' AND actor = 'system' AND after->>'plan' = 'free'"); n != 1 {
		t.Errorf("the change at the period's end is in the audit %d times", n)
	}
	for i := range 20 {
		plan := []string{"pro", "free"}[i%2]
		if a := ada.call("PUT", account+"/plan", map[string]any{"plan": plan}); (a.status == http.StatusOK) != (i < 19) || i == 19 && a.at("code") != "max_plan_changes" {
			t.Fatalf("change %d: %d %s", i, a.status, a.text)
		}
	}
}
