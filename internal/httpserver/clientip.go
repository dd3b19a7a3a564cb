package httpserver

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// ClientIP makes RemoteAddr the caller's address where a trusted proxy sent the
// request on: the rightmost address of X-Forwarded-For that is no trusted proxy
// itself. From anyone else the header means nothing, and whatever callers wrote
// to its left never does.
func ClientIP(trusted []netip.Prefix) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if addr, ok := forwardedFor(r, trusted); ok {
				r.RemoteAddr = net.JoinHostPort(addr.String(), "0")
			}
			next.ServeHTTP(w, r)
		})
	}
}

// forwardedFor returns the caller's address, when it is not the peer's.
func forwardedFor(r *http.Request, trusted []netip.Prefix) (netip.Addr, bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !contains(trusted, peer.Addr()) {
		return netip.Addr{}, false
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		addr, ok := parseHop(strings.TrimSpace(hops[i]))
		if !ok {
			return netip.Addr{}, false
		}
		if !contains(trusted, addr) {
			return addr.Unmap(), true
		}
	}
	return netip.Addr{}, false
}

// parseHop reads an address, with a port or without: some balancers add it.
func parseHop(hop string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(hop); err == nil {
		return addr, true
	}
	withPort, err := netip.ParseAddrPort(hop)
	return withPort.Addr(), err == nil
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}
