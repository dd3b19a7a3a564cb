package edge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/signalbox/signalbox/hubs/backplane"
	"github.com/signalbox/signalbox/internal/httpserver"
	"github.com/signalbox/signalbox/internal/redisclient"
)

const (
	// drainSlack is what connections get beyond DrainOver: the last one may wait 10 s
	// for what is under way, and says its last words.
	drainSlack = 15 * time.Second
	// lastRequests is what requests get that are under way after that; net/http takes
	// a socket that hasn't asked for anything for 5 s to be at rest.
	lastRequests = 8 * time.Second
	// closeTimeout bounds each later step of the shutdown.
	closeTimeout = 5 * time.Second
)

// Run serves until ctx is done and then shuts down in order: no longer ready;
// after Config.DrainGrace no new connections, clients asked to reconnect over
// Config.DrainOver, each once what is under way for it is answered; then no more
// requests, upstreams told, usage flushed, shares and leases given back. It
// returns an error when a listener failed or not everything could be told.
// Cancelling forced cuts the drain short.
func (e *Edge) Run(ctx, forced context.Context) error {
	defer e.Close()
	e.log.InfoContext(ctx, "edge starts", "config", e.cfg)
	serving, stop := context.WithCancel(ctx)
	defer stop()

	// Background work outlives ctx: connections need it until they are drained.
	working, rest := context.WithCancel(context.WithoutCancel(ctx))
	defer rest()
	var work errgroup.Group
	work.Go(func() error { return e.directory.Run(working) })
	work.Go(func() error { return e.recorder.Run(working) })
	work.Go(func() error { return e.hubs.budgets.run(working) })
	for _, run := range e.limits.runs() {
		work.Go(func() error { return run(working) })
	}
	work.Go(func() error { return redisclient.KeepWarm(working, e.redis) })
	work.Go(func() error { return e.hubs.review(working) })
	work.Go(func() error { return e.deliveries.Run(working) })
	work.Go(func() error { return e.hubs.run(working) })
	work.Go(func() error { return tendMemory(working, e.hubs.metrics.Connections) })
	work.Go(func() error { return e.hubs.pressure.run(working) })
	work.Go(func() error { return e.hubs.presence.Run(working) })
	work.Go(func() error { return e.isolation().run(working) })
	work.Go(func() error { return e.hold.run(working) })
	work.Go(func() error {
		err := e.checkRedis(working)
		if err != nil {
			stop() // it would serve nobody
		}
		return err
	})

	var listeners errgroup.Group
	for _, s := range []*httpserver.Server{e.internal, e.public, e.admin} {
		listeners.Go(func() error {
			defer stop() // one that fails ends the edge
			return s.Serve()
		})
	}
	<-serving.Done()

	failed := ctx.Err() == nil // there is nothing to wait for: a listener is gone
	e.ready.draining.Store(true)
	e.log.Info("edge drains", "grace", e.cfg.DrainGrace, "over", e.cfg.DrainOver)
	if !failed {
		e.grace(forced)
	}
	connections, cancel := context.WithTimeout(forced, e.cfg.DrainOver+drainSlack)
	defer cancel()
	err := e.drain(connections, forced)
	e.hubs.close(connections) // what didn't end in time ends now, and is counted
	e.hubs.servers.Close()
	e.hubs.pairings.Close() // behind what both had to say to other edges
	e.transports.Wait()
	e.bus.StopTelling() // others tell what this edge would have no time for
	err = errors.Join(err, e.tellUpstreams(forced))
	rest()
	err = errors.Join(err, work.Wait())
	ended, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err = errors.Join(err, e.internal.Shutdown(ended), e.admin.Shutdown(ended), listeners.Wait())
	e.log.Info("edge ends", "clean", err == nil)
	return err
}

// tellUpstreams waits until upstreams were told of the connections that ended.
func (e *Edge) tellUpstreams(forced context.Context) error {
	ctx, cancel := context.WithTimeout(forced, closeTimeout)
	defer cancel()
	return e.hubs.upstreams.Close(ctx)
}

// grace serves on, without being ready, until balancers must have noticed.
func (e *Edge) grace(forced context.Context) {
	select {
	case <-time.After(e.cfg.DrainGrace):
	case <-forced.Done():
	}
}

// drain takes no more connections, ends those that are there, as long as ctx lets
// it, and then takes no more requests.
func (e *Edge) drain(ctx, forced context.Context) error {
	e.hubs.servers.Drain()
	var all errgroup.Group
	all.Go(func() error {
		e.hubs.pairings.Drain(ctx, e.cfg.DrainOver)
		return nil
	})
	all.Go(func() error {
		if err := e.hubs.drain(ctx, e.cfg.DrainOver); err != nil {
			return fmt.Errorf("drain connections: %w", err)
		}
		return nil
	})
	err := all.Wait()
	// Waits for requests under way: backends are served up to here.
	last, cancel := context.WithTimeout(forced, lastRequests)
	defer cancel()
	return errors.Join(err, e.public.Shutdown(last))
}

// lastAnswers marks answers of an edge that drains as the last on their socket, so
// that balancers keep none to it.
func (e *Edge) lastAnswers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e.ready.draining.Load() && r.Header.Get("Upgrade") == "" {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// isolation is what watches whether the edge is cut off.
func (e *Edge) isolation() *isolation {
	return &isolation{
		hubs: e.hubs, ready: e.ready, log: e.log,
		away: func() bool { return e.bus.Stats().Unavailable },
		fine: controlPlane(strings.TrimSuffix(e.cfg.APIInternalURL, "/"), e.control),
		tick: isolationTick, after: cutOffAfter, move: moveAfter, over: moveOver,
	}
}

// checkRedis returns an error for a Redis that can't be used, once it can be asked.
// While one may drop keys, the edge isn't ready: better nothing is served than
// something is forgotten without a word. Nor is it while edges live that it couldn't
// ask, since they have the other setting of Config.StreamsOnly.
func (e *Edge) checkRedis(ctx context.Context) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, closeTimeout)
		err := redisclient.CheckMode(attempt, e.redis)
		if errors.Is(err, redisclient.ErrCluster) {
			cancel()
			return fmt.Errorf("REDIS_URL: %w", err)
		}
		if err == nil {
			err = redisclient.CheckPolicy(attempt, e.redis)
			unfit := errors.Is(err, redisclient.ErrPolicy)
			if err != nil && e.ready.unfit.Load() != unfit {
				e.log.ErrorContext(ctx, "redis is not fit for the promises of delivery", "error", err)
			}
			e.ready.unfit.Store(unfit)
		}
		if err == nil {
			err = e.bus.CheckFleet(attempt)
			alone := errors.Is(err, backplane.ErrMixed)
			if alone && !e.ready.alone.Load() {
				e.log.ErrorContext(ctx, "SIGNALBOX_STREAMS_ONLY must be the same for all edges", "error", err)
			}
			e.ready.alone.Store(alone)
			if err == nil {
				cancel()
				return nil
			}
		}
		cancel()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}
