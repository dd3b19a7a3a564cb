package quota

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

const (
	// tellEvery is how often edges tell each other of memberships that came or went.
	tellEvery = time.Second
	// tellAgain is how often they do where nothing changes, in steps of tellEvery.
	tellAgain = 30
)

// tellMemberships writes how many memberships this run has and returns the sum of
// the others'. KEYS: the hash run → count. ARGV: run, count, life in seconds.
var membershipsRow = row("max_group_memberships")

var tellMemberships = redis.NewScript(`
if ARGV[2] == '0' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
local others = 0
local counts = redis.call('HGETALL', KEYS[1])
for i = 1, #counts, 2 do
  if counts[i] ~= ARGV[1] then others = others + tonumber(counts[i + 1]) end
end
return others`)

// Memberships bounds how many group memberships the connections of a tenant have,
// over all edges. Joining a group never waits for Redis: an edge counts its own
// exactly, and knows those of the others as of a second ago, so that a limit can be
// passed by what is let in within that second and no more. While Redis is
// away it goes on with what it knew last.
type Memberships struct {
	redis redis.UniversalClient
	run   string
	log   *slog.Logger

	mu      sync.Mutex
	tenants map[tenants.ID]*budget
}

// NewMemberships counts for the edge with that run id. Run tells the others.
func NewMemberships(r redis.UniversalClient, run string, log *slog.Logger) *Memberships {
	return &Memberships{redis: r, run: run, log: log, tenants: make(map[tenants.ID]*budget)}
}

// budget is one tenant's memberships on this edge.
type budget struct {
	own, others atomic.Int64
	refused     atomic.Bool // since the others were last heard
	hubs        int         // that take from it; guarded by Memberships.mu

	// Only Run uses these.
	told   int64
	rounds int // since it was told
}

// HubMemberships is what one hub's connections take from their tenant's memberships.
type HubMemberships struct {
	m      *Memberships
	id     tenants.ID
	budget *budget
	limit  func() int
}

var _ hubs.Memberships = (*HubMemberships)(nil)

// Hub returns what a hub of the tenant takes from; limit returns the limit as it is
// now. It is to be closed when the hub has no connections any more.
func (m *Memberships) Hub(id tenants.ID, limit func() int) *HubMemberships {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.tenants[id]
	if b == nil {
		b = &budget{rounds: tellAgain} // the others are heard at once
		m.tenants[id] = b
	}
	b.hubs++
	return &HubMemberships{m: m, id: id, budget: b, limit: limit}
}

// Join implements hubs.Memberships. The error is a *Refusal.
func (h *HubMemberships) Join() error {
	limit := int64(h.limit())
	n := h.budget.own.Add(1)
	if sum := n + h.budget.others.Load(); sum > limit {
		h.budget.own.Add(-1)
		h.budget.refused.Store(true)
		refusal := refuse(membershipsRow, int(limit), 0, tellEvery)
		refusal.Value = sum
		return refusal
	}
	return nil
}

// Leave implements hubs.Memberships.
func (h *HubMemberships) Leave(n int) { h.budget.own.Add(-int64(n)) }

// Close ends the hub's use of it.
func (h *HubMemberships) Close() {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	h.budget.hubs--
}

// Joined is how many memberships the tenant's connections on this edge have.
func (m *Memberships) Joined(id tenants.ID) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b := m.tenants[id]; b != nil {
		return int(b.own.Load())
	}
	return 0
}

// Run tells the others what this edge has, and hears what they have, until ctx is
// done; then it takes this edge's counts out of Redis.
func (m *Memberships) Run(ctx context.Context) error {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return m.leave(context.WithoutCancel(ctx))
		case <-tick.C:
		}
		err := m.tell(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			m.log.Warn("group memberships not counted in redis, keeping what the others had", "error", err)
		}
		failed = err != nil
	}
}

// tell writes what has changed and reads what the others have, and forgets tenants
// that have nothing.
func (m *Memberships) tell(ctx context.Context) error {
	type word struct {
		id     tenants.ID
		budget *budget
		own    int64
		others *redis.Cmd
	}
	var words []word
	m.mu.Lock()
	for id, b := range m.tenants {
		own := b.own.Load()
		b.rounds++
		switch {
		case own != b.told, b.refused.Load(), b.hubs > 0 && b.rounds >= tellAgain:
			words = append(words, word{id: id, budget: b, own: own})
		case own == 0 && b.hubs == 0:
			delete(m.tenants, id)
		}
	}
	m.mu.Unlock()
	if len(words) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	pipe := m.redis.Pipeline()
	for i, w := range words {
		if w.budget.refused.Load() {
			// The limit is in the way: whose edge is dead doesn't count.
			dropDead(m.redis, redisclient.MembershipCounts(w.id), m.run)
		}
		words[i].others = tellMemberships.Eval(ctx, pipe, []string{redisclient.MembershipCounts(w.id)}, m.run, w.own, int(countsLife.Seconds()))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("tell group memberships: %w", err)
	}
	for _, w := range words {
		others, err := w.others.Int64()
		if err != nil {
			return fmt.Errorf("hear group memberships: %w", err)
		}
		w.budget.others.Store(others)
		w.budget.refused.Store(false)
		w.budget.told, w.budget.rounds = w.own, 0
	}
	return nil
}

// leave takes this run out of all counts.
func (m *Memberships) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	m.mu.Lock()
	defer m.mu.Unlock()
	pipe := m.redis.Pipeline()
	for id := range m.tenants {
		pipe.HDel(ctx, redisclient.MembershipCounts(id), m.run)
	}
	if pipe.Len() == 0 {
		return nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("take back group memberships: %w", err)
	}
	return nil
}
