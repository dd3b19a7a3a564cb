package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// Config is what a Transport is made of.
type Config struct {
	Policy Policy
	// ConnectTimeout bounds dialling and, again, the TLS handshake; 0 = 2 s.
	ConnectTimeout time.Duration
	// AnswerTimeout bounds the wait for the head of an answer; 0 = not at all.
	AnswerTimeout time.Duration
	// MaxConnsPerHost bounds the connections to one host and port; 0 = 64.
	MaxConnsPerHost int
	// RootCAs replaces the system's certificate authorities.
	RootCAs *x509.CertPool
}

// maxHeadBytes bounds the head of an answer.
const maxHeadBytes = 16 << 10

// Transport is an http.RoundTripper for requests to addresses of tenants. It
// uses no proxy. It follows no redirects: see NoRedirects. Safe for concurrent
// use.
type Transport struct {
	policy Policy
	http   *http.Transport
}

// NewTransport makes a Transport.
func NewTransport(c Config) *Transport {
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 2 * time.Second
	}
	if c.MaxConnsPerHost == 0 {
		c.MaxConnsPerHost = 64
	}
	t := &Transport{policy: c.Policy}
	dialer := &net.Dialer{Timeout: c.ConnectTimeout, ControlContext: t.control}
	t.http = &http.Transport{
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    c.ConnectTimeout,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.RootCAs},
		ResponseHeaderTimeout:  c.AnswerTimeout,
		MaxResponseHeaderBytes: maxHeadBytes,
		MaxConnsPerHost:        c.MaxConnsPerHost,
		MaxIdleConnsPerHost:    8,
		MaxIdleConns:           1024,
		IdleConnTimeout:        30 * time.Second,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // so that bounds of bodies are bounds
	}
	return t
}

// plainKey marks the context of a request without TLS.
type plainKey struct{}

// RoundTrip implements http.RoundTripper. The error of an address that must not
// be reached is ErrForbidden.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.policy.check(r.URL); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // it was not read
		}
		return nil, fmt.Errorf("%w: the URL %w", ErrForbidden, err)
	}
	if r.URL.Scheme == "http" {
		r = r.WithContext(context.WithValue(r.Context(), plainKey{}, true))
	}
	return t.http.RoundTrip(r)
}

// CloseIdleConnections closes what is kept for further requests.
func (t *Transport) CloseIdleConnections() { t.http.CloseIdleConnections() }

// control is called for every connection when its address is known and nothing
// was sent yet.
func (t *Transport) control(ctx context.Context, network, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" {
		return ErrForbidden
	}
	plain, _ := ctx.Value(plainKey{}).(bool)
	port := fmt.Sprint(to.Port())
	if t.policy.allows(to.Addr()) || !plain && public(to.Addr()) && slices.Contains(Ports, port) {
		return nil
	}
	return ErrForbidden
}

// NoRedirects is the CheckRedirect of clients that use a Transport: an answer
// that leads elsewhere is an answer.
func NoRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
