package httpserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/httpserver"
)

func TestProblem_has_a_status_for_every_kind_and_shows_no_cause(t *testing.T) {
	t.Parallel()
	cause := errors.New("password=hunter2")
	for kind, status := range map[fault.Kind]int{
		fault.Invalid: 400, fault.Unauthenticated: 401, fault.Forbidden: 403, fault.NotFound: 404, fault.NotAllowed: 405, fault.Conflict: 409,
		fault.QuotaExceeded: 409, fault.TooLarge: 413, fault.UnsupportedType: 415, fault.RateLimited: 429, fault.Internal: 500, fault.Unavailable: 503,
	} {
		t.Run(string(kind), func(t *testing.T) {
			var logs bytes.Buffer
			logger := slog.New(slog.NewTextHandler(&logs, nil))
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
			// Also when somebody wrapped the fault.
			httpserver.Problem(w, r, logger, fmt.Errorf("do it: %w", fault.Wrap(kind, "Words for people.", cause)))
			if w.Code != status {
				t.Errorf("status %d, want %d", w.Code, status)
			}
			var p map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p["status"] != float64(status) || p["code"] != string(kind) {
				t.Errorf("problem = %s, %v", w.Body, err)
			}
			if strings.Contains(w.Body.String(), "hunter2") {
				t.Errorf("the cause is shown: %s", w.Body)
			}
			if logged := strings.Contains(logs.String(), "hunter2"); logged != (status >= 500) {
				t.Errorf("logged %t: %s", logged, logs.String())
			}
		})
	}
}

func TestProblem_of_an_unknown_error_says_nothing_of_it(t *testing.T) {
	t.Parallel()
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
	httpserver.Problem(w, r, slog.New(slog.DiscardHandler), errors.New("dial tcp 10.0.0.7:5432"))
	if w.Code != 500 || strings.Contains(w.Body.String(), "10.0.0.7") || !strings.Contains(w.Body.String(), `"code":"internal"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestRecover_answers_and_logs_a_panic(t *testing.T) {
	t.Parallel()
	var logs bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&logs, nil))
	handler := httpserver.WithRequestID(httpserver.Recover(logger)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") })))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "boom") || !strings.Contains(w.Body.String(), w.Header().Get("X-Request-Id")) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !strings.Contains(logs.String(), "boom") || !strings.Contains(logs.String(), "httpserver_test.go") {
		t.Errorf("log = %s", logs.String())
	}
}

func TestSEC_34_the_callers_address_is_believed_of_trusted_proxies_only_and_from_the_right(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, row := range map[string]struct{ peer, header, want string }{
		"nobody_in_between":             {"203.0.113.9:1", "", "203.0.113.9:1"},
		"a_stranger_claims_an_address":  {"203.0.113.9:1", "198.51.100.1", "203.0.113.9:1"},
		"one_proxy":                     {"10.0.0.1:1", "198.51.100.1", "198.51.100.1:0"},
		"the_caller_wrote_the_left":     {"10.0.0.1:1", "1.1.1.1, 198.51.100.1", "198.51.100.1:0"},
		"two_proxies":                   {"10.0.0.1:1", "198.51.100.1, 10.0.0.2", "198.51.100.1:0"},
		"a_proxy_that_adds_ports":       {"10.0.0.1:1", "198.51.100.1:5678, [fd00::2]:90", "198.51.100.1:0"},
		"an_IPv6_caller":                {"[fd00::1]:1", "2001:db8::7", "[2001:db8::7]:0"},
		"nonsense_from_a_trusted_proxy": {"10.0.0.1:1", "198.51.100.1, unknown", "10.0.0.1:1"},
		"only_proxies":                  {"10.0.0.1:1", "10.0.0.2", "10.0.0.1:1"},
		"an_IPv4_address_in_IPv6_form":  {"[::ffff:10.0.0.1]:1", "198.51.100.1", "198.51.100.1:0"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = row.peer
			if row.header != "" {
				r.Header.Set("X-Forwarded-For", row.header)
			}
			var got string
			httpserver.Forwarded(trusted)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr })).ServeHTTP(httptest.NewRecorder(), r)
			if got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

func TestServer_finishes_what_is_under_way(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	server, err := httpserver.Listen(t.Context(), httpserver.Config{
		Name: "test", Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-release
			_, _ = io.WriteString(w, "done")
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve() }()
	answered := make(chan string, 1)
	go func() {
		res, err := http.Get("http://" + server.Addr())
		if err != nil {
			answered <- err.Error()
			return
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		answered <- string(text)
	}()
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- server.Shutdown(ctx) }()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
	close(release)
	if err := <-stopped; err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	if text := <-answered; text != "done" {
		t.Errorf("the request got %q", text)
	}
}

func TestDeadline_ends_what_a_request_waits_for(t *testing.T) {
	t.Parallel()
	handler := httpserver.Deadline(time.Millisecond)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("answered %d", w.Code)
	}
}
