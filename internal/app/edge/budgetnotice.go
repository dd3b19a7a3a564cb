package edge

import (
	"context"
	"maps"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// mostNotices bounds those that wait for Redis; more are told by other edges or nobody.
const mostNotices = 10_000

type noticeKey struct {
	tenant tenants.ID
	id     string
}

// notice is a step of a budget of which a tenant's webhooks may have to be told.
type notice struct {
	doc *tenants.Document
	of  tenants.DocBudgetNotice
}

// note takes the notices of a document, which all edges get that know the tenant.
func (b *budgets) note(doc *tenants.Document) {
	if len(doc.BudgetNotices) == 0 || !tellsLimits(doc) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range doc.BudgetNotices {
		key := noticeKey{doc.ID, n.ID()}
		if b.now().Sub(n.ToldAt) > tenants.NoticeFresh || len(b.notices) >= mostNotices {
			continue
		}
		if b.notices == nil {
			b.notices = make(map[noticeKey]notice)
		}
		b.notices[key] = notice{doc, n}
	}
}

// tellsLimits reports whether a webhook of the tenant may want to know.
func tellsLimits(doc *tenants.Document) bool {
	for _, s := range doc.Hubs {
		if s.Upstream.Set() && s.Upstream.Mode == tenants.UpstreamNative {
			return true
		}
	}
	return false
}

// tellNotices tells webhooks of what nobody else has told them. What an edge has taken
// on and dies with isn't told.
func (b *budgets) tellNotices(ctx context.Context) {
	b.mu.Lock()
	waiting := maps.Clone(b.notices)
	b.mu.Unlock()
	for key, n := range waiting {
		asking, cancel := context.WithTimeout(ctx, spendTimeout)
		first, err := b.redis.SetNX(asking, redisclient.BudgetNotice(key.tenant, key.id), b.edgeRun, 2*tenants.NoticeFresh).Result()
		cancel()
		if err != nil && b.now().Sub(n.of.ToldAt) <= tenants.NoticeFresh {
			return // Redis is away, which is logged: they wait
		}
		if err != nil {
			b.log.Warn("webhooks not told of a budget", "tenant_id", key.tenant, "error", err)
		}
		b.mu.Lock()
		delete(b.notices, key)
		b.mu.Unlock()
		if first {
			b.hubs.upstreams.TellBudget(n.doc, n.of)
		}
	}
}
