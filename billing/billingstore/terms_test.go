package billingstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/tenants"
)

// TestTerms_of_plans_are_kept: each change of what a plan asks or allows is written
// down, and nothing of it is ever changed.
func TestTerms_of_plans_are_kept(t *testing.T) {
	t.Parallel()
	_, pool := newStore(t)
	prices := func() []int64 {
		t.Helper()
		rows, _ := pool.Query(everywhere(t), "SELECT price FROM plan_terms WHERE plan = 'pro' ORDER BY since, id")
		all, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for _, sql := range []string{"UPDATE plans SET price = 5900 WHERE id = 'pro'", "UPDATE plans SET limits = '{}' WHERE id = 'pro'"} {
		if _, err := pool.Exec(everywhere(t), sql); err != nil {
			t.Fatal(err)
		}
	}
	if got := prices(); len(got) != 2 || got[0] != 4900 || got[1] != 5900 {
		t.Errorf("the prices of pro were %v", got)
	}
	for _, sql := range []string{"UPDATE plan_terms SET price = 1", "DELETE FROM plan_terms"} {
		var refused *pgconn.PgError
		if _, err := pool.Exec(everywhere(t), sql); !errors.As(err, &refused) || refused.Code != "23001" {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// TestLedgerDays_are_the_ledgers_sums posts hours and a correction of two days.
func TestLedgerDays_are_the_ledgers_sums(t *testing.T) {
	t.Parallel()
	s, pool := newStore(t)
	commit(t, s, flush("edge", 1))
	post(t, s, noon.AddDate(0, 0, 1))
	commit(t, s, flush("edge", 2)) // late: rows of its own
	post(t, s, noon.AddDate(0, 0, 1))
	if _, err := pool.Exec(everywhere(t), `
		INSERT INTO usage_ledger (account_id, tenant_id, hub, hour, kind, accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened, concerns, reason, actor)
		SELECT account_id, tenant_id, hub, hour + interval '1 day', 'correction', -accepted, -1, 0, 0, 0, 0, hour, 'r', 'a' FROM usage_ledger`); err != nil {
		t.Fatal(err)
	}
	var days, differ int
	err := pool.QueryRow(everywhere(t), `
		SELECT count(*), count(*) FILTER (WHERE (d.accepted, d.delivered, d.delivered_bytes, d.received_bytes, d.connection_seconds, d.opened)
			IS DISTINCT FROM (l.accepted, l.delivered, l.delivered_bytes, l.received_bytes, l.connection_seconds, l.opened))
		FROM usage_ledger_days d FULL JOIN (
			SELECT account_id, tenant_id, (hour AT TIME ZONE 'UTC')::date AS day, sum(accepted)::bigint AS accepted, sum(delivered)::bigint AS delivered,
				sum(delivered_bytes)::bigint AS delivered_bytes, sum(received_bytes)::bigint AS received_bytes,
				sum(connection_seconds)::bigint AS connection_seconds, sum(opened)::bigint AS opened
			FROM usage_ledger GROUP BY 1, 2, 3
		) l USING (account_id, tenant_id, day)`).Scan(&days, &differ)
	if err != nil || days < 2 || differ != 0 {
		t.Errorf("%d of %d days differ, %v", differ, days, err)
	}
}

// TestUsedAt_adds_up: by hours of days that are named, by days or hours of others, each
// use is in it once, also what isn't in the ledger yet.
func TestUsedAt_adds_up(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	from := noon.Truncate(24*time.Hour).AddDate(0, 0, -3)
	f := usage.Flush{EdgeRun: "edge", Sequence: 1, SentAt: noon}
	for i, tenant := range []tenants.ID{"t1", "t2", "t3"} { // t3 is another account's
		for hour := range 5 * 24 {
			f.Deltas = append(f.Deltas, usage.Delta{Tenant: tenant, Hub: "chat", Minute: from.Add(time.Duration(hour-24) * time.Hour), Delivered: 1 << (8 * i), ConnectionSeconds: 60})
		}
	}
	commit(t, s, f)
	post(t, s, noon.AddDate(0, 0, -1))
	to := from.AddDate(0, 0, 4)
	hourly := from.AddDate(0, 0, 1)
	used, err := s.UsedAt(everywhere(t), "A", from, to, []time.Time{hourly})
	if err != nil {
		t.Fatal(err)
	}
	sum, hours := billing.UsedAt{}, 0
	for _, u := range used {
		sum.Messages += u.Messages
		sum.ConnectionSeconds += u.ConnectionSeconds
		if of := u.At.Truncate(24 * time.Hour); of.Equal(hourly) {
			if hours++; u.Day || u.Messages != 1+1<<8 {
				t.Errorf("an hour: %+v", u)
			}
		} else if u.Day && u.Messages != 24*(1+1<<8) && of.Before(noon.Truncate(24*time.Hour).AddDate(0, 0, -1)) {
			t.Errorf("a day: %+v", u)
		}
	}
	if sum.Messages != 96*(1+1<<8) || sum.ConnectionSeconds != 96*2*60 || hours != 24 {
		t.Errorf("%d messages, %d seconds, %d hours", sum.Messages, sum.ConnectionSeconds, hours)
	}
}
