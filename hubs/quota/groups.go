package quota

import (
	"hash/maphash"
	"sync"

	"github.com/signalbox/signalbox/hubs/internal/pace"
	"github.com/signalbox/signalbox/tenants"
)

const (
	groupShards = 64
	// groupsPerShard bounds the groups that are remembered. Those that may send as
	// much as ever are forgotten first; when none is, all begin anew.
	groupsPerShard = 2048
)

var groupRow = row("group_publishes_per_second")

// Groups bounds the publishes to one group on this edge.
type Groups struct {
	figures *Figures
	seed    maphash.Seed
	shards  [groupShards]groupShard
}

type groupShard struct {
	mu     sync.Mutex
	meters map[groupKey]*groupMeters
}

type groupKey struct {
	tenant     tenants.ID
	hub, group string
}

type groupMeters struct{ enforced, tried pace.Meter }

// NewGroups returns a Groups; figures may be nil.
func NewGroups(figures *Figures) *Groups {
	return &Groups{figures: figures, seed: maphash.MakeSeed()}
}

// Charge counts one publish to each of the groups, unless one of them or others, which
// asks the other limits, refuses it: then it counts for none. A group's refusal is a
// *Refusal, and others isn't asked; its error is returned as it is.
func (g *Groups) Charge(t tenants.ID, hub string, groups []string, l *tenants.Limits, others func() error) error {
	now := ticks()
	limit := pace.Limit{PerSecond: int64(max(1, l.GroupPublishesPerSecond)), Burst: int64(groupRow.Burst(l))}
	for i, group := range groups {
		if err := g.charge(groupKey{t, hub, group}, now, limit, l); err != nil {
			g.giveBack(t, hub, groups[:i], limit)
			return err
		}
	}
	if err := others(); err != nil {
		g.giveBack(t, hub, groups, limit)
		return err
	}
	if l.Tried != nil && l.Tried.GroupPublishesPerSecond > 0 {
		for _, group := range groups {
			g.try(groupKey{t, hub, group}, now, l)
		}
	}
	return nil
}

func (g *Groups) shard(k groupKey) *groupShard {
	return &g.shards[maphash.String(g.seed, k.group)%groupShards]
}

func (g *Groups) charge(k groupKey, now int64, limit pace.Limit, l *tenants.Limits) error {
	s := g.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.meters[k]
	if m == nil {
		if len(s.meters) >= groupsPerShard {
			s.forget(now)
		}
		if s.meters == nil {
			s.meters = make(map[groupKey]*groupMeters)
		}
		m = new(groupMeters)
		s.meters[k] = m
	}
	if m.enforced.Over(now, limit) {
		return refuse(groupRow, l.GroupPublishesPerSecond, groupRow.Burst(l), m.enforced.Until(now, limit))
	}
	return nil
}

// giveBack takes back what charge has counted for groups.
func (g *Groups) giveBack(t tenants.ID, hub string, groups []string, limit pace.Limit) {
	for _, group := range groups {
		k := groupKey{t, hub, group}
		s := g.shard(k)
		s.mu.Lock()
		if m := s.meters[k]; m != nil {
			m.enforced.Back(limit)
		}
		s.mu.Unlock()
	}
}

// try counts a publish that was accepted against the value that is only tried out.
func (g *Groups) try(k groupKey, now int64, l *tenants.Limits) {
	s := g.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	tried := pace.Limit{PerSecond: int64(l.Tried.GroupPublishesPerSecond), Burst: int64(max(l.Tried.GroupPublishesPerSecond, l.GroupPublishBurst))}
	if m := s.meters[k]; m != nil && m.tried.Over(now, tried) {
		g.figures.Would(k.tenant, groupRow.Name)
	}
}

// forget makes room; s.mu is held.
func (s *groupShard) forget(now int64) {
	for k, m := range s.meters {
		if m.enforced.Idle(now) && m.tried.Idle(now) {
			delete(s.meters, k)
		}
	}
	if len(s.meters) >= groupsPerShard {
		clear(s.meters)
	}
}
