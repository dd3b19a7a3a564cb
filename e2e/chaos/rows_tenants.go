package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/signalbox/signalbox/tenants"
)

// The limits of plan Free, which tenant N has in F-26.
var (
	freeConnections = freeLimit("max_connections")
	freePerSecond   = freeLimit("messages_per_second")
	freeRequests    = freeLimit("requests_per_second")
	freeConnects    = freeLimit("connects_per_second")
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
	injected: "tenant N (plan Free) offers 20×, then 100× its REST requests and connects a second, for a phase each: publishes of 1 and 31 KiB to groups with all its connections, messages that are too large, joins, connects; and calls by its clients as fast as they can; a third of its connections don't read. The abuser is a process of the lowest priority. Before, the same requests go to a process beside the edges that does nothing but refuse them, which tells what they do to this machine by themselves",
	expected: "A and B lose nothing, are never disconnected, and keep their p99 below twice their own baseline of the same run (stretch: +10 % or 5 ms); N gets documented refusals alone",
	run: func(t *trial) error {
		t.load.scale.rate *= 2
		if err := t.load.start(t, t.w.tenant(tenantA), t.w.tenant(tenantB)); err != nil {
			return err
		}
		if err := t.pass(3 * time.Second); err != nil {
			return err
		}
		calm, used := time.Now(), t.cpuOfEdges()
		if err := t.pass(t.phase(1)); err != nil {
			return err
		}
		t.began = time.Now()
		t.note("processor time of the edges before", cores(t.cpuOfEdges()-used, t.began.Sub(calm)))
		n := t.w.tenant(tenantN)
		at := func(factor float64, addresses []string) *abuse {
			return &abuse{Edges: addresses, Slug: n.slug, Key: n.key, Factor: factor, Connections: freeConnections, PerSecond: freePerSecond, Requests: freeRequests, Connects: freeConnects, For: t.phase(1) + 2*time.Second, Kinds: t.config.abuse}
		}
		control, err := t.offeredElsewhere(at)
		if err != nil {
			return err
		}
		var spans []abuseSpan
		for _, factor := range []float64{20, 100} {
			a := at(factor, t.w.edgeAddrs[:])
			from, used := time.Now().Add(2*time.Second), t.cpuOfEdges()
			counts, err := a.elsewhere(t)
			if err != nil {
				return err
			}
			t.note(fmt.Sprintf("processor time of the edges at %g×", factor), cores(t.cpuOfEdges()-used, a.For))
			t.offeredBy(a, counts)
			spans = append(spans, abuseSpan{factor, from, time.Now()})
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
		samples := len(t.load.latencies(tenantA, calm, t.began))
		t.note("deliveries that a p99 is of", fmt.Sprintf("about %d before, the last %d of them decide", samples, samples/100))
		for _, slug := range []string{tenantA, tenantB} {
			before := t.load.latencies(slug, calm, t.began)
			during := t.load.latencies(slug, control.from, control.until)
			t.note(fmt.Sprintf("p99 of %s while as much as at %g× goes to a process beside the edges that refuses it all", slug, control.factor),
				fmt.Sprintf("%s (p50 %s)", short(quantile(during, 0.99)), short(quantile(during, 0.5))))
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

// abuseSpan is when N offered so many times its limits.
type abuseSpan struct {
	factor      float64
	from, until time.Time
}

// offeredElsewhere has N's requests go where no edge is, to tell what they do to this
// machine from what the edges do to A and B.
func (t *trial) offeredElsewhere(at func(float64, []string) *abuse) (abuseSpan, error) {
	const factor = 100
	wall, err := t.w.startWall()
	if err != nil {
		return abuseSpan{}, err
	}
	a := at(factor, wall.Addresses)
	from := time.Now().Add(2 * time.Second)
	counts, err := a.elsewhere(t)
	s := abuseSpan{factor, from, time.Now()}
	_ = wall.run.Stop(t) // it is asked for nothing any more
	if err != nil {
		return s, err
	}
	_, undocumented := told(counts)
	t.zero("requests to a process that refuses all which got another answer", undocumented, "")
	return s, t.pass(2 * time.Second)
}

// cpuOfEdges is the processor time, in seconds, that the edges have used together.
func (t *trial) cpuOfEdges() (sum float64) {
	for i := range edgeCount {
		sum += t.cpu(i)
	}
	return sum
}

func cores(seconds float64, in time.Duration) string {
	return fmt.Sprintf("%.0f %% of a core", 100*seconds/in.Seconds())
}

// offeredBy says how much of each kind an abuser has offered in a second, and checks that
// it was what it is called.
func (t *trial) offeredBy(a *abuse, counts map[string]int) {
	perSecond := func(kinds ...string) (sum float64) {
		for name, n := range counts {
			if slices.ContainsFunc(kinds, func(k string) bool { return strings.HasPrefix(name, k+" ") }) {
				sum += float64(n)
			}
		}
		return sum / a.For.Seconds()
	}
	for _, x := range []struct {
		what  string
		got   float64
		limit int
	}{{"REST requests", perSecond("publish", "too large", "join"), a.Requests}, {"connects", perSecond("connect"), a.Connects}} {
		want := 0.9 * a.Factor * float64(x.limit)
		t.bounds = append(t.bounds, bound{
			What: fmt.Sprintf("%s offered at %g×", x.what, a.Factor), Measured: fmt.Sprintf("%.0f/s, %.0f× the limit of %d/s", x.got, x.got/float64(x.limit), x.limit),
			Bound: fmt.Sprintf("≥ %.0f/s", want), Time: true, OK: x.got >= want || a.Kinds != nil, // a machine that has other things to do offers less
		})
	}
	t.note(fmt.Sprintf("calls offered at %g×", a.Factor), fmt.Sprintf("%.0f/s by those that are not kept out", perSecond("call")))
}
