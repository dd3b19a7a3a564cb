package upstream

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/time/rate"
)

// One address gets at most this many requests per second from one edge, whoever
// sends them: many tenants together must not become a flood for somebody.
const (
	perAddress      = 200
	perAddressBurst = 400
	maxAddresses    = 10_000
)

// destinations counts requests by the address that they go to, whatever names lead
// there.
type destinations struct {
	mu       sync.Mutex
	limiters map[netip.Addr]*rate.Limiter
}

// wait waits until one more request may go over conn; it reports false when ctx was
// done before.
func (d *destinations) wait(ctx context.Context, conn net.Conn) bool {
	to, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	return err != nil || d.limiter(network(to.Addr())).Wait(ctx) == nil
}

// network is what counts as one address: of IPv6, somebody's whole network.
func network(ip netip.Addr) netip.Addr {
	if ip = ip.Unmap(); ip.Is6() {
		if p, err := ip.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return ip
}

func (d *destinations) limiter(address netip.Addr) *rate.Limiter {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.limiters[address]
	if l == nil {
		if d.limiters == nil || len(d.limiters) >= maxAddresses {
			d.limiters = make(map[netip.Addr]*rate.Limiter)
		}
		l = rate.NewLimiter(perAddress, perAddressBurst)
		d.limiters[address] = l
	}
	return l
}
