package edge

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/serverlink"
	"github.com/signalbox/signalbox/tenants"
)

// appServers are the app servers of all tenants, wherever in the fleet they are
// connected.
type appServers interface {
	pairing.Opener
	// Presence tells whether a hub has app servers that take clients.
	Presence(ctx context.Context, hub pairing.Hub) (serverlink.Presence, error)
	// Follow has first called whenever a hub gets its first one.
	Follow(hub pairing.Hub, first func()) (leave func())
}

// fleetServers are the real ones.
type fleetServers struct {
	*serverlink.Fleet
	*serverlink.Registry
}

var _ appServers = fleetServers{}

const (
	codeServersUnknown = "app_servers_unknown"
	textServersUnknown = codeServersUnknown + ": The service can't tell now whether an app server is connected. Connect again."
	codeHandlerChanged = "handler_changed"
	// reasonOtherHandler is why clients are closed that are served by who should no
	// longer serve them.
	reasonOtherHandler = codeHandlerChanged + ": Something else handles this hub's clients now. Connect again."
	// knownWithin bounds how long a handshake is held while it isn't known which app
	// servers there are, and askAgain is the pause between two looks: clients that
	// don't reconnect by themselves give up for good when they are refused.
	knownWithin = 12 * time.Second
	askAgain    = 200 * time.Millisecond
	// handOver is the time over which such clients are closed, so that they don't all
	// come back at once.
	handOver = 2 * time.Second
)

// handlers says for each client of a hub who handles it: one of the tenant's app
// servers, or the edge itself, which knows upstreams and hubs that nobody handles.
// It is the hub filter, too, that lets nobody stay with the wrong one.
type handlers struct {
	hubs.PassFilter
	hub     pairing.Hub
	apps    appServers
	proxy   *pairing.Proxy
	setting func() tenants.Handler // as it is now
	refused func(code string)
	log     *slog.Logger
	server  *hubs.Server // set before there are clients
	leave   func()       // ends following

	mu      sync.Mutex
	stopped bool
	work    sync.WaitGroup // changes
}

// proxiedKey marks the clients of app servers.
type proxiedKey struct{}

// newHandlers returns the choice for one hub; start and stop must be called.
func newHandlers(hub pairing.Hub, apps appServers, setting func() tenants.Handler, refused func(string), log *slog.Logger) *handlers {
	return &handlers{
		hub: hub, apps: apps, setting: setting, refused: refused, log: log,
		proxy: pairing.NewProxy(pairing.Config{Hub: hub, Opener: apps, Refused: refused, Logger: log}),
	}
}

// start begins to serve the clients of s.
func (h *handlers) start(s *hubs.Server) {
	h.server = s
	h.leave = h.apps.Follow(h.hub, h.settle)
}

// stop ends what start began, once s is closed.
func (h *handlers) stop() {
	h.leave()
	h.mu.Lock()
	h.stopped = true
	h.mu.Unlock()
	h.work.Wait()
	h.proxy.Wait()
}

// changed puts a new setting in force. It doesn't block.
func (h *handlers) changed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.stopped {
		h.work.Go(h.settle)
	}
}

// handle is the hub's hubs.Config.Handle. It takes as long as it is not known which
// app servers the hub has, but leaves time for an answer.
func (h *handlers) handle(ctx context.Context, c *hubs.Connection, _ hubs.Opening) (hubs.Handler, error) {
	setting := h.setting()
	if setting == tenants.HandlerBroadcast || setting == tenants.HandlerUpstream {
		return hubs.Handler{}, nil
	}
	p, err := h.presence(ctx)
	if err != nil {
		h.log.WarnContext(ctx, "app servers of a hub are not known", "hub", h.hub.Name, "error", err)
		h.refused(codeServersUnknown)
		return hubs.Handler{}, hubs.NewError(textServersUnknown)
	}
	if setting == tenants.HandlerAuto {
		switch {
		case p.Now:
		case p.Recently:
			// A hub whose app servers are being restarted doesn't lose its methods.
			return hubs.Handler{}, h.proxy.NoServer()
		default:
			return hubs.Handler{}, nil
		}
	}
	c.SetValue(proxiedKey{}, true)
	return hubs.Handler{Proxy: h.proxy}, nil
}

// presence is what is known of the hub's app servers, as soon as something is.
func (h *handlers) presence(ctx context.Context) (serverlink.Presence, error) {
	p, err := h.apps.Presence(ctx, h.hub)
	if err == nil {
		return p, nil // as a rule
	}
	patience := knownWithin
	if end, bounded := ctx.Deadline(); bounded {
		patience = min(patience, time.Until(end)*4/5)
	}
	over := time.NewTimer(patience)
	defer over.Stop()
	for err != nil {
		select {
		case <-time.After(askAgain):
		case <-over.C:
			return p, err
		case <-ctx.Done():
			return p, err
		}
		p, err = h.apps.Presence(ctx, h.hub)
	}
	return p, nil
}

// OnConnected looks once more. The connection is in the hub by now: either this
// sees a change, or settle sees the connection.
func (h *handlers) OnConnected(ctx context.Context, c *hubs.Connection, next func(context.Context) error) error {
	if wrong := h.wrong(ctx); wrong(c) {
		h.close(c)
		return nil
	}
	return next(ctx)
}

// wrong returns what tells clients that are with the wrong handler now.
func (h *handlers) wrong(ctx context.Context) func(*hubs.Connection) bool {
	setting, present := h.setting(), false
	if setting == tenants.HandlerAuto {
		p, err := h.apps.Presence(ctx, h.hub)
		present = err == nil && p.Now
	}
	return func(c *hubs.Connection) bool {
		proxied := c.Value(proxiedKey{}) != nil
		switch setting {
		case tenants.HandlerBroadcast, tenants.HandlerUpstream:
			return proxied
		case tenants.HandlerAppServer:
			return !proxied
		}
		return !proxied && present // those of app servers stay for as long as they have one
	}
}

// close asks a client to come back to another handler.
func (h *handlers) close(c *hubs.Connection) {
	if c.Context().Err() == nil {
		h.refused(codeHandlerChanged)
		c.Close(reasonOtherHandler, true)
	}
}

// presenceWithin bounds settle's question, whose answer is known as a rule.
const presenceWithin = 5 * time.Second

// settle closes the clients that are with the wrong handler, with leave to
// reconnect: after a change of the settings, and when the hub gets an app server.
func (h *handlers) settle() {
	ctx, cancel := context.WithTimeout(context.Background(), presenceWithin)
	defer cancel()
	wrong := h.wrong(ctx)
	var list []*hubs.Connection
	h.server.Each(func(c *hubs.Connection) {
		if wrong(c) {
			list = append(list, c)
		}
	})
	for i, c := range list {
		time.AfterFunc(handOver*time.Duration(i)/time.Duration(len(list)), func() { h.close(c) })
	}
	if len(list) > 0 {
		h.log.Info("clients get another handler", "hub", h.hub.Name, "count", len(list))
	}
}
