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

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// OwnershipConfig is what a process's Ownership needs.
type OwnershipConfig struct {
	Redis   redis.UniversalClient
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

	// awayFor is how long Redis isn't asked after it failed: a wave of clients
	// must not wait for it one by one.
	awayFor = time.Second

	tombstone     = "-"
	registerBatch = 500
)

// Ownership says in Redis which edge run serves a connection. Only the edge
// holds a lease; the claims of its connections are good as long as that lease.
// While Redis is away, connections are claimed locally and registered later.
// The methods are those that transports ask for.
type Ownership struct {
	cfg    OwnershipConfig
	relay  *relay
	cancel context.CancelFunc
	done   chan struct{}
	batch  *redisclient.Batch // of those who connect at the same time

	mu       sync.Mutex
	claims   map[string]*claim // of this process, by key
	ended    []string          // keys of ended claims, oldest first
	changed  map[string]bool   // keys that Redis has to be told about
	owners   recent            // of others, that requests were relayed to
	away     time.Time         // until when Redis isn't asked, after it failed
	wake     chan struct{}     // holds one: something changed
	leaseSet bool              // Redis held the lease at the last renewal
}

// buryClaim writes a tombstone unless the connection turned out to be another
// process's. KEYS: the claim. ARGV: edge run, tombstone, its life in ms.
var buryClaim = redis.NewScript(`
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] and owner ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`)

// claim is one connection of this process.
type claim struct {
	ended time.Time // zero while the connection lives
}

// NewOwnership starts the lease of this process. Close ends it.
func NewOwnership(cfg OwnershipConfig) (*Ownership, error) {
	if cfg.Redis == nil || cfg.Logger == nil || cfg.EdgeRun == "" || cfg.Address == "" || cfg.Spent == nil || cfg.Gone == nil || cfg.Unsure == nil {
		return nil, errors.New("ownership: Redis, Logger, EdgeRun, Address, Spent, Gone and Unsure are required")
	}
	if cfg.EdgeRun == tombstone {
		return nil, fmt.Errorf("ownership: EdgeRun must not be %q", tombstone)
	}
	ctx, cancel := context.WithCancel(context.Background())
	o := &Ownership{
		cfg: cfg, cancel: cancel, done: make(chan struct{}), batch: redisclient.NewBatch(cfg.Redis),
		claims: make(map[string]*claim), changed: make(map[string]bool), wake: make(chan struct{}, 1),
	}
	o.relay = newRelay(cfg)
	go o.keep(ctx)
	return o, nil
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

	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	set := redis.NewStringCmd(ctx, "set", key, o.cfg.EdgeRun, "ex", int(claimLife.Seconds()), "nx", "get")
	err = o.batch.Do(ctx, set)
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

// Owner returns the edge run that owns a connection, or Spent when nobody does.
func (o *Ownership) Owner(ctx context.Context, scope, id string) (string, error) {
	key, err := o.key(scope, id)
	if err != nil {
		return "", err
	}
	o.mu.Lock()
	away, known := o.isAway(), o.owners.get(key)
	o.mu.Unlock()
	if away && known != "" {
		return known, nil
	}
	if away {
		return "", fmt.Errorf("look up owner: %w", o.cfg.Gone)
	}
	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	owner, err := o.cfg.Redis.Get(ctx, key).Result()
	switch {
	case errors.Is(err, redis.Nil) || err == nil && (owner == tombstone || owner == o.cfg.EdgeRun):
		return "", o.cfg.Spent
	case err != nil:
		o.failed(err)
		if known != "" {
			return known, nil
		}
		return "", fmt.Errorf("look up owner: %w: %w", o.cfg.Gone, err)
	}
	o.mu.Lock()
	o.owners.put(key, owner)
	o.mu.Unlock()
	return owner, nil
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
	_, err := o.cfg.Redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		added = p.HSet(ctx, key, "addr", o.cfg.Address)
		p.PExpire(ctx, key, leaseLife)
		return nil
	})
	if err != nil {
		return fmt.Errorf("renew edge lease: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if added.Val() > 0 && o.leaseSet {
		for key, c := range o.claims {
			if c.ended.IsZero() {
				o.changed[key] = true
			}
		}
	}
	o.leaseSet = true
	o.away = time.Time{}
	return nil
}

// register writes the claims that Redis doesn't know yet, and the tombstones.
func (o *Ownership) register(ctx context.Context) error {
	for {
		o.mu.Lock()
		living, ended := make([]string, 0, registerBatch), make([]string, 0, registerBatch)
		for key := range o.changed {
			if len(living)+len(ended) == registerBatch {
				break
			}
			delete(o.changed, key)
			if c := o.claims[key]; c != nil && c.ended.IsZero() {
				living = append(living, key)
			} else {
				ended = append(ended, key)
			}
		}
		o.mu.Unlock()
		if len(living)+len(ended) == 0 {
			return nil
		}
		if err := o.write(ctx, living, ended); err != nil {
			o.mu.Lock()
			for _, keys := range [][]string{living, ended} {
				for _, key := range keys {
					o.changed[key] = true
				}
			}
			o.mu.Unlock()
			return err
		}
	}
}

func (o *Ownership) write(ctx context.Context, living, ended []string) error {
	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	_, err := o.cfg.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range living {
			p.SetNX(ctx, key, o.cfg.EdgeRun, claimLife)
		}
		for _, key := range ended {
			// Run would need an answer to fall back on the script's text.
			buryClaim.Eval(ctx, p, []string{key}, o.cfg.EdgeRun, tombstone, tombstoneLife.Milliseconds())
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write owners: %w", err)
	}
	return nil
}

// surrender tells what is left to tell and gives the lease up.
func (o *Ownership) surrender() {
	ctx, cancel := context.WithTimeout(context.Background(), attemptPatience)
	defer cancel()
	err := o.register(ctx)
	err = errors.Join(err, o.cfg.Redis.Del(ctx, redisclient.EdgeLease(o.cfg.EdgeRun)).Err())
	if err != nil {
		o.cfg.Logger.Warn("edge lease runs out by itself", "error", err)
	}
}
