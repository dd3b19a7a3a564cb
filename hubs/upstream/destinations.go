package upstream

import (
	"context"
	"net"
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

// destinations counts requests by the address behind the upstream's host. An
// address is known once a request has reached it; until then the host counts.
type destinations struct {
	mu       sync.Mutex
	address  map[string]string // by host
	limiters map[string]*rate.Limiter
}

// wait waits until one more request may go to host; it reports false when ctx was
// done before.
func (d *destinations) wait(ctx context.Context, host string) bool {
	return d.limiter(host).Wait(ctx) == nil
}

func (d *destinations) limiter(host string) *rate.Limiter {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := host
	if a, known := d.address[host]; known {
		key = a
	}
	l := d.limiters[key]
	if l == nil {
		if d.limiters == nil || len(d.limiters) >= maxAddresses {
			d.limiters = make(map[string]*rate.Limiter)
		}
		l = rate.NewLimiter(perAddress, perAddressBurst)
		d.limiters[key] = l
	}
	return l
}

// reached notes the address of a connection to host.
func (d *destinations) reached(host string, conn net.Conn) {
	address, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.address[host] == address {
		return
	}
	if d.address == nil || len(d.address) >= maxAddresses {
		d.address = make(map[string]string)
	}
	d.address[host] = address
}
