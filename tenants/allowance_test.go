package tenants_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signalbox/signalbox/tenants"
)

func TestSharedAllowance_adds_up_the_plans_parts(t *testing.T) {
	t.Parallel()
	from, to := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	free := tenants.PlanTerms{Messages: 3000, ConnectionMinutes: 600, HardMessages: true, HardMinutes: true}
	pro := tenants.PlanTerms{Messages: 30_000, ConnectionMinutes: 60_000}
	since := func(p tenants.PlanTerms, day int) tenants.PlanTerms {
		p.Since = from.AddDate(0, 0, day)
		return p
	}
	for name, row := range map[string]struct {
		plans []tenants.PlanTerms
		want  tenants.Allowed
	}{
		"one plan":                 {[]tenants.PlanTerms{since(free, -100)}, tenants.Allowed{Messages: 3000, ConnectionMinutes: 600}},
		"one plan, a young one":    {[]tenants.PlanTerms{since(free, 10)}, tenants.Allowed{Messages: 3000, ConnectionMinutes: 600}},
		"a smaller one for a part": {[]tenants.PlanTerms{since(pro, -5), since(free, 10)}, tenants.Allowed{Messages: 10_000 + 2000, ConnectionMinutes: 20_000 + 400}},
		"one that ended before":    {[]tenants.PlanTerms{since(pro, -50), since(free, -10)}, tenants.Allowed{Messages: 3000, ConnectionMinutes: 600}},
		"one that is to come":      {[]tenants.PlanTerms{since(free, -10), since(pro, 30)}, tenants.Allowed{Messages: 3000, ConnectionMinutes: 600}},
	} {
		if diff := cmp.Diff(row.want, tenants.SharedAllowance(row.plans, from, to)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestSubscription_enforces_what_the_plan_has_no_price_for(t *testing.T) {
	t.Parallel()
	from, next := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	s := tenants.Subscription{
		Account: "A", AnchorDay: 1, From: from, MessagesAllowed: 1200, ConnectionMinutesAllowed: 600,
		WholePeriod: tenants.Allowed{Messages: 3000, ConnectionMinutes: 600},
		Budget:      tenants.Budget{Messages: 50, Steps: []int{10}, Action: tenants.BudgetNotify},
	}
	if got := s.Enforced(); got != nil {
		t.Errorf("a plan with prices enforces %+v", got)
	}
	s.HardMessages = true
	held := s.Enforced()
	if held == nil || held.Messages != 0 || held.Action != tenants.BudgetNotify {
		t.Fatalf("enforced: %+v", held)
	}
	for at, want := range map[time.Time]int64{from: 1200, next: 3000} {
		if messages, minutes := held.Allowance.In(at); messages != want || minutes != 0 {
			t.Errorf("%s: %d messages, %d minutes", at, messages, minutes)
		}
	}
	s.Budget.Action = tenants.BudgetStop
	if held := s.Enforced(); held.Messages != 50 || held.Action != tenants.BudgetStop || held.Allowance == nil {
		t.Errorf("with a budget: %+v", held)
	}
	want := []tenants.Mark{
		{Meter: tenants.MeterMessages, Amount: 1200, Steps: []int{80, 100}, Action: tenants.BudgetRefusePublish, Plan: true},
		{Meter: tenants.MeterMessages, Amount: 50, Steps: []int{10}, Action: tenants.BudgetStop},
	}
	if diff := cmp.Diff(want, s.Marks(tenants.MeterMessages)); diff != "" {
		t.Error(diff)
	}
	s.Budget.Messages = 0
	want = []tenants.Mark{{Meter: tenants.MeterMessages, Amount: 1200, Steps: []int{10, 80, 100}, Action: tenants.BudgetRefusePublish, Plan: true}}
	if diff := cmp.Diff(want, s.Marks(tenants.MeterMessages)); diff != "" {
		t.Error(diff)
	}
	s.MessagesAllowed, s.WholePeriod.Messages = 0, 0
	if messages, _ := s.Enforced().Allowance.In(from); messages != 1 {
		t.Errorf("a plan that allows nothing has a limit of %d: 0 would be none", messages)
	}
}
