package edge

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/tenants"
)

// The reasons that clients are closed with.
const (
	reasonRevoked      = "The access key behind this connection was revoked."
	reasonTokenRevoked = "The access token behind this connection was revoked."
	reasonSuspended    = "The tenant is suspended."
	reasonDeleted      = "The tenant was deleted."
)

// gate is the hub filter that ends connections whose right to exist has ended:
// at once when that happened while they were coming in, and later when their
// token expires, if it or the hub says so. What changes afterwards is
// registry.changed.
type gate struct {
	hubs.PassFilter
	registry *registry
	tenant   tenants.ID
	// closes is the hub's setting CloseOnExpiry.
	closes atomic.Bool
}

// OnConnected looks at the document once more. The connection is in the hub by
// now: either this sees a change, or registry.changed sees the connection.
func (g *gate) OnConnected(ctx context.Context, c *hubs.Connection, next func(context.Context) error) error {
	l := &lease{hub: g, close: func() { c.Close("", true) }, token: tokenOf(c)}
	c.SetValue(leaseKey{}, l)
	l.renew(nil, 0)
	if reason := g.endReason(c); reason != "" {
		return hubs.NewError(reason)
	}
	return next(ctx)
}

// OnDisconnected stops the timer.
func (g *gate) OnDisconnected(ctx context.Context, c *hubs.Connection, cause error, next func(context.Context, error)) {
	if l, ok := c.Value(leaseKey{}).(*lease); ok {
		l.end()
	}
	next(ctx, cause)
}

// endReason says why the connection must not go on, or "".
func (g *gate) endReason(c *hubs.Connection) string {
	if t, ok := g.registry.directory.Cached(g.tenant); ok {
		return endReason(t, tokenOf(c).Credential())
	}
	return ""
}

// endReason says why a connection with this token must not go on, or "".
func endReason(t *tenants.Document, token tenants.Credential) string {
	switch t.Status {
	case tenants.Deleted:
		return reasonDeleted
	case tenants.Suspended:
		return reasonSuspended
	}
	switch {
	case !t.Vouched(token, time.Now()):
		return reasonRevoked
	case t.Revoked(token) != "":
		return reasonTokenRevoked
	}
	return ""
}

// reviewEvery is how often hubs get the limits of overrides that have ended meanwhile.
const reviewEvery = 500 * time.Millisecond

// review puts limits in force whose time has come, until ctx is done. What looks limits
// up when it needs them knows by itself.
func (g *registry) review(ctx context.Context) error {
	tick := time.NewTicker(reviewEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := time.Now()
		for _, id := range g.ids() {
			t, ok := g.directory.Cached(id)
			if !ok || t.LimitsAt(last) == t.LimitsAt(now) {
				continue
			}
			for name, s := range g.of(id) {
				g.apply(t, name, s)
			}
		}
		last = now
	}
}

// ids are the tenants with hubs here.
func (g *registry) ids() []tenants.ID {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]tenants.ID, 0, len(g.tenants))
	for id := range g.tenants {
		all = append(all, id)
	}
	return all
}

// apply gives a hub the limits and settings of t.
func (g *registry) apply(t *tenants.Document, name string, s *servedHub) {
	s.share.SetWeight(shareWeight(t.LimitsAt(time.Now())))
	if err := s.server.SetOptions(options(t, name)); err != nil {
		g.log.Error("hub settings not applied", "tenant_id", t.ID, "hub", name, "error", err)
	}
}

// changed puts a new document in force: connections that it no longer allows
// are closed for good, the others get its limits and settings. It is the
// directory's OnChange and doesn't block.
func (g *registry) changed(_, after *tenants.Document) {
	g.watchKeys(after)
	g.budgets.note(after)
	g.mu.Lock()
	g.watchGrace(after)
	g.mu.Unlock()
	if after.Status == tenants.Deleted {
		g.mu.Lock()
		g.deleted[after.ID] = true
		g.mu.Unlock()
	}
	served := g.of(after.ID)
	for name, s := range served {
		closed := 0
		s.server.Each(func(c *hubs.Connection) {
			if reason := endReason(after, tokenOf(c).Credential()); reason != "" {
				c.Close(reason, false)
				closed++
			}
		})
		if closed > 0 {
			g.log.Info("connections closed by a change of the tenant", "tenant_id", after.ID, "hub", name, "count", closed, "revision", after.Revision)
		}
	}
	// After their clients, some of which end with them: these mustn't be told to come
	// back because they have lost their app server.
	g.serversChanged(after)
	if after.Status != tenants.Active {
		return
	}
	for name, s := range served {
		s.allow(after, name)
		s.closeOnExpiry(after.Hubs[name].CloseOnExpiry)
		g.apply(after, name, s)
		s.handlers.changed()
	}
	g.bus.PartitionsChanged(after.ID)
}
