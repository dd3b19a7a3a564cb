package edge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/quota"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// HeaderSimulate of a REST request names the limit that is to refuse it.
const HeaderSimulate = "Signalbox-Simulate"

const (
	codeSimulator = "simulator_production"
	// simulatedFor is how long it is remembered that a token's refusal was given.
	simulatedFor = time.Hour
)

// atConnect are the limits that refuse connections; simulated, they do so at the first
// request. Those of calls refuse the connection's first call.
var atConnect = map[string]bool{
	"max_connections": true, "connects_per_second": true, "max_connections_per_user": true, "max_hubs": true,
	"connects_per_ip_per_second": true, "max_connections_per_ip": true,
}

// simulated returns the refusal of a limit that somebody wants to see, of one that
// refuses something. In production there is none.
func simulated(t *tenants.Document, name string) (*quota.Refusal, error) {
	if t.Environment != tenants.Development {
		return nil, fault.New(fault.Forbidden, "Refusals are simulated for development tenants alone; this one is for production.").WithCode(codeSimulator)
	}
	r, ok := tenants.Row(name)
	if !ok || r.Code == "" {
		return nil, fault.InvalidFields(fault.Field{
			Name: HeaderSimulate + " or the token's sbx.simulate", Message: fmt.Sprintf("%q is no limit that refuses anything", name),
			Accepted: "the name of a limit with a code, see GET /v1/tenants/{tenant}/limits",
		})
	}
	return &quota.Refusal{Limit: r.Refusal(t.LimitsAt(time.Now()), time.Second)}, nil
}

// simulateREST refuses a REST request that asks for it.
func (b *backends) simulateREST(r *http.Request, t *tenants.Document) error {
	name := r.Header.Get(HeaderSimulate)
	if name == "" {
		return nil
	}
	refusal, err := simulated(t, name)
	if err != nil {
		return err
	}
	return b.asAnswer(refusal)
}

// simulateConnect refuses the first request of a connection when its token asks for
// that; once, whatever edge it reaches.
func (c *clients) simulateConnect(ctx context.Context, t *tenants.Document, p *accesstoken.Principal, token string) error {
	if p.Simulate == "" {
		return nil
	}
	refusal, err := simulated(t, p.Simulate)
	if err != nil || !atConnect[p.Simulate] {
		return err
	}
	sum := sha256.Sum256([]byte(token))
	first, err := c.limits.redis.SetNX(ctx, redisclient.Simulated(t.ID, hex.EncodeToString(sum[:16])), 1, simulatedFor).Result()
	if err != nil || !first {
		return nil //nolint:nilerr // Redis is away: nothing is simulated
	}
	return refusal
}

// forced is the limit that a connection's token wants to refuse its first call.
func forced(c *hubs.Connection) string {
	p, ok := c.Principal().Authentication.(*accesstoken.Principal)
	if !ok || atConnect[p.Simulate] {
		return ""
	}
	return p.Simulate
}
