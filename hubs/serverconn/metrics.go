package serverconn

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// kinds are the types of server connections as metrics name them.
var kinds = map[serviceprotocol.ConnectionType]string{
	serviceprotocol.ConnectionDefault:  "default",
	serviceprotocol.ConnectionOnDemand: "on_demand",
	serviceprotocol.ConnectionWeak:     "weak",
}

// Instrument reports the server connections of this edge as metrics of m.
func (p *Pool) Instrument(m metric.Meter) error {
	open, err1 := m.Int64ObservableGauge("signalbox.server_connections.open", metric.WithUnit("{connection}"),
		metric.WithDescription("Server connections of this edge, by kind."))
	clients, err2 := m.Int64ObservableGauge("signalbox.server_connections.clients", metric.WithUnit("{connection}"),
		metric.WithDescription("Clients, of any edge, that server connections of this edge have."))
	queued, err3 := m.Int64ObservableGauge("signalbox.server_connections.queued", metric.WithUnit("By"),
		metric.WithDescription("Bytes that wait for app servers."))
	latency, err4 := m.Float64Histogram("signalbox.server_connections.latency", metric.WithUnit("s"),
		metric.WithDescription("How long app servers take to send an echo back."),
		metric.WithExplicitBucketBoundaries(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	p.latency.Store(&latency)
	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		counts := map[string]int64{}
		var paired, waiting int64
		for _, k := range p.snapshot() {
			waiting += k.out.size()
			if k.shaken.Load() {
				counts[kinds[k.kind]]++
				paired += k.clients.Load()
			}
		}
		for _, kind := range kinds {
			o.ObserveInt64(open, counts[kind], metric.WithAttributes(attribute.String("kind", kind)))
		}
		o.ObserveInt64(clients, paired)
		o.ObserveInt64(queued, waiting)
		return nil
	}, open, clients, queued)
	return err
}
