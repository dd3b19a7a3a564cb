package usage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/tenants"
)

const (
	acme  tenants.ID = "01ACME"
	other tenants.ID = "01OTHER"
)

func startRedis(t *testing.T) (*redis.Client, func()) {
	t.Helper()
	url, stop := testenv.StartRedis(t)
	client, err := redisclient.New(url, "usage-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client, stop
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// clock is a time that moves only when told.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 22, 12, 0, 30, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// unacceptable is the run of an edge whose flushes the ledger can't keep.
const unacceptable = "unacceptable"

// ledger adds up what is committed, each flush once.
type ledger struct {
	mu      sync.Mutex
	fail    error // returned before anything is done
	flushes map[string]int
	sum     map[hubKey]Delta
	totals  map[acceptedKey]int64
	gauges  map[string][]Gauge // by edge run
}

var _ Ledger = (*ledger)(nil)

func newLedger() *ledger {
	return &ledger{flushes: map[string]int{}, sum: map[hubKey]Delta{}, totals: map[acceptedKey]int64{}, gauges: map[string][]Gauge{}}
}

func (l *ledger) Commit(_ context.Context, f Flush) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return false, l.fail
	}
	if f.EdgeRun == unacceptable {
		return false, fmt.Errorf("commit: %w", ErrUnacceptable)
	}
	name := fmt.Sprintf("%s/%d", f.EdgeRun, f.Sequence)
	l.flushes[name]++
	if l.flushes[name] > 1 {
		return false, nil
	}
	for _, d := range f.Deltas {
		k := hubKey{d.Tenant, d.Hub}
		s := l.sum[k]
		s.Delivered += d.Delivered
		s.DeliveredBytes += d.DeliveredBytes
		s.ReceivedBytes += d.ReceivedBytes
		s.ConnectionSeconds += d.ConnectionSeconds
		s.Opened += d.Opened
		for code, n := range d.Refused {
			if s.Refused == nil {
				s.Refused = map[string]int64{}
			}
			s.Refused[code] += n
		}
		l.sum[k] = s
	}
	for _, c := range f.Accepted {
		k := acceptedKey{hubKey{c.Tenant, c.Hub}, c.Epoch, c.Minute.Unix()}
		l.totals[k] = max(l.totals[k], c.Total)
	}
	l.gauges[f.EdgeRun] = f.Gauges
	return true, nil
}

func (l *ledger) of(tenant tenants.ID, hub string) Delta {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sum[hubKey{tenant, hub}]
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// collect runs a Collector until the test ends or stop is called.
func collect(t *testing.T, client *redis.Client, l Ledger, name string, onCommit func(context.Context, []tenants.ID)) (stop func()) {
	t.Helper()
	c, err := NewCollector(CollectorConfig{Redis: client, Ledger: l, Name: name, OnCommit: onCommit, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	c.block, c.claim = 20*time.Millisecond, 50*time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

// stream returns the flushes that wait in Redis.
func stream(t *testing.T, client *redis.Client) []Flush {
	t.Helper()
	entries, err := client.XRange(t.Context(), redisclient.UsageStream, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	var flushes []Flush
	for _, e := range entries {
		f, err := decode(e.Values)
		if err != nil {
			t.Fatal(err)
		}
		flushes = append(flushes, f)
	}
	return flushes
}

func TestRecorderCountsPerTenantHubAndMinute(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	c := newClock()
	r := NewRecorder(client, "run-1", quiet())
	r.now = c.Now
	chat, same := r.Hub(acme, "chat"), r.Hub(other, "chat")
	chat.ConnectionOpened()
	chat.ConnectionOpened()
	same.ConnectionOpened()
	c.Advance(1500 * time.Millisecond)
	chat.ConnectionClosed()
	chat.Delivered(3, 300)
	chat.Received(70)
	chat.Refused("rate_limited")
	same.Delivered(1, 5)
	r.Refused(acme, "", "connection_limit")
	minute := c.Now().Truncate(time.Minute)
	r.Accepted(acme, "chat", "e1", minute, 7, 2)
	r.Accepted(acme, "chat", "e1", minute, 5, 1) // late
	c.Advance(500 * time.Millisecond)
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	flushes := stream(t, client)
	if len(flushes) != 1 {
		t.Fatalf("got %d flushes", len(flushes))
	}
	f := flushes[0]
	if f.EdgeRun != "run-1" || f.Sequence != 1 || len(f.Deltas) != 3 {
		t.Fatalf("got %+v", f)
	}
	for _, d := range f.Deltas {
		want := map[hubKey]Delta{
			// 2 × 1.5 s + 0.5 s = 3.5 s, of which half a second counts next time.
			{acme, "chat"}:  {Delivered: 3, DeliveredBytes: 300, ReceivedBytes: 70, ConnectionSeconds: 3, Opened: 2, Refused: map[string]int64{"rate_limited": 1}},
			{other, "chat"}: {Delivered: 1, DeliveredBytes: 5, ConnectionSeconds: 2, Opened: 1},
			{acme, ""}:      {Refused: map[string]int64{"connection_limit": 1}},
		}[hubKey{d.Tenant, d.Hub}]
		want.Tenant, want.Hub, want.Minute = d.Tenant, d.Hub, minute
		if fmt.Sprint(d) != fmt.Sprint(want) {
			t.Errorf("got  %+v\nwant %+v", d, want)
		}
	}
	if len(f.Accepted) != 1 || f.Accepted[0].Total != 7 || !f.Accepted[0].Minute.Equal(minute) {
		t.Fatalf("got totals %+v", f.Accepted)
	}
	slices.SortFunc(f.Gauges, func(a, b Gauge) int { return int(b.Peak - a.Peak) })
	if want := []Gauge{{acme, 1, 2}, {other, 1, 1}}; !slices.Equal(f.Gauges, want) {
		t.Fatalf("got gauges %+v, want %+v", f.Gauges, want)
	}
	// Half a second is carried over, and gauges are given up when all has closed.
	chat.ConnectionClosed()
	same.ConnectionClosed()
	for range 3 {
		c.Advance(500 * time.Millisecond)
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	flushes = stream(t, client)
	last := flushes[len(flushes)-1]
	if len(last.Gauges) != 0 {
		t.Fatalf("gauges outlive the connections: %+v", last.Gauges)
	}
	before := len(flushes)
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if flushes = stream(t, client); len(flushes) != before {
		t.Fatalf("an idle edge sends flushes: %+v", flushes[before:])
	}
	chat.Close()
	same.Close()
	// 3 accepted and 3 delivered.
	if s := r.TakeSpent(); s[acme].Messages != 6 || s[other].Messages != 1 || s[acme].Milliseconds < 3500 || r.Unspent(acme) != (Spent{}) {
		t.Errorf("spent %+v", s)
	}
	r.Flush(t.Context())
	if len(r.hubs) != 0 || len(r.tenants) != 0 {
		t.Fatalf("%d meters and %d gauges are left", len(r.hubs), len(r.tenants))
	}
}

func TestFlushAtTheTurnOfAMinuteCountsForTheMinuteBefore(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	c := newClock()
	r := NewRecorder(client, "run", quiet())
	r.now = c.Now
	m := r.Hub(acme, "chat")
	m.Delivered(1, 1)
	c.Advance(30 * time.Second) // exactly 12:01:00
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := stream(t, client)[0].Deltas[0].Minute; got.Minute() != 0 {
		t.Fatalf("counted in %s", got)
	}
}

func TestRedisAwayKeepsAndMergesUsage(t *testing.T) {
	t.Parallel()
	gone, stop := startRedis(t)
	stop()
	c := newClock()
	r := NewRecorder(gone, "run", quiet())
	r.now = c.Now
	m := r.Hub(acme, "chat")
	for range 90 { // three minutes
		m.Delivered(1, 10)
		c.Advance(FlushEvery)
		if err := r.Flush(t.Context()); err == nil {
			t.Fatal("flushed to nowhere")
		}
	}
	if n := r.Pending(); n < 3 || n > 5 {
		t.Fatalf("%d deltas wait, want about one per minute", n)
	}
	back, _ := startRedis(t)
	r.redis = back
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var delivered int64
	for _, f := range stream(t, back) {
		for _, d := range f.Deltas {
			delivered += d.Delivered
		}
	}
	if delivered != 90 {
		t.Fatalf("%d of 90 deliveries arrived", delivered)
	}
}

func TestEveryFlushCarriesTheGaugesAndNoPeakIsLost(t *testing.T) {
	t.Parallel()
	gone, stop := startRedis(t)
	stop()
	c := newClock()
	r := NewRecorder(gone, "run", quiet())
	r.now = c.Now
	m := r.Hub(acme, "chat")
	m.ConnectionOpened()
	if err := r.Flush(t.Context()); err == nil { // its outcome is unknown: it is sent again
		t.Fatal("flushed to nowhere")
	}
	m.ConnectionOpened()
	m.ConnectionOpened()
	m.ConnectionClosed() // three at once, two now
	if err := r.Flush(t.Context()); err == nil {
		t.Fatal("flushed to nowhere")
	}
	for i := range maxDeltas + 1 {
		r.backlog[deltaKey{hubKey{other, fmt.Sprint(i)}, 0}] = &Delta{Tenant: other, Hub: fmt.Sprint(i), Minute: time.Unix(0, 0), Delivered: 1}
	}
	back, _ := startRedis(t)
	r.redis = back
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	flushes := stream(t, back)
	if len(flushes) != 3 {
		t.Fatalf("got %d flushes, want the unsent one and two for the rest", len(flushes))
	}
	for i, want := range []Gauge{{acme, 1, 1}, {acme, 2, 3}, {acme, 2, 0}} {
		if got := flushes[i].Gauges; len(got) != 1 || got[0] != want || flushes[i].Sequence != int64(i+1) {
			t.Errorf("flush %d, number %d: got %+v, want %+v", i, flushes[i].Sequence, got, want)
		}
	}
	if err := r.Flush(t.Context()); err != nil { // connections are news at every flush
		t.Fatal(err)
	}
	if last := stream(t, back); len(last) != 4 || last[3].Gauges[0] != (Gauge{acme, 2, 2}) {
		t.Fatalf("got %+v", last[len(last)-1])
	}
}

func TestBacklogIsBounded(t *testing.T) {
	t.Parallel()
	gone, stop := startRedis(t)
	stop()
	c := newClock()
	r := NewRecorder(gone, "run", quiet())
	r.now = c.Now
	for i := range maxBacklog {
		r.backlog[deltaKey{hubKey{acme, fmt.Sprint(i)}, 0}] = &Delta{}
	}
	m := r.Hub(other, "late")
	m.Delivered(5, 5)
	r.collect(c.Now())
	if len(r.backlog) != maxBacklog {
		t.Fatalf("%d deltas wait", len(r.backlog))
	}
	clear(r.backlog)
	r.collect(c.Now())
	if len(r.backlog) != 1 || r.backlog[deltaKey{hubKey{other, "late"}, c.Now().Truncate(time.Minute).Unix()}].Delivered != 5 {
		t.Fatal("what found no room is lost")
	}
}

func TestDuplicateFlushIsCommittedOnce(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	r := NewRecorder(client, "run", quiet())
	f := &Flush{EdgeRun: "run", SentAt: time.Now(), Deltas: []Delta{{Tenant: acme, Hub: "chat", Minute: time.Now().UTC(), Delivered: 2}}}
	for range 3 { // as after answers that got lost
		if err := r.send(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	l := newLedger()
	commits := make(chan []tenants.ID, 10)
	collect(t, client, l, "api-1", func(_ context.Context, ids []tenants.ID) { commits <- ids })
	eventually(t, "all entries are taken", func() bool { return client.XLen(context.Background(), redisclient.UsageStream).Val() == 0 })
	if got := l.of(acme, "chat").Delivered; got != 2 {
		t.Fatalf("counted %d deliveries, want 2", got)
	}
	if l.flushes["run/1"] != 3 || len(commits) != 1 || !slices.Equal(<-commits, []tenants.ID{acme}) {
		t.Fatalf("committed %v, told %d times", l.flushes, len(commits))
	}
}

func TestCrashBetweenCommitAndAcknowledgement(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	r := NewRecorder(client, "run", quiet())
	r.Hub(acme, "chat").Delivered(4, 4)
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := newLedger()
	// The first api reads and commits, and dies before it acknowledges.
	if err := client.XGroupCreateMkStream(t.Context(), redisclient.UsageStream, group, "0").Err(); err != nil {
		t.Fatal(err)
	}
	read, err := client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: group, Consumer: "dead", Streams: []string{redisclient.UsageStream, ">"}}).Result()
	if err != nil {
		t.Fatal(err)
	}
	f, err := decode(read[0].Messages[0].Values)
	if err != nil {
		t.Fatal(err)
	}
	if added, err := l.Commit(t.Context(), f); err != nil || !added {
		t.Fatal(added, err)
	}
	eventually(t, "the entry is old enough to be taken over", func() bool {
		p, err := client.XPendingExt(context.Background(), &redis.XPendingExtArgs{Stream: redisclient.UsageStream, Group: group, Start: "-", End: "+", Count: 1}).Result()
		return err == nil && len(p) == 1 && p[0].Idle >= 60*time.Millisecond
	})
	collect(t, client, l, "api-2", nil)
	eventually(t, "the other api has taken over", func() bool { return client.XLen(context.Background(), redisclient.UsageStream).Val() == 0 })
	if l.flushes["run/1"] != 2 || l.of(acme, "chat").Delivered != 4 {
		t.Fatalf("committed %v, counted %+v", l.flushes, l.of(acme, "chat"))
	}
}

func TestLedgerAwayDelaysOnly(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	l := newLedger()
	l.fail = errors.New("postgres is away")
	collect(t, client, l, "api-1", nil)
	r := NewRecorder(client, "run", quiet())
	r.Hub(acme, "chat").Delivered(1, 1)
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the flush was read", func() bool {
		p, err := client.XPending(context.Background(), redisclient.UsageStream, group).Result()
		return err == nil && p.Count == 1
	})
	l.mu.Lock()
	l.fail = nil
	l.mu.Unlock()
	eventually(t, "the flush is committed", func() bool { return l.of(acme, "chat").Delivered == 1 })
}

func TestSeveralCollectorsAndAFlushedRedis(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	l := newLedger()
	stop := collect(t, client, l, "api-1", nil)
	collect(t, client, l, "api-2", nil)
	collect(t, client, l, "api-3", nil)
	r := NewRecorder(client, "run", quiet())
	m := r.Hub(acme, "chat")
	for i := range 50 {
		m.Delivered(1, 1)
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i == 25 {
			stop()
		}
	}
	eventually(t, "everything is committed", func() bool { return l.of(acme, "chat").Delivered == 50 })
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	m.Delivered(1, 1)
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "usage after the loss is committed", func() bool { return l.of(acme, "chat").Delivered == 51 })
}

func TestFlushThatCannotBeReadOrKeptIsSetAside(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	for _, values := range []map[string]any{{"x": "y"}, {flushField: "{"}, {flushField: "{}"}} {
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: redisclient.UsageStream, Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, run := range []string{unacceptable, "run"} {
		r := NewRecorder(client, run, quiet())
		r.Hub(acme, "chat").Delivered(1, 1)
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	l := newLedger()
	collect(t, client, l, "api-1", nil)
	eventually(t, "the good one is committed", func() bool { return l.of(acme, "chat").Delivered == 1 })
	if n := client.XLen(t.Context(), redisclient.UsageUnreadable).Val(); n != 4 {
		t.Fatalf("%d flushes are set aside, want 4", n)
	}
}

func TestRunFlushesOnceMoreAtItsEnd(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	r := NewRecorder(client, "run", quiet())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.Hub(acme, "chat").Delivered(1, 1)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := stream(t, client); len(got) == 0 || got[0].Deltas[0].Delivered != 1 {
		t.Fatalf("got %+v", got)
	}
}

func TestSettle_moves_what_is_late_or_ahead_to_the_present(t *testing.T) {
	t.Parallel()
	now := newClock().Now()
	at := func(d time.Duration) time.Time { return now.Add(d).Truncate(time.Minute) }
	for name, row := range map[string]struct{ minute, want time.Time }{
		"present":            {at(0), at(0)},
		"late":               {at(-LateBy + time.Minute), at(-LateBy + time.Minute)},
		"too late":           {at(-LateBy - time.Minute), at(0)},
		"a clock ahead":      {at(aheadBy), at(aheadBy)},
		"a year ahead":       {now.AddDate(1, 0, 0), at(0)},
		"a century before":   {now.AddDate(-100, 0, 0), at(0)},
		"the next month":     {now.AddDate(0, 1, 0), at(0)},
		"the one before now": {at(-time.Minute), at(-time.Minute)},
	} {
		f := Flush{SentAt: now, Deltas: []Delta{{Minute: row.minute}}, Accepted: []Counter{{Minute: row.minute}}}
		if err := f.settle(now); err != nil {
			t.Fatal(err)
		}
		if got := f.Deltas[0].Minute; !got.Equal(row.want) {
			t.Errorf("%s: a delta counts in %s, want %s", name, got, row.want)
		}
		// A running total keeps its name: its minute.
		if got := f.Accepted[0]; !got.Minute.Equal(row.minute) || !got.Counts.Equal(row.want) {
			t.Errorf("%s: a total of %s counts in %s, want %s", name, got.Minute, got.Counts, row.want)
		}
	}
	if f := (Flush{SentAt: now.Add(-oldestFlush - time.Second)}); f.settle(now) == nil {
		t.Error("a flush whose mark may be forgotten is taken")
	}
}
