package upstream

import (
	"context"
	"sync"
	"time"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// The bounds of the events of one tenant on one edge.
const (
	// maxEvents and maxEventBytes wait, for their turn or for another attempt;
	// what comes then is lost, counted and logged.
	maxEvents     = 10_000
	maxEventBytes = 16 << 20
	// eventWorkers tell events at once.
	eventWorkers = 16
)

// event is a connected or disconnected event that nobody waits for.
type event struct {
	post   *post
	native bool // is retried
	// ended is called when it is over with; told says that nobody needs to tell it any
	// more, which isn't so when this edge ends. nil = nobody asks.
	ended func(told bool)
}

// eventQueue tells a tenant's events, in no certain order once some are retried.
type eventQueue struct {
	tenant *tenant

	mu      sync.Mutex
	waiting []*event
	timers  map[*event]*time.Timer
	count   int // waiting, on a timer, or under way
	bytes   int
	workers int
}

// add has an event told soon.
func (q *eventQueue) add(e *event) {
	if q.admit(e) {
		q.put(e)
	}
}

// admit counts an event in, if there is room for it.
func (q *eventQueue) admit(e *event) bool {
	g := q.tenant.g
	g.mu.Lock()
	open := !g.closing
	if open {
		g.events.Add(1)
	}
	g.mu.Unlock()
	if !open {
		q.lost(e, false)
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count >= maxEvents || q.count > 0 && q.bytes+len(e.post.body) > maxEventBytes {
		g.events.Done()
		q.lost(e, true)
		return false
	}
	q.count++
	q.bytes += len(e.post.body)
	return true
}

// lost counts an event that won't be told; by nobody, when told is set. What another
// edge is going to tell isn't lost.
func (q *eventQueue) lost(e *event, told bool) {
	if e.ended != nil {
		defer e.ended(told)
		if !told {
			return
		}
	}
	q.tenant.g.refused(q.tenant.id, e.post.hub, codeEventLost)
	d := e.post.delivery(time.Now(), nil, &failure{code: codeEventLost})
	d.Outcome = tenants.Failed
	q.tenant.record(d)
}

// done counts an event out; told as in event.
func (q *eventQueue) done(e *event, told bool) {
	q.mu.Lock()
	q.count--
	q.bytes -= len(e.post.body)
	q.mu.Unlock()
	if e.ended != nil {
		e.ended(told)
	}
	q.tenant.g.events.Done()
}

// put has a counted event told by one of the workers.
func (q *eventQueue) put(e *event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, e)
	if q.workers < eventWorkers {
		q.workers++
		go q.work()
	}
}

func (q *eventQueue) work() {
	for {
		q.mu.Lock()
		if len(q.waiting) == 0 {
			q.workers--
			q.mu.Unlock()
			return
		}
		e := q.waiting[0]
		q.waiting[0] = nil
		q.waiting = q.waiting[1:]
		q.mu.Unlock()
		q.tell(e)
	}
}

// tell makes one attempt and sees to the next.
func (q *eventQueue) tell(e *event) {
	g := q.tenant.g
	e.post.retries = e.native && e.post.attempt <= len(g.retryAfter) && !g.isClosing()
	a, f := q.tenant.send(g.ctx, e.post)
	if ok := f == nil && a.ok(); ok || !e.post.retries {
		q.done(e, ok || !g.isClosing())
		return
	}
	q.pause(e)
}

// again has an event whose first attempt has failed told again.
func (q *eventQueue) again(e *event) {
	if q.admit(e) {
		q.pause(e)
	}
}

// pause has a counted event told after the pause that follows its last attempt.
func (q *eventQueue) pause(e *event) {
	after := q.tenant.g.retryAfter[e.post.attempt-1]
	e.post.attempt++
	q.schedule(e, after, func() { q.put(e) })
}

// later has an event told after a time, if it then still holds.
func (q *eventQueue) later(e *event, after time.Duration, holds func() bool) {
	if !q.admit(e) {
		return
	}
	q.schedule(e, after, func() {
		if holds() {
			q.put(e)
		} else {
			q.done(e, true)
		}
	})
}

// schedule calls then after a time, or at once when the edge is about to end.
func (q *eventQueue) schedule(e *event, after time.Duration, then func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.timers == nil {
		q.timers = make(map[*event]*time.Timer)
	}
	if q.tenant.g.isClosing() {
		after = 0
	}
	q.timers[e] = time.AfterFunc(after, func() {
		q.mu.Lock()
		delete(q.timers, e)
		q.mu.Unlock()
		then()
	})
}

// hurry makes everything that waits for a time due now: it gets its last attempt.
func (q *eventQueue) hurry() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, t := range q.timers {
		if t.Stop() {
			t.Reset(0)
		}
	}
}

// departureGrace is how much longer Redis remembers a departure than it is
// waited for: its edge takes it back by then.
const departureGrace = 30 * time.Second

// redisTimeout bounds what a departure costs.
const redisTimeout = time.Second

// departures is the key of those who have left, or false for who can't be known
// again.
func (s *session) departures() (string, bool) {
	if s.d.g.redis == nil || s.c.User() == "" {
		return "", false
	}
	return redisclient.Hub(s.d.tenant.id, s.d.hub).Departures(s.c.User()), true
}

// depart notes that the connection has ended, for another of the same user that
// comes within grace. It reports false when it can't be waited for.
func (s *session) depart(grace time.Duration) bool {
	key, ok := s.departures()
	if !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(s.d.g.ctx, redisTimeout)
	defer cancel()
	pipe := s.d.g.redis.Pipeline()
	pipe.SAdd(ctx, key, s.c.ID())
	pipe.PExpire(ctx, key, grace+departureGrace)
	_, err := pipe.Exec(ctx)
	return err == nil
}

// returned takes one of the user's departures, whose disconnected event is then
// not told, and returns its connection; "" when there is none.
func (s *session) returned(ctx context.Context) string {
	key, ok := s.departures()
	if !ok || s.d.now().upstream.ReconnectSeconds == 0 {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	id, err := s.d.g.redis.SPop(ctx, key).Result()
	if err != nil {
		return "" // nobody has left, or Redis is away: then both events are told
	}
	return id
}

// gone reports whether nobody took the departure meanwhile.
func (s *session) gone() bool {
	key, ok := s.departures()
	if !ok {
		return true
	}
	ctx, cancel := context.WithTimeout(s.d.g.ctx, redisTimeout)
	defer cancel()
	n, err := s.d.g.redis.SRem(ctx, key, s.c.ID()).Result()
	return err != nil || n > 0
}
