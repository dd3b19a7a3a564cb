package outbound_test

import (
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/outbound"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func TestCheck_SEC41(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		url          string
		ok, inDevToo bool // the second: with loopback allowed
	}{
		{"https://hooks.example.com/x?y=1", true, true},
		{"https://hooks.example.com:8443/", true, true},
		{"https://8.8.8.8/", true, true},
		{"https://[2606:4700::1111]/", true, true},
		{"https://hooks.example.com:6379/", false, true},
		{"http://hooks.example.com/", false, true}, // refused when it is dialled
		{"http://localhost:3000/", false, true},
		{"http://127.0.0.1:3000/", false, true},
		{"https://localhost/", false, true},
		{"https://127.0.0.1/", false, true},
		{"https://[::1]/", false, true},
		{"https://[::ffff:127.0.0.1]/", false, true},
		{"https://127.1/", false, false},
		{"https://2130706433/", false, false},
		{"https://0x7f000001/", false, false},
		{"https://0x7f.1/", false, false},
		{"https://169.254.169.254/latest", false, false},
		{"https://[::ffff:169.254.169.254]/", false, false},
		{"https://[fd00:ec2::254]/", false, false},
		{"https://[fe80::1]/", false, false},
		{"https://[fe80::1%25eth0]/", false, false},
		{"https://[64:ff9b::7f00:1]/", false, false},
		{"https://[2002:7f00:1::]/", false, false},
		{"https://100.64.1.1/", false, false},
		{"https://10.1.2.3/", false, false},
		{"https://192.168.1.1/", false, false},
		{"https://0.0.0.0/", false, false},
		{"https://224.0.0.1/", false, false},
		{"https://255.255.255.255/", false, false},
		{"https://redis.internal/", false, true},
		{"https://user@hooks.example.com/", false, false},
		{"https://hooks.example.com/#x", false, false},
		{"file:///etc/passwd", false, false},
		{"gopher://hooks.example.com/", false, false},
		{"//hooks.example.com/", false, false},
		{"https://", false, false},
		{"https:hooks.example.com", false, false},
		{"https://hooks.example.com/\r\nX: y", false, false},
		{"https://hooks.example.com/" + strings.Repeat("x", outbound.MaxURL), false, false},
	} {
		for _, p := range []struct {
			policy outbound.Policy
			ok     bool
		}{{outbound.Policy{}, row.ok}, {outbound.Policy{Allowed: loopback}, row.inDevToo}} {
			if _, err := p.policy.Check(row.url); (err == nil) != p.ok {
				t.Errorf("%s with %v allowed: %v", row.url, p.policy.Allowed, err)
			}
		}
	}
}

// What a name leads to is looked at when it is connected to.
func TestTransport_SEC41(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		if r.URL.Path == "/redirect" {
			http.Redirect(w, r, "/there", http.StatusFound)
		}
	})
	secure, plain := httptest.NewTLSServer(handler), httptest.NewServer(handler)
	t.Cleanup(secure.Close)
	t.Cleanup(plain.Close)
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	client := func(allowed ...netip.Prefix) *http.Client {
		transport := outbound.NewTransport(outbound.Config{Policy: outbound.Policy{Allowed: allowed}, RootCAs: roots})
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport, CheckRedirect: outbound.NoRedirects, Timeout: 5 * time.Second}
	}
	elsewhere := netip.MustParsePrefix("10.99.0.0/16")
	localhost := strings.Replace(plain.URL, "127.0.0.1", "localhost", 1)
	for _, url := range []string{secure.URL, plain.URL, localhost, "https://localhost/"} {
		for _, c := range []*http.Client{client(), client(elsewhere)} {
			if _, err := c.Get(url); !errors.Is(err, outbound.ErrForbidden) {
				t.Errorf("%s: got %v, want ErrForbidden", url, err)
			}
		}
	}
	if len(asked) > 0 {
		t.Fatalf("%d requests got through", len(asked))
	}
	for _, url := range []string{secure.URL + "/redirect", plain.URL + "/redirect"} {
		res, err := client(loopback...).Get(url)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusFound || <-asked != "/redirect" || len(asked) > 0 {
			t.Errorf("%s: %d, and %d more requests", url, res.StatusCode, len(asked))
		}
	}
}

// FuzzCheck holds that what passes names a host by HTTPS alone, and no address
// that isn't public.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{"https://a.example/", "https://127.1/", "https://[::1]/", "http://x", "https://a@b/", "https://1.2.3.4:443/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := outbound.Policy{}.Check(raw)
		if err != nil {
			return
		}
		if u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
			t.Fatalf("accepted %q", raw)
		}
		if ip, err := netip.ParseAddr(u.Hostname()); err == nil && (ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()) {
			t.Fatalf("accepted %q", raw)
		}
	})
}
