package quota

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// membershipEdge is an edge that tells the others when the test says so.
func membershipEdge(t *testing.T, client *redis.Client, run string) *Memberships {
	t.Helper()
	if err := client.HSet(t.Context(), redisclient.EdgeLease(run), "a", "b").Err(); err != nil {
		t.Fatal(err)
	}
	m := NewMemberships(client, run, quiet())
	m.patience = 0 // nobody tells meanwhile
	return m
}

func tell(t *testing.T, edges ...*Memberships) {
	t.Helper()
	for _, m := range edges {
		if err := m.tell(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// join takes memberships and returns how many there were.
func join(h *HubMemberships, most int) (n int) {
	for n < most && h.Join() == nil {
		n++
	}
	return n
}

// joinTelling does so as an edge that tells the others when it has to, until what they had
// reserved doesn't count any more.
func joinTelling(t *testing.T, h *HubMemberships, most int) (n int) {
	t.Helper()
	for until := time.Now().Add((reservedFor + 2) * time.Second); n < most && time.Now().Before(until); {
		joined := h.Join() == nil
		if h.budget.due.Load() {
			tell(t, h.m)
		}
		if joined {
			n++
			continue
		}
		if h.budget.own.Load()+h.budget.others.Load() >= int64(h.limit()) {
			return n
		}
		tell(t, h.m)
		time.Sleep(time.Millisecond)
	}
	return n
}

// SEC-27: the memberships of a tenant are bounded over all edges, and joining asks
// nobody.
func TestMembershipsOverTheFleet_SEC_27(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	most := 10
	limit := func() int { return most }
	first, second := membershipEdge(t, client, "one"), membershipEdge(t, client, "two")
	chat, news := first.Hub(acme, limit), first.Hub(acme, limit)
	away, neighbour := second.Hub(acme, limit), second.Hub(other, limit)

	if n := joinTelling(t, chat, 3) + joinTelling(t, news, 3); n != 6 {
		t.Fatalf("%d of 6 joined", n)
	}
	tell(t, first, second)
	if n := joinTelling(t, away, 100); n != 4 {
		t.Errorf("%d joined at the second edge, want the 4 that are left", n)
	}
	wantRefusal(t, away.Join(), "group_limit", 10)
	var shown *hubs.Error
	if err := away.Join(); !errors.As(err, &shown) || shown.Error() != "group_limit scope=tenant limit=max_group_memberships max=10 retry_after_ms=1000 see=https://signalbox.dev/docs/errors/group_limit" {
		t.Errorf("the text is %v", shown)
	}
	tell(t, second)
	// The first edge isn't told of the last 4, and asks with its first join.
	n := joinTelling(t, chat, 100)
	if n > 1 {
		t.Errorf("%d joined beyond the limit while an edge asked", n)
	}
	chat.Leave(n)
	tell(t, second, first)
	if n := join(news, 1) + join(away, 1); n != 0 {
		t.Errorf("%d joined over the limit", n)
	}
	if n := joinTelling(t, neighbour, 100); n != 10 {
		t.Errorf("another tenant got %d, want its 10", n)
	}
	most = 11
	if n := joinTelling(t, chat, 100); n != 1 {
		t.Errorf("%d joined when the limit was raised by 1", n)
	}
	if err := second.leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = join(chat, 1)
	tell(t, first)
	if n := joinTelling(t, chat, 100); n != 4 {
		t.Errorf("%d joined when an edge had ended that had 4", n)
	}
}

// The limit holds over three edges that join as fast as they can, as exactly as rates do.
func TestMembershipsOfThreeEdgesAtOnce(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	for _, limit := range []int{200, 3000} {
		id := tenants.ID(fmt.Sprintf("01JOINS%d", limit))
		ctx, cancel := context.WithCancel(t.Context())
		var running, all sync.WaitGroup
		var joined atomic.Int64
		for _, run := range []string{"one", "two", "three"} {
			m := membershipEdge(t, client, run)
			running.Go(func() {
				if err := m.Run(ctx); err != nil {
					t.Error(err)
				}
			})
			h := m.Hub(id, func() int { return limit })
			eventually(t, "the others are heard", func() bool { return h.budget.heard.Load() > 0 })
			all.Go(func() {
				for n := range 5 * limit / 3 {
					// Refused for a moment, since what the others let in isn't known, or for good.
					if h.Join() == nil {
						joined.Add(1)
					}
					if n%10 == 0 {
						time.Sleep(time.Millisecond) // as clients that wait for answers
					}
				}
			})
		}
		all.Wait()
		if n := joined.Load(); n > int64(limit*102/100) || n < int64(limit*98/100) {
			t.Errorf("%d joined by three edges, want %d ± 2 %%", n, limit)
		}
		cancel()
		running.Wait()
	}
}

func TestMembershipsOfADeadEdgeAreFreed(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	if err := client.HSet(t.Context(), redisclient.MembershipCounts(acme), "dead", 10).Err(); err != nil {
		t.Fatal(err)
	}
	m := membershipEdge(t, client, "one")
	h := m.Hub(acme, func() int { return 10 })
	tell(t, m)
	if n := join(h, 1); n != 0 {
		t.Fatal("joined, though the others have all")
	}
	tell(t, m)
	if n := joinTelling(t, h, 100); n != 10 {
		t.Errorf("%d joined, want 10: the edge that had them is dead", n)
	}
}

// What Run does by itself.
func TestMembershipsAreToldAndTakenBack(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	m := membershipEdge(t, client, "one")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	h := m.Hub(acme, func() int { return 10 })
	join(h, 3)
	key := redisclient.MembershipCounts(acme)
	eventually(t, "the count is told", func() bool { return strings.HasPrefix(client.HGet(context.Background(), key, "one").Val(), "3+") })
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if n := client.Exists(context.Background(), key).Val(); n != 0 {
		t.Error("the count is still there")
	}
}

func TestMembershipsWithRedisAway(t *testing.T) {
	t.Parallel()
	client, stop := startRedis(t)
	m := NewMemberships(client, "one", quiet())
	h := m.Hub(acme, func() int { return 10 })
	h.budget.others.Store(4)
	stop()
	for i := range 6 {
		if err := h.Join(); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	wantRefusal(t, h.Join(), "group_limit", 10)
	if err := m.tell(t.Context()); err == nil {
		t.Error("Redis is away, and nobody says so")
	}
	h.Leave(6)
	if h.Join() != nil {
		t.Error("what was given back isn't free")
	}
}

func TestMembershipsOfManyAtOnce(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	m := NewMemberships(client, "one", quiet())
	var all sync.WaitGroup
	var joined atomic.Int64
	for range 10 {
		h := m.Hub(acme, func() int { return 1000 })
		all.Go(func() {
			defer h.Close()
			for range 1000 {
				if h.Join() == nil {
					joined.Add(1)
				}
			}
		})
	}
	all.Wait()
	if n := joined.Load(); n != 1000 {
		t.Errorf("%d joined, want 1000", n)
	}
	h := m.Hub(acme, func() int { return 1000 })
	h.Leave(1000)
	h.Close()
	if err := m.tell(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.tell(t.Context()); err != nil || len(m.tenants) != 0 {
		t.Errorf("%v, and %d tenants are remembered that have nothing", err, len(m.tenants))
	}
}

// BenchmarkJoin is what a bound costs each join.
func BenchmarkJoin(b *testing.B) {
	m := NewMemberships(nil, "one", quiet())
	all := make([]*HubMemberships, 100)
	for i := range all {
		all[i] = m.Hub(tenants.ID(fmt.Sprint(i)), func() int { return 1 << 30 })
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := all[i%100].Join(); err != nil {
			b.Fatal(err)
		}
	}
}

// Nobody is refused for being faster than Redis while there is room: not where the limit is
// small, not by an edge that hasn't asked for long.
func TestMemberships_wait_for_one_answer(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	const most = 8
	limit := func() int { return most }
	one, two := membershipEdge(t, client, "one"), membershipEdge(t, client, "two")
	here, there := one.Hub(acme, limit), two.Hub(acme, limit)
	tell(t, one, two)
	for _, m := range []*Memberships{one, two} {
		m.patience = time.Minute // the test's own bound is shorter
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := m.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(func() { stop(); running.Wait() })
	}
	for n := range most - 2 { // two has one or two of its own
		if err := here.Join(); err != nil {
			t.Fatalf("join %d of %d: %v", n+1, most, err)
		}
	}
	if err := there.Join(); err != nil {
		t.Errorf("the other edge: %v", err)
	}
	here.Leave(most - 2)
	there.Leave(1)

	// It is over when the limit is reached, and nobody waits then.
	joined := 0
	for until := time.Now().Add(10 * time.Second); joined < most && time.Now().Before(until); {
		joined += join(here, 1) + join(there, 1)
	}
	if joined += join(here, most) + join(there, most); joined != most {
		t.Errorf("%d joined, with a limit of %d", joined, most)
	}
}

// Whoever waits in vain doesn't have the next ones wait, too.
func TestMemberships_wait_once_where_redis_says_nothing(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	m := membershipEdge(t, client, "one") // nobody runs it
	h := m.Hub(acme, func() int { return 10 })
	tell(t, m)
	m.patience = time.Millisecond
	if n := join(h, 100); n != 5 {
		t.Fatalf("%d joined, want half of what is free", n)
	}
	m.patience = time.Hour
	refused := make(chan error)
	go func() { refused <- h.Join() }()
	select {
	case err := <-refused:
		if err == nil {
			t.Error("joined what isn't reserved")
		}
	case <-time.After(10 * time.Second):
		t.Error("waits though there was no answer before")
	}
}

// An entry in a form that isn't known, or reserved by a clock that was ahead, is in nobody's
// way, and not in that of other tenants.
func TestMemberships_beside_entries_of_other_forms(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	m := membershipEdge(t, client, "one")
	h, neighbour := m.Hub(acme, func() int { return 10 }), m.Hub(other, func() int { return 10 })
	ahead := fmt.Sprintf("0+8@%d", time.Now().Add(time.Hour).Unix())
	if err := client.HSet(t.Context(), redisclient.MembershipCounts(acme), "two", "-1;next", "three", "2", "four", ahead).Err(); err != nil {
		t.Fatal(err)
	}
	tell(t, m)
	if n := joinTelling(t, h, 100); n != 8 {
		t.Errorf("%d joined beside two of another edge, with a limit of 10", n)
	}
	if n := joinTelling(t, neighbour, 100); n != 10 {
		t.Errorf("%d of the neighbour joined", n)
	}
}
