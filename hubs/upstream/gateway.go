package upstream

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/outbound"
	"github.com/signalbox/signalbox/tenants"
)

// The codes that refusals are counted by.
const (
	codeNoRule      = "upstream_no_rule"
	codeUnsupported = "upstream_unsupported"
	codeStatus      = "upstream_status"
	codeInvalid     = "upstream_response_invalid"
	codeTooLarge    = "upstream_response_too_large"
	codeTimeout     = "upstream_timeout"
	codeUnreachable = "upstream_unreachable"
	codeBusy        = "upstream_busy"
	codeRequests    = "upstream_requests"
	codeOpen        = "upstream_circuit_open"
	codeEventLost   = "upstream_event_lost"
	codePosition    = "upstream_position"
	codeCancelled   = "upstream_cancelled" // in the log only: the client has left
)

// Log takes what the tenant's delivery log shows. Record must not block.
type Log interface {
	Record(t tenants.ID, d tenants.Delivery)
}

// Config is what a Gateway is made of.
type Config struct {
	// Transport reaches the upstreams. It must let nobody reach what isn't public.
	Transport http.RoundTripper
	// Redis keeps who has left and may be back in a moment; nil = nobody is waited for.
	Redis redis.UniversalClient
	Log   Log
	// Refused counts what wasn't carried out, for the tenant.
	Refused func(t tenants.ID, hub, code string)
	// Limits are those in force for a tenant; nil, or no answer: maxInFlight requests.
	Limits func(t tenants.ID) *tenants.Limits
	// Notify tells a client of a call that one of Limits refused; nil = nobody is told.
	Notify func(c *hubs.Connection, m *protocol.Message, l fault.Limit)
	// Position opens the token of a position in a hub, which an answer may have to
	// follow. nil = answers follow nothing.
	Position func(t tenants.ID, hub, token string) (hubs.Position, error)
	Logger   *slog.Logger
	// RetryAfter are the pauses before further attempts of an event in native
	// mode; nil = 1 s, 5 s, 25 s.
	RetryAfter []time.Duration
	// BreakerPause is how long an upstream that fails is left alone; 0 = 10 s.
	BreakerPause time.Duration
}

// Gateway posts to the upstreams of all tenants on behalf of one edge.
type Gateway struct {
	client       *http.Client
	redis        redis.UniversalClient
	log          Log
	refused      func(t tenants.ID, hub, code string)
	limits       func(t tenants.ID) *tenants.Limits
	notify       func(c *hubs.Connection, m *protocol.Message, l fault.Limit)
	position     func(t tenants.ID, hub, token string) (hubs.Position, error)
	logger       *slog.Logger
	retryAfter   []time.Duration
	breakerPause time.Duration
	destinations destinations

	ctx    context.Context // of everything that outlives a connection
	cancel context.CancelFunc

	mu      sync.Mutex
	tenants map[tenants.ID]*tenant
	closing bool
	events  sync.WaitGroup // events under way, retries included
}

// NewGateway makes a Gateway. Close must be called.
func NewGateway(c Config) *Gateway {
	g := &Gateway{
		client: &http.Client{Transport: c.Transport, CheckRedirect: outbound.NoRedirects},
		redis:  c.Redis, log: c.Log, refused: c.Refused, limits: c.Limits, notify: c.Notify, position: c.Position, logger: c.Logger,
		retryAfter: c.RetryAfter, breakerPause: c.BreakerPause,
		tenants: make(map[tenants.ID]*tenant),
	}
	if g.retryAfter == nil {
		g.retryAfter = []time.Duration{time.Second, 5 * time.Second, 25 * time.Second}
	}
	if g.breakerPause == 0 {
		g.breakerPause = 10 * time.Second
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

// NewTransport returns the Transport of production: only what the policy allows
// is reached.
func NewTransport(p outbound.Policy) http.RoundTripper {
	return outbound.NewTransport(outbound.Config{
		Policy: p, ConnectTimeout: connectTimeout,
		MaxConnsPerHost: -1, // requests are bounded per tenant, and tenants may share a host
	})
}

// Close waits until events have been told for the first time, until ctx is done;
// further attempts are given up.
func (g *Gateway) Close(ctx context.Context) error {
	g.mu.Lock()
	g.closing = true
	all := make([]*tenant, 0, len(g.tenants))
	for _, t := range g.tenants {
		all = append(all, t)
	}
	g.mu.Unlock()
	for _, t := range all {
		t.events.hurry()
	}
	done := make(chan struct{})
	go func() {
		g.events.Wait()
		close(done)
	}()
	defer g.client.CloseIdleConnections()
	defer g.cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		g.cancel() // what is under way ends with it
		<-done
		return errors.New("not every event was told to the upstreams")
	}
}

// isClosing reports whether no further attempts are to be made.
func (g *Gateway) isClosing() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closing
}

// tenantOf returns what is kept for a tenant, for one more user of it.
func (g *Gateway) tenantOf(id tenants.ID) *tenant {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.tenants[id]
	if t == nil {
		t = newTenant(g, id)
		g.tenants[id] = t
	}
	t.users++
	return t
}

// leave gives up what tenantOf returned.
func (g *Gateway) leave(t *tenant) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.users--; t.users == 0 {
		delete(g.tenants, t.id)
	}
}
