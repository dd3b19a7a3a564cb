package transport

import (
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs/internal/pace"
)

const (
	// forgeries is how many connection tokens that were never issued one address
	// may present in a minute.
	forgeries = 20
	// maxStrangers bounds how many addresses are remembered at a time.
	maxStrangers = 4096
)

// forgeryLimit is in events per minute: strangers counts with a clock of its own.
var forgeryLimit = pace.Limit{PerSecond: forgeries, Burst: forgeries}

// strangers counts forged connection tokens by the address that they came from.
// No guess has a chance, with or without it; it keeps guessing cheap for others.
type strangers struct {
	mu   sync.Mutex
	seen map[string]*pace.Meter
}

// tooMany counts one forgery and reports whether there were too many.
func (s *strangers) tooMany(r *http.Request) bool {
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
	// A minute takes a second of the clock.
	return m.Over(int64(time.Since(started)/60)+1, forgeryLimit)
}
