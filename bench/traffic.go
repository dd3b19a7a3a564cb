package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/signalbox/signalbox/internal/app/loadgen"
)

// traffic measures loadgen's plans, ours beside centrifuge's memory engine where
// that has the transport.
func (b *benchmark) traffic(ctx context.Context) (string, error) {
	var text strings.Builder
	text.WriteString("Plans of `loadgen -plan`. CPU is that of the one server core, 1.00 being all of it; latencies are milliseconds.\n\n")
	text.WriteString("| plan | server | deliveries/s | p50 | p99 | max | CPU | lost |\n|---|---|---|---|---|---|---|---|\n")
	say := func(plan, server string, results []loadgen.Result) {
		value := func(f func(loadgen.Result) float64) string { return figure(of(results, f).median()) }
		lost := 0
		for _, r := range results {
			lost += r.Lost
		}
		fmt.Fprintf(&text, "| %s | %s | %s | %s | %s | %s | %s | %d |\n", plan, server,
			value(func(r loadgen.Result) float64 { return r.DeliveriesPerSecond }), value(func(r loadgen.Result) float64 { return r.P50 }),
			value(func(r loadgen.Result) float64 { return r.P99 }), value(func(r loadgen.Result) float64 { return r.Max }),
			value(func(r loadgen.Result) float64 { return r.CPU / r.Config.Duration.Seconds() }), lost)
	}
	for _, p := range []struct{ plan, about string }{
		{"cursors", "50 people, 60 positions a second each"},
		{"ticker", "500 symbols to 2,000 viewers, 250 changes a second"},
		{"chat", "5,000 in a room, 1% typing"},
	} {
		ours, theirs, err := b.pair(ctx, p.plan, false, func(c *loadgen.Config) { c.Follow(p.plan) })
		if err != nil {
			return "", err
		}
		name := p.plan + ": " + p.about
		say(name, "Signalbox", ours)
		say(name, "centrifuge, memory", theirs)
	}
	for _, p := range []struct {
		plan, about string
		windows     int
	}{
		{"ticker-conflated", "the newest of each symbol every 4 s alone", 4},
		{"sensors", "10,000 that poll, one message a minute each", 2},
	} {
		var results []loadgen.Result
		for i := range b.runs {
			progress("%s, run %d of %d", p.plan, i+1, b.runs)
			r, err := b.ours(ctx, func(c *loadgen.Config) { c.Follow(p.plan); c.Duration = time.Duration(p.windows) * b.window })
			if err != nil {
				return "", fmt.Errorf("%s: %w", p.plan, err)
			}
			progress("  ours      %s", line(r))
			results = append(results, r)
		}
		say(p.plan+": "+p.about, "Signalbox", results)
	}
	return text.String(), nil
}
