package edge

import (
	"context"
	"errors"

	"github.com/signalbox/signalbox/hubs/backplane"
	"github.com/signalbox/signalbox/hubs/upstream"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/directory"
)

// presence is how a hub's upstream is told of who comes and leaves. When it isn't known
// now what the tenant wants, it is told later, by whatever edge.
func (e *Edge) presence(ctx context.Context, t tenants.ID, hub string) (func(backplane.PresenceEvent, func()), error) {
	ctx, cancel := context.WithTimeout(ctx, documentTimeout)
	defer cancel()
	doc, err := e.directory.ByID(ctx, t)
	switch {
	case errors.Is(err, directory.ErrNotFound):
		return func(_ backplane.PresenceEvent, told func()) { told() }, nil
	case err != nil:
		return nil, err
	}
	return func(news backplane.PresenceEvent, told func()) {
		e.hubs.upstreams.Presence(doc, hub, upstream.Presence(news), told)
	}, nil
}
