package upstream

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// requestsRow is the limit of a tenant's requests that are under way.
var requestsRow = func() tenants.LimitRow {
	r, ok := tenants.Row("max_upstream_requests")
	if !ok {
		panic("upstream: no limit of requests")
	}
	return r
}()

// LimitEvent is what an upstream is told of one of its tenant's limits.
type LimitEvent struct {
	// Reached: it was hit, or all of it is in use; else most of it is.
	Reached bool
	fault.Limit
	Used int64 // over all edges; 0 = it isn't a number that is kept
}

// limitMessage is the body of such a request.
type limitMessage struct {
	Type   string `json:"type"`
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	At     string `json:"at"`
	fault.Limit
	Used int64 `json:"used,omitempty"`
}

// TellLimit tells a tenant's upstreams of a limit: those in native mode that have a rule
// whose category names limits, each URL once. It doesn't wait. Events are repeated and
// bounded as those of connections are.
func (g *Gateway) TellLimit(doc *tenants.Document, e LimitEvent) {
	kind := tenants.EventLimitWarning
	if e.Reached {
		kind = tenants.EventLimitReached
	}
	g.tell(doc, kind, func() (string, any) {
		id := "limit." + strings.ToLower(rand.Text())
		return id, limitMessage{
			Type: "limit." + kind, ID: id, Tenant: doc.Slug, At: time.Now().UTC().Format(time.RFC3339Nano), Limit: e.Limit, Used: e.Used,
		}
	})
}

// budgetMessage is the body of a request that tells of a budget.
type budgetMessage struct {
	Type   string               `json:"type"`
	ID     string               `json:"id"`
	Tenant string               `json:"tenant"`
	At     time.Time            `json:"at"`
	Meter  tenants.BudgetMeter  `json:"meter"`
	Budget int64                `json:"budget"`
	Step   int                  `json:"step"` // percent
	Used   int64                `json:"used"`
	Action tenants.BudgetAction `json:"action"`
	From   time.Time            `json:"from"`
	To     time.Time            `json:"to"`
}

// TellBudget tells a tenant's upstreams, as TellLimit does, that a step of its account's
// budget was reached. Told again, the event has the same id.
func (g *Gateway) TellBudget(doc *tenants.Document, n tenants.DocBudgetNotice) {
	g.tell(doc, tenants.EventBudget, func() (string, any) {
		return n.ID(), budgetMessage{
			Type: "budget.reached", ID: n.ID(), Tenant: doc.Slug, At: n.ToldAt, Meter: n.Meter, Budget: n.Budget, Step: n.Step, Used: n.Used,
			Action: n.Action, From: n.From, To: n.To,
		}
	})
}

// tell posts what message makes, an id and a body, to each URL that a native upstream's
// rule names for an event of limits.
func (g *Gateway) tell(doc *tenants.Document, kind string, message func() (string, any)) {
	told := make(map[string]bool)
	for hub, settings := range doc.Hubs {
		settings = settings.WithDefaults()
		if !settings.Upstream.Set() || settings.Upstream.Mode != tenants.UpstreamNative {
			continue
		}
		u := settings.Upstream.WithDefaults()
		rule, ok := u.Match(hub, tenants.CategoryLimits, kind)
		if !ok {
			continue
		}
		url, ok := rule.Expand(hub, tenants.CategoryLimits, kind)
		if !ok || told[url] {
			continue
		}
		told[url] = true
		id, body := message()
		g.tellNative(doc, hub, kind, url, time.Duration(u.TimeoutSeconds)*time.Second, id, body)
	}
}

func (g *Gateway) tellNative(doc *tenants.Document, hub, kind, url string, timeout time.Duration, id string, m any) {
	var body bytes.Buffer
	if err := json.NewEncoder(&body).Encode(m); err != nil {
		g.logger.Error("event of a limit not encoded", "tenant_id", doc.ID, "error", err)
		return
	}
	text := bytes.TrimSuffix(body.Bytes(), []byte("\n"))
	h := make(http.Header)
	h.Set("Content-Type", jsonType)
	t := g.tenantOf(doc.ID)
	defer g.leave(t)
	t.events.add(&event{post: &post{
		hub: hub, category: tenants.CategoryLimits, event: kind, mode: tenants.UpstreamNative, messageID: id,
		url: url, header: h, sign: nativeSignature(doc, id, text), body: text, timeout: timeout, limit: maxEventResponse, attempt: 1, retries: true,
	}, native: true})
}
