package edge

import (
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/serverconn"
	"github.com/signalbox/signalbox/tenants"
)

// deletedEvery is how often it is looked whether hubs of deleted tenants are empty.
const deletedEvery = 2 * time.Second

// watchKeys sees to it that connections end with the access key that they came with,
// when it was replaced and is good for a while more. Tokens that come later are judged
// by the clock.
func (g *registry) watchKeys(t *tenants.Document) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watch(t)
}

// watch is watchKeys; g.mu is held.
func (g *registry) watch(t *tenants.Document) {
	next := t.NextEnd(time.Now())
	if timer := g.keyEnds[t.ID]; timer != nil {
		timer.Stop()
		delete(g.keyEnds, t.ID)
	}
	if next.IsZero() || g.ended {
		return
	}
	if g.keyEnds == nil {
		g.keyEnds = make(map[tenants.ID]*time.Timer)
	}
	g.keyEnds[t.ID] = time.AfterFunc(time.Until(next), func() { g.keysEnded(t.ID) })
}

// keysEnded closes what came with keys that are no longer good.
func (g *registry) keysEnded(id tenants.ID) {
	t, known := g.directory.Cached(id)
	if !known {
		return // nothing of it is here
	}
	now, ended := time.Now(), make(map[string]bool)
	for _, k := range t.Keys {
		ended[k.ID] = !k.Good(now)
	}
	closed := 0
	for _, s := range g.of(id) {
		closed += s.server.CloseWhere(func(c *hubs.Connection) bool { return ended[tokenOf(c).KeyID] }, reasonRevoked, false)
	}
	g.servers.CloseWhere(func(a *serverconn.Admission, _ bool) bool {
		return a.Hub.Tenant == id && ended[a.Credential.KeyID]
	}, reasonRevoked)
	if closed > 0 {
		g.log.Info("connections closed with the end of a replaced key", "tenant_id", id, "count", closed)
	}
	g.watchKeys(t)
}

// takeDeleted removes the hubs of deleted tenants from which all connections are gone,
// and returns them.
func (g *registry) takeDeleted() (all []*servedHub) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining {
		return nil
	}
	for id := range g.deleted {
		th := g.tenants[id]
		if th != nil {
			for name, s := range th.served {
				if s.server.IdleFor() > 0 {
					all = append(all, s)
					delete(th.served, name)
				}
			}
			if len(th.served) > 0 {
				continue
			}
			delete(g.tenants, id)
		}
		delete(g.deleted, id)
	}
	return all
}
