package billing

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signalbox/signalbox/internal/fault"
)

func TestQuery_resolve(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	now := at("2026-11-22T12:34:56Z")
	for name, row := range map[string]struct {
		query, want Query
	}{
		"nothing_asked_is_a_day_by_hour": {Query{}, Query{at("2026-11-21T12:00:00Z"), at("2026-11-22T13:00:00Z"), Hour}},
		"minutes_are_an_hour":            {Query{Step: Minute}, Query{at("2026-11-22T11:34:00Z"), at("2026-11-22T12:35:00Z"), Minute}},
		"days_are_thirty":                {Query{Step: Day}, Query{at("2026-10-23T00:00:00Z"), at("2026-11-23T00:00:00Z"), Day}},
		"whole_steps_stay":               {Query{at("2026-11-22T10:00:00Z"), at("2026-11-22T11:00:00Z"), Hour}, Query{at("2026-11-22T10:00:00Z"), at("2026-11-22T11:00:00Z"), Hour}},
		"another_zone_is_UTC":            {Query{at("2026-11-22T01:00:00+02:00"), at("2026-11-22T03:00:00+02:00"), Day}, Query{at("2026-11-21T00:00:00Z"), at("2026-11-23T00:00:00Z"), Day}},
		"most_points":                    {Query{now.Truncate(time.Minute).Add(-1500 * time.Minute), now.Truncate(time.Minute), Minute}, Query{at("2026-11-21T11:34:00Z"), at("2026-11-22T12:34:00Z"), Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := row.query.resolve(now)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for name, row := range map[string]struct {
		query Query
		field string
	}{
		"an_unknown_step": {Query{Step: "week"}, "step"},
		"backwards":       {Query{From: now, To: now.Add(-time.Hour)}, "from"},
		"nothing_between": {Query{From: now.Truncate(time.Hour), To: now.Truncate(time.Hour)}, "from"},
		"the_end_of_time": {Query{From: at("9999-12-31T00:00:00Z"), To: at("9999-12-31T23:59:59Z"), Step: Day}, "from"},
		"before_all_time": {Query{To: at("0000-01-01T00:00:00Z")}, "from"},
		"before_anything": {Query{From: at("2019-12-31T23:59:59Z"), To: at("2020-01-02T00:00:00Z")}, "from"},
		"too_far_ahead":   {Query{From: now, To: at("2028-01-01T00:00:00Z"), Step: Day}, "to"},
		"too_many_points": {Query{From: now.Add(-1502 * time.Minute), To: now, Step: Minute}, "from"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := row.query.resolve(now)
			if e, ok := errors.AsType[*fault.Error](err); !ok || e.Kind != fault.Invalid || e.Fields[0].Name != row.field {
				t.Errorf("error = %v, want one about %s", err, row.field)
			}
		})
	}
}
