package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/backplane"
	"github.com/signalbox/signalbox/hubs/clientmethods"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/quota"
	"github.com/signalbox/signalbox/hubs/serverconn"
	"github.com/signalbox/signalbox/hubs/serverlink"
	"github.com/signalbox/signalbox/hubs/upstream"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/telemetry"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/directory"
	"github.com/signalbox/signalbox/tenants/permissions"
)

const (
	// hubIdle is when a hub without connections is dropped from memory; it is
	// longer than the hub stays subscribed.
	hubIdle = 2 * time.Minute
	// nameIdle is when a hub that has no settings and isn't used stops counting
	// against the tenant's limit on this edge.
	nameIdle   = time.Hour
	sweepEvery = 30 * time.Second
)

// errDraining refuses connections to an edge that is going away.
var errDraining = errors.New("the edge is draining")

// hubLimitError refuses the use of one more hub.
type hubLimitError struct{ fault.Limit }

func (e *hubLimitError) Error() string { return e.String() }

func noMoreHubs(l *tenants.Limits) *hubLimitError {
	row, _ := tenants.Row("max_hubs")
	return &hubLimitError{row.Refusal(l, 0)}
}

// registry has the hubs that this edge serves, by tenant. Hubs are made on first
// use and dropped when idle.
type registry struct {
	bus       *backplane.Redis
	directory *directory.Directory
	limits    *limits
	servers   *serverconn.Pool     // app servers that are connected here
	pairings  *serverlink.Fleet    // pairs clients with app servers anywhere
	presence  *serverlink.Registry // which hubs have app servers
	recorder  *usage.Recorder
	budgets   *budgets
	upstreams *upstream.Gateway
	metrics   *telemetry.EdgeMetrics
	auth      *authenticator
	// position makes the token of a position, see rest.Handler.SealPosition.
	position func(t tenants.ID, hub string, p hubs.Position) string
	// openPosition undoes it, see rest.Handler.OpenPosition.
	openPosition func(t tenants.ID, hub, token string) (hubs.Position, error)
	log          *slog.Logger

	mu       sync.Mutex
	draining bool
	cutOff   atomic.Bool // Redis is away for this edge alone
	held     atomic.Bool // by an operator, until it is released
	pressure *pressure   // of memory
	tenants  map[tenants.ID]*tenantHubs
	keyEnds  map[tenants.ID]*time.Timer // of the next key that stops being good
	ending   sync.WaitGroup             // of what timers have begun
	graces   map[tenants.ID]*time.Timer // of the end of a smaller plan's grace
	deleted  map[tenants.ID]bool        // tenants whose hubs shall go
	ended    bool                       // nothing more begins
}

// tenantHubs are a tenant's hubs on this edge.
type tenantHubs struct {
	served map[string]*servedHub
	// implicit are the hubs without settings of their own that are in use, with
	// the time of the last use.
	implicit map[string]time.Time
	share    *hubs.Share  // of the edge's writers
	calls    atomic.Int64 // invocations of its clients that are under way
}

// servedHub is a hub with its runtime.
type servedHub struct {
	server *hubs.Server
	share  *hubs.Share // the tenant's
	meter  *meter
	// memberships are those of its connections.
	memberships *quota.HubMemberships
	handlers    *handlers
	keeper      *gate
	// upstream handles clients of a hub that no app server handles.
	upstream *upstream.Dispatcher
	// permissions are what the hub's settings let every client do.
	permissions atomic.Pointer[permissions.Set]
	used        time.Time // guarded by registry.mu
}

// allowed returns a *hubLimitError when the tenant may not use one more hub.
func (g *registry) allowed(t *tenants.Document, hub string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tenant(t.ID).allow(t, hub, time.Now())
}

// allow notes the use of a hub. Settings in the document make a hub allowed; of
// others there may be as many as the limit leaves.
func (th *tenantHubs) allow(t *tenants.Document, hub string, now time.Time) error {
	if _, configured := t.Hubs[hub]; configured {
		return nil
	}
	in := t.LimitsAt(now)
	if _, known := th.implicit[hub]; !known && len(t.Hubs)+len(th.implicit) >= in.MaxHubs {
		return noMoreHubs(in)
	}
	th.implicit[hub] = now
	return nil
}

// uses reports whether the hub is one of the tenant's: it has settings, or is in
// use here.
func (g *registry) uses(t *tenants.Document, hub string) bool {
	if _, configured := t.Hubs[hub]; configured {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	th := g.tenants[t.ID]
	if th == nil {
		return false
	}
	_, known := th.implicit[hub]
	return known
}

// tenant returns the tenant's entry; g.mu is held.
func (g *registry) tenant(id tenants.ID) *tenantHubs {
	th := g.tenants[id]
	if th == nil {
		th = &tenantHubs{served: make(map[string]*servedHub), implicit: make(map[string]time.Time), share: hubs.NewShare(1)}
		g.tenants[id] = th
	}
	return th
}

// get returns a hub, made if it isn't served yet.
func (g *registry) get(t *tenants.Document, hub string) (*servedHub, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	th := g.tenant(t.ID)
	if err := th.allow(t, hub, now); err != nil {
		return nil, err
	}
	if s := th.served[hub]; s != nil {
		s.used = now
		return s, nil
	}
	if g.draining {
		return nil, errDraining
	}
	t = g.current(t)
	th.share.SetWeight(shareWeight(g.inForce(t)))
	m := g.newMeter(t.ID, hub)
	s := &servedHub{meter: m, used: now, share: th.share}
	s.memberships = g.limits.memberships.Hub(t.ID, func() int { return g.inForce(t).MaxMemberships })
	s.upstream = g.upstreams.Hub(t.ID, hub, func() *tenants.Document { return g.current(t) })
	s.handlers = newHandlers(pairing.Hub{Tenant: t.ID, Name: hub}, fleetServers{g.pairings, g.presence},
		func() tenants.Handler { return g.current(t).Hubs[hub].WithDefaults().Handler }, m.Refused, g.log.With(telemetry.KeyTenant, t.ID))
	s.allow(t, hub)
	seal := func(p hubs.Position) string { return g.position(t.ID, hub, p) }
	s.keeper = &gate{registry: g, tenant: t.ID}
	s.keeper.closes.Store(t.Hubs[hub].CloseOnExpiry)
	server, err := hubs.NewServer(hubs.Config{
		Name:    hub,
		Options: options(t, hub),
		Filters: []hubs.Filter{
			s.keeper,
			s.handlers,
			&budgetFilter{budgets: g.budgets, current: func() *tenants.Document { return g.current(t) }, refused: m.Refused},
			&callGate{underWay: &th.calls, limits: func() *tenants.Limits { return g.inForce(t) }, short: g.pressure.short, refused: m.Refused},
			g.quotaFilter(t, hub, m),
			&clientmethods.Filter{Config: clientmethods.Config{
				Allowed: s.allowed, Refresh: s.keeper.refresh, Refused: m.Refused,
				SealPosition: seal,
				OpenPosition: func(token string) (hubs.Position, error) { return g.openPosition(t.ID, hub, token) },
				PresenceLimits: func() (members, stateBytes int) {
					l := g.inForce(t).Presence()
					return l.Members, l.StateBytes
				},
				Publish: func(ctx context.Context, group string) error {
					return g.limits.publish(ctx, t.ID, hub, g.inForce(t), []string{group})
				},
			}},
		},
		Dispatcher: s.upstream,
		Handle:     s.handlers.handle,
		Backplane:  g.backplane(t, hub),
		Meter:      m,
		Share:      th.share,

		Memberships:   s.memberships,
		Logger:        g.log.With(telemetry.KeyTenant, t.ID),
		PositionToken: seal,
		LimitText:     limitText,
	})
	if err != nil {
		s.upstream.Close()
		s.memberships.Close()
		m.usage.Close()
		return nil, fmt.Errorf("make hub: %w", err)
	}
	s.server = server
	s.handlers.start(server)
	th.served[hub] = s
	g.watch(t)
	g.watchGrace(t)
	return s, nil
}

// current returns the newest document of a tenant that this edge knows.
func (g *registry) current(t *tenants.Document) *tenants.Document {
	if newest, ok := g.directory.Cached(t.ID); ok && newest.Revision > t.Revision {
		return newest
	}
	return t
}

// backplane returns that of a hub, with the settings in force.
func (g *registry) backplane(t *tenants.Document, hub string) hubs.Backplane {
	return g.bus.HubWith(t.ID, hub, func() backplane.Settings { return settings(g.current(t), hub) })
}

// inForce are the limits that count now.
func (g *registry) inForce(t *tenants.Document) *tenants.Limits {
	return g.current(t).LimitsAt(time.Now())
}

// quotaFilter is what charges the invocations of a hub's clients.
func (g *registry) quotaFilter(t *tenants.Document, hub string, m *meter) *quota.Filter {
	return &quota.Filter{
		Messages: g.limits.messages, Figures: g.limits.figures, Tenant: t.ID,
		Limits: func() *tenants.Limits { return g.inForce(t) },
		Method: func(name string) (tenants.MethodRate, bool) {
			rate, ok := g.current(t).Hubs[hub].MethodRates[name]
			return rate, ok
		},
		Refused:  m.Refused,
		Forced:   forced,
		Offended: func(c *hubs.Connection, _ *quota.Refusal) { g.offended(t, c) },
	}
}

// limitText words the Close message of a connection that a limit ends.
func limitText(connection, code string, limit int) string {
	row, ok := tenants.RowOfCode(code)
	if !ok {
		return code
	}
	refusal := row.RefusalAt(limit, 0, 0)
	refusal.RequestID = connection
	return refusal.String()
}

// offended keeps out who has to be closed, for a while.
func (g *registry) offended(t *tenants.Document, c *hubs.Connection) {
	by := who(c.Info().RemoteAddress, c.User())
	go func() {
		if err := g.limits.figures.Offend(context.Background(), t.ID, by); err != nil {
			g.log.Warn("offence not counted", "tenant_id", t.ID, "error", err)
		}
	}()
}

// backplaneBy is backplane for a backend or an app server with a key.
func (g *registry) backplaneBy(t *tenants.Document, hub, key string) hubs.Backplane {
	return g.bus.HubBy(t.ID, hub, func() backplane.Settings { return settings(g.current(t), hub) }, backplane.Sender{Key: key})
}

// inUse reports whether the tenant has hubs or app servers here; its document must
// stay known.
func (g *registry) inUse(id tenants.ID) bool {
	if g.servers.InUse(id) {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	th := g.tenants[id]
	return th != nil && len(th.served) > 0
}

// count is how many hubs are served.
func (g *registry) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, th := range g.tenants {
		n += len(th.served)
	}
	return n
}

// of returns the hubs of a tenant by name.
func (g *registry) of(id tenants.ID) map[string]*servedHub {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make(map[string]*servedHub)
	if th := g.tenants[id]; th != nil {
		for name, s := range th.served {
			list[name] = s
		}
	}
	return list
}

// run drops what is idle until ctx is done.
func (g *registry) run(ctx context.Context) error {
	tick, soon := time.NewTicker(sweepEvery), time.NewTicker(deletedEvery)
	defer tick.Stop()
	defer soon.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			for _, s := range g.takeIdle(now) {
				g.end(ctx, s)
			}
		case <-soon.C:
			for _, s := range g.takeDeleted() {
				g.end(ctx, s)
			}
		}
	}
}

// takeIdle removes idle hubs and names and returns the hubs.
func (g *registry) takeIdle(now time.Time) []*servedHub {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining {
		return nil
	}
	var idle []*servedHub
	for id, th := range g.tenants {
		for name, s := range th.served {
			if s.server.IdleFor() >= hubIdle && now.Sub(s.used) >= hubIdle {
				idle = append(idle, s)
				delete(th.served, name)
			}
		}
		for name, used := range th.implicit {
			if _, served := th.served[name]; !served && now.Sub(used) >= nameIdle && !g.servers.Connected(pairing.Hub{Tenant: id, Name: name}) {
				delete(th.implicit, name)
			}
		}
		if len(th.served) == 0 && len(th.implicit) == 0 {
			delete(g.tenants, id)
		}
	}
	return idle
}

// end ends one hub; ctx bounds what it still has to tell the others.
func (g *registry) end(ctx context.Context, s *servedHub) {
	if err := s.server.CloseBy(ctx); err != nil {
		g.log.Warn("hub not closed cleanly", "error", err)
	}
	s.handlers.stop()
	s.upstream.Close()
	s.memberships.Close()
	s.meter.usage.Close()
}

// drain closes all connections over a time, asking their clients to reconnect,
// and waits until they are gone or ctx ends. New ones are refused from now on;
// requests of those that are there go on.
func (g *registry) drain(ctx context.Context, over time.Duration) error {
	g.mu.Lock()
	g.draining = true
	g.mu.Unlock()
	return hubs.Drain(ctx, over, g.hubServers()...)
}

// admits returns an error while no new connection is taken.
func (g *registry) admits() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.draining, g.held.Load():
		return errDraining
	case g.cutOff.Load():
		return errCutOff
	case g.pressure.short():
		return errMemory
	}
	return nil
}

// hubServers are those that serve clients now.
func (g *registry) hubServers() (all []*hubs.Server) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, th := range g.tenants {
		for _, s := range th.served {
			all = append(all, s.server)
		}
	}
	return all
}

// close ends what drain has left, all at once. ctx bounds what the hubs still have to
// tell other edges.
func (g *registry) close(ctx context.Context) {
	g.mu.Lock()
	g.draining, g.ended = true, true
	for _, timers := range []map[tenants.ID]*time.Timer{g.keyEnds, g.graces} {
		for _, timer := range timers {
			timer.Stop()
		}
	}
	all := g.tenants
	g.tenants = make(map[tenants.ID]*tenantHubs)
	g.mu.Unlock()
	g.ending.Wait()
	var ending sync.WaitGroup
	for _, th := range all {
		for _, s := range th.served {
			ending.Go(func() { g.end(ctx, s) })
		}
	}
	ending.Wait()
}

// shareWeight is what a tenant may write beside others while an edge has more to
// write than it can: a plan that may send more gets more, but nowhere near in
// proportion.
func shareWeight(l *tenants.Limits) int {
	switch {
	case l.MessagesPerSecond >= 10_000:
		return 4
	case l.MessagesPerSecond >= 1_000:
		return 2
	}
	return 1
}

// options are a hub's settings for its runtime. A limit of 0 allows nothing,
// where 0 would mean a default.
func options(t *tenants.Document, hub string) hubs.Options {
	s, l := t.Hubs[hub], t.LimitsAt(time.Now())
	return hubs.Options{
		TellGaps:                  s.Gaps == tenants.TellGaps,
		KeepAliveInterval:         time.Duration(s.KeepAliveSeconds) * time.Second,
		ClientTimeoutInterval:     time.Duration(s.ClientTimeoutSeconds) * time.Second,
		MaximumReceiveMessageSize: max(1, l.MaxMessageBytes),
		MaximumGroups:             max(1, l.MaxGroupsPerConn),
		MaximumOpenStreams:        max(1, l.MaxOpenStreams),
		OutboundBytes:             max(1, l.OutboundQueueBytes),
		ReceiveBytesPerSecond:     max(1, l.BytesPerSecond),
		ReceiveBytesBurst:         l.ByteBurst,

		StatefulReconnectWindow:     min(time.Duration(l.ResumeWindowSeconds)*time.Second, maxResumeWindow),
		StatefulReconnectBufferSize: min(l.ResumeBufferBytes, maxResumeBuffer),
	}
}

// What a connection may cost an edge while its client is away, whatever a
// tenant's limits say.
const (
	maxResumeWindow = 2 * time.Minute
	maxResumeBuffer = 1 << 20
)

// resumable reports whether the tenant's clients may use stateful reconnect.
func resumable(l *tenants.Limits) bool {
	return l.ResumeWindowSeconds > 0 && l.ResumeBufferBytes > 0
}

// settings are a hub's settings for the backplane.
func settings(t *tenants.Document, hub string) backplane.Settings {
	h, l := t.Hubs[hub].History, t.LimitsAt(time.Now())
	s := backplane.Settings{
		RetentionSeconds: l.RetentionSeconds, IdempotencySeconds: l.IdempotencySeconds,
		Messages: h.Messages, Bytes: h.Bytes, GroupIndex: h.GroupIndex, TenantBytes: int64(l.HistoryBytes),
		Weight: shareWeight(l), PresenceEvents: t.Hubs[hub].Upstream.Presence(hub),
	}
	if p, several := t.Partitioned[hub]; several {
		s.Partitions = backplane.Partitions{Generation: p.Generation, Count: p.Count}
	}
	if h.Seconds > 0 {
		s.RetentionSeconds = min(h.Seconds, max(l.RetentionSeconds, tenants.MinHistorySeconds))
	}
	return s
}
