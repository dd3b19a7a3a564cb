package usage

import (
	"sync"
	"sync/atomic"
	"time"
)

// HubMeter counts one hub of one tenant on this edge. Its methods don't block
// and may be called by any number of goroutines; Delivered and Received, which
// happen per message, are atomic additions.
type HubMeter struct {
	recorder *Recorder
	gauge    *tenantGauge
	users    int // guarded by recorder.mu

	delivered, deliveredBytes, receivedBytes atomic.Int64

	mu       sync.Mutex
	opened   int64
	open     int64
	openMS   int64 // milliseconds of connections, counted until openAsOf
	openAsOf time.Time
	refused  map[string]int64
}

// ConnectionOpened counts a connection from now on.
func (m *HubMeter) ConnectionOpened() {
	now := m.recorder.now()
	m.mu.Lock()
	m.advance(now)
	m.open++
	m.opened++
	m.mu.Unlock()
	m.gauge.add(1, now)
}

// ConnectionClosed ends what ConnectionOpened began.
func (m *HubMeter) ConnectionClosed() {
	now := m.recorder.now()
	m.mu.Lock()
	m.advance(now)
	m.open--
	m.mu.Unlock()
	m.gauge.add(-1, now)
}

// Delivered counts messages, in steps of 64 KiB, and bytes written to clients.
func (m *HubMeter) Delivered(messages, bytes int) {
	m.delivered.Add(int64(messages))
	m.gauge.spent.Add(int64(messages))
	m.deliveredBytes.Add(int64(bytes))
}

// Received counts bytes of hub messages read from clients.
func (m *HubMeter) Received(bytes int) { m.receivedBytes.Add(int64(bytes)) }

// Refused counts something that was not carried out, by error code.
func (m *HubMeter) Refused(code string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refused == nil {
		m.refused = make(map[string]int64)
	}
	if _, ok := m.refused[code]; !ok && len(m.refused) >= maxRefusals {
		code = refusalsOther
	}
	m.refused[code]++
}

// Close gives the meter back. Nothing may be counted with it afterwards.
func (m *HubMeter) Close() {
	m.recorder.mu.Lock()
	defer m.recorder.mu.Unlock()
	m.users--
}

// advance adds the time since the last call; m.mu is held.
func (m *HubMeter) advance(now time.Time) {
	if m.open > 0 {
		m.openMS += m.open * now.Sub(m.openAsOf).Milliseconds()
	}
	m.openAsOf = now
}

// take moves what was counted into d and reports whether there was anything.
func (m *HubMeter) take(d *Delta, now time.Time) bool {
	delivered, deliveredBytes, received := m.delivered.Swap(0), m.deliveredBytes.Swap(0), m.receivedBytes.Swap(0)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.advance(now)
	seconds := m.openMS / 1000
	m.openMS %= 1000 // the rest counts next time
	opened, refused := m.opened, m.refused
	m.opened, m.refused = 0, nil
	d.Delivered += delivered
	d.DeliveredBytes += deliveredBytes
	d.ReceivedBytes += received
	d.ConnectionSeconds += seconds
	d.Opened += opened
	for code, n := range refused {
		if d.Refused == nil {
			d.Refused = make(map[string]int64, len(refused))
		}
		d.Refused[code] += n
	}
	return delivered != 0 || deliveredBytes != 0 || received != 0 || seconds != 0 || opened != 0 || len(refused) != 0
}

// quiet reports whether nothing is left to count.
func (m *HubMeter) quiet() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open == 0 && len(m.refused) == 0 && m.opened == 0 &&
		m.delivered.Load() == 0 && m.deliveredBytes.Load() == 0 && m.receivedBytes.Load() == 0
}

// tenantGauge is how many connections a tenant has on this edge.
type tenantGauge struct {
	hubs int // meters that use it; guarded by Recorder.mu

	spent atomic.Int64 // messages since the last take

	mu       sync.Mutex
	open     int64
	peak     int64 // most at once since the last read
	openMS   int64 // milliseconds of connections since the last take, counted until openAsOf
	openAsOf time.Time
}

// take returns what was used since the last call.
func (g *tenantGauge) take(now time.Time) Spent {
	s := Spent{Messages: g.spent.Swap(0)}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.advance(now)
	s.Milliseconds, g.openMS = g.openMS, 0
	return s
}

// unspent is take without forgetting.
func (g *tenantGauge) unspent(now time.Time) Spent {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.advance(now)
	return Spent{Messages: g.spent.Load(), Milliseconds: g.openMS}
}

// advance adds the time since the last call; g.mu is held.
func (g *tenantGauge) advance(now time.Time) {
	if g.open > 0 {
		g.openMS += g.open * now.Sub(g.openAsOf).Milliseconds()
	}
	g.openAsOf = now
}

func (g *tenantGauge) add(n int64, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.advance(now)
	g.open += n
	g.peak = max(g.peak, g.open)
}

// read returns the connections now and the peak since the last read.
func (g *tenantGauge) read() (open, peak int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	open, peak = g.open, g.peak
	g.peak = g.open
	return open, peak
}
