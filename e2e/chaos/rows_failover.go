package main

import (
	"fmt"
	"syscall"
	"time"

	"github.com/signalbox/signalbox/e2e/chaos/history"
)

var redisLong = &row{
	id: "F-05", fault: "Redis is away for minutes",
	setting:  setting{edgeEnv: map[string]string{"GOGC": "100"}}, // else 96 MiB of garbage may come together
	injected: "Redis (append-only file) is killed, and started again after the time of -outage; half-way ten clients lose their connections",
	expected: "edges stay ready and don't grow; negotiation takes less than 200 ms; clients that come back meanwhile are taken or told to wait; what was accepted is there once; usage isn't lost",
	run: func(t *trial) error {
		if err := t.warm(); err != nil {
			return err
		}
		heap := t.edgesSum(metricHeap)
		if err := syscall.Kill(t.w.redisServer.PID(), syscall.SIGKILL); err != nil {
			return err
		}
		<-t.w.redisServer.Done()
		token, err := mint(t.w.tenant(tenantA), "probe", nil, nil)
		if err != nil {
			return err
		}
		var negotiated []time.Duration
		failures, unready := 0, 0
		moved := false
		var movers []*client
		for time.Since(t.began) < t.config.outage {
			began := time.Now()
			if _, err := negotiate(t, "http://"+t.w.edgeAddrs[len(negotiated)%edgeCount]+"/t/"+tenantA, hubName, token, false); err != nil {
				failures++
			}
			negotiated = append(negotiated, time.Since(began))
			for _, e := range t.w.edges {
				if !e.ready(t) {
					unready++
				}
			}
			if !moved && time.Since(t.began) > t.config.outage/2 {
				moved = true
				movers = t.load.of(tenantA)[:10]
				for _, c := range movers {
					c.mu.Lock()
					if c.socket != nil {
						c.socket.Close()
					}
					c.mu.Unlock()
				}
			}
			if err := t.pass(500 * time.Millisecond); err != nil {
				return err
			}
		}
		there, why := 0, ""
		for _, c := range movers {
			c.mu.Lock()
			if len(c.refused) > 0 {
				why = " (" + c.refused[len(c.refused)-1].Error() + ")"
			}
			c.mu.Unlock()
			if c.connected.Load() {
				there++
			}
		}
		grown := (t.edgesSum(metricHeap) - heap) / edgeCount
		if err := t.w.restartRedis(t); err != nil {
			return err
		}
		back := time.Now()
		if err := t.load.awaitConnected(t, 30*time.Second); err != nil {
			return err
		}
		whole := time.Since(back)
		if err := t.tail(); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		n, sample := t.disconnects(func(l *history.Life) bool { return l.Tenant != tenantA })
		t.zero("disconnects of clients whose network is well", n, sample)
		t.check(failures == 0, "negotiations that failed", fmt.Sprintf("%d of %d", failures, len(negotiated)), "0")
		sorted := took(attemptsOf(negotiated), anyAttempt)
		t.within("p99 of negotiation", quantile(sorted, 0.99), 200*time.Millisecond)
		t.zero("times that an edge wasn't ready", unready, "")
		t.check(there == len(movers), "clients that lost their connection and have one before Redis is back", fmt.Sprintf("%d of %d%s", there, len(movers), why), "all")
		t.check(grown < 50<<20, "growth of the heap of an edge", fmt.Sprintf("%.1f MB", grown/1e6), "< 50 MB")
		t.within("everybody is connected", whole, 15*time.Second)
		t.resumes("deliveries flow again", back, 5*time.Second)
		t.usage()
		return nil
	},
}

// attemptsOf lets took sort durations.
func attemptsOf(list []time.Duration) (all []attempt) {
	for _, d := range list {
		all = append(all, attempt{took: d})
	}
	return all
}

var redisFailover = &row{
	id: "F-06", fault: "Redis fails over to its replica",
	setting:  setting{sentinel: true, sticky: true},
	injected: "the link to the replica is delayed by 200 ms, then swallows everything; 250 ms later the primary is stopped (SIGSTOP); the sentinel promotes the replica and the address of Redis follows; 10 s later the old primary goes on",
	expected: "what was accepted as replicated isn't lost; what was accepted as stored may be, for about the delay of replication, and every client that lacks some of it is told to begin anew; the old primary accepts nothing; deliveries flow within 5 s of the promotion",
	run: func(t *trial) error {
		f := t.w.failover
		if err := t.load.start(t, t.w.tenants...); err != nil {
			return err
		}
		for _, tenant := range t.w.tenants {
			if err := t.load.publish(tenant, 10, false); err != nil {
				return err
			}
			p := t.load.senders[len(t.load.senders)-1]
			p.ack, p.insist = "replicated", true
		}
		if err := t.pass(t.phase(0.5)); err != nil {
			return err
		}
		if err := f.replication.delay(200, 0); err != nil {
			return err
		}
		if err := t.pass(t.phase(0.5)); err != nil {
			return err
		}
		// The last quarter of a second never reaches the replica.
		if err := f.replication.silence(); err != nil {
			return err
		}
		if err := t.pass(250 * time.Millisecond); err != nil {
			return err
		}
		t.began = time.Now()
		if err := syscall.Kill(f.servers[0].PID(), syscall.SIGSTOP); err != nil {
			return err
		}
		if err := f.promoted(t); err != nil {
			return err
		}
		f.replication.clean()
		for _, r := range t.w.redisRoutes() {
			if err := r.to(f.ports[1]); err != nil {
				return err
			}
		}
		promoted := time.Now()
		t.load.history.Fork = promoted
		if err := t.pass(10 * time.Second); err != nil {
			return err
		}
		if err := syscall.Kill(f.servers[0].PID(), syscall.SIGCONT); err != nil {
			return err
		}
		var stale error // it looks at its replicas once a second
		_ = await(t, 5*time.Second, "the old primary to refuse", func() bool {
			stale = f.clients[0].Set(t, "chaos:stale", "1", 0).Err()
			return stale != nil
		})
		if err := t.tail(); err != nil {
			return err
		}
		forks := t.edgesSum(metricLosses, `reason="epoch"`)
		stream, err := f.clients[1].DBSize(t).Result()
		if err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.note("took from the stop to the promotion", short(promoted.Sub(t.began)))
		t.resumes("deliveries flow on the new primary", promoted, 5*time.Second)
		t.note("what the old primary says to a write when it goes on", errText(stale))
		t.check(stream > 0, "keys on the new primary", fmt.Sprint(stream), "> 0")
		lost, replicated := 0, 0
		got := make(map[history.ID]bool)
		for _, l := range t.load.history.Lives {
			for _, r := range l.Receipts {
				got[r.ID] = true
			}
		}
		for _, m := range t.load.history.Messages {
			if m.Outcome != history.Accepted || got[m.ID] {
				continue
			}
			if m.ID.Publisher == "p10" {
				replicated++
			} else {
				lost++
			}
		}
		t.check(replicated == 0, "accepted as replicated and read by nobody", fmt.Sprint(replicated), "0")
		t.note("accepted as stored and read by nobody", fmt.Sprintf("%d (clients that were in a group of it were told to begin anew: see I1)", lost))
		n, sample := t.disconnects(everyLife)
		t.check(forks > 0, "hubs whose edges noticed that the new primary lacks what they had, times edges", fmt.Sprintf("%.0f", forks), "> 0")
		t.check(n > 0, "clients told to begin anew", fmt.Sprintf("%d (%s)", n, sample), "> 0")
		return nil
	},
}
