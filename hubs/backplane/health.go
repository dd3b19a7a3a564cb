package backplane

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// health decides whether Redis is away. While it is, publishes fail at once and
// a probe looks for its return.
type health struct {
	mu       sync.Mutex
	since    time.Time // of the first failure after the last success; zero = well
	isOpen   bool
	troubled chan struct{} // holds one: wakes the probe
}

const (
	// openAfter is how long every round trip must have failed.
	openAfter  = time.Second
	probePause = 250 * time.Millisecond
)

func newHealth() *health { return &health{troubled: make(chan struct{}, 1)} }

func (h *health) open() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.isOpen
}

// report tells how a round trip went.
func (h *health) report(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil || sealed(err) { // it answers
		h.since, h.isOpen = time.Time{}, false
		return
	}
	if h.since.IsZero() {
		h.since = time.Now()
	}
	h.isOpen = h.isOpen || time.Since(h.since) >= openAfter
	select {
	case h.troubled <- struct{}{}:
	default:
	}
}

// probe pings while there is trouble, until ctx ends.
func (h *health) probe(ctx context.Context, c redis.UniversalClient) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.troubled:
		}
		pingCtx, cancel := context.WithTimeout(ctx, attemptPatience)
		err := c.Ping(pingCtx).Err()
		cancel()
		if ctx.Err() != nil {
			return
		}
		h.report(err) // wakes this loop again unless it went well
		select {
		case <-ctx.Done():
			return
		case <-time.After(probePause):
		}
	}
}
