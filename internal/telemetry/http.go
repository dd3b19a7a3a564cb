package telemetry

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
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

// HTTP wraps a handler in a server span and in http.server.* metrics. Both are
// named by the route, never by the path; query strings, which carry access
// tokens, are never recorded, nor is any header but User-Agent.
//
// Requests that live as long as a connection (WebSockets, Server-Sent Events) get
// neither: they would be spans of hours. EdgeMetrics tells about those.
func (t *Telemetry) HTTP(o HTTPOptions) func(http.Handler) http.Handler {
	instrument := otelhttp.NewMiddleware("http",
		otelhttp.WithTracerProvider(t.traces),
		otelhttp.WithMeterProvider(t.metrics),
		otelhttp.WithPropagators(t.propagator),
		otelhttp.WithPublicEndpointFn(func(*http.Request) bool { return o.Public }),
		otelhttp.WithFilter(shortLived),
	)
	return func(next http.Handler) http.Handler {
		return instrument(routed(next, o.Route))
	}
}

// shortLived reports whether r ends when it is answered.
func shortLived(r *http.Request) bool {
	events := r.Method == http.MethodGet && strings.HasPrefix(r.Header.Get("Accept"), "text/event-stream")
	return !events && !strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

type routeKey struct{}

// SetRoute names the route of the request that ctx belongs to, for where no router
// chooses a pattern: pattern is a constant of the program, never a part of the URL.
func SetRoute(ctx context.Context, pattern string) {
	if p, ok := ctx.Value(routeKey{}).(*string); ok {
		*p = pattern
	}
}

// routed calls next and then leaves the route's pattern in r, where otelhttp looks
// for it.
func routed(next http.Handler, route func(*http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var set string
		inner := r.WithContext(context.WithValue(r.Context(), routeKey{}, &set))
		defer func() {
			r.Pattern = inner.Pattern
			if route != nil {
				r.Pattern = route(inner)
			}
			if r.Pattern == "" {
				r.Pattern = set
			}
			if r.Pattern != "" {
				_, path, found := strings.Cut(r.Pattern, " ") // net/http's patterns may begin with a method
				if !found {
					path = r.Pattern
				}
				trace.SpanFromContext(r.Context()).SetAttributes(semconv.HTTPRoute(path))
			}
		}()
		next.ServeHTTP(w, inner)
	})
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

// httpServerView keeps what a client can choose freely out of the attributes of
// http.server.* metrics. otelhttp would add the Host header, which also names the
// tenant.
func httpServerView() sdkmetric.View {
	return sdkmetric.NewView(
		sdkmetric.Instrument{Name: "http.server.*"},
		sdkmetric.Stream{AttributeFilter: attribute.NewAllowKeysFilter(
			semconv.HTTPRequestMethodKey, semconv.HTTPRouteKey, semconv.HTTPResponseStatusCodeKey, semconv.NetworkProtocolVersionKey,
		)},
	)
}
