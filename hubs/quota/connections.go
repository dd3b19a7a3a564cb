package quota

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs/internal/unhurried"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// askTimeout bounds a question to Redis that no message waits for.
var askTimeout = time.Second

const (
	// resyncEvery is the time between writing all counts again, which repairs
	// what a lost Redis has forgotten.
	resyncEvery = 30 * time.Second
	// countsLife is how long the counts of a tenant outlive the last edge's word.
	countsLife = time.Hour
	// sweepPause is the least time between two looks for dead edges per tenant.
	sweepPause = time.Second
	// connectionRetry is the advice to clients that are refused a connection.
	connectionRetry = 5 * time.Second
	// strangerShare is the part of a limit that an edge grants while Redis is
	// away if it has never learnt what the others have: one in four.
	strangerShare = 4
	// peekPatience is how long Check waits for Redis. What it doesn't learn Admit
	// will tell.
	peekPatience = 100 * time.Millisecond
)

// errAway stands for the answer of a Redis that is not asked at the moment.
var connectionsRow = row("max_connections")

var errAway = errors.New("redis is away")

// Connections counts connections per tenant over all edges. An edge that dies
// without a word stops counting when its lease (redisclient.EdgeLease) is gone.
type Connections struct {
	redis redis.UniversalClient
	calls *redisclient.Batch // over redis
	run   string
	log   *slog.Logger
	away  atomic.Bool // Redis didn't answer; Run finds out when it does again

	mu      sync.Mutex
	tenants map[tenants.ID]*tally
	work    sync.WaitGroup
}

// tally is one tenant's connections on this edge. One goroutine at a time talks
// to Redis about it, so that the counts it writes are in order.
type tally struct {
	id tenants.ID

	mu      sync.Mutex
	open    int // connections of this edge, granted and not released
	limit   int
	dirty   bool // open differs from what Redis was told
	asking  bool
	waiting []*applicant
	share   int // how many this edge may have while Redis is away; 0 = never learnt

	sweptAt time.Time // when dropDead last ran; used by the asking goroutine alone
}

// applicant waits for one connection, or only wants to know whether there is
// room for one.
type applicant struct {
	peek   bool
	gone   bool // no longer waits; guarded by tally.mu
	answer chan error
}

// NewConnections counts for the edge with that run id. Run keeps the counts
// right over time.
func NewConnections(calls *redisclient.Batch, run string, log *slog.Logger) *Connections {
	return &Connections{redis: calls.Client(), calls: calls, run: run, log: log, tenants: make(map[tenants.ID]*tally)}
}

// Admit takes one connection out of the tenant's limit. The caller calls release
// once when the connection has ended. The error is a *Refusal, or of ctx.
func (c *Connections) Admit(ctx context.Context, id tenants.ID, limit int) (release func(), err error) {
	t, err := c.apply(ctx, id, limit, false)
	if err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { c.release(t) }), nil
}

// Check returns a *Refusal when Admit would now, as far as can be told in a tenth of
// a second. It takes nothing.
func (c *Connections) Check(ctx context.Context, id tenants.ID, limit int) error {
	timed := unhurried.With(ctx, peekPatience)
	defer timed.Stop()
	_, err := c.apply(timed, id, limit, true)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return err
}

// Open is the number of the tenant's connections on this edge.
func (c *Connections) Open(id tenants.ID) int {
	c.mu.Lock()
	t := c.tenants[id]
	c.mu.Unlock()
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open
}

// Excess returns how many of this edge's connections have to go so that a tenant has no
// more than limit over all edges, each of which closes its part.
func (c *Connections) Excess(ctx context.Context, id tenants.ID, limit int) (int, error) {
	open := c.Open(id)
	if open == 0 {
		return 0, nil
	}
	key := redisclient.ConnectionCounts(id)
	dropDead(c.redis, key, c.run)
	counts, err := c.redis.HGetAll(ctx, key).Result()
	if err != nil {
		return 0, fmt.Errorf("count connections: %w", err)
	}
	delete(counts, c.run) // which may be a moment old
	total := open
	for _, text := range counts {
		n, err := strconv.Atoi(text)
		if err != nil {
			return 0, fmt.Errorf("count connections: %w", err)
		}
		total += n
	}
	if total <= limit {
		return 0, nil
	}
	return (open*(total-limit) + total - 1) / total, nil
}

// locked returns the tenant's tally with t.mu held, so that it can't be
// forgotten before it is used. c.mu is taken before t.mu, everywhere.
func (c *Connections) locked(id tenants.ID) *tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tenants[id]
	if t == nil {
		t = &tally{id: id}
		c.tenants[id] = t
	}
	t.mu.Lock()
	return t
}

func (c *Connections) apply(ctx context.Context, id tenants.ID, limit int, peek bool) (*tally, error) {
	a := &applicant{peek: peek, answer: make(chan error, 1)}
	t := c.locked(id)
	t.limit = limit
	t.waiting = append(t.waiting, a)
	c.ask(t)
	t.mu.Unlock()
	answer, ended := redisclient.Await(ctx, a.answer)
	if ended == nil {
		return t, answer
	}
	t.mu.Lock()
	a.gone = true
	t.mu.Unlock()
	select {
	case err := <-a.answer: // answered in between
		if err == nil && !peek {
			c.release(t)
		}
	default:
	}
	return nil, ended
}

func (c *Connections) release(t *tally) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open--
	t.dirty = true
	c.ask(t)
}

// ask starts the goroutine that talks about t unless it runs; t.mu is held.
func (c *Connections) ask(t *tally) {
	if t.asking {
		return
	}
	t.asking = true
	c.work.Go(func() {
		for c.round(t) {
		}
	})
}

// round settles everything that waits with one question. It reports false when
// nothing waits any more.
func (c *Connections) round(t *tally) bool {
	t.mu.Lock()
	waiting := t.waiting
	if len(waiting) == 0 && (!t.dirty || c.away.Load()) {
		t.asking = false
		t.mu.Unlock()
		return false
	}
	t.waiting, t.dirty = nil, false
	open, limit := t.open, t.limit
	t.mu.Unlock()

	asked := 0
	for _, a := range waiting {
		if !a.peek {
			asked++
		}
	}
	v, err := c.count(t, open, asked, limit, len(waiting) > 0)

	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		if c.away.CompareAndSwap(false, true) {
			c.log.Warn("connections not counted in redis, keeping the last shares", "error", err)
		}
		t.dirty = true
		share := min(limit, t.share)
		if share == 0 {
			share = min(limit, max(1, limit/strangerShare))
		}
		// What is left after this edge's share counts as taken.
		v = verdict{granted: max(0, min(asked, share-open)), others: limit - share}
	} else {
		// What this edge has and an even part of what is free.
		free := max(0, limit-v.others-open-v.granted)
		t.share = max(1, open+v.granted+(free+v.runs-1)/v.runs)
	}
	t.settle(waiting, v, limit-v.others-open-v.granted)
	return true
}

// count asks Redis; it looks for dead edges when the limit is in the way.
func (c *Connections) count(t *tally, open, asked, limit int, needed bool) (verdict, error) {
	if c.away.Load() {
		return verdict{}, errAway
	}
	v, err := c.grant(t.id, open, asked, limit)
	full := v.granted < asked || v.others+open+v.granted >= limit
	if err != nil || !needed || !full || time.Since(t.sweptAt) < sweepPause {
		return v, err
	}
	t.sweptAt = time.Now()
	if !dropDead(c.redis, redisclient.ConnectionCounts(t.id), c.run) {
		return v, nil
	}
	return c.grant(t.id, open, asked, limit)
}

// settle answers those who wait, in their order; t.mu is held.
func (t *tally) settle(waiting []*applicant, v verdict, room int) {
	for _, a := range waiting {
		switch {
		case a.peek && room > 0:
			a.answer <- nil
		case !a.peek && v.granted > 0:
			v.granted--
			if a.gone { // give back what nobody takes
				t.dirty = true
				continue
			}
			t.open++
			a.answer <- nil
		default:
			refusal := refuse(connectionsRow, t.limit, 0, connectionRetry)
			refusal.Value = int64(v.others + t.open + 1)
			a.answer <- refusal
		}
	}
}

// Run writes all counts again from time to time, and when Redis is back, until
// ctx is done; then it waits for what is under way and takes this edge's counts
// out of Redis.
func (c *Connections) Run(ctx context.Context) error {
	resync, probe := time.NewTicker(resyncEvery), time.NewTicker(redisPause)
	defer resync.Stop()
	defer probe.Stop()
	for {
		select {
		case <-ctx.Done():
			c.work.Wait()
			return c.leave(context.WithoutCancel(ctx))
		case <-resync.C:
			c.resync()
		case <-probe.C:
			if c.away.Load() && c.answers(ctx) {
				c.away.Store(false)
				c.resync()
			}
		}
	}
}

// answers reports whether Redis does.
func (c *Connections) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return c.redis.Ping(ctx).Err() == nil
}

// resync makes every tenant's count be written, and forgets tenants that have none.
func (c *Connections) resync() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, t := range c.tenants {
		t.mu.Lock()
		if t.open == 0 && !t.asking && !t.dirty {
			delete(c.tenants, id)
		} else {
			t.dirty = true
			c.ask(t)
		}
		t.mu.Unlock()
	}
}

// leave takes this run out of all counts.
func (c *Connections) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	pipe := c.redis.Pipeline()
	for id := range c.tenants {
		pipe.HDel(ctx, redisclient.ConnectionCounts(id), c.run)
	}
	if pipe.Len() == 0 {
		return nil
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("take back connection counts: %w", err)
	}
	return nil
}
