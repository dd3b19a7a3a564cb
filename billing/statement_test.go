package billing

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	free  = Plan{ID: "free", Currency: "USD", MessagesPerMonth: 3_000_000, ConnectionMinutesPerMonth: 1_000_000}
	pro   = Plan{ID: "pro", Currency: "USD", Price: 4900, ExtraMessagesPrice: 200, ExtraMinutesPrice: 100, MessagesPerMonth: 25_000_000, ConnectionMinutesPerMonth: 50_000_000}
	scale = Plan{ID: "scale", Currency: "USD", Price: 49_900, ExtraMessagesPrice: 100, ExtraMinutesPrice: 50, MessagesPerMonth: 500_000_000, ConnectionMinutesPerMonth: 500_000_000}
)

func TestRate(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	to := from.AddDate(0, 1, 0) // 30 days
	day := func(n int) time.Time { return from.AddDate(0, 0, n) }
	type want struct {
		Allowed, Minutes, Extra, ExtraMinutes, Total int64
		Charges                                      []Charge
	}
	for name, row := range map[string]struct {
		plans []PlanSince
		used  Amounts
		when  []UsedAt
		want  want
	}{
		"a free plan costs nothing, whatever was used": {
			[]PlanSince{{free, day(-100)}}, Amounts{Accepted: 5_000_000}, nil, want{Allowed: 3_000_000, Minutes: 1_000_000, Extra: 2_000_000},
		},
		"within the allowance": {
			[]PlanSince{{pro, day(-100)}}, Amounts{Accepted: 12_500_000, Delivered: 12_500_000, ConnectionSeconds: 60 * 50_000_000},
			nil, want{Allowed: 25_000_000, Minutes: 50_000_000, Total: 4900, Charges: []Charge{{ChargePlan, "pro", 30 * 86400, 4900, 4900}}},
		},
		"beyond it, rounded down to cents": {
			[]PlanSince{{pro, day(-100)}}, Amounts{Delivered: 26_007_499, ConnectionSeconds: 60*50_000_000 + 1},
			nil, want{Allowed: 25_000_000, Minutes: 50_000_000, Extra: 1_007_499, ExtraMinutes: 1, Total: 5101, Charges: []Charge{
				{ChargePlan, "pro", 30 * 86400, 4900, 4900}, {ChargeMessages, "pro", 1_007_499, 200, 201}, {ChargeMinutes, "pro", 1, 100, 0},
			}},
		},
		"changed in the middle, and used after that": {
			[]PlanSince{{pro, day(-100)}, {scale, day(15)}}, Amounts{Accepted: 262_500_000 + 3_000_000},
			[]UsedAt{{At: day(3), Day: true, Messages: 10_000_000}, {At: day(20), Day: true, Messages: 255_500_000}},
			want{Allowed: 262_500_000, Minutes: 275_000_000, Extra: 3_000_000, Total: 2450 + 24_950 + 300, Charges: []Charge{
				{ChargePlan, "pro", 15 * 86400, 4900, 2450}, {ChargePlan, "scale", 15 * 86400, 49_900, 24_950}, {ChargeMessages, "scale", 3_000_000, 100, 300},
			}},
		},
		"changed in the middle, and used too much of both": {
			[]PlanSince{{pro, day(-100)}, {scale, day(15)}}, Amounts{Accepted: 262_500_000 + 3_000_000},
			[]UsedAt{{At: day(3), Day: true, Messages: 14_500_000}, {At: day(20), Day: true, Messages: 251_000_000}},
			want{Allowed: 262_500_000, Minutes: 275_000_000, Extra: 3_000_000, Total: 2450 + 24_950 + 400 + 100, Charges: []Charge{
				{ChargePlan, "pro", 15 * 86400, 4900, 2450}, {ChargePlan, "scale", 15 * 86400, 49_900, 24_950},
				{ChargeMessages, "pro", 2_000_000, 200, 400}, {ChargeMessages, "scale", 1_000_000, 100, 100},
			}},
		},
		"to free at the end: what is beyond was pro's": {
			[]PlanSince{{pro, day(-100)}, {free, to.Add(-time.Second)}}, Amounts{Accepted: 125_000_000},
			[]UsedAt{{At: day(10), Day: true, Messages: 125_000_000}},
			want{Allowed: 24_999_990 + 1, Minutes: 49_999_980 + 0, Extra: 100_000_009, Total: 4899 + 20_000, Charges: []Charge{
				{ChargePlan, "pro", 30*86400 - 1, 4900, 4899}, {ChargeMessages, "pro", 100_000_009, 200, 20_000},
			}},
		},
		"to free after a day of heavy use: nothing is cheaper by that": {
			[]PlanSince{{scale, day(-100)}, {free, day(1)}}, Amounts{Accepted: 1_000_000_000, ConnectionSeconds: 60 * 100_000_000},
			[]UsedAt{{At: day(0), Day: true, Messages: 1_000_000_000, ConnectionSeconds: 60 * 100_000_000}, {At: day(1).Add(2 * time.Hour)}},
			want{Allowed: 16_666_666 + 2_900_000, Minutes: 16_666_666 + 966_666, Extra: 980_433_334, ExtraMinutes: 82_366_668, Total: 1663 + 98_043 + 4118, Charges: []Charge{
				{ChargePlan, "scale", 86400, 49_900, 1663}, {ChargeMessages, "scale", 980_433_334, 100, 98_043}, {ChargeMinutes, "scale", 82_366_668, 50, 4118},
			}},
		},
		"to free in the middle: what is used afterwards is free's": {
			[]PlanSince{{pro, day(-100)}, {free, day(15)}}, Amounts{Accepted: 20_000_000},
			[]UsedAt{{At: day(5), Day: true, Messages: 14_000_000}, {At: day(20), Day: true, Messages: 6_000_000}},
			want{Allowed: 14_000_000, Minutes: 25_500_000, Extra: 6_000_000, Total: 2450 + 300, Charges: []Charge{
				{ChargePlan, "pro", 15 * 86400, 4900, 2450}, {ChargeMessages, "pro", 1_500_000, 200, 300},
			}},
		},
		"an hour in which the plan changed is the dearest one's": {
			[]PlanSince{{pro, day(-100)}, {free, day(10).Add(30 * time.Minute)}}, Amounts{Delivered: 100_000_000},
			[]UsedAt{{At: day(10), Messages: 100_000_000}},
			want{Allowed: 8_350_694 + 1_997_916, Minutes: 16_701_388 + 665_972, Extra: 89_651_390, Total: 1636 + 17_930, Charges: []Charge{
				{ChargePlan, "pro", 10*86400 + 1800, 4900, 1636}, {ChargeMessages, "pro", 89_651_390, 200, 17_930},
			}},
		},
		"two changes in one second": {
			[]PlanSince{{free, day(-1)}, {scale, day(10).Add(300 * time.Millisecond)}, {pro, day(10).Add(600 * time.Millisecond)}}, Amounts{},
			nil, want{Allowed: 1_000_000 + 16_666_666, Minutes: 333_333 + 33_333_333, Total: 3266, Charges: []Charge{
				{ChargePlan, "scale", 0, 49_900, 0}, {ChargePlan, "pro", 20 * 86400, 4900, 3266},
			}},
		},
		"signed up within it": {
			[]PlanSince{{pro, day(20)}}, Amounts{},
			nil, want{Allowed: 25_000_000, Minutes: 50_000_000, Total: 4900, Charges: []Charge{{ChargePlan, "pro", 30 * 86400, 4900, 4900}}},
		},
		"a change after it": {
			[]PlanSince{{free, day(-1)}, {scale, day(30)}}, Amounts{}, nil, want{Allowed: 3_000_000, Minutes: 1_000_000},
		},
		"corrections beyond what was used": {
			[]PlanSince{{pro, day(-100)}}, Amounts{Accepted: -5},
			nil, want{Allowed: 25_000_000, Minutes: 50_000_000, Total: 4900, Charges: []Charge{{ChargePlan, "pro", 30 * 86400, 4900, 4900}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := Statement{From: from, To: to, Plans: spans(row.plans, from, to), Totals: row.used}
			st.rate(row.when)
			got := want{st.MessagesAllowed, st.ConnectionMinutesAllowed, st.ExtraMessages, st.ExtraConnectionMinutes, st.Total, st.Charges}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Error(diff)
			}
			if len(st.Plans) > 0 && (!st.Plans[0].From.Equal(from) || !st.Plans[len(st.Plans)-1].To.Equal(to)) {
				t.Errorf("the plans last from %s to %s", st.Plans[0].From, st.Plans[len(st.Plans)-1].To)
			}
		})
	}
}
