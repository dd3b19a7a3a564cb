package backplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs/internal/unhurried"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// OwnershipConfig is what a process's Ownership needs.
type OwnershipConfig struct {
	Redis redis.UniversalClient
	// Calls are those over Redis of who connects at the same time; nil = it has its own.
	Calls   *redisclient.Batch
	EdgeRun string
	// Address is the host:port of this process's internal listener.
	Address string
	Relay   RelayConfig
	Logger  *slog.Logger
	// Spent, Gone and Unsure are the errors that the transports know: of a
	// connection that has ended or was never claimed, of an owner out of reach,
	// and of a claim that Redis didn't confirm.
	Spent, Gone, Unsure error
}

// The times of ownership.
const (
	// claimLife outlives the longest connection (24 h): claims are never renewed.
	claimLife = 25 * time.Hour
	// tombstoneLife outlives an unused connection token (15 s).
	tombstoneLife = 30 * time.Second
	// leaseLife is how long after its death an edge is taken to be alive.
	leaseLife  = 7 * time.Second
	leaseRenew = 2 * time.Second
	// leaseRetry is how soon a renewal that failed is tried again.
	leaseRetry = time.Second

	// ownerPatience is how long Redis may take to say whose a connection is before
	// the other edges are asked.
	ownerPatience = 300 * time.Millisecond
	// awayFor is how long Redis isn't asked after it failed: a wave of clients
	// must not wait for it one by one.
	awayFor = time.Second
	// doubtFor is how long after a failure the other edges are asked about what
	// Redis doesn't know: they take a while to tell it what they claimed meanwhile.
	doubtFor = 2 * leaseLife

	tombstone     = "-"
	registerBatch = 500
)

// Ownership says in Redis which edge run serves a connection. Only the edge
// holds a lease; the claims of its connections are good as long as that lease.
// While Redis is away, connections are claimed locally and registered later, and
// the other edges are asked whose a connection is.
// The methods are those that transports ask for.
type Ownership struct {
	cfg    OwnershipConfig
	relay  *relay
	peers  *peers
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	claims   map[string]*claim // of this process, by key
	ended    []string          // keys of ended claims, oldest first
	changed  map[string]bool   // keys that Redis has to be told about
	others   map[string]string // claims given up, with the owner that Redis has to be told of
	owners   recent            // of others, that requests were relayed to
	away     time.Time         // until when Redis isn't asked, after it failed
	doubt    time.Time         // until when Redis may not know what others have
	wake     chan struct{}     // holds one: something changed
	leaseSet bool              // Redis held the lease at the last renewal
	redisAt  time.Time         // what time it was for Redis then; zero: not known yet
	localAt  time.Time         // and here, by the clock that nobody sets
}

// claim is one connection of this process.
type claim struct {
	ended time.Time // zero while the connection lives
	asked bool      // the other edges are being asked whether it is theirs
}

// NewOwnership starts the lease of this process. Close ends it.
func NewOwnership(cfg OwnershipConfig) (*Ownership, error) {
	if cfg.Redis == nil || cfg.Logger == nil || cfg.EdgeRun == "" || cfg.Address == "" || cfg.Spent == nil || cfg.Gone == nil || cfg.Unsure == nil {
		return nil, errors.New("ownership: Redis, Logger, EdgeRun, Address, Spent, Gone and Unsure are required")
	}
	if cfg.EdgeRun == tombstone {
		return nil, fmt.Errorf("ownership: EdgeRun must not be %q", tombstone)
	}
	if cfg.Calls == nil {
		cfg.Calls = redisclient.NewBatch(cfg.Redis)
	}
	ctx, cancel := context.WithCancel(context.Background())
	o := &Ownership{
		cfg: cfg, cancel: cancel, done: make(chan struct{}),
		claims: make(map[string]*claim), changed: make(map[string]bool), others: make(map[string]string), wake: make(chan struct{}, 1),
	}
	o.peers = newPeers(cfg)
	o.relay = newRelay(cfg, o.peers)
	go o.keep(ctx)
	return o, nil
}

// Now is the time of Redis, which all edges share however far their own clocks are
// apart: that of the last renewal of the lease, and what has gone by since. Until there
// was one, it is the time here.
func (o *Ownership) Now() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.redisAt.IsZero() {
		return time.Now()
	}
	return o.redisAt.Add(time.Since(o.localAt))
}

// Close gives the lease up, so that others stop sending requests here.
func (o *Ownership) Close() {
	o.cancel()
	<-o.done
}

// key returns where the owner of a connection is written. scope is
// "tenantID/hub" with the hub's canonical name.
func (o *Ownership) key(scope, id string) (string, error) {
	tenant, hub, ok := strings.Cut(scope, "/")
	if !ok || tenant == "" || hub == "" || id == "" || len(id) > 128 {
		return "", fmt.Errorf("ownership: no connection %q in scope %q", id, scope)
	}
	return redisclient.Hub(tenants.ID(tenant), hub).Owner(id), nil
}

// Claim makes this process the owner of a connection that nobody has claimed
// and returns "". If another process is the owner it returns its edge run; if
// the connection has ended, or this process claimed it before, Spent. While
// Redis is away, what this process hasn't seen is claimed here, with Unsure.
func (o *Ownership) Claim(ctx context.Context, scope, id string) (string, error) {
	key, err := o.key(scope, id)
	if err != nil {
		return "", err
	}
	o.mu.Lock()
	o.forget()
	if o.claims[key] != nil {
		o.mu.Unlock()
		return "", o.cfg.Spent
	}
	o.claims[key] = &claim{} // from now on nobody else here can have it
	away := o.isAway()
	o.mu.Unlock()
	if away {
		o.tell(key)
		return "", o.cfg.Unsure
	}

	timed := unhurried.With(ctx, ownerPatience)
	defer timed.Stop()
	ctx = timed
	set := redis.NewStringCmd(ctx, "set", key, o.cfg.EdgeRun, "ex", int(claimLife.Seconds()), "nx", "get")
	err = o.cfg.Calls.Do(ctx, set)
	before := ""
	if err == nil {
		before, err = set.Result()
	}
	switch {
	case errors.Is(err, redis.Nil):
		return "", nil
	case err != nil:
		o.failed(err)
		o.tell(key)
		return "", o.cfg.Unsure
	}
	o.mu.Lock()
	delete(o.claims, key)
	o.mu.Unlock()
	if before == tombstone || before == o.cfg.EdgeRun {
		return "", o.cfg.Spent
	}
	return before, nil
}

// Owner returns the edge run that owns a connection, or Spent when nobody does. An
// owner that is known isn't asked for again. When Redis doesn't know, or doesn't
// say so in time, the other edges are asked: Gone when one of them doesn't answer.
// A claim of this process that was Unsure is confirmed by Spent and given up when
// there is an owner.
func (o *Ownership) Owner(ctx context.Context, scope, id string) (string, error) {
	key, err := o.key(scope, id)
	if err != nil {
		return "", err
	}
	o.mu.Lock()
	away, known, own := o.isAway(), o.owners.get(key), o.claims[key]
	if known == "" && own != nil {
		if !own.ended.IsZero() {
			o.mu.Unlock()
			return "", o.cfg.Spent
		}
		own.asked = true
	}
	o.mu.Unlock()
	if known != "" {
		o.withdraw(key, known)
		return known, nil // which says itself whether it has ended
	}
	owner, err := "", errAway
	if !away {
		owner, err = o.registered(ctx, key)
	}
	if errors.Is(err, errAway) {
		tenant, _, _ := strings.Cut(scope, "/")
		if owner, err = o.peers.owner(ctx, scope, tenant, id); err != nil {
			return "", fmt.Errorf("look up owner: %w: %w", o.cfg.Gone, err)
		}
	}
	if err != nil {
		return "", err
	}
	if owner == "" || owner == tombstone || owner == o.cfg.EdgeRun {
		if own != nil {
			o.mu.Lock()
			own.asked = false
			o.mu.Unlock()
		}
		return "", o.cfg.Spent
	}
	o.withdraw(key, owner)
	o.mu.Lock()
	o.owners.put(key, owner)
	o.mu.Unlock()
	return owner, nil
}

// withdraw gives up a claim that turned out to be of another's connection.
func (o *Ownership) withdraw(key, owner string) {
	o.mu.Lock()
	c := o.claims[key]
	claimed := c != nil && c.ended.IsZero()
	if claimed {
		delete(o.claims, key)
		delete(o.changed, key)
		o.others[key] = owner
	}
	o.mu.Unlock()
	if claimed {
		o.nudge()
	}
}

// errAway stands for the answer of a Redis that doesn't know, or isn't asked, at
// the moment.
var errAway = errors.New("redis is away")

// registered returns the owner that Redis has, "" when it has none, or errAway.
func (o *Ownership) registered(ctx context.Context, key string) (string, error) {
	timed, cancel := context.WithTimeout(ctx, ownerPatience)
	defer cancel()
	owner, err := o.cfg.Redis.Get(timed, key).Result()
	switch {
	case err == nil:
		return owner, nil
	case !errors.Is(err, redis.Nil):
		if ctx.Err() != nil {
			return "", fmt.Errorf("look up owner: %w: %w", o.cfg.Gone, ctx.Err())
		}
		o.failed(err)
		return "", errAway
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Now().Before(o.doubt) {
		return "", errAway
	}
	return "", nil
}

// Release tells that a connection of this process has ended. It doesn't wait
// for Redis.
func (o *Ownership) Release(_ context.Context, scope, id string) {
	key, err := o.key(scope, id)
	if err != nil {
		return
	}
	o.mu.Lock()
	c := o.claims[key]
	if c == nil || !c.ended.IsZero() {
		o.mu.Unlock()
		return
	}
	if c.asked { // it may be another's, who must be free to say so
		delete(o.claims, key)
		delete(o.changed, key)
		o.mu.Unlock()
		return
	}
	c.ended = time.Now()
	o.ended = append(o.ended, key)
	o.forget()
	o.mu.Unlock()
	o.tell(key)
}

// isAway reports whether Redis failed a moment ago. o.mu is held.
func (o *Ownership) isAway() bool { return time.Now().Before(o.away) }

// failed notes that Redis didn't answer.
func (o *Ownership) failed(err error) {
	if errors.Is(err, context.Canceled) {
		return // the client went away, not Redis
	}
	o.mu.Lock()
	known := o.isAway()
	o.away = time.Now().Add(awayFor)
	o.doubt = time.Now().Add(doubtFor)
	o.mu.Unlock()
	if !known {
		o.cfg.Logger.Warn("connections are claimed locally", "error", err)
	}
}

// forget drops claims that ended long ago. o.mu is held.
func (o *Ownership) forget() {
	old := time.Now().Add(-tombstoneLife)
	for len(o.ended) > 0 {
		key := o.ended[0]
		if c := o.claims[key]; c != nil && c.ended.After(old) {
			return
		}
		delete(o.claims, key)
		o.ended = o.ended[1:]
	}
}

// tell has Redis told about a claim.
func (o *Ownership) tell(key string) {
	o.mu.Lock()
	o.changed[key] = true
	o.mu.Unlock()
	o.nudge()
}

// nudge has keep tell Redis what there is to tell.
func (o *Ownership) nudge() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// keep renews the lease and tells Redis what changed, until ctx ends.
func (o *Ownership) keep(ctx context.Context) {
	defer close(o.done)
	renew := time.NewTimer(0)
	defer renew.Stop()
	for {
		select {
		case <-ctx.Done():
			o.surrender()
			return
		case <-renew.C:
			err := o.renew(ctx)
			err = errors.Join(err, o.peers.renew(ctx))
			if err == nil {
				err = o.register(ctx)
			}
			if err != nil && ctx.Err() == nil {
				o.cfg.Logger.Warn("edge lease is not renewed", "error", err)
				renew.Reset(leaseRetry)
				continue
			}
			renew.Reset(leaseRenew)
		case <-o.wake:
			if err := o.register(ctx); err != nil && ctx.Err() == nil {
				o.cfg.Logger.Warn("connections are not registered", "error", err)
				// The next renewal tries again: a tight loop would not help Redis back.
			}
		}
	}
}

// renew prolongs the lease. A lease that was there and isn't any more means that
// Redis lost its data or was away for long: all claims are written again.
func (o *Ownership) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	key := redisclient.EdgeLease(o.cfg.EdgeRun)
	var added *redis.IntCmd
	var clock *redis.TimeCmd
	_, err := o.cfg.Redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		added = p.HSet(ctx, key, "addr", o.cfg.Address)
		p.PExpire(ctx, key, leaseLife)
		clock = p.Time(ctx)
		return nil
	})
	if err != nil {
		return fmt.Errorf("renew edge lease: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if added.Val() > 0 && o.leaseSet {
		o.doubt = time.Now().Add(doubtFor)
		for key, c := range o.claims {
			if c.ended.IsZero() {
				o.changed[key] = true
			}
		}
	}
	o.leaseSet = true
	o.redisAt, o.localAt = clock.Val(), time.Now()
	o.away = time.Time{}
	return nil
}

// surrender tells what is left to tell and gives the lease up.
func (o *Ownership) surrender() {
	ctx, cancel := context.WithTimeout(context.Background(), attemptPatience)
	defer cancel()
	err := o.register(ctx)
	err = errors.Join(err, o.cfg.Redis.Del(ctx, redisclient.EdgeLease(o.cfg.EdgeRun)).Err(), o.peers.leave(ctx))
	if err != nil {
		o.cfg.Logger.Warn("edge lease runs out by itself", "error", err)
	}
}
