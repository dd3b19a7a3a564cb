package quota

import (
	"context"
	"math/rand/v2"
	"runtime"
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
	// refusalsEvery is how far apart those that wait are let go: a few at a time, since
	// to wake up for each of them would cost more than many an answer.
	refusalsEvery = 10 * time.Millisecond
	// slowRefusals is how many of a tenant wait at a time: each is a connection and
	// a request in memory. Further ones are answered at once.
	slowRefusals = 1024
	// slowInAll is how many wait on an edge.
	slowInAll = 8192
	// mostRefused is how many tenants, and addresses of theirs, are remembered of which
	// something was refused lately. Refusals of others are answered at once.
	mostRefused = 4096
)

// Refusals takes its time for answers to a tenant that goes on far beyond its limits:
// whoever sends the next request when the last one was refused, at once and without
// end, makes an edge read and refuse as fast as it can, and all others on it wait for
// that. The zero value is ready.
type Refusals struct {
	mu      sync.Mutex
	all     map[Refused]*refusals
	waiting int
}

// Refused is of whom something is refused: a tenant, or an address where no token has
// been looked at, so that strangers slow nobody's refusals but their own.
type Refused struct {
	Tenant  tenants.ID
	Address string
}

// refusals are those of one Refused.
type refusals struct {
	due     time.Time // when the next one has its turn
	waiting int
}

// refusalsPhase is each process's own, so that edges of one machine seldom let go at the
// same moment.
var refusalsPhase = rand.N(refusalsEvery)

// Wait returns when a refusal may be answered, or when ctx ends.
func (s *Refusals) Wait(ctx context.Context, of Refused) {
	now := time.Now()
	o, wait := s.begin(of, now)
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(staggered(now, wait))
	defer timer.Stop()
	select {
	case <-timer.C:
		// Behind everybody else who has something to do.
		runtime.Gosched()
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o.waiting--
	s.waiting--
}

// staggered shortens a wait so that those of a burst, which waited for as long as one may,
// don't come back as a burst, and so that it ends when a few others do.
func staggered(now time.Time, wait time.Duration) time.Duration {
	if wait == longestRefusal {
		wait -= rand.N(longestRefusal / 2)
	}
	return wait - time.Duration(now.Add(wait+refusalsPhase).UnixNano()%int64(refusalsEvery))
}

// begin counts a refusal and returns how long it has to wait. One that does counts
// as waiting.
func (s *Refusals) begin(of Refused, now time.Time) (o *refusals, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o = s.all[of]; o == nil {
		if !s.room(now) {
			return nil, 0
		}
		o = new(refusals)
		s.all[of] = o
	}
	if full := now.Add(-time.Second); o.due.Before(full) {
		o.due = full
	}
	wait = min(o.due.Sub(now), longestRefusal)
	if wait < longestRefusal {
		o.due = o.due.Add(time.Second / promptRefusals)
	}
	if wait <= 0 || o.waiting >= slowRefusals || s.waiting >= slowInAll {
		return o, 0
	}
	o.waiting++
	s.waiting++
	return o, wait
}

// room makes room for one more and reports whether there is any; s.mu is held.
func (s *Refusals) room(now time.Time) bool {
	if s.all == nil {
		s.all = make(map[Refused]*refusals)
	}
	if len(s.all) < mostRefused {
		return true
	}
	for of, o := range s.all {
		if o.waiting == 0 && o.due.Before(now) {
			delete(s.all, of)
		}
	}
	return len(s.all) < mostRefused
}
