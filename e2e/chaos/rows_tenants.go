package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signalbox/signalbox/e2e/chaos/history"
	"github.com/signalbox/signalbox/tenants"
)

// The limits of plan Free, which tenant N has in the rows about limits.
var (
	freeConnections = freeLimit("max_connections")
	freePerSecond   = freeLimit("messages_per_second")
	freeBurst       = freeLimit("message_burst")
)

func freeLimit(name string) int {
	r, known := tenants.Row(name)
	if !known {
		panic("there is no limit " + name)
	}
	return r.PlanValue("free")
}

var noisyNeighbour = &row{
	id: "F-26", fault: "a noisy neighbour",
	setting:  setting{planN: "free", sticky: true},
	injected: "tenant N (plan Free) offers 20×, then 100× its limits, for a phase each: publishes of 1 and 31 KiB to a group with all its connections, messages that are too large, joins, connects, calls by clients; a third of its connections don't read. The abuser is a process of the lowest priority",
	expected: "A and B lose nothing, are never disconnected, and keep their p99 below twice their own baseline of the same run (stretch: +10 % or 5 ms); N gets documented refusals alone",
	run: func(t *trial) error {
		t.load.scale.rate *= 2
		if err := t.load.start(t, t.w.tenant(tenantA), t.w.tenant(tenantB)); err != nil {
			return err
		}
		if err := t.pass(3 * time.Second); err != nil {
			return err
		}
		calm := time.Now()
		if err := t.pass(t.phase(1)); err != nil {
			return err
		}
		t.began = time.Now()
		n := t.w.tenant(tenantN)
		type span struct {
			factor      float64
			from, until time.Time
		}
		var spans []span
		for _, factor := range []float64{20, 100} {
			a := &abuse{Edges: t.w.edgeAddrs[:], Slug: n.slug, Key: n.key, Factor: factor, Connections: freeConnections, PerSecond: freePerSecond, For: t.phase(1) + 2*time.Second}
			from := time.Now().Add(2 * time.Second)
			counts, err := a.elsewhere(t)
			if err != nil {
				return err
			}
			spans = append(spans, span{factor, from, time.Now()})
			text, undocumented := told(counts)
			t.check(undocumented == 0, fmt.Sprintf("answers to N at %g× that aren't documented", factor), fmt.Sprintf("%d of: %s", undocumented, text), "0")
			if err := t.pass(2 * time.Second); err != nil {
				return err
			}
		}
		if err := t.tail(); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.noDisconnects("disconnects of A and B", everyLife)
		for _, slug := range []string{tenantA, tenantB} {
			before := t.load.latencies(slug, calm, t.began)
			for _, s := range spans {
				during := t.load.latencies(slug, s.from, s.until)
				b, d := quantile(before, 0.99), quantile(during, 0.99)
				t.bounds = append(t.bounds, bound{
					What:     fmt.Sprintf("p99 of %s at %g×", slug, s.factor),
					Measured: fmt.Sprintf("%s, %s before (p50 %s, %s); %+.0f %%", short(d), short(b), short(quantile(during, 0.5)), short(quantile(before, 0.5)), 100*(float64(d)/float64(b)-1)),
					Bound:    "< 2×; stretch +10 % or 5 ms", Time: true, OK: d < 2*b && d > 0,
				})
			}
		}
		all := t.load.attemptsIn("", t.began, t.over)
		t.zero("publishes of A and B that were not accepted", len(took(all, failed)), reasons(all))
		return nil
	},
}

var atQuota = &row{
	id: "F-25", fault: "a tenant at its limits",
	setting:  setting{planN: "free"},
	injected: "tenant N (plan Free) publishes at 1.01× and 5× its messages per second over three edges for 10 s each, and opens 1.5× its connections",
	expected: "no more than 2 % above a limit is admitted; what is admitted up to it is no less than 98 %; connections that are open stay open",
	run: func(t *trial) error {
		if err := t.load.start(t, t.w.tenant(tenantA), t.w.tenant(tenantB)); err != nil {
			return err
		}
		t.began = time.Now()
		n := t.w.tenant(tenantN)
		for _, factor := range []float64{1.01, 5} {
			// The bucket is full; its burst is spent first, so that only the rate counts.
			for i := range freeBurst + 50 {
				t.w.rest(0, n).publish(fmt.Sprintf("nobody-%d", i%50), []byte(`{}`))
			}
			accepted, refused, other := t.offer(n, factor*float64(freePerSecond), 10*time.Second)
			of := 10 * float64(freePerSecond)
			t.check(float64(accepted) <= 1.02*of+1, fmt.Sprintf("accepted in 10 s at %g×", factor), fmt.Sprintf("%d, %d refused", accepted, refused), fmt.Sprintf("≤ %.0f (+2 %%)", 1.02*of+1))
			t.check(float64(accepted) >= 0.98*of-1, fmt.Sprintf("accepted in 10 s at %g×, at least", factor), fmt.Sprint(accepted), fmt.Sprintf("≥ %.0f (−2 %%)", 0.98*of-1))
			t.zero("other answers", other, "")
		}
		var open, refused atomic.Int64
		var all sync.WaitGroup
		var mu sync.Mutex
		var stalled []*stalledClient
		for i := range freeConnections * 3 / 2 {
			all.Go(func() {
				s, err := stall(t, t.w, n, i%edgeCount)
				if err != nil {
					refused.Add(1)
					return
				}
				open.Add(1)
				mu.Lock()
				stalled = append(stalled, s)
				mu.Unlock()
			})
			if i%20 == 19 {
				all.Wait()
			}
		}
		all.Wait()
		defer func() {
			for _, s := range stalled {
				s.close()
			}
		}()
		most := int64(freeConnections)
		t.check(open.Load() <= most*102/100 && open.Load() >= most*98/100, "connections at 1.5×", fmt.Sprintf("%d open, %d refused", open.Load(), refused.Load()), fmt.Sprintf("%d ± 2 %%", most))
		if err := t.tail(); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.noDisconnects("disconnects of A and B", everyLife)
		return nil
	},
}

// offer publishes at a rate over all edges and counts the answers.
func (t *trial) offer(n *tenant, rate float64, d time.Duration) (accepted, refused, other int) {
	var mu sync.Mutex
	var all sync.WaitGroup
	const workers = 12
	until := time.Now().Add(d)
	for i := range workers {
		all.Go(func() {
			every := time.Duration(workers / rate * float64(time.Second))
			next := time.Now().Add(time.Duration(float64(every) * float64(i) / workers))
			for turn := i; time.Now().Before(until) && t.Err() == nil; turn++ {
				time.Sleep(time.Until(next))
				next = next.Add(every)
				outcome, status := t.w.rest(turn%edgeCount, n).publish(fmt.Sprintf("nobody-%d", turn%50), []byte(`{}`)) // there is a limit for each group
				mu.Lock()
				switch {
				case outcome == history.Accepted:
					accepted++
				case status == "429":
					refused++
				default:
					other++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return accepted, refused, other
}
