package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/signalbox/signalbox/e2e/chaos/history"
)

// cutRedis takes Redis from the edges and the api by resets and refusals.
func (w *world) cutRedis() {
	for _, r := range w.redisRoutes() {
		r.cut()
	}
}

func (w *world) mendRedis() error {
	for _, r := range w.redisRoutes() {
		if err := r.mend(); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) redisRoutes() []*route { return append([]*route{w.apiRedis}, w.edgeRedis[:]...) }

var redisBlink = &row{
	id: "F-03", fault: "Redis is away for a second", fast: true,
	injected: "every connection to Redis is reset and refused for 1 s; later Redis is stopped (SIGSTOP) for 1 s",
	expected: "clients stay connected; publishes wait, or are refused with 503; nothing that was accepted is lost or doubled; deliveries go on within 1 s",
	run: func(t *trial) error {
		if err := t.warm(); err != nil {
			return err
		}
		t.w.cutRedis()
		if err := t.pass(time.Second); err != nil {
			return err
		}
		if err := t.w.mendRedis(); err != nil {
			return err
		}
		mended := time.Now()
		if err := t.pass(t.phase(0.3) + 2*time.Second); err != nil {
			return err
		}
		redis := t.w.redisServer.PID()
		if err := syscall.Kill(redis, syscall.SIGSTOP); err != nil {
			return err
		}
		stopped := time.Now()
		err := t.pass(time.Second)
		if err := syscall.Kill(redis, syscall.SIGCONT); err != nil {
			return err
		}
		if err != nil {
			return err
		}
		continued := time.Now()
		if err := t.tail(); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.noDisconnects("disconnects", everyLife)
		t.resumes("deliveries go on after the resets", mended, time.Second)
		t.resumes("deliveries go on after the stop", continued, time.Second)
		all := append(t.publishes("publishes while connections were refused", "", t.began, mended), t.publishes("publishes while Redis was stopped", "", stopped, continued)...)
		t.within("p99 of all of these", quantile(took(all, anyAttempt), 0.99), 2500*time.Millisecond)
		return nil
	},
}

var redisAway = &row{
	id: "F-04", fault: "Redis is away for 30 s",
	setting:  setting{edgeEnv: map[string]string{"GOGC": "100"}}, // else 96 MiB of garbage may come together
	injected: "Redis (append-only file) is killed, and started again after 30 s (1.5 phases)",
	expected: "clients stay connected, can negotiate and are pinged; publishes fail within 2.5 s, and at once when it is known that Redis is away; afterwards everything accepted is there once, and deliveries flow within 3 s; heap and goroutines don't grow",
	run: func(t *trial) error {
		if err := t.warm(); err != nil {
			return err
		}
		heap := t.edgesSum(metricHeap)
		if err := syscall.Kill(t.w.redisServer.PID(), syscall.SIGKILL); err != nil {
			return err
		}
		<-t.w.redisServer.Done()
		if err := t.pass(t.phase(1.5)); err != nil {
			return err
		}
		grown := (t.edgesSum(metricHeap) - heap) / edgeCount
		unready := 0
		for _, e := range t.w.edges {
			if !e.ready(t) {
				unready++
			}
		}
		// A client that comes while Redis is away is served, too.
		fresh, err := t.load.newClient(t.w.tenant(tenantA), 1000)
		if err != nil {
			return err
		}
		fresh.groups, fresh.load = nil, nil
		fresh.edge, fresh.base = 0, func(edge int) string { return "http://" + t.w.edgeAddrs[edge] + "/t/" + fresh.tenant.slug }
		before := time.Now()
		id, refusal := negotiate(t, fresh.base(0), hubName, fresh.token, false)
		negotiated := time.Since(before)
		if err := t.w.restartRedis(t); err != nil {
			return err
		}
		back := time.Now()
		if err := t.tail(); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.noDisconnects("disconnects", everyLife)
		t.check(refusal == nil && id != "", "negotiate while Redis is away", fmt.Sprintf("%v in %s", errText(refusal), short(negotiated)), "answered")
		t.check(unready == 0, "edges that said they aren't ready", fmt.Sprint(unready), "0")
		t.check(grown < 50<<20, "growth of the heap of an edge", fmt.Sprintf("%.1f MB", grown/1e6), "< 50 MB")
		known := t.began.Add(4 * time.Second)
		early := t.publishes("publishes in the first 4 s", "", t.began, known)
		later := t.publishes("publishes after that", "", known, back.Add(-time.Second))
		t.within("longest of the first", quantile(took(early, anyAttempt), 1), 2700*time.Millisecond)
		t.within("p99 of the later", quantile(took(later, anyAttempt), 0.99), 50*time.Millisecond)
		t.resumes("deliveries flow again", back, 3*time.Second)
		return nil
	},
}

func errText(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}

var redisEmptied = &row{
	id: "F-07", fault: "Redis loses everything",
	injected: "FLUSHALL; a phase later every stream is put an hour ahead and everything is flushed again, so that the hubs begin anew with lower ids",
	expected: "publishes are delivered again within 3 s; nothing is skipped in silence: each client of the hubs is told to begin anew at most once for each loss; tenants stay limited",
	setting:  setting{throwaway: true, planN: "free"},
	run: func(t *trial) error {
		if err := t.warm(); err != nil {
			return err
		}
		if err := t.w.redis.FlushAll(t).Err(); err != nil {
			return err
		}
		flushed := time.Now()
		if err := t.pass(t.phase(1)); err != nil {
			return err
		}
		// The clock that hubs go by is that of their newest entry: put ahead, it
		// makes a hub that begins anew give lower ids than before.
		heads, err := t.w.heads(t)
		if err != nil {
			return err
		}
		for _, key := range heads {
			if err := t.w.redis.HSet(t, key, "ms", time.Now().Add(time.Hour).UnixMilli()).Err(); err != nil {
				return err
			}
		}
		t.check(len(heads) >= len(t.w.tenants), "hubs whose clock was put ahead", fmt.Sprint(len(heads)), "those of all tenants")
		if err := t.pass(2 * time.Second); err != nil {
			return err
		}
		if err := t.w.redis.FlushAll(t).Err(); err != nil {
			return err
		}
		again := time.Now()
		limited := t.stillLimited()
		if err := t.tail(); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.resumes("deliveries go on after the first loss", flushed, 3*time.Second)
		t.resumes("deliveries go on after the second", again, 3*time.Second)
		for i, from := range []time.Time{flushed, again} {
			most, told := 0, 0
			count := make(map[string]int)
			for _, l := range t.load.history.Lives {
				if l.Ending != history.Open && l.Ended.After(from) && l.Ended.Before(from.Add(t.phase(1))) {
					told++
					count[l.Client]++
					most = max(most, count[l.Client])
				}
			}
			t.check(most <= 1, fmt.Sprintf("most often that one client was told of loss %d", i+1), fmt.Sprintf("%d; %d clients in all", most, told), "≤ 1")
		}
		t.check(limited != "", "tenant N goes over its limit right after the loss", limited, "429")
		return nil
	},
}

// stillLimited sends far more than N's plan allows and returns the refusal.
func (t *trial) stillLimited() string {
	n := t.w.tenant(tenantN)
	accepted := 0
	for i := range 1500 {
		outcome, status := t.w.rest(i%edgeCount, n).publish("nobody", []byte(`{}`))
		if outcome == history.Accepted {
			accepted++
		} else if status == "429" {
			return fmt.Sprintf("429 after %d", accepted)
		}
	}
	return ""
}

var streamTrimmed = &row{
	id: "F-08", fault: "a stream is trimmed past a reader", fast: true,
	setting:  setting{sticky: true},
	injected: "one edge is stopped (SIGSTOP) for a third of a phase; meanwhile all streams are trimmed to nothing again and again",
	expected: "clients of that edge are told to begin anew, those of the others notice nothing; what is missing is counted; the edge is at the tail of the streams within 2 s",
	run: func(t *trial) error {
		if err := t.warm(); err != nil {
			return err
		}
		victims := t.load.on(0)
		if err := t.w.edges[0].signal(syscall.SIGSTOP); err != nil {
			return err
		}
		// Past the doorbells that wait in the sockets' buffers nothing can be lost:
		// the stream and the doorbell connections are taken away.
		t.w.edgeRedis[0].cut()
		for until := time.Now().Add(t.phase(0.33)); time.Now().Before(until); {
			keys, err := t.w.keys(t, "stream")
			if err != nil {
				return err
			}
			for _, key := range keys {
				if err := t.w.redis.XTrimMaxLen(t, key, 0).Err(); err != nil {
					return err
				}
			}
			if err := t.pass(200 * time.Millisecond); err != nil {
				return err
			}
		}
		if err := t.w.edgeRedis[0].mend(); err != nil {
			return err
		}
		if err := t.w.edges[0].signal(syscall.SIGCONT); err != nil {
			return err
		}
		resumed := time.Now()
		if err := t.tail(); err != nil {
			return err
		}
		m, err := t.w.edges[0].scrape(t)
		if err != nil {
			return err
		}
		missing, gaps := m.sum(metricEntries, `result="missing"`), m.sum(metricLosses, `reason="trimmed"`)
		others := t.edgesSum(metricLosses, `reason="trimmed"`) - gaps
		// They begin anew over some seconds, which may be longer than a phase: publishing
		// goes on until each has heard of something, or the check below says who hasn't.
		heard := func() bool {
			_, never := t.load.firstAfter(resumed, victims)
			return never == 0
		}
		if err := await(t, 15*time.Second, "the clients of the stopped edge to receive again", heard); t.Err() != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.noDisconnects("disconnects on the other edges", func(l *history.Life) bool { return l.Edge != "edge 1" })
		t.check(missing > 0 && gaps > 0, "counted on the stopped edge", fmt.Sprintf("%.0f entries missing in %.0f gaps", missing, gaps), "> 0")
		t.check(others == 0, "gaps on the other edges", fmt.Sprintf("%.0f", others), "0")
		took, never := t.load.firstAfter(resumed, victims)
		t.check(never == 0, "clients of the stopped edge that never received again", fmt.Sprintf("%d of %d", never, len(victims)), "0")
		t.within("99 % of them receive again (I7)", quantile(took, 0.99), 5*time.Second)
		return nil
	},
}

// keys are those of Redis that hold a kind of value.
func (w *world) keys(ctx context.Context, kind string) (list []string, err error) {
	for keys := w.redis.ScanType(ctx, 0, "*", 500, kind).Iterator(); ; {
		if !keys.Next(ctx) {
			return list, keys.Err()
		}
		list = append(list, keys.Val())
	}
}

// heads are the keys in which hubs keep their newest number.
func (w *world) heads(ctx context.Context) (list []string, err error) {
	hashes, err := w.keys(ctx, "hash")
	if err != nil {
		return nil, err
	}
	for _, key := range hashes {
		if has, err := w.redis.HExists(ctx, key, "epoch").Result(); err != nil {
			return nil, err
		} else if has {
			list = append(list, key)
		}
	}
	return list, nil
}
