package appserver

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

const (
	// shutdownAgain is how often the service is told that the app server goes,
	// until it answers.
	shutdownAgain = 5 * time.Second
	// closeWithin bounds the time for closing clients and connections at the end.
	closeWithin = 5 * time.Second
)

// Shutdown stops the App: negotiation is refused, no connection is made any
// more, and clients leave as Options.Migration says. Those that are still there
// when ctx is done are asked to reconnect; the error says so. It may be called
// more than once, and returns when the App has stopped, 5 s after ctx at the latest.
func (a *App) Shutdown(ctx context.Context) error {
	a.mu.Lock()
	first := !a.ending
	a.ending = true
	links := append([]*link(nil), a.links...)
	if first {
		a.change()
	}
	a.mu.Unlock()
	if !first {
		select {
		case <-a.done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	defer close(a.done)
	a.log.Info("app server stops", "hub", a.hubKey, "clients", a.Clients())
	var err error
	if a.opt.Migration != DropClients {
		err = a.emptied(ctx, links)
	}

	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
	defer cancel()
	a.hub.CloseWhere(func(c *hubs.Connection) bool { _, ours := a.linkOf(c.ID()); return ours }, "", true)
	_ = a.awaitIdle(limit) // what is left is aborted
	var group sync.WaitGroup
	for _, l := range links {
		group.Go(func() { l.goodbye(limit) })
	}
	group.Wait()
	a.cancel()
	stopped := make(chan struct{})
	go func() {
		a.group.Wait()
		close(stopped)
	}()
	select {
	case <-stopped:
		return err
	case <-limit.Done():
		return errors.Join(err, errBusy)
	}
}

// errBusy: hub methods don't return.
var errBusy = errors.New("hub methods still run that don't obey their contexts")

// emptied asks the service to take the clients, and waits until they are gone.
func (a *App) emptied(ctx context.Context, links []*link) error {
	ctx, cancel := context.WithCancelCause(ctx)
	mode := serviceprotocol.ShutdownMigrate
	if a.opt.Migration == AwaitClients {
		mode = serviceprotocol.ShutdownWait
	}
	var group sync.WaitGroup
	for _, l := range links {
		group.Go(func() { l.announce(ctx, mode) })
	}
	err := a.awaitIdle(ctx)
	if err == nil {
		// A client may be on its way until every connection is known to go.
		group.Wait()
		err = a.awaitIdle(ctx)
	}
	cancel(nil)
	group.Wait()
	return err
}

// announce tells the service that the app server goes until it answers.
func (l *link) announce(ctx context.Context, mode serviceprotocol.ShutdownMode) {
	again := time.NewTicker(shutdownAgain)
	defer again.Stop()
	for {
		l.post(serviceprotocol.Shutdown(mode))
		select {
		case <-l.finished:
			return
		case <-l.done:
			return
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}

// awaitIdle waits until there are no clients.
func (a *App) awaitIdle(ctx context.Context) error {
	for {
		a.mu.Lock()
		if len(a.clients) == 0 {
			a.mu.Unlock()
			return nil
		}
		if a.idle == nil {
			a.idle = make(chan struct{})
		}
		idle := a.idle
		a.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
