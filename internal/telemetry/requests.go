package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/httpconv"
)

// otherMethod is what methods that HTTP doesn't define are called in metrics.
const otherMethod = "_OTHER"

// knownMethod is a method as metrics name it.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace, "QUERY":
		return method
	}
	return otherMethod
}

// protocolVersion is that of a request's protocol, such as "1.1".
func protocolVersion(proto string) string {
	if proto == "HTTP/1.1" {
		return "1.1"
	}
	_, version, _ := strings.Cut(proto, "/")
	return version
}

// mostKinds bounds the kinds of requests whose attributes are kept. There are fewer
// unless somebody thinks of versions of HTTP.
const mostKinds = 1000

// requestMetrics are the http.server.* metrics of a process.
type requestMetrics struct {
	duration metric.Float64Histogram
	received metric.Int64Histogram
	sent     metric.Int64Histogram

	mu    sync.RWMutex
	kinds map[requestKind]metric.MeasurementOption
}

// requestKind is all that metrics tell of a request.
type requestKind struct {
	method, route, version string
	status                 int
}

func newRequestMetrics(m metric.Meter) (*requestMetrics, error) {
	duration, err1 := httpconv.NewServerRequestDuration(m, metric.WithExplicitBucketBoundaries(
		0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10))
	received, err2 := httpconv.NewServerRequestBodySize(m)
	sent, err3 := httpconv.NewServerResponseBodySize(m)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("make request metrics: %w", err)
	}
	return &requestMetrics{
		duration: duration.Inst(), received: received.Inst(), sent: sent.Inst(),
		kinds: make(map[requestKind]metric.MeasurementOption),
	}, nil
}

// record counts a request that was served.
func (m *requestMetrics) record(ctx context.Context, k requestKind, received, sent int64, lasted time.Duration) {
	attributes := m.attributes(k)
	m.duration.Record(ctx, lasted.Seconds(), attributes)
	m.received.Record(ctx, received, attributes)
	m.sent.Record(ctx, sent, attributes)
}

// attributes makes those of a kind, once.
func (m *requestMetrics) attributes(k requestKind) metric.MeasurementOption {
	m.mu.RLock()
	known, ok := m.kinds[k]
	m.mu.RUnlock()
	if ok {
		return known
	}
	list := []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(k.method), semconv.HTTPResponseStatusCode(k.status), semconv.NetworkProtocolVersion(k.version),
	}
	if k.route != "" {
		list = append(list, semconv.HTTPRoute(k.route))
	}
	made := metric.WithAttributeSet(attribute.NewSet(list...))
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.kinds) < mostKinds {
		m.kinds[k] = made
	}
	return made
}

// countedBody counts what is read of a body whose size the request doesn't say.
type countedBody struct {
	io.ReadCloser
	read int64
}

// countBody puts a countedBody into r where one is needed, or returns nil.
func countBody(r *http.Request) *countedBody {
	if r.ContentLength >= 0 {
		return nil
	}
	b := &countedBody{ReadCloser: r.Body}
	r.Body = b
	return b
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	return n, err
}

// countedAnswer notes what is answered. Only the handler's goroutine uses it, as with
// any ResponseWriter.
type countedAnswer struct {
	http.ResponseWriter
	status  int
	begun   bool
	written int64
}

// Unwrap is for http.ResponseController.
func (a *countedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *countedAnswer) WriteHeader(status int) {
	// Informational answers precede the one that counts.
	if !a.begun && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		a.begun, a.status = true, status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *countedAnswer) Write(p []byte) (int, error) {
	a.begun = true
	n, err := a.ResponseWriter.Write(p)
	a.written += int64(n)
	return n, err
}

// ReadFrom lets files go out without a copy, where the server can do that.
func (a *countedAnswer) ReadFrom(src io.Reader) (int64, error) {
	a.begun = true
	n, err := io.Copy(a.ResponseWriter, src)
	a.written += n
	return n, err
}

// Flush implements http.Flusher.
func (a *countedAnswer) Flush() {
	a.begun = true
	_ = http.NewResponseController(a.ResponseWriter).Flush() // which not every writer can
}
