package quota

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/tenants"
)

const (
	acme  tenants.ID = "01ACME"
	other tenants.ID = "01OTHER"
)

// TestMain has Redis answer in time, whatever the machine does meanwhile: after it an
// edge goes by its share, which is counted otherwise.
func TestMain(m *testing.M) {
	askTimeout, leaseTimeout = 30*time.Second, 30*time.Second
	os.Exit(m.Run())
}

func startRedis(t *testing.T) (*redis.Client, func()) {
	t.Helper()
	url, stop := testenv.StartRedis(t)
	client, err := redisclient.New(url, "quota-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client, stop
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

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

func wantRefusal(t *testing.T, err error, code string, limit int64) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("got %v, want a refusal", err)
	}
	if r.Code != code || r.Max != limit || r.RetryAfter() <= 0 {
		t.Fatalf("got %+v", r)
	}
	var shown *hubs.Error
	if !errors.As(err, &shown) {
		t.Fatal("clients don't get to see the refusal")
	}
}

// edge makes the connections of one edge that lives.
func edge(t *testing.T, client *redis.Client, run string) *Connections {
	t.Helper()
	if err := client.HSet(t.Context(), redisclient.EdgeLease(run), "addr", "-").Err(); err != nil {
		t.Fatal(err)
	}
	return NewConnections(redisclient.NewBatch(client), run, quiet())
}

func TestConnectionsOverTheFleet(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	edges := []*Connections{edge(t, client, "a"), edge(t, client, "b"), edge(t, client, "c")}
	const limit = 50
	var admitted atomic.Int64
	var releases sync.Map
	var all sync.WaitGroup
	for i := range 4 * limit {
		all.Go(func() {
			release, err := edges[i%3].Admit(context.Background(), acme, limit)
			if err == nil {
				admitted.Add(1)
				releases.Store(i, release)
			} else if r := new(Refusal); !errors.As(err, &r) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if admitted.Load() != limit {
		t.Fatalf("%d of %d connections were admitted, want exactly %d", admitted.Load(), 4*limit, limit)
	}
	_, err := edges[0].Admit(t.Context(), acme, limit)
	wantRefusal(t, err, "connection_limit", limit)
	wantRefusal(t, edges[1].Check(t.Context(), acme, limit), "connection_limit", limit)
	if _, err := edges[0].Admit(t.Context(), other, limit); err != nil {
		t.Fatalf("another tenant suffers: %v", err)
	}
	if _, err := edges[0].Admit(t.Context(), acme, limit+1); err != nil {
		t.Fatalf("a raised limit is not in force: %v", err)
	}
	releases.Range(func(_, release any) bool { release.(func())(); release.(func())(); return true })
	eventually(t, "room for all again", func() bool {
		counts, err := client.HVals(context.Background(), redisclient.ConnectionCounts(acme)).Result()
		return err == nil && len(counts) == 1 && counts[0] == "1" // the one over the first limit
	})
	for i := range limit {
		if _, err := edges[i%3].Admit(t.Context(), acme, limit+1); err != nil {
			t.Fatalf("connection %d after the release: %v", i, err)
		}
	}
}

func TestConnectionsOfADeadEdgeAreFreed(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	dead, living := edge(t, client, "dead"), edge(t, client, "living")
	for range 3 {
		if _, err := dead.Admit(t.Context(), acme, 3); err != nil {
			t.Fatal(err)
		}
	}
	_, err := living.Admit(t.Context(), acme, 3)
	wantRefusal(t, err, "connection_limit", 3)
	if err := client.Del(t.Context(), redisclient.EdgeLease("dead")).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the dead edge's share is free", func() bool {
		_, err := living.Admit(context.Background(), acme, 3)
		return err == nil
	})
}

func TestConnectionsWithRedisAwayKeepTheirShare(t *testing.T) {
	t.Parallel()
	client, stop := startRedis(t)
	a, b := edge(t, client, "a"), edge(t, client, "b")
	const limit = 20
	for range 4 {
		for _, e := range []*Connections{a, b} {
			if _, err := e.Admit(t.Context(), acme, limit); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := a.Check(t.Context(), acme, limit); err != nil {
		t.Fatal(err)
	}
	stop()
	// 12 are free, and two edges may each take half of them.
	for i := range 6 {
		if _, err := a.Admit(t.Context(), acme, limit); err != nil {
			t.Fatalf("connection %d of the share: %v", i, err)
		}
	}
	_, err := a.Admit(t.Context(), acme, limit)
	wantRefusal(t, err, "connection_limit", limit)
	for i := range limit / strangerShare {
		if _, err := a.Admit(t.Context(), other, limit); err != nil {
			t.Fatalf("connection %d of an unknown tenant: %v", i, err)
		}
	}
	_, err = a.Admit(t.Context(), other, limit)
	wantRefusal(t, err, "connection_limit", limit)
}

func TestConnectionsAreCountedAgainWhenRedisIsBack(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	a := edge(t, client, "a")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	a.away.Store(true) // as after an answer that didn't come
	release, err := a.Admit(t.Context(), acme, 20)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connection is counted", func() bool {
		n, err := client.HGet(context.Background(), redisclient.ConnectionCounts(acme), "a").Int()
		return err == nil && n == 1
	})
	release()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestConnectionCountsAreRepairedAndTakenBack(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	a := edge(t, client, "a")
	for range 2 {
		if _, err := a.Admit(t.Context(), acme, 5); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	a.resync()
	eventually(t, "counts are written again", func() bool {
		n, err := client.HGet(context.Background(), redisclient.ConnectionCounts(acme), "a").Int()
		return err == nil && n == 2
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if n := client.Exists(t.Context(), redisclient.ConnectionCounts(acme)).Val(); n != 0 {
		t.Fatal("an edge that left still counts")
	}
}

func TestAdmitOfAnImpatientClientTakesNothing(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	a := edge(t, client, "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		if release, err := a.Admit(ctx, acme, 5); err == nil {
			release()
		}
	}
	eventually(t, "nothing is taken", func() bool {
		return a.Open(acme) == 0 && client.Exists(context.Background(), redisclient.ConnectionCounts(acme)).Val() == 0
	})
}

// clock is a time that moves only when told.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

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

// TestRateOverThreeEdges counts what three edges accept in ten simulated
// seconds of twice the allowed load: the limit within 2 % (design, section 9).
func TestRateOverThreeEdges(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	for _, perSecond := range []int{100, 1000} {
		t.Run(fmt.Sprint(perSecond), func(t *testing.T) {
			c := &clock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
			var edges []*Messages
			for range 3 {
				m := NewMessages(client, nil, quiet())
				m.now, m.clock = c.Now, true
				edges = append(edges, m)
			}
			id := tenants.ID(fmt.Sprintf("01RATE%d", perSecond))
			r := Rate{PerSecond: perSecond, Burst: perSecond}
			// Empty the bucket first: its depth is allowed on top of the rate.
			for edges[0].Take(t.Context(), id, r, 1) == nil {
			}
			accepted := 0
			const steps = 1000 // of 10 ms
			for step := range steps {
				c.Advance(10 * time.Millisecond)
				for i := range 2 * perSecond / 100 {
					if edges[(step+i)%3].Take(t.Context(), id, r, 1) == nil {
						accepted++
					}
				}
				for _, m := range edges {
					m.work.Wait() // background refills belong to this instant
				}
			}
			if want := 10 * perSecond; accepted < want*98/100 || accepted > want*102/100 {
				t.Fatalf("accepted %d in ten seconds, want %d ± 2 %%", accepted, want)
			}
		})
	}
}

func TestBurstAndRefusal(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	c := &clock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	m := NewMessages(client, nil, quiet())
	m.now, m.clock = c.Now, true
	r := Rate{PerSecond: 10, Burst: 30}
	for i := range 30 {
		if err := m.Take(t.Context(), acme, r, 1); err != nil {
			t.Fatalf("message %d of the burst: %v", i, err)
		}
	}
	wantRefusal(t, m.Take(t.Context(), acme, r, 1), "rate_limited", 10)
	if err := m.Take(t.Context(), other, r, 1); err != nil {
		t.Fatalf("another tenant suffers: %v", err)
	}
	c.Advance(time.Second)
	if err := m.Take(t.Context(), acme, r, 10); err != nil {
		t.Fatalf("a second later: %v", err)
	}
	wantRefusal(t, m.Take(t.Context(), acme, r, 1), "rate_limited", 10)
	wantRefusal(t, m.Take(t.Context(), acme, r, 31), "rate_limited", 10)
	wantRefusal(t, m.Take(t.Context(), acme, Rate{}, 1), "rate_limited", 0)
	// A raised limit is in force with the next message that asks.
	c.Advance(time.Second)
	if err := m.Take(t.Context(), acme, Rate{PerSecond: 100, Burst: 100}, 50); err != nil {
		t.Fatalf("after a raise: %v", err)
	}
}

// Requests have a bucket and a code of their own.
func TestRequestsAreCountedApart(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	c := &clock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)} // stands still
	m, q := NewMessages(client, nil, quiet()), NewRequests(client, nil, quiet())
	m.now, m.clock, q.now, q.clock = c.Now, true, c.Now, true
	r := Rate{PerSecond: 5}
	for i := range 5 {
		if err := q.Take(t.Context(), acme, r, 1); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	wantRefusal(t, q.Take(t.Context(), acme, r, 1), "too_many_requests", 5)
	wantRefusal(t, q.Take(t.Context(), acme, Rate{}, 1), "too_many_requests", 0)
	if err := m.Take(t.Context(), acme, r, 5); err != nil {
		t.Errorf("requests took from the messages: %v", err)
	}
	if err := q.Take(t.Context(), other, r, 1); err != nil {
		t.Errorf("another tenant suffers: %v", err)
	}
}

func TestManyAtOnceTakeExactlyTheBucket(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	c := &clock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)} // stands still
	r := Rate{PerSecond: 100, Burst: 100}
	var accepted atomic.Int64
	var all sync.WaitGroup
	for range 3 {
		m := NewMessages(client, nil, quiet())
		m.now, m.clock = c.Now, true
		for range 100 {
			all.Go(func() {
				if m.Take(context.Background(), acme, r, 1) == nil {
					accepted.Add(1)
				}
			})
		}
		t.Cleanup(m.work.Wait)
	}
	all.Wait()
	// What one edge leased ahead may be left there: less than a block each.
	if n := accepted.Load(); n > 100 || n < int64(100-3*r.block()) {
		t.Fatalf("accepted %d of a bucket of 100", n)
	}
}

func TestMessagesWithRedisAwayKeepTheirShare(t *testing.T) {
	t.Parallel()
	client, stop := startRedis(t)
	c := &clock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	m := NewMessages(client, nil, quiet())
	m.now, m.clock = c.Now, true
	r := Rate{PerSecond: 100, Burst: 100}
	for range 120 { // twelve seconds at 50/s
		c.Advance(100 * time.Millisecond)
		for range 5 {
			if err := m.Take(t.Context(), acme, r, 1); err != nil {
				t.Fatal(err)
			}
		}
		m.work.Wait()
	}
	stop()
	accepted := 0
	for range 100 { // ten seconds at the full limit
		c.Advance(100 * time.Millisecond)
		for range 10 {
			if m.Take(t.Context(), acme, r, 1) == nil {
				accepted++
			}
		}
	}
	m.work.Wait()
	// 50/s, a full bucket of that share at first, and the rest of a block.
	if accepted < 450 || accepted > 600 {
		t.Fatalf("accepted %d in ten seconds with a share of 50/s", accepted)
	}
}

// BenchmarkTake is the hot path: a message out of the block of this edge.
func BenchmarkTake(b *testing.B) {
	url := testenv.Redis(b)
	client, err := redisclient.New(url, "quota-bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close() })
	m := NewMessages(client, nil, slog.New(slog.DiscardHandler))
	b.Cleanup(m.work.Wait)
	r := Rate{PerSecond: 1 << 30, Burst: 1 << 30}
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Take(b.Context(), acme, r, 1); err != nil {
			b.Fatal(err)
		}
	}
}

// What ends something is never refused: beyond a burst it comes at the pace that is
// allowed, and waits no longer than mostLeaveWait, whatever is left of a larger limit.
func TestLeaving_waits_beyond_the_burst(t *testing.T) {
	t.Parallel()
	var p paces
	l := &tenants.Limits{MaxGroupsPerConn: 1000}
	now := int64(time.Hour)
	for n := range 1000 {
		if wait := p.leaving(now, l); wait > 0 {
			t.Fatalf("leaving %d waits %s", n, wait)
		}
	}
	for n := range 3 {
		if wait, want := p.leaving(now, l), time.Duration(n+1)*time.Second/leavesPerSecond; wait != want {
			t.Errorf("%d beyond the burst waits %s, want %s", n, wait, want)
		}
	}
	l.MaxGroupsPerConn = 50
	if wait := p.leaving(now, l); wait != mostLeaveWait {
		t.Errorf("below a smaller limit it waits %s, want %s", wait, mostLeaveWait)
	}
	for method, ends := range map[string]bool{"$leaveGroup": true, "$LEAVEGROUP": true, "$clearPresence": true, "$unwatchPresence": true, "$joinGroup": false, "leaveGroup": false} {
		if Ends(method) != ends {
			t.Errorf("%s ends something: %t, want %t", method, !ends, ends)
		}
	}
}
