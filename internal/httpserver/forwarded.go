package httpserver

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// forwardedHeaders say what was asked of a proxy, and by whom. Of those, Forwarded
// (RFC 7239) and X-Real-IP are read from nobody.
var forwardedHeaders = []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "Forwarded", "X-Real-Ip"}

// Forwarded shows handlers a request as it was made, where a trusted proxy sent it
// on: RemoteAddr is the rightmost address of X-Forwarded-For that is no trusted
// proxy itself, Host is the last value of X-Forwarded-Host, and Secure goes by
// that of X-Forwarded-Proto. From anyone else these headers mean nothing and are
// taken off; whatever callers wrote to the left of a trusted proxy never counts.
func Forwarded(trusted []netip.Prefix) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			secure := r.TLS != nil
			if fromProxy(r, trusted) {
				if addr, ok := forwardedFor(r, trusted); ok {
					r.RemoteAddr = net.JoinHostPort(addr.String(), "0")
				}
				if host := lastOf(r, "X-Forwarded-Host"); validHost(host) {
					r.Host = host
				}
				if scheme := lastOf(r, "X-Forwarded-Proto"); scheme != "" {
					secure = strings.EqualFold(scheme, "https") || strings.EqualFold(scheme, "wss")
				}
			}
			for _, name := range forwardedHeaders {
				r.Header.Del(name)
			}
			r, s := scoped(r)
			s.secure = secure
			next.ServeHTTP(w, r)
		})
	}
}

// Secure reports whether the caller's own connection is encrypted, as Forwarded
// has found.
func Secure(r *http.Request) bool {
	s := scopeOf(r.Context())
	return s != nil && s.secure
}

// RequireHTTPS refuses requests that were made without TLS, inside Forwarded. A
// page is sent to the same URL over https; whatever may carry a token is refused,
// so that nobody gets used to sending one in the clear.
func RequireHTTPS(isPage func(*http.Request) bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case Secure(r):
				next.ServeHTTP(w, r)
			case (r.Method == http.MethodGet || r.Method == http.MethodHead) && isPage(r) && validHost(r.Host):
				to := url.URL{Scheme: "https", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
				w.Header().Set("Location", to.String())
				w.WriteHeader(http.StatusPermanentRedirect)
			default:
				w.Header().Set("Connection", "close")
				http.Error(w, "This address is served over https only.", http.StatusForbidden)
			}
		})
	}
}

func fromProxy(r *http.Request, trusted []netip.Prefix) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && contains(trusted, peer.Addr())
}

// lastOf returns the value that the nearest proxy wrote.
func lastOf(r *http.Request, header string) string {
	all := r.Header.Values(header)
	if len(all) == 0 {
		return ""
	}
	last := all[len(all)-1]
	return strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
}

// validHost reports whether s is a host with or without a port, and no more.
func validHost(s string) bool {
	u, err := url.Parse("http://" + s)
	return s != "" && err == nil && u.Host == s && u.Hostname() != "" && !strings.ContainsAny(s, `\/?#@`)
}

// forwardedFor returns the caller's address, when it is not the peer's.
func forwardedFor(r *http.Request, trusted []netip.Prefix) (netip.Addr, bool) {
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

// CheckProxies returns an error for a list of proxies that would trust everybody.
func CheckProxies(trusted []netip.Prefix) error {
	for _, p := range trusted {
		if p.Bits() == 0 {
			return fmt.Errorf("must be the networks of your balancers: %s is everybody", p)
		}
	}
	return nil
}
