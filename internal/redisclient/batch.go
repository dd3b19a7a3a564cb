package redisclient

import (
	"context"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
)

// batchCalls is the most calls that one round trip carries.
const batchCalls = 128

// Batch lets calls that are made at the same time share round trips: while one is
// under way, what is asked meanwhile waits and goes with the next. A single call
// waits for nobody. It is for short commands that don't depend on each other, each
// of which may be carried out or fail by itself.
type Batch struct {
	client redis.UniversalClient

	mu      sync.Mutex
	waiting []batched
	running bool
}

type batched struct {
	commands []redis.Cmder
	done     chan struct{}
}

// NewBatch returns a Batch over the client, whose time-outs bound a round trip.
func NewBatch(client redis.UniversalClient) *Batch { return &Batch{client: client} }

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
	if !b.running {
		b.running = true
		go b.run() //nolint:gosec // serves all callers: it must outlive the one who started it
	}
	b.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run makes round trips until nobody waits; the last caller's answer ends it.
func (b *Batch) run() {
	for {
		b.mu.Lock()
		n := min(len(b.waiting), batchCalls)
		if n == 0 {
			b.waiting, b.running = nil, false
			b.mu.Unlock()
			return
		}
		batch := slices.Clone(b.waiting[:n])
		b.waiting = slices.Delete(b.waiting, 0, n)
		b.mu.Unlock()

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
	}
}
