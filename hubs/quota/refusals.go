package quota

import (
	"context"
	"sync"
	"time"

	"github.com/signalbox/signalbox/tenants"
)

const (
	// promptRefusals is how many refusals of a tenant an edge answers at once in a
	// second, and as many more in a burst; the others wait for their turn.
	promptRefusals = 50
	// longestRefusal is the most that one waits.
	longestRefusal = time.Second
	// slowRefusals is how many of a tenant wait at a time: each is a connection and
	// a request in memory. Further ones are answered at once.
	slowRefusals = 1024
	// refusedTenants is from how many tenants on those are forgotten that nothing was
	// refused of lately.
	refusedTenants = 1024
)

// Refusals takes its time for answers to a tenant that goes on far beyond its limits:
// whoever sends the next request when the last one was refused, at once and without
// end, makes an edge read and refuse as fast as it can, and all others on it wait for
// that. Who waits as long as a refusal says never meets it. The zero value is ready.
type Refusals struct {
	mu      sync.Mutex
	tenants map[tenants.ID]*refusals
}

// refusals are those of one tenant.
type refusals struct {
	due     time.Time // when the next one has its turn
	waiting int
}

// Wait returns when a refusal may be answered, or when ctx ends.
func (s *Refusals) Wait(ctx context.Context, t tenants.ID) {
	o, wait := s.begin(t, time.Now())
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o.waiting--
}

// begin counts a refusal and returns how long it has to wait. One that does counts
// as waiting.
func (s *Refusals) begin(t tenants.ID, now time.Time) (o *refusals, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o = s.tenants[t]; o == nil {
		s.forget(now)
		o = new(refusals)
		s.tenants[t] = o
	}
	if full := now.Add(-time.Second); o.due.Before(full) {
		o.due = full
	}
	wait = min(o.due.Sub(now), longestRefusal)
	if wait < longestRefusal {
		o.due = o.due.Add(time.Second / promptRefusals)
	}
	if wait <= 0 || o.waiting >= slowRefusals {
		return o, 0
	}
	o.waiting++
	return o, wait
}

// forget makes room for one more tenant where there are many; s.mu is held.
func (s *Refusals) forget(now time.Time) {
	if s.tenants == nil {
		s.tenants = make(map[tenants.ID]*refusals)
	}
	if len(s.tenants) < refusedTenants {
		return
	}
	for t, o := range s.tenants {
		if o.waiting == 0 && o.due.Before(now) {
			delete(s.tenants, t)
		}
	}
}
