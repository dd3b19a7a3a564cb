package telemetry_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/telemetry"
)

func TestEdgeMetricsAreServed(t *testing.T) {
	t.Parallel()
	tel := start(t, telemetry.Config{})
	m, err := telemetry.NewEdgeMetrics(tel.Meter(), telemetry.EdgeSources{
		Hubs:               func() int { return 4 },
		Documents:          func() int { return 5 },
		DocumentsAge:       func() time.Duration { return 1500 * time.Millisecond },
		BackplaneConnected: func() bool { return true },
		UsagePending:       func() int { return 6 },
	})
	if err != nil {
		t.Fatal(err)
	}
	m.ConnectionOpened("WebSockets", "json")
	m.ConnectionOpened(telemetry.TransportWebSockets, "json")
	m.ConnectionOpened("LongPolling", "messagepack")
	m.ConnectionClosed("WebSockets", "json", telemetry.ClosedByTimeout, 2*time.Second)
	m.Accepted(1)
	m.Delivered(7, 700)
	m.Received(30)
	m.Refused("rate_limited")
	m.SlowConsumer()
	m.Published(3*time.Millisecond, nil)
	m.Published(time.Second, errors.New("away"))
	m.Applied(9)
	m.CaughtUp(8)
	m.Gap("trimmed")
	body := scrape(t, tel)
	for _, want := range []string{
		`signalr_server_active_connections{signalbox_hub_protocol="json",signalr_transport="web_sockets"} 1`,
		`signalr_server_active_connections{signalbox_hub_protocol="messagepack",signalr_transport="long_polling"} 1`,
		`signalr_server_active_connections{signalbox_hub_protocol="json",signalr_transport="server_sent_events"} 0`,
		`signalr_server_connection_duration_seconds_count{signalr_connection_status="timeout",signalr_transport="web_sockets"} 1`,
		`signalbox_edge_connections_opened_total{signalbox_hub_protocol="json",signalr_transport="web_sockets"} 2`,
		`signalbox_edge_messages_accepted_total 1`,
		`signalbox_edge_messages_delivered_total 7`,
		`signalbox_edge_delivered_bytes_total 700`,
		`signalbox_edge_received_bytes_total 30`,
		`signalbox_edge_refusals_total{signalbox_code="rate_limited"} 1`,
		`signalbox_edge_slow_consumers_total 1`,
		`signalbox_edge_hubs 4`,
		`signalbox_backplane_publish_duration_seconds_count{signalbox_outcome="accepted"} 1`,
		`signalbox_backplane_publish_duration_seconds_count{signalbox_outcome="failed"} 1`,
		`signalbox_backplane_entries_total 9`,
		`signalbox_backplane_catch_ups_total 1`,
		`signalbox_backplane_caught_up_total 8`,
		`signalbox_backplane_gaps_total{signalbox_reason="trimmed"} 1`,
		`signalbox_backplane_connected 1`,
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

func TestNilEdgeMetricsCountNothing(t *testing.T) {
	t.Parallel()
	var m *telemetry.EdgeMetrics
	m.ConnectionOpened("WebSockets", "json")
	m.ConnectionClosed("WebSockets", "json", telemetry.ClosedNormally, time.Second)
	m.Accepted(1)
	m.Delivered(1, 1)
	m.Received(1)
	m.Refused("rate_limited")
	m.SlowConsumer()
	m.Published(time.Second, nil)
	m.Applied(1)
	m.CaughtUp(1)
	m.Gap("epoch")
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
