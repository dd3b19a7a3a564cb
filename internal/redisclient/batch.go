package redisclient

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// batchCalls is the most calls that one round trip carries, batchWaiting how many may
	// wait.
	batchCalls   = 128
	batchWaiting = 64 * batchCalls
	// tripStuck is after how long a round trip is taken to hang, so that others wait for it
	// no more, and mostTrips how many there may be with those.
	tripStuck = 100 * time.Millisecond
	mostTrips = 16
	// lonely is after how many round trips with one call each nobody is waited for any
	// more.
	lonely = 4
)

// ErrBatchFull refuses a call where as many wait as may: Redis takes far too long.
var ErrBatchFull = errors.New("too many calls wait for Redis")

// Batch lets calls that are made at the same time share round trips: while one is
// under way, what is asked meanwhile waits. A single call waits for nobody, but in a
// spaced Batch. It is for short commands that don't depend on each other, each of which
// may be carried out or fail by itself.
type Batch struct {
	client redis.UniversalClient
	apart  time.Duration
	spaced bool // also where none is under way
	full   int  // with so many calls a round trip waits for no more
	most   int
	stuck  time.Duration

	mu      sync.Mutex
	waiting []batched
	trips   []*trip   // under way
	began   time.Time // when the last one did
	last    int       // how many calls it carried
	alone   int       // how many of the last carried one call each
	over    time.Time // when one ended last
	timer   *time.Timer
	rings   time.Time // when it does; zero: it doesn't
}

type batched struct {
	ctx      context.Context
	commands []redis.Cmder
	done     chan struct{}
}

// trip is one round trip.
type trip struct {
	began time.Time
	calls []batched
}

// NewBatch returns a Batch over the client, whose time-outs bound a round trip. One is
// under way at a time, but for those that hang.
func NewBatch(client redis.UniversalClient) *Batch {
	return NewPacedBatch(client, tripStuck, 1)
}

// NewPacedBatch returns a Batch that doesn't wait for long where Redis is far away: while
// a round trip is under way the next one begins that much after it, or when it is full.
// Up to most are under way at a time, but for those that hang.
func NewPacedBatch(client redis.UniversalClient, apart time.Duration, most int) *Batch {
	return &Batch{client: client, apart: apart, full: batchCalls, most: most, stuck: tripStuck, alone: lonely}
}

// NewSpacedBatch returns a Batch like that of NewPacedBatch, of which no round trip begins
// sooner than apart after the one before it began, unless full calls wait: as many as
// callers can have under way. Who comes after a rest of that waits for nobody; those who
// come in a rush share, although Redis is near. Callers who ask for one thing after the
// other wait for nobody else: a round trip begins when as many calls are back as the one
// before has carried, soon after its end, and for one call if the last ones had no more.
func NewSpacedBatch(client redis.UniversalClient, apart time.Duration, most, full int) *Batch {
	b := NewPacedBatch(client, apart, most)
	b.spaced, b.full = true, min(full, batchCalls)
	return b
}

// Do has the commands, made with redis.NewStringCmd and its like, sent in order.
// When it returns nil they have their results, each its own error. Another error is
// ErrBatchFull, and nothing was sent, or that of ctx: the commands may have been sent or
// not, will not be any more unless they are on their way, and must not be looked at.
func (b *Batch) Do(ctx context.Context, commands ...redis.Cmder) error {
	done, t, err := b.add(ctx, commands)
	if err != nil {
		return err
	}
	if t != nil {
		go b.run(t) // serves all callers: it must outlive the one who started it
	}
	return await(ctx, done)
}

// Carry is Do for a caller who can wait until ctx's deadline although ctx is cancelled:
// where a round trip is due at once it is the caller that makes it, and nobody has to be
// woken for it, nor when it has ended.
func (b *Batch) Carry(ctx context.Context, commands ...redis.Cmder) error {
	done, t, err := b.add(ctx, commands)
	if err != nil {
		return err
	}
	if t != nil {
		b.send(t.calls)
		if next := b.ended(t); next != nil {
			go b.run(next)
		}
	}
	return await(ctx, done)
}

// add puts a call behind those that wait, and returns the round trip that is due, if
// any.
func (b *Batch) add(ctx context.Context, commands []redis.Cmder) (done chan struct{}, t *trip, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) >= batchWaiting {
		b.forget()
	}
	if len(b.waiting) >= batchWaiting {
		return nil, nil, ErrBatchFull
	}
	done = dones.Get().(chan struct{})
	b.waiting = append(b.waiting, batched{ctx, commands, done})
	if b.due() {
		t = b.begin()
	}
	return done, t, nil
}

// await waits until a call has been carried out.
func await(ctx context.Context, done chan struct{}) error {
	if _, err := Await(ctx, done); err != nil {
		return err // something may be on its way to done
	}
	dones.Put(done)
	return nil
}

// dones are the channels on which callers wait, each for one value.
var dones = sync.Pool{New: func() any { return make(chan struct{}, 1) }}

// timers bound the waits of Await. A timer that was stopped sends nothing.
var timers = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}}

// patient is a context that has its deadline from one for whom a timer is made only
// where it is asked for Done; Unbounded is what ends it beside that.
type patient interface{ Unbounded() context.Context }

// unbounded returns what ends ctx beside deadlines that have no timer yet.
func unbounded(ctx context.Context) context.Context {
	if p, ok := ctx.(patient); ok {
		return unbounded(p.Unbounded())
	}
	return ctx
}

// Await returns what comes over the channel, or the error of ctx. Contexts whose
// deadline has no timer yet, and of which Unbounded tells the parent, get none for it.
func Await[T any](ctx context.Context, from <-chan T) (v T, err error) {
	select {
	case v = <-from: // also when both are ready
		return v, nil
	default:
	}
	parent := unbounded(ctx)
	var over <-chan time.Time
	if end, bounded := ctx.Deadline(); bounded && parent != ctx {
		timer := timers.Get().(*time.Timer)
		timer.Reset(time.Until(end))
		defer func() {
			timer.Stop()
			timers.Put(timer)
		}()
		over = timer.C
	}
	select {
	case v = <-from:
		return v, nil
	case <-parent.Done():
		return v, parent.Err()
	case <-over:
		return v, context.DeadlineExceeded
	}
}

// forget drops calls whose callers have given up. b.mu is held.
func (b *Batch) forget() {
	b.waiting = slices.DeleteFunc(b.waiting, func(c batched) bool { return c.ctx.Err() != nil })
}

// Client is what the Batch is over.
func (b *Batch) Client() redis.UniversalClient { return b.client }

// Script has a script carried out like Do, one that Redis doesn't know yet in a round
// trip of its own. The error is also that of the command.
func (b *Batch) Script(ctx context.Context, s *redis.Script, keys []string, args ...any) (*redis.Cmd, error) {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, "evalsha", s.Hash(), len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	c := redis.NewCmd(ctx, append(all, args...)...)
	if err := b.Do(ctx, c); err != nil {
		return nil, err
	}
	if redis.HasErrorPrefix(c.Err(), "NOSCRIPT") {
		c = s.Eval(ctx, b.client, keys, args...)
	}
	return c, c.Err()
}

// due reports whether a round trip is to begin now; when its time has not come yet, it
// sees to that. b.mu is held.
func (b *Batch) due() bool {
	if len(b.waiting) == 0 || len(b.trips) >= mostTrips {
		return false // the end of one looks again
	}
	now, under := time.Now(), 0
	first := now // when the first of those that don't hang began
	for _, t := range b.trips {
		if now.Sub(t.began) < b.stuck {
			under++
			if t.began.Before(first) {
				first = t.began
			}
		}
	}
	var at time.Time
	switch {
	case under == 0 && (!b.spaced || b.alone >= lonely && len(b.waiting) == 1 || b.last > 1 && len(b.waiting) == b.last && now.Sub(b.over) < b.apart/4):
		return true
	case under >= b.most:
		at = first.Add(b.stuck)
	case len(b.waiting) >= b.full:
		return true
	default:
		at = b.began.Add(b.apart)
	}
	if !at.After(now) {
		return true
	}
	if b.rings.IsZero() || at.Before(b.rings) {
		if b.timer != nil {
			b.timer.Stop()
		}
		b.rings = at
		b.timer = time.AfterFunc(at.Sub(now), b.ring)
	}
	return false
}

// ring begins the round trip whose time has come.
func (b *Batch) ring() {
	b.mu.Lock()
	b.rings = time.Time{}
	if !b.due() {
		b.mu.Unlock()
		return
	}
	t := b.begin()
	b.mu.Unlock()
	b.run(t)
}

// begin returns a round trip with the first calls that somebody still waits for. b.mu is
// held.
func (b *Batch) begin() *trip {
	t := &trip{began: time.Now()}
	taken := 0
	for _, c := range b.waiting {
		if len(t.calls) == batchCalls {
			break
		}
		if taken++; c.ctx.Err() == nil {
			t.calls = append(t.calls, c)
		}
	}
	if b.waiting = slices.Delete(b.waiting, 0, taken); len(b.waiting) == 0 {
		b.waiting = nil
	}
	b.last = len(t.calls)
	if b.alone++; b.last > 1 {
		b.alone = 0
	}
	b.trips = append(b.trips, t)
	b.began = t.began
	return t
}

// run makes a round trip, and further ones for as long as some are due.
func (b *Batch) run(t *trip) {
	for t != nil {
		b.send(t.calls)
		t = b.ended(t)
	}
}

// ended returns the round trip that is due when one has ended, if any.
func (b *Batch) ended(t *trip) (next *trip) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trips = slices.DeleteFunc(b.trips, func(other *trip) bool { return other == t })
	b.over = time.Now()
	if b.due() {
		next = b.begin()
	}
	return next
}

// send carries calls out. It takes no longer than the most patient of them.
func (b *Batch) send(calls []batched) {
	if len(calls) == 0 {
		return
	}
	ctx := context.Background() // callers come and go; the client's time-outs hold
	var last time.Time
	for _, call := range calls {
		end, bounded := call.ctx.Deadline()
		if !bounded {
			last = time.Time{}
			break
		}
		if end.After(last) {
			last = end
		}
	}
	if !last.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, last)
		defer cancel()
	}
	pipe := b.client.Pipeline()
	for _, call := range calls {
		for _, c := range call.commands {
			_ = pipe.Process(ctx, c) // it is only queued
		}
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for _, call := range calls {
		call.done <- struct{}{} // which has room for it
	}
}
