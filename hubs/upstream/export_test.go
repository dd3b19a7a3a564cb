package upstream

import (
	"net/url"
	"time"
)

// Exhaust takes all that an address gets for a time.
func Exhaust(g *Gateway, raw string, d time.Duration) {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err)
	}
	l := g.destinations.limiter(u.Host)
	for range int(d.Seconds()*perAddress) + perAddressBurst {
		l.Reserve()
	}
}
