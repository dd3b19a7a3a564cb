// Package outbound makes the HTTP requests that tenants ask the service for, to
// addresses that tenants choose: webhooks and the keys of token issuers. Nobody
// may reach the service's own network with it.
//
// An address is checked twice. Policy.Check reads a URL when a tenant saves it,
// so that mistakes are told at once. Transport looks at the IP address of every
// connection that is made, after the name was resolved and whatever it resolved
// to before: names may change their mind.
package outbound

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// MaxURL is the longest accepted URL, in bytes.
const MaxURL = 2048

// ErrForbidden is the error for an address that must not be reached. It doesn't
// say more, because tenants see it.
var ErrForbidden = errors.New("the address is not one that may be reached")

// Ports are those that may be reached on the internet.
var Ports = []string{"443", "8443"}

// Policy says what may be reached. The zero Policy allows HTTPS to the public
// internet alone.
type Policy struct {
	// Allowed are private networks that may be reached nevertheless, with plain
	// HTTP too and on every port: for development.
	Allowed []netip.Prefix
}

// allows reports whether an address is in one of the allowed networks.
func (p Policy) allows(ip netip.Addr) bool {
	return slices.ContainsFunc(p.Allowed, func(n netip.Prefix) bool { return n.Contains(ip.Unmap()) })
}

// Rule is what Check accepts, worded for error messages.
func (p Policy) Rule() string {
	if len(p.Allowed) > 0 {
		return "an absolute http or https URL without user and fragment"
	}
	return "an absolute https URL of a public host on port " + strings.Join(Ports, " or ") + ", without user and fragment"
}

// Check returns the parsed URL, or an error that says what is wrong with it. It
// resolves no names: what they lead to is looked at when it is connected to.
func (p Policy) Check(raw string) (*url.URL, error) {
	if len(raw) > MaxURL {
		return nil, fmt.Errorf("is longer than %d bytes", MaxURL)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("is not a URL")
	}
	return u, p.check(u)
}

func (p Policy) check(u *url.URL) error {
	host := u.Hostname()
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || len(p.Allowed) == 0):
		return errors.New("must begin with https://")
	case host == "" || u.Opaque != "":
		return errors.New("has no host")
	case u.User != nil:
		return errors.New("must not have a user or a password")
	case u.Fragment != "":
		return errors.New("must not have a fragment")
	}
	port := u.Port()
	if port == "" && u.Scheme == "https" {
		port = "443"
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && p.allows(ip):
		return nil
	case err == nil && !public(ip):
		return ErrForbidden
	case err != nil && numeric(host):
		// 127.1, 2130706433, 0x7f000001: some resolvers take these for addresses.
		return ErrForbidden
	case err != nil && len(p.Allowed) == 0 && localName(host):
		return ErrForbidden
	case len(p.Allowed) == 0 && !slices.Contains(Ports, port):
		return fmt.Errorf("must use port %s", strings.Join(Ports, " or "))
	}
	return nil
}

// numeric reports whether the last label of a host is a number, as those of
// IPv4 addresses in their odd forms are, and those of names never.
func numeric(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	if hex, ok := strings.CutPrefix(strings.ToLower(last), "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// localName reports whether a name can't be one of the public internet.
func localName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if !strings.Contains(host, ".") {
		return true
	}
	for _, suffix := range []string{".localhost", ".local", ".internal", ".home.arpa"} {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

// special are the networks in which nobody's public servers are (the IANA
// special-purpose address registries), besides those that netip knows.
var special = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "240.0.0.0/4", "168.63.129.16/32", // the last is a cloud's platform service, public by its number alone
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)

// unicast is where the public IPv6 addresses are; what maps IPv4 is outside.
var unicast = netip.MustParsePrefix("2000::/3")

// public reports whether ip is an address of the public internet.
func public(ip netip.Addr) bool {
	ip = ip.Unmap()
	switch {
	case !ip.IsValid(), ip.Zone() != "", !ip.IsGlobalUnicast(), ip.IsPrivate(), ip.IsLoopback():
		return false
	case ip.Is6() && !unicast.Contains(ip):
		return false
	}
	return !slices.ContainsFunc(special, func(n netip.Prefix) bool { return n.Contains(ip) })
}

func prefixes(list ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(list))
	for i, s := range list {
		all[i] = netip.MustParsePrefix(s)
	}
	return all
}
