package upstream

import (
	"net/netip"
	"net/url"
	"time"
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
