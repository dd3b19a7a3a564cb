package upstream

import (
	"net/netip"
	"net/url"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/signalbox/signalbox/tenants"
)

// Exhaust takes all that an address gets for a time.
func Exhaust(g *Gateway, raw string, d time.Duration) {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err)
	}
	l := g.destinations.limiter(netip.MustParseAddr(u.Hostname()))
	for range int(d.Seconds()*perAddress) + perAddressBurst {
		l.Reserve()
	}
}

// Breaker is what watches the upstream of a tenant at an URL.
func Breaker(g *Gateway, id tenants.ID, raw string) circuitbreaker.CircuitBreaker[any] {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err)
	}
	g.mu.Lock()
	t := g.tenants[id]
	g.mu.Unlock()
	return t.breaker(u.Host)
}
