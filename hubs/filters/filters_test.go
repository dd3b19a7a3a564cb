package filters_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/filters"
	"github.com/signalbox/signalbox/hubs/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is a hubs.Transport in memory with the client's end in its methods.
type client struct {
	t     *testing.T
	in    chan string
	out   chan string
	rest  string
	ended chan struct{}
	once  sync.Once
	done  chan error
}

func (*client) Kind() hubs.TransportKind          { return hubs.WebSockets }
func (*client) SetFormat(protocol.TransferFormat) {}
func (c *client) Close(hubs.Ending)               { c.Abort() }
func (c *client) Abort()                          { c.once.Do(func() { close(c.ended) }) }

func (c *client) Wait() error {
	if c.rest != "" {
		return nil
	}
	select {
	case s, ok := <-c.in:
		if !ok {
			return io.EOF
		}
		c.rest = s
		return nil
	case <-c.ended:
		return io.ErrClosedPipe
	}
}

func (c *client) Read(p []byte) (int, error) {
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *client) Write(p []byte) error {
	for record := range strings.SplitAfterSeq(string(p), "\x1e") {
		if record != "" {
			c.out <- strings.TrimSuffix(record, "\x1e")
		}
	}
	return nil
}

func connect(t *testing.T, p hubs.Principal, hub any, options ...hubs.RegisterOption) *client {
	t.Helper()
	d, err := hubs.Register(hub, options...)
	if err != nil {
		t.Fatal(err)
	}
	s, err := hubs.NewServer(hubs.Config{Name: "chat", Dispatcher: d})
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, in: make(chan string, 10), out: make(chan string, 100), ended: make(chan struct{}), done: make(chan error, 1)}
	go func() { c.done <- s.Serve(context.Background(), hubs.ConnectionInfo{ID: "c1", Principal: p}, c) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	c.in <- "{\"protocol\":\"json\",\"version\":1}\x1e"
	if got := <-c.out; got != "{}" {
		t.Fatalf("got %s", got)
	}
	return c
}

// invoke returns the error of the answer, "" when there is none.
func (c *client) invoke(method, args string) string {
	c.t.Helper()
	c.in <- fmt.Sprintf("{\"type\":1,\"invocationId\":\"1\",\"target\":%q,\"arguments\":%s}\x1e", method, args)
	record := <-c.out
	var m protocol.Message
	if n, err := protocol.NewJSON().Parse([]byte(record+"\x1e"), &m); n == 0 || err != nil {
		c.t.Fatalf("%s: %v", record, err)
	}
	return m.Error
}

func (c *client) leave() {
	c.t.Helper()
	close(c.in)
	if err := <-c.done; err != nil {
		c.t.Errorf("Serve returned %v", err)
	}
}

type message struct {
	Text string `json:"text"`
}

func (m *message) Validate() error {
	if m.Text == "" {
		return errors.New("text is empty")
	}
	return nil
}

type hub struct{}

func (hub) Say(message)        {}
func (hub) Number(int)         {}
func (hub) Fail() error        { return errors.New("secret") }
func (hub) Panic()             { panic("secret") }
func (hub) Whisper(_ *message) {}

const (
	refusal = "Failed to invoke '%s' because user is unauthorized"
	generic = "An unexpected error occurred invoking '%s' on the server."
)

// TestRequire covers I-17.
func TestRequire(t *testing.T) {
	t.Parallel()
	admin := hubs.Principal{UserID: "ann", Claims: []hubs.Claim{{Type: "role", Value: "admin"}, {Type: "room", Value: "7"}}}
	guarded := []hubs.RegisterOption{hubs.Use(filters.Require(filters.User())), hubs.UseOn("Number", filters.Require(filters.Role("owner", "admin"), filters.Claim("room", "7", "8"), filters.Claim("room")))}
	for name, c := range map[string]struct {
		who         hubs.Principal
		say, number bool
	}{
		"everything is there": {admin, true, true},
		"nobody":              {hubs.Principal{}, false, false},
		"no role":             {hubs.Principal{UserID: "bob", Claims: admin.Claims[1:]}, true, false},
		"wrong claim":         {hubs.Principal{UserID: "bob", Claims: []hubs.Claim{admin.Claims[0], {Type: "room", Value: "9"}}}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			client := connect(t, c.who, hub{}, guarded...)
			for method, allowed := range map[string]bool{"Say": c.say, "Number": c.number} {
				want := ""
				if !allowed {
					want = fmt.Sprintf(refusal, method)
				}
				if got := client.invoke(method, map[string]string{"Say": `[{"text":"x"}]`, "Number": "[1]"}[method]); got != want {
					t.Errorf("%s: %q, want %q", method, got, want)
				}
			}
		})
	}
	t.Run("to connect", func(t *testing.T) {
		client := connect(t, hubs.Principal{}, hub{}, hubs.Use(filters.RequireToConnect(filters.User())))
		if got := <-client.out; got != `{"type":7,"error":"Connection closed with an error. HubException: The user is unauthorized."}` {
			t.Errorf("got %s", got)
		}
	})
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	perHub, perMethod := filters.RateLimit(0.001, 4), filters.RateLimit(0.001, 1)
	c := connect(t, hubs.Principal{}, hub{}, hubs.Use(perHub), hubs.UseOn("Say", perMethod))
	text := "An unexpected error occurred invoking '%s' on the server. HubException: Too many invocations: at most 0.001 a second, %d at once."
	for i, want := range []struct{ method, err string }{
		{"Say", ""}, {"Say", fmt.Sprintf(text, "Say", 1)}, {"Number", ""}, {"Number", ""}, {"Number", fmt.Sprintf(text, "Number", 4)},
	} {
		if got := c.invoke(want.method, map[string]string{"Say": `[{}]`, "Number": "[1]"}[want.method]); got != want.err {
			t.Errorf("%d: %q, want %q", i, got, want.err)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	c := connect(t, hubs.Principal{}, hub{}, hubs.Use(filters.Validate(func(_ context.Context, method string, args []any) error {
		if n, ok := args[0].(int); ok && method == "Number" && n < 0 {
			return errors.New("The number is negative.")
		}
		return nil
	})))
	for _, call := range []struct{ method, args, err string }{
		{"Say", `[{"text":"x"}]`, ""},
		{"Say", `[{}]`, fmt.Sprintf(generic, "Say") + " HubException: Argument 1: text is empty"},
		{"Whisper", `[{}]`, fmt.Sprintf(generic, "Whisper") + " HubException: Argument 1: text is empty"},
		{"Whisper", `[null]`, ""},
		{"Number", `[1]`, ""},
		{"Number", `[-1]`, fmt.Sprintf(generic, "Number") + " HubException: The number is negative."},
	} {
		if got := c.invoke(call.method, call.args); got != call.err {
			t.Errorf("%s%s: %q, want %q", call.method, call.args, got, call.err)
		}
	}
}

func TestAudit_and_Recover(t *testing.T) {
	t.Parallel()
	var trail, panics bytes.Buffer
	c := connect(t, hubs.Principal{UserID: "ann"}, hub{}, hubs.Use(
		filters.Audit(slog.New(slog.NewTextHandler(&trail, nil))), filters.Recover(slog.New(slog.NewTextHandler(&panics, nil)))))
	for _, method := range []string{"Fail", "Panic"} {
		if got := c.invoke(method, "[]"); got != fmt.Sprintf(generic, method) {
			t.Errorf("%s: %q", method, got)
		}
	}
	c.invoke("Say", `[{"text":"confidential"}]`)
	c.leave()
	for _, want := range []string{"msg=connected", "caller.user=ann", "method=Fail", "outcome=failed", "method=Say", "outcome=ok", "msg=disconnected", "orderly=true"} {
		if !strings.Contains(trail.String(), want) {
			t.Errorf("the trail lacks %s", want)
		}
	}
	if s := trail.String(); strings.Contains(s, "secret") || strings.Contains(s, "confidential") {
		t.Errorf("the trail tells too much: %s", s)
	}
	if s := panics.String(); !strings.Contains(s, "panic=secret") || !strings.Contains(s, "filters_test.hub.Panic") {
		t.Errorf("the panic's log: %s", s)
	}
}

func TestTelemetry(t *testing.T) {
	t.Parallel()
	spans, reader := tracetest.NewSpanRecorder(), metric.NewManualReader()
	f, err := filters.Telemetry(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)), metric.NewMeterProvider(metric.WithReader(reader)))
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, hubs.Principal{UserID: "ann"}, hub{}, hubs.Use(f))
	c.invoke("Number", "[1]")
	c.invoke("Fail", "[]")
	c.invoke("NoSuchMethod", "[]")
	c.leave()
	var names []string
	for _, s := range spans.Ended() {
		names = append(names, s.Name()+" "+s.Status().Code.String())
	}
	if strings.Join(names, ", ") != "chat/Number Unset, chat/Fail Error" {
		t.Errorf("spans %v", names)
	}
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, m := range data.ScopeMetrics[0].Metrics {
		switch d := m.Data.(type) {
		case metricdata.Sum[int64]:
			seen[m.Name] = int(d.DataPoints[0].Value)
		case metricdata.Histogram[float64]:
			seen[m.Name] = len(d.DataPoints)
		}
	}
	if seen["signalr.server.active_connections"] != 0 || seen["signalr.server.connection.duration"] != 1 || seen["rpc.server.duration"] != 2 {
		t.Errorf("metrics %v", seen)
	}
}

// A connection that a filter outside of Telemetry refuses is in none of its figures.
func TestTelemetry_counts_what_it_saw(t *testing.T) {
	t.Parallel()
	reader := metric.NewManualReader()
	f, err := filters.Telemetry(sdktrace.NewTracerProvider(), metric.NewMeterProvider(metric.WithReader(reader)))
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, hubs.Principal{}, hub{}, hubs.Use(filters.RequireToConnect(filters.User()), f))
	<-c.done
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			t.Errorf("%s is %+v", m.Name, m.Data)
		}
	}
}
