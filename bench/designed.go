package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/redisclient"
)

//go:embed designed.lua
var bareSource string

// bareScript appends and rings as the design says, and no more; see designed.lua.
var bareScript = redis.NewScript(bareSource)

const (
	// bareLinger and bareMost bound how long a publish waits for others of its edge, and
	// for how many.
	bareLinger = time.Millisecond
	bareMost   = 64
)

// bareCost is backplaneCost of the design that the backplane follows, by itself: a
// stream and a doorbell with the entry for each hub, appended to by one script, and
// edges that pipeline. It counts nothing, fences and bounds nothing and never looks
// whether a doorbell was missed. keyed says that each publish has an idempotency key.
func bareCost(ctx context.Context, s shape, edges int, rate float64, window time.Duration, keyed bool) (cost, error) {
	address, _, end, err := startRedis(ctx, serverCore)
	if err != nil {
		return cost{}, err
	}
	defer end()
	client, err := redisclient.New("redis://"+address, "bench")
	if err != nil {
		return cost{}, err
	}
	defer client.Close() //nolint:errcheck // nothing was written that matters
	if err := bareScript.Load(ctx, client).Err(); err != nil {
		return cost{}, fmt.Errorf("load script: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	var applied sync.WaitGroup
	planes := make([]*bareEdge, 0, edges)
	for range edges {
		e := &bareEdge{client: client, bells: client.Subscribe(ctx), waiting: make(chan *barePublish, 4*bareMost)}
		planes = append(planes, e)
		defer e.bells.Close() //nolint:errcheck // before it is waited for who reads it
		work.Go(func() { e.send(ctx) })
		work.Go(func() { e.receive(ctx, applied.Done) })
	}
	for h := range s.hubs {
		for k := range s.on(h, edges) {
			applied.Add(1)
			if err := planes[(h+k)%edges].bells.Subscribe(ctx, bareBell(h)); err != nil {
				return cost{}, fmt.Errorf("follow hub %d: %w", h, err)
			}
		}
	}
	applied.Wait() // every subscription is confirmed
	payload := `["` + strings.Repeat("x", 230) + `"]`
	var used atomic.Int64
	publish := func(n int) {
		h := n % s.hubs
		applied.Add(s.on(h, edges))
		tag := "{bench/" + hubName(h) + "}:"
		keys := []string{tag + "head", tag + "stream"}
		if keyed {
			keys = append(keys, tag+"key:"+strconv.FormatInt(used.Add(1), 10)) // none of them again
		}
		if err := planes[n%edges].publish(ctx, keys, bareEpoch, bareBell(h), "1", "groups", "group/load", payload); err != nil {
			fmt.Fprintln(os.Stderr, "publish:", err)
			for range s.on(h, edges) {
				applied.Done()
			}
		}
	}
	return costOf(ctx, client, s, rate, window, publish, applied.Wait)
}

// bareEpoch is what a hub begins with: random where a restart is to be told.
const bareEpoch = "0123456789abcdef"

func bareBell(hub int) string { return "{bench/" + hubName(hub) + "}:bell" }

// bareEdge is one edge: a pipeline and a Pub/Sub connection.
type bareEdge struct {
	client  *redis.Client
	bells   *redis.PubSub
	waiting chan *barePublish
}

type barePublish struct {
	command *redis.Cmd
	done    chan struct{} // closed when command has its answer
}

func (e *bareEdge) publish(ctx context.Context, keys []string, args ...any) error {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, "evalsha", bareScript.Hash(), len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	p := &barePublish{redis.NewCmd(ctx, append(all, args...)...), make(chan struct{})}
	select {
	case e.waiting <- p:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-p.done:
		return p.command.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// send has publishes wait for each other and sends them, also while others are under
// way.
func (e *bareEdge) send(ctx context.Context) {
	var under sync.WaitGroup
	defer under.Wait()
	for {
		var batch []*barePublish
		var over <-chan time.Time
		for full := false; !full; {
			select {
			case p := <-e.waiting:
				if batch = append(batch, p); len(batch) == 1 {
					over = time.After(bareLinger)
				}
				full = len(batch) == bareMost
			case <-over:
				full = true
			case <-ctx.Done():
				return
			}
		}
		under.Go(func() {
			pipe := e.client.Pipeline()
			for _, p := range batch {
				_ = pipe.Process(ctx, p.command) // it is only queued
			}
			_, _ = pipe.Exec(ctx) // each command has its own error
			for _, p := range batch {
				close(p.done)
			}
		})
	}
}

// receive calls applied for each confirmed subscription and each doorbell.
func (e *bareEdge) receive(ctx context.Context, applied func()) {
	for ctx.Err() == nil {
		m, err := e.bells.Receive(ctx)
		if err != nil {
			return // it was closed; otherwise the measure is never over, and ctx ends it
		}
		switch m.(type) {
		case *redis.Message, *redis.Subscription:
			applied()
		}
	}
}
