package billingstore_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/billing/billingstore"
	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/internal/scope"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/tenants"
)

// noon is in the middle of a day, so that its hour and day hold the minutes
// after it.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// everywhere is the context of a test that looks at the rows of all accounts.
func everywhere(t testing.TB) context.Context {
	t.Helper()
	return scope.System(t.Context(), scope.Usage)
}

func newStore(t *testing.T) (*billingstore.Store, *pgxpool.Pool) {
	t.Helper()
	pool, err := postgres.Open(everywhere(t), testenv.Postgres(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	_, err = pool.Exec(everywhere(t), `
		INSERT INTO accounts (id, name, plan) VALUES ('A', 'A', 'free'), ('B', 'B', 'pro');
		INSERT INTO tenants (id, account_id, slug, name, status) VALUES
			('t1', 'A', 'one', 'One', 'active'), ('t2', 'A', 'two', 'Two', 'active'), ('t3', 'B', 'three', 'Three', 'active')`)
	if err != nil {
		t.Fatal(err)
	}
	return billingstore.New(pool), pool
}

func commit(t *testing.T, s *billingstore.Store, f usage.Flush) bool {
	t.Helper()
	added, err := s.Commit(everywhere(t), f)
	if err != nil {
		t.Fatal(err)
	}
	return added
}

func TestHubs_are_remembered_by_their_last_use(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	day := 24 * time.Hour
	for i, minute := range []time.Time{noon, noon.Add(-2 * day)} { // an older flush arrives later
		commit(t, s, usage.Flush{EdgeRun: "a", Sequence: int64(i + 1), SentAt: noon, Deltas: []usage.Delta{{Tenant: "t1", Hub: "chat", Minute: minute, Opened: 1}}})
	}
	commit(t, s, usage.Flush{EdgeRun: "a", Sequence: 3, SentAt: noon, Deltas: []usage.Delta{
		{Tenant: "t1", Hub: "game", Minute: noon.Add(-day), Opened: 1}, {Tenant: "t1", Minute: noon, Opened: 1}, {Tenant: "t2", Hub: "theirs", Minute: noon, Opened: 1},
	}})
	hubs := func(since time.Time, most int, want ...string) {
		t.Helper()
		got, err := s.Hubs(everywhere(t), "t1", since, most)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(append([]string{}, want...), append([]string{}, got...)); diff != "" {
			t.Error(diff)
		}
	}
	hubs(noon.Add(-3*day), 10, "chat", "game")
	hubs(noon.Add(-3*day), 1, "chat")
	hubs(noon, 10, "chat")
	hubs(noon.Add(day), 10)
	if err := s.Forget(everywhere(t), noon.Add(billing.HubsShownFor)); err != nil {
		t.Fatal(err)
	}
	hubs(noon.Add(-3*day), 10, "chat")
}

func TestPeaks_count_for_the_minute_that_a_flush_ends(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	for i, at := range []time.Duration{58 * time.Second, time.Minute, time.Minute + 2*time.Second} {
		commit(t, s, usage.Flush{EdgeRun: "a", Sequence: int64(i + 1), SentAt: noon.Add(at), Gauges: []usage.Gauge{{Tenant: "t1", Connections: 1, Peak: []int64{3, 9, 1}[i]}}})
	}
	var peaks []int64
	for _, p := range points(t, s, "t1", billing.Minute) {
		peaks = append(peaks, p.Values.Peak)
	}
	if diff := cmp.Diff([]int64{9, 1}, peaks); diff != "" {
		t.Error(diff)
	}
}

func TestCommit_of_what_can_never_be_kept_says_so(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	for name, f := range map[string]usage.Flush{
		"a NUL":        {EdgeRun: "a", Sequence: 1, SentAt: noon, Deltas: []usage.Delta{{Tenant: "t1", Hub: "a\x00b", Minute: noon, Opened: 1}}},
		"an overflow":  {EdgeRun: "a", Sequence: 2, SentAt: noon, Deltas: []usage.Delta{{Tenant: "t1", Hub: "h", Minute: noon, Delivered: math.MaxInt64}, {Tenant: "t1", Hub: "i", Minute: noon, Delivered: math.MaxInt64}}},
		"a far future": {EdgeRun: "a", Sequence: 3, SentAt: noon, Deltas: []usage.Delta{{Tenant: "t1", Hub: "h", Minute: time.Date(300_000, 1, 1, 0, 0, 0, 0, time.UTC), Opened: 1}}},
	} {
		if added, err := s.Commit(everywhere(t), f); added || !errors.Is(err, usage.ErrUnacceptable) {
			t.Errorf("%s: %t, %v", name, added, err)
		}
	}
	commit(t, s, flush("a", 1))
}

func flush(run string, sequence int64) usage.Flush {
	return usage.Flush{
		EdgeRun: run, Sequence: sequence, SentAt: noon.Add(30 * time.Second),
		Deltas: []usage.Delta{
			{Tenant: "t1", Hub: "chat", Minute: noon, Delivered: 10, DeliveredBytes: 100, ReceivedBytes: 50, ConnectionSeconds: 30, Opened: 2, Refused: map[string]int64{"rate_limited": 3}},
			{Tenant: "t1", Hub: "chat", Minute: noon, Delivered: 5},
			{Tenant: "t1", Hub: "game", Minute: noon, Delivered: 1},
			{Tenant: "t3", Hub: "chat", Minute: noon, Delivered: 7},
		},
		Accepted: []usage.Counter{{Tenant: "t1", Hub: "chat", Epoch: "e1", Minute: noon, Total: 4}},
		Gauges:   []usage.Gauge{{Tenant: "t1", Connections: 2, Peak: 3}},
	}
}

func points(t *testing.T, s *billingstore.Store, id tenants.ID, step billing.Step) []billing.Point {
	t.Helper()
	p, err := s.Points(everywhere(t), id, noon.Add(-time.Hour).Truncate(24*time.Hour), noon.Add(12*time.Hour), step)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCommit_counts_a_flush_once_whoever_commits_it_how_often(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	var news atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			added, err := s.Commit(everywhere(t), flush("edge", 1))
			if err != nil {
				t.Error(err)
			}
			if added {
				news.Add(1)
			}
		})
	}
	all.Wait()
	if n := news.Load(); n != 1 {
		t.Errorf("the flush was new %d times", n)
	}
	want := []billing.Point{{At: noon, Values: billing.Values{
		Accepted: 4, Delivered: 16, DeliveredBytes: 100, ReceivedBytes: 50, ConnectionSeconds: 30, Opened: 2, Peak: 3, Refused: map[string]int64{"rate_limited": 3},
	}}}
	if diff := cmp.Diff(want, points(t, s, "t1", billing.Minute)); diff != "" {
		t.Error(diff)
	}
	if p := points(t, s, "t2", billing.Minute); len(p) != 0 {
		t.Errorf("another tenant has %+v", p)
	}
}

func TestCommit_of_several_edges_at_once_adds_up(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	var all sync.WaitGroup
	for _, run := range []string{"a", "b", "c"} {
		all.Go(func() {
			for sequence := range int64(10) {
				if _, err := s.Commit(everywhere(t), flush(run, sequence+1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	p := points(t, s, "t1", billing.Day)
	// Deltas add up; running totals and peaks of one edge don't, peaks of several do.
	want := billing.Values{
		Accepted: 4, Delivered: 480, DeliveredBytes: 3000, ReceivedBytes: 1500, ConnectionSeconds: 900, Opened: 60, Peak: 9,
		Refused: map[string]int64{"rate_limited": 90},
	}
	if len(p) != 1 {
		t.Fatalf("points = %+v", p)
	}
	if diff := cmp.Diff(want, p[0].Values); diff != "" {
		t.Error(diff)
	}
}

func TestMonth_agrees_with_the_minutes_whatever_the_order(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	var all sync.WaitGroup
	for _, run := range []string{"a", "b", "c", "d"} {
		all.Go(func() {
			for sequence := range int64(20) {
				f := usage.Flush{EdgeRun: run, Sequence: sequence + 1, SentAt: noon}
				// Tenants and midnights in another order each time: two commits must
				// not wait for each other for ever.
				for i := range int64(3) {
					id := tenants.ID([]string{"t1", "t2", "t3"}[(i+sequence)%3])
					at := noon.Add(time.Duration((i+sequence)%2) * 12 * time.Hour)
					f.Deltas = append(f.Deltas, usage.Delta{Tenant: id, Hub: "chat", Minute: at, Delivered: 1, ConnectionSeconds: 1})
					f.Accepted = append(f.Accepted, usage.Counter{Tenant: id, Hub: "chat", Epoch: "e", Minute: at, Total: sequence})
					f.Gauges = append(f.Gauges, usage.Gauge{Tenant: id, Connections: 1, Peak: 1})
				}
				if _, err := s.Commit(everywhere(t), f); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for _, id := range []tenants.ID{"t1", "t2", "t3"} {
		minutes, err := s.Points(everywhere(t), id, from, from.AddDate(0, 1, 0), billing.Minute)
		if err != nil {
			t.Fatal(err)
		}
		var sum int64
		for _, p := range minutes {
			sum += p.Values.Messages()
		}
		m, err := s.Month(everywhere(t), id, from, from.AddDate(0, 1, 0))
		if err != nil || m.Messages != sum || sum < 80 {
			t.Errorf("the month of %s has %d messages, its minutes %d, %v", id, m.Messages, sum, err)
		}
	}
}

func TestCommit_takes_the_largest_running_total_of_each_epoch(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	for i, c := range []usage.Counter{
		{Epoch: "e1", Total: 5}, {Epoch: "e1", Total: 9}, {Epoch: "e1", Total: 7}, {Epoch: "e2", Total: 2},
	} {
		c.Tenant, c.Hub, c.Minute = "t1", "chat", noon
		commit(t, s, usage.Flush{EdgeRun: "edge", Sequence: int64(i + 1), SentAt: noon, Accepted: []usage.Counter{c}})
	}
	if p := points(t, s, "t1", billing.Hour); len(p) != 1 || p[0].Values.Accepted != 11 {
		t.Errorf("points = %+v, want 9 + 2 accepted", p)
	}
}

func TestCommit_refuses_to_count_backwards(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	commit(t, s, flush("edge", 1))
	commit(t, s, usage.Flush{EdgeRun: "edge", Sequence: 2, SentAt: noon, Deltas: []usage.Delta{{Tenant: "t1", Hub: "chat", Minute: noon, Delivered: -100, ConnectionSeconds: -5}}})
	if p := points(t, s, "t1", billing.Minute); p[0].Values.Delivered != 16 || p[0].Values.ConnectionSeconds != 30 {
		t.Errorf("points = %+v", p)
	}
}

func TestActivity_follows_the_newest_flush_of_each_living_edge(t *testing.T) {
	t.Parallel()
	s, pool := newStore(t)
	now := func() billing.Activity {
		a, err := s.Activity(everywhere(t), "t1", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if diff := cmp.Diff(billing.Activity{Tenant: "t1"}, now()); diff != "" {
		t.Error(diff)
	}
	later := flush("a", 2)
	later.Gauges[0].Connections = 7
	later.SentAt = noon.Add(time.Minute)
	commit(t, s, later)
	commit(t, s, flush("a", 1)) // late, and no longer what the edge holds
	commit(t, s, flush("b", 1))
	a := now()
	want := billing.Activity{
		Tenant: "t1", ConnectionsNow: 9, FirstConnectionAt: noon.Add(30 * time.Second), FirstMessageAt: noon.Add(30 * time.Second), LastMessageAt: noon.Add(time.Minute),
	}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Error(diff)
	}
	commit(t, s, usage.Flush{EdgeRun: "a", Sequence: 3, SentAt: noon}) // all gone there
	if a := now(); a.ConnectionsNow != 2 {
		t.Errorf("connections = %d, want those of the other edge", a.ConnectionsNow)
	}
	if _, err := pool.Exec(everywhere(t), "UPDATE usage_edges SET seen_at = seen_at - interval '1 hour' WHERE edge_run = 'b'"); err != nil {
		t.Fatal(err)
	}
	if a := now(); a.ConnectionsNow != 0 {
		t.Errorf("connections = %d, but the edge is silent", a.ConnectionsNow)
	}
}

func TestMonth_sums_the_tenant_and_its_account_against_the_plan(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	commit(t, s, flush("edge", 1))
	commit(t, s, usage.Flush{EdgeRun: "edge", Sequence: 2, SentAt: noon, Deltas: []usage.Delta{
		{Tenant: "t2", Hub: "chat", Minute: noon, Delivered: 100, ConnectionSeconds: 61},
		{Tenant: "t1", Hub: "chat", Minute: noon.AddDate(0, -1, 0), Delivered: 1000},
	}})
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	m, err := s.Month(everywhere(t), "t1", from, from.AddDate(0, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	want := billing.Month{
		From: from, To: from.AddDate(0, 1, 0), Account: m.Account, Plan: "free", Messages: 20, ConnectionMinutes: 1, AccountMessages: 120, AccountConnectionMinutes: 2,
		MessagesAllowed: 3_000_000, ConnectionMinutesAllowed: 1_000_000,
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
}

func TestUsage_has_a_point_for_every_step(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	commit(t, s, flush("edge", 1))
	service := billing.NewService(s, func() time.Time { return noon.Add(90 * time.Second) })
	u, err := service.Usage(everywhere(t), "t1", billing.Query{Step: billing.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if len(u.Points) != 61 || !u.From.Equal(noon.Add(-59*time.Minute)) || !u.To.Equal(noon.Add(2*time.Minute)) {
		t.Errorf("%d points from %s to %s", len(u.Points), u.From, u.To)
	}
	if at := u.Points[59]; !at.At.Equal(noon) || at.Values.Messages() != 20 || u.Totals.Messages() != 20 {
		t.Errorf("point = %+v, totals = %+v", at, u.Totals)
	}
}

func TestPlans_are_those_of_the_price_list(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	plans, err := s.Plans(everywhere(t))
	if err != nil {
		t.Fatal(err)
	}
	var got [][5]int64
	for _, p := range plans {
		got = append(got, [5]int64{p.MessagesPerMonth, int64(p.Limits.MaxConnections), int64(p.Limits.MessagesPerSecond), int64(p.Limits.MessageBurst), int64(p.Limits.MaxMessageBytes)})
		for _, l := range p.Limits.List(nil, time.Now()) {
			if l.Value == 0 {
				t.Errorf("plan %s has no %s", p.ID, l.Name)
			}
		}
	}
	want := [][5]int64{
		{3_000_000, 200, 100, 300, 32 << 10},
		{25_000_000, 5_000, 2_000, 6_000, 64 << 10},
		{500_000_000, 50_000, 20_000, 60_000, 1 << 20},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWatched_ends(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	if err := s.Watch(everywhere(t), "t1", noon); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Time]int{noon.Add(-time.Second): 1, noon.Add(time.Second): 0} {
		ids, err := s.Watched(everywhere(t), []tenants.ID{"t1", "t2"}, at)
		if err != nil || len(ids) != want {
			t.Errorf("at %s: %v, %v", at, ids, err)
		}
	}
}

func TestSpent_is_of_each_account_in_its_own_period(t *testing.T) {
	t.Parallel()
	s, pool := newStore(t)
	if _, err := pool.Exec(everywhere(t), "UPDATE accounts SET anchor_on = CASE id WHEN 'A' THEN date '2026-01-22' ELSE date '2026-01-05' END; INSERT INTO accounts (id, name, plan) VALUES ('C', 'C', 'free'); INSERT INTO tenants (id, account_id, slug, name, status) VALUES ('t4', 'C', 'four', 'Four', 'active')"); err != nil {
		t.Fatal(err)
	}
	for i, d := range []usage.Delta{
		{Tenant: "t1", Minute: noon, Delivered: 1, ConnectionSeconds: 10}, {Tenant: "t2", Minute: noon, Delivered: 2},
		{Tenant: "t1", Minute: noon.AddDate(0, 0, -1), Delivered: 100}, // of the period before
		{Tenant: "t3", Minute: noon, Delivered: 4}, {Tenant: "t3", Minute: noon.AddDate(0, 0, -1), Delivered: 8}, {Tenant: "t3", Minute: noon.AddDate(0, 0, -18), Delivered: 100},
	} {
		d.Hub = "chat"
		commit(t, s, usage.Flush{EdgeRun: "a", Sequence: int64(i + 1), SentAt: noon, Deltas: []usage.Delta{d}})
	}
	day := func(d int) time.Time { return time.Date(2026, 11, d, 0, 0, 0, 0, time.UTC) }
	got, err := s.Spent(everywhere(t), []tenants.ID{"t4", "t3", "t2", "nobody"}, noon)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) == 3 && got[2].Messages == 0 {
		got[2].From = time.Time{}
	}
	want := []billing.Spent{
		{Account: "A", Tenant: "t2", From: day(22), Messages: 3, ConnectionSeconds: 10}, {Account: "B", Tenant: "t3", From: day(5), Messages: 12}, {Account: "C", Tenant: "t4"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err := s.Spent(everywhere(t), nil, noon); err != nil || len(got) != 0 {
		t.Errorf("of nobody: %v, %v", got, err)
	}
}
