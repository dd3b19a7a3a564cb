package telemetry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/signalbox/signalbox/internal/telemetry"
)

func start(t *testing.T, cfg telemetry.Config) *telemetry.Telemetry {
	t.Helper()
	if cfg.Service == "" {
		cfg.Service = "test"
	}
	if cfg.SampleRatio == nil {
		all := 1.0
		cfg.SampleRatio = &all
	}
	tel, err := telemetry.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tel.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return tel
}

func scrape(t *testing.T, tel *telemetry.Telemetry) string {
	t.Helper()
	w := httptest.NewRecorder()
	tel.MetricsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("metrics answered %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestMetricsHandlerShowsCountersRuntimeAndBuild(t *testing.T) {
	t.Parallel()
	tel := start(t, telemetry.Config{Version: "v1.2.3", Instance: "one"})
	c, err := tel.Meter().Int64Counter("signalbox.test.things")
	if err != nil {
		t.Fatal(err)
	}
	c.Add(t.Context(), 3)
	body := scrape(t, tel)
	for _, want := range []string{
		`(?m)^signalbox_test_things_total\S* 3$`,
		`(?m)^go_goroutines \d+$`,
		`(?m)^process_open_fds \d+$`,
		`(?m)^signalbox_build_info\S*version="v1\.2\.3".* 1$`,
		`(?m)^target_info\{.*service_instance_id="one".*service_name="test".*service_namespace="signalbox".*\} 1$`,
	} {
		if !regexp.MustCompile(want).MatchString(body) {
			t.Errorf("no line matches %s in\n%s", want, body)
		}
	}
}

func TestConfigListsEveryBadField(t *testing.T) {
	t.Parallel()
	ratio := 1.5
	_, err := telemetry.Start(t.Context(), telemetry.Config{OTLPEndpoint: "collector:4318", MetricInterval: -1, SampleRatio: &ratio})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"service", "otlp endpoint", "metric interval", "sample ratio"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in %v", want, err)
		}
	}
}

func TestUnreachableCollectorDoesNotHoldUpTheProcess(t *testing.T) {
	t.Parallel()
	// Nobody listens on port 1.
	tel, err := telemetry.Start(t.Context(), telemetry.Config{Service: "test", OTLPEndpoint: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tel.Tracer().Start(t.Context(), "work")
	span.End()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := tel.Shutdown(ctx); err == nil {
		t.Fatal("the loss of the last batch was not reported")
	}
}

func TestOTLPExportersPostToTheEndpoint(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	bodies := map[string]string{}
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		bodies[r.URL.Path] += string(b)
		mu.Unlock()
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer collector.Close()
	all := 1.0
	tel, err := telemetry.Start(t.Context(), telemetry.Config{Service: "test", OTLPEndpoint: collector.URL + "/", SampleRatio: &all})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tel.Tracer().Start(t.Context(), "work")
	span.RecordError(errors.New(`Get "http://edge/client/?hub=chat&access_token=top-secret": refused`))
	span.End()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if b := bodies["/v1/traces"]; !strings.Contains(b, "work") || !strings.Contains(b, "refused") || strings.Contains(b, "top-secret") {
		t.Errorf("traces: %q", b)
	}
	if b := bodies["/v1/metrics"]; !strings.Contains(b, telemetry.MetricBuildInfo) {
		t.Errorf("metrics: %q", b)
	}
}

// recorder keeps the spans of a test.
func recorder() (*tracetest.InMemoryExporter, []sdktrace.SpanProcessor) {
	spans := tracetest.NewInMemoryExporter()
	return spans, []sdktrace.SpanProcessor{sdktrace.NewSimpleSpanProcessor(spans)}
}

// everything is all text of a span, for searches.
func everything(s tracetest.SpanStub) string {
	var b strings.Builder
	b.WriteString(s.Name + " " + s.Status.Description)
	for _, kv := range s.Attributes {
		b.WriteString(" " + string(kv.Key) + "=" + kv.Value.String())
	}
	for _, e := range s.Events {
		for _, kv := range e.Attributes {
			b.WriteString(" " + kv.Value.String())
		}
	}
	return b.String()
}

func TestServerSpansAreNamedByRouteAndHoldNoToken(t *testing.T) {
	t.Parallel()
	spans, processors := recorder()
	tel := start(t, telemetry.Config{SpanProcessors: processors})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/hubs/{hub}", func(http.ResponseWriter, *http.Request) {})
	// What no router names is named by hand.
	byHand := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/client/") {
			telemetry.SetRoute(r.Context(), "/client/negotiate")
			return
		}
		mux.ServeHTTP(w, r)
	})
	h := tel.HTTP(telemetry.HTTPOptions{Public: true})(byHand)
	for _, r := range []*http.Request{
		httptest.NewRequest(http.MethodPost, "http://acme.example.com/api/hubs/chat?access_token=top-secret", nil),
		httptest.NewRequest(http.MethodPost, "http://acme.example.com/client/negotiate?hub=chat&access_token=top-secret", nil),
		httptest.NewRequest(http.MethodGet, "http://acme.example.com/unknown/top?token=top-secret", nil),
	} {
		r.Header.Set("Authorization", "Bearer top-secret")
		r.Header.Set("Referer", "http://x/?access_token=top-secret")
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	var names []string
	for _, s := range spans.GetSpans() {
		names = append(names, s.Name)
		if text := everything(s); strings.Contains(text, "secret") || strings.Contains(text, "hub=chat") {
			t.Errorf("a query string is in %s", text)
		}
	}
	if got, want := strings.Join(names, "|"), "POST /api/hubs/{hub}|POST /client/negotiate|GET"; got != want {
		t.Errorf("span names are %s, want %s", got, want)
	}
	body := scrape(t, tel)
	if !strings.Contains(body, `http_route="/api/hubs/{hub}"`) {
		t.Errorf("no route in the metrics:\n%s", body)
	}
	if strings.Contains(body, "acme") || strings.Contains(body, "secret") {
		t.Errorf("the host or the query is in the metrics:\n%s", body)
	}
}

func TestRouterInsideGivesItsPattern(t *testing.T) {
	t.Parallel()
	spans, processors := recorder()
	tel := start(t, telemetry.Config{SpanProcessors: processors})
	h := tel.HTTP(telemetry.HTTPOptions{Route: func(*http.Request) string { return "/v1/tenants/{tenant}" }})(http.NotFoundHandler())
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/v1/tenants/acme", nil))
	got := spans.GetSpans()[0]
	if got.Name != "GET /v1/tenants/{tenant}" || !strings.Contains(everything(got), "http.route=/v1/tenants/{tenant}") {
		t.Errorf("span is %s", everything(got))
	}
}

func TestConnectionsGetNoSpanOfTheirOwn(t *testing.T) {
	t.Parallel()
	spans, processors := recorder()
	tel := start(t, telemetry.Config{SpanProcessors: processors})
	served := 0
	h := tel.HTTP(telemetry.HTTPOptions{})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
	ws := httptest.NewRequest(http.MethodGet, "/client/", nil)
	ws.Header.Set("Upgrade", "WebSocket")
	sse := httptest.NewRequest(http.MethodGet, "/client/", nil)
	sse.Header.Set("Accept", "text/event-stream")
	h.ServeHTTP(httptest.NewRecorder(), ws)
	h.ServeHTTP(httptest.NewRecorder(), sse)
	if served != 2 || len(spans.GetSpans()) != 0 {
		t.Errorf("%d served, spans %v", served, spans.GetSpans())
	}
}

func TestPublicListenersBeginTheirOwnTrace(t *testing.T) {
	t.Parallel()
	for _, public := range []bool{true, false} {
		spans, processors := recorder()
		tel := start(t, telemetry.Config{SpanProcessors: processors})
		parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		tel.Propagator().Inject(trace.ContextWithSpanContext(t.Context(), parent), propagation.HeaderCarrier(r.Header))
		tel.HTTP(telemetry.HTTPOptions{Public: public})(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)
		got := spans.GetSpans()[0]
		if own := got.SpanContext.TraceID() != parent.TraceID(); own != public {
			t.Errorf("public %t: own trace is %t", public, own)
		}
		if public && (len(got.Links) != 1 || got.Links[0].SpanContext.TraceID() != parent.TraceID()) {
			t.Errorf("the caller's trace is not linked: %v", got.Links)
		}
	}
}

func TestClientSpansHoldNoQueryAndSendTheTrace(t *testing.T) {
	t.Parallel()
	spans, processors := recorder()
	tel := start(t, telemetry.Config{SpanProcessors: processors})
	var traceparent string
	peer := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { traceparent = r.Header.Get("traceparent") }))
	defer peer.Close()
	client := &http.Client{Transport: tel.Transport(nil)}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, peer.URL+"/relay?id=top-secret", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	got := spans.GetSpans()
	if len(got) != 1 || strings.Contains(everything(got[0]), "top-secret") || !strings.Contains(everything(got[0]), "/relay") {
		t.Fatalf("spans %v", got)
	}
	if !strings.Contains(traceparent, got[0].SpanContext.TraceID().String()) {
		t.Errorf("traceparent is %q", traceparent)
	}
}
