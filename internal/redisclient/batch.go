package redisclient

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// batchCalls is the most calls that one round trip carries.
const batchCalls = 128

// Batch lets calls that are made at the same time share round trips: while one is
// under way, what is asked meanwhile waits. A single call waits for nobody. It is for short commands that don't
// depend on each other, each of which may be carried out or fail by itself.
type Batch struct {
	client redis.UniversalClient
	apart  time.Duration
	most   int

	mu      sync.Mutex
	waiting []batched
	trips   int       // under way
	began   time.Time // when the last one did
	timed   bool      // a timer is going to start one
}

type batched struct {
	commands []redis.Cmder
	done     chan struct{}
}

// NewBatch returns a Batch over the client, whose time-outs bound a round trip. One is
// under way at a time.
func NewBatch(client redis.UniversalClient) *Batch { return &Batch{client: client, most: 1} }

// NewPacedBatch returns a Batch that doesn't wait for long where Redis is far away, or a
// connection hangs: while a round trip is under way the next one begins that much after
// it, or when it is full. Up to most are under way at a time.
func NewPacedBatch(client redis.UniversalClient, apart time.Duration, most int) *Batch {
	return &Batch{client: client, apart: apart, most: most}
}

// Do has the commands, made with redis.NewStringCmd and its like, sent in order.
// When it returns nil they have their results, each its own error. Another error
// is that of ctx: the commands may have been sent or not, and must not be looked at.
func (b *Batch) Do(ctx context.Context, commands ...redis.Cmder) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan struct{})
	b.mu.Lock()
	b.waiting = append(b.waiting, batched{commands, done})
	if b.due() {
		b.trips++
		go b.run(b.take()) //nolint:gosec // serves all callers: it must outlive the one who started it
	}
	b.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
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
	if len(b.waiting) == 0 || b.trips >= b.most {
		return false
	}
	wait := b.apart - time.Since(b.began)
	if b.trips == 0 || wait <= 0 || len(b.waiting) >= batchCalls {
		return true
	}
	if !b.timed {
		b.timed = true
		time.AfterFunc(wait, b.ring)
	}
	return false
}

// ring begins the round trip whose time has come.
func (b *Batch) ring() {
	b.mu.Lock()
	b.timed = false
	if !b.due() {
		b.mu.Unlock()
		return
	}
	b.trips++
	batch := b.take()
	b.mu.Unlock()
	b.run(batch)
}

// take returns what goes with a round trip that begins now. b.mu is held.
func (b *Batch) take() []batched {
	n := min(len(b.waiting), batchCalls)
	batch := slices.Clone(b.waiting[:n])
	if b.waiting = slices.Delete(b.waiting, 0, n); len(b.waiting) == 0 {
		b.waiting = nil
	}
	b.began = time.Now()
	return batch
}

// run makes a round trip, and further ones for as long as some are due.
func (b *Batch) run(batch []batched) {
	for {
		ctx := context.Background() // callers come and go; the client's time-outs hold
		pipe := b.client.Pipeline()
		for _, call := range batch {
			for _, c := range call.commands {
				_ = pipe.Process(ctx, c) // it is only queued
			}
		}
		_, _ = pipe.Exec(ctx) // each command has its own error
		for _, call := range batch {
			close(call.done)
		}
		b.mu.Lock()
		b.trips--
		if !b.due() {
			b.mu.Unlock()
			return
		}
		b.trips++
		batch = b.take()
		b.mu.Unlock()
	}
}
