package edge

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/internal/telemetry"
)

// holdTick is how often a held edge asks some of its clients to go.
const holdTick = time.Second

// hold lets an edge be emptied and used again, while it runs: held, it isn't ready,
// takes no new connections and asks those it has to reconnect, spread over a time, each
// once what is under way for it is answered. Backends are served as ever, and app
// servers stay connected: they serve clients of other edges.
type hold struct {
	hubs   *registry
	over   time.Duration // over which clients are asked to go
	tick   time.Duration
	change chan struct{} // of one: held was set or taken back
	log    *slog.Logger
}

func newHold(g *registry, over time.Duration, log *slog.Logger) *hold {
	return &hold{hubs: g, over: over, tick: holdTick, change: make(chan struct{}, 1), log: log}
}

// set holds or releases the edge; doing it again changes nothing.
func (h *hold) set(ctx context.Context, held bool) {
	if h.hubs.held.Swap(held) == held {
		return
	}
	h.log.InfoContext(ctx, "the edge was held or released", "held", held, "over", h.over)
	select {
	case h.change <- struct{}{}:
	default:
	}
}

// run asks clients to go while the edge is held, until ctx ends.
func (h *hold) run(ctx context.Context) error {
	tick := time.NewTicker(h.tick)
	defer tick.Stop()
	var since time.Time // zero = it isn't held
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.change:
		case <-tick.C:
		}
		switch {
		case !h.hubs.held.Load():
			since = time.Time{}
			continue
		case since.IsZero():
			since = time.Now()
		}
		h.moveSome(time.Since(since))
	}
}

// moveSome retires as many connections as leaves none when the time is over.
func (h *hold) moveSome(past time.Duration) {
	left := max(1, int((h.over-past)/h.tick))
	for _, s := range h.hubs.hubServers() {
		var all []*hubs.Connection
		s.Each(func(c *hubs.Connection) { all = append(all, c) })
		for _, c := range all[:(len(all)+left-1)/left] {
			c.Retire()
		}
	}
}

// stateHandler tells the control plane how the edge is.
func (e *Edge) stateHandler(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	build, now := telemetry.Build(), e.ready.state(r.Context())
	lag := e.bus.Lag()
	stats := e.bus.Stats()
	state := fleet.EdgeState{
		Run: e.run, Version: build.Version, Revision: build.Revision, Started: e.started.UTC(),
		Ready: now.Ready, Held: now.Held, Draining: now.Draining, CutOff: now.CutOff,
		ServerConnections: e.hubs.servers.Len(), Tenants: e.directory.Len(),
		Hubs: int(stats.Followed), HubsBehind: lag.Hubs, EntriesWaiting: lag.Entries, Lag: lag.Oldest.Seconds(), RedisAway: stats.Unavailable,
	}
	for _, s := range e.hubs.hubServers() {
		state.Connections += s.Connections()
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(state) // the api asks again
}

// holdHandler holds and releases the edge.
func (e *Edge) holdHandler(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		e.hold.set(r.Context(), true)
	case http.MethodDelete:
		e.hold.set(r.Context(), false)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
