package directory

import (
	"sync"
	"time"
)

// misses remembers for a short while which names no tenant has.
type misses struct {
	mu    sync.Mutex
	until map[name]time.Time // at most maxMisses
}

func (m *misses) has(n name, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.until[n]
	return ok && now.Before(t)
}

func (m *misses) add(n name, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.until) >= maxMisses {
		// A tenth goes at random: cheaper than order, and forgetting a miss costs
		// one question.
		drop := maxMisses / 10
		for k := range m.until {
			if delete(m.until, k); drop == 0 {
				break
			}
			drop--
		}
	}
	m.until[n] = now.Add(missMemory)
}

// sweep forgets what is over.
func (m *misses) sweep(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, t := range m.until {
		if !now.Before(t) {
			delete(m.until, k)
		}
	}
}

// clear forgets everything: a name may have got an owner.
func (m *misses) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.until)
}
