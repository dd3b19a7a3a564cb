package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/signalbox/signalbox/e2e/chaos/history"
)

var edgeKilled = &row{
	id: "F-01", fault: "an edge is killed",
	setting:  setting{sticky: true},
	injected: "SIGKILL to one edge after the other, each started again after a quarter of a phase; three times in all",
	expected: "its clients are on the other edges soon: 99 % within 5 s, all within 15 s; those of the other edges notice nothing; counts of connections are right within 30 s",
	run: func(t *trial) error {
		if err := t.warm(); err != nil {
			return err
		}
		var all, receiving []time.Duration
		never, moved := 0, 0
		type kill struct {
			edge string
			at   time.Time
		}
		var kills []kill
		for round := range 3 {
			i := (int(t.seed) + round) % edgeCount
			victims := t.load.on(i)
			if err := t.w.edges[i].kill(); err != nil {
				return err
			}
			killed := time.Now()
			kills = append(kills, kill{fmt.Sprintf("edge %d", i+1), killed})
			t.replaced[i] = true
			if err := t.pass(t.phase(0.25)); err != nil {
				return err
			}
			if err := t.w.edges[i].start(); err != nil {
				return err
			}
			if _, err := t.w.edges[i].awaitReady(t, 30*time.Second); err != nil {
				return err
			}
			if err := t.pass(max(t.phase(0.25), 3*time.Second)); err != nil {
				return err
			}
			took := t.load.reconnects(killed, victims)
			first, none := t.load.firstAfter(killed.Add(quantile(took, 1)), victims)
			all, receiving = append(all, took...), append(receiving, first...)
			moved += len(victims)
			never += len(victims) - len(took)
			_ = none
		}
		if err := t.tail(); err != nil {
			return err
		}
		connected, open := 0, t.edgesSum(metricConnections)
		for _, c := range t.load.clients {
			if c.connected.Load() {
				connected++
			}
		}
		for _, p := range t.load.senders {
			if p.client != nil {
				connected++
			}
		}
		if err := t.conclude(); err != nil {
			return err
		}
		slices.Sort(all)
		slices.Sort(receiving)
		n, sample := t.disconnects(func(l *history.Life) bool {
			return !slices.ContainsFunc(kills, func(k kill) bool {
				return l.Edge == k.edge && l.Ended.After(k.at.Add(-100*time.Millisecond)) && l.Ended.Before(k.at.Add(2*time.Second))
			})
		})
		t.zero("disconnects on other edges", n, sample)
		t.check(never == 0, "clients of killed edges that didn't come back in time for the next kill", fmt.Sprintf("%d of %d", never, moved), "0")
		t.within("99 % of them are connected again (I7)", quantile(all, 0.99), 5*time.Second)
		t.within("all of them", quantile(all, 1), 15*time.Second)
		t.check(int(open) == connected, "connections by the edges' count, by the clients'", fmt.Sprintf("%.0f, %d", open, connected), "equal")
		t.compared("p99 of deliveries in the tail", "", t.over.Add(t.phase(0.2)), t.over.Add(t.phase(1)), 1.5, 20*time.Millisecond)
		return nil
	},
}
