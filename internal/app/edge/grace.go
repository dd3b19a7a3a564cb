package edge

import (
	"context"
	"slices"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/quota"
	"github.com/signalbox/signalbox/tenants"
)

// graceAgain is when an edge looks again after it has closed its part: others that
// looked a moment later have closed less than theirs.
const graceAgain = 10 * time.Second

// watchGrace sees to it that connections beyond a smaller plan's limit end with the
// grace that they have. g.mu is held.
func (g *registry) watchGrace(t *tenants.Document) {
	g.graceAt(t, time.Unix(t.GraceEnds, 0))
}

// graceAt is watchGrace for a time. g.mu is held.
func (g *registry) graceAt(t *tenants.Document, at time.Time) {
	if timer := g.graces[t.ID]; timer != nil {
		timer.Stop()
		delete(g.graces, t.ID)
	}
	if t.GraceEnds == 0 || g.ended || time.Since(time.Unix(t.GraceEnds, 0)) > tenants.GraceOver {
		return
	}
	if g.graces == nil {
		g.graces = make(map[tenants.ID]*time.Timer)
	}
	g.graces[t.ID] = time.AfterFunc(time.Until(at), func() {
		g.mu.Lock()
		if g.ended {
			g.mu.Unlock()
			return
		}
		g.ending.Add(1) // close waits for it
		g.mu.Unlock()
		defer g.ending.Done()
		g.graceEnded(t.ID)
	})
}

// graceEnded closes this edge's part of the connections beyond the limit, the newest
// first.
func (g *registry) graceEnded(id tenants.ID) {
	t, known := g.directory.Cached(id)
	if !known || t.GraceEnds == 0 || time.Now().Before(time.Unix(t.GraceEnds, 0)) {
		return
	}
	in := t.LimitsAt(time.Now())
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	excess, err := g.limits.connections.Excess(ctx, id, mostConnections(t, in))
	if err != nil {
		g.log.Warn("connections beyond a smaller plan's limit not closed, trying again", "tenant_id", id, "error", err)
	}
	if excess > 0 {
		var all []*hubs.Connection
		for _, s := range g.of(id) {
			s.server.Each(func(c *hubs.Connection) { all = append(all, c) })
		}
		slices.SortFunc(all, func(a, b *hubs.Connection) int { return b.OpenedAt().Compare(a.OpenedAt()) })
		row, _ := tenants.Row("max_connections")
		text := (&quota.Refusal{Limit: row.Refusal(in, 0)}).Error()
		for _, c := range all[:min(excess, len(all))] {
			c.Close(text, false)
			g.limits.refused(id, c.Hub(), row.Code)
		}
		g.log.Info("connections closed beyond a smaller plan's limit", "tenant_id", id, "count", min(excess, len(all)))
	}
	if excess > 0 || err != nil {
		g.mu.Lock()
		g.graceAt(t, time.Now().Add(graceAgain))
		g.mu.Unlock()
	}
}
