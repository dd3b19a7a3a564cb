package backplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/signalbox/signalbox/internal/redisclient"
)

// OwnerPath is where an edge's internal listener answers whether it has a
// connection: see Ownership.ServeOwner.
const OwnerPath = "/link/owner"

// The bounds of asking other edges who owns a connection.
const (
	// peersPatience bounds one question to all of them. Whoever is told that nobody
	// knows gives its connection up, so edges that have too much to do are waited for;
	// clients of one that hangs wait that long before they begin anew.
	peersPatience = 1200 * time.Millisecond
	// peersAtOnce is how many questions are under way at a time: enough that some
	// hundred a second may wait for an edge that hangs.
	peersAtOnce = 160
	// peersRate is how often in a second other edges are asked for connections of one
	// tenant, after the first peersBurst. Each is asked for once, so this many may
	// begin to roam in a second.
	peersRate  = 500
	peersBurst = 2000
	// deniedFor is how long a connection that no edge has isn't asked for again.
	deniedFor = 2 * time.Second
	// deniedMost is how many of these are remembered.
	deniedMost = 10_000
)

// errPeers is for a question that not every edge has answered.
var errPeers = errors.New("not every edge answered")

// noteEdge writes this edge into the set of those that live, by Redis' clock, and
// returns "1" when it wasn't there, else "0", and the set. KEYS: the set. ARGV: member,
// seconds after which one is gone.
var noteEdge = redis.NewScript(`
local now = tonumber(redis.call('TIME')[1])
local added = redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
local answer = redis.call('ZRANGE', KEYS[1], 0, -1)
table.insert(answer, 1, tostring(added))
return answer`)

// peers are the other edges, as Redis last knew them. They answer for it while it
// is away.
type peers struct {
	cfg    OwnershipConfig
	flight singleflight.Group
	slots  chan struct{}

	mu      sync.Mutex
	known   map[string]knownAddress // by edge run; nil = Redis never told
	failed  time.Time               // when Redis was last not told of this edge
	denied  map[string]time.Time
	tenants map[string]*rate.Limiter
}

func newPeers(cfg OwnershipConfig) *peers {
	if cfg.Relay.Scheme == "" {
		cfg.Relay.Scheme = "https"
	}
	return &peers{cfg: cfg, slots: make(chan struct{}, peersAtOnce), denied: make(map[string]time.Time), tenants: make(map[string]*rate.Limiter)}
}

// renew tells Redis of this edge and learns of the others. One that isn't there any
// more is forgotten when it has had the time to renew its own entry since it was last
// there and since Redis was last away: the answer that says that the set was lost may
// be lost itself, and the script carried out a second time.
func (p *peers) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	answer, err := noteEdge.Eval(ctx, p.cfg.Redis, []string{redisclient.Edges}, p.member(), int(leaseLife.Seconds())).StringSlice()
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.failed = now
		return fmt.Errorf("renew set of edges: %w", err)
	}
	switch {
	case p.known == nil:
		p.known = make(map[string]knownAddress)
	case answer[0] == "1":
		p.failed = now // it has lost this edge, and others may not have told it again
	}
	for _, m := range answer[1:] {
		if run, address, ok := strings.Cut(m, " "); ok && run != p.cfg.EdgeRun {
			p.known[run] = knownAddress{address: address, at: now}
		}
	}
	for run, k := range p.known {
		if now.Sub(k.at) > leaseLife && now.Sub(p.failed) > leaseLife {
			delete(p.known, run)
		}
	}
	return nil
}

// member is this edge's entry in the set.
func (p *peers) member() string { return p.cfg.EdgeRun + " " + p.cfg.Address }

// leave takes this edge out of the set.
func (p *peers) leave(ctx context.Context) error {
	return p.cfg.Redis.ZRem(ctx, redisclient.Edges, p.member()).Err()
}

// address returns where an edge run was last known to listen, or "".
func (p *peers) address(run string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[run].address
}

// owner asks every other edge whether the connection is its own. It returns the
// edge run, or "" when all of them say no; when no edge says yes and not all have
// answered, errPeers.
func (p *peers) owner(ctx context.Context, scope, tenant, id string) (string, error) {
	key := scope + "\x00" + id
	p.mu.Lock()
	until, denied := p.denied[key]
	p.mu.Unlock()
	if denied && time.Now().Before(until) {
		return "", nil
	}
	// The answer belongs to all who wait for it, so it outlives the first of them.
	answer := p.flight.DoChan(key, func() (any, error) {
		all, err := p.admit(tenant)
		if err != nil {
			return "", err
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), peersPatience)
		defer cancel()
		run, err := p.ask(ctx, all, scope, id)
		if run == "" && err == nil {
			p.deny(key)
		}
		return run, err
	})
	select {
	case r := <-answer:
		return r.Val.(string), r.Err
	case <-ctx.Done():
		return "", fmt.Errorf("%w: %w", errPeers, ctx.Err())
	}
}

// admit returns the edges to ask unless the tenant asks too often.
func (p *peers) admit(tenant string) (map[string]knownAddress, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		return nil, fmt.Errorf("%w: they aren't known yet", errPeers)
	}
	m := p.tenants[tenant]
	if m == nil {
		if len(p.tenants) >= deniedMost {
			clear(p.tenants)
		}
		m = rate.NewLimiter(peersRate, peersBurst)
		p.tenants[tenant] = m
	}
	if !m.Allow() {
		return nil, fmt.Errorf("%w: more than %d questions a second for one tenant", errPeers, peersRate)
	}
	return maps.Clone(p.known), nil
}

// deny remembers for a while that nobody has a connection.
func (p *peers) deny(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.denied) >= deniedMost {
		clear(p.denied)
	}
	p.denied[key] = time.Now().Add(deniedFor)
}

// ask asks all edges at the same time; the first that says yes ends it.
func (p *peers) ask(ctx context.Context, all map[string]knownAddress, scope, id string) (string, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return "", fmt.Errorf("%w: %d questions are under way", errPeers, peersAtOnce)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of what is left when one has said yes
	type said struct {
		run string
		has bool
		err error
	}
	answers := make(chan said, len(all))
	for run, k := range all {
		go func() {
			has, err := p.has(ctx, k.address, scope, id)
			answers <- said{run, has, err}
		}()
	}
	var failed error
	for range all {
		switch a := <-answers; {
		case a.has:
			return a.run, nil
		case a.err != nil:
			failed = errors.Join(failed, a.err)
		}
	}
	if failed != nil {
		return "", fmt.Errorf("%w: %w", errPeers, failed)
	}
	return "", nil
}

// has asks one edge.
func (p *peers) has(ctx context.Context, address, scope, id string) (bool, error) {
	u := url.URL{Scheme: p.cfg.Relay.Scheme, Host: address, Path: OwnerPath, RawQuery: url.Values{"scope": {scope}, "id": {id}}.Encode()}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return false, fmt.Errorf("ask edge: %w", err)
	}
	answer, err := p.cfg.Relay.Transport.RoundTrip(r)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return false, nil // it has ended, and its connections with it
	}
	if err != nil {
		return false, fmt.Errorf("ask edge: %w", err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<10)) // so that the connection is used again
	_ = answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusNoContent:
		return true, nil
	case http.StatusNotFound:
		return false, nil
	}
	return false, fmt.Errorf("ask edge: status %d", answer.StatusCode)
}

// ServeOwner answers another edge's question: 204 when the connection in the query
// is this process's, or was a moment ago, else 404. It is for the listener that
// edges alone reach.
func (o *Ownership) ServeOwner(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	key, err := o.key(q.Get("scope"), q.Get("id"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	o.mu.Lock()
	o.forget()
	c := o.claims[key]
	has := c != nil && !c.asked
	o.mu.Unlock()
	if !has {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
