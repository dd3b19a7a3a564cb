package dev

import (
	"fmt"
	"net"
	"strconv"
)

// Descriptor is dev.json: everything that a program needs to use what runs.
type Descriptor struct {
	ConsoleURL string    `json:"console_url"`
	APIURL     string    `json:"api_url"`
	ServiceURL string    `json:"service_url"` // the front over the edges
	EdgeURLs   []string  `json:"edge_urls"`
	AdminURLs  AdminURLs `json:"admin_urls"`
	// OperatorURL is the listener of operators, with their console.
	OperatorURL string           `json:"operator_url"`
	PIDs        PIDs             `json:"pids"`
	Account     Account          `json:"account"`
	APIToken    string           `json:"api_token"`
	Tenants     []DescribeTenant `json:"tenants"`
}

// AdminURLs serve /healthz, /readyz and /metrics.
type AdminURLs struct {
	API   string   `json:"api"`
	Edges []string `json:"edges"`
}

// PIDs are process ids; 0 = not run by this program.
type PIDs struct {
	Dev      int   `json:"dev"` // this program; SIGUSR1 replaces the edges one by one
	API      int   `json:"api"`
	Edges    []int `json:"edges"`
	Postgres int   `json:"postgres"`
	Redis    int   `json:"redis"`
}

// Account is the seeded sign-in.
type Account struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

// DescribeTenant is a seeded tenant.
type DescribeTenant struct {
	ID               string `json:"id"`
	Slug             string `json:"slug"`
	ClientURL        string `json:"client_url"`
	RESTURL          string `json:"rest_url"`
	AccessKey        string `json:"access_key"`
	ConnectionString string `json:"connection_string"`
	Hub              string `json:"hub"`
}

// The seeded tenants: demo is the one that bare addresses mean, other owns the
// port after the front's.
const (
	demoSlug  = "demo"
	otherSlug = "other"
	chatHub   = "chat"
	feedHub   = "machine"
	demoEmail = "demo@example.com"
)

// describeTenants builds the addresses of the seeded tenants.
func describeTenants(edgePort int, ids map[string]string, s secrets) []DescribeTenant {
	service := loopbackURL("http", edgePort)
	describe := func(slug, base string, ownPort int) DescribeTenant {
		key := s.Keys[slug].Primary
		return DescribeTenant{
			ID: ids[slug], Slug: slug, Hub: chatHub,
			ClientURL: base + "/client/?hub=" + chatHub,
			RESTURL:   base,
			AccessKey: key,
			// Stock SDKs drop a path from the endpoint, so each tenant has a port.
			ConnectionString: fmt.Sprintf("Endpoint=http://localhost;Port=%d;AccessKey=%s;Version=1.0;", ownPort, key),
		}
	}
	return []DescribeTenant{
		describe(demoSlug, service, edgePort),
		describe(otherSlug, service+"/t/"+otherSlug, edgePort+1),
	}
}

// otherHosts are the hosts that tenant other owns.
func otherHosts(edgePort int) []string {
	port := strconv.Itoa(edgePort + 1)
	return []string{net.JoinHostPort("localhost", port), net.JoinHostPort("127.0.0.1", port)}
}

func loopbackURL(scheme string, port int) string {
	return scheme + "://" + loopback(port)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
