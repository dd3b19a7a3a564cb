package httpserver_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/httpserver"
)

func TestSEC_34_host_and_scheme_are_believed_of_trusted_proxies_only(t *testing.T) {
	t.Parallel()
	const proxy, stranger = "10.0.0.1:1", "203.0.113.9:1"
	type want struct {
		host   string
		secure bool
	}
	for name, row := range map[string]struct {
		peer   string
		tls    bool
		header http.Header
		want   want
	}{
		"a stranger":                       {stranger, false, http.Header{"X-Forwarded-Host": {"evil.test"}, "X-Forwarded-Proto": {"https"}}, want{"example.com", false}},
		"a stranger over TLS":              {stranger, true, http.Header{"X-Forwarded-Proto": {"http"}}, want{"example.com", true}},
		"a proxy":                          {proxy, false, http.Header{"X-Forwarded-Host": {"a.test"}, "X-Forwarded-Proto": {"https"}}, want{"a.test", true}},
		"a proxy that says nothing":        {proxy, false, nil, want{"example.com", false}},
		"a proxy over TLS, asked without":  {proxy, true, http.Header{"X-Forwarded-Proto": {"http"}}, want{"example.com", false}},
		"a proxy behind what callers said": {proxy, false, http.Header{"X-Forwarded-Host": {"evil.test, a.test:8443"}, "X-Forwarded-Proto": {"https", "http"}}, want{"a.test:8443", false}},
		"a proxy that passes nonsense on":  {proxy, false, http.Header{"X-Forwarded-Host": {"user@evil.test/x"}}, want{"example.com", false}},
		"RFC 7239 of a proxy":              {proxy, false, http.Header{"Forwarded": {"for=1.1.1.1;host=evil.test;proto=https"}}, want{"example.com", false}},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr, r.Header["X-Real-Ip"] = row.peer, []string{"1.1.1.1"}
			for k, v := range row.header {
				r.Header[k] = v
			}
			if row.tls {
				r.TLS = &tls.ConnectionState{}
			}
			var got want
			httpserver.Forwarded([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				got = want{r.Host, httpserver.Secure(r)}
				for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Real-Ip"} {
					if r.Header.Get(name) != "" {
						t.Errorf("%s is left", name)
					}
				}
			})).ServeHTTP(httptest.NewRecorder(), r)
			if got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
	if err := httpserver.CheckProxies([]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}); err == nil {
		t.Error("everybody may be a trusted proxy")
	}
}

func TestSEC_45_a_token_is_never_redirected(t *testing.T) {
	t.Parallel()
	handler := httpserver.Forwarded(nil)(httpserver.RequireHTTPS(func(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, "/v1/") })(http.NotFoundHandler()))
	for target, row := range map[string]struct {
		method, host string
		status       int
		location     string
	}{
		"/login?next=%2F": {"GET", "console.test", 308, "https://console.test/login?next=%2F"},
		"//evil.test/x":   {"GET", "console.test", 308, "https://console.test//evil.test/x"},
		"/":               {"POST", "console.test", 403, ""},
		"/v1/tenants":     {"GET", "console.test", 403, ""},
		"/x":              {"GET", "evil.test/@console.test", 403, ""},
	} {
		r := httptest.NewRequest(row.method, "/", nil)
		r.Host = row.host
		path, query, _ := strings.Cut(target, "?")
		r.URL.Path, r.URL.RawQuery = path, query
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != row.status || w.Header().Get("Location") != row.location {
			t.Errorf("%s %s: %d to %q, want %d to %q", row.method, target, w.Code, w.Header().Get("Location"), row.status, row.location)
		}
	}
}

// attacked is a server as every process has it, and what its handler was asked. An
// edge's serves some requests directly.
func attacked(t *testing.T, direct bool) (addr string, asked <-chan string) {
	t.Helper()
	seen := make(chan string, 100)
	s, err := httpserver.Listen(t.Context(), httpserver.Config{
		Name: "test", Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler),
		Direct: map[bool]func(string) bool{true: func(string) bool { return true }}[direct],
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			seen <- fmt.Sprintf("%s %s %s %q", r.Method, r.Host, r.URL, body)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		_ = s.Shutdown(t.Context())
		<-served
	})
	return s.Addr(), seen
}

// SEC-33: requests that two servers might read in two ways: this one takes
// them in one way or not at all, and closes the connection when it is unsure.
func TestSEC_33_requests_have_one_reading(t *testing.T) {
	t.Parallel()
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	for name, row := range map[string]struct {
		sent   string
		status string   // of the last answer
		asked  []string // what the handler saw
	}{
		"two different lengths":         {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 40\r\n\r\nabc" + smuggled, "400", nil},
		"a length and chunks":           {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n" + smuggled, "200", []string{`POST a / ""`}},
		"an unknown transfer coding":    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + smuggled, "501", nil},
		"two transfer codings":          {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + smuggled, "501", nil},
		"a space before the colon":      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + smuggled, "400", nil},
		"a header that goes on":         {"POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "200", []string{`POST a / ""`}},
		"a bare LF in a chunk's size":   {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n" + smuggled, "400", nil},
		"a chunk extension without end": {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("x", 100_000) + "\r\na\r\n0\r\n\r\n", "400", nil},
		"a chunk that is too long":      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\na", "400", nil},
		"two hosts":                     {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400", nil},
		"no host":                       {"GET / HTTP/1.1\r\n\r\n", "400", nil},
		"a host in the request line":    {"GET http://b/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "200", []string{`GET b http://b/x ""`}},
		"a header of 20 KiB":            {"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 40<<10) + "\r\n\r\n", "431", nil},
		"the preface of HTTP/2":         {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "505", nil},
		"an upgrade to HTTP/2":          {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", "200", []string{`GET a / ""`}},
		"NUL in a header":               {"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", "400", nil},
		"a space in the path":           {"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "400", nil},
		"garbage":                       {"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "400", nil},
	} {
		for _, direct := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, direct %t", name, direct), func(t *testing.T) {
				t.Parallel()
				addr, asked := attacked(t, direct)
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				go func() { _, _ = io.WriteString(conn, row.sent) }() // the server may hang up before the end
				var status string
				for in := bufio.NewReader(conn); ; {
					res, err := http.ReadResponse(in, nil)
					if errors.Is(err, os.ErrDeadlineExceeded) {
						t.Fatal("the connection is still open")
					}
					if err != nil {
						break
					}
					_, _ = io.Copy(io.Discard, res.Body)
					status = fmt.Sprint(res.StatusCode)
				}
				if status != row.status {
					t.Errorf("answered %s, want %s", status, row.status)
				}
				for _, want := range row.asked {
					if got := <-asked; got != want {
						t.Errorf("the handler was asked %s, want %s", got, want)
					}
				}
				if len(asked) > 0 {
					t.Errorf("the handler was also asked %s", <-asked)
				}
			})
		}
	}
}

// SEC-26: many connections that send their headers byte by byte end soon, and
// nobody else waits for them.
func TestSEC_26_slow_headers(t *testing.T) {
	t.Parallel()
	for _, direct := range []bool{false, true} {
		t.Run(fmt.Sprintf("direct %t", direct), func(t *testing.T) {
			t.Parallel()
			slowHeaders(t, direct)
		})
	}
}

func slowHeaders(t *testing.T, direct bool) {
	addr, asked := attacked(t, direct)
	const slow = 200
	ended := make(chan error, slow)
	for range slow {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nX")
		go func() {
			_, err := io.Copy(io.Discard, conn)
			ended <- err
		}()
	}
	res, err := http.Get("http://" + addr + "/neighbour")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := <-asked; !strings.Contains(got, "/neighbour") {
		t.Errorf("the handler was asked %s", got)
	}
	for range slow {
		if err := <-ended; errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("a connection without a header is still open")
		}
	}
}

// SEC-26: TLS handshakes that begin and don't go on end soon, too.
func TestSEC_26_slow_TLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, certFile, keyFile, "edge", time.Now())
	config, err := httpserver.FileTLS(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s, err := httpserver.Listen(t.Context(), httpserver.Config{
		Name: "test", Addr: "127.0.0.1:0", TLS: config, Logger: slog.New(slog.DiscardHandler), Handler: http.NotFoundHandler(),
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		_ = s.Shutdown(t.Context())
		<-served
	})
	for _, begin := range []string{"", "\x16", "\x16\x03\x01\x02\x00\x01"} {
		conn, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		_, _ = io.WriteString(conn, begin)
		defer func() {
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a handshake that stops behind %q is still open", begin)
			}
		}()
	}
	conn, err := tls.Dial("tcp", s.Addr(), &tls.Config{InsecureSkipVerify: true}) // the certificate is no matter here
	if err != nil {
		t.Fatalf("a neighbour: %v", err)
	}
	conn.Close()
}
