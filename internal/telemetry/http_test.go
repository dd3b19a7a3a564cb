package telemetry_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/signalbox/signalbox/internal/telemetry"
)

// What is told of a request: its sizes, whether it says them or not, and the status
// that counts.
func TestRequestMetrics_have_sizes_and_status(t *testing.T) {
	t.Parallel()
	tel := start(t, telemetry.Config{})
	h := tel.HTTP(telemetry.HTTPOptions{})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		telemetry.SetRoute(r.Context(), "/r")
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusAccepted)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		if _, err := io.Copy(w, strings.NewReader("answer")); err != nil {
			t.Error(err)
		}
		if _, err := w.Write([]byte("!")); err != nil {
			t.Error(err)
		}
	}))
	for _, body := range []io.Reader{strings.NewReader("12345"), struct{ io.Reader }{strings.NewReader("678")}} { // the other isn't measured before
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("BREW", "/", body))
	}
	text := scrape(t, tel)
	for _, want := range []string{
		`http_server_request_body_size_bytes_sum{http_request_method="_OTHER",http_response_status_code="202",http_route="/r",network_protocol_version="1.1"} 8`,
		`http_server_response_body_size_bytes_sum{http_request_method="_OTHER",http_response_status_code="202",http_route="/r",network_protocol_version="1.1"} 14`,
		`http_server_request_duration_seconds_count{http_request_method="_OTHER",http_response_status_code="202",http_route="/r",network_protocol_version="1.1"} 2`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

// Exemplars have the trace and nothing else: what a client can choose makes them
// longer than exporters take.
func TestRequestMetrics_have_exemplars_without_attributes(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	tel := start(t, telemetry.Config{MetricReaders: []sdkmetric.Reader{reader}})
	h := tel.HTTP(telemetry.HTTPOptions{Public: true})(http.NotFoundHandler())
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://a-rather-long-name-of-a-tenant.signalbox.example.com:8443/", nil))
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	exemplars := 0
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			h, ok := m.Data.(metricdata.Histogram[float64])
			if !ok || m.Name != "http.server.request.duration" {
				continue
			}
			for _, e := range h.DataPoints[0].Exemplars {
				exemplars++
				if len(e.FilteredAttributes) != 0 || len(e.TraceID) == 0 {
					t.Errorf("an exemplar has the attributes %v, trace %x", e.FilteredAttributes, e.TraceID)
				}
			}
		}
	}
	if exemplars == 0 {
		t.Error("there is no exemplar")
	}
}

func BenchmarkHTTP(b *testing.B) {
	tel, err := telemetry.Start(b.Context(), telemetry.Config{Service: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	h := tel.HTTP(telemetry.HTTPOptions{Public: true})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		telemetry.SetRoute(r.Context(), "/api/v1/hubs/{hub}/groups/{group}")
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
	}))
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8888/api/v1/hubs/load/groups/g", nil)
	r.Header.Set("User-Agent", "Go-http-client/1.1")
	b.ReportAllocs()
	for b.Loop() {
		r.Body = io.NopCloser(strings.NewReader("12345678"))
		r.ContentLength = 8
		h.ServeHTTP(discarded{}, r)
	}
}

// discarded is an answer that goes nowhere.
type discarded struct{}

func (discarded) Header() http.Header         { return http.Header{} }
func (discarded) Write(p []byte) (int, error) { return len(p), nil }
func (discarded) WriteHeader(int)             {}
