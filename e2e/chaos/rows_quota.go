package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// What tenant N may in F-25. What isn't measured is lifted out of the way: one machine
// is one address, and whoever offers much in few requests offers much to one group.
var (
	quotaLifted = map[string]int{
		"requests_per_second": 5_000, "request_burst": 5_000,
		"group_publishes_per_second": 50_000, "group_publish_burst": 50_000,
		"connects_per_ip_per_second": 5_000, "connect_per_ip_burst": 5_000, "max_connections_per_ip": 10_000,
		"deliveries_per_second": 1_000_000,
	}
	quotaMeasured = map[string]int{
		"messages_per_second": 100, "message_burst": 100,
		"connects_per_second": 50, "connect_burst": 50,
		"token_issues_per_second": 50,
		"max_connections":         200,
	}
)

const (
	quotaRequests   = 100   // requests_per_second, when these are measured
	quotaDeliveries = 1_000 // deliveries_per_second, when these are
	quotaReaders    = 12    // connections that each message is delivered to then
	quotaFor        = 10 * time.Second
)

// atOnce is the code of the limit of requests that are under way.
const atOnce = "too_many_requests_at_once"

// rated is a rate of tenant N and a request that takes one of it.
type rated struct {
	limit, code string
	most        int
	sends       bool // each request is a message
	one         func(ctx context.Context, turn int) (int, string)
}

var atQuota = &row{
	id: "F-25", fault: "a tenant at its limits",
	setting: setting{planN: "free"},
	injected: "tenant N offers 1×, 1.01× and 5× of its messages, connects, issued tokens and REST requests per second, to three edges at once, for 10 s each; publishes 5× the deliveries that it may have; opens 1.5× its connections. " +
		"An operator has lifted its limits per address and group, and set the measured ones",
	expected: "at its limits nothing is refused; beyond, what is admitted in 10 s is the limit ±2 % and in one second ±10 %, but for deliveries, of which a second's worth may wait; each refusal names code, limit, value and when to come back; connections that are open stay open; " +
		"within 60 s the console's figures are what was answered: nothing is both metered and refused",
	run: func(t *trial) error {
		if err := t.load.start(t, t.w.tenant(tenantA), t.w.tenant(tenantB)); err != nil {
			return err
		}
		t.began = time.Now()
		n := t.w.tenant(tenantN)
		counts := newTally()
		token, err := mint(n, "quota", nil, nil)
		if err != nil {
			return err
		}
		if err := t.limitN(counts, quotaMeasured); err != nil {
			return err
		}
		messages := rated{"messages_per_second", "rate_limited", quotaMeasured["messages_per_second"], true, func(ctx context.Context, turn int) (int, string) {
			return t.w.rest(turn%edgeCount, n).answer(ctx, http.MethodPost, fmt.Sprintf("/groups/nobody-%d", turn%50), []byte(`{"target":"m","arguments":[]}`))
		}}
		together := []rated{
			messages,
			{"connects_per_second", "connect_rate", quotaMeasured["connects_per_second"], false, func(ctx context.Context, turn int) (int, string) {
				_, err := negotiate(ctx, "http://"+t.w.edgeAddrs[turn%edgeCount]+"/t/"+n.slug, hubName, token, false)
				return statusText(err)
			}},
			{"token_issues_per_second", "token_rate", quotaMeasured["token_issues_per_second"], false, func(ctx context.Context, turn int) (int, string) {
				return t.w.rest(turn%edgeCount, n).current().answer(ctx, http.MethodPost, "/:generateToken", nil)
			}},
		}
		for _, factor := range []float64{1, 1.01, 5} {
			var all sync.WaitGroup
			for _, r := range together {
				all.Go(func() { t.offered(r, factor, counts) })
			}
			all.Wait()
		}
		if err := t.limitN(counts, map[string]int{"requests_per_second": quotaRequests, "request_burst": quotaRequests}); err != nil {
			return err
		}
		requests := rated{"requests_per_second", "too_many_requests", quotaRequests, false, func(ctx context.Context, turn int) (int, string) {
			status, text := t.w.rest(turn%edgeCount, n).answer(ctx, http.MethodGet, "/connections/none", nil)
			if status == http.StatusNotFound {
				status = http.StatusOK
			}
			return status, text
		}}
		for _, factor := range []float64{1, 1.01, 5} {
			t.offered(requests, factor, counts)
		}
		if err := t.deliveriesOf(n, counts); err != nil {
			return err
		}
		release, err := t.connectionsOf(n, counts)
		if err != nil {
			return err
		}
		defer release()
		t.compareLedger(n, counts)
		release()
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

// limitN gives tenant N limits, beside those that are lifted, and returns when they are
// in force on every edge. Its own questions are N's requests, too.
func (t *trial) limitN(counts *tally, limits map[string]int) error {
	n := t.w.tenant(tenantN)
	before := n.limits["request_burst"]
	n.limits = maps.Clone(quotaLifted)
	maps.Copy(n.limits, limits)
	if n.limits["request_burst"] == before {
		n.limits["request_burst"]++ // what the edges are asked for must differ
	}
	if err := t.w.seedPlan(t, n.plan); err != nil {
		return err
	}
	want := fmt.Sprintf(`"requests_per_second";q=%d;`, n.limits["request_burst"])
	for i := range t.w.edges {
		if err := await(t, 10*time.Second, fmt.Sprintf("edge %d to have N's limits", i+1), func() bool {
			req, err := http.NewRequestWithContext(t, http.MethodGet, t.w.rest(i, n).base+"/connections/none", nil)
			if err != nil {
				return false
			}
			req.Header.Set("Authorization", "Bearer "+n.key)
			res, err := web.Do(req)
			if err != nil {
				counts.answer(0, "", false)
				return false
			}
			text, _ := io.ReadAll(io.LimitReader(res.Body, 800))
			_ = res.Body.Close()
			counts.answer(res.StatusCode, string(text), false)
			return strings.Contains(res.Header.Get("Ratelimit-Policy"), want)
		}); err != nil {
			return err
		}
	}
	return nil
}

// offered offers factor times a rate over all edges and checks what is admitted. At 1×
// the bucket is full when it begins; beyond, it is emptied first, so that only the rate
// counts.
func (t *trial) offered(r rated, factor float64, counts *tally) {
	for turn, no := 0, 0; factor > 1 && no < 3 && turn < 20*r.most && t.Err() == nil; turn++ {
		status, text := r.one(t, turn)
		if _, refused := counts.count(r, status, text); refused {
			no++
		}
	}
	var mu sync.Mutex
	var admitted []time.Duration
	refused, sample := 0, ""
	other := make(map[string]int)
	// Refusals may take a second: a rate that is far over the limit takes many workers.
	// What the bucket has got since it was emptied is gone a second later.
	settled := time.Duration(0)
	if factor > 2 {
		settled = time.Second
	}
	workers := max(12, int(factor*float64(r.most)*1.2)/edgeCount*edgeCount)
	var all sync.WaitGroup
	began := time.Now()
	every := time.Duration(float64(workers) / (factor * float64(r.most)) * float64(time.Second))
	for i := range workers {
		all.Go(func() {
			next := began.Add(time.Duration(float64(every) * float64(i) / float64(workers)))
			for turn := i; t.Err() == nil; turn += workers {
				time.Sleep(time.Until(next))
				next = next.Add(every)
				sent := time.Since(began) - settled
				if sent >= quotaFor {
					return
				}
				status, text := r.one(t, turn)
				at := time.Since(began) - settled
				yes, no := counts.count(r, status, text)
				if sent < 0 || at >= quotaFor && yes {
					continue
				}
				mu.Lock()
				switch {
				case yes:
					admitted = append(admitted, at)
				case no:
					refused++
					sample = text
				default:
					other[fmt.Sprintf("%d %.80s", status, text)]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	what := fmt.Sprintf("%s of %d, at %g×", r.limit, r.most, factor)
	got, limit := float64(len(admitted)), float64(r.most)*quotaFor.Seconds()
	offers := got + float64(refused)
	if factor == 1 {
		t.check(refused == 0 && got >= 0.95*limit, what, fmt.Sprintf("%d admitted in 10 s, %d refused", len(admitted), refused), fmt.Sprintf("none refused of ≥ %.0f", 0.95*limit))
	} else {
		t.check(got <= 1.02*limit && got >= 0.98*limit && offers >= limit, what, fmt.Sprintf("%d admitted in 10 s, %d refused; %+.1f %%", len(admitted), refused, 100*(got/limit-1)), fmt.Sprintf("%.0f ± 2 %%", limit))
	}
	if factor > 2 {
		_, words, _ := strings.Cut(sample, `"detail":`)
		t.check(complete(sample, r), what+": what a refusal says", cmp.Or(words, sample), "code, limit, value, when to come back")
		least, most := len(admitted), 0
		for second := range int(quotaFor / time.Second) {
			in := 0
			for _, at := range admitted {
				if int(at/time.Second) == second {
					in++
				}
			}
			least, most = min(least, in), max(most, in)
		}
		t.bounds = append(t.bounds, bound{
			What: what + ", in each second", Measured: fmt.Sprintf("%d to %d", least, most), Bound: fmt.Sprintf("%d ± 10 %%", r.most), Time: true,
			OK: float64(least) >= 0.9*float64(r.most)-1 && float64(most) <= 1.1*float64(r.most)+1,
		})
	}
	t.zero(what+": answers of another kind", len(other), fmt.Sprint(slices.Sorted(maps.Keys(other))))
}

// complete reports whether a refusal says all that a client needs.
func complete(text string, r rated) bool {
	has := func(forms ...string) bool {
		return slices.ContainsFunc(forms, func(f string) bool { return strings.Contains(text, f) })
	}
	return has(r.code) && has(r.limit) && has(fmt.Sprintf("max=%d", r.most), fmt.Sprintf(`"max":%d`, r.most)) && has("retry_after_ms")
}

// deliveriesOf has tenant N publish five times as many deliveries as it may have, to
// readers on all edges, and counts what they read. This limit has publishes wait before it
// refuses them: what comes is a second's worth at a time, more or less.
func (t *trial) deliveriesOf(n *tenant, counts *tally) error {
	if err := t.limitN(counts, map[string]int{"deliveries_per_second": quotaDeliveries, "messages_per_second": 5_000, "message_burst": 5_000, "connects_per_second": 1_000, "connect_burst": 1_000}); err != nil {
		return err
	}
	const group = "deliveries"
	reading, stop := context.WithCancel(t)
	var all sync.WaitGroup
	defer func() { stop(); all.Wait() }()
	var read atomic.Int64
	for i := range quotaReaders {
		token, err := mint(n, fmt.Sprintf("reader-%d", i), []string{group}, nil)
		if err != nil {
			return err
		}
		base := "http://" + t.w.edgeAddrs[i%edgeCount] + "/t/" + n.slug
		id, err := negotiate(t, base, hubName, token, false)
		if err != nil {
			return err
		}
		s, err := dial(t, webSockets, base, hubName, id, token, false, nil)
		if err != nil {
			return err
		}
		if err := s.Write(t, protocol.AppendHandshakeRequest(nil, protocol.HandshakeRequest{Protocol: "json", Version: 1})); err != nil {
			s.Close()
			return err
		}
		all.Go(func() {
			defer s.Close()
			for {
				data, err := s.Read(reading)
				if err != nil {
					return
				}
				read.Add(int64(bytes.Count(data, []byte(`"type":1,`))))
			}
		})
	}
	publish := rated{limit: "deliveries_per_second", code: "delivery_rate", most: quotaDeliveries, sends: true, one: func(ctx context.Context, turn int) (int, string) {
		return t.w.rest(turn%edgeCount, n).answer(ctx, http.MethodPost, "/groups/"+group, []byte(`{"target":"m","arguments":[1]}`))
	}}
	publishing, enough := context.WithCancel(t)
	defer enough()
	var refused atomic.Int64
	var senders sync.WaitGroup
	const workers = 400 // many of them wait for a second, which must not keep the offer below its rate
	every := time.Duration(workers * quotaReaders * float64(time.Second) / (5 * quotaDeliveries))
	for i := range workers {
		senders.Go(func() {
			for turn := i; publishing.Err() == nil; turn++ {
				status, text := publish.one(t, turn)
				if _, no := counts.count(publish, status, text); no {
					refused.Add(1)
				}
				time.Sleep(every)
			}
		})
	}
	if err := t.pass(4 * time.Second); err != nil {
		return err
	}
	before, from := read.Load(), time.Now()
	if err := t.pass(quotaFor); err != nil {
		return err
	}
	got, took := float64(read.Load()-before), time.Since(from)
	enough()
	senders.Wait()
	limit := quotaDeliveries * took.Seconds()
	t.check(math.Abs(got-limit) <= quotaDeliveries && refused.Load() > 0, fmt.Sprintf("deliveries_per_second of %d, at 5×", quotaDeliveries),
		fmt.Sprintf("%.0f read in %s by %d clients, %d publishes refused; %+.1f %%", got, short(took), quotaReaders, refused.Load(), 100*(got/limit-1)), fmt.Sprintf("%.0f ± a second's worth", limit))
	return nil
}

// connectionsOf opens half as many connections again as tenant N may have, from all
// edges at once, and checks how many there are, and that those stay. Release ends them.
func (t *trial) connectionsOf(n *tenant, counts *tally) (release func(), err error) {
	most := quotaMeasured["max_connections"]
	if err := t.limitN(counts, map[string]int{"max_connections": most, "connects_per_second": 2_000, "connect_burst": 2_000}); err != nil {
		return nil, err
	}
	if err := await(t, 10*time.Second, "N's readers to be gone", func() bool { return t.clientsOf(tenantA, tenantB) == int(t.edgesSum(metricConnections)) }); err != nil {
		return nil, err
	}
	full := rated{limit: "max_connections", code: "connection_limit", most: most}
	refused := 0
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []*stalledClient
	other := make(map[string]int)
	for i := range most * 3 / 2 {
		all.Go(func() {
			s, err := stall(t, t.w, n, i%edgeCount)
			status, text := statusText(err)
			yes, no := counts.count(full, status, text)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case yes:
				open = append(open, s)
			case no:
				refused++
			default:
				other[text]++
			}
		})
		if i%20 == 19 {
			all.Wait()
		}
	}
	all.Wait()
	release = sync.OnceFunc(func() {
		for _, s := range open {
			s.close()
		}
	})
	t.check(len(open) <= most*102/100 && len(open) >= most*98/100, fmt.Sprintf("max_connections of %d, at 1.5×", most), fmt.Sprintf("%d open, %d refused", len(open), refused), fmt.Sprintf("%d ± 2 %%", most))
	t.zero("connects answered otherwise", len(other), fmt.Sprint(slices.Sorted(maps.Keys(other))))
	counted := 0
	stay := await(t, 5*time.Second, "", func() bool {
		counted = int(t.edgesSum(metricConnections)) - t.clientsOf(tenantA, tenantB)
		return counted == len(open)
	})
	t.check(stay == nil, "of them, open by the edges' count when all others have been refused", fmt.Sprint(counted), fmt.Sprint(len(open)))
	return release, nil
}

// clientsOf counts the connections of tenants' clients and publishers.
func (t *trial) clientsOf(slugs ...string) (n int) {
	for _, c := range t.load.of(slugs...) {
		if c.connected.Load() {
			n++
		}
	}
	for _, p := range t.load.senders {
		if p.client != nil && slices.Contains(slugs, p.tenant.slug) && p.client.connected.Load() {
			n++
		}
	}
	return n
}

// compareLedger checks that what the api says of tenant N is what N was answered.
func (t *trial) compareLedger(n *tenant, counts *tally) {
	asked := time.Now()
	l, err := t.w.ledger(t, n, 60*time.Second, counts.same)
	measured := fmt.Sprintf("%d accepted and %v refused by the ledger, %d and %v answered; of %d nobody knew, %d had no answer", l.Accepted, l.Refused, counts.accepted, counts.refused, counts.unknown, counts.silent)
	if err != nil && l.Refused == nil {
		measured = err.Error()
	}
	t.check(err == nil, "what the console shows of N", measured, "equal to the unit, within 60 s")
	t.note("after", short(time.Since(asked)))
}

// current is the call with the paths of the current API.
func (r restCall) current() restCall {
	r.base = strings.Replace(r.base, "/api/v1/", "/api/", 1)
	return r
}

// answer sends a request and returns its status and the beginning of its body; status
// 0 = there was none.
func (r restCall) answer(ctx context.Context, method, path string, body []byte) (int, string) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	req.Header.Set("Content-Type", "application/json")
	res, err := answered(req)
	if err != nil {
		return statusText(err)
	}
	_ = res.Body.Close()
	return res.StatusCode, ""
}

// statusText is what a refusal says; 200 without an error.
func statusText(err error) (int, string) {
	var refused *refusedError
	switch {
	case err == nil:
		return http.StatusOK, ""
	case errors.As(err, &refused):
		return refused.status, refused.text
	}
	return 0, err.Error()
}
