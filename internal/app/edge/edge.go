package edge

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/backplane"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/quota"
	"github.com/signalbox/signalbox/hubs/rest"
	"github.com/signalbox/signalbox/hubs/serverconn"
	"github.com/signalbox/signalbox/hubs/serverlink"
	"github.com/signalbox/signalbox/hubs/transport"
	"github.com/signalbox/signalbox/hubs/upstream"
	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/internal/httpserver"
	"github.com/signalbox/signalbox/internal/outbound"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/telemetry"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/deliveries"
	"github.com/signalbox/signalbox/tenants/directory"
	"github.com/signalbox/signalbox/tenants/jwks"
)

// The times of internal requests.
const (
	dialTimeout     = time.Second
	documentTimeout = 1500 * time.Millisecond
	answerTimeout   = 3 * time.Second // of servers that tenants name
)

// Connections that open at the same time share round trips for the four calls that each
// makes. The next trip begins when none is under way, or connectsApart after the last, up
// to connectTrips at a time.
const (
	connectsApart = 2 * time.Millisecond
	connectTrips  = 4
)

// Edge is the process put together: listening, not yet serving.
type Edge struct {
	cfg Config
	log *slog.Logger
	run string // random per start; names this edge in Redis

	telemetry  *telemetry.Telemetry
	redis      *redis.Client
	connecting *redisclient.Batch // what is asked for those who connect at the same time
	control    *http.Client       // asks the control plane
	bus        *backplane.Redis
	ownership  *backplane.Ownership
	directory  *directory.Directory
	recorder   *usage.Recorder
	limits     *limits
	deliveries *deliveries.Log
	hubs       *registry
	transports *transport.Handler
	ready      *readiness
	crowd      crowd // of REST requests
	hold       *hold
	started    time.Time

	public, admin, internal *httpserver.Server
}

// New puts an edge together and takes its addresses. Redis need not be there
// yet. Close or Run must be called.
func New(ctx context.Context, cfg Config, log *slog.Logger) (_ *Edge, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	e := &Edge{cfg: cfg, run: strings.ToLower(rand.Text()), started: time.Now()}
	e.log = log.With(telemetry.KeyEdgeRun, e.run)
	defer func() {
		if err != nil {
			e.Close()
		}
	}()
	if e.telemetry, err = telemetry.Start(ctx, telemetry.Config{
		Service: "edge", Instance: e.run, Environment: cfg.Environment, OTLPEndpoint: cfg.OTLPEndpoint, Logger: e.log,
	}); err != nil {
		return nil, fmt.Errorf("start telemetry: %w", err)
	}
	f, err := fleet.New(cfg.FleetSecret, cfg.FleetSecretsFormer...)
	if err != nil {
		return nil, err
	}
	if e.redis, err = redisclient.New(cfg.RedisURL, "edge-"+e.run); err != nil {
		return nil, err
	}
	if err := e.shared(f); err != nil {
		return nil, err
	}
	return e, e.listen(ctx, f)
}

// shared makes what all listeners use.
func (e *Edge) shared(f *fleet.Fleet) error {
	e.control = &http.Client{Transport: e.telemetry.Transport(internalTransport(f, documentTimeout)), Timeout: documentTimeout}
	var source directory.Source
	if e.cfg.APIInternalURL != "" {
		source = &directory.APISource{URL: strings.TrimSuffix(e.cfg.APIInternalURL, "/"), Client: e.control}
	}
	servers, err := serverconn.NewPool(serverconn.Config{
		Instance: e.run, Logger: e.log,
		OnChange: func(h pairing.Hub) { e.hubs.presence.Changed(h) },
		Servers:  func(h pairing.Hub) []string { return e.hubs.presence.Servers(h) },
	})
	if err != nil {
		return err
	}
	e.hubs = &registry{log: e.log, tenants: make(map[tenants.ID]*tenantHubs), deleted: make(map[tenants.ID]bool), servers: servers}
	e.hubs.pressure = e.newPressure()
	if e.directory, err = directory.New(directory.Config{
		Redis: e.redis, Fleet: f, Source: source, OnChange: e.hubs.changed, InUse: e.hubs.inUse, Logger: e.log,
		StreamsOnly: e.cfg.StreamsOnly, Name: e.run,
	}); err != nil {
		return err
	}
	e.connecting = redisclient.NewPacedBatch(e.redis, connectsApart, connectTrips)
	e.recorder = usage.NewRecorder(e.redis, e.run, e.log)
	e.limits = newLimits(e.connecting, e.run, e.cfg.IPLimitExempt, e.recorder, e.log)
	metrics, err := telemetry.NewEdgeMetrics(e.telemetry.Meter(), telemetry.EdgeSources{
		Hubs:         e.hubs.count,
		Documents:    e.directory.Len,
		DocumentsAge: e.directory.Age,
		UsagePending: e.recorder.Pending,
	})
	if err != nil {
		return err
	}
	e.hubs.directory = e.directory
	e.limits.use(e.hubs, metrics)
	e.hubs.limits = e.limits
	e.deliveries = deliveries.New(e.redis, e.log)
	e.hubs.upstreams = upstream.NewGateway(upstream.Config{
		Transport: upstream.NewTransport(outbound.Policy{Allowed: e.cfg.OutboundAllow}), Redis: e.redis, Log: e.deliveries, Logger: e.log,
		Refused: e.limits.refused, Limits: e.limits.inForce, Notify: quota.Notify,
		Position: func(t tenants.ID, hub, token string) (hubs.Position, error) {
			return e.hubs.openPosition(t, hub, token)
		},
	})
	if e.bus, err = backplane.New(backplane.Config{
		Presence: e.presence,
		Redis:    e.redis, EdgeRun: e.run, Logger: e.log, StreamsOnly: e.cfg.StreamsOnly,
		OnAccepted: func(a backplane.Accepted) {
			e.recorder.Accepted(a.Tenant, a.Hub, a.Epoch, a.Minute, a.Total, a.Charge)
			e.recorder.Attribute(a.Tenant, a.Minute, a.Charge, usage.About(a.About))
		},
		OnUnheard: func(t tenants.ID, hub string) {
			e.limits.refused(t, hub, codeUnheard)
		},
	}); err != nil {
		return err
	}
	if err := e.bus.Instrument(e.telemetry.Meter()); err != nil {
		return fmt.Errorf("instrument backplane: %w", err)
	}
	e.hubs.bus, e.hubs.recorder, e.hubs.metrics = e.bus, e.recorder, metrics
	e.hubs.budgets = newBudgets(e.redis, e.run, e.recorder, e.hubs, e.log)
	keys, err := jwks.New(jwks.Config{Transport: outbound.NewTransport(outbound.Config{
		Policy: outbound.Policy{Allowed: e.cfg.OutboundAllow}, AnswerTimeout: answerTimeout,
	}), Logger: e.log})
	if err != nil {
		return err
	}
	e.hubs.auth = &authenticator{serviceHosts: e.cfg.ServiceHosts, keys: keys, used: e.recorder.KeyUsed, log: e.log}
	e.ready = &readiness{redis: e.redis, directory: e.directory, held: &e.hubs.held}
	e.hold = newHold(e.hubs, e.cfg.DrainOver, e.log)
	return nil
}

// listen takes the addresses. The internal one comes first: ownership tells it
// to the other edges.
func (e *Edge) listen(ctx context.Context, f *fleet.Fleet) error {
	var err error
	relayed := new(late)
	if e.internal, err = httpserver.Listen(ctx, httpserver.Config{
		Name: "internal", Addr: e.cfg.InternalAddr, Handler: relayed, TLS: f.ServerTLS("edge"), Logger: e.log,
	}); err != nil {
		return err
	}
	address, err := e.cfg.advertised(ctx, e.internal.Addr())
	if err != nil {
		return err
	}
	if e.ownership, err = backplane.NewOwnership(backplane.OwnershipConfig{
		Redis: e.redis, Calls: e.connecting, EdgeRun: e.run, Address: address, Logger: e.log,
		// A poll may take as long as a poll takes before its answer begins.
		Relay: backplane.RelayConfig{Transport: internalTransport(f, 0)},
		Spent: transport.ErrSpent, Gone: transport.ErrOwnerGone, Unsure: transport.ErrUnsure,
	}); err != nil {
		return err
	}
	if err := e.link(f, address); err != nil {
		return err
	}
	public, internal, err := e.handlers(f)
	if err != nil {
		return err
	}
	relayed.Handler = internal
	certificate, err := httpserver.FileTLS(e.cfg.TLSCertFile, e.cfg.TLSKeyFile, e.log)
	if err != nil {
		return err
	}
	if e.public, err = httpserver.Listen(ctx, httpserver.Config{
		Name: "public", Strangers: true, Addr: e.cfg.Addr, Handler: public, Direct: directPath, TLS: certificate, Logger: e.log,
	}); err != nil {
		return err
	}
	e.admin, err = httpserver.Listen(ctx, httpserver.Config{
		Name: "admin", Addr: e.cfg.AdminAddr, Handler: adminHandler(e.ready, e.telemetry.MetricsHandler()),
		ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, Logger: e.log,
	})
	return err
}

// link makes what pairs clients with app servers that are connected to other
// edges; address is where those find this one.
func (e *Edge) link(f *fleet.Fleet, address string) (err error) {
	if e.hubs.presence, err = serverlink.NewRegistry(serverlink.RegistryConfig{
		Redis: e.redis, EdgeRun: e.run, Address: address, Local: e.hubs.servers, Logger: e.log,
		StreamsOnly: e.cfg.StreamsOnly,
	}); err != nil {
		return err
	}
	if e.hubs.pairings, err = serverlink.New(serverlink.Config{
		EdgeRun: e.run, TLS: f.ClientTLS(), Local: e.hubs.servers, Registry: e.hubs.presence, Logger: e.log,
	}); err != nil {
		return err
	}
	if err := e.hubs.pairings.Instrument(e.telemetry.Meter()); err != nil {
		return fmt.Errorf("instrument links: %w", err)
	}
	if err := e.hubs.servers.Instrument(e.telemetry.Meter()); err != nil {
		return fmt.Errorf("instrument server connections: %w", err)
	}
	return nil
}

// late is a handler that is set after its server has its address and before it
// serves.
type late struct{ http.Handler }

// handlers makes what the public and the internal listener serve.
func (e *Edge) handlers(f *fleet.Fleet) (public, internal http.Handler, err error) {
	auth := e.hubs.auth
	tokens, positions := f.Keys(fleet.PurposeConnectionToken), f.Keys(fleet.PurposePosition)
	c := &clients{auth: auth, hubs: e.hubs, limits: e.limits, refused: e.limits.refused}
	if e.transports, err = transport.NewHandler(transport.Options{
		Resolve: c.resolve, TokenKey: tokens[0], FormerTokenKeys: tokens[1:], Ownership: e.ownership, Logger: e.log,
		Refused: c.refusedRequest, Clock: e.ownership.Now,
	}); err != nil {
		return nil, nil, err
	}
	b := &backends{auth: auth, hubs: e.hubs, limits: e.limits, crowd: &e.crowd, refused: e.limits.refused}
	api, err := rest.NewHandler(rest.Config{Scope: b.scope, PositionKey: positions[0], FormerPositionKeys: positions[1:], Logger: e.log})
	if err != nil {
		return nil, nil, err
	}
	e.hubs.position = api.SealPosition
	e.hubs.openPosition = api.OpenPosition
	srv := &servers{auth: auth, hubs: e.hubs, limits: e.limits, refused: e.limits.refused}
	hosts := make(map[string]bool, len(e.cfg.ServiceHosts))
	for _, h := range e.cfg.ServiceHosts {
		hosts[strings.ToLower(h)] = true
	}
	resolve := &resolver{directory: e.directory, serviceHosts: hosts, defaultTenant: e.cfg.DefaultTenant}
	return e.lastAnswers(e.forwarded(e.outer(true, resolve.handler(route(e.transports, srv, bounded(api)))))),
		e.among(e.outer(false, resolve.handler(route(http.HandlerFunc(e.transports.ServeRelayed), http.NotFoundHandler(), http.NotFoundHandler())))), nil
}

// among is what members of the fleet alone ask: links and whose a connection is, how
// the edge is, beside relayed requests. A link is no request to be traced: it lasts as long as
// both edges do.
func (e *Edge) among(relayed http.Handler) http.Handler {
	links := httpserver.Recover(e.log)(e.hubs.pairings)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case serverlink.Path:
			links.ServeHTTP(w, r)
		case backplane.OwnerPath:
			e.ownership.ServeOwner(w, r)
		case fleet.EdgeStatePath:
			e.stateHandler(w, r)
		case fleet.EdgeHoldPath:
			e.holdHandler(w, r)
		default:
			relayed.ServeHTTP(w, r)
		}
	})
}

// route tells the interfaces apart by path.
func route(client, server, api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case clientPath(r.URL.Path):
			client.ServeHTTP(w, r)
		case serverPath(r.URL.Path):
			server.ServeHTTP(w, r)
		case r.URL.Path == "/api" || strings.HasPrefix(r.URL.Path, "/api/"):
			api.ServeHTTP(w, r)
		default:
			telemetry.SetRoute(r.Context(), "/")
			http.Error(w, "There is nothing here. Clients connect at /client/?hub=…, app servers at /server/?hub=…, backends call /api/….", http.StatusNotFound)
		}
	})
}

// forwarded shows requests as callers made them, and refuses those without TLS
// where it is required.
func (e *Edge) forwarded(next http.Handler) http.Handler {
	if e.cfg.RequireHTTPS {
		next = httpserver.RequireHTTPS(func(*http.Request) bool { return false })(next)
	}
	return httpserver.Forwarded(e.cfg.TrustedProxies)(next)
}

// outer is around everything that callers reach; public says that they may be
// strangers, whose traces are not continued.
func (e *Edge) outer(public bool, next http.Handler) http.Handler {
	instrument := e.telemetry.HTTP(telemetry.HTTPOptions{Public: public, Route: httpserver.RoutePattern})
	return httpserver.WithRequestID(httpserver.WithRoutes(instrument(httpserver.Recover(e.log)(next))))
}

// internalTransport calls other processes of the fleet; answer bounds the wait
// for the head of the answer, 0 = not at all.
func internalTransport(f *fleet.Fleet, answer time.Duration) *http.Transport {
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:       f.ClientTLS(),
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: answer,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true, // bodies are passed on as they come
	}
}

// Addr is where clients and backends connect.
func (e *Edge) Addr() string { return e.public.Addr() }

// AdminAddr is where the admin listener is.
func (e *Edge) AdminAddr() string { return e.admin.Addr() }

// InternalAddr is where other edges relay to.
func (e *Edge) InternalAddr() string { return e.internal.Addr() }

// Close releases everything at once. After Run it does nothing.
func (e *Edge) Close() {
	expired, cancel := context.WithCancel(context.Background())
	cancel()
	for _, s := range []*httpserver.Server{e.public, e.internal, e.admin} {
		if s != nil {
			_ = s.Shutdown(expired) // closes what is left
		}
	}
	if e.hubs != nil {
		e.hubs.close(expired)
		e.hubs.servers.Close()
		if e.hubs.upstreams != nil {
			_ = e.hubs.upstreams.Close(expired) // what wasn't told by now isn't
		}
	}
	if e.transports != nil {
		e.transports.Wait()
	}
	if e.ownership != nil {
		e.ownership.Close()
	}
	if e.bus != nil {
		e.bus.Close()
	}
	if e.telemetry != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := e.telemetry.Shutdown(ctx); err != nil {
			e.log.Warn("telemetry not flushed", "error", err)
		}
	}
	if e.redis != nil {
		if err := e.redis.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
			e.log.Warn("redis not closed", "error", err)
		}
	}
}

// LogRedis sends what the Redis library says by itself to log. It is for main,
// once, before New: the library has one logger per process.
func LogRedis(log *slog.Logger) { redisclient.LogTo(log) }
