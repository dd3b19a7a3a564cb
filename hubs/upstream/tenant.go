package upstream

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"golang.org/x/time/rate"

	"github.com/signalbox/signalbox/tenants"
)

// What one tenant may have under way on one edge.
const (
	maxInFlight = 100 // where no limit is known
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
	slots     places
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
		streams:   make(chan struct{}, maxStreams),
		successes: rate.NewLimiter(loggedSuccesses, loggedSuccessBurst), failures: rate.NewLimiter(loggedFailures, loggedFailureBurst),
		breakers: make(map[string]circuitbreaker.CircuitBreaker[any]),
	}
	t.events.tenant = t
	return t
}

// inFlight is how many requests the tenant may have under way on this edge.
func (t *tenant) inFlight() int {
	if t.g.limits != nil {
		if l := t.g.limits(t.id); l != nil {
			return max(1, l.MaxUpstreamRequests)
		}
	}
	return maxInFlight
}

// places are taken by requests, as many at a time as a limit says that may change. Who
// comes first is the first.
type places struct {
	mu      sync.Mutex
	used    int
	waiting []chan struct{} // closed when a place is theirs
}

// acquire takes one of most places, waiting for it until ctx is done.
func (p *places) acquire(ctx context.Context, most int) bool {
	p.mu.Lock()
	p.grant(most) // it may be more than it was
	if p.used < most {
		p.used++
		p.mu.Unlock()
		return true
	}
	turn := make(chan struct{})
	p.waiting = append(p.waiting, turn)
	p.mu.Unlock()
	select {
	case <-turn:
		return true
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, turn); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	} else { // it came at the same moment
		p.used--
		p.grant(most)
	}
	return false
}

// release gives a place back.
func (p *places) release(most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used--
	p.grant(most)
}

// grant gives free places to who waits; p.mu is held.
func (p *places) grant(most int) {
	for p.used < most && len(p.waiting) > 0 {
		p.used++
		close(p.waiting[0])
		p.waiting = slices.Delete(p.waiting, 0, 1)
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
