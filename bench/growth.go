package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// designed are the figures with which the design was chosen, of a program like that of
// bareCost and Redis 7.0.15 on two cores of another machine: what one publish cost
// Redis with 8 edges and 3,000 hubs, each on 3 of them (CPU, µs), by publishes per
// second.
var designed = []struct{ rate, redis float64 }{{2000, 49}, {8000, 24}}

// redisCost: Redis' CPU for a publish beside that of the design by itself, in turn.
func (b *benchmark) redisCost(ctx context.Context) ([]row, error) {
	const name = "Redis, 8 edges, 3,000 hubs"
	if b.skipped(name) {
		return nil, nil
	}
	var rows []row
	for _, d := range designed {
		r := row{name: fmt.Sprintf("%s, %.0f publishes/s", name, d.rate), unit: "CPU µs per publish", peer: "the design, bare", accept: 1.2, aim: 1}
		var keyed sample
		for i := range b.runs {
			progress("%s, run %d of %d", r.name, i+1, b.runs)
			quiet := listen()
			ours, err := backplaneCost(ctx, manySmall, 8, d.rate, b.window)
			if err != nil {
				return nil, err
			}
			theirs, err := bareCost(ctx, manySmall, 8, d.rate, b.window, false)
			if err != nil {
				return nil, err
			}
			withKey, err := bareCost(ctx, manySmall, 8, d.rate, b.window, true)
			if err != nil {
				return nil, err
			}
			r.foreign = append(r.foreign, quiet.foreign())
			progress("  ours %.1f, at %.0f publishes/s; the bare design %.1f, at %.0f, with a key %.1f", ours.redis, ours.rate, theirs.redis, theirs.rate, withKey.redis)
			r.ours, r.theirs, keyed = append(r.ours, ours.redis), append(r.theirs, theirs.redis), append(keyed, withKey.redis)
		}
		r.note = fmt.Sprintf("when the design was chosen, on another machine, it took %.0f µs: ours takes %.2f× of that, the bare one %.2f×. Neither has idempotency keys here; with one for each publish the bare one takes %s µs, which is how it would make repeats by edges safe (ours have a sequence for that, and the answer in the head).",
			d.redis, r.ours.median()/d.redis, r.theirs.median()/d.redis, figures(keyed))
		rows = append(rows, r)
	}
	return rows, nil
}

// unit is what one publish costs, and what each edge that follows its hub adds.
type unit struct{ fixed, each float64 }

func (u unit) of(followers float64) float64 { return u.fixed + u.each*followers }

// fit takes the units from two costs.
func fit(k1, cost1, k2, cost2 float64) unit {
	each := (cost2 - cost1) / (k2 - k1)
	return unit{fixed: cost1 - each*k1, each: each}
}

// growth measures unit costs and tells what they foretell of other numbers of
// edges and hubs, beside what those cost when they are run.
func (b *benchmark) growth(ctx context.Context) (string, error) {
	const rate, busyRate, few, many = 1000, 4000, 1, 4
	take := func(s shape, edges int) (cost, error) {
		progress("growth: %s, %d edges", s.name, edges)
		return backplaneCost(ctx, s, edges, rate, b.window)
	}
	one, err := take(oneHuge, few)
	if err != nil {
		return "", err
	}
	four, err := take(oneHuge, many)
	if err != nil {
		return "", err
	}
	redis := fit(few, one.redis, many, four.redis)
	edge := fit(few, one.edges, many, four.edges)
	out := fit(few, one.bytesOut, many, four.bytesOut)
	var text strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&text, format, args...) }
	say("Unit costs, from one hub on %d and on %d edges at %d publishes/s of 260 bytes: a publish takes Redis %.0f µs and each edge that follows the hub adds %.1f µs; the edges together, with whoever publishes, %.0f µs and %.0f µs; out of Redis go %.0f bytes and %.0f for each edge. ",
		few, many, rate, redis.fixed, redis.each, edge.fixed, edge.each, out.fixed, out.each)
	say("Clients are not in it: a delivery costs what the first table says. What follows is foretold from these and then run.\n\n")
	say("| shape | edges | follow a hub | Redis µs, foretold | run | edges µs, foretold | run | bytes out, foretold | run |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, s := range []shape{oneHuge, manySmall, mixed} {
		for _, edges := range []int{1, 2, 3, 8} {
			c, err := take(s, edges)
			if err != nil {
				return "", err
			}
			k := 0.0
			for h := range s.hubs {
				k += float64(s.on(h, edges)) / float64(s.hubs)
			}
			say("| %s, %d | %d | %.1f | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f |\n", s.name, s.hubs, edges, k,
				redis.of(k), c.redis, edge.of(k), c.edges, out.of(k), c.bytesOut)
		}
	}
	real, err := b.growthOfEdges(ctx, redis, edge, out)
	if err != nil {
		return "", err
	}
	text.WriteString(real)
	busy := shape{oneHuge.name, 1, func(_, edges int) int { return min(3, edges) }}
	hot, err := backplaneCost(ctx, busy, 3, busyRate, b.window)
	if err != nil {
		return "", err
	}
	spread, err := backplaneCost(ctx, manySmall, 3, busyRate, b.window)
	if err != nil {
		return "", err
	}
	say("\nWhere the line bends: publishes to one hub that come while a round trip is under way share the next one; small ones to many hubs share round trips where more than one comes to an edge in a millisecond. With %d publishes/s asked for, on 3 edges: one hub %.0f µs of Redis and %.0f µs of the edges per publish at %.0f/s, %d hubs %.0f µs and %.0f µs at %.0f/s. ",
		busyRate, hot.redis, hot.edges, hot.rate, manySmall.hubs, spread.redis, spread.edges, spread.rate)
	say("Every %v each edge compares the heads of the hubs that it follows: that grows with hubs and edges, not with messages, and is what the bytes of many small hubs have beyond the foretold. One Redis holds all streams: where the edges ask for more than a core of it, publishes wait.\n", 2*time.Second)
	return text.String(), nil
}
