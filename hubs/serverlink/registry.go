package serverlink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/internal/redisclient"
)

// Local is the server connections of this edge, as far as they take clients:
// weak ones and those that are about to go don't count.
type Local interface {
	// Open also minds Client.MovedFrom: that server doesn't get the client.
	pairing.Opener
	// Servers calls f for each of a hub's: the server id, and how many clients it has.
	Servers(hub pairing.Hub, f func(server string, clients int))
}

// RegistryConfig is what a Registry needs.
type RegistryConfig struct {
	Redis redis.UniversalClient
	// EdgeRun names this edge; its lease (redisclient.EdgeLease) must be kept by
	// someone else, and Address is the host:port of its internal listener.
	EdgeRun string
	Address string
	Local   Local
	Logger  *slog.Logger
	// StreamsOnly has news of other edges read from streams, not heard over Pub/Sub.
	// All edges must agree about it.
	StreamsOnly bool
	// LoadEvery is how often changed loads are told; 1 s. RefreshEvery is how
	// often all is written anew, for a Redis that has lost it; 5 s. SweepEvery is
	// how often what is known of other edges is read anew; 15 s.
	LoadEvery, RefreshEvery, SweepEvery time.Duration
}

// The times of the registry.
const (
	// recently is how long after its last app server a hub is still taken to be
	// one that has app servers.
	recently = 10 * time.Minute
	// seenEvery is how often that is written while there is a server: an edge that
	// is killed can't write it at the end.
	seenEvery = time.Minute
	// redisPatience bounds each exchange with Redis.
	redisPatience = 700 * time.Millisecond
	// awayFor is how long Redis isn't asked after it failed.
	awayFor = 500 * time.Millisecond
	// listedServers is how many app servers of a hub an edge tells of: the least
	// loaded ones.
	listedServers = 256
	writeBatch    = 200
)

// Server is an app server as other edges know it.
type Server struct {
	ID          string `json:"i"`
	Connections int    `json:"c"`
	Load        int    `json:"l"` // clients of its least loaded connection
}

// record is what an edge tells of one hub.
type record struct {
	Run     string   `json:"r"`
	Number  uint64   `json:"n"` // higher is newer, within a run
	Address string   `json:"a"`
	Servers []Server `json:"s,omitempty"` // least loaded first; none: the edge has none any more

	heard time.Time // when it came over the doorbell; zero = it was read
}

// Registry knows which edges have server connections of a hub.
type Registry struct {
	cfg  RegistryConfig
	bell registryNews
	wake chan struct{} // holds one: something changed here
	look chan struct{} // holds one: some views are due

	// Of the goroutine of Run.
	mine    map[pairing.Hub]bool // that have server connections here
	written map[pairing.Hub]writtenEntry
	number  uint64

	mu        sync.Mutex
	changed   map[pairing.Hub]bool // whose presence here has changed
	withdrawn chan struct{}        // non-nil: this edge takes no more; closed when told
	views     map[pairing.Hub]*view
	edges     map[string]*edgeLife // edges that some view knows, by run
	away      time.Time            // until when Redis isn't asked
	ended     bool                 // Run has returned, or is about to
	readings  sync.WaitGroup
}

// writtenEntry is what Redis was told of a hub.
type writtenEntry struct {
	servers []Server
	at      time.Time // when it was written
	seen    time.Time // when redisclient.HubKeys.ServersSeen was
}

// NewRegistry returns a registry; Run makes it work.
func NewRegistry(cfg RegistryConfig) (*Registry, error) {
	if cfg.Redis == nil || cfg.EdgeRun == "" || cfg.Address == "" || cfg.Local == nil || cfg.Logger == nil {
		return nil, errors.New("server registry: Redis, EdgeRun, Address, Local and Logger are required")
	}
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{{&cfg.LoadEvery, time.Second}, {&cfg.RefreshEvery, 5 * time.Second}, {&cfg.SweepEvery, 15 * time.Second}} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	r := &Registry{
		cfg: cfg, wake: make(chan struct{}, 1), look: make(chan struct{}, 1),
		mine: make(map[pairing.Hub]bool), written: make(map[pairing.Hub]writtenEntry),
		changed: make(map[pairing.Hub]bool), views: make(map[pairing.Hub]*view), edges: make(map[string]*edgeLife),
	}
	if !cfg.StreamsOnly {
		r.bell = newBell(r)
		return r, nil
	}
	var err error
	if r.bell, err = newNewsLog(r); err != nil {
		return nil, fmt.Errorf("server registry: %w", err)
	}
	return r, nil
}

// Changed says that a server connection of hub has come or gone here, or no
// longer takes clients. It doesn't block.
func (r *Registry) Changed(hub pairing.Hub) {
	r.mu.Lock()
	r.changed[hub] = true
	r.mu.Unlock()
	r.rouse()
}

func (r *Registry) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Withdraw takes everything back that this edge has told, for good: it drains.
// It returns when that is done or ctx ends. Run must be working.
func (r *Registry) Withdraw(ctx context.Context) {
	r.mu.Lock()
	if r.withdrawn == nil {
		r.withdrawn = make(chan struct{})
	}
	done := r.withdrawn
	r.mu.Unlock()
	r.rouse()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Run tells other edges of the server connections here, and listens to what
// they tell, until ctx ends; then it takes back what it told.
func (r *Registry) Run(ctx context.Context) error {
	defer func() {
		r.mu.Lock()
		r.ended = true
		r.mu.Unlock()
		r.readings.Wait()
	}()
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { r.bell.run(ctx) })
	work.Go(func() { r.sweep(ctx) })
	load := time.NewTicker(r.cfg.LoadEvery)
	defer load.Stop()
	refused := false // the last exchange failed
	for {
		all := false
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisPatience)
			defer cancel()
			if err := r.tell(last, true, true); err != nil {
				r.cfg.Logger.WarnContext(ctx, "server connections are not taken back", "error", err)
			}
			return nil
		case <-r.wake:
		case <-load.C:
			all = true
		}
		r.mu.Lock()
		withdrawn := r.withdrawn
		r.mu.Unlock()
		err := r.tell(ctx, all || withdrawn != nil, withdrawn != nil)
		if err != nil && !refused && ctx.Err() == nil {
			r.cfg.Logger.WarnContext(ctx, "server connections are not told", "error", err)
		}
		refused = err != nil
		if err == nil && withdrawn != nil {
			select {
			case <-withdrawn:
			default:
				close(withdrawn)
			}
		}
	}
}

// tell writes what has changed: of all hubs, or of those whose presence has.
func (r *Registry) tell(ctx context.Context, all, withdraw bool) error {
	r.mu.Lock()
	changed := r.changed
	r.changed = make(map[pairing.Hub]bool)
	r.mu.Unlock()
	for hub := range changed {
		r.mine[hub] = true
		r.arrived(hub)
	}
	now := make(map[pairing.Hub][]Server)
	for hub := range r.mine {
		if !all && !changed[hub] {
			continue
		}
		list := r.list(hub)
		switch {
		case len(list) == 0:
			delete(r.mine, hub)
		case !withdraw:
			now[hub] = list
		}
	}
	due := make([]pairing.Hub, 0, len(now))
	for hub, servers := range now {
		w, known := r.written[hub]
		if !known || !slices.Equal(w.servers, servers) || time.Since(w.at) >= r.cfg.RefreshEvery {
			due = append(due, hub)
		}
	}
	for hub := range r.written {
		if now[hub] == nil && (all || changed[hub]) {
			due = append(due, hub)
		}
	}
	for some := range slices.Chunk(due, writeBatch) {
		if err := r.write(ctx, some, now); err != nil {
			r.mu.Lock()
			for _, hub := range due {
				r.changed[hub] = true // the next tick tries again
			}
			r.mu.Unlock()
			return err
		}
	}
	return nil
}

// list sums up the server connections of a hub by server.
func (r *Registry) list(hub pairing.Hub) []Server {
	var list []Server
	r.cfg.Local.Servers(hub, func(id string, clients int) {
		for i := range list {
			if list[i].ID == id {
				list[i].Connections++
				list[i].Load = min(list[i].Load, clients)
				return
			}
		}
		list = append(list, Server{ID: id, Connections: 1, Load: clients})
	})
	slices.SortFunc(list, func(a, b Server) int {
		if a.Load != b.Load {
			return a.Load - b.Load
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list[:min(len(list), listedServers)]
}

// write tells Redis, and over the doorbells the other edges, of some hubs.
func (r *Registry) write(ctx context.Context, hubs []pairing.Hub, now map[pairing.Hub][]Server) error {
	ctx, cancel := context.WithTimeout(ctx, redisPatience)
	defer cancel()
	at := time.Now()
	told := make(map[pairing.Hub]writtenEntry, len(hubs))
	_, err := r.cfg.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, hub := range hubs {
			r.number++
			keys := redisclient.Hub(hub.Tenant, hub.Name)
			rec := record{Run: r.cfg.EdgeRun, Number: r.number, Address: r.cfg.Address, Servers: now[hub]}
			data, err := json.Marshal(rec)
			if err != nil {
				return err
			}
			w := writtenEntry{servers: rec.Servers, at: at, seen: r.written[hub].seen}
			if len(rec.Servers) == 0 {
				p.HDel(ctx, keys.Servers(), r.cfg.EdgeRun)
				p.Set(ctx, keys.ServersSeen(), 1, recently)
			} else {
				p.HSet(ctx, keys.Servers(), r.cfg.EdgeRun, data)
				p.PExpire(ctx, keys.Servers(), 4*r.cfg.RefreshEvery)
				if at.Sub(w.seen) >= seenEvery {
					p.Set(ctx, keys.ServersSeen(), 1, recently+seenEvery)
					w.seen = at
				}
			}
			switch {
			case slices.Equal(r.written[hub].servers, rec.Servers):
			case r.cfg.StreamsOnly:
				p.XAdd(ctx, &redis.XAddArgs{Stream: keys.ServersLog(), MaxLen: logRecords, Approx: true, Values: []any{logField, data}})
				p.PExpire(ctx, keys.ServersLog(), recently)
			default:
				p.Publish(ctx, keys.ServersDoorbell(), data)
			}
			told[hub] = w
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write server connections: %w", err)
	}
	for hub, w := range told {
		if len(w.servers) == 0 {
			delete(r.written, hub)
		} else {
			r.written[hub] = w
		}
	}
	return nil
}
