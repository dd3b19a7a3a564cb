package upstream

import (
	"context"
	"errors"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/tenants"
)

// Dispatcher serves the clients of one hub with its upstream. The settings in
// force when something happens count, so that a change needs no new connections.
// While the hub has no upstream, or is set to broadcast only, clients only listen.
type Dispatcher struct {
	g         *Gateway
	tenant    *tenant
	hub       string
	document  func() *tenants.Document
	listeners hubs.Dispatcher // for the time without an upstream
}

var (
	_ hubs.Dispatcher = (*Dispatcher)(nil)
	_ hubs.Busy       = (*Dispatcher)(nil)
)

// Hub returns the Dispatcher of a tenant's hub. document returns what is known of
// the tenant now. Close must be called.
func (g *Gateway) Hub(t tenants.ID, hub string, document func() *tenants.Document) *Dispatcher {
	return &Dispatcher{g: g, tenant: g.tenantOf(t), hub: hub, document: document, listeners: hubs.BroadcastOnly(hub)}
}

// Close gives up what the Dispatcher shares with others. Its connections must
// have ended.
func (d *Dispatcher) Close() { d.g.leave(d.tenant) }

// now is what is in force for one request.
type now struct {
	doc      *tenants.Document
	upstream tenants.Upstream // with defaults; without rules when there is none
}

func (d *Dispatcher) now() now {
	doc := d.document()
	n := now{doc: doc}
	if s := doc.Hubs[d.hub].WithDefaults(); s.Upstream.Set() && (s.Handler == tenants.HandlerAuto || s.Handler == tenants.HandlerUpstream) {
		n.upstream = *s.Upstream
	}
	n.upstream = n.upstream.WithDefaults()
	return n
}

// timeout bounds one request.
func (n *now) timeout() time.Duration { return time.Duration(n.upstream.TimeoutSeconds) * time.Second }

// target finds the URL for an event; it reports false when no rule matches.
func (d *Dispatcher) target(n *now, category, event string) (url string, ok bool) {
	rule, ok := n.upstream.Match(d.hub, category, event)
	if !ok {
		return "", false
	}
	return rule.Expand(d.hub, category, event)
}

// sessionKey is where a connection keeps its session.
type sessionKey struct{}

func sessionOf(c *hubs.Connection) *session {
	s, _ := c.Value(sessionKey{}).(*session)
	return s
}

// Connected implements hubs.Dispatcher: the upstream is told before the client's
// first message. In the native mode it may refuse the connection by 401 or 403.
func (d *Dispatcher) Connected(ctx context.Context, c *hubs.Connection) error {
	s := newSession(d, c)
	c.SetValue(sessionKey{}, s)
	n := d.now()
	url, ok := d.target(&n, tenants.CategoryConnections, tenants.EventConnected)
	if !ok {
		return nil
	}
	if n.upstream.Mode == tenants.UpstreamNative {
		return s.connectedNative(ctx, &n, url)
	}
	p := s.azurePost(&n, tenants.CategoryConnections, tenants.EventConnected, url)
	p.body, p.limit = []byte(`{"type":10}`), maxEventResponse
	p.header.Set("Content-Type", jsonType)
	d.tenant.send(ctx, p) //nolint:errcheck // counted and logged; the emulator goes on, too
	return nil
}

// Message implements hubs.Dispatcher.
func (d *Dispatcher) Message(ctx context.Context, c *hubs.Connection, m *protocol.Message) error {
	s := sessionOf(c)
	if s == nil {
		return errNoSession
	}
	switch m.Type {
	case protocol.Invocation, protocol.StreamInvocation:
		if n := d.now(); !n.upstream.Set() {
			return d.listeners.Message(ctx, c, m)
		}
		s.accept(ctx, m)
	case protocol.StreamItem:
		s.item(ctx, m)
	case protocol.Completion:
		s.endUpload(m)
	case protocol.CancelInvocation:
		s.cancelCall(m.InvocationID)
	}
	return nil
}

var errNoSession = errors.New("upstream: a message of a connection that was not connected")

// Busy implements hubs.Busy.
func (d *Dispatcher) Busy(c *hubs.Connection) bool {
	s := sessionOf(c)
	return s != nil && s.busy()
}

// Disconnected implements hubs.Dispatcher. What a client has sent before it left
// in the orderly way is still posted, for a while.
func (d *Dispatcher) Disconnected(_ context.Context, c *hubs.Connection, cause error) {
	s := sessionOf(c)
	if s == nil {
		return
	}
	s.end(cause)
	n := d.now()
	if n.doc.Status == tenants.Deleted {
		return
	}
	url, ok := d.target(&n, tenants.CategoryConnections, tenants.EventDisconnected)
	if !ok {
		return
	}
	if n.upstream.Mode == tenants.UpstreamNative {
		s.disconnectedNative(&n, url, endText(cause))
		return
	}
	p := s.azurePost(&n, tenants.CategoryConnections, tenants.EventDisconnected, url)
	p.body, p.limit = azureDisconnected(endText(cause)), maxEventResponse
	p.header.Set("Content-Type", jsonType)
	d.tenant.events.add(&event{post: p})
}

// endText says why a connection ended, in words that may be shown; "" when the
// client left in the orderly way.
func endText(cause error) string {
	if cause == nil {
		return ""
	}
	var shown *hubs.Error
	if errors.As(cause, &shown) {
		return shown.Error()
	}
	for _, known := range []error{hubs.ErrClientTimeout, hubs.ErrSlowConsumer, hubs.ErrServerClosed, hubs.ErrClosedByServer} {
		if errors.Is(cause, known) {
			return known.Error()
		}
	}
	return "the connection was lost"
}
