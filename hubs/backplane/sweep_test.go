package backplane

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// front calls itself before each pipeline.
type front func(cmds []redis.Cmder)

func (front) DialHook(next redis.DialHook) redis.DialHook { return next }

func (front) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (f front) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		f(cmds)
		return next(ctx, cmds)
	}
}

// A sweep that sees what is published while it asks doesn't read the stream for it: the
// doorbell has told, or is about to.
func TestSweep_does_not_mistake_what_is_new_for_what_was_missed(t *testing.T) {
	url := newRedis(t)
	client := newClient(t, url)
	cfg := testConfig(t, client)
	cfg.SweepEvery = time.Hour
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	other := process(t, url)
	n := newNode()
	subscribe(t, r, n)
	publish(t, other, say("a", 1))
	n.waitEntries(t, 1)
	said := 1
	var looks atomic.Int64 // of the feed itself, at the head that it may have missed
	client.AddHook(front(func(cmds []redis.Cmder) {
		switch {
		case cmds[0].Name() == "hmget": // of the sweep
			said++
			publish(t, other, say("a", said))
			n.waitEntries(t, said)
		case len(cmds) > 1 && cmds[1].Name() == "sadd":
			looks.Add(1)
		}
	}))
	r.compareAll()
	if said != 1 {
		t.Error("a sweep asked for the head of a hub of which something has just come")
	}
	for _, d := range r.doorbells {
		for _, f := range d.followed() {
			f.mu.Lock()
			f.moved = f.moved.Add(-cfg.SweepEvery)
			f.mu.Unlock()
		}
	}
	r.compareAll()
	eventually(t, "the feeds are at rest", func() bool {
		for _, d := range r.doorbells {
			for _, f := range d.followed() {
				f.mu.Lock()
				running := f.running
				f.mu.Unlock()
				if running {
					return false
				}
			}
		}
		return true
	})
	if said != 2 {
		t.Fatalf("%d sweeps asked for a head", said-1)
	}
	if n := looks.Load(); n != 0 {
		t.Errorf("the feed went to Redis %d times for what a doorbell had told", n)
	}
}
