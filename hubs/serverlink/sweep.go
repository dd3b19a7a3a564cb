package serverlink

import (
	"context"
	"slices"
	"time"

	"github.com/signalbox/signalbox/hubs/pairing"
)

// listen notes whether the doorbell of a hub is heard. What wasn't heard before
// has to be read.
func (r *Registry) listen(hub pairing.Hub, live bool) {
	r.mu.Lock()
	v := r.views[hub]
	if v != nil {
		v.live = live
		if !live {
			v.heard = false
			v.silences++
		}
	}
	r.mu.Unlock()
	if v != nil && live {
		r.glance()
	}
}

// glance has the views looked at that are due.
func (r *Registry) glance() {
	select {
	case r.look <- struct{}{}:
	default:
	}
}

// sweep reads anew what is due, forgets what isn't followed, and asks for leases,
// until ctx ends.
func (r *Registry) sweep(ctx context.Context) {
	tick := time.NewTicker(min(lifeGood, r.cfg.SweepEvery))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.look:
		case <-tick.C:
			r.sweepLives(ctx)
		}
		r.sweepViews(ctx)
	}
}

// sweepLives asks for the leases of all edges that some view knows.
func (r *Registry) sweepLives(ctx context.Context) {
	used := make(map[string]bool)
	r.mu.Lock()
	for _, v := range r.views {
		for run := range v.edges {
			used[run] = true
		}
	}
	runs := make([]string, 0, len(used))
	for run := range used {
		runs = append(runs, run)
	}
	for run := range r.edges {
		if !used[run] {
			delete(r.edges, run)
		}
	}
	r.mu.Unlock()
	if len(runs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, redisPatience)
	defer cancel()
	if err := r.askLives(ctx, runs); err != nil {
		r.cfg.Logger.DebugContext(ctx, "edge leases are not read", "error", err) // the next sweep asks again
	}
}

// sweepViews reads the views whose doorbell is heard only since they were read,
// or that haven't been read for long, some at a time.
func (r *Registry) sweepViews(ctx context.Context) {
	var due []*view
	r.mu.Lock()
	for hub, v := range r.views {
		switch {
		case v.reading != nil:
		case len(v.follow) == 0 && time.Since(v.used) >= viewIdle:
			delete(r.views, hub)
			r.bell.remove(hub)
		case v.live && !v.heard, time.Since(v.readAt) >= r.cfg.SweepEvery:
			due = append(due, v)
		}
	}
	r.mu.Unlock()
	for some := range slices.Chunk(due, readsAtOnce) {
		var done []<-chan struct{}
		r.mu.Lock()
		for _, v := range some {
			done = append(done, r.start(v))
		}
		r.mu.Unlock()
		for _, d := range done {
			select {
			case <-d:
			case <-ctx.Done():
				return
			}
		}
	}
}
