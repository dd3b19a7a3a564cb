package quota

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
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

// leaseMessages takes tokens out of the tenant's bucket, which fills with time, and
// returns {granted, milliseconds until there is one more, what is left} and, where this
// limiter says whom it has, the sum of what all have said lately.
// KEYS: bucket. ARGV: tokens per second, depth, wanted, now in microseconds (0 = Redis'
// clock), what is to be left, and when the rate is contested: limiter, and the figures of
// a census.
var leaseMessages = redis.NewScript(`
local rate, depth, wanted, now, kept = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if now == 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(bucket[1]) or depth, tonumber(bucket[2]) or now
tokens = math.min(depth, tokens + math.max(0, now - at) * rate / 1000000)
local granted = math.min(wanted, math.max(0, math.floor(tokens) - kept))
tokens = tokens - granted
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%.0f', math.max(now, at)))
redis.call('EXPIRE', KEYS[1], 60 + math.ceil(depth / math.max(rate, 1)))
local wait = 0
if tokens < kept + 1 and rate > 0 then wait = math.ceil((kept + 1 - tokens) * 1000 / rate) end
local answer = {granted, wait, math.floor(tokens)}
if ARGV[6] == '' then return answer end
redis.call('HSET', KEYS[1], 's:' .. ARGV[6], string.format('%.0f', now) .. ' ' .. ARGV[7] .. ' ' .. ARGV[8] .. ' ' .. ARGV[9])
local fields = redis.call('HGETALL', KEYS[1])
local sum = {0, 0, 0}
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 2) == 's:' then
    local said, n, used, hungry = string.match(fields[i + 1], '(%d+) (%d+) (%d+) (%d+)')
    if now - tonumber(said) > ` + strconv.Itoa(int(censusLife.Microseconds())) + ` then
      redis.call('HDEL', KEYS[1], fields[i])
    else
      sum = {sum[1] + n, sum[2] + used, sum[3] + hungry}
    end
  end
end
answer[4], answer[5], answer[6] = sum[1], sum[2], sum[3]
return answer`)

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
	// shared limits are divided fairly between those who take from them while they are
	// contested; self names this limiter to the others then.
	shared bool
	self   string
	// tried counts for values that are only tried out; nil = it is one that does.
	tried *Messages
	// figures, when set, are told what is used and what would be refused.
	figures *Figures

	tenants sync.Map // tenants.ID → *bucket
	work    sync.WaitGroup
}

// bucket is one tenant's part of the limit on this edge.
type bucket struct {
	id    tenants.ID
	usage atomic.Int64 // Unix seconds of the last use
	// contestedUntil is until when shares count, Unix nanoseconds.
	contestedUntil atomic.Int64
	// free is for everybody; kept, while the limit is contested, for those who have had
	// less than their share.
	free, kept pool

	mu        sync.Mutex
	rest      int64         // in the fleet's bucket at restAt
	restAt    time.Time     // zero = nothing is known of it
	awayUntil time.Time     // when to try Redis again
	alone     *rate.Limiter // this edge's share; nil = Redis answers
	granted   int64         // since windowAt
	windowAt  time.Time
	share     float64 // tokens per second that this edge was granted lately

	shares
}

// pool is what was leased and not used, and who asks for more; but for left, the bucket's
// mu guards it.
type pool struct {
	left       atomic.Int64
	question   chan struct{} // closed when the question under way is answered; nil = none is
	demand     int64         // what those who wait need of the next question
	emptyUntil time.Time     // the fleet's bucket is known to have nothing for it
}

// take takes n, or nothing, and reports whether they were there.
func (p *pool) take(n int64) (left int64, ok bool) {
	if left = p.left.Add(-n); left >= 0 {
		return left, true
	}
	p.left.Add(n)
	return 0, false
}

// Take takes n messages out of the tenant's limit. The error is a *Refusal, or
// of ctx. It waits for Redis only when this edge's block is used up.
func (m *Messages) Take(ctx context.Context, id tenants.ID, r Rate, n int) error {
	return m.TakeFor(ctx, id, r, n, nil)
}

// TakeFor is Take for one of those who divide the limit while it is contested; nil is for
// all together that have no Share of their own.
func (m *Messages) TakeFor(ctx context.Context, id tenants.ID, r Rate, n int, s *Share) error {
	if r.PerSecond <= 0 || n > r.depth() {
		return m.no(r, time.Second)
	}
	now := m.now()
	b := m.bucket(id, now)
	if !b.contested(now) {
		if left, ok := b.free.take(int64(n)); ok {
			if left < int64(r.block())/2 {
				b.mu.Lock()
				m.ask(b, &b.free, r, now)
				b.mu.Unlock()
			}
			return nil
		}
	}
	if s == nil {
		s = &b.others
	}
	return m.takeSlowly(ctx, b, r, int64(n), s)
}

func (m *Messages) bucket(id tenants.ID, now time.Time) *bucket {
	v, ok := m.tenants.Load(id)
	if !ok {
		v, _ = m.tenants.LoadOrStore(id, &bucket{id: id, windowAt: now})
	}
	b := v.(*bucket)
	if now := now.Unix(); b.usage.Load() != now {
		b.usage.Store(now)
	}
	return b
}

// takeSlowly is Take when the block is used up or the limit contested: those who come at
// once wait for one question and share what it brings. Each answer brings something or
// says that there is nothing, so the rounds are few.
func (m *Messages) takeSlowly(ctx context.Context, b *bucket, r Rate, n int64, s *Share) error {
	for range mostRounds {
		b.mu.Lock()
		now := m.now()
		p, contested := &b.free, b.contested(now)
		below := contested && b.below(s, now)
		if below {
			p = &b.kept
		}
		if taken := b.takeLeased(n, below || !contested); taken {
			if contested {
				b.had(s, n, below, now)
				m.askAhead(b, p, r, now)
			}
			b.mu.Unlock()
			return nil
		}
		if b.alone != nil {
			m.ask(b, p, r, now) // is Redis back? Nobody waits for the answer.
			err := m.takeAlone(b, r, n, now, s)
			b.mu.Unlock()
			return err
		}
		missing := n - b.free.left.Load() // kept has nothing, or isn't for this one
		if now.Before(p.emptyUntil) {
			if contested {
				b.refused(s)
			}
			err := m.refusal(p, r, missing, now)
			b.mu.Unlock()
			return err
		}
		p.demand += missing
		answered := m.ask(b, p, r, now)
		b.mu.Unlock()
		select {
		case <-answered:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return m.no(r, leastPause)
}

// takeLeased takes n of what was leased; all = what is kept counts, too.
func (b *bucket) takeLeased(n int64, all bool) bool {
	if _, ok := b.free.take(n); ok {
		return true
	}
	if !all {
		return false
	}
	if _, ok := b.kept.take(n); ok {
		return true
	}
	// Neither has enough alone.
	b.free.left.Add(b.kept.left.Swap(0))
	_, ok := b.free.take(n)
	return ok
}

// askAhead leases the next block when little is left; b.mu is held.
func (m *Messages) askAhead(b *bucket, p *pool, r Rate, now time.Time) {
	if p == &b.free && p.left.Load() < int64(r.block())/2 {
		m.ask(b, p, r, now)
	}
}

// ask leases the next block of a pool unless that is under way or known to be useless,
// and returns a channel that is closed afterwards; b.mu is held.
func (m *Messages) ask(b *bucket, p *pool, r Rate, now time.Time) <-chan struct{} {
	if p.question != nil {
		return p.question
	}
	if now.Before(p.emptyUntil) || now.Before(b.awayUntil) {
		return alreadyAnswered
	}
	answered := make(chan struct{})
	q := question{wanted: max(p.demand, int64(r.block()))}
	if b.contested(now) {
		q.said, q.census = m.self, b.census(now)
		if p == &b.kept {
			q.wanted = max(p.demand, int64(r.block()/keptPart))
		} else {
			q.kept = r.reserve()
		}
	}
	p.demand, p.question = 0, answered
	m.work.Go(func() {
		a, err := m.lease(b.id, r, q)
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
			b.rest, b.restAt = a.rest, now
			b.granted += a.granted
			p.left.Add(a.granted)
			if a.granted < q.wanted {
				p.emptyUntil = now.Add(max(leastPause, a.wait))
			}
			if m.shared {
				b.learn(float64(r.PerSecond), a.all, a.rest < 2*r.reserve(), now)
			}
		}
		p.question = nil
		close(answered)
	})
	return answered
}

// question is what an edge asks of a tenant's bucket.
type question struct {
	wanted int64
	kept   int64  // to be left in it
	said   string // whose census it is; "" = none is needed
	census census
}

// answer is what it gets.
type answer struct {
	granted, rest int64
	wait          time.Duration // until there is one more
	all           census        // of all edges, when one was sent
}

// lease asks Redis for messages.
func (m *Messages) lease(id tenants.ID, r Rate, q question) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), leaseTimeout)
	defer cancel()
	clock := int64(0)
	if m.clock {
		clock = m.now().UnixMicro()
	}
	said, err := leaseMessages.Run(ctx, m.redis, []string{m.key(id)},
		r.PerSecond, r.depth(), q.wanted, clock, q.kept, q.said, q.census.sharers, q.census.used, q.census.hungry).Int64Slice()
	if err != nil {
		return answer{}, fmt.Errorf("lease messages: %w", err)
	}
	a := answer{granted: said[0], rest: said[2], wait: time.Duration(said[1]) * time.Millisecond}
	if len(said) == 6 {
		a.all = census{sharers: said[3], used: said[4], hungry: said[5]}
	}
	return a, nil
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
	left = max(0, b.free.left.Load()) + rest + int64(min(refilled, float64(depth)))
	left = min(left, depth)
	return left, time.Duration(depth-left) * time.Second / time.Duration(r.PerSecond)
}

// refusal says when as many as are missing can be there again.
func (m *Messages) refusal(p *pool, r Rate, missing int64, now time.Time) error {
	wait := max(p.emptyUntil.Sub(now), time.Duration(missing)*time.Second/time.Duration(r.PerSecond))
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
func (m *Messages) takeAlone(b *bucket, r Rate, n int64, now time.Time, s *Share) error {
	own := Rate{PerSecond: b.alone.Burst()}
	tokens := int64(b.alone.TokensAt(now))
	if m.shared {
		b.learn(float64(b.alone.Limit()), b.census(now), tokens < 2*own.reserve(), now)
	}
	contested := b.contested(now)
	below := contested && b.below(s, now)
	if (!contested || below || tokens-n >= own.reserve()) && b.alone.AllowN(now, int(n)) {
		if contested {
			b.had(s, n, below, now)
		}
		return nil
	}
	if contested {
		b.refused(s)
	}
	return m.refusal(&b.free, r, n, now)
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
