package telemetry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// EdgeMetrics counts what an edge does for its clients, all tenants together.
// What happens per message is one atomic addition, summed up only when somebody
// reads the metrics. A nil *EdgeMetrics counts nothing.
type EdgeMetrics struct {
	active, opened connectionCounts

	delivered, deliveredBytes, receivedBytes atomic.Int64
	slowConsumers                            atomic.Int64

	duration metric.Float64Histogram
	refusals metric.Int64Counter

	// Attributes by transport and hub protocol, made once.
	attributes [len(transports)][len(hubProtocols)]metric.MeasurementOption
	codes      sync.Map // code of a refusal → metric.MeasurementOption
}

type connectionCounts [len(transports)][len(hubProtocols)]atomic.Int64

// EdgeSources are read when metrics are collected; each must be quick and safe for
// concurrent use. nil = not reported.
type EdgeSources struct {
	// Hubs is how many hubs this edge serves now.
	Hubs func() int
	// Documents is how many tenant documents are cached, DocumentsAge how long ago
	// the cache was last known to be current.
	Documents    func() int
	DocumentsAge func() time.Duration
	// UsagePending is how many usage flushes wait to be taken.
	UsagePending func() int
}

// The values of AttrTransport, as OpenTelemetry's SignalR conventions have them.
const (
	TransportWebSockets       = "web_sockets"
	TransportServerSentEvents = "server_sent_events"
	TransportLongPolling      = "long_polling"
)

// The values of AttrConnectionStatus.
const (
	ClosedNormally   = "normal_closure"
	ClosedByTimeout  = "timeout"
	ClosedByShutdown = "app_shutdown"
)

// What is not known is counted under the last name.
var (
	transports   = [...]string{TransportWebSockets, TransportServerSentEvents, TransportLongPolling, "other"}
	hubProtocols = [...]string{"json", "messagepack", "other"}
)

// transportIndex knows the names of the conventions and those of negotiation.
func transportIndex(name string) int {
	switch name {
	case TransportWebSockets, "WebSockets":
		return 0
	case TransportServerSentEvents, "ServerSentEvents":
		return 1
	case TransportLongPolling, "LongPolling":
		return 2
	}
	return len(transports) - 1
}

func protocolIndex(name string) int {
	for i, p := range hubProtocols {
		if p == name {
			return i
		}
	}
	return len(hubProtocols) - 1
}

// NewEdgeMetrics makes the instruments in m.
func NewEdgeMetrics(m metric.Meter, src EdgeSources) (*EdgeMetrics, error) {
	e := &EdgeMetrics{}
	for t, transport := range transports {
		for p, protocol := range hubProtocols {
			e.attributes[t][p] = metric.WithAttributeSet(attribute.NewSet(AttrTransport.String(transport), AttrHubProtocol.String(protocol)))
		}
	}
	errs := []error{e.registerConnections(m), e.registerTotals(m), registerSources(m, src)}
	var err error
	e.duration, err = m.Float64Histogram(MetricConnectionDuration, metric.WithUnit("s"),
		metric.WithDescription("How long connections lasted."),
		metric.WithExplicitBucketBoundaries(0.01, 0.1, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400))
	errs = append(errs, err)
	e.refusals, err = m.Int64Counter(MetricRefusals, metric.WithUnit("{refusal}"),
		metric.WithDescription("Connections, invocations and publishes that a limit or a check refused, by error code."))
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("make edge metrics: %w", err)
	}
	return e, nil
}

func (e *EdgeMetrics) registerConnections(m metric.Meter) error {
	observe := func(counts *connectionCounts) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			for t := range counts {
				for p := range counts[t] {
					// "other" shows up only once it was seen.
					if n := counts[t][p].Load(); n != 0 || (t < len(transports)-1 && p < len(hubProtocols)-1) {
						o.Observe(n, e.attributes[t][p])
					}
				}
			}
			return nil
		}
	}
	_, err1 := m.Int64ObservableUpDownCounter(MetricActiveConnections, metric.WithUnit("{connection}"),
		metric.WithDescription("Connections that are open."), metric.WithInt64Callback(observe(&e.active)))
	_, err2 := m.Int64ObservableCounter(MetricConnectionsOpened, metric.WithUnit("{connection}"),
		metric.WithDescription("Connections whose handshake succeeded."), metric.WithInt64Callback(observe(&e.opened)))
	return errors.Join(err1, err2)
}

func (e *EdgeMetrics) registerTotals(m metric.Meter) error {
	var errs []error
	for _, c := range []struct {
		name, unit, description string
		value                   *atomic.Int64
	}{
		{MetricDelivered, "{message}", "Messages written to connections, in steps of 64 KiB.", &e.delivered},
		{MetricDeliveredBytes, "By", "Bytes of hub messages written to connections.", &e.deliveredBytes},
		{MetricReceivedBytes, "By", "Bytes of hub messages read from connections.", &e.receivedBytes},
		{MetricSlowConsumers, "{connection}", "Connections closed because they could not keep up.", &e.slowConsumers},
	} {
		_, err := m.Int64ObservableCounter(c.name, metric.WithUnit(c.unit), metric.WithDescription(c.description),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				o.Observe(c.value.Load())
				return nil
			}))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func registerSources(m metric.Meter, src EdgeSources) error {
	var errs []error
	gauge := func(name, unit, description string, read func() float64) {
		_, err := m.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description),
			metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
				o.Observe(read())
				return nil
			}))
		errs = append(errs, err)
	}
	if read := src.Hubs; read != nil {
		gauge(MetricHubs, "{hub}", "Hubs that this edge serves.", func() float64 { return float64(read()) })
	}
	if read := src.Documents; read != nil {
		gauge(MetricDocuments, "{document}", "Tenant documents in this edge's cache.", func() float64 { return float64(read()) })
	}
	if read := src.DocumentsAge; read != nil {
		gauge(MetricDocumentsAge, "s", "How long ago the tenant documents were last known to be current.", func() float64 { return read().Seconds() })
	}
	if read := src.UsagePending; read != nil {
		gauge(MetricUsagePending, "{flush}", "Usage flushes that wait to be taken.", func() float64 { return float64(read()) })
	}
	return errors.Join(errs...)
}

// ConnectionOpened counts a connection whose handshake succeeded. transport is a
// name of this package or of negotiation ("WebSockets").
func (e *EdgeMetrics) ConnectionOpened(transport, hubProtocol string) {
	if e == nil {
		return
	}
	t, p := transportIndex(transport), protocolIndex(hubProtocol)
	e.active[t][p].Add(1)
	e.opened[t][p].Add(1)
}

// ConnectionClosed ends what ConnectionOpened began. status is ClosedNormally,
// ClosedByTimeout or ClosedByShutdown.
func (e *EdgeMetrics) ConnectionClosed(transport, hubProtocol, status string, lasted time.Duration) {
	if e == nil {
		return
	}
	t := transportIndex(transport)
	e.active[t][protocolIndex(hubProtocol)].Add(-1)
	e.duration.Record(context.Background(), lasted.Seconds(),
		metric.WithAttributeSet(attribute.NewSet(AttrTransport.String(transports[t]), AttrConnectionStatus.String(status))))
}

// Connections is how many are open.
func (e *EdgeMetrics) Connections() int {
	if e == nil {
		return 0
	}
	sum := int64(0)
	for t := range e.active {
		for p := range e.active[t] {
			sum += e.active[t][p].Load()
		}
	}
	return int(sum)
}

// Delivered counts messages written to connections and their bytes.
func (e *EdgeMetrics) Delivered(messages, bytes int) {
	if e != nil {
		e.delivered.Add(int64(messages))
		e.deliveredBytes.Add(int64(bytes))
	}
}

// Received counts bytes of hub messages read from connections.
func (e *EdgeMetrics) Received(bytes int) {
	if e != nil {
		e.receivedBytes.Add(int64(bytes))
	}
}

// SlowConsumer counts a connection that was closed because its queue was full.
func (e *EdgeMetrics) SlowConsumer() {
	if e != nil {
		e.slowConsumers.Add(1)
	}
}

// Refused counts what was refused, by its error code, such as "rate_limited". The
// code must be a constant of the program.
func (e *EdgeMetrics) Refused(code string) {
	if e == nil {
		return
	}
	made, ok := e.codes.Load(code)
	if !ok {
		made, _ = e.codes.LoadOrStore(code, metric.WithAttributeSet(attribute.NewSet(AttrCode.String(code))))
	}
	e.refusals.Add(context.Background(), 1, made.(metric.MeasurementOption))
}
