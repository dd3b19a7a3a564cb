package serverconn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/serviceprotocol"
	"github.com/signalbox/signalbox/tenants"
)

// DefaultMaxConnections is how many server connections one tenant may have on one
// edge unless Config says otherwise. An app server of the SDK opens five for each
// hub.
const DefaultMaxConnections = 500

// Timing are the times of server connections. The zero value means the defaults,
// which are those that SDKs expect.
type Timing struct {
	Handshake time.Duration // until the handshake request is there. Default 15 s
	Ping      time.Duration // between two keep-alives. Default 5 s
	Silent    time.Duration // without a word, until the app server counts as gone. Default 30 s
	Stalled   time.Duration // without taking in a byte, likewise. Default 30 s
	Pause     time.Duration // for the answer to Session.Pause. Default 3 s
	Outage    time.Duration // for which entries are repeated when Redis is away. Default 5 s
	Balance   time.Duration // between two looks at the loads. Default 30 s
}

func (t *Timing) complete() {
	for _, d := range []struct {
		field    *time.Duration
		fallback time.Duration
	}{
		{&t.Handshake, 15 * time.Second}, {&t.Ping, 5 * time.Second}, {&t.Silent, 30 * time.Second}, {&t.Stalled, 30 * time.Second},
		{&t.Pause, 3 * time.Second}, {&t.Outage, 5 * time.Second}, {&t.Balance, 30 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.fallback
		}
	}
}

// Config is what a Pool needs.
type Config struct {
	// Instance names this edge to app servers: 1 to 64 characters.
	Instance string
	// Logger gets the life of server connections and what app servers do wrong,
	// never payloads, tokens or group names.
	Logger *slog.Logger
	// OnChange is called, without locks, when server connections of a hub that take
	// clients have come or gone. It must not block. Optional.
	OnChange func(pairing.Hub)
	// Servers returns the ids of the hub's app servers on other edges. Optional.
	Servers func(pairing.Hub) []string
	// MaxConnections is how many server connections one tenant may have. 0 =
	// DefaultMaxConnections.
	MaxConnections int
	Timing         Timing
}

// Pool has the server connections of an edge. It is safe for concurrent use.
//
// Locks, in this order: Pool.mu, connection.mu, outbox.mu. None of them is held
// while a Downstream, a Backplane or a socket is used.
type Pool struct {
	cfg  Config
	work sync.WaitGroup
	// latency of app servers; nil until Instrument.
	latency atomic.Pointer[metric.Float64Histogram]

	mu        sync.Mutex
	closing   bool // no more server connections
	hubs      map[pairing.Hub]*hubConnections
	live      map[*connection]struct{}
	perTenant map[tenants.ID]int // of live
	stopped   chan struct{}
}

var _ pairing.Opener = (*Pool)(nil)

// hubConnections are the server connections of one hub.
type hubConnections struct {
	all      []*connection // past the handshake
	asked    time.Time     // when an on-demand connection was asked for last
	reported int64         // time in the last servers ping, in milliseconds
}

// NewPool returns an empty Pool. Close ends it.
func NewPool(cfg Config) (*Pool, error) {
	var problems []error
	if cfg.Logger == nil {
		problems = append(problems, errors.New("Logger is required"))
	}
	if cfg.Instance == "" || len(cfg.Instance) > 64 {
		problems = append(problems, errors.New("Instance must have 1 to 64 characters"))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("server connections: %w", errors.Join(problems...))
	}
	cfg.Timing.complete()
	if cfg.MaxConnections <= 0 {
		cfg.MaxConnections = DefaultMaxConnections
	}
	p := &Pool{
		cfg: cfg, hubs: make(map[pairing.Hub]*hubConnections), live: make(map[*connection]struct{}),
		perTenant: make(map[tenants.ID]int), stopped: make(chan struct{}),
	}
	p.work.Go(p.balance)
	return p, nil
}

// Open implements pairing.Opener over the server connections of this edge.
func (p *Pool) Open(ctx context.Context, c *pairing.Client, d pairing.Downstream) (pairing.Session, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("pair client: %w", err)
		}
		chosen, err := p.pick(c)
		if err != nil {
			return nil, err
		}
		s, err := chosen.open(c, d)
		if errors.Is(err, errClosed) {
			continue // it went away meanwhile
		}
		if err != nil {
			chosen.clients.Add(-1)
			return nil, err
		}
		return s, nil
	}
}

// pick chooses a server connection for c and counts c among its clients.
func (p *Pool) pick(c *pairing.Client) (*connection, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []*connection
	if h := p.hubs[c.Hub]; h != nil {
		list = h.all
	}
	var best, own *connection
	for _, k := range list {
		if !k.takesClients() || c.MovedFrom != "" && k.admission.ServerID == c.MovedFrom {
			continue
		}
		if best == nil || k.less(best) {
			best = k
		}
		if k.admission.ServerID == c.Server && (own == nil || k.less(own)) {
			own = k
		}
	}
	switch {
	case c.Sticky == pairing.Required && own == nil:
		return nil, pairing.ErrServerAway
	case c.Sticky != pairing.Anywhere && own != nil:
		best = own
	case best == nil:
		return nil, pairing.ErrNoServer
	}
	best.clients.Add(1)
	return best, nil
}

// Servers calls f for each server connection of a hub that takes clients: with the
// id of the app server's process, which may have several, and its clients.
func (p *Pool) Servers(hub pairing.Hub, f func(server string, clients int)) {
	p.mu.Lock()
	var list []*connection
	if h := p.hubs[hub]; h != nil {
		list = slices.Clone(h.all)
	}
	p.mu.Unlock()
	for _, k := range list {
		if k.takesClients() {
			f(k.admission.ServerID, int(k.clients.Load()))
		}
	}
}

// Hubs returns the hubs that have a server connection which takes clients, in no
// particular order.
func (p *Pool) Hubs() []pairing.Hub {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []pairing.Hub
	for h, known := range p.hubs {
		if slices.ContainsFunc(known.all, (*connection).takesClients) {
			list = append(list, h)
		}
	}
	return list
}

// Connected reports whether a hub has server connections here, of any kind.
func (p *Pool) Connected(h pairing.Hub) bool { return p.count(h) > 0 }

// InUse reports whether a tenant has server connections here.
func (p *Pool) InUse(t tenants.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.perTenant[t] > 0
}

// Len is how many server connections there are.
func (p *Pool) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.live)
}

// CloseWhere ends the server connections that match, by their admission and whether
// they are weak, which those that shake hands may become; reason is told to the app
// server. It returns how many and doesn't wait for their end.
func (p *Pool) CloseWhere(match func(a *Admission, weak bool) bool, reason string) int {
	n := 0
	for _, k := range p.snapshot() {
		if match(&k.admission, !k.shaken.Load() || k.kind == serviceprotocol.ConnectionWeak) {
			k.fail(reason)
			n++
		}
	}
	return n
}

// Drain gives the server connections here no more clients and tells app servers to
// send through others. The clients that they have are the caller's to move.
func (p *Pool) Drain() {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	for _, k := range p.snapshot() {
		k.drain(false)
		if k.shaken.Load() {
			k.out.force(&serviceprotocol.ConnectionFlowControl{
				ConnectionID: k.id, Connection: serviceprotocol.FlowServer, Operation: serviceprotocol.FlowOffline,
			})
		}
	}
}

// Close ends all server connections and waits for their end.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closing = true
	select {
	case <-p.stopped:
	default:
		close(p.stopped)
	}
	p.mu.Unlock()
	for _, k := range p.snapshot() {
		k.leave()
	}
	p.work.Wait()
}

// snapshot returns all server connections, those that shake hands too.
func (p *Pool) snapshot() []*connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.live))
}

// errClosing refuses server connections on an edge that goes away.
var errClosing = errors.New("this node is being replaced: connect again")

func (p *Pool) tooMany() *refusal {
	return refuse(codeConnections, "The tenant has all of its %d server connections to this node: let app servers open fewer for each hub.", p.cfg.MaxConnections)
}

// admit makes room for one more server connection of a tenant: one that is served,
// or one that is told the refusal. The error is for those that are too many even
// for that.
func (p *Pool) admit(t tenants.ID) (*refusal, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.perTenant[t]
	switch {
	case p.closing:
		return nil, errClosing
	case n >= p.cfg.MaxConnections+spare:
		return nil, p.tooMany()
	}
	p.perTenant[t]++
	p.work.Add(1)
	if n >= p.cfg.MaxConnections {
		return p.tooMany(), nil
	}
	return nil, nil
}

// enter makes an admitted connection live; it reports false when the Pool closes.
func (p *Pool) enter(k *connection) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.stopped:
		return false
	default:
	}
	p.live[k] = struct{}{}
	return true
}

// release undoes admit and enter.
func (p *Pool) release(t tenants.ID, k *connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.live, k)
	if p.perTenant[t]--; p.perTenant[t] == 0 {
		delete(p.perTenant, t)
	}
	p.work.Done()
}

// add makes a connection known, past its handshake.
func (p *Pool) add(k *connection) error {
	p.mu.Lock()
	if p.closing {
		p.mu.Unlock()
		return errClosing
	}
	h := p.hubs[k.admission.Hub]
	if h == nil {
		h = new(hubConnections)
		p.hubs[k.admission.Hub] = h
	}
	h.all = append(h.all, k)
	p.mu.Unlock()
	p.changed(k)
	return nil
}

// remove undoes add.
func (p *Pool) remove(k *connection) {
	p.mu.Lock()
	if h := p.hubs[k.admission.Hub]; h != nil {
		h.all = slices.DeleteFunc(h.all, func(other *connection) bool { return other == k })
		if len(h.all) == 0 {
			delete(p.hubs, k.admission.Hub)
		}
	}
	p.mu.Unlock()
	p.changed(k)
}

// changed tells who watches that k began or ceased to take clients.
func (p *Pool) changed(k *connection) {
	if p.cfg.OnChange != nil && k.kind != serviceprotocol.ConnectionWeak {
		p.cfg.OnChange(k.admission.Hub)
	}
}

// servers returns the ids of a hub's app servers, and a time that grows with
// every call.
func (p *Pool) servers(hub pairing.Hub) (at time.Time, ids []string) {
	if p.cfg.Servers != nil {
		ids = slices.Clone(p.cfg.Servers(hub))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	ms := time.Now().UnixMilli()
	if h := p.hubs[hub]; h != nil {
		for _, k := range h.all {
			ids = append(ids, k.admission.ServerID)
		}
		ms = max(ms, h.reported+1)
		h.reported = ms
	}
	slices.SortFunc(ids, cmp.Compare)
	ids = slices.Compact(ids)
	// The list is separated by semicolons.
	return time.UnixMilli(ms), slices.DeleteFunc(ids, func(id string) bool { return strings.Contains(id, ";") })
}

// count is how many server connections of a hub are here.
func (p *Pool) count(hub pairing.Hub) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.hubs[hub]; h != nil {
		return len(h.all)
	}
	return 0
}
