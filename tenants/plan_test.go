package tenants

import (
	"testing"
	"time"
)

// SEC-18: a period has one grace, however often the plan changes in it.
func TestGraceEnds(t *testing.T) {
	t.Parallel()
	day := func(n int) time.Time { return time.Date(2026, 11, 1+n, 12, 0, 0, 0, time.UTC) }
	for name, row := range map[string]struct {
		since time.Time // of the plan
		d     Downgrades
		now   time.Time
		want  time.Time
	}{
		"to a larger plan":          {day(3), Downgrades{}, day(3), time.Time{}},
		"to a smaller one":          {day(3), Downgrades{First: day(3), Last: true}, day(3), day(4)},
		"its end is still told":     {day(3), Downgrades{First: day(3), Last: true}, day(4).Add(30 * time.Minute), day(4)},
		"long ago":                  {day(3), Downgrades{First: day(3), Last: true}, day(5), time.Time{}},
		"back to the larger one":    {day(4), Downgrades{First: day(3)}, day(4), time.Time{}},
		"and forth within a day":    {day(3).Add(2 * time.Hour), Downgrades{First: day(3), Last: true}, day(3).Add(2 * time.Hour), day(4)},
		"and forth in the same one": {day(9), Downgrades{First: day(3), Last: true}, day(9), day(9)},
	} {
		if got := (Subscription{PlanSince: row.since}).graceEnds(row.d, row.now); !got.Equal(row.want) {
			t.Errorf("%s: %s, want %s", name, got, row.want)
		}
	}
}
