package serverlink

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/tenants"
)

// Path is where the internal listener of an edge takes links.
const Path = "/link/servers"

// The request that opens a link is an upgrade to upgradeName. It names both
// edges: an address may have gone to another one in the meantime.
const (
	upgradeName = "signalbox-link/1"
	headerFrom  = "Signalbox-Link-From"
	headerTo    = "Signalbox-Link-To"
)

const (
	// linksPerEdge is how many links join two edges; tenants are spread over them.
	linksPerEdge = 4
	// dialPause is how long an edge isn't dialled again after that failed.
	dialPause = 300 * time.Millisecond
	// doubtFor is how long others are preferred to it: about as long as the lease
	// of an edge that died outlives it.
	doubtFor = 10 * time.Second
)

// errUnreachable: there is no link to the edge, so it knows nothing of the client.
var errUnreachable = errors.New("the app server's edge can't be reached")

// links are the links that this edge has dialled.
type links struct {
	run    string
	tls    *tls.Config
	timing Timing
	log    *slog.Logger
	stats  *stats

	ctx    context.Context // ends with close
	cancel context.CancelCauseFunc
	work   sync.WaitGroup

	mu     sync.Mutex
	slots  map[slotKey]*slot
	failed map[string]time.Time // when an edge couldn't be reached, by run
	shut   bool
}

// slotKey names one of the links to an edge.
type slotKey struct {
	run  string
	slot uint32
}

// slot is a link, or the attempt to make one.
type slot struct {
	ready chan struct{} // closed when the rest is set
	d     *dialed
	err   error
}

func newLinks(run string, config *tls.Config, t Timing, log *slog.Logger, st *stats) *links {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &links{run: run, tls: config, timing: t, log: log, stats: st, ctx: ctx, cancel: cancel, slots: make(map[slotKey]*slot), failed: make(map[string]time.Time)}
}

var errClosed = errors.New("this edge ends")

// close ends all links and waits until their pairings have been told.
func (p *links) close() {
	p.mu.Lock()
	p.shut = true
	slots := p.slots
	p.slots = make(map[slotKey]*slot)
	p.mu.Unlock()
	p.cancel(errClosed) // of dialling
	var ends sync.WaitGroup
	for _, s := range slots {
		ends.Go(func() {
			if <-s.ready; s.d != nil {
				s.d.finish(errClosed)
			}
		})
	}
	ends.Wait()
	p.work.Wait()
}

// edge is the Opener of one other edge.
func (p *links) edge(run, address string) pairing.Opener { return remote{p, run, address} }

type remote struct {
	links        *links
	run, address string
}

// Open implements pairing.Opener. errUnreachable: the edge knows nothing of c.
func (r remote) Open(ctx context.Context, c *pairing.Client, d pairing.Downstream) (pairing.Session, error) {
	for range 2 {
		link, err := r.links.get(ctx, r.run, r.address, c.Hub.Tenant)
		if err != nil {
			return nil, err
		}
		s, err := link.open(ctx, c, d)
		if errors.Is(err, errIdle) {
			continue // closed at this very moment
		}
		return s, err
	}
	return nil, errUnreachable
}

// get returns the tenant's link to an edge, dialled if there is none.
func (p *links) get(ctx context.Context, run, address string, t tenants.ID) (*dialed, error) {
	key := slotKey{run, slotOf(t)}
	p.mu.Lock()
	if p.shut {
		p.mu.Unlock()
		return nil, fmt.Errorf("%w: %w", errUnreachable, errClosed)
	}
	s := p.slots[key]
	if s == nil {
		s = &slot{ready: make(chan struct{})}
		p.slots[key] = s
		p.work.Go(func() { p.dial(key, s, address) })
	}
	p.mu.Unlock()
	select {
	case <-s.ready:
		return s.d, s.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", errUnreachable, context.Cause(ctx))
	}
}

// slotOf says which of the links to an edge is a tenant's.
func slotOf(t tenants.ID) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(t)) // never fails
	return h.Sum32() % linksPerEdge
}

// dial makes the link and serves it. It isn't bound to the client that wanted
// it first: others wait for it, too.
func (p *links) dial(key slotKey, s *slot, address string) {
	ctx, cancel := context.WithTimeout(p.ctx, p.timing.DialWithin) // with TLS and the upgrade
	d, in, err := p.connect(ctx, key.run, address)
	cancel()
	p.reached(key.run, err == nil)
	if err != nil {
		p.stats.dialFailures.Add(1)
		s.err = fmt.Errorf("%w: %w", errUnreachable, err)
		close(s.ready)
		p.log.Warn("edge can't be reached", "edge", key.run, "address", address, "error", err)
		select {
		case <-time.After(dialPause):
		case <-p.ctx.Done():
		}
		p.drop(key, s)
		return
	}
	p.stats.dials.Add(1)
	p.stats.links.Add(1)
	d.gone = func() { p.drop(key, s) }
	d.doubt = func() { p.reached(key.run, false) }
	s.d = d
	close(s.ready)
	d.work.Go(d.rest)
	d.serve(d, in)
	p.stats.links.Add(-1)
	p.log.Info("link to edge ended", "edge", key.run, "cause", d.err())
}

// reached notes whether an edge could be reached.
func (p *links) reached(run string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for other, at := range p.failed {
		if time.Since(at) > doubtFor {
			delete(p.failed, other)
		}
	}
	delete(p.failed, run)
	if !ok {
		p.failed[run] = time.Now()
	}
}

// doubtful reports whether an edge couldn't be reached lately.
func (p *links) doubtful(run string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.failed[run]
	return ok && time.Since(at) <= doubtFor
}

// drop forgets a link that takes no more pairings.
func (p *links) drop(key slotKey, s *slot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slots[key] == s {
		delete(p.slots, key)
	}
}

// connect dials and asks for the upgrade.
func (p *links) connect(ctx context.Context, run, address string) (*dialed, *frameReader, error) {
	conn, err := (&tls.Dialer{Config: p.tls}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, nil, fmt.Errorf("dial edge: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // unblocks what follows
	in, err := upgrade(ctx, conn, p.run, run, address)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, nil, fmt.Errorf("upgrade link: %w", err)
	}
	return newDialed(newLink(conn, run, p.timing, p.log), p.stats), in, nil
}

func upgrade(ctx context.Context, conn net.Conn, from, to, address string) (*frameReader, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+Path, http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", upgradeName)
	r.Header.Set(headerFrom, from)
	r.Header.Set(headerTo, to)
	if err := r.Write(conn); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(conn, 64<<10)
	res, err := http.ReadResponse(in, r)
	if err != nil {
		return nil, err
	}
	_ = res.Body.Close() // of 101 there is none, and of others the connection is given up
	if res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Upgrade") != upgradeName {
		return nil, fmt.Errorf("the edge answers %s", res.Status)
	}
	return &frameReader{in: in}, nil
}

// dialed is a link as the edge has it that dialled.
type dialed struct {
	*link
	stats *stats
	gone  func() // the link takes no more pairings
	doubt func() // the edge may not be reachable

	mu       sync.Mutex
	sessions map[uint64]*session
	last     uint64
	since    time.Time // when the last pairing left
	shut     error     // why no more are taken
}

func newDialed(l *link, st *stats) *dialed {
	return &dialed{link: l, stats: st, sessions: make(map[uint64]*session), since: time.Now()}
}

// open asks the other edge for a pairing and waits for its answer.
func (d *dialed) open(ctx context.Context, c *pairing.Client, down pairing.Downstream) (pairing.Session, error) {
	d.mu.Lock()
	if d.shut != nil {
		d.mu.Unlock()
		return nil, d.shut
	}
	if silent := d.silence(); silent > 2*d.timing.PingEvery {
		d.mu.Unlock()
		d.doubt()
		return nil, fmt.Errorf("%w: no answer for %v", errUnreachable, silent.Round(time.Millisecond))
	}
	d.last++
	s := newSession(d, d.last, d.lane(c.Hub.Tenant), down)
	d.sessions[s.id] = s
	d.mu.Unlock()
	d.stats.sessions.Add(1)

	frame, err := appendOpen(nil, s.id, c)
	if err != nil {
		s.close()
		return nil, err
	}
	s.send(frame)
	select {
	case <-s.answered:
	case <-ctx.Done():
		s.End("the client's edge waits no longer", "")
		return nil, fmt.Errorf("wait for the app server's edge: %w", context.Cause(ctx))
	}
	if s.refused != nil {
		return nil, s.refused
	}
	return s, nil
}

// forget takes a session that is over off the link.
func (d *dialed) forget(s *session) {
	d.mu.Lock()
	_, known := d.sessions[s.id]
	delete(d.sessions, s.id)
	d.since = time.Now()
	d.mu.Unlock()
	if known {
		d.leaveLane(s.lane)
		d.stats.sessions.Add(-1)
	}
}

// take implements peer.
func (d *dialed) take(f frame) error {
	d.mu.Lock()
	s := d.sessions[f.session]
	d.mu.Unlock()
	if s == nil {
		return nil // it ended here and the other side doesn't know yet
	}
	return s.take(f)
}

// down implements peer.
func (d *dialed) down(cause error) {
	d.mu.Lock()
	if d.shut == nil {
		d.shut = fmt.Errorf("%w: %w", errUnreachable, cause)
	}
	sessions := make([]*session, 0, len(d.sessions))
	for _, s := range d.sessions {
		sessions = append(sessions, s)
	}
	d.mu.Unlock()
	d.gone()
	for _, s := range sessions {
		select {
		case <-s.answered:
			s.tell(news{kind: kindLost, cause: cause})
		default:
			// What the other edge has done is not known.
			s.mu.Lock()
			s.deaf = true
			s.mu.Unlock()
			s.close()
			s.answer("", fmt.Errorf("lost the link to the app server's edge: %w", cause))
		}
	}
	d.stats.lost.Add(uint64(len(sessions)))
}

// rest closes the link when nobody has used it for a while.
func (d *dialed) rest() {
	tick := time.NewTicker(d.timing.IdleAfter / 2)
	defer tick.Stop()
	for {
		select {
		case <-d.dead:
			return
		case <-tick.C:
		}
		d.mu.Lock()
		idle := len(d.sessions) == 0 && time.Since(d.since) >= d.timing.IdleAfter
		if idle {
			d.shut = errIdle
		}
		d.mu.Unlock()
		if idle {
			d.gone()
			d.cut(errIdle)
			return
		}
	}
}
