package quota

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signalbox/signalbox/tenants"
)

// sender takes from a tenant's limit through one of the edges.
type sender struct {
	edge      int
	perSecond float64
	share     *Share // nil = of all that have none

	offered, accepted int
	due               float64
}

// send has senders take from a limit of 100/s for ten simulated seconds, after five in
// which shares settle, and returns what was accepted of all of them.
func send(t *testing.T, edges []*Messages, c *clock, id tenants.ID, r Rate, senders []*sender) (accepted int) {
	t.Helper()
	const steps = 1500 // of 10 ms
	for step := range steps {
		c.Advance(10 * time.Millisecond)
		counts := step >= steps/3
		for i := range senders {
			s := senders[(i+step)%len(senders)] // everybody is the first sometimes
			for s.due += s.perSecond / 100; s.due >= 1; s.due-- {
				ok := edges[s.edge].TakeFor(t.Context(), id, r, 1, s.share) == nil
				if !counts {
					continue
				}
				s.offered++
				if ok {
					s.accepted++
					accepted++
				}
			}
		}
		for _, m := range edges {
			m.work.Wait() // what is asked ahead belongs to this instant
		}
	}
	return accepted
}

// simulated are edges on one clock.
func simulated(t *testing.T, count int) ([]*Messages, *clock, func()) {
	t.Helper()
	client, stop := startRedis(t)
	c := &clock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	var edges []*Messages
	for range count {
		m := NewMessages(client, nil, quiet())
		m.now, m.clock = c.Now, true
		edges = append(edges, m)
	}
	return edges, c, stop
}

// wantAll fails when less than 98 % of what a sender offered was accepted.
func wantAll(t *testing.T, what string, s *sender) {
	t.Helper()
	if s.offered == 0 || s.accepted*100 < s.offered*98 {
		t.Errorf("%s: %d of %d accepted", what, s.accepted, s.offered)
	}
}

// A limit that is contested is divided so that who asks for little gets it, whoever asks
// for more gets as much as any other, on whatever edge they are, and all of it is used.
func TestSharesOverThreeEdges(t *testing.T) {
	t.Parallel()
	r := Rate{PerSecond: 100, Burst: 300}
	exact := func(t *testing.T, accepted int) {
		t.Helper()
		if accepted < 980 || accepted > 1020 {
			t.Errorf("%d accepted in ten seconds, want 1000 ± 2 %%", accepted)
		}
	}
	polite := func(edges int) (all []*sender) {
		for i := range 20 {
			all = append(all, &sender{edge: i % edges, perSecond: 1, share: new(Share), due: float64(i) / 20})
		}
		return all
	}
	for _, greedyAt := range []int{0, 2} { // beside the polite ones, and on an edge of its own
		t.Run(fmt.Sprintf("one greedy at %d", greedyAt), func(t *testing.T) {
			t.Parallel()
			edges, c, _ := simulated(t, 3)
			greedy := &sender{edge: greedyAt, perSecond: 2000, share: new(Share)}
			modest := &sender{edge: 1, perSecond: 25, share: new(Share)}
			senders := append(polite(2), greedy, modest)
			exact(t, send(t, edges, c, acme, r, senders))
			for _, s := range senders[:20] {
				wantAll(t, "a polite one", s)
			}
			wantAll(t, "one that asks for more than an equal part", modest)
		})
	}
	t.Run("three greedy", func(t *testing.T) {
		t.Parallel()
		edges, c, _ := simulated(t, 3)
		greedy := []*sender{{edge: 0, perSecond: 3000, share: new(Share)}, {edge: 1, perSecond: 500, share: new(Share)}, {edge: 1, perSecond: 100, share: new(Share)}}
		senders := append(polite(3), greedy...)
		exact(t, send(t, edges, c, acme, r, senders))
		for _, s := range senders[:20] {
			wantAll(t, "a polite one", s)
		}
		for _, s := range greedy { // 80 a second are there for three
			if s.accepted < 200 || s.accepted > 370 {
				t.Errorf("one that asks for %g/s got %d in ten seconds, want about 267", s.perSecond, s.accepted)
			}
		}
	})
	t.Run("backends are one", func(t *testing.T) {
		t.Parallel()
		edges, c, _ := simulated(t, 3)
		backend := &sender{edge: 0, perSecond: 1000}
		senders := append(polite(3), backend)
		exact(t, send(t, edges, c, acme, r, senders))
		for _, s := range senders[:20] {
			wantAll(t, "a polite one", s)
		}
		if backend.accepted < 700 {
			t.Errorf("the backend got %d in ten seconds, want what is left: 800", backend.accepted)
		}
	})
	t.Run("one alone has all of it", func(t *testing.T) {
		t.Parallel()
		edges, c, _ := simulated(t, 1)
		exact(t, send(t, edges, c, acme, r, []*sender{{perSecond: 500, share: new(Share)}}))
	})
}

// While Redis is away an edge divides what it has.
func TestSharesWithRedisAway(t *testing.T) {
	t.Parallel()
	edges, c, stop := simulated(t, 1)
	r := Rate{PerSecond: 100, Burst: 100}
	warm := &sender{perSecond: 100, share: new(Share)}
	send(t, edges, c, acme, r, []*sender{warm})
	stop()
	greedy := &sender{perSecond: 2000, share: new(Share)}
	senders := []*sender{greedy}
	for i := range 20 {
		senders = append(senders, &sender{perSecond: 1, share: new(Share), due: float64(i) / 20})
	}
	if accepted := send(t, edges, c, acme, r, senders); accepted < 900 || accepted > 1050 {
		t.Errorf("%d accepted in ten seconds", accepted)
	}
	for _, s := range senders[1:] {
		wantAll(t, "a polite one", s)
	}
}

// Many at once who are over their share, on a clock that goes on: what is accepted stays
// within the bucket, and nobody waits for ever.
func TestSharesOfManyAtOnce(t *testing.T) {
	t.Parallel()
	edges, c, _ := simulated(t, 3)
	r := Rate{PerSecond: 100, Burst: 100}
	var accepted atomic.Int64
	const rounds = 50 // of a tenth of a second
	for range rounds {
		var all sync.WaitGroup
		for i := range 60 {
			share := new(Share)
			all.Go(func() {
				for range 3 {
					var refusal *Refusal
					if err := edges[i%3].TakeFor(context.Background(), acme, r, 1, share); err == nil {
						accepted.Add(1)
					} else if !errors.As(err, &refusal) || refusal.RetryAfter() <= 0 {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		c.Advance(100 * time.Millisecond)
	}
	for _, m := range edges {
		m.work.Wait()
	}
	if n := accepted.Load(); n > 100+10*(rounds-1) || n < 90+10*(rounds-1)*9/10 {
		t.Errorf("%d accepted of %d", n, 100+10*(rounds-1))
	}
}

// A share costs nothing while there is enough for all.
func TestSharesCostNothingUncontested(t *testing.T) {
	edges, _, _ := simulated(t, 1)
	r, share := Rate{PerSecond: 1 << 20, Burst: 1 << 20}, new(Share)
	if allocs := testing.AllocsPerRun(1000, func() {
		if err := edges[0].TakeFor(t.Context(), acme, r, 1, share); err != nil {
			t.Fatal(err)
		}
	}); allocs >= 1 {
		t.Errorf("%g allocations", allocs)
	}
	if *share != (Share{}) {
		t.Errorf("counted while nothing is contested: %+v", *share)
	}
}
