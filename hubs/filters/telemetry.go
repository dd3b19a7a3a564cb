package filters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// scope names this package to OpenTelemetry.
const scope = "github.com/signalbox/signalbox/hubs/filters"

// Telemetry makes a span of every invocation and measures, under OpenTelemetry's
// names for SignalR servers where it has some:
//
//	signalr.server.active_connections   {connection}  signalr.transport
//	signalr.server.connection.duration  s             signalr.transport, signalr.connection.status
//	rpc.server.duration                 s             rpc.system, rpc.service, rpc.method, outcome
//
// It belongs into hubs.Use, where only methods that exist are seen, so that
// clients can't invent attributes. Users and connections are in spans alone.
func Telemetry(tracers trace.TracerProvider, meters metric.MeterProvider) (hubs.Filter, error) {
	m := meters.Meter(scope)
	active, err1 := m.Int64UpDownCounter("signalr.server.active_connections", metric.WithUnit("{connection}"), metric.WithDescription("Connections that are open."))
	open, err2 := m.Float64Histogram("signalr.server.connection.duration", metric.WithUnit("s"), metric.WithDescription("How long connections were open."),
		metric.WithExplicitBucketBoundaries(0.1, 1, 10, 60, 300, 1800, 3600, 14400, 86400))
	duration, err3 := m.Float64Histogram("rpc.server.duration", metric.WithUnit("s"), metric.WithDescription("How long hub methods took."),
		metric.WithExplicitBucketBoundaries(.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5, 10))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("make instruments: %w", err)
	}
	return &telemetry{tracer: tracers.Tracer(scope), active: active, open: open, duration: duration}, nil
}

type telemetry struct {
	tracer   trace.Tracer
	active   metric.Int64UpDownCounter
	open     metric.Float64Histogram
	duration metric.Float64Histogram
}

// transports are OpenTelemetry's values of signalr.transport.
var transports = map[hubs.TransportKind]string{hubs.WebSockets: "web_sockets", hubs.ServerSentEvents: "server_sent_events", hubs.LongPolling: "long_polling"}

func transportOf(c *hubs.Connection) attribute.KeyValue {
	return attribute.String("signalr.transport", transports[c.Transport()])
}

// OnConnected implements hubs.Filter.
func (f *telemetry) OnConnected(ctx context.Context, c *hubs.Connection, next func(context.Context) error) error {
	c.SetValue(f, true)
	f.active.Add(ctx, 1, metric.WithAttributes(transportOf(c)))
	return next(ctx)
}

// OnInvocation implements hubs.Filter.
func (f *telemetry) OnInvocation(ctx context.Context, c *hubs.Connection, m *protocol.Message, next func(context.Context) error) error {
	method := hubs.FromContext(ctx).Method()
	rpc := []attribute.KeyValue{attribute.String("rpc.system", "signalr"), attribute.String("rpc.service", c.Hub()), attribute.String("rpc.method", method)}
	ctx, span := f.tracer.Start(ctx, c.Hub()+"/"+method, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(rpc...),
		trace.WithAttributes(attribute.String("signalr.connection.id", c.ID()), attribute.String("enduser.id", c.User())))
	defer span.End()
	began := time.Now()
	err := next(ctx)
	how := outcome(err)
	if how == "failed" {
		span.RecordError(err)
		span.SetStatus(codes.Error, "the hub method failed")
	}
	f.duration.Record(ctx, time.Since(began).Seconds(), metric.WithAttributes(append(rpc, attribute.String("outcome", how))...))
	return err
}

// OnDisconnected implements hubs.Filter.
func (f *telemetry) OnDisconnected(ctx context.Context, c *hubs.Connection, cause error, next func(context.Context, error)) {
	next(ctx, cause)
	if c.Value(f) == nil {
		return // an outer filter refused it
	}
	status := "normal_closure"
	switch {
	case errors.Is(cause, hubs.ErrClientTimeout):
		status = "timeout"
	case errors.Is(cause, hubs.ErrServerClosed):
		status = "app_shutdown"
	}
	f.active.Add(ctx, -1, metric.WithAttributes(transportOf(c)))
	f.open.Record(ctx, time.Since(c.OpenedAt()).Seconds(), metric.WithAttributes(transportOf(c), attribute.String("signalr.connection.status", status)))
}
