package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/go-chi/chi/v5"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/signalbox/signalbox/adminapi"
	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/billing/billingstore"
	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/hubs/backplane"
	"github.com/signalbox/signalbox/hubs/quota"
	"github.com/signalbox/signalbox/hubs/upstream"
	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/internal/httpserver"
	"github.com/signalbox/signalbox/internal/outbound"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/scope"
	"github.com/signalbox/signalbox/internal/telemetry"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/deliveries"
	"github.com/signalbox/signalbox/tenants/directory"
	"github.com/signalbox/signalbox/tenants/jwks"
	"github.com/signalbox/signalbox/tenants/openid"
	"github.com/signalbox/signalbox/tenants/tenantstore"
	"github.com/signalbox/signalbox/web"
)

const (
	requestTimeout  = 30 * time.Second // whole request, and whole answer
	shutdownTimeout = 15 * time.Second
	readPatience    = 3 * time.Second  // of a request that only reads
	changePatience  = 15 * time.Second // of others, which may ask a tenant's server
	readyTimeout    = 2 * time.Second
)

// Serve runs the control plane until ctx ends; then it finishes what is under
// way. Mails of a development server are printed to console.
func Serve(ctx context.Context, c Config, logger *slog.Logger, console io.Writer) error {
	signals, err := telemetry.Start(ctx, telemetry.Config{Service: "api", OTLPEndpoint: c.OTLPEndpoint, Logger: logger})
	if err != nil {
		return fmt.Errorf("start telemetry: %w", err)
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := signals.Shutdown(stop); err != nil {
			logger.Warn("telemetry not flushed", "error", err)
		}
	}()
	a, err := open(ctx, c, logger, console, signals)
	if err != nil {
		return err
	}
	defer a.close()
	return a.run(ctx)
}

// app is the assembled control plane.
type app struct {
	core      *core
	redis     *redis.Client
	documents *documents
	figures   *quota.Figures // of what is refused here; the rest is the edges'
	live      *live
	collector *usage.Collector
	sweeper   *usage.Sweeper
	spending  *spending
	ledger    *billingstore.Store
	jobs      jobs
	servers   []*httpserver.Server
	logger    *slog.Logger
}

// jobs is the part of the queue's client that is used here.
type jobs interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
}

// open connects, migrates and listens.
func open(ctx context.Context, c Config, logger *slog.Logger, console io.Writer, signals *telemetry.Telemetry) (_ *app, err error) {
	a := &app{logger: logger}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	secrets, err := fleet.New(c.FleetSecret, c.FleetSecretsFormer...)
	if err != nil {
		return nil, fmt.Errorf("read fleet secret: %w", err)
	}
	if a.redis, err = redisclient.New(c.RedisURL, "signalbox-api"); err != nil {
		return nil, fmt.Errorf("open Redis: %w", err)
	}
	a.documents = &documents{publisher: directory.NewPublisher(a.redis, secrets), fleet: secrets, redis: a.redis, logger: logger}
	if a.documents.failed, err = signals.Meter().Int64Counter("signalbox.documents.unpublished", metric.WithUnit("{document}"),
		metric.WithDescription("Tenant documents that could not be published; edges go on with those before.")); err != nil {
		return nil, fmt.Errorf("make counter: %w", err)
	}
	a.figures = quota.NewFigures(a.redis, "api-"+rand.Text(), logger)
	to, err := a.reach(c, logger)
	if err != nil {
		return nil, err
	}
	if a.core, err = openCore(ctx, c, logger, otelpgx.NewTracer(otelpgx.WithTracerProvider(signals.TracerProvider())), to); err != nil {
		return nil, err
	}
	a.documents.service = a.core.service
	ledger := billingstore.New(a.core.pool)
	money := billing.NewService(ledger, nil)
	if a.live, err = newLive(a.core.service, money, signals.Transport(nil), signals.Meter(), logger); err != nil {
		return nil, err
	}
	a.spending = newSpending(a.core.service, money, a.redis, logger)
	a.documents.budgeted = a.spending.changed
	used := func(ctx context.Context, ids []tenants.ID) {
		a.live.changed(ctx, ids)
		a.spending.changed(ctx, ids)
	}
	a.collector, err = usage.NewCollector(usage.CollectorConfig{
		Redis: a.redis, Ledger: ledger, Name: "api-" + rand.Text(), OnCommit: used, Logger: logger,
	})
	if err != nil {
		return nil, fmt.Errorf("make usage collector: %w", err)
	}
	a.ledger, a.sweeper = ledger, usage.NewSweeper(a.redis, ledger, used, logger)
	send, err := newSender(c, console)
	if err != nil {
		return nil, err
	}
	sweep := func(ctx context.Context, t tenants.ID) error {
		return usage.NewSweeper(a.redis, ledger, nil, logger).SweepTenant(ctx, t)
	}
	purge := &purgeWorker{purger: purger{redis: a.redis}, sweep: sweep, times: cmp.Or(c.purge, usualPurge), publish: a.documents.publish, purged: a.core.service.Purged}
	if a.jobs, err = newJobs(a.core, ledger, purge, a.documents.publish, send, c.Dev, logger); err != nil {
		return nil, err
	}
	keys, err := jwks.New(jwks.Config{Transport: outbound.NewTransport(outbound.Config{Policy: outbound.Policy{Allowed: c.OutboundAllow}}), Logger: logger})
	if err != nil {
		return nil, err
	}
	figures := func(ctx context.Context, t tenants.ID) (map[string]adminapi.LimitFigures, error) {
		counted, err := quota.ReadFigures(ctx, a.redis, t, time.Now())
		figures := make(map[string]adminapi.LimitFigures, len(counted))
		for name, f := range counted {
			figures[name] = adminapi.LimitFigures(f)
		}
		return figures, err
	}
	public, err := adminapi.New(adminapi.Config{
		Tenants: a.core.service, Billing: money,
		Sessions: tenantstore.NewSessions(a.core.pool), Keys: keys,
		OpenID: openIDOf(c), OpenIDName: c.OIDCName,
		StreamBytes:  func(ctx context.Context, t tenants.ID) (int64, error) { return backplane.StreamBytes(ctx, a.redis, t) },
		LimitFigures: figures,
		Console:      assets(), RequestsPerMinute: c.RequestsPerMinute, Dev: c.Dev, Logger: logger,
	})
	if err != nil {
		return nil, fmt.Errorf("make API: %w", err)
	}
	certificate, err := httpserver.FileTLS(c.TLSCertFile, c.TLSKeyFile, logger)
	if err != nil {
		return nil, err
	}
	operators, err := adminapi.NewOperators(adminapi.OperatorsConfig{
		Tenants: a.core.service, Billing: money, Sessions: tenantstore.NewOperatorSessions(a.core.pool), Edges: newEdges(a.redis, secrets), LimitFigures: figures,
		Console: operatorAssets(), Dev: c.Dev, Logger: logger,
	})
	if err != nil {
		return nil, fmt.Errorf("make operators' API: %w", err)
	}
	instrument := signals.HTTP(telemetry.HTTPOptions{Public: true, Route: httpserver.RoutePattern})
	listeners := []httpserver.Config{
		{Name: "api", Strangers: true, Addr: c.Addr, Handler: outer(c, httpserver.WithRoutes(instrument(public))), TLS: certificate, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout},
		{Name: "admin", Addr: c.AdminAddr, Handler: a.admin(signals.MetricsHandler()), ReadTimeout: requestTimeout, WriteTimeout: requestTimeout},
		{Name: "internal", Addr: c.InternalAddr, Handler: a.documents.handler(), TLS: secrets.ServerTLS("api"), ReadTimeout: requestTimeout, WriteTimeout: requestTimeout},
	}
	if c.operated() {
		listeners = append(listeners, httpserver.Config{
			Name: "operators", Addr: c.OperatorAddr, Handler: httpserver.Forwarded(c.TrustedProxies)(patient(httpserver.WithRoutes(instrument(operators)))), TLS: certificate,
			ReadTimeout: requestTimeout, WriteTimeout: requestTimeout,
		})
	}
	for _, s := range listeners {
		s.Logger = logger
		server, err := httpserver.Listen(ctx, s)
		if err != nil {
			return nil, err
		}
		a.servers = append(a.servers, server)
	}
	return a, nil
}

// openIDOf makes the OpenID provider; nil when there is none.
func openIDOf(c Config) adminapi.OpenID {
	if c.OIDCIssuer == "" {
		return nil
	}
	return openid.New(openid.Config{
		Issuer: c.OIDCIssuer, ClientID: c.OIDCClientID, ClientSecret: c.OIDCClientSecret, RedirectURL: strings.TrimSuffix(c.ConsoleURL, "/") + "/v1/oidc/callback",
	})
}

// outer shows requests as callers made them, and refuses those without TLS where
// it is required.
func outer(c Config, next http.Handler) http.Handler {
	if c.RequireHTTPS {
		next = httpserver.RequireHTTPS(func(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, "/v1/") })(next)
	}
	return httpserver.Forwarded(c.TrustedProxies)(patient(next))
}

// patient bounds what a request waits for, so that a slow database or a lock makes
// for answers that say so, not for a pile of requests.
func patient(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		patience := changePatience
		if reads := r.Method == http.MethodGet || r.Method == http.MethodHead; reads && !long(r.URL.Path) {
			patience = readPatience
		}
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// long tells whether what is read there may be much: downloads, and chains that are
// verified.
func long(path string) bool {
	for _, end := range []string{"/ledger", "/audit/export", "/audit/verification"} {
		if strings.HasSuffix(path, end) {
			return true
		}
	}
	return false
}

// reach makes what the service reaches edges and upstreams with.
func (a *app) reach(c Config, logger *slog.Logger) (reach, error) {
	service, err := url.Parse(c.ServiceURL)
	if err != nil {
		return reach{}, fmt.Errorf("read service URL: %w", err)
	}
	log := deliveries.New(a.redis, logger)
	policy := outbound.Policy{Allowed: c.OutboundAllow}
	return reach{
		publish: a.documents.publish, refused: a.figures.Refused, deliveries: log,
		upstreams: upstream.NewControl(upstream.ControlConfig{
			Policy: policy, Transport: upstream.NewTransport(policy), Log: log, Origin: service.Hostname(), Logger: logger,
		}),
	}, nil
}

// assets returns the built console, or nil.
func assets() fs.FS {
	if files, built := web.Assets(); built {
		return files
	}
	return nil
}

// operatorAssets returns the built console of operators, or nil.
func operatorAssets() fs.FS {
	if files, built := web.OperatorAssets(); built {
		return files
	}
	return nil
}

// run serves until ctx ends or a part fails, then stops in order: first what
// takes requests, then what works in the background.
func (a *app) run(ctx context.Context) error {
	if _, err := a.core.service.SystemTenant(ctx); err != nil {
		return fmt.Errorf("make system tenant: %w", err)
	}
	if err := a.jobs.Start(scope.System(context.WithoutCancel(ctx), scope.Jobs)); err != nil {
		return fmt.Errorf("start job queue: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	background, stopBackground := context.WithCancel(scope.System(context.WithoutCancel(ctx), scope.Usage))
	for _, work := range []func(context.Context) error{a.documents.keepComplete, a.figures.Run, a.collector.Run, a.sweeper.Run, a.spending.run, a.keepLedger, a.live.run, a.tellSeals} {
		group.Go(func() error { return work(background) })
	}
	for _, s := range a.servers {
		group.Go(s.Serve)
	}
	group.Go(func() error {
		<-ctx.Done()
		defer stopBackground()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		var problems []error
		for _, s := range a.servers {
			problems = append(problems, s.Shutdown(stop))
		}
		problems = append(problems, a.jobs.Stop(stop))
		return errors.Join(problems...)
	})
	if err := group.Wait(); err != nil {
		return err
	}
	return nil
}

// close lets go of connections. It is for once, also when open failed half-way.
func (a *app) close() {
	for _, s := range a.servers {
		s.Close()
	}
	if a.core != nil {
		a.core.pool.Close()
	}
	if a.redis != nil {
		if err := a.redis.Close(); err != nil {
			a.logger.Warn("connection to Redis not closed", "error", err)
		}
	}
}

// admin serves health, readiness and metrics. Ready means that requests can be
// answered: Postgres is there. Redis may be away; changes then reach edges later.
func (a *app) admin(metrics http.Handler) http.Handler {
	r := chi.NewRouter()
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	r.Get("/readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		if err := a.core.pool.Ping(ctx); err != nil {
			http.Error(w, "Postgres does not answer.", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	r.Handle("/metrics", metrics)
	return r
}

// LogRedis sends what the Redis library says by itself to log. It is for main,
// once, before Serve: the library has one logger per process.
func LogRedis(log *slog.Logger) { redisclient.LogTo(log) }
