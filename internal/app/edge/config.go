package edge

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/internal/httpserver"
	"github.com/signalbox/signalbox/internal/telemetry"
	"github.com/signalbox/signalbox/tenants"
)

// Config is the environment of an edge.
type Config struct {
	// RedisURL is the Redis that all edges and apis share.
	RedisURL string `env:"REDIS_URL"`
	// StreamsOnly does without Pub/Sub: Redis' streams are read with reads that block,
	// which costs Redis more. All edges must agree.
	StreamsOnly bool `env:"SIGNALBOX_STREAMS_ONLY"`
	// Addr is where clients and backends connect.
	Addr string `env:"SIGNALBOX_EDGE_ADDR" envDefault:"127.0.0.1:20001"`
	// AdminAddr serves /healthz, /readyz, /metrics and whether a proxy may get a
	// certificate for a host; it must not be public.
	AdminAddr string `env:"SIGNALBOX_EDGE_ADMIN_ADDR" envDefault:"127.0.0.1:20012"`
	// InternalAddr is where other edges relay requests to, over mutual TLS.
	InternalAddr string `env:"SIGNALBOX_EDGE_INTERNAL_ADDR" envDefault:"127.0.0.1:0"`
	// Advertise is the host:port under which other edges reach InternalAddr;
	// empty = InternalAddr itself, or this machine's address on the way to Redis
	// when that names no interface.
	Advertise string `env:"SIGNALBOX_EDGE_ADVERTISE"`
	// FleetSecret is shared by all processes of the deployment.
	FleetSecret string `env:"SIGNALBOX_FLEET_SECRET"`
	// FleetSecretsFormer were shared before, or will be once one takes the place of
	// FleetSecret; with commas between them.
	FleetSecretsFormer []string `env:"SIGNALBOX_FLEET_SECRETS_FORMER"`
	// APIInternalURL is the control plane's internal listener, asked for tenant
	// documents when Redis can't answer; empty = nobody is asked.
	APIInternalURL string `env:"SIGNALBOX_API_INTERNAL_URL"`
	// ServiceHosts are the hosts of the service itself, under which tenants
	// without a host of their own are reached as /t/{slug}. Tokens for such
	// tenants name one of them in their audience.
	ServiceHosts []string `env:"SIGNALBOX_SERVICE_HOSTS" envSeparator:","`
	// DefaultTenant is the slug of the tenant that URLs without host and prefix
	// belong to. For development only; empty = none.
	DefaultTenant string `env:"SIGNALBOX_DEFAULT_TENANT"`
	// OutboundAllow are private networks, as 127.0.0.0/8, in which webhooks and the
	// keys of issuers may be, over plain HTTP too. For development only.
	OutboundAllow []netip.Prefix `env:"SIGNALBOX_OUTBOUND_ALLOW"`
	// DrainGrace is how long a stopping edge serves on, no longer ready, so that
	// balancers send new connections elsewhere.
	DrainGrace time.Duration `env:"SIGNALBOX_EDGE_DRAIN_GRACE" envDefault:"10s"`
	// DrainOver is the time after it over which connections are closed, so that
	// their clients don't all reconnect at once.
	DrainOver time.Duration `env:"SIGNALBOX_EDGE_DRAIN" envDefault:"120s"`
	// TLSCertFile and TLSKeyFile are PEM files for Addr, read again when they
	// change; empty = plain HTTP, behind a balancer that ends TLS.
	TLSCertFile string `env:"SIGNALBOX_TLS_CERT_FILE"`
	TLSKeyFile  string `env:"SIGNALBOX_TLS_KEY_FILE"`
	// TrustedProxies are the networks, as 10.0.0.0/8, of balancers in front of
	// Addr whose X-Forwarded headers are believed.
	TrustedProxies []netip.Prefix `env:"SIGNALBOX_TRUSTED_PROXIES"`
	// IPLimitExempt are the networks whose addresses the limits per address don't
	// concern: what many clients share as theirs.
	IPLimitExempt []netip.Prefix `env:"SIGNALBOX_EDGE_IP_LIMIT_EXEMPT" envDefault:"127.0.0.0/8,::1/128"`
	// RequireHTTPS refuses what was not asked for over TLS, here or at a trusted
	// proxy.
	RequireHTTPS bool `env:"SIGNALBOX_REQUIRE_HTTPS"`
	// LogLevel is debug, info, warn or error.
	LogLevel string `env:"SIGNALBOX_LOG_LEVEL" envDefault:"info"`
	// OTLPEndpoint switches the export of traces and metrics on.
	OTLPEndpoint string `env:"OTEL_EXPORTER_OTLP_ENDPOINT"`
	// Environment is the deployment's name in telemetry.
	Environment string `env:"SIGNALBOX_ENVIRONMENT"`
}

// maxDrain bounds DrainGrace and DrainOver.
const maxDrain = 10 * time.Minute

// ReadConfig reads and checks the environment. The error lists every problem.
func ReadConfig() (Config, error) {
	c, err := env.ParseAs[Config]()
	if err != nil {
		return c, fmt.Errorf("read environment: %w", err)
	}
	return c, c.Validate()
}

// Validate returns an error that names every variable that can't be used.
func (c Config) Validate() error {
	var errs []error
	bad := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s %s", name, fmt.Sprintf(format, args...)))
	}
	if u, err := url.Parse(c.RedisURL); err != nil || (u.Scheme != "redis" && u.Scheme != "rediss") || u.Host == "" {
		bad("REDIS_URL", "must be a redis:// or rediss:// URL")
	}
	for name, addr := range map[string]string{
		"SIGNALBOX_EDGE_ADDR": c.Addr, "SIGNALBOX_EDGE_ADMIN_ADDR": c.AdminAddr, "SIGNALBOX_EDGE_INTERNAL_ADDR": c.InternalAddr,
	} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			bad(name, "must be host:port")
		}
	}
	if host, port, err := net.SplitHostPort(c.Advertise); c.Advertise != "" && (err != nil || host == "" || port == "" || port == "0") {
		bad("SIGNALBOX_EDGE_ADVERTISE", "must be host:port")
	}
	if len(c.FleetSecret) < fleet.MinSecretLength {
		bad("SIGNALBOX_FLEET_SECRET", "must have at least %d characters", fleet.MinSecretLength)
	}
	if slices.ContainsFunc(c.FleetSecretsFormer, func(s string) bool { return len(s) < fleet.MinSecretLength }) {
		bad("SIGNALBOX_FLEET_SECRETS_FORMER", "must have at least %d characters each", fleet.MinSecretLength)
	}
	if u, err := url.Parse(c.APIInternalURL); c.APIInternalURL != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
		bad("SIGNALBOX_API_INTERNAL_URL", "must be an https:// URL")
	}
	for _, h := range c.ServiceHosts {
		if u, err := url.Parse("http://" + h); err != nil || u.Hostname() == "" || u.Port() != "" || u.Host != h {
			bad("SIGNALBOX_SERVICE_HOSTS", "must be hosts without port, separated by commas: %q is not", h)
		}
	}
	if c.DefaultTenant != "" && tenants.CheckSlug(c.DefaultTenant) != nil {
		bad("SIGNALBOX_DEFAULT_TENANT", "must be a tenant's slug: %s", tenants.SlugRule)
	}
	if err := httpserver.CheckProxies(c.TrustedProxies); err != nil {
		bad("SIGNALBOX_TRUSTED_PROXIES", "%v", err)
	}
	if c.DrainGrace < 0 || c.DrainGrace > maxDrain {
		bad("SIGNALBOX_EDGE_DRAIN_GRACE", "must be 0s to %s", maxDrain)
	}
	if c.DrainOver < 0 || c.DrainOver > maxDrain {
		bad("SIGNALBOX_EDGE_DRAIN", "must be 0s to %s", maxDrain)
	}
	if _, err := telemetry.ParseLevel(c.LogLevel); err != nil {
		bad("SIGNALBOX_LOG_LEVEL", "must be debug, info, warn or error")
	}
	return errors.Join(errs...)
}

// LogValue shows the configuration without its secrets.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Bool("streams_only", c.StreamsOnly),
		slog.String("addr", c.Addr),
		slog.String("admin_addr", c.AdminAddr),
		slog.String("internal_addr", c.InternalAddr),
		slog.String("advertise", c.Advertise),
		slog.String("api_internal_url", c.APIInternalURL),
		slog.String("service_hosts", strings.Join(c.ServiceHosts, ",")),
		slog.String("default_tenant", c.DefaultTenant),
		slog.Duration("drain_grace", c.DrainGrace),
		slog.Duration("drain", c.DrainOver),
	)
}
