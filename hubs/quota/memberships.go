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

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

const (
	// tellEvery is how often edges tell each other of memberships that came or went.
	tellEvery = time.Second
	// tellAgain is how often they do where nothing changes, in steps of tellEvery.
	tellAgain = 30
	// mostReserved is the part of what is free that an edge reserves at a time: one in so
	// many, or in as many as there are edges.
	mostReserved = 4
	// reservedFor is how many seconds what is reserved counts.
	reservedFor = 2
	// askPause is the least time between two questions for more where there was nothing.
	askPause = 20 * time.Millisecond
	// joinPatience bounds how long a join waits for more to be reserved.
	joinPatience = 50 * time.Millisecond
	// joinAsks is how often it asks at most: others may take what comes.
	joinAsks = 3
)

var membershipsRow = row("max_group_memberships")

// tellMemberships writes how many memberships this run has, reserves some for it, and
// returns how many the others have and how many are reserved. What is reserved counts for
// reservedFor seconds; whoever hasn't joined for longer asks again with the first join.
// KEYS: the hash run → count, or count+reserved@second. ARGV: run, count (” = it has
// nothing to do with the tenant any more), life in seconds, limit.
var tellMemberships = redis.NewScript(`
local others, kept, runs = 0, 0, 1
local now = tonumber(redis.call('TIME')[1])
local counts = redis.call('HGETALL', KEYS[1])
for i = 1, #counts, 2 do
  if counts[i] ~= ARGV[1] then
    local n, reserved, at = string.match(counts[i + 1], '^(%d+)%+?(%d*)@?(%d*)$')
    if n then -- else it is of another version: what it has isn't known
      others, runs = others + n, runs + 1
      if reserved ~= '' and tonumber(at) <= now and now - at <= ` + strconv.Itoa(reservedFor) + ` then kept = kept + reserved end
    end
  end
end
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return {others, 0}
end
local parts = 2 -- alone, and somebody may come
if runs > 1 then parts = math.max(runs, ` + strconv.Itoa(mostReserved) + `) end
local reserved = math.max(0, math.ceil((ARGV[4] - ARGV[2] - others - kept) / parts))
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. '+' .. string.format('%d@%d', reserved, now))
redis.call('EXPIRE', KEYS[1], ARGV[3])
return {others, reserved}`)

// Memberships bounds how many group memberships the connections of a tenant have,
// over all edges. Joining a group hardly ever waits for Redis: an edge counts its own
// exactly, and knows those of the others as they were told last. It lets in what is
// reserved for it, a part of what is free, and has the next part reserved when half of that
// is used. Whoever is faster waits for one answer, and nobody where the last had nothing.
// So the limit isn't passed while Redis answers, but for what is let in while an edge asks
// that hasn't for a while; near it somebody may be refused for a moment while others have
// some reserved. While Redis is away edges go on with what they knew last.
type Memberships struct {
	redis redis.UniversalClient
	run   string
	log   *slog.Logger
	// poked has Run tell at once.
	poked    chan struct{}
	away     atomic.Bool
	patience time.Duration // joinPatience

	mu      sync.Mutex
	tenants map[tenants.ID]*budget
}

// NewMemberships counts for the edge with that run id. Run tells the others.
func NewMemberships(r redis.UniversalClient, run string, log *slog.Logger) *Memberships {
	return &Memberships{redis: r, run: run, log: log, poked: make(chan struct{}, 1), patience: joinPatience, tenants: make(map[tenants.ID]*budget)}
}

// budget is one tenant's memberships on this edge.
type budget struct {
	own, others atomic.Int64
	// allowed is up to where own may go, with what is reserved; told of own is known to the
	// others.
	allowed, told atomic.Int64
	heard         atomic.Int64 // when, in ticks; 0 = never: what is allowed isn't known then
	limit         atomic.Int64 // as it was at the last join
	refused       atomic.Bool  // since the others were last heard
	due           atomic.Bool  // the others have to be told at once
	silent        atomic.Int64 // what heard was when a join has waited in vain
	asking        sync.Mutex
	answered      chan struct{} // closed when the others are heard next; nil = nobody waits; guarded by asking
	hubs          int           // that take from it; guarded by Memberships.mu

	// Only Run uses these.
	rounds int  // since it was told
	known  bool // this run is in the hash
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
		b = &budget{rounds: tellAgain}
		b.limit.Store(int64(limit()))
		m.tenants[id] = b
		m.poke(b) // they have to be known
	}
	b.hubs++
	return &HubMemberships{m: m, id: id, budget: b, limit: limit}
}

// Join implements hubs.Memberships. The error is a *Refusal.
func (h *HubMemberships) Join() error {
	limit := int64(h.limit())
	b := h.budget
	if b.limit.Load() != limit {
		b.limit.Store(limit)
	}
	for asks := 0; ; asks++ {
		sum, joined, more := h.take(limit)
		if joined {
			return nil
		}
		if !more || asks == joinAsks || !h.m.ask(b) {
			return overMemberships(limit, sum)
		}
	}
}

// take takes one of the memberships that the edge knows to be free. Sum is how many there
// would be; more says that there may be others for it in Redis.
func (h *HubMemberships) take(limit int64) (sum int64, joined, more bool) {
	b := h.budget
	n := b.own.Add(1)
	sum = n + b.others.Load()
	if sum > limit {
		b.own.Add(-1)
		b.refused.Store(true)
		return sum, false, false
	}
	heard := b.heard.Load()
	if heard == 0 || h.m.away.Load() {
		return sum, true, false
	}
	allowed, told, age := b.allowed.Load(), b.told.Load(), ticks()-heard
	if n > allowed {
		b.own.Add(-1)
		return sum, false, allowed > told || age > int64(askPause)
	}
	if 2*n >= allowed+told || age > int64(tellEvery) { // half of it is used, or it may not count any more
		h.m.poke(b)
	}
	return sum, true, false
}

// ask has the others told, and reports whether they were heard in time.
func (m *Memberships) ask(b *budget) bool {
	heard := b.heard.Load()
	if m.patience == 0 || b.silent.Load() == heard {
		m.poke(b)
		return false
	}
	b.asking.Lock()
	if b.answered == nil {
		b.answered = make(chan struct{})
	}
	answered := b.answered
	b.asking.Unlock()
	m.poke(b)
	patience := time.NewTimer(m.patience)
	defer patience.Stop()
	select {
	case <-answered:
		return true
	case <-patience.C:
		b.silent.Store(heard)
		return false
	}
}

func overMemberships(limit, sum int64) *Refusal {
	refusal := refuse(membershipsRow, int(limit), 0, tellEvery)
	refusal.Value = sum
	return refusal
}

// poke has Run tell the others of a tenant's memberships at once.
func (m *Memberships) poke(b *budget) {
	if b.due.Swap(true) {
		return
	}
	select {
	case m.poked <- struct{}{}:
	default:
	}
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
			m.mu.Lock()
			for _, b := range m.tenants {
				b.rounds++
			}
			m.mu.Unlock()
		case <-m.poked:
		}
		err := m.tell(ctx)
		m.away.Store(err != nil)
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
		leaves bool
		answer *redis.Cmd
	}
	var words []word
	m.mu.Lock()
	for id, b := range m.tenants {
		own, leaves := b.own.Load(), false
		if own == 0 && b.hubs == 0 {
			if !b.known {
				delete(m.tenants, id)
				continue
			}
			leaves = true
		}
		due := b.due.Swap(false)
		if due || leaves || own != b.told.Load() || b.refused.Load() || b.rounds >= tellAgain {
			words = append(words, word{id: id, budget: b, own: own, leaves: leaves})
		}
	}
	m.mu.Unlock()
	if len(words) == 0 {
		return nil
	}
	for _, w := range words {
		if w.budget.refused.Load() {
			// The limit is in the way: whose edge is dead doesn't count.
			dropDead(m.redis, redisclient.MembershipCounts(w.id), m.run)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	pipe := m.redis.Pipeline()
	for i, w := range words {
		said := strconv.FormatInt(w.own, 10)
		if w.leaves {
			said = ""
		}
		words[i].answer = tellMemberships.Eval(ctx, pipe, []string{redisclient.MembershipCounts(w.id)}, m.run, said, int(countsLife.Seconds()), w.budget.limit.Load())
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("tell group memberships: %w", err)
	}
	for _, w := range words {
		answer, err := w.answer.Int64Slice()
		if err != nil {
			return fmt.Errorf("hear group memberships: %w", err)
		}
		b := w.budget
		b.others.Store(answer[0])
		b.allowed.Store(w.own + answer[1])
		b.told.Store(w.own)
		b.heard.Store(ticks())
		b.refused.Store(false)
		b.asking.Lock()
		if b.answered != nil {
			close(b.answered)
			b.answered = nil
		}
		b.asking.Unlock()
		b.rounds, b.known = 0, !w.leaves
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
