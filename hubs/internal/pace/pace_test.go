package pace_test

import (
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs/internal/pace"
)

func TestMeter_lets_a_burst_through_then_the_rate(t *testing.T) {
	t.Parallel()
	limit := pace.Limit{PerSecond: 50, Burst: 250}
	var m pace.Meter
	now := int64(time.Hour)
	allowed := func() (n int) {
		for !m.Over(now, limit) {
			n++
		}
		return n
	}
	if n := allowed(); n != 250 {
		t.Errorf("%d at once, want 250", n)
	}
	now += int64(time.Second)
	if n := allowed(); n != 50 {
		t.Errorf("%d a second later, want 50", n)
	}
	now += int64(time.Hour)
	if n := allowed(); n != 250 {
		t.Errorf("%d after an hour, want no more than 250", n)
	}
}
