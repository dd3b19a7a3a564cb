package upstream

import (
	"context"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"golang.org/x/time/rate"

	"github.com/signalbox/signalbox/tenants"
)

// What one tenant may have under way on one edge.
const (
	maxInFlight = 100
	maxStreams  = 100 // whose answers are still coming

	// breakerFailures in a row make an upstream be left alone.
	breakerFailures = 10

	// What is written to the delivery log, per second and at once.
	loggedSuccesses, loggedSuccessBurst = 10, 100
	loggedFailures, loggedFailureBurst  = 10, 200
)

// tenant is what is shared by the hubs of one tenant.
type tenant struct {
	id        tenants.ID
	g         *Gateway
	users     int // guarded by Gateway.mu
	slots     chan struct{}
	streams   chan struct{}
	events    eventQueue
	successes *rate.Limiter
	failures  *rate.Limiter

	mu       sync.Mutex
	breakers map[string]circuitbreaker.CircuitBreaker[any] // by host and port
}

func newTenant(g *Gateway, id tenants.ID) *tenant {
	t := &tenant{
		id: id, g: g,
		slots: make(chan struct{}, maxInFlight), streams: make(chan struct{}, maxStreams),
		successes: rate.NewLimiter(loggedSuccesses, loggedSuccessBurst), failures: rate.NewLimiter(loggedFailures, loggedFailureBurst),
		breakers: make(map[string]circuitbreaker.CircuitBreaker[any]),
	}
	t.events.tenant = t
	return t
}

// acquire takes one of the tenant's places, waiting for it until ctx is done.
func acquire(ctx context.Context, slots chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		return true
	default:
	}
	select {
	case slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// breaker returns the one for a host. Hosts come from the tenant's rules, which
// are bounded; those of former rules go when there are many.
func (t *tenant) breaker(host string) circuitbreaker.CircuitBreaker[any] {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.breakers[host]
	if b == nil {
		if len(t.breakers) >= maxBreakers {
			clear(t.breakers)
		}
		b = circuitbreaker.NewBuilder[any]().WithFailureThreshold(breakerFailures).WithDelay(t.g.breakerPause).Build()
		t.breakers[host] = b
	}
	return b
}

// maxBreakers bounds the hosts that are watched for a tenant.
const maxBreakers = 1000

// record writes a delivery to the tenant's log, unless there are too many.
func (t *tenant) record(d tenants.Delivery) {
	limiter := t.failures
	if d.Outcome == tenants.Delivered {
		limiter = t.successes
	}
	if limiter.AllowN(time.Now(), 1) {
		t.g.log.Record(t.id, d)
	}
}
