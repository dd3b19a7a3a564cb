package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/upstream"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/outbound"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/tenants"
)

// oneSecond is the shortest time-out.
var oneSecond = setting{up: func(u *tenants.Upstream) { u.TimeoutSeconds = 1 }}

// TestUpstream_that_misbehaves_is_an_error_F_19 has the upstreams of F-19, apart
// from those whose answers are merely wrong.
func TestUpstream_that_misbehaves_is_an_error_F_19(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		handle http.HandlerFunc
		code   string
		native string
		azure  string
	}{
		{"silence", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "upstream_timeout", "The upstream didn't answer in time.", "500"},
		{"slow drip", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				w.(http.Flusher).Flush()
				time.Sleep(10 * time.Millisecond) // the drip itself
			}
		}, "upstream_timeout", "The upstream didn't answer in time.", "500"},
		{"hang up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "upstream_unreachable", "The upstream can't be reached.", "500"},
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			chunk := strings.Repeat("x", 64<<10)
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, chunk); err != nil {
					return
				}
			}
		}, "upstream_response_too_large", "The upstream's answer is larger than 1048576 bytes.", ""},
		{"compressed without being asked", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"))
		}, "upstream_response_invalid", "The upstream's answer is not one JSON value.", "invalid"},
	} {
		for _, mode := range tenants.UpstreamModes {
			t.Run(row.name+" in mode "+string(mode), func(t *testing.T) {
				t.Parallel()
				var change setting // only who is to be out of time has little, and that enough for a slow machine
				if row.code == "upstream_timeout" {
					change.up = func(u *tenants.Upstream) { u.TimeoutSeconds = 3 }
				}
				w := newWorld(t, mode, answers(row.handle), change)
				c := w.connect(protocol.NewJSON(), "con1")
				c.invoke("1", "send", `[]`)
				want := failedText(row.native)
				if mode == tenants.UpstreamAzure {
					switch row.azure {
					case "":
						want = "error: Invocation failed, response too large."
					case "invalid":
						want = "error: Invocation failed, the response is not one Completion of this invocation in the client's hub protocol."
					default:
						want = "error: Invocation failed, status code " + row.azure
					}
				}
				if got := c.completion("1"); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				w.ledger.until(t, "the refusal", func(l *ledger) bool { return l.refused[row.code] == 1 })
			})
		}
	}
}

func TestBreaker_leaves_a_failing_upstream_alone_for_a_moment(t *testing.T) {
	t.Parallel()
	var healthy atomic.Bool
	w := newWorld(t, tenants.UpstreamAzure, answers(func(w http.ResponseWriter, _ *http.Request) {
		if healthy.Load() {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.WriteHeader(http.StatusInternalServerError)
	}), setting{config: func(c *upstream.Config) { c.BreakerPause = 3 * time.Second }})
	c := w.connect(protocol.NewJSON(), "con1")
	w.event("connected")
	for range 10 {
		c.invoke("1", "send", `[]`)
		if got := c.completion("1"); got != "error: Invocation failed, status code 500" {
			t.Fatalf("got %s", got)
		}
		w.next()
	}
	c.invoke("1", "send", `[]`)
	if got := c.completion("1"); got != "error: Invocation failed, status code 503" {
		t.Errorf("got %s, want the breaker's answer", got)
	}
	if len(w.arrived) != 0 || w.ledger.refused["upstream_circuit_open"] != 1 {
		t.Errorf("%d requests arrived, refused %v", len(w.arrived), w.ledger.refused)
	}
	healthy.Store(true)
	for deadline := time.Now().Add(wait); ; {
		c.invoke("1", "send", `[]`)
		if c.completion("1") == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the breaker doesn't close again")
		}
		time.Sleep(20 * time.Millisecond) // between two looks
	}
	c.invoke("1", "send", `[]`)
	if got := c.completion("1"); got != "" {
		t.Errorf("after the breaker has closed: %s", got)
	}
}

// A request that had no turn at its address says nothing of the upstream: those that
// are let through to one that was left alone neither close the breaker nor use up
// what lets it be tried again.
func TestBreaker_is_not_closed_by_trials_without_a_turn(t *testing.T) {
	t.Parallel()
	change := oneSecond
	change.config = func(c *upstream.Config) { c.BreakerPause = time.Hour }
	w := newWorld(t, tenants.UpstreamAzure, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, change)
	var clients []*client
	for i := range 10 { // whose connected events fail, as often as it takes
		clients = append(clients, w.connect(protocol.NewJSON(), fmt.Sprint("con", i)))
	}
	var breaker interface {
		IsOpen() bool
		HalfOpen()
	}
	w.ledger.until(t, "an open breaker", func(*ledger) bool {
		breaker = upstream.Breaker(w.gateway, tenantID, w.url)
		return breaker.IsOpen()
	})
	upstream.Exhaust(w.gateway, w.url, time.Hour)
	breaker.HalfOpen() // as after its pause: ten may try
	for _, c := range clients {
		c.invoke("trial", "send", `[]`)
	}
	for _, c := range clients {
		if got := c.completion("trial"); got != "error: Invocation failed, status code 503" {
			t.Errorf("got %q", got)
		}
	}
	w.ledger.mu.Lock()
	busy := w.ledger.refused["upstream_busy"]
	w.ledger.mu.Unlock()
	if busy != len(clients) || !breaker.IsOpen() {
		t.Errorf("%d trials had no turn; the breaker is open: %v", busy, breaker.IsOpen())
	}
}

func TestClient_that_leaves_ends_its_request(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	w := newWorld(t, tenants.UpstreamNative, answers(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(ended)
	}), setting{up: func(u *tenants.Upstream) { u.TimeoutSeconds = 30 }})
	c := w.connect(protocol.NewJSON(), "con1")
	w.event("connected")
	c.invoke("1", "send", `[]`)
	w.next()
	c.Abort()
	select {
	case <-ended:
	case <-time.After(wait):
		t.Fatal("the request goes on")
	}
	w.event("disconnected")
}

// TestUpstreams_that_are_not_public_are_never_reached_SEC_41 dials as production
// does: nothing of this machine.
func TestUpstreams_that_are_not_public_are_never_reached_SEC_41(t *testing.T) {
	t.Parallel()
	var url string
	w := newWorld(t, tenants.UpstreamNative, func(http.ResponseWriter, *http.Request) {}, setting{
		config: func(c *upstream.Config) { c.Transport = upstream.NewTransport(outbound.Policy{}) },
		up: func(u *tenants.Upstream) {
			url = strings.Replace(u.Rules[0].URL, "127.0.0.1", "localhost", 1) // a name that leads here
			u.Rules = []tenants.UpstreamRule{{URL: u.Rules[0].URL, Event: "address"}, {URL: url, Event: "name"}, {URL: strings.Replace(url, "http:", "https:", 1), Event: "tls"}}
		},
	})
	c := w.connect(protocol.NewJSON(), "con1")
	for _, target := range []string{"address", "name", "tls"} {
		c.invoke("1", target, `[]`)
		want := "error: An unexpected error occurred invoking '" + target + "' on the server. HubException: The upstream can't be reached."
		if got := c.completion("1"); got != want {
			t.Errorf("got %s", got)
		}
	}
	if len(w.arrived) != 0 {
		t.Error("a request arrived")
	}
	w.ledger.until(t, "deliveries", func(l *ledger) bool { return len(l.deliveries) == 3 })
	for _, d := range w.ledger.deliveries {
		if d.Error != "upstream_unreachable" || d.DurationMS != 0 || d.Status != 0 {
			t.Errorf("the log tells more than it should: %+v", d)
		}
	}
}

func TestDeliveries_hold_no_secrets(t *testing.T) {
	t.Parallel()
	for _, mode := range tenants.UpstreamModes {
		w := newWorld(t, mode, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, setting{up: func(u *tenants.Upstream) {
			u.Rules[0].URL += "?code=function-key"
		}})
		w.connect(protocol.NewJSON(), "con1")
		a := w.next()
		w.ledger.until(t, "the delivery", func(l *ledger) bool { return len(l.deliveries) == 1 })
		signature := a.header.Get("X-ASRS-Signature") + a.header.Get("Webhook-Signature")
		if shown := fmt.Sprintf("%+v", w.ledger.deliveries[0]); signature == "" || strings.Contains(shown, "function-key") || strings.Contains(shown, signature) {
			t.Errorf("the log shows %s", shown)
		}
	}
}

// TestUser_who_is_back_in_a_moment_has_not_left: the second connection says whose
// place it takes, and the first one's end isn't told.
func TestUser_who_is_back_in_a_moment_has_not_left(t *testing.T) {
	t.Parallel()
	redis, err := redisclient.New(testenv.Redis(t), "upstream-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = redis.Close() })
	w := newWorld(t, tenants.UpstreamNative, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, setting{
		config: func(c *upstream.Config) { c.Redis = redis },
		up:     func(u *tenants.Upstream) { u.ReconnectSeconds = 60 },
	})
	c := w.connect(protocol.NewJSON(), "con1")
	if m := w.event("connected").message(t); m.Replaces != "" {
		t.Errorf("the first connection replaces %q", m.Replaces)
	}
	c.Abort()
	<-c.ended
	second := w.connect(protocol.NewJSON(), "con2")
	if m := w.event("connected").message(t); m.Replaces != "con1" {
		t.Errorf("the second connection replaces %q", m.Replaces)
	}
	second.leave()
	<-second.ended
	if err := w.gateway.Close(t.Context()); err != nil { // an edge that ends waits for nobody
		t.Error(err)
	}
	if m := w.event("disconnected").message(t); m.ConnectionID != "con2" {
		t.Errorf("told of the end of %s", m.ConnectionID)
	}
}

// control makes a Control whose log is in memory.
func control(t *testing.T, p outbound.Policy) *upstream.Control {
	t.Helper()
	transport := outbound.NewTransport(outbound.Config{Policy: p})
	t.Cleanup(transport.CloseIdleConnections)
	return upstream.NewControl(upstream.ControlConfig{Policy: p, Transport: transport, Log: writer{}, Origin: "signalbox.example", Logger: discard})
}

type writer struct{}

func (writer) Write(_ context.Context, _ tenants.ID, d tenants.Delivery) (tenants.Delivery, error) {
	d.ID = "2-0"
	return d, nil
}

func TestCheck_refuses_what_may_not_be_reached_SEC_41(t *testing.T) {
	t.Parallel()
	c := control(t, outbound.Policy{})
	for _, url := range []string{
		"https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://[::1]/", "https://[::ffff:169.254.169.254]/",
		"https://169.254.169.254/", "https://[fd00:ec2::254]/", "https://100.64.0.1/", "https://0.0.0.0/", "https://168.63.129.16/", "http://example.com/",
		"https://example.com:6379/", "https://example.com:5432/{event}", "https://localhost/",
	} {
		err := c.Check(t.Context(), "chat", tenants.Upstream{Mode: tenants.UpstreamAzure, Rules: []tenants.UpstreamRule{{URL: "https://example.com/"}, {URL: url}}})
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(fmt.Sprint(err), "upstream.rules.1.url") || strings.Contains(fmt.Sprint(err), "rules.0") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestCheck_asks_before_anybody_gets_requests_SEC_42(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Method != http.MethodOptions || r.Header.Get("WebHook-Request-Origin") != "signalbox.example" {
			t.Errorf("%s with %v", r.Method, r.Header)
		}
		switch r.URL.Path {
		case "/all":
			w.Header().Set("WebHook-Allowed-Origin", "*")
		case "/us/chat":
			w.Header().Set("WebHook-Allowed-Origin", "other.example, Signalbox.example")
		case "/others":
			w.Header().Set("WebHook-Allowed-Origin", "other.example")
		case "/failing":
			w.Header().Set("WebHook-Allowed-Origin", "*")
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(server.Close)
	c := control(t, outbound.Policy{Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	for path, ok := range map[string]bool{"/all": true, "/us/{hub}": true, "/others": false, "/nobody": false, "/failing": false} {
		u := tenants.Upstream{Mode: tenants.UpstreamNative, Rules: []tenants.UpstreamRule{{URL: server.URL + path}}}
		if err := c.Check(t.Context(), "chat", u); (err == nil) != ok {
			t.Errorf("%s: %v", path, err)
		}
	}
	before := asked.Load()
	azure := tenants.Upstream{Mode: tenants.UpstreamAzure, Rules: []tenants.UpstreamRule{{URL: server.URL + "/nobody"}}}
	if err := c.Check(t.Context(), "chat", azure); err != nil || asked.Load() != before {
		t.Errorf("Azure's functions were asked: %v", err)
	}
}

func TestReplay_sends_the_same_again_with_a_signature_of_now(t *testing.T) {
	t.Parallel()
	for _, mode := range tenants.UpstreamModes {
		w := newWorld(t, mode, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
		w.connect(protocol.NewJSON(), "con1")
		first := w.next()
		w.ledger.until(t, "the delivery", func(l *ledger) bool { return len(l.deliveries) == 1 })
		of := w.ledger.deliveries[0]
		of.ID = "1-0"
		c := control(t, allowed)
		begun := 0
		begin := func() error { begun++; return nil }
		again, err := c.Replay(t.Context(), w.document(), of, begin)
		if err != nil || again.Outcome != tenants.Delivered || again.ReplayOf != "1-0" || again.Attempt != 2 || again.ID != "2-0" {
			t.Errorf("%s: %+v, %v", mode, again, err)
		}
		second := w.next()
		if string(second.body) != string(first.body) || second.path != first.path || second.header.Get("X-ASRS-Signature") != first.header.Get("X-ASRS-Signature") ||
			second.header.Get("X-ASRS-User-Claims") != first.header.Get("X-ASRS-User-Claims") || second.header.Get("Webhook-Id") != first.header.Get("Webhook-Id") {
			t.Errorf("%s: %+v was sent again as %+v", mode, first, second)
		}
		doc := w.document()
		doc.Hubs = map[string]tenants.HubSettings{}
		if _, err := c.Replay(t.Context(), doc, of, begin); fault.KindOf(err) != fault.Conflict || begun != 1 {
			t.Errorf("%s: without an upstream: %v; %d have begun, want the first", mode, err, begun)
		}
		unheard := errors.New("not noted")
		if _, err := c.Replay(t.Context(), w.document(), of, func() error { return unheard }); !errors.Is(err, unheard) || len(w.arrived) != 0 {
			t.Errorf("%s: one that can't be noted: %v, %d requests", mode, err, len(w.arrived))
		}
	}
}
