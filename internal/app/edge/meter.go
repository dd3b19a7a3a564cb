package edge

import (
	"context"
	"errors"
	"time"

	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/quota"
	"github.com/signalbox/signalbox/internal/telemetry"
	"github.com/signalbox/signalbox/tenants"
)

// meter counts one hub for its tenant's bill and for the edge's metrics.
type meter struct {
	tenant  tenants.ID
	usage   *usage.HubMeter
	metrics *telemetry.EdgeMetrics
	figures *quota.Figures
	deliver func(n int) // counts against the limit of deliveries

	recorder *usage.Recorder
}

var (
	_ hubs.Meter   = (*meter)(nil)
	_ hubs.Tallies = (*meter)(nil)
)

func (g *registry) newMeter(t tenants.ID, hub string) *meter {
	return &meter{
		tenant: t, usage: g.recorder.Hub(t, hub), metrics: g.metrics,
		figures: g.limits.figures, deliver: g.limits.deliveries.Tenant(t), recorder: g.recorder,
	}
}

// ConnectionOpened implements hubs.Meter.
func (m *meter) ConnectionOpened(c *hubs.Connection) {
	m.usage.ConnectionOpened()
	m.metrics.ConnectionOpened(string(c.Transport()), c.Protocol().Name())
}

// ConnectionClosed implements hubs.Meter.
func (m *meter) ConnectionClosed(c *hubs.Connection, open time.Duration) {
	m.usage.ConnectionClosed()
	status := telemetry.ClosedNormally
	switch cause := context.Cause(c.Context()); {
	case errors.Is(cause, hubs.ErrClientTimeout):
		status = telemetry.ClosedByTimeout
	case errors.Is(cause, hubs.ErrServerClosed):
		status = telemetry.ClosedByShutdown
	}
	m.metrics.ConnectionClosed(string(c.Transport()), c.Protocol().Name(), status, open)
}

// Delivered implements hubs.Meter.
func (m *meter) Delivered(messages, bytes int) {
	m.usage.Delivered(messages, bytes)
	m.deliver(messages)
	m.metrics.Delivered(messages, bytes)
}

// TallyOf implements hubs.Tallies.
func (m *meter) TallyOf(e *hubs.Entry) hubs.Tally {
	var group, method string
	if e != nil {
		if e.Kind == hubs.SendToGroups && len(e.Groups) == 1 {
			group = e.Groups[0]
		}
		if e.Message != nil {
			method = e.Message.Target
		}
	}
	return m.recorder.TallySent(m.tenant, group, method)
}

// TallyTo implements hubs.Tallies.
func (m *meter) TallyTo(c *hubs.Connection) hubs.Tally {
	p := c.Principal()
	return m.recorder.TallyReceived(m.tenant, p.UserID, p.Credential)
}

// Received implements hubs.Meter.
func (m *meter) Received(bytes int) {
	m.usage.Received(bytes)
	m.metrics.Received(bytes)
}

// Refused implements hubs.Meter.
func (m *meter) Refused(code string) {
	m.usage.Refused(code)
	m.figures.Refused(m.tenant, code)
	m.metrics.Refused(code)
	if code == hubs.RefusedSlowConsumer {
		m.metrics.SlowConsumer()
	}
}
