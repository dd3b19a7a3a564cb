package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/e2e/chaos/history"
	"github.com/signalbox/signalbox/internal/embedded"
)

var redisSlow = &row{
	id: "F-09", fault: "Redis is slow",
	injected: "each answer of Redis takes 100 ms more for a phase, then a second more (±100 ms) for another",
	expected: "100 ms: publishes p99 ≤ 350 ms, none fails; 1 s: each is accepted or refused within 2.5 s; nobody is disconnected, nobody is more than 1.5 s behind afterwards",
	run: func(t *trial) error {
		if err := t.warm(); err != nil {
			return err
		}
		if err := t.w.slowRedis(100, 0); err != nil {
			return err
		}
		slow := time.Now().Add(500 * time.Millisecond)
		if err := t.pass(t.phase(1)); err != nil {
			return err
		}
		t.w.fastRedis()
		if err := t.w.slowRedis(1000, 100); err != nil {
			return err
		}
		slower := time.Now()
		if err := t.pass(t.phase(1)); err != nil {
			return err
		}
		t.w.fastRedis()
		fast := time.Now()
		if err := t.tail(); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.noDisconnects("disconnects", everyLife)
		first := t.publishes("publishes with 100 ms", "", slow, slower.Add(-time.Second))
		t.within("p99 of them", quantile(took(first, anyAttempt), 0.99), 350*time.Millisecond)
		t.zero("of them, not accepted", len(took(first, failed)), "")
		second := t.publishes("publishes with 1 s", "", slower, fast)
		t.within("longest of them", quantile(took(second, anyAttempt), 1), 2700*time.Millisecond)
		t.resumes("deliveries flow as before", fast, 1500*time.Millisecond)
		return nil
	},
}

// slowRedis delays everything between edges and Redis; fastRedis ends it.
func (w *world) slowRedis(ms, jitter int) error {
	for _, r := range w.edgeRedis {
		if err := r.delay(ms, jitter); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) fastRedis() {
	for _, r := range w.edgeRedis {
		r.clean()
	}
}

// poisonScript puts an entry into a hub that nobody understands, the way that
// publishes do. KEYS head stream, ARGV entry doorbell.
var poisonScript = redis.NewScript(`
local head = redis.call('HMGET', KEYS[1], 'epoch', 'at')
local number, ms = struct.unpack('>I8I8', head[2])
number, ms = string.format('%d', number + 1), string.format('%d', ms)
redis.call('XADD', KEYS[2], ms .. '-' .. number, 'epoch', head[1], 'entry', ARGV[1])
redis.call('HSET', KEYS[1], 'at', struct.pack('>I8', number) .. string.sub(head[2], 9))
redis.call('PUBLISH', ARGV[2], 'E' .. head[1] .. ' ' .. number .. ' ' .. ms .. ' ' .. ARGV[1])
return number`)

// foreignScript adds what isn't of the publish script, as the first of its millisecond: an
// id made by Redis could be the next publish's own where both come in one, which would
// have the hub begin anew.
var foreignScript = redis.NewScript(`
local time = redis.call('TIME')
return redis.call('XADD', KEYS[1], string.format('%d-0', time[1] * 1000 + math.floor(time[2] / 1000)), 'what', 'is this')`)

var poison = &row{
	id: "F-27", fault: "poisonous entries", fast: true,
	injected: "into each hub's stream, by hand: random bytes, an entry of an unknown version, one of 10 MB, an empty one, one that isn't of the publish script at all; and garbage on the doorbells",
	expected: "no process ends; each is counted once on each edge; the order of the others and every client stays",
	run: func(t *trial) error {
		if err := t.warm(); err != nil {
			return err
		}
		before := t.edgesSum(metricEntries, `result="poison"`)
		heads, err := t.w.heads(t)
		if err != nil {
			return err
		}
		random := make([]byte, 300)
		_, _ = rand.Read(random)
		entries := []string{string(random), "\xff\x09", strings.Repeat("x", 10<<20), ""}
		for _, head := range heads {
			tag := strings.TrimSuffix(head, "head")
			for _, e := range entries {
				if err := poisonScript.Run(t, t.w.redis, []string{head, tag + "stream"}, e, tag+"bell").Err(); err != nil {
					return fmt.Errorf("poison: %w", err)
				}
				if err := t.pass(100 * time.Millisecond); err != nil {
					return err
				}
			}
			for _, garbage := range []string{"", "E", "Ex 1 2", "Q\xff", "L\xff", "?"} {
				if err := t.w.redis.Publish(t, tag+"bell", garbage).Err(); err != nil {
					return err
				}
			}
			for err := error(redis.Nil); err != nil; {
				if err = foreignScript.Run(t, t.w.redis, []string{tag + "stream"}).Err(); err != nil && !strings.Contains(err.Error(), "equal or smaller") {
					return err
				}
			}
		}
		if err := t.tail(); err != nil {
			return err
		}
		counted := t.edgesSum(metricEntries, `result="poison"`) - before
		if err := t.conclude(); err != nil {
			return err
		}
		t.noDisconnects("disconnects", everyLife)
		want := float64(len(heads) * len(entries) * edgeCount)
		t.check(counted >= want && len(heads) >= len(t.w.tenants), "entries counted as poison, over all edges", fmt.Sprintf("%.0f in %d hubs", counted, len(heads)), fmt.Sprintf("≥ %.0f", want))
		t.resumes("deliveries flow", t.over, 2*time.Second)
		return nil
	},
}

var coldStart = &row{
	id: "F-28", fault: "everything starts at once, in the wrong order",
	setting:  setting{unstarted: true, throwaway: true},
	injected: "three edges, then two apis start while Redis and Postgres can't be reached; 5 s later they can",
	expected: "no process ends; all are ready within 10 s; migrations run once; tenants that are made then are served",
	run: func(t *trial) error {
		t.w.cutRedis()
		t.w.apiPostgres.cut()
		second := *t.w.api.env2()
		port, err := embedded.FreePort()
		if err != nil {
			return err
		}
		admin, err := embedded.FreePort()
		if err != nil {
			return err
		}
		internal, err := embedded.FreePort()
		if err != nil {
			return err
		}
		second["SIGNALBOX_API_ADDR"], second["SIGNALBOX_API_ADMIN_ADDR"], second["SIGNALBOX_API_INTERNAL_ADDR"] = loopback(port), loopback(admin), loopback(internal)
		other := &process{name: "api-2", program: t.w.api.program, admin: loopback(admin), log: logFile(t.dir, "api-2"), guard: t.w.guard, env: second}
		all := append(t.w.edges[:], t.w.api, other)
		for _, p := range all {
			if err := p.start(); err != nil {
				return err
			}
			if err := t.pass(300 * time.Millisecond); err != nil {
				return err
			}
		}
		if err := t.pass(5 * time.Second); err != nil {
			return err
		}
		ended := 0
		for _, p := range all {
			if p.ended() {
				ended++
				t.say("%s ended: %s", p.name, tail(p.log))
			}
		}
		t.zero("processes that ended while nothing could be reached", ended, "")
		if ended > 0 {
			return nil
		}
		if err := t.w.mendRedis(); err != nil {
			return err
		}
		if err := t.w.apiPostgres.mend(); err != nil {
			return err
		}
		mended := time.Now()
		for _, p := range all {
			if _, err := p.awaitReady(t, 60*time.Second); err != nil {
				return err
			}
		}
		t.within("all five are ready", time.Since(mended), 10*time.Second)
		if err := t.w.seed(t); err != nil {
			return err
		}
		seeded := time.Now()
		if err := t.w.awaitTenants(t); err != nil {
			return err
		}
		t.within("new tenants are served by every edge", time.Since(seeded), 10*time.Second)
		t.w.front = newFront(t.w)
		if err := t.warm(); err != nil {
			return err
		}
		if err := t.tail(); err != nil {
			return err
		}
		return t.conclude()
	},
}

// env2 is a copy of the process's settings.
func (p *process) env2() *map[string]string {
	env := make(map[string]string, len(p.env))
	for k, v := range p.env {
		env[k] = v
	}
	return &env
}

var sameAddress = &row{
	id: "F-29", fault: "two edges under one address, a stale lease", fast: true,
	injected: "an edge is killed and started at once on the same addresses, while the lease of the dead one lives; then another is started anew as one that tells others the address of the first",
	expected: "both serve; a request that is relayed to the wrong one of them is answered 404, and its client begins anew; nobody gets what is another's; counts of connections are right",
	run: func(t *trial) error {
		if err := t.warm(); err != nil {
			return err
		}
		if err := t.w.edges[0].kill(); err != nil {
			return err
		}
		if err := t.w.edges[0].start(); err != nil {
			return err
		}
		if _, err := t.w.edges[0].awaitReady(t, 30*time.Second); err != nil {
			return err
		}
		if err := t.pass(t.phase(0.5)); err != nil {
			return err
		}
		if err := t.w.edges[1].kill(); err != nil {
			return err
		}
		t.w.edges[1].set("SIGNALBOX_EDGE_ADVERTISE", t.w.edgeInternal[0].listen)
		if err := t.w.edges[1].start(); err != nil {
			return err
		}
		if _, err := t.w.edges[1].awaitReady(t, 30*time.Second); err != nil {
			return err
		}
		if err := t.pass(t.phase(0.5)); err != nil {
			return err
		}
		var serves []string
		for i := range 2 {
			if outcome, status := t.w.rest(i, t.w.tenant(tenantA)).publish("nobody", []byte(`{}`)); outcome != history.Accepted {
				serves = append(serves, status)
			}
		}
		if err := t.tail(); err != nil {
			return err
		}
		web, counted := 0, 0.0
		for _, c := range t.load.clients {
			if c.transport == webSockets && c.connected.Load() {
				web++
			}
		}
		for _, p := range t.load.senders {
			if p.client != nil && p.client.connected.Load() {
				web++
			}
		}
		counted = t.edgesSum(metricConnections, "web_sockets")
		if err := t.conclude(); err != nil {
			return err
		}
		t.zero("edges that don't serve", len(serves), strings.Join(serves, "; "))
		t.check(int(counted) == web, "WebSockets by the edges' count, by the clients'", fmt.Sprintf("%.0f, %d", counted, web), "equal")
		return nil
	},
}

// set changes a setting for the next start.
func (p *process) set(name, value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.env[name] = value
}

var clocksApart = &row{
	id: "F-16", fault: "clocks are apart",
	injected: "one edge's clock is five minutes ahead, another's five minutes behind (programs that -skewed names); tokens of issuers whose clocks are ±59 s, ±61 s and ±5 min off; an entry from the future (year 5138) in each hub's stream; hubs' newest entries five minutes ahead of Redis' clock",
	expected: "±59 s are accepted by an edge whose clock is right, the others answered 401; publishes over all edges go on and are delivered in order; no reader is stuck; the ledger has what was accepted",
	run: func(t *trial) error {
		off, err := t.startSkewed()
		if err != nil {
			return err
		}
		if err := t.warm(); err != nil {
			return err
		}
		heads, err := t.w.heads(t)
		if err != nil {
			return err
		}
		for _, head := range heads {
			if err := t.w.redis.HSet(t, head, "ms", time.Now().Add(5*time.Minute).UnixMilli()).Err(); err != nil {
				return err
			}
		}
		ahead := time.Now()
		if err := t.pass(t.phase(0.5)); err != nil {
			return err
		}
		for _, head := range heads {
			if err := t.w.redis.XAdd(t, &redis.XAddArgs{Stream: strings.TrimSuffix(head, "head") + "stream", ID: "99999999999999-0", Values: []any{"from", "the future"}}).Err(); err != nil {
				return err
			}
		}
		future := time.Now()
		for _, x := range []struct {
			off  time.Duration
			want int
		}{{59 * time.Second, 200}, {61 * time.Second, 401}, {5 * time.Minute, 401}, {-59 * time.Second, 200}, {-61 * time.Second, 401}} {
			got := t.w.tokenStatus(t, x.off)
			t.check(got == x.want, fmt.Sprintf("a token whose clock is %+v off", x.off), fmt.Sprint(got), fmt.Sprint(x.want))
		}
		if err := t.tail(); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.resumes("deliveries flow with hubs ahead", ahead, 3*time.Second)
		t.resumes("deliveries flow behind the entry from the future", future, 5*time.Second)
		late := t.publishes("publishes behind it", "", future.Add(5*time.Second), t.over.Add(t.phase(1)))
		t.zero("of them, not accepted", len(took(late, failed)), "")
		t.check(t.config.skewed != "", "clocks of the edges", off, "two are five minutes off")
		t.usage()
		return nil
	},
}

// startSkewed puts edges whose clocks are off into the places of the first and second,
// and says how far they are.
func (t *trial) startSkewed() (string, error) {
	if t.config.skewed == "" {
		return "right, all of them: -skewed names no others", nil
	}
	for i, name := range []string{"edge-ahead", "edge-behind"} {
		e := t.w.edges[i]
		if err := e.kill(); err != nil {
			return "", err
		}
		e.program = filepath.Join(t.config.skewed, name)
		if err := e.start(); err != nil {
			return "", err
		}
		if _, err := e.awaitReady(t, 60*time.Second); err != nil {
			return "", err
		}
	}
	var off []string
	for i := range t.w.edges {
		d, err := t.w.clockOf(t, i)
		if err != nil {
			return "", err
		}
		off = append(off, fmt.Sprintf("%+.0fs", d.Seconds()))
	}
	return strings.Join(off, ", "), t.w.awaitTenants(t)
}

// clockOf is how far an edge's clock is ahead of this program's, by the Date of an answer.
func (w *world) clockOf(ctx context.Context, edge int) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.edgeAddrs[edge]+"/api/health", nil)
	if err != nil {
		return 0, err
	}
	res, err := web.Do(req)
	if err != nil {
		return 0, err
	}
	_ = res.Body.Close()
	at, err := http.ParseTime(res.Header.Get("Date"))
	return time.Until(at), err
}

// tokenStatus negotiates with a token from a clock that is off: ahead it was issued
// in the future, behind it has run out.
func (w *world) tokenStatus(ctx context.Context, off time.Duration) int {
	token, err := mintAt(w.tenant(tenantA), time.Now().Add(off), off < 0)
	if err != nil {
		return 0
	}
	_, err = negotiate(ctx, "http://"+w.edgeAddrs[2]+"/t/"+tenantA, hubName, token, false) // whose clock is right
	var refused *refusedError
	switch {
	case err == nil:
		return 200
	case errors.As(err, &refused):
		return refused.status
	}
	return 0
}

var slowConsumers = &row{
	id: "F-17", fault: "clients that don't read",
	// An edge lets 96 MB of garbage come together, unless GOGC is set: the heap
	// would say little of what is held.
	setting:  setting{edgeEnv: map[string]string{"GOGC": "100"}},
	injected: "20 clients of tenant A stop reading; their group gets 1 MB/s in messages of 32 KiB for 15 s. Edges have GOGC=100, so that there is no more garbage than what is held",
	expected: "each is closed as a slow consumer within 12 s of the flood's begin; the heap of an edge grows by no more than 1 MiB for each; others in the group read everything, as fast as before",
	run: func(t *trial) error {
		if err := t.warm(); err != nil {
			return err
		}
		a := t.w.tenant(tenantA)
		var stalled []*stalledClient
		defer func() {
			for _, s := range stalled {
				s.close()
			}
		}()
		for i := range 20 {
			s, err := stall(t, t.w, a, i%edgeCount, "flood")
			if err != nil {
				return err
			}
			stalled = append(stalled, s)
		}
		for i := range 6 {
			c, err := t.load.newClient(a, 300+i)
			if err != nil {
				return err
			}
			c.groups = []string{"flood"}
			if c.token, err = mint(a, c.name, c.groups, nil); err != nil {
				return err
			}
			t.load.clients = append(t.load.clients, c)
			t.load.work.Go(func() { c.run(t.load.reading) })
		}
		if err := t.load.awaitConnected(t, 20*time.Second); err != nil {
			return err
		}
		heap := t.edgesSum(metricHeap)
		slowBefore := t.edgesSum("signalbox_edge_slow_consumers_total")
		flooded := time.Now()
		most, gone := heap, time.Duration(-1)
		var sending sync.WaitGroup
		sending.Go(func() { t.flood(a, "flood", 32<<10, 32, 15*time.Second) })
		for time.Since(flooded) < 20*time.Second {
			most = max(most, t.edgesSum(metricHeap))
			if gone < 0 && t.edgesSum("signalbox_edge_slow_consumers_total")-slowBefore >= float64(len(stalled)) {
				gone = time.Since(flooded)
			}
			if err := t.pass(300 * time.Millisecond); err != nil {
				return err
			}
		}
		sending.Wait()
		if err := t.tail(); err != nil {
			return err
		}
		for _, s := range stalled {
			s.close()
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.noDisconnects("disconnects of others", everyLife)
		t.bounded("all 20 are closed as slow consumers", gone, 12*time.Second)
		limit := float64(len(stalled))*1.1*(1<<20) + 60<<20 // garbage that waits for its collection
		t.plainly(most-heap < limit, "growth of the edges' heaps", fmt.Sprintf("%.1f MB", (most-heap)/1e6), fmt.Sprintf("< %.0f MB", limit/1e6))
		t.compared("p99 of tenant A's other clients", tenantA, flooded, flooded.Add(15*time.Second), 1.2, 50*time.Millisecond)
		return nil
	},
}

// flood publishes messages of size bytes to a group of the tenant, perSecond of
// them, and notes them in the history.
func (t *trial) flood(of *tenant, group string, size int, perSecond float64, d time.Duration) {
	every := time.Duration(float64(time.Second) / perSecond)
	until := time.Now().Add(d)
	next := time.Now()
	for n := 1; time.Now().Before(until) && t.Err() == nil; n++ {
		m := history.Message{ID: history.ID{Tenant: of.slug, Publisher: "flood", N: n}, Group: group, Began: time.Now()}
		r := t.w.rest(n%edgeCount, of)
		payload := fmt.Appendf(nil, `{"tenant":%q,"group":%q,"publisher":"flood","n":%d,"t":%d,"p":%q}`, of.slug, group, n, m.Began.UnixMicro(), strings.Repeat("x", size))
		m.Outcome, _ = r.publish(group, payload)
		t.load.history.Published(m)
		next = next.Add(every)
		time.Sleep(time.Until(next))
	}
}
