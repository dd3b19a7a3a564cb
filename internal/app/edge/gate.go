package edge

import (
	"context"
	"slices"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/tenants"
)

// The reasons that clients are closed with.
const (
	reasonRevoked   = "The access key behind this connection was revoked."
	reasonSuspended = "The tenant is suspended."
	reasonDeleted   = "The tenant was deleted."
)

// gate is the hub filter that ends connections whose right to exist has ended:
// at once when that happened while they were coming in, and later when their
// token expires, if it says so. What changes afterwards is registry.changed.
type gate struct {
	hubs.PassFilter
	registry *registry
	tenant   tenants.ID
}

// expiryTimer is where a connection keeps its timer.
type expiryTimer struct{}

// OnConnected looks at the document once more. The connection is in the hub by
// now: either this sees a change, or registry.changed sees the connection.
func (g *gate) OnConnected(ctx context.Context, c *hubs.Connection, next func(context.Context) error) error {
	if t, ok := g.registry.directory.Cached(g.tenant); ok {
		if reason := endReason(t, c.Principal().Credential); reason != "" {
			return hubs.NewError(reason)
		}
	}
	if at := c.Principal().Expires; !at.IsZero() {
		// A client whose token has run out may come back with a new one.
		c.SetValue(expiryTimer{}, time.AfterFunc(time.Until(at), func() { c.Close("", true) }))
	}
	return next(ctx)
}

// OnDisconnected stops the timer.
func (g *gate) OnDisconnected(ctx context.Context, c *hubs.Connection, cause error, next func(context.Context, error)) {
	if timer, ok := c.Value(expiryTimer{}).(*time.Timer); ok {
		timer.Stop()
	}
	next(ctx, cause)
}

// endReason says why a connection that key vouched for must not go on, or "".
func endReason(t *tenants.Document, key string) string {
	switch t.Status {
	case tenants.Deleted:
		return reasonDeleted
	case tenants.Suspended:
		return reasonSuspended
	}
	if !slices.ContainsFunc(t.Keys, func(k tenants.DocKey) bool { return k.ID == key }) {
		return reasonRevoked
	}
	return ""
}

// changed puts a new document in force: connections that it no longer allows
// are closed for good, the others get its limits and settings. It is the
// directory's OnChange and doesn't block.
func (g *registry) changed(_, after *tenants.Document) {
	for name, s := range g.of(after.ID) {
		closed := 0
		for _, reason := range []string{reasonDeleted, reasonSuspended, reasonRevoked} {
			closed += s.server.CloseWhere(func(c *hubs.Connection) bool {
				return endReason(after, c.Principal().Credential) == reason
			}, reason, false)
		}
		if closed > 0 {
			g.log.Info("connections closed by a change of the tenant", "tenant_id", after.ID, "hub", name, "count", closed, "revision", after.Revision)
		}
		if after.Status != tenants.Active {
			continue
		}
		if err := s.server.SetOptions(options(after, name)); err != nil {
			g.log.Error("hub settings not applied", "tenant_id", after.ID, "hub", name, "error", err)
		}
	}
}
