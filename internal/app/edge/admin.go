package edge

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/tenants/directory"
)

// probeTimeout bounds what /readyz waits for Redis before it has ever answered.
const probeTimeout = time.Second

// readiness says whether the edge should get connections. Redis must have
// answered once and tenants must be known; after that the edge serves what it
// knows however long Redis is away, unless it is away for this edge alone. A Redis
// that may drop keys is none to begin with.
type readiness struct {
	redis     redis.UniversalClient
	directory *directory.Directory
	reached   atomic.Bool
	draining  atomic.Bool
	held      *atomic.Bool // by an operator; the registry's, which admits nobody then
	cutOff    atomic.Bool  // Redis is away for this edge alone
	unfit     atomic.Bool  // Redis may drop keys
	alone     atomic.Bool  // other edges have the other setting of streams-only
}

// state is the body of /readyz.
type state struct {
	Ready     bool `json:"ready"`
	Redis     bool `json:"redis_reached"`
	Documents bool `json:"documents"`
	Draining  bool `json:"draining"`
	Held      bool `json:"held"`
	CutOff    bool `json:"cut_off"`
	Unfit     bool `json:"redis_unfit"`
	Alone     bool `json:"other_edges_differ"`
}

func (s *readiness) state(ctx context.Context) state {
	if !s.reached.Load() {
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		if s.redis.Ping(ctx).Err() == nil {
			s.reached.Store(true)
		}
	}
	now := state{Redis: s.reached.Load(), Documents: s.directory.Ready(), Draining: s.draining.Load(), Held: s.held.Load(), CutOff: s.cutOff.Load(), Unfit: s.unfit.Load(), Alone: s.alone.Load()}
	now.Ready = now.Redis && now.Documents && !now.Draining && !now.Held && !now.CutOff && !now.Unfit && !now.Alone
	return now
}

// adminHandler serves what operators and orchestrators ask. It belongs on a
// listener that is not public.
func adminHandler(ready *readiness, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		now := ready.state(r.Context())
		w.Header().Set("Content-Type", "application/json")
		if !now.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(now)
	})
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET "+certificatePath, ready.certificate)
	return mux
}

// certificatePath is what a proxy in front that ends TLS asks before it gets a
// certificate for a name, with the name as the query's domain.
const certificatePath = "/certificates/ask"

// certificate answers 200 for the hosts of tenants alone: else whoever points a name here
// has certificates made for it. A tenant has as many as it has verified domains, which
// are bounded; asking for names of nobody costs what any request to them does.
func (s *readiness) certificate(w http.ResponseWriter, r *http.Request) {
	_, err := s.directory.ByHost(r.Context(), r.URL.Query().Get("domain"))
	status, text := http.StatusOK, "a tenant's\n"
	switch {
	case errors.Is(err, directory.ErrNotFound):
		status, text = http.StatusNotFound, "no tenant has this host\n"
	case err != nil:
		status, text = http.StatusServiceUnavailable, "it can't be known now whose this host is\n"
	}
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the proxy may have gone
}
