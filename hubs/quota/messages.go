package quota

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"github.com/signalbox/signalbox/tenants"
)

const (
	// blocksPerSecond is in how many blocks an edge leases a second's worth of
	// the limit: what three edges hold unused is then below 2 % of ten seconds.
	blocksPerSecond = 50
	// leastPause is the least time between two questions for an exhausted bucket.
	leastPause = 2 * time.Millisecond
	// idleAfter is when a tenant that sends nothing is forgotten.
	idleAfter = 10 * time.Minute
	// shareWindow is over what time the share for a Redis outage is measured.
	shareWindow = 10 * time.Second
	// mostRounds bounds how often one Take waits for an answer.
	mostRounds = 8
	// redisPause is how long an edge goes on alone before it asks Redis again.
	redisPause = time.Second
)

// leaseTimeout bounds a question: messages wait for it, and then for the backplane. Tests
// have more time, as they have for askTimeout.
var leaseTimeout = 250 * time.Millisecond

// leaseMessages takes tokens out of the tenant's bucket, which fills with time,
// and returns {granted, milliseconds until there is one more, what is left}.
// KEYS: bucket. ARGV: tokens per second, depth, wanted, now in microseconds (0 = Redis' clock).
var leaseMessages = redis.NewScript(`
local rate, depth, wanted, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if now == 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(bucket[1]) or depth, tonumber(bucket[2]) or now
tokens = math.min(depth, tokens + math.max(0, now - at) * rate / 1000000)
local granted = math.min(wanted, math.floor(tokens))
tokens = tokens - granted
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%.0f', math.max(now, at)))
redis.call('EXPIRE', KEYS[1], 60 + math.ceil(depth / math.max(rate, 1)))
local wait = 0
if tokens < 1 and rate > 0 then wait = math.ceil((1 - tokens) * 1000 / rate) end
return {granted, wait, math.floor(tokens)}`)

// alreadyAnswered is the channel of a question that is not worth asking.
var alreadyAnswered = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Rate is a tenant's limit of messages.
type Rate struct {
	PerSecond int
	Burst     int // depth of the bucket; at least PerSecond is used
}

func (r Rate) depth() int { return max(r.Burst, r.PerSecond) }

// block is how many messages are leased at once.
func (r Rate) block() int { return max(1, r.PerSecond/blocksPerSecond) }

// Messages limits what happens per second per tenant over all edges: messages, and
// with the other constructors something else, in buckets of their own.
type Messages struct {
	redis redis.UniversalClient
	log   *slog.Logger
	row   tenants.LimitRow
	key   func(tenants.ID) string
	now   func() time.Time
	// clock makes the script count by now instead of Redis' clock.
	clock bool
	// tried counts for values that are only tried out; nil = it is one that does.
	tried *Messages
	// figures, when set, are told what is used and what would be refused.
	figures *Figures

	tenants sync.Map // tenants.ID → *bucket
	work    sync.WaitGroup
}

// bucket is one tenant's block on this edge.
type bucket struct {
	id    tenants.ID
	left  atomic.Int64 // leased and not used
	usage atomic.Int64 // Unix seconds of the last use

	mu         sync.Mutex
	question   chan struct{} // closed when the question under way is answered; nil = none is
	demand     int64         // what those who wait need of the next question
	emptyUntil time.Time     // the fleet's bucket is known to be empty
	rest       int64         // in the fleet's bucket at restAt
	restAt     time.Time     // zero = nothing is known of it
	awayUntil  time.Time     // when to try Redis again
	alone      *rate.Limiter // this edge's share; nil = Redis answers
	granted    int64         // since windowAt
	windowAt   time.Time
	share      float64 // tokens per second that this edge was granted lately
}

// Take takes n messages out of the tenant's limit. The error is a *Refusal, or
// of ctx. It waits for Redis only when this edge's block is used up.
func (m *Messages) Take(ctx context.Context, id tenants.ID, r Rate, n int) error {
	if r.PerSecond <= 0 || n > r.depth() {
		return m.no(r, time.Second)
	}
	b := m.bucket(id)
	if left := b.left.Add(-int64(n)); left >= 0 {
		if left < int64(r.block())/2 {
			b.mu.Lock()
			m.ask(b, r)
			b.mu.Unlock()
		}
		return nil
	}
	b.left.Add(int64(n))
	return m.takeSlowly(ctx, b, r, int64(n))
}

func (m *Messages) bucket(id tenants.ID) *bucket {
	v, ok := m.tenants.Load(id)
	if !ok {
		v, _ = m.tenants.LoadOrStore(id, &bucket{id: id, windowAt: m.now()})
	}
	b := v.(*bucket)
	if now := m.now().Unix(); b.usage.Load() != now {
		b.usage.Store(now)
	}
	return b
}

// takeSlowly is Take when the block is used up: those who come at once wait for
// one question and share what it brings. Each answer brings something or says
// that there is nothing, so the rounds are few.
func (m *Messages) takeSlowly(ctx context.Context, b *bucket, r Rate, n int64) error {
	for range mostRounds {
		b.mu.Lock()
		if b.left.Add(-n) >= 0 { // somebody has brought enough
			b.mu.Unlock()
			return nil
		}
		missing := n - b.left.Add(n)
		now := m.now()
		if b.alone != nil {
			m.ask(b, r) // is Redis back? Nobody waits for the answer.
			err := m.takeAlone(b, r, n, now)
			b.mu.Unlock()
			return err
		}
		if now.Before(b.emptyUntil) {
			err := m.refusal(b, r, missing, now)
			b.mu.Unlock()
			return err
		}
		b.demand += missing
		answered := m.ask(b, r)
		b.mu.Unlock()
		select {
		case <-answered:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return m.no(r, leastPause)
}

// ask leases the next block unless that is under way or known to be useless,
// and returns a channel that is closed afterwards; b.mu is held.
func (m *Messages) ask(b *bucket, r Rate) <-chan struct{} {
	if b.question != nil {
		return b.question
	}
	if now := m.now(); now.Before(b.emptyUntil) || now.Before(b.awayUntil) {
		return alreadyAnswered
	}
	answered := make(chan struct{})
	wanted := max(b.demand, int64(r.block()))
	b.demand, b.question = 0, answered
	m.work.Go(func() {
		granted, rest, wait, err := m.lease(b.id, r, wanted)
		b.mu.Lock()
		defer b.mu.Unlock()
		now := m.now()
		b.measure(now)
		switch {
		case err != nil:
			b.awayUntil = now.Add(redisPause)
			if b.alone == nil {
				b.alone = rate.NewLimiter(rate.Limit(b.aloneRate(r)), max(1, int(b.aloneRate(r))))
				// It begins all but empty: the fleet's bucket fills meanwhile, and answers
				// that are late once in a while would be a second's share each.
				b.alone.AllowN(now, b.alone.Burst()-1)
				m.log.Warn("messages not counted in redis, keeping the last share", "tenant_id", b.id, "error", err)
			}
		default:
			b.alone = nil
			b.rest, b.restAt = rest, now
			b.granted += granted
			b.left.Add(granted)
			if granted < wanted {
				b.emptyUntil = now.Add(max(leastPause, wait))
			}
		}
		b.question = nil
		close(answered)
	})
	return answered
}

// lease asks Redis for wanted messages.
func (m *Messages) lease(id tenants.ID, r Rate, wanted int64) (granted, rest int64, wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), leaseTimeout)
	defer cancel()
	clock := int64(0)
	if m.clock {
		clock = m.now().UnixMicro()
	}
	answer, err := leaseMessages.Run(ctx, m.redis, []string{m.key(id)},
		r.PerSecond, r.depth(), wanted, clock).Int64Slice()
	if err != nil {
		return 0, 0, 0, fmt.Errorf("lease messages: %w", err)
	}
	return answer[0], answer[2], time.Duration(answer[1]) * time.Millisecond, nil
}

// Left estimates how many messages the tenant may still send at once, and when
// all of its limit is there again. Other edges take from the same bucket.
func (m *Messages) Left(id tenants.ID, r Rate) (left int64, reset time.Duration) {
	depth := int64(r.depth())
	if r.PerSecond <= 0 || depth <= 0 {
		return 0, 0
	}
	v, known := m.tenants.Load(id)
	if !known {
		return depth, 0
	}
	b := v.(*bucket)
	b.mu.Lock()
	rest, at, now := b.rest, b.restAt, m.now()
	b.mu.Unlock()
	if at.IsZero() {
		return depth, 0
	}
	refilled := now.Sub(at).Seconds() * float64(r.PerSecond)
	left = max(0, b.left.Load()) + rest + int64(min(refilled, float64(depth)))
	left = min(left, depth)
	return left, time.Duration(depth-left) * time.Second / time.Duration(r.PerSecond)
}

// refusal says when as many as are missing can be there again.
func (m *Messages) refusal(b *bucket, r Rate, missing int64, now time.Time) error {
	wait := max(b.emptyUntil.Sub(now), time.Duration(missing)*time.Second/time.Duration(r.PerSecond))
	return m.no(r, max(wait, time.Millisecond))
}

// measure keeps the share of the last full window; b.mu is held.
func (b *bucket) measure(now time.Time) {
	if passed := now.Sub(b.windowAt); passed >= shareWindow {
		b.share = float64(b.granted) / passed.Seconds()
		b.granted, b.windowAt = 0, now
	} else if passed > time.Second {
		b.share = max(b.share, float64(b.granted)/shareWindow.Seconds())
	}
}

// aloneRate is how many messages per second this edge accepts while Redis is
// away: what it was granted lately, at least a part of the limit so that a quiet
// tenant can begin, never more than the limit.
func (b *bucket) aloneRate(r Rate) float64 {
	return min(float64(r.PerSecond), max(b.share, float64(r.PerSecond)/strangerShare, 1))
}

// takeAlone takes from this edge's own share; b.mu is held.
func (m *Messages) takeAlone(b *bucket, r Rate, n int64, now time.Time) error {
	if b.alone.AllowN(now, int(n)) {
		return nil
	}
	return m.refusal(b, r, n, now)
}

// Run forgets tenants that send nothing until ctx is done, then waits for what
// is under way.
func (m *Messages) Run(ctx context.Context) error {
	tick := time.NewTicker(idleAfter / 10)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			m.work.Wait()
			m.tried.work.Wait()
			return nil
		case <-tick.C:
			m.forget()
			m.tried.forget()
		}
	}
}

// forget drops the buckets of tenants that take nothing.
func (m *Messages) forget() {
	oldest := m.now().Add(-idleAfter).Unix()
	m.tenants.Range(func(id, b any) bool {
		if b.(*bucket).usage.Load() < oldest {
			m.tenants.Delete(id)
		}
		return true
	})
}
