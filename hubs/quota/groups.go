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

// Charge counts one publish to each of the groups. The error is a *Refusal: one that is
// beyond its rate refuses the publish, which then counts for those before it alone.
func (g *Groups) Charge(t tenants.ID, hub string, groups []string, l *tenants.Limits) error {
	now := ticks()
	limit := pace.Limit{PerSecond: int64(max(1, l.GroupPublishesPerSecond)), Burst: int64(groupRow.Burst(l))}
	for _, group := range groups {
		if err := g.charge(groupKey{t, hub, group}, now, limit, l); err != nil {
			return err
		}
	}
	return nil
}

func (g *Groups) charge(k groupKey, now int64, limit pace.Limit, l *tenants.Limits) error {
	s := &g.shards[maphash.String(g.seed, k.group)%groupShards]
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
	if l.Tried != nil && l.Tried.GroupPublishesPerSecond > 0 {
		tried := pace.Limit{PerSecond: int64(l.Tried.GroupPublishesPerSecond), Burst: int64(max(l.Tried.GroupPublishesPerSecond, l.GroupPublishBurst))}
		if m.tried.Over(now, tried) {
			g.figures.Would(k.tenant, groupRow.Name)
		}
	}
	if m.enforced.Over(now, limit) {
		return refuse(groupRow, l.GroupPublishesPerSecond, groupRow.Burst(l), m.enforced.Until(now, limit))
	}
	return nil
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
