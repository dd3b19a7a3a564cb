package quota

import (
	"errors"
	"testing"
	"time"

	"github.com/signalbox/signalbox/tenants"
)

// Publishes that wait for deliveries don't all go at the moment when the first may.
func TestDeliveries_let_who_waits_go_one_by_one(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	d := NewDeliveries(nil, nil, nil)
	d.now = func() time.Time { return now }
	l := &tenants.Limits{DeliveriesPerSecond: 100}
	o := d.of("t")
	o.seconds, o.at, o.each = 1.5, now, 0.1
	until := now.Add(mostDelay)
	for i, want := range []time.Duration{500, 600, 700, 800, 900, 1000} {
		wait, err := d.ask("t", l, until, false)
		if err != nil || wait.Round(time.Millisecond) != want*time.Millisecond {
			t.Fatalf("publish %d waits %v, %v; want %v", i+1, wait, err, want*time.Millisecond)
		}
	}
	var refusal *Refusal
	if _, err := d.ask("t", l, until, false); !errors.As(err, &refusal) || refusal.Limit.Limit != "deliveries_per_second" || refusal.RetryAfter() <= 0 {
		t.Errorf("one whose turn is more than a second away: %v", err)
	}
	now = now.Add(500 * time.Millisecond)
	if wait, err := d.ask("t", l, until, true); wait != 0 || err != nil {
		t.Errorf("the first in its turn: %v, %v", wait, err)
	}
	o.delivered.Add(20) // others have cost more than was thought
	if wait, err := d.ask("t", l, now.Add(mostDelay), true); wait < 200*time.Millisecond || err != nil {
		t.Errorf("another one in its turn: %v, %v; want it behind those that wait", wait, err)
	}
	now = now.Add(5 * time.Second)
	o.delivered.Store(0)
	if wait, err := d.ask("t", l, now.Add(mostDelay), false); wait != 0 || err != nil {
		t.Errorf("one when nothing is owed: %v, %v", wait, err)
	}
}

func TestDeliveries_learn_what_a_publish_costs(t *testing.T) {
	t.Parallel()
	var o debt
	for range 40 {
		o.admitted = 10
		o.learn(0.5)
	}
	if o.each < 0.049 || o.each > 0.051 {
		t.Errorf("ten that cost half a second cost %.3f s each", o.each)
	}
	o.learn(10) // nothing was admitted: others' doing
	if o.each > 0.051 {
		t.Errorf("one costs %.3f s after deliveries for others", o.each)
	}
}
