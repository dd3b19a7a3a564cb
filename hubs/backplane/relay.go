package backplane

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/redisclient"
)

// RelayedHeader marks requests that one edge passed on to another and names the
// former's edge run. A request that bears it is never passed on again.
const RelayedHeader = "Signalbox-Relayed-By"

// RelayConfig says how edges reach each other's internal listeners.
type RelayConfig struct {
	// Transport authenticates both sides (mutual TLS); its connection and TLS
	// time-outs must be short, its response may take as long as a poll does.
	Transport http.RoundTripper
	// Scheme is "https" unless set otherwise.
	Scheme string
}

// addressLife is how long a known address is used without asking again.
const addressLife = 2 * time.Second

// addressKept is how long it is remembered for when Redis can't be asked.
const addressKept = time.Hour

// relayAttempts is how often an edge is tried to be reached: a client that is told that
// its connection is gone begins anew.
const relayAttempts = 4

// relay passes requests on to the owners of connections.
type relay struct {
	cfg   OwnershipConfig
	peers *peers

	mu        sync.Mutex
	addresses map[string]knownAddress // by edge run
	failed    time.Time               // when Redis last couldn't be asked
}

type knownAddress struct {
	address string // "" = the edge is gone
	at      time.Time
}

func newRelay(cfg OwnershipConfig, p *peers) *relay {
	if cfg.Relay.Scheme == "" {
		cfg.Relay.Scheme = "https"
	}
	return &relay{cfg: cfg, peers: p, addresses: make(map[string]knownAddress)}
}

// Relay passes r on to the process named owner and copies its answer to w. The
// Gone error means that nothing has been written to w.
func (o *Ownership) Relay(w http.ResponseWriter, r *http.Request, owner string) error {
	if r.Header.Get(RelayedHeader) != "" || o.cfg.Relay.Transport == nil {
		return o.cfg.Gone // passed on once already: the lease or the claim is stale
	}
	address, err := o.relay.address(r.Context(), owner)
	if err != nil {
		return errors.Join(o.cfg.Gone, err)
	}
	if address == "" {
		return o.cfg.Gone
	}
	return o.relay.pass(w, r, address)
}

// address returns where an edge run listens, "" when it is gone.
func (p *relay) address(ctx context.Context, run string) (string, error) {
	if address := p.peers.address(run); address != "" {
		return address, nil
	}
	now := time.Now()
	p.mu.Lock()
	known, ok := p.addresses[run]
	for other, k := range p.addresses { // a handful of edges
		if now.Sub(k.at) > addressKept {
			delete(p.addresses, other)
		}
	}
	p.mu.Unlock()
	if ok && now.Sub(known.at) < addressLife {
		return known.address, nil
	}
	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	address, err := p.cfg.Redis.HGet(ctx, redisclient.EdgeLease(run), "addr").Result()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && !errors.Is(err, redis.Nil) {
		p.failed = now
		if ok && known.address != "" {
			return known.address, nil // Redis is away: the last one known is the best guess
		}
		return "", err
	}
	if address == "" && ok && known.address != "" && now.Sub(p.failed) < leaseLife {
		// While Redis was away the lease ran out; the edge has had no time to renew it.
		return known.address, nil
	}
	p.addresses[run] = knownAddress{address: address, at: now}
	return address, nil
}

// pass sends r to address as it came in: the owner resolves tenant, token and
// path by itself.
func (p *relay) pass(w http.ResponseWriter, r *http.Request, address string) error {
	target, err := url.ParseRequestURI(r.RequestURI)
	if err != nil || r.RequestURI == "" {
		target = r.URL
	}
	var failure error
	proxy := &httputil.ReverseProxy{
		Transport:     p.cfg.Relay.Transport,
		FlushInterval: -1, // pass every byte on as it comes
		Rewrite: func(pr *httputil.ProxyRequest) {
			to := *target
			to.Scheme, to.Host = p.cfg.Relay.Scheme, address
			pr.Out.URL = &to
			pr.Out.Host = pr.In.Host
			pr.Out.Header.Set(RelayedHeader, p.cfg.EdgeRun)
			pr.Out.Header["X-Forwarded-For"] = pr.In.Header["X-Forwarded-For"]
			pr.SetXForwarded()
			for _, name := range []string{"Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				if known := pr.In.Header[name]; known != nil { // a proxy before the edges knows better
					pr.Out.Header[name] = known
				}
			}
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failure = err },
	}
	// A body that was offered in vain is still whole, but it would be closed.
	again := *r
	if r.Body != nil {
		again.Body = io.NopCloser(r.Body)
	}
	for attempt := 1; ; attempt++ {
		failure = nil
		proxy.ServeHTTP(w, &again)
		if failure == nil {
			return nil
		}
		if attempt == relayAttempts || !unreached(failure) || r.Context().Err() != nil {
			return errors.Join(p.cfg.Gone, failure)
		}
	}
}

// unreached reports whether a request wasn't sent, since the other edge took too long
// to be connected to: a machine that has much to do, where an edge that has ended
// refuses. Nothing else of a relayed request has a time-out.
func unreached(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
