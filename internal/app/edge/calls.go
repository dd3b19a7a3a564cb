package edge

import (
	"context"
	"sync/atomic"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/quota"
	"github.com/signalbox/signalbox/tenants"
)

const (
	// codeCalls refuses an invocation of a client because as many of the tenant's are
	// under way.
	codeCalls = "too_many_calls_at_once"
	// leastCalls is how many invocations of a tenant's clients an edge has under way
	// whatever the plan.
	leastCalls = 256
)

// callsAtOnce is how many invocations of a tenant's clients an edge has under way:
// as many as come in a quarter of a second at the limit of messages, and some.
func callsAtOnce(l *tenants.Limits) int { return leastCalls + l.MessagesPerSecond/4 }

// callGate is the hub filter that bounds the invocations of a tenant's clients that
// are under way on an edge, and refuses them while the edge is short of memory; not those
// that only end something, which are few at a time of each connection. It comes before what costs: the count of messages, which may ask Redis, and whoever
// handles them.
type callGate struct {
	hubs.PassFilter
	underWay *atomic.Int64 // of the tenant
	limits   func() *tenants.Limits
	short    func() bool
	refused  func(code string)
}

// OnInvocation implements hubs.Filter.
func (g *callGate) OnInvocation(ctx context.Context, _ *hubs.Connection, m *protocol.Message, next func(context.Context) error) error {
	if quota.Ends(m.Target) {
		return next(ctx)
	}
	if g.short() {
		g.refused(codeMemory)
		return hubs.NewError(textMemory)
	}
	most := callsAtOnce(g.limits())
	defer g.underWay.Add(-1)
	if g.underWay.Add(1) > int64(most) {
		g.refused(codeCalls)
		return hubs.Errorf("%s: %d invocations of the tenant's clients are under way on this edge, which is all that may be. Wait for answers before calling again.", codeCalls, most)
	}
	return next(ctx)
}
