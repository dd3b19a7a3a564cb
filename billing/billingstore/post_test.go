package billingstore_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/billing/billingstore"
	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// monthOfNoon is a span around noon, of whole days.
var monthOfNoon = struct{ from, to time.Time }{time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}

func entries(t *testing.T, s *billingstore.Store, w billing.Whose) []billing.Entry {
	t.Helper()
	var all []billing.Entry
	if err := s.Entries(everywhere(t), w, monthOfNoon.from, monthOfNoon.to, "", func(e billing.Entry) error {
		all = append(all, e)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func post(t *testing.T, s *billingstore.Store, before time.Time) {
	t.Helper()
	if err := s.Post(everywhere(t), before); err != nil {
		t.Fatal(err)
	}
}

// sums are what each resolution adds up to.
func sums(t *testing.T, s *billingstore.Store, id tenants.ID) map[string]billing.Amounts {
	t.Helper()
	all := make(map[string]billing.Amounts)
	for _, step := range []billing.Step{billing.Minute, billing.Hour, billing.Day} {
		points, err := s.Points(everywhere(t), id, monthOfNoon.from, monthOfNoon.to, step)
		if err != nil {
			t.Fatal(err)
		}
		var sum billing.Amounts
		for _, p := range points {
			v := p.Values
			sum = sum.Plus(billing.Amounts{
				Accepted: v.Accepted, Delivered: v.Delivered, DeliveredBytes: v.DeliveredBytes, ReceivedBytes: v.ReceivedBytes,
				ConnectionSeconds: v.ConnectionSeconds, Opened: v.Opened,
			})
		}
		all[string(step)] = sum
	}
	var sum billing.Amounts
	for _, e := range entries(t, s, billing.Whose{Tenant: id}) {
		sum = sum.Plus(e.Amounts)
	}
	all["ledger"] = sum
	return all
}

func TestLedger_rows_can_not_be_changed_or_deleted(t *testing.T) {
	t.Parallel()
	s, pool := newStore(t)
	commit(t, s, flush("edge", 1))
	post(t, s, noon.Add(time.Hour))
	for _, sql := range []string{
		"UPDATE usage_ledger SET delivered = 0", "DELETE FROM usage_ledger", "TRUNCATE usage_ledger",
		"UPDATE usage_ledger SET reason = 'none' WHERE false",
	} {
		_, err := pool.Exec(everywhere(t), sql)
		if refused, ok := errors.AsType[*pgconn.PgError](err); !ok || refused.Code != "23001" {
			t.Errorf("%s: %v", sql, err)
		}
	}
	for name, sql := range map[string]string{
		"negative usage": `INSERT INTO usage_ledger (account_id, tenant_id, hub, hour, kind, accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened)
			VALUES ('A', 't1', '', now(), 'usage', -1, 0, 0, 0, 0, 0)`,
		"a correction without a reason": `INSERT INTO usage_ledger (account_id, tenant_id, hub, hour, kind, accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened, concerns, actor)
			VALUES ('A', 't1', '', now(), 'correction', -1, 0, 0, 0, 0, 0, now(), 'somebody')`,
	} {
		if _, err := pool.Exec(everywhere(t), sql); err == nil {
			t.Errorf("the ledger takes %s", name)
		}
	}
	if all := entries(t, s, billing.Whose{Tenant: "t1"}); len(all) != 2 || all[0].Delivered != 15 {
		t.Errorf("entries = %+v", all)
	}
}

func TestLedger_counts_an_hour_once_whoever_posts_it(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	var all sync.WaitGroup
	for _, run := range []string{"a", "b", "c"} {
		all.Go(func() {
			for sequence := range int64(10) {
				if _, err := s.Commit(everywhere(t), flush(run, sequence+1)); err != nil {
					t.Error(err)
				}
				if err := s.Post(everywhere(t), noon.Add(time.Hour)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	want := billing.Amounts{Accepted: 4, Delivered: 480, DeliveredBytes: 3000, ReceivedBytes: 1500, ConnectionSeconds: 900, Opened: 60}
	for name, got := range sums(t, s, "t1") {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for _, e := range entries(t, s, billing.Whose{Tenant: "t1"}) {
		if e.ID == 0 || e.PostedAt.IsZero() {
			t.Errorf("%+v isn't posted", e)
		}
	}
}

func TestLedger_has_open_hours_late_usage_and_corrections(t *testing.T) {
	t.Parallel()
	s, pool := newStore(t)
	commit(t, s, flush("edge", 1))
	post(t, s, noon) // the hour itself isn't due
	if all := entries(t, s, billing.Whose{Tenant: "t1"}); len(all) != 2 || all[0].ID != 0 {
		t.Fatalf("entries = %+v, want two hours that still count", all)
	}
	post(t, s, noon.Add(time.Hour))
	commit(t, s, flush("edge", 2))
	service := billing.NewService(s, func() time.Time { return noon.Add(3*time.Hour + 7*time.Minute) })
	correction := billing.Correction{
		Tenant: "t1", Hub: "chat", Concerns: noon, Amounts: billing.Amounts{Delivered: -15, DeliveredBytes: -100}, Reason: "A test of ours.", Actor: "ops@example.com",
	}
	if err := service.Correct(everywhere(t), correction); err != nil {
		t.Fatal(err)
	}
	all := entries(t, s, billing.Whose{Tenant: "t1"})
	if len(all) != 5 {
		t.Fatalf("entries = %+v, want two posted, two late and one correction", all)
	}
	got := all[4]
	if !got.Hour.Equal(noon.Add(3*time.Hour)) || got.Kind != billing.KindCorrection || !got.Concerns.Equal(noon) ||
		got.Reason != correction.Reason || got.Actor != correction.Actor || got.Amounts != correction.Amounts || got.ID == 0 {
		t.Errorf("the correction is %+v", got)
	}
	// Whether the tenant is there any more doesn't matter.
	if _, err := pool.Exec(everywhere(t), "DELETE FROM tenants WHERE id = 't1'"); err != nil {
		t.Fatal(err)
	}
	if err := service.Correct(everywhere(t), correction); err != nil {
		t.Fatal(err)
	}
	post(t, s, noon.Add(24*time.Hour))
	want := billing.Amounts{Accepted: 4, Delivered: 2, ReceivedBytes: 100, ConnectionSeconds: 60, Opened: 4}
	for name, got := range sums(t, s, "t1") {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	var account billing.Amounts
	for _, e := range entries(t, s, billing.Whose{Account: "A"}) {
		account = account.Plus(e.Amounts)
	}
	if diff := cmp.Diff(want, account); diff != "" {
		t.Errorf("the account's: %s", diff)
	}
	for _, e := range entries(t, s, billing.Whose{Account: "B"}) {
		if e.Tenant != "t3" {
			t.Errorf("another account has %+v", e)
		}
	}
}

func TestCorrect_refuses_what_explains_nothing(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	service := billing.NewService(s, func() time.Time { return noon })
	good := billing.Correction{Tenant: "t1", Concerns: noon, Amounts: billing.Amounts{Accepted: 1}, Reason: "why", Actor: "who"}
	for field, spoil := range map[string]func(*billing.Correction){
		"reason":   func(c *billing.Correction) { c.Reason = "" },
		"actor":    func(c *billing.Correction) { c.Actor = "" },
		"concerns": func(c *billing.Correction) { c.Concerns = noon.Add(time.Hour) },
		"accepted": func(c *billing.Correction) { c.Amounts = billing.Amounts{} },
		"opened":   func(c *billing.Correction) { c.Opened = 1 << 62 },
	} {
		c := good
		spoil(&c)
		e, ok := errors.AsType[*fault.Error](service.Correct(everywhere(t), c))
		if !ok || len(e.Fields) != 1 || e.Fields[0].Name != field {
			t.Errorf("%s: %+v", field, e)
		}
	}
	good.Tenant = "nobody"
	if err := service.Correct(everywhere(t), good); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a tenant that never was: %v", err)
	}
}

func TestCoarsen_keeps_hours_and_their_sums(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	for i := range int64(3) {
		f := flush("a", i+1)
		f.SentAt = noon.Add(time.Duration(i)*time.Minute + 30*time.Second)
		for d := range f.Deltas {
			f.Deltas[d].Minute = noon.Add(time.Duration(i) * time.Minute)
		}
		commit(t, s, f)
		f.EdgeRun = "b"
		commit(t, s, f)
	}
	hours := func() []billing.Point {
		p, err := s.Points(everywhere(t), "t1", monthOfNoon.from, monthOfNoon.to, billing.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	before := hours()
	if v := before[0].Values; v.Peak != 6 || v.Refused["rate_limited"] != 18 {
		t.Fatalf("the hour is %+v", v)
	}
	for range 2 { // it may be done again
		if err := s.Coarsen(everywhere(t), noon.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(before, hours()); diff != "" {
		t.Error(diff)
	}
	minutes, err := s.Points(everywhere(t), "t1", monthOfNoon.from, monthOfNoon.to, billing.Minute)
	if err != nil || len(minutes) != 1 || minutes[0].Values.Messages() != 0 {
		t.Errorf("minutes are left: %+v, %v", minutes, err)
	}
}

// TestLedger_is_one_moment posts hours while the ledger is read: none is missing and
// none is there twice.
func TestLedger_is_one_moment(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	const hours = 200
	for i := range int64(hours) {
		at := noon.Add(-time.Duration(i) * time.Hour)
		commit(t, s, usage.Flush{EdgeRun: "a", Sequence: i + 1, SentAt: at, Deltas: []usage.Delta{{Tenant: "t1", Hub: "chat", Minute: at, Delivered: 1}}})
	}
	ctx, cancel := context.WithCancel(everywhere(t))
	defer cancel()
	posted := make(chan error, 1)
	go func() {
		var err error
		for i := hours; i >= 0 && err == nil && ctx.Err() == nil; i-- {
			err = s.Post(ctx, noon.Add(-time.Duration(i)*time.Hour))
		}
		posted <- err
	}()
	for done := false; !done; {
		select {
		case err := <-posted:
			if err != nil {
				t.Fatal(err)
			}
			done = true
		default:
		}
		if n := len(entries(t, s, billing.Whose{Tenant: "t1"})); n != hours {
			t.Fatalf("%d entries, want %d", n, hours)
		}
	}
}

func TestStatement_is_rated_from_the_ledger_and_follows_plans(t *testing.T) {
	t.Parallel()
	s, pool := newStore(t)
	if _, err := pool.Exec(everywhere(t), `
		UPDATE accounts SET anchor_on = '2026-01-10' WHERE id = 'A';
		UPDATE account_plans SET since = '2026-01-10' WHERE account_id = 'A';
		UPDATE accounts SET plan = 'pro' WHERE id = 'A';
		UPDATE account_plans SET since = '2026-11-25 12:00Z' WHERE account_id = 'A' AND plan = 'pro'`); err != nil {
		t.Fatal(err)
	}
	commit(t, s, flush("edge", 1))
	commit(t, s, usage.Flush{EdgeRun: "edge", Sequence: 2, SentAt: noon, Deltas: []usage.Delta{
		{Tenant: "t2", Hub: "chat", Minute: noon.AddDate(0, 0, -12), Delivered: 3}, // the first moments of the period are in it
		{Tenant: "t2", Hub: "chat", Minute: time.Date(2026, 11, 9, 23, 59, 0, 0, time.UTC), Delivered: 50},
	}})
	post(t, s, noon.Add(time.Hour))
	clock := noon
	service := billing.NewService(s, func() time.Time { return clock })
	st, err := service.Statement(everywhere(t), "A", noon)
	if err != nil {
		t.Fatal(err)
	}
	if st.From.Format(time.DateOnly) != "2026-11-10" || st.To.Format(time.DateOnly) != "2026-12-10" || len(st.Tenants) != 2 || st.Totals.Delivered != 19 || st.Final {
		t.Errorf("statement = %+v", st)
	}
	// Half a period of pro.
	if st.MessagesAllowed != 3_000_000*31/60+25_000_000*29/60 || len(st.Charges) != 1 || st.Total != 4900*29/60 {
		t.Errorf("allowed %d, charges %+v, total %d", st.MessagesAllowed, st.Charges, st.Total)
	}
	clock = st.FinalAt
	late, err := service.Statement(everywhere(t), "A", noon)
	if err != nil || !late.Final || late.ID != st.ID {
		t.Errorf("%+v, %v", late, err)
	}
	if err := service.Correct(everywhere(t), billing.Correction{Tenant: "t1", Concerns: noon, Amounts: billing.Amounts{Delivered: -10}, Reason: "late", Actor: "ops"}); err != nil {
		t.Fatal(err)
	}
	after, err := service.Statement(everywhere(t), "A", noon)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(late, after); diff != "" {
		t.Errorf("a final statement has changed: %s", diff)
	}
	// What plans ask later is for periods that begin later.
	if _, err := pool.Exec(everywhere(t), `
		INSERT INTO plan_terms (plan, since, currency, price, extra_messages_price, extra_minutes_price, messages_per_month, connection_minutes_per_month)
		SELECT id, '2026-11-25 12:00:01Z', currency, price * 2, extra_messages_price, extra_minutes_price, 7, connection_minutes_per_month FROM plans`); err != nil {
		t.Fatal(err)
	}
	if after, err = service.Statement(everywhere(t), "A", noon); err != nil || !cmp.Equal(late, after) {
		t.Errorf("a period's statement follows later prices: %s, %v", cmp.Diff(late, after), err)
	}
	if next, err := service.Statement(everywhere(t), "A", st.To); err != nil || next.Total != 2*4900 || next.MessagesAllowed != 7 {
		t.Errorf("the next statement is %+v, %v", next, err)
	}
	if _, err := service.Statement(everywhere(t), "nobody", noon); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an account that never was: %v", err)
	}
	spent, err := s.Spent(everywhere(t), []tenants.ID{"t1", "t2", "t3"}, noon)
	if err != nil || len(spent) != 2 {
		t.Fatalf("%+v, %v", spent, err)
	}
	for _, a := range spent {
		if a.Account == "A" && (a.Messages != 23 || a.ConnectionSeconds != 30) {
			t.Errorf("spent = %+v", a)
		}
	}
}

// TestEntries_hold_no_connection_while_nobody_takes_them reads more pages than one of a
// ledger whose every hour has several rows, through a pool of one connection.
func TestEntries_hold_no_connection_while_nobody_takes_them(t *testing.T) {
	t.Parallel()
	_, pool := newStore(t)
	config := pool.Config()
	config.MaxConns = 1
	alone, err := pgxpool.NewWithConfig(everywhere(t), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(alone.Close)
	s := billingstore.New(alone)
	// 700 hubs of two tenants with three rows each in one hour, and one hour in which a
	// hub has more rows than a page; some hours still count.
	const hubs, rows, many = 700, 3, 1500
	if _, err := pool.Exec(everywhere(t), `
		INSERT INTO usage_ledger (account_id, tenant_id, hub, hour, kind, accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened)
		SELECT 'A', 't' || 1 + n % 2, 'h' || n / 2, $1, 'usage', 1, 0, 0, 0, 0, 0 FROM generate_series(0, $2 * 2 - 1) n, generate_series(1, $3)
		UNION ALL SELECT 'A', 't1', 'h', $1::timestamptz + interval '1 hour', 'usage', 1, 0, 0, 0, 0, 0 FROM generate_series(1, $4)`, noon, hubs, rows, many); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(everywhere(t), `
		INSERT INTO usage_open (account_id, tenant_id, hub, hour, accepted)
		SELECT 'A', 't1', 'h' || n, $1, 1 FROM generate_series(0, $2 - 1) n`, noon, hubs); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		whose billing.Whose
		kind  billing.Kind
		want  int
	}{
		"an account":  {billing.Whose{Account: "A"}, "", hubs*rows*2 + many + hubs},
		"a tenant":    {billing.Whose{Tenant: "t1"}, billing.KindUsage, hubs*rows + many + hubs},
		"corrections": {billing.Whose{Account: "A"}, billing.KindCorrection, 0},
		"nobody":      {billing.Whose{Account: "B"}, "", 0},
	} {
		type place struct {
			id     int64
			tenant tenants.ID
			hub    string
		}
		seen := make(map[place]bool)
		var before billing.Entry
		err := s.Entries(everywhere(t), row.whose, monthOfNoon.from, monthOfNoon.to, row.kind, func(e billing.Entry) error {
			seen[place{e.ID, e.Tenant, e.Hub}] = true
			if len(seen) > 1 {
				order := slices.Compare([]string{e.Hour.Format(time.RFC3339), string(e.Tenant), e.Hub}, []string{before.Hour.Format(time.RFC3339), string(before.Tenant), before.Hub})
				if order < 0 || order == 0 && (before.ID == 0 || e.ID != 0 && e.ID <= before.ID) {
					t.Fatalf("%s: %+v comes after %+v", name, e, before)
				}
			}
			before = e
			if len(seen)%500 == 1 { // the connection is free for others
				return alone.Ping(everywhere(t))
			}
			return nil
		})
		if err != nil || len(seen) != row.want {
			t.Errorf("%s: %d entries, want %d: %v", name, len(seen), row.want, err)
		}
	}
}
