package transport

import (
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs/internal/pace"
)

// maxStrangers bounds how many addresses are remembered at a time.
const maxStrangers = 4096

// strangers counts forged connection tokens by the address that they came from.
// No guess has a chance, with or without it; it keeps guessing cheap for others.
type strangers struct {
	mu   sync.Mutex
	seen map[string]*pace.Meter
}

// tooMany counts one forgery and reports whether there were more than perMinute.
func (s *strangers) tooMany(r *http.Request, perMinute int) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.seen[host]
	if m == nil {
		if s.seen == nil || len(s.seen) >= maxStrangers {
			s.seen = make(map[string]*pace.Meter) // who comes back begins anew
		}
		m = new(pace.Meter)
		s.seen[host] = m
	}
	// By this clock a minute is a second.
	return m.Over(int64(time.Since(started)/60)+1, pace.Limit{PerSecond: int64(perMinute), Burst: int64(perMinute)})
}
