package edge

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
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
// servers stay connected: they serve clients of other edges. It ends by itself after its
// time, so that an edge isn't lost for good when nobody can reach it, or remembers to.
type hold struct {
	hubs   *registry
	over   time.Duration // over which clients are asked to go
	tick   time.Duration
	change chan struct{} // of one: held was set or taken back
	log    *slog.Logger

	mu    sync.Mutex
	until time.Time // zero = it isn't held
}

func newHold(g *registry, over time.Duration, log *slog.Logger) *hold {
	return &hold{hubs: g, over: over, tick: holdTick, change: make(chan struct{}, 1), log: log}
}

// set holds the edge for a time from now on, another one than before if it was held; 0
// releases it.
func (h *hold) set(ctx context.Context, life time.Duration) {
	h.mu.Lock()
	h.until = time.Time{}
	if life > 0 {
		h.until = time.Now().Add(life)
	}
	changed := h.hubs.held.Swap(life > 0) != (life > 0)
	h.mu.Unlock()
	if !changed {
		return
	}
	h.log.InfoContext(ctx, "the edge was held or released", "held", life > 0, "over", h.over)
	select {
	case h.change <- struct{}{}:
	default:
	}
}

// left is for how long the edge is held yet; 0 = it isn't.
func (h *hold) left() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.until.IsZero() {
		return 0
	}
	return max(0, time.Until(h.until))
}

// lapse releases the edge when the time is over for which it is held.
func (h *hold) lapse(ctx context.Context) {
	h.mu.Lock()
	over := !h.until.IsZero() && time.Until(h.until) <= 0
	if over {
		h.until = time.Time{}
		h.hubs.held.Store(false)
	}
	h.mu.Unlock()
	if over {
		h.log.WarnContext(ctx, "the edge was held for its time and serves again")
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
		h.lapse(ctx)
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
		Ready: now.Ready, Held: now.Held, HeldFor: e.hold.left().Seconds(), Draining: now.Draining, CutOff: now.CutOff,
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
		seconds, err := strconv.Atoi(r.URL.Query().Get(fleet.HoldSeconds))
		if err != nil || seconds < 1 || seconds > int(fleet.MostHold/time.Second) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		e.hold.set(r.Context(), time.Duration(seconds)*time.Second)
	case http.MethodDelete:
		e.hold.set(r.Context(), 0)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
