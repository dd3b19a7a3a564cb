package telemetry

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// HTTPOptions say how requests of one listener are told about.
type HTTPOptions struct {
	// Public is set where strangers connect: each request begins a trace of its
	// own, linked to the caller's, so that nobody outside decides what we sample.
	// Without it the caller's trace goes on.
	Public bool
	// Route returns the pattern that the router chose, such as
	// "/v1/tenants/{tenant}", after the request was served; empty = none. For chi
	// it is httpserver.RoutePattern, with httpserver.WithRoutes around it all.
	// nil = r.Pattern of the request that the next handler was given. Where no
	// pattern was chosen, what SetRoute said counts.
	Route func(*http.Request) string
}

// HTTP wraps a handler in a server span and in http.server.* metrics, as
// OpenTelemetry's conventions have them. Both are named by the route, never by the
// path; query strings, which carry access tokens, are never recorded, nor is any
// header but User-Agent. Metrics have nothing that a client can choose freely: not
// the Host header, either, which also names the tenant.
//
// Requests that live as long as a connection (WebSockets, Server-Sent Events) get
// neither: they would be spans of hours. EdgeMetrics tells about those.
//
// It is here, and not otelhttp's, because that costs a publish more than the
// publish's own JSON: attributes of spans that nobody keeps, and metrics with
// attributes that a view takes away again.
func (t *Telemetry) HTTP(o HTTPOptions) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return &instrumented{next: next, options: o, tracer: t.Tracer(), propagator: t.propagator, metrics: t.requests}
	}
}

// instrumented is a handler that is told about.
type instrumented struct {
	next       http.Handler
	options    HTTPOptions
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	metrics    *requestMetrics
}

func (h *instrumented) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !shortLived(r) {
		h.next.ServeHTTP(w, r)
		return
	}
	began := time.Now()
	ctx, span := h.start(r)
	defer span.End()
	scope := &routeScope{Context: ctx}
	inner := r.WithContext(scope)
	body := countBody(inner)
	answer := &countedAnswer{ResponseWriter: w, status: http.StatusOK}
	h.next.ServeHTTP(answer, inner)

	route := h.route(inner, scope)
	size := r.ContentLength
	if body != nil {
		size = body.read
	}
	if span.IsRecording() {
		describe(span, r, route, size, answer)
	}
	h.metrics.record(scope, requestKind{
		method: knownMethod(r.Method), route: route, version: protocolVersion(r.Proto), status: answer.status,
	}, size, answer.written, time.Since(began))
}

// start begins the span. What it is about is told at its end, and only when
// somebody keeps it.
func (h *instrumented) start(r *http.Request) (context.Context, trace.Span) {
	ctx := r.Context()
	// Without these the propagator has nothing to find.
	if r.Header["Traceparent"] != nil || r.Header["Baggage"] != nil {
		ctx = h.propagator.Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	name := knownMethod(r.Method)
	if name == otherMethod {
		name = "HTTP"
	}
	if !h.options.Public {
		return h.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer))
	}
	if caller := trace.SpanContextFromContext(ctx); caller.IsValid() && caller.IsRemote() {
		return h.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithNewRoot(), trace.WithLinks(trace.Link{SpanContext: caller}))
	}
	return h.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithNewRoot())
}

// route is the pattern of a request that was served, without a method.
func (h *instrumented) route(inner *http.Request, scope *routeScope) string {
	pattern := inner.Pattern
	if h.options.Route != nil {
		pattern = h.options.Route(inner)
	}
	if pattern == "" {
		pattern = scope.route
	}
	if _, path, found := strings.Cut(pattern, " "); found { // net/http's may begin with a method
		return path
	}
	return pattern
}

// describe gives a span what the conventions want of a server's.
func describe(span trace.Span, r *http.Request, route string, size int64, answer *countedAnswer) {
	method := knownMethod(r.Method)
	attributes := make([]attribute.KeyValue, 0, 16)
	attributes = append(attributes,
		semconv.HTTPRequestMethodKey.String(method), semconv.HTTPResponseStatusCode(answer.status),
		semconv.URLPath(r.URL.Path), semconv.NetworkProtocolVersion(protocolVersion(r.Proto)))
	if method == otherMethod {
		attributes = append(attributes, semconv.HTTPRequestMethodOriginal(r.Method))
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	attributes = append(attributes, semconv.URLScheme(scheme))
	if host, port := hostPort(r.Host); host != "" {
		attributes = append(attributes, semconv.ServerAddress(host))
		if port > 0 {
			attributes = append(attributes, semconv.ServerPort(port))
		}
	}
	if peer, port := hostPort(r.RemoteAddr); peer != "" {
		attributes = append(attributes, semconv.NetworkPeerAddress(peer), semconv.ClientAddress(peer))
		if port > 0 {
			attributes = append(attributes, semconv.NetworkPeerPort(port))
		}
	}
	if agent := r.UserAgent(); agent != "" {
		attributes = append(attributes, semconv.UserAgentOriginal(agent))
	}
	if size > 0 {
		attributes = append(attributes, semconv.HTTPRequestBodySize(int(size)))
	}
	if answer.written > 0 {
		attributes = append(attributes, semconv.HTTPResponseBodySize(int(answer.written)))
	}
	if route != "" {
		attributes = append(attributes, semconv.HTTPRoute(route))
		name := method
		if method == otherMethod {
			name = "HTTP"
		}
		span.SetName(name + " " + route)
	}
	span.SetAttributes(attributes...)
	if answer.status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
}

// hostPort splits an address whose port may be missing; 0 = there is none.
func hostPort(address string) (host string, port int) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return strings.Trim(address, "[]"), 0
	}
	port, _ = strconv.Atoi(text) // 0 when it is none
	return host, port
}

// shortLived reports whether r ends when it is answered.
func shortLived(r *http.Request) bool {
	events := r.Method == http.MethodGet && strings.HasPrefix(r.Header.Get("Accept"), "text/event-stream")
	return !events && !strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

type routeKey struct{}

// routeScope is the context of a request that is told about: it keeps the route
// that SetRoute says.
type routeScope struct {
	context.Context
	route string
}

// Value implements context.Context.
func (s *routeScope) Value(key any) any {
	if key == (routeKey{}) {
		return s
	}
	return s.Context.Value(key)
}

// SetRoute names the route of the request that ctx belongs to, for where no router
// chooses a pattern: pattern is a constant of the program, never a part of the URL.
func SetRoute(ctx context.Context, pattern string) {
	if s, ok := ctx.Value(routeKey{}).(*routeScope); ok {
		s.route = pattern
	}
}

// Transport wraps base (nil = http.DefaultTransport) in client spans and
// http.client.* metrics and sends the trace along. Spans show the URL without its
// query.
func (t *Telemetry) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return otelhttp.NewTransport(stripSpanURL{base},
		otelhttp.WithTracerProvider(t.traces),
		otelhttp.WithMeterProvider(t.metrics),
		otelhttp.WithPropagators(t.propagator),
	)
}

// stripSpanURL takes the query out of the url.full that otelhttp put on the span
// around it.
type stripSpanURL struct{ base http.RoundTripper }

func (s stripSpanURL) RoundTrip(r *http.Request) (*http.Response, error) {
	shown := url.URL{Scheme: r.URL.Scheme, Host: r.URL.Host, Path: r.URL.Path}
	trace.SpanFromContext(r.Context()).SetAttributes(semconv.URLFull(shown.String()))
	return s.base.RoundTrip(r)
}
