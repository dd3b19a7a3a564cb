package tenants_test

import (
	"testing"
	"time"

	"github.com/signalbox/signalbox/tenants"
)

func TestPeriod(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		anchor       int
		at, from, to string
	}{
		{1, "2026-11-22T12:00:00Z", "2026-11-01", "2026-12-01"},
		{22, "2026-11-22T00:00:00Z", "2026-11-22", "2026-12-22"},
		{22, "2026-11-21T23:59:59Z", "2026-10-22", "2026-11-22"},
		{22, "2026-11-22T00:30:00+02:00", "2026-10-22", "2026-11-22"}, // still the 21st in UTC
		{31, "2026-02-27T12:00:00Z", "2026-01-31", "2026-02-28"},
		{31, "2026-02-28T00:00:00Z", "2026-02-28", "2026-03-31"},
		{31, "2028-02-29T12:00:00Z", "2028-02-29", "2028-03-31"},
		{30, "2026-03-01T00:00:00Z", "2026-02-28", "2026-03-30"},
		{15, "2026-01-03T00:00:00Z", "2025-12-15", "2026-01-15"},
		{31, "2026-12-31T00:00:00Z", "2026-12-31", "2027-01-31"},
		{0, "2026-11-22T12:00:00Z", "2026-11-01", "2026-12-01"},
	} {
		at, err := time.Parse(time.RFC3339, row.at)
		if err != nil {
			t.Fatal(err)
		}
		from, to := tenants.Period(row.anchor, at)
		if from.Format(time.DateOnly) != row.from || to.Format(time.DateOnly) != row.to || from.Location() != time.UTC {
			t.Errorf("anchor %d at %s: %s to %s, want %s to %s", row.anchor, row.at, from, to, row.from, row.to)
		}
	}
	// Each period begins where the one before ends, for years.
	for anchor := 1; anchor <= 31; anchor++ {
		at := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
		_, end := tenants.Period(anchor, at)
		for range 60 {
			from, to := tenants.Period(anchor, end)
			if !from.Equal(end) || !to.After(from) || to.Sub(from) > 31*24*time.Hour {
				t.Fatalf("anchor %d: %s to %s after %s", anchor, from, to, end)
			}
			if last, _ := tenants.Period(anchor, to.Add(-time.Nanosecond)); !last.Equal(from) {
				t.Fatalf("anchor %d: the last moment before %s is in the period of %s", anchor, to, last)
			}
			end = to
		}
	}
}
