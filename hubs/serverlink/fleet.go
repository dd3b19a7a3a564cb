package serverlink

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/signalbox/signalbox/hubs/pairing"
)

// Config is what a Fleet needs.
type Config struct {
	// EdgeRun names this edge, as in RegistryConfig.
	EdgeRun string
	// TLS authenticates both sides of a link (fleet.ClientTLS).
	TLS      *tls.Config
	Local    Local
	Registry *Registry
	Timing   Timing
	Logger   *slog.Logger
}

// Fleet pairs clients with the app servers of all edges.
type Fleet struct {
	cfg   Config
	links *links
	host  *host
	stats *stats
}

var _ pairing.Opener = (*Fleet)(nil)

const (
	// A server connection here is preferred to one on another edge while it has
	// at most as many clients and a quarter and localBonus more: what a link costs.
	localBonus = 8
	// withdrawPatience bounds how long a drain waits for Redis; who comes all the
	// same is refused.
	withdrawPatience = time.Second
	// tries is how many edges a client is offered to.
	tries = 4
)

// New returns the fleet as this edge sees it. Close ends its links.
func New(cfg Config) (*Fleet, error) {
	if cfg.EdgeRun == "" || cfg.TLS == nil || cfg.Local == nil || cfg.Registry == nil || cfg.Logger == nil {
		return nil, errors.New("server links: EdgeRun, TLS, Local, Registry and Logger are required")
	}
	cfg.Timing = cfg.Timing.withDefaults()
	st := new(stats)
	return &Fleet{
		cfg: cfg, stats: st,
		links: newLinks(cfg.EdgeRun, cfg.TLS, cfg.Timing, cfg.Logger, st),
		host: &host{
			run: cfg.EdgeRun, local: cfg.Local, timing: cfg.Timing, log: cfg.Logger, stats: st,
			links: make(map[*hostLink]bool),
		},
	}, nil
}

// ServeHTTP takes the links of other edges. It belongs at Path of a listener
// that only members of the fleet can reach.
func (f *Fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.host.ServeHTTP(w, r) }

// Drain withdraws this edge: it takes no clients of other edges any more, and
// asks their edges to move those that it has, spread over a time. It returns
// when they have gone or had their time, or when ctx ends.
func (f *Fleet) Drain(ctx context.Context, over time.Duration) {
	f.host.mu.Lock()
	f.host.draining = true
	f.host.mu.Unlock()
	withdraw, cancel := context.WithTimeout(ctx, withdrawPatience)
	f.cfg.Registry.Withdraw(withdraw)
	cancel()
	f.host.drain(ctx, over)
}

// Close ends all links, once what is queued for them is written or half a second
// is over. When it returns every Downstream and every app server has been told.
func (f *Fleet) Close() {
	f.links.close()
	f.host.close()
}

// place is an edge with the servers that may have a client; address is empty for
// this one.
type place struct {
	run, address string
	servers      []Server
	doubtful     bool // it couldn't be reached lately
}

// Open implements pairing.Opener: it takes the least loaded server connection
// of the fleet, one of this edge when that is about as good, and those of
// Client.Server first for a client that prefers it. The server that a client is
// moved from doesn't get it back. Places that refuse are passed over. It fails
// within Timing.OpenWithin.
func (f *Fleet) Open(ctx context.Context, c *pairing.Client, d pairing.Downstream) (pairing.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Timing.OpenWithin)
	defer cancel()
	s, err := f.open(ctx, c, d)
	switch {
	case err == nil:
		f.stats.opened.Add(1)
	case errors.Is(err, pairing.ErrNoServer) || errors.Is(err, pairing.ErrServerAway):
		f.stats.refused.Add(1)
	default:
		f.stats.failed.Add(1)
	}
	return s, err
}

func (f *Fleet) open(ctx context.Context, c *pairing.Client, d pairing.Downstream) (pairing.Session, error) {
	o := offers{fleet: f, down: d, tried: make(map[string]bool)}
	var failure error // of reading the registry
	for _, fresh := range []bool{false, true} {
		places, err := f.places(ctx, c, fresh)
		failure = err
		if c.Sticky != pairing.Anywhere {
			own := *c
			own.Sticky = pairing.Required
			if s, err := o.make(ctx, &own, narrowed(places, c.Server)); s != nil || err != nil {
				return s, err
			}
		}
		// Whoever prefers a server gets another only once it is known that it isn't
		// there.
		if c.Sticky == pairing.Required || c.Sticky == pairing.Preferred && !fresh {
			continue
		}
		anyone := *c
		anyone.Sticky = pairing.Anywhere
		if fresh && c.Sticky == pairing.Preferred {
			clear(o.tried) // those were asked for the server alone
		}
		if s, err := o.make(ctx, &anyone, places); s != nil || err != nil {
			return s, err
		}
	}
	switch {
	case failure != nil:
		return nil, fmt.Errorf("find app servers: %w", failure)
	case o.unreachable != nil: // that edge may have some
		return nil, o.unreachable
	case c.Sticky == pairing.Required:
		return nil, pairing.ErrServerAway
	}
	return nil, pairing.ErrNoServer
}

// places returns the edges that have servers for c.
func (f *Fleet) places(ctx context.Context, c *pairing.Client, fresh bool) ([]place, error) {
	var list []place
	add := func(p place) {
		if c.MovedFrom != "" {
			p.servers = slices.DeleteFunc(p.servers, func(s Server) bool { return s.ID == c.MovedFrom })
		}
		if len(p.servers) > 0 {
			list = append(list, p)
		}
	}
	add(place{run: f.cfg.EdgeRun, servers: f.cfg.Registry.list(c.Hub)})
	records, err := f.cfg.Registry.remote(ctx, c.Hub, fresh)
	for _, r := range records {
		add(place{run: r.Run, address: r.Address, servers: r.Servers})
	}
	return list, err
}

// narrowed keeps one server of each place.
func narrowed(places []place, server string) []place {
	var list []place
	for _, p := range places {
		if i := slices.IndexFunc(p.servers, func(s Server) bool { return s.ID == server }); i >= 0 {
			p.servers = p.servers[i : i+1]
			list = append(list, p)
		}
	}
	return list
}

// load is that of the place's least loaded server, with the bonus of this edge.
func (p *place) load() int {
	if p.address == "" {
		return (p.best().Load - localBonus) * 4 / 5
	}
	return p.best().Load
}

// best is the place's least loaded server.
func (p *place) best() Server {
	return slices.MinFunc(p.servers, func(a, b Server) int { return cmp.Compare(a.Load, b.Load) })
}

// offers are the places that one client was offered to.
type offers struct {
	fleet       *Fleet
	down        pairing.Downstream
	tried       map[string]bool // by edge run
	unreachable error           // of the last edge that couldn't be reached
}

// make opens c at the best place that takes it and hasn't been tried. Neither
// session nor error: none did.
func (o *offers) make(ctx context.Context, c *pairing.Client, places []place) (pairing.Session, error) {
	places = slices.DeleteFunc(slices.Clone(places), func(p place) bool { return o.tried[p.run] })
	for i := range places {
		places[i].doubtful = places[i].address != "" && o.fleet.links.doubtful(places[i].run)
	}
	slices.SortStableFunc(places, func(a, b place) int {
		if a.doubtful != b.doubtful {
			if a.doubtful {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.load(), b.load())
	})
	for _, p := range places[:min(len(places), tries)] {
		o.tried[p.run] = true
		var at pairing.Opener = o.fleet.cfg.Local
		if p.address != "" {
			at = o.fleet.links.edge(p.run, p.address)
		}
		s, err := at.Open(ctx, c, o.down)
		switch {
		case err == nil:
			if p.address != "" {
				o.fleet.cfg.Registry.took(c.Hub, p.run, s.ServerID())
			}
			return s, nil
		case errors.Is(err, errUnreachable):
			o.unreachable = err
		case errors.Is(err, pairing.ErrNoServer), errors.Is(err, pairing.ErrServerAway):
			// The next one may have some.
		default:
			return nil, err
		}
	}
	return nil, nil
}
