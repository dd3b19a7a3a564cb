package quota

import (
	"net/netip"
	"sync"

	"github.com/signalbox/signalbox/hubs/internal/pace"
	"github.com/signalbox/signalbox/tenants"
)

// maxAddresses bounds the addresses without connections that are remembered.
const maxAddresses = 65_536

var (
	ipRateRow = row("connects_per_ip_per_second")
	ipOpenRow = row("max_connections_per_ip")
)

// Addresses bounds the connections of one address to one tenant on this edge. Of IPv6
// a /64 is one address.
type Addresses struct {
	figures *Figures

	mu   sync.Mutex
	seen map[addressKey]*addressOf
}

type addressKey struct {
	tenant  tenants.ID
	address netip.Addr
}

type addressOf struct {
	enforced, tried pace.Meter
	open            int
}

// NewAddresses returns an Addresses; figures may be nil.
func NewAddresses(figures *Figures) *Addresses {
	return &Addresses{figures: figures, seen: make(map[addressKey]*addressOf)}
}

// Whole returns what of an address counts as one.
func Whole(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

func (s *Addresses) of(k addressKey, now int64) *addressOf {
	o := s.seen[k]
	if o == nil {
		if len(s.seen) >= maxAddresses {
			s.forget(now)
		}
		o = new(addressOf)
		s.seen[k] = o
	}
	return o
}

// Arrive counts an attempt to connect. The error is a *Refusal.
func (s *Addresses) Arrive(t tenants.ID, a netip.Addr, l *tenants.Limits) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := ticks()
	o := s.of(addressKey{t, Whole(a)}, now)
	if o.open >= l.MaxConnectionsPerIP {
		return refuse(ipOpenRow, l.MaxConnectionsPerIP, 0, connectionRetry)
	}
	limit := pace.Limit{PerSecond: int64(max(1, l.ConnectsPerIPPerSecond)), Burst: int64(ipRateRow.Burst(l))}
	if tried := l.Tried; tried != nil {
		if tried.MaxConnectionsPerIP > 0 && o.open >= tried.MaxConnectionsPerIP {
			s.figures.Would(t, ipOpenRow.Name)
		}
		if n := tried.ConnectsPerIPPerSecond; n > 0 && o.tried.Over(now, pace.Limit{PerSecond: int64(n), Burst: int64(max(n, l.ConnectPerIPBurst))}) {
			s.figures.Would(t, ipRateRow.Name)
		}
	}
	if o.enforced.Over(now, limit) {
		return refuse(ipRateRow, l.ConnectsPerIPPerSecond, ipRateRow.Burst(l), o.enforced.Until(now, limit))
	}
	return nil
}

// Open counts a connection of an address until release is called, which may be called
// more than once. The error is a *Refusal.
func (s *Addresses) Open(t tenants.ID, a netip.Addr, l *tenants.Limits) (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := addressKey{t, Whole(a)}
	o := s.of(k, ticks())
	if o.open >= l.MaxConnectionsPerIP {
		return nil, refuse(ipOpenRow, l.MaxConnectionsPerIP, 0, connectionRetry)
	}
	o.open++
	s.figures.Largest(t, ipOpenRow.Name, o.open)
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		o.open--
	}), nil
}

// forget makes room; s.mu is held. Who has connections stays.
func (s *Addresses) forget(now int64) {
	for k, o := range s.seen {
		if o.open == 0 && o.enforced.Idle(now) {
			delete(s.seen, k)
		}
	}
	if len(s.seen) < maxAddresses {
		return
	}
	for k, o := range s.seen {
		if o.open == 0 {
			delete(s.seen, k)
		}
	}
}
