package backplane

import (
	"context"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/tenants"
)

const (
	// replicaPatience is how long a replica may take, in milliseconds.
	replicaPatience = 250
	// waitsOfTenant and waitsOfAll are how many round trips may wait for replicas
	// at a time: each has a connection of the pool for as long, and the pool is
	// everybody's.
	waitsOfTenant = 2
	waitsOfAll    = 8
)

// waits are the round trips of this process that wait for replicas.
type waits struct {
	all chan struct{}

	mu      sync.Mutex
	tenants map[tenants.ID]*tenantWaits
}

type tenantWaits struct {
	slots chan struct{}
	users int // that have a slot or wait for one
}

func newWaits() *waits {
	return &waits{all: make(chan struct{}, waitsOfAll), tenants: make(map[tenants.ID]*tenantWaits)}
}

// enter returns once the tenant's turn has come; leave must be called then.
// Not later than after attemptPatience it gives up.
func (w *waits) enter(ctx context.Context, id tenants.ID) (leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	w.mu.Lock()
	t := w.tenants[id]
	if t == nil {
		t = &tenantWaits{slots: make(chan struct{}, waitsOfTenant)}
		w.tenants[id] = t
	}
	t.users++
	w.mu.Unlock()
	forget := func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(w.tenants, id)
		}
	}
	select {
	case t.slots <- struct{}{}:
	case <-ctx.Done():
		forget()
		return nil, fmt.Errorf("wait for replicas: %w", ctx.Err())
	}
	select {
	case w.all <- struct{}{}:
	case <-ctx.Done():
		<-t.slots
		forget()
		return nil, fmt.Errorf("wait for replicas: %w", ctx.Err())
	}
	return func() {
		<-w.all
		<-t.slots
		forget()
	}, nil
}

// wantReplicas reports whether one of the batch is to be on a replica.
func wantReplicas(batch []*request) bool {
	for _, q := range batch {
		if q.ack == hubs.AckReplicated {
			return true
		}
	}
	return false
}

// awaitReplicas has the round trip end with the number of replicas that have all
// of it.
func awaitReplicas(ctx context.Context, pipe redis.Pipeliner, seq uint64, publisher string) *redis.Cmd {
	// WAIT counts from the connection's own last write: one behind everything,
	// since an answer from memory writes nothing.
	pipe.HSet(ctx, publisher, "waits", seq)
	pipe.PExpire(ctx, publisher, publisherLife)
	return pipe.Do(ctx, "WAIT", 1, replicaPatience)
}

// replicated returns why the entry is on no replica for all we know.
func replicated(q *request, replicas *redis.Cmd) error {
	if q.ack != hubs.AckReplicated {
		return nil
	}
	if n, err := replicas.Int(); err != nil || n < 1 {
		return fmt.Errorf("publish: %w: %w", hubs.ErrNotReplicated, hubs.ErrOutcomeUnknown)
	}
	return nil
}
