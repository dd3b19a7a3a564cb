package edge

import (
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// TestBudgetNotice_is_told_once: all edges get the document with it, one of them posts.
func TestBudgetNotice_is_told_once(t *testing.T) {
	t.Parallel()
	url, posted := echo(t)
	d := document("demo", 1)
	d.Hubs = map[string]tenants.HubSettings{"chat": {Upstream: &tenants.Upstream{Mode: tenants.UpstreamNative, Rules: []tenants.UpstreamRule{{URL: url, Category: "limits"}}}}}
	c := startEdges(t, 3, d)
	for edge := range 3 {
		c.connect(edge, d, "chat", "ann")
	}
	now := time.Now().UTC().Truncate(time.Second)
	told := *d
	// The last one is of an allowance that refuses more.
	for i, step := range []int{80, 100} {
		told.Revision = int64(i + 2)
		n := tenants.DocBudgetNotice{Meter: tenants.MeterMessages, Budget: 1000, Step: step, Used: 801, Action: []tenants.BudgetAction{tenants.BudgetNotify, tenants.BudgetRefusePublish}[i], From: now, To: now.AddDate(0, 1, 0), ToldAt: now}
		// Those that were told before are in later documents, and so are old ones.
		told.BudgetNotices = append(told.BudgetNotices, n)
		old := n
		old.Step, old.ToldAt = 10, now.Add(-2*tenants.NoticeFresh)
		next := told
		next.BudgetNotices = append([]tenants.DocBudgetNotice{old}, told.BudgetNotices...)
		c.publish(&next)
		got := <-posted
		if !strings.HasPrefix(got, `/limits/budget {"type":"budget.reached","id":"`+n.ID()+`","tenant":"demo"`) ||
			!strings.Contains(got, `"meter":"messages","budget":1000,`) || !strings.Contains(got, `"used":801,"action":"`+string(n.Action)+`"`) {
			t.Errorf("posted %s", got)
		}
		if n := c.redis.Exists(t.Context(), redisclient.BudgetNotice(d.ID, n.ID())).Val(); n != 1 {
			t.Error("nobody has taken it on")
		}
	}
	for _, e := range c.edges {
		c.eventually("all edges have seen the last document", func() bool {
			known, ok := e.directory.Cached(d.ID)
			e.hubs.budgets.mu.Lock()
			defer e.hubs.budgets.mu.Unlock()
			return ok && known.Revision == 3 && len(e.hubs.budgets.notices) == 0
		})
	}
	if len(posted) > 0 {
		t.Errorf("posted %s", <-posted)
	}
}
