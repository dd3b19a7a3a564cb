package tenants

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Endpoints knows where tenants are reached on the data plane.
//
// Every tenant has the host {slug}.{host of the service}. On a developer's
// machine that is {slug}.localhost with the service's port, which browsers know
// and not all other programs do; there the address shown is the path
// /t/{slug} instead, which is as good but for SDKs that drop a path.
type Endpoints struct {
	service *url.URL
	domain  string // the host under which tenants' hosts are
	local   bool
}

// NewEndpoints takes the public base URL of the data plane.
func NewEndpoints(service string) (Endpoints, error) {
	u, err := url.Parse(service)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return Endpoints{}, errors.New("service URL must be http or https with a host and no path")
	}
	u.Path, u.Host = "", strings.ToLower(u.Host)
	e := Endpoints{service: u, domain: u.Hostname()}
	if _, err := netip.ParseAddr(e.domain); err == nil || e.domain == "localhost" {
		e.domain, e.local = "localhost", true
	}
	return e, nil
}

// Service returns the public base URL of the data plane, without a slash at its end.
func (e Endpoints) Service() string { return e.service.String() }

// Host returns the host that a slug gives.
func (e Endpoints) Host(slug string) string {
	host := slug + "." + e.domain
	if port := e.service.Port(); port != "" {
		host = net.JoinHostPort(host, port)
	}
	return host
}

// slugOf is the reverse of Host.
func (e Endpoints) slugOf(host string) (string, bool) {
	slug, _, _ := strings.Cut(host, ".")
	return slug, slug != "" && e.Host(slug) == host
}

// Hosts returns every host of the tenant's own.
func (e Endpoints) Hosts(t Tenant) []string {
	return slices.Concat([]string{e.Host(t.Slug)}, t.Hosts, t.Domains)
}

// Base returns the tenant's address on the data plane, without a slash at its end.
func (e Endpoints) Base(t Tenant) string {
	switch {
	case len(t.Hosts) > 0:
		return e.at(t.Hosts[0])
	case e.local:
		return e.Service() + "/t/" + t.Slug
	default:
		return e.at(e.Host(t.Slug))
	}
}

// ServiceBase is Base for programs that run beside the data plane: the path on
// the service's own address, which needs no name of the tenant's to be known.
func (e Endpoints) ServiceBase(t Tenant) string { return e.Service() + "/t/" + t.Slug }

// HostBase is Base with a host of the tenant's own, for SDKs that drop a path.
func (e Endpoints) HostBase(t Tenant) string {
	if len(t.Hosts) > 0 {
		return e.at(t.Hosts[0])
	}
	return e.at(e.Host(t.Slug))
}

func (e Endpoints) at(host string) string { return e.service.Scheme + "://" + host }
