package telemetry_test

import (
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/telemetry"
)

func TestEdgeMetricsAreServed(t *testing.T) {
	t.Parallel()
	tel := start(t, telemetry.Config{})
	m, err := telemetry.NewEdgeMetrics(tel.Meter(), telemetry.EdgeSources{
		Hubs:         func() int { return 4 },
		Documents:    func() int { return 5 },
		DocumentsAge: func() time.Duration { return 1500 * time.Millisecond },
		UsagePending: func() int { return 6 },
	})
	if err != nil {
		t.Fatal(err)
	}
	m.ConnectionOpened("WebSockets", "json")
	m.ConnectionOpened(telemetry.TransportWebSockets, "json")
	m.ConnectionOpened("LongPolling", "messagepack")
	m.ConnectionClosed("WebSockets", "json", telemetry.ClosedByTimeout, 2*time.Second)
	m.Delivered(7, 700)
	m.Received(30)
	m.Refused("rate_limited")
	m.Refused("connect_rate")
	m.Refused("rate_limited")
	m.SlowConsumer()
	if n := m.Connections(); n != 2 {
		t.Errorf("%d connections are open, want 2", n)
	}
	body := scrape(t, tel)
	for _, want := range []string{
		`signalr_server_active_connections{signalbox_hub_protocol="json",signalr_transport="web_sockets"} 1`,
		`signalr_server_active_connections{signalbox_hub_protocol="messagepack",signalr_transport="long_polling"} 1`,
		`signalr_server_active_connections{signalbox_hub_protocol="json",signalr_transport="server_sent_events"} 0`,
		`signalr_server_connection_duration_seconds_count{signalr_connection_status="timeout",signalr_transport="web_sockets"} 1`,
		`signalbox_edge_connections_opened_total{signalbox_hub_protocol="json",signalr_transport="web_sockets"} 2`,
		`signalbox_edge_messages_delivered_total 7`,
		`signalbox_edge_delivered_bytes_total 700`,
		`signalbox_edge_received_bytes_total 30`,
		`signalbox_edge_refusals_total{signalbox_code="rate_limited"} 2`,
		`signalbox_edge_refusals_total{signalbox_code="connect_rate"} 1`,
		`signalbox_edge_slow_consumers_total 1`,
		`signalbox_edge_hubs 4`,
		`signalbox_directory_documents 5`,
		`signalbox_directory_age_seconds 1.5`,
		`signalbox_usage_pending 6`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
	if strings.Contains(body, `="other"`) {
		t.Error("an empty series of an unknown transport is shown")
	}
}

func TestUnknownTransportsAndProtocolsShareOneSeries(t *testing.T) {
	t.Parallel()
	tel := start(t, telemetry.Config{})
	m, err := telemetry.NewEdgeMetrics(tel.Meter(), telemetry.EdgeSources{})
	if err != nil {
		t.Fatal(err)
	}
	m.ConnectionOpened("carrier-pigeon", "smoke")
	m.ConnectionOpened("carrier-dove", "drums")
	if want := `signalr_server_active_connections{signalbox_hub_protocol="other",signalr_transport="other"} 2`; !strings.Contains(scrape(t, tel), want) {
		t.Errorf("no line %s", want)
	}
}

func TestNilEdgeMetricsCountNothing(t *testing.T) {
	t.Parallel()
	var m *telemetry.EdgeMetrics
	m.ConnectionOpened("WebSockets", "json")
	m.ConnectionClosed("WebSockets", "json", telemetry.ClosedNormally, time.Second)
	m.Delivered(1, 1)
	m.Received(1)
	m.Refused("rate_limited")
	m.SlowConsumer()
	if n := m.Connections(); n != 0 {
		t.Errorf("%d connections are open", n)
	}
}

func BenchmarkDelivered(b *testing.B) {
	tel, err := telemetry.Start(b.Context(), telemetry.Config{Service: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	m, err := telemetry.NewEdgeMetrics(tel.Meter(), telemetry.EdgeSources{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Delivered(1, 100)
	}
}
