package edge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/signalbox/signalbox/internal/httpserver"
	"github.com/signalbox/signalbox/internal/redisclient"
)

const (
	// drainSlack is what connections get beyond DrainOver to say their last words.
	drainSlack = 10 * time.Second
	// closeTimeout bounds each later step of the shutdown.
	closeTimeout = 5 * time.Second
)

// Run serves until ctx is done and then shuts down in order: no longer ready, no
// new connections, clients asked to reconnect over Config.DrainOver, usage
// flushed, shares and leases given back. It returns an error when a listener
// failed or not everything could be told. Cancelling forced cuts the drain short.
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
	work.Go(func() error { return e.connections.Run(working) })
	work.Go(func() error { return e.messages.Run(working) })
	work.Go(func() error { return e.requests.Run(working) })
	work.Go(func() error { return e.deliveries.Run(working) })
	work.Go(func() error { return e.hubs.run(working) })
	work.Go(func() error { return e.hubs.presence.Run(working) })
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

	e.ready.draining.Store(true)
	e.log.Info("edge drains", "over", e.cfg.DrainOver)
	err := e.drain(forced)
	e.hubs.close() // what didn't end in time ends now, and is counted
	e.hubs.servers.Close()
	e.hubs.pairings.Close() // behind what both had to say to other edges
	e.transports.Wait()
	err = errors.Join(err, e.tellUpstreams())
	rest()
	err = errors.Join(err, work.Wait())
	ended, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err = errors.Join(err, e.internal.Shutdown(ended), e.admin.Shutdown(ended), listeners.Wait())
	e.log.Info("edge ends", "clean", err == nil)
	return err
}

// tellUpstreams waits until upstreams were told of the connections that ended.
func (e *Edge) tellUpstreams() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return e.hubs.upstreams.Close(ctx)
}

// drain takes no more connections and ends those that are there.
func (e *Edge) drain(forced context.Context) error {
	ctx, cancel := context.WithTimeout(forced, e.cfg.DrainOver+drainSlack)
	defer cancel()
	e.hubs.servers.Drain()
	var all errgroup.Group
	// Waits for requests under way, which Server-Sent Events and polls are.
	all.Go(func() error { return e.public.Shutdown(ctx) })
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
	return all.Wait()
}

// checkRedis returns an error for a Redis that can't be used, and warns about one
// that may drop keys, once it can be asked.
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
			cancel()
			if err != nil {
				e.log.ErrorContext(ctx, "redis is not fit for the promises of delivery", "error", err)
			}
			return nil
		}
		cancel()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}
