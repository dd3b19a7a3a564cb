package serverconn_test

import (
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/signalbox/signalbox/hubs/serverconn"
	sp "github.com/signalbox/signalbox/hubs/serviceprotocol"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil, timing(func(t *serverconn.Timing) { t.Ping = time.Millisecond }))
	reader := metric.NewManualReader()
	if err := s.pool.Instrument(metric.NewMeterProvider(metric.WithReader(reader)).Meter("test")); err != nil {
		t.Fatal(err)
	}
	a := s.connect("one", sp.ConnectionDefault, 0)
	s.connect("one", sp.ConnectionWeak, 0)
	s.open(a, client("c1"))
	for echoed := false; !echoed; {
		p := await[*sp.Ping](a)
		if _, echoed = p.Echo(); echoed {
			a.send(p)
		}
	}
	collect := func() map[string]float64 {
		var all metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, m := range all.ScopeMetrics[0].Metrics {
			switch data := m.Data.(type) {
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					kind, _ := p.Attributes.Value("kind")
					got[m.Name+" "+kind.AsString()] = float64(p.Value)
				}
			case metricdata.Histogram[float64]:
				got[m.Name] = float64(data.DataPoints[0].Count)
			}
		}
		return got
	}
	s.eventually("the latency is recorded", func() bool { return collect()["signalbox.server_connections.latency"] > 0 })
	got := collect()
	if got["signalbox.server_connections.open default"] != 1 || got["signalbox.server_connections.open weak"] != 1 ||
		got["signalbox.server_connections.open on_demand"] != 0 || got["signalbox.server_connections.clients "] != 1 {
		t.Errorf("metrics are %v", got)
	}
}
