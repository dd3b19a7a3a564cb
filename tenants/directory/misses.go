package directory

import (
	"strings"
	"sync"
	"time"
)

// misses remembers which names no tenant has: for a short while as the truth,
// and for longer as the best guess while nobody can be asked.
type misses struct {
	mu    sync.Mutex
	until map[name]time.Time // at most maxMisses
}

// has reports whether n is known to be nobody's, and whether it was.
func (m *misses) has(n name, now time.Time) (is, was bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.until[n]
	return ok && now.Before(t), ok
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
	n.value = strings.Clone(n.value) // it may be a part of a request
	m.until[n] = now.Add(missMemory)
}

// sweep forgets what is over.
func (m *misses) sweep(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, t := range m.until {
		if !now.Before(t.Add(missGuess)) {
			delete(m.until, k)
		}
	}
}

// doubt makes everything a guess: some name may have got an owner.
func (m *misses) doubt(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, t := range m.until {
		if now.Before(t) {
			m.until[k] = now
		}
	}
}
