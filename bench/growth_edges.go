package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signalbox/signalbox/internal/app/loadgen"
	"github.com/signalbox/signalbox/internal/redisclient"
)

const (
	// edgeClients is how many clients of the hub each edge has.
	edgeClients = 11
	edgeRate    = 500 // publishes a second, over REST, to the edges in turn
	edgeWindow  = 6 * time.Second
	// opensWithin bounds the wait for the clients.
	opensWithin = 30 * time.Second
)

// growthOfEdges foretells what publishes over REST cost with one, two and three edge
// processes, from what the backplane alone costs and from one edge with few and with
// more clients, and runs them.
func (b *benchmark) growthOfEdges(ctx context.Context, redis, edge, out unit) (string, error) {
	one, err := b.edgesCost(ctx, 1, 1)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	text.WriteString("\nThe same of real edges, all on the one core, with publishes over REST: Redis and its bytes foretold from the units above, the edges' CPU from one edge with 1 client and with more.\n\n")
	text.WriteString("| edges | clients each | Redis µs, foretold | run | edges µs, foretold | run | bytes out, foretold | run |\n|---|---|---|---|---|---|---|---|\n")
	var alone cost
	for _, edges := range []int{1, 2, 3} {
		run, err := b.edgesCost(ctx, edges, edgeClients)
		if err != nil {
			return "", err
		}
		foretold := "–"
		if edges == 1 {
			alone = run
		} else {
			delivery := (alone.edges - one.edges) / (edgeClients - 1)
			foretold = fmt.Sprintf("%.0f", alone.edges+float64(edges-1)*(edge.each+edgeClients*delivery))
		}
		fmt.Fprintf(&text, "| %d | %d | %.0f | %.0f | %s | %.0f | %.0f | %.0f |\n", edges, edgeClients,
			redis.of(float64(edges)), run.redis, foretold, run.edges, out.of(float64(edges)), run.bytesOut)
	}
	return text.String(), nil
}

// edgesCost publishes to one hub of real edges, each of which has clients of it.
func (b *benchmark) edgesCost(ctx context.Context, edges, clients int) (cost, error) {
	progress("growth: %d real edges with %d clients each", edges, clients)
	address, _, end, err := startRedis(ctx, otherCore)
	if err != nil {
		return cost{}, err
	}
	defer end()
	p, err := startProductWith(ctx, b.programs, edges, "redis://"+address+"/0")
	if err != nil {
		return cost{}, err
	}
	defer p.end()
	client, err := redisclient.New("redis://"+address, "bench")
	if err != nil {
		return cost{}, err
	}
	defer client.Close() //nolint:errcheck // it has only read

	holding, release := context.WithCancel(ctx)
	var holders sync.WaitGroup
	defer holders.Wait()
	defer release()
	for _, url := range p.edges {
		c := b.config(url)
		c.Key, c.Connections, c.Duration, c.Hold = p.key, clients, 0, time.Hour
		holders.Go(func() { _, _ = loadgen.Run(holding, c) }) // until it is released
	}
	backends := make([]*backend, 0, edges)
	for _, url := range p.edges {
		backends = append(backends, &backend{url: url + "/api/hubs/load", key: p.key})
	}
	for deadline := time.Now().Add(opensWithin); ; {
		n, err := backends[0].connections(ctx)
		if err == nil && n == edges*clients {
			break
		}
		if time.Now().After(deadline) {
			return cost{}, fmt.Errorf("only %d of %d clients: %w", n, edges*clients, errors.Join(err, context.DeadlineExceeded))
		}
		time.Sleep(100 * time.Millisecond)
	}
	var failed atomic.Int64
	publish := func(n int) {
		if err := backends[n%edges].send(ctx, loadgen.ClockStamp(time.Now(), size)); err != nil {
			failed.Add(1)
			fmt.Fprintln(os.Stderr, "publish:", err)
		}
	}
	paced(time.Second, edgeRate, 0, publish)
	before, err := usageOfBackplane(ctx, client)
	if err != nil {
		return cost{}, err
	}
	cpu, err := loadgen.CPU(p.pids...)
	if err != nil {
		return cost{}, err
	}
	n := paced(edgeWindow, edgeRate, 0, publish)
	cpuAfter, err := loadgen.CPU(p.pids...)
	if err != nil {
		return cost{}, err
	}
	after, err := usageOfBackplane(ctx, client)
	switch {
	case err != nil:
		return cost{}, err
	case failed.Load() > 0:
		return cost{}, fmt.Errorf("%d publishes to %d edges failed", failed.Load(), edges)
	}
	per := func(before, after float64) float64 { return (after - before) / float64(n) }
	return cost{
		redis: per(before.redis, after.redis), edges: float64((cpuAfter - cpu).Microseconds()) / float64(n),
		bytesOut: per(before.bytesOut, after.bytesOut),
	}, nil
}
