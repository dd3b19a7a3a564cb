// Package api puts the control plane together: the public API with the console,
// the admin and internal listeners, the job queue, the collector of usage and
// the events that consoles get live.
package api

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/caarlos0/env/v11"

	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/internal/httpserver"
	"github.com/signalbox/signalbox/internal/telemetry"
	"github.com/signalbox/signalbox/tenants"
)

// Config is the api's whole configuration; it comes from the environment.
type Config struct {
	// DatabaseURL is the Postgres database, as postgres://user:password@host/name.
	DatabaseURL string `env:"DATABASE_URL,required,notEmpty"`
	// RedisURL is the Redis that edges use, as redis://host:port/0.
	RedisURL string `env:"REDIS_URL,required,notEmpty"`
	// Addr serves the API and the console.
	Addr string `env:"SIGNALBOX_API_ADDR" envDefault:"127.0.0.1:8080"`
	// AdminAddr serves /healthz, /readyz and /metrics; keep it private.
	AdminAddr string `env:"SIGNALBOX_API_ADMIN_ADDR" envDefault:"127.0.0.1:20011"`
	// InternalAddr serves tenant documents to edges, over mutual TLS.
	InternalAddr string `env:"SIGNALBOX_API_INTERNAL_ADDR" envDefault:"127.0.0.1:20021"`
	// OperatorAddr serves the operators' API and console; keep it private. off = nobody
	// serves them.
	OperatorAddr string `env:"SIGNALBOX_OPERATOR_ADDR" envDefault:"off"`
	// OperatorURL is where operators reach OperatorAddr; the links of api operator add
	// lead there.
	OperatorURL string `env:"SIGNALBOX_OPERATOR_URL" envDefault:"http://localhost:20025"`
	// FleetSecret is shared by all processes, at least 32 characters.
	FleetSecret string `env:"SIGNALBOX_FLEET_SECRET,required,notEmpty"`
	// FleetSecretsFormer were shared before, or will be once one takes the place of
	// FleetSecret; with commas between them.
	FleetSecretsFormer []string `env:"SIGNALBOX_FLEET_SECRETS_FORMER"`
	// SealingKey seals access keys in the database: 32 bytes in base64.
	SealingKey string `env:"SIGNALBOX_SEALING_KEY,required,notEmpty"`
	// SealingKeysFormer open what they have sealed before SealingKey did, or will once
	// they take its place; each in base64, with commas between them.
	SealingKeysFormer []string `env:"SIGNALBOX_SEALING_KEYS_FORMER"`
	// ConsoleURL is where people reach the console; links in mails lead there.
	ConsoleURL string `env:"SIGNALBOX_CONSOLE_URL,required,notEmpty"`
	// ServiceURL is the public base of the data plane.
	ServiceURL string `env:"SIGNALBOX_SERVICE_URL,required,notEmpty"`
	// Dev serves the mailbox page, prints mails, and lets cookies travel without TLS.
	Dev bool `env:"SIGNALBOX_DEV"`
	// SMTPURL sends mail, as smtp://user:password@host:587 (STARTTLS) or smtps://
	// (TLS). Empty: mails stay in the outbox.
	SMTPURL string `env:"SIGNALBOX_SMTP_URL"`
	// SMTPCAFile has the authorities, as PEM, that the mail server's certificate may
	// come from; empty = the system's.
	SMTPCAFile string `env:"SIGNALBOX_SMTP_CA_FILE"`
	// MailFrom is the sender of mails.
	MailFrom string `env:"SIGNALBOX_MAIL_FROM" envDefault:"Signalbox <no-reply@localhost>"`
	// ConfirmSignUps makes nothing before a new address is confirmed, so that nobody
	// learns which addresses are known; unset = when there is a mail server.
	ConfirmSignUps *bool `env:"SIGNALBOX_CONFIRM_SIGNUPS"`
	// OIDCIssuer is the OpenID provider with which people may sign in, as the iss of
	// its tokens; empty = none. It must allow the redirect to /v1/oidc/callback of
	// ConsoleURL.
	OIDCIssuer       string `env:"SIGNALBOX_OIDC_ISSUER"`
	OIDCClientID     string `env:"SIGNALBOX_OIDC_CLIENT_ID"`
	OIDCClientSecret string `env:"SIGNALBOX_OIDC_CLIENT_SECRET"`
	// OIDCName names the provider on the sign-in page.
	OIDCName string `env:"SIGNALBOX_OIDC_NAME" envDefault:"single sign-on"`
	// SignUpsPerHour bounds sign-ups from one IP address; 0 = 20, or 1,000 in dev.
	SignUpsPerHour int `env:"SIGNALBOX_SIGNUPS_PER_HOUR"`
	// RequestsPerMinute bounds what one caller asks of this process; 0 = 1,200, or
	// 100,000 in dev.
	RequestsPerMinute int `env:"SIGNALBOX_API_REQUESTS_PER_MINUTE"`
	// TrustedProxies are the networks, as 10.0.0.0/8, of balancers in front of
	// Addr whose X-Forwarded headers are believed; limits and the audit go by the
	// caller's address.
	TrustedProxies []netip.Prefix `env:"SIGNALBOX_TRUSTED_PROXIES"`
	// OutboundAllow are private networks, as 127.0.0.0/8, in which webhooks and the
	// keys of issuers may be, over plain HTTP too. For development only.
	OutboundAllow []netip.Prefix `env:"SIGNALBOX_OUTBOUND_ALLOW"`
	// RequireHTTPS refuses what was not asked for over TLS, here or at a trusted
	// proxy; pages are redirected.
	RequireHTTPS bool `env:"SIGNALBOX_REQUIRE_HTTPS"`
	// TLSCertFile and TLSKeyFile are PEM files for Addr, read again when they
	// change; empty = plain HTTP, behind a balancer that ends TLS.
	TLSCertFile string `env:"SIGNALBOX_TLS_CERT_FILE"`
	TLSKeyFile  string `env:"SIGNALBOX_TLS_KEY_FILE"`
	// DNSServer is asked for the records that verify tenants' domains, as host:port;
	// empty = the servers of the machine.
	DNSServer string `env:"SIGNALBOX_DNS_SERVER"`
	// LogLevel is debug, info, warn or error.
	LogLevel string `env:"SIGNALBOX_LOG_LEVEL" envDefault:"info"`
	// OTLPEndpoint is where traces and metrics go over HTTP; empty = nowhere.
	OTLPEndpoint string `env:"OTEL_EXPORTER_OTLP_ENDPOINT"`

	// purge is when what is left of deleted tenants goes; zero = usualPurge.
	purge purgeTimes
}

// Tests sign up, and ask, a lot.
const (
	devSignUpsPerHour    = 1000
	devRequestsPerMinute = 100_000
)

// ReadConfig reads and checks the environment; the error lists every problem.
func ReadConfig() (Config, error) {
	c, err := env.ParseAs[Config]()
	if err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	if c.Dev && c.SignUpsPerHour == 0 {
		c.SignUpsPerHour = devSignUpsPerHour
	}
	if c.Dev && c.RequestsPerMinute == 0 {
		c.RequestsPerMinute = devRequestsPerMinute
	}
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	return c, nil
}

// Validate lists every setting that can't be used. Values are not repeated: some
// are secrets.
func (c Config) Validate() error {
	var problems []error
	check := func(name string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
		}
	}
	check("DATABASE_URL", schemeOf(c.DatabaseURL, "postgres", "postgresql"))
	check("REDIS_URL", schemeOf(c.RedisURL, "redis", "rediss"))
	check("SIGNALBOX_CONSOLE_URL", schemeOf(c.ConsoleURL, "http", "https"))
	if _, _, err := net.SplitHostPort(c.DNSServer); c.DNSServer != "" && err != nil {
		check("SIGNALBOX_DNS_SERVER", errors.New("must be host:port"))
	}
	if c.SMTPURL != "" {
		check("SIGNALBOX_SMTP_URL", schemeOf(c.SMTPURL, "smtp", "smtps"))
	}
	if c.OIDCIssuer != "" {
		check("SIGNALBOX_OIDC_ISSUER", schemeOf(c.OIDCIssuer, "https", "http"))
		if !c.Dev && !strings.HasPrefix(c.OIDCIssuer, "https://") {
			check("SIGNALBOX_OIDC_ISSUER", errors.New("must begin with https://"))
		}
		if c.OIDCClientID == "" {
			check("SIGNALBOX_OIDC_CLIENT_ID", errors.New("is needed beside SIGNALBOX_OIDC_ISSUER"))
		}
	}
	for name, addr := range map[string]string{
		"SIGNALBOX_API_ADDR": c.Addr, "SIGNALBOX_API_ADMIN_ADDR": c.AdminAddr, "SIGNALBOX_API_INTERNAL_ADDR": c.InternalAddr,
	} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			check(name, errors.New("must be host:port"))
		}
	}
	if c.operated() {
		check("SIGNALBOX_OPERATOR_URL", schemeOf(c.OperatorURL, "http", "https"))
		if u, err := url.Parse(c.OperatorURL); err == nil && u.Scheme == "http" && !c.Dev && !onThisMachine(u.Hostname()) {
			check("SIGNALBOX_OPERATOR_URL", errors.New("must begin with https://, or name localhost: passwords would go in the clear"))
		}
		if _, _, err := net.SplitHostPort(c.OperatorAddr); err != nil {
			check("SIGNALBOX_OPERATOR_ADDR", errors.New("must be host:port, or off"))
		}
	}
	_, err := tenants.NewEndpoints(c.ServiceURL)
	check("SIGNALBOX_SERVICE_URL", err)
	_, err = fleet.New(c.FleetSecret)
	check("SIGNALBOX_FLEET_SECRET", err)
	for _, former := range c.FleetSecretsFormer {
		_, err = fleet.New(former)
		check("SIGNALBOX_FLEET_SECRETS_FORMER", err)
	}
	if _, err = c.sealer(); err != nil {
		name, former := "SIGNALBOX_SEALING_KEY", c
		if former.SealingKeysFormer = nil; len(c.SealingKeysFormer) > 0 {
			if _, alone := former.sealer(); alone == nil {
				name = "SIGNALBOX_SEALING_KEYS_FORMER"
			}
		}
		check(name, err)
	}
	_, err = telemetry.ParseLevel(c.LogLevel)
	check("SIGNALBOX_LOG_LEVEL", err)
	check("SIGNALBOX_TRUSTED_PROXIES", httpserver.CheckProxies(c.TrustedProxies))
	if c.SignUpsPerHour < 0 {
		check("SIGNALBOX_SIGNUPS_PER_HOUR", errors.New("must not be negative"))
	}
	if c.RequestsPerMinute < 0 {
		check("SIGNALBOX_API_REQUESTS_PER_MINUTE", errors.New("must not be negative"))
	}
	return errors.Join(problems...)
}

// onThisMachine tells whether a host is this machine for whoever asks.
func onThisMachine(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// operated tells whether the operators' listener is served.
func (c Config) operated() bool { return c.OperatorAddr != "" && c.OperatorAddr != "off" }

// sealer makes the Sealer of secrets in the database.
func (c Config) sealer() (*tenants.Sealer, error) {
	var ring [][]byte
	for _, text := range append([]string{c.SealingKey}, c.SealingKeysFormer...) {
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, errors.New("must be base64")
		}
		ring = append(ring, key)
	}
	return tenants.NewSealer(ring[0], ring[1:]...)
}

// resolver looks up the records of tenants' domains.
func (c Config) resolver() *net.Resolver {
	if c.DNSServer == "" {
		return net.DefaultResolver
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, c.DNSServer)
	}}
}

// confirmSignUps is ConfirmSignUps with its default.
func (c Config) confirmSignUps() bool {
	if c.ConfirmSignUps == nil {
		return c.SMTPURL != ""
	}
	return *c.ConfirmSignUps
}

func schemeOf(s string, schemes ...string) error {
	u, err := url.Parse(s)
	if err == nil && u.Host != "" {
		for _, scheme := range schemes {
			if u.Scheme == scheme {
				return nil
			}
		}
	}
	return fmt.Errorf("must be a URL that begins with %s://", schemes[0])
}
