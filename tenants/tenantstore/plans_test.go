package tenantstore_test

import (
	"testing"
	"time"

	"github.com/signalbox/signalbox/tenants"
)

func TestDowngrades(t *testing.T) {
	t.Parallel()
	s, pool, _ := newStore(t)
	begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	at := func(day int) time.Time { return begin.AddDate(0, 0, day) }
	if _, err := pool.Exec(everywhere(t), "UPDATE account_plans SET since = $1", at(-100)); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		plan string
		day  int
		want tenants.Downgrades
	}{
		{"pro", 1, tenants.Downgrades{}},
		{"free", 5, tenants.Downgrades{First: at(5), Last: true}},
		{"scale", 6, tenants.Downgrades{First: at(5)}},
		{"pro", 7, tenants.Downgrades{First: at(5), Last: true}},
	} {
		if err := s.SetPlan(everywhere(t), "A", step.plan, at(step.day)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Downgrades(everywhere(t), "A", begin); err != nil || got != step.want {
			t.Errorf("on day %d: %+v, %v, want %+v", step.day, got, err, step.want)
		}
	}
	// The change before is known, though it was before that time.
	if got, err := s.Downgrades(everywhere(t), "A", at(7)); err != nil || got != (tenants.Downgrades{First: at(7), Last: true}) {
		t.Errorf("since the last change: %+v, %v", got, err)
	}
}
