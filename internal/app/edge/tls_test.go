package edge

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/tenants"
)

// certificateFiles writes a certificate for 127.0.0.1 and for names, and returns its
// files and who trusts it.
func certificateFiles(t *testing.T, names ...string) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "edge"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, data := range map[string][]byte{certFile: certificate, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	return certFile, keyFile, roots
}

// SEC-45: an edge that ends TLS itself. WebSockets over HTTP/2 (RFC 8441) are not
// offered, so that every client uses HTTP/1.1.
func TestSEC_45_TLS_at_the_edge(t *testing.T) {
	t.Parallel()
	certFile, keyFile, roots := certificateFiles(t)
	demo := document("demo", 1)
	c := startEdgesWith(t, 1, func(cfg *Config) {
		cfg.TLSCertFile, cfg.TLSKeyFile, cfg.RequireHTTPS = certFile, keyFile, true
	}, demo)
	addr := c.edges[0].Addr()

	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	if p := conn.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
		t.Errorf("a client that can do both gets %q", p)
	}
	conn.Close()
	if conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}}); err == nil {
		conn.Close()
		t.Error("a client that can do HTTP/2 alone is taken")
	}
	if conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS11}); err == nil {
		conn.Close()
		t.Error("TLS 1.1 is taken")
	}

	token := clientJWT(t, demo, 0, "chat", "ada")
	secure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
	t.Cleanup(secure.CloseIdleConnections)
	ws, res, err := websocket.Dial(t.Context(), "wss://"+addr+"/t/demo/client/?hub=chat", &websocket.DialOptions{
		HTTPClient: secure, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	if err != nil {
		t.Fatalf("connect: %v, %v", res, err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	k := &client{t: t, ws: ws, frames: make(chan frame, 10)}
	k.write(`{"protocol":"json","version":1}`)
	go k.read()
	if f := k.next(); f.Error != "" || f.end != nil {
		t.Fatalf("handshake: %+v", f)
	}

	// Plain HTTP on the same port: refused before anything is read of it.
	res, err = http.Get("http://" + addr + "/t/demo/client/negotiate?hub=chat&access_token=" + token)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusBadRequest || bytes.Contains(body, []byte(token)) {
		t.Errorf("plain HTTP is answered %d %s", res.StatusCode, body)
	}
}

// SEC-34: what proxies say counts for those that are trusted, and for nobody else.
func TestSEC_34_forwarded_headers_at_the_edge(t *testing.T) {
	t.Parallel()
	demo, other := document("demo", 1), document("other", 1)
	other.Hosts = []string{"other.example.test"}
	forged := http.Header{
		"X-Forwarded-For": {"203.0.113.7"}, "X-Forwarded-Host": {"other.example.test"}, "X-Forwarded-Proto": {"https"},
		"Forwarded": {"for=203.0.113.7;host=other.example.test;proto=https"},
	}
	for name, row := range map[string]struct {
		proxies  []netip.Prefix
		https    bool
		of       *tenants.Document // whose token is good
		status   int
		stranger *tenants.Document
	}{
		"a stranger's":                          {nil, false, demo, 200, other},
		"a stranger's, where https is required": {nil, true, demo, 403, other},
		"a trusted proxy's":                     {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, true, other, 200, demo},
		"a stranger's beside a trusted proxy":   {[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, false, demo, 200, other},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startEdgesWith(t, 1, func(cfg *Config) { cfg.TrustedProxies, cfg.RequireHTTPS = row.proxies, row.https }, demo, other)
			ask := func(d *tenants.Document) int {
				res, _ := c.do(http.MethodPost, "http://"+c.edges[0].Addr()+"/client/negotiate?negotiateVersion=1&hub=chat", clientJWT(t, d, 0, "chat", "ada"), "",
					func(r *http.Request) {
						for k, v := range forged {
							r.Header[k] = v
						}
					})
				return res.StatusCode
			}
			if got := ask(row.of); got != row.status {
				t.Errorf("%s's client is answered %d, want %d", row.of.Slug, got, row.status)
			}
			if got := ask(row.stranger); got != http.StatusUnauthorized && got != http.StatusForbidden {
				t.Errorf("%s's client is answered %d", row.stranger.Slug, got)
			}
		})
	}
}

// A tenant's own domain over wss: a proxy in front that ends TLS asks an edge whether a
// name is a tenant's before it has a certificate made for it, for the domains of tenants'
// documents and no others.
func TestOwn_domain_over_TLS_in_front(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	demo.Hosts = []string{"rt.customer.test"}
	c := startEdgesWith(t, 1, func(cfg *Config) {
		cfg.TrustedProxies, cfg.RequireHTTPS = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, true
	}, demo)
	certFile, keyFile, roots := certificateFiles(t, "rt.customer.test", "other.test")
	made, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	ask := "http://" + c.edges[0].AdminAddr() + "/certificates/ask?domain="
	front := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(&url.URL{Scheme: "http", Host: c.edges[0].Addr()})
		p.SetXForwarded()
	}})
	front.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are refused
	front.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if c.status(ask+url.QueryEscape(hello.ServerName)) != http.StatusOK {
			return nil, errors.New("no certificate is made for this name")
		}
		return &tls.Config{Certificates: []tls.Certificate{made}}, nil
	}}
	front.StartTLS()
	t.Cleanup(front.Close)

	secure := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, front.Listener.Addr().String())
		},
	}}
	t.Cleanup(secure.CloseIdleConnections)
	dial := func(host string) (*websocket.Conn, error) {
		ws, _, err := websocket.Dial(t.Context(), "wss://"+host+"/client/?hub=chat", &websocket.DialOptions{
			HTTPClient: secure, HTTPHeader: http.Header{"Authorization": {"Bearer " + clientJWT(t, demo, 0, "chat", "ada")}},
		})
		return ws, err
	}
	ws, err := dial("rt.customer.test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	k := &client{t: t, ws: ws, frames: make(chan frame, 10)}
	k.write(`{"protocol":"json","version":1}`)
	go k.read()
	if f := k.next(); f.Error != "" || f.end != nil {
		t.Fatalf("handshake: %+v", f)
	}
	if ws, err := dial("other.test"); err == nil {
		ws.CloseNow()
		t.Error("a certificate is made for a name of nobody")
	}
	for domain, want := range map[string]int{"RT.customer.test": 200, "": 404, "demo": 404, "rt.customer.test.": 404, strings.Repeat("a", 300): 404} {
		if got := c.status(ask + url.QueryEscape(domain)); got != want {
			t.Errorf("%q is answered %d, want %d", domain, got, want)
		}
	}
	// The domain is another's, or nobody's: no certificate any more.
	gone := document("demo", 2)
	c.publish(gone)
	c.eventually("the domain to be nobody's", func() bool { return c.status(ask+"rt.customer.test") == http.StatusNotFound })
}
