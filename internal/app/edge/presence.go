package edge

import (
	"context"
	"errors"

	"github.com/signalbox/signalbox/hubs/backplane"
	"github.com/signalbox/signalbox/hubs/upstream"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/directory"
)

// presence has a hub's upstream told of who comes and leaves. When it isn't known now
// what the tenant wants, it is told later, by whatever edge.
func (e *Edge) presence(t tenants.ID, hub string, news backplane.PresenceEvent, told func()) {
	ctx, cancel := context.WithTimeout(context.Background(), documentTimeout)
	defer cancel()
	doc, err := e.directory.ByID(ctx, t)
	switch {
	case errors.Is(err, directory.ErrNotFound):
		told()
	case err != nil:
		e.log.Debug("news of presence wait", "tenant_id", t, "hub", hub, "error", err)
	default:
		e.hubs.upstreams.Presence(doc, hub, upstream.Presence(news), told)
	}
}
