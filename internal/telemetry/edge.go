package telemetry

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// EdgeMetrics counts what an edge does for its hubs. Its methods are called on the
// hot path: those that happen per message are one atomic addition, summed up only
// when somebody reads the metrics. The zero value is not ready; a nil
// *EdgeMetrics counts nothing.
type EdgeMetrics struct {
	active, opened [len(transports)][len(hubProtocols)]atomic.Int64

	accepted, delivered           atomic.Int64
	deliveredBytes, receivedBytes atomic.Int64
	entries, catchUps, caughtUp   atomic.Int64
	slowConsumers                 atomic.Int64

	duration, publish metric.Float64Histogram
	refusals, gaps    metric.Int64Counter

	// The attribute sets of connections, made once.
	byTransport            [len(transports)]attribute.KeyValue
	connections            [len(transports)][len(hubProtocols)]metric.MeasurementOption
	published, notAccepted metric.MeasurementOption
}

// EdgeSources are read when metrics are collected; each must be quick and safe for
// concurrent use. nil = not reported.
type EdgeSources struct {
	// Hubs is how many hubs this edge serves now.
	Hubs func() int
	// Documents is how many tenant documents are cached, DocumentsAge how long ago
	// the cache was last known to be current.
	Documents    func() int
	DocumentsAge func() time.Duration
	// BackplaneConnected is whether the backplane answers.
	BackplaneConnected func() bool
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

var (
	transports   = [...]string{TransportWebSockets, TransportServerSentEvents, TransportLongPolling, "other"}
	hubProtocols = [...]string{"json", "messagepack", "other"}
)

// transportIndex knows the names of the conventions and those of SignalR's
// negotiate answers.
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
	e := &EdgeMetrics{
		published:   metric.WithAttributeSet(attribute.NewSet(AttrOutcome.String("accepted"))),
		notAccepted: metric.WithAttributeSet(attribute.NewSet(AttrOutcome.String("failed"))),
	}
	for t, transport := range transports {
		e.byTransport[t] = AttrTransport.String(transport)
		for p, protocol := range hubProtocols {
			e.connections[t][p] = metric.WithAttributeSet(attribute.NewSet(e.byTransport[t], AttrHubProtocol.String(protocol)))
		}
	}
	errs := []error{e.registerTotals(m), e.registerConnections(m), e.registerGauges(m, src)}
	var err error
	e.duration, err = m.Float64Histogram(MetricConnectionDuration, metric.WithUnit("s"),
		metric.WithDescription("How long connections lasted."),
		metric.WithExplicitBucketBoundaries(0.01, 0.1, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400))
	errs = append(errs, err)
	e.publish, err = m.Float64Histogram(MetricPublishDuration, metric.WithUnit("s"),
		metric.WithDescription("How long the backplane took to accept an entry."),
		metric.WithExplicitBucketBoundaries(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5))
	errs = append(errs, err)
	e.refusals, err = m.Int64Counter(MetricRefusals, metric.WithUnit("{refusal}"),
		metric.WithDescription("Connections, invocations and publishes that a limit or a check refused, by error code."))
	errs = append(errs, err)
	e.gaps, err = m.Int64Counter(MetricBackplaneGaps, metric.WithUnit("{gap}"),
		metric.WithDescription("Times that entries of a hub were lost to this edge for good."))
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("make edge metrics: %w", err)
	}
	return e, nil
}

func (e *EdgeMetrics) registerTotals(m metric.Meter) error {
	var errs []error
	for _, c := range []struct {
		name, unit, description string
		value                   *atomic.Int64
	}{
		{MetricMessagesAccepted, "{message}", "Publishes and invocations that were accepted.", &e.accepted},
		{MetricMessagesDelivered, "{message}", "Messages written to connections.", &e.delivered},
		{MetricBytesDelivered, "By", "Bytes of hub messages written to connections.", &e.deliveredBytes},
		{MetricBytesReceived, "By", "Bytes of hub messages read from connections.", &e.receivedBytes},
		{MetricSlowConsumers, "{connection}", "Connections closed because they could not keep up.", &e.slowConsumers},
		{MetricBackplaneEntries, "{entry}", "Entries of hubs applied by this edge.", &e.entries},
		{MetricBackplaneCatchUps, "{catch_up}", "Times that an edge read a hub's stream after missing a doorbell.", &e.catchUps},
		{MetricBackplaneCaughtUp, "{entry}", "Entries that came by catching up instead of by doorbell.", &e.caughtUp},
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

func (e *EdgeMetrics) registerConnections(m metric.Meter) error {
	observe := func(counts *[len(transports)][len(hubProtocols)]atomic.Int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			for t := range counts {
				for p := range counts[t] {
					// "other" shows up only once it was seen.
					if n := counts[t][p].Load(); n != 0 || (t < len(transports)-1 && p < len(hubProtocols)-1) {
						o.Observe(n, e.connections[t][p])
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

func (e *EdgeMetrics) registerGauges(m metric.Meter, src EdgeSources) error {
	var errs []error
	count := func(name, unit, description string, read func() int) {
		if read == nil {
			return
		}
		_, err := m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				o.Observe(int64(read()))
				return nil
			}))
		errs = append(errs, err)
	}
	count(MetricHubs, "{hub}", "Hubs that this edge serves.", src.Hubs)
	count(MetricDocuments, "{document}", "Tenant documents in this edge's cache.", src.Documents)
	count(MetricUsagePending, "{flush}", "Usage flushes that wait to be taken.", src.UsagePending)
	if up := src.BackplaneConnected; up != nil {
		count(MetricBackplaneConnected, "", "1 while the backplane answers, else 0.", func() int {
			if up() {
				return 1
			}
			return 0
		})
	}
	if age := src.DocumentsAge; age != nil {
		_, err := m.Float64ObservableGauge(MetricDocumentsAge, metric.WithUnit("s"),
			metric.WithDescription("How long ago the tenant documents were last known to be current."),
			metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
				o.Observe(age().Seconds())
				return nil
			}))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ConnectionOpened counts a connection whose handshake succeeded. The names of
// transports are those of this package or SignalR's ("WebSockets").
func (e *EdgeMetrics) ConnectionOpened(transport, hubProtocol string) {
	if e == nil {
		return
	}
	t, p := transportIndex(transport), protocolIndex(hubProtocol)
	e.active[t][p].Add(1)
	e.opened[t][p].Add(1)
}

// ConnectionClosed ends what ConnectionOpened began. status is one of
// ClosedNormally, ClosedByTimeout and ClosedByShutdown.
func (e *EdgeMetrics) ConnectionClosed(transport, hubProtocol, status string, lasted time.Duration) {
	if e == nil {
		return
	}
	t := transportIndex(transport)
	e.active[t][protocolIndex(hubProtocol)].Add(-1)
	e.duration.Record(context.Background(), lasted.Seconds(),
		metric.WithAttributeSet(attribute.NewSet(e.byTransport[t], AttrConnectionStatus.String(status))))
}

// Accepted counts publishes and invocations that were accepted.
func (e *EdgeMetrics) Accepted(messages int) {
	if e != nil {
		e.accepted.Add(int64(messages))
	}
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

// Refused counts what was refused with an error code of the product, such as
// "rate_limited". The code must be a constant of the program.
func (e *EdgeMetrics) Refused(code string) {
	if e != nil {
		e.refusals.Add(context.Background(), 1, metric.WithAttributeSet(attribute.NewSet(AttrCode.String(code))))
	}
}

// SlowConsumer counts a connection that was closed because its queue was full.
func (e *EdgeMetrics) SlowConsumer() {
	if e != nil {
		e.slowConsumers.Add(1)
	}
}

// Published records how long the backplane took to accept an entry, or to fail.
func (e *EdgeMetrics) Published(took time.Duration, err error) {
	if e == nil {
		return
	}
	outcome := e.published
	if err != nil {
		outcome = e.notAccepted
	}
	e.publish.Record(context.Background(), took.Seconds(), outcome)
}

// Applied counts entries of hubs that this edge carried out.
func (e *EdgeMetrics) Applied(entries int) {
	if e != nil {
		e.entries.Add(int64(entries))
	}
}

// CaughtUp counts one reading of a hub's stream outside of doorbells, and what it
// brought.
func (e *EdgeMetrics) CaughtUp(entries int) {
	if e != nil {
		e.catchUps.Add(1)
		e.caughtUp.Add(int64(entries))
	}
}

// Gap counts entries that were lost to this edge: reason is "trimmed" or "epoch".
func (e *EdgeMetrics) Gap(reason string) {
	if e != nil {
		e.gaps.Add(context.Background(), 1, metric.WithAttributeSet(attribute.NewSet(AttrReason.String(reason))))
	}
}
