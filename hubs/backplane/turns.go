package backplane

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/internal/turns"
	"github.com/signalbox/signalbox/tenants"
)

// Redis carries out one command after the other: what is under way when a publish
// comes is what it waits for. So a process has few round trips under way, of which
// no tenant has all, and tenants take turns for them, counted in bytes.
const (
	// roundTrips is how many there may be at a time; the pool of connections serves
	// others, too.
	roundTrips    = 24
	tripsOfTenant = 16
	underWay      = 4 << 20
	ofTenant      = 2 << 20
	publishTurn   = 128 << 10
	// Small publishes to several hubs share round trips: a system call costs Redis as
	// much as one of them, and what is carried out together also shares the writes of
	// doorbells. So a trip begins tripsApart after the last at the soonest, which is what
	// a publish in a rush waits, or with as many publishes as one tenant can have under
	// way, and up to sharedTrips are under way at a time. Who publishes one after the other
	// shares with nobody, and waits for nobody.
	tripsApart  = time.Millisecond
	sharedTrips = 4
	// entryCost is what each entry counts beside its bytes: Redis works as long for a
	// small one as it copies so much.
	entryCost = 1 << 10

	// tenantQueueBytes is how much a tenant's publishes that wait may have in a
	// process, to all hubs together.
	tenantQueueBytes = 32 << 20
	// codeBacklog refuses publishes of a tenant of which too much waits already.
	codeBacklog = "publish_backlog"
)

func newTurns() *turns.Queue {
	return turns.New(turns.Options{Places: roundTrips, MostPlaces: tripsOfTenant, Cost: underWay, MostCost: ofTenant, Turn: publishTurn})
}

// party is a tenant whose publishes wait for their turns.
type party struct {
	turns.Party
	bytes      atomic.Int64 // that wait
	publishers int          // guarded by Redis.mu
}

// party returns that of a tenant; r.mu is held.
func (r *Redis) party(t tenants.ID) *party {
	p := r.parties[t]
	if p == nil {
		p = new(party)
		r.parties[t] = p
	}
	p.publishers++
	return p
}

// dismiss drops the party of a tenant whose last publisher is forgotten; r.mu is held.
func (r *Redis) dismiss(t tenants.ID) {
	if p := r.parties[t]; p != nil {
		if p.publishers--; p.publishers == 0 {
			delete(r.parties, t)
		}
	}
}

// admit counts bytes that are going to wait, unless there are too many.
func (p *party) admit(bytes int) error {
	if all := p.bytes.Add(int64(bytes)); all > tenantQueueBytes {
		p.bytes.Add(-int64(bytes))
		return &hubs.OverloadError{
			Code: codeBacklog, Own: true, RetryAfter: time.Second,
			Text: fmt.Sprintf("More than %d MiB of the tenant's publishes wait for the message bus on this edge. Wait for answers before sending more.", tenantQueueBytes>>20),
		}
	}
	return nil
}

// costOf is what a round trip with these counts, as far as it takes them.
func costOf(list []*request) int {
	cost := 0
	for _, q := range list {
		if cost += entryCost + len(q.entry); cost >= batchBytes {
			return min(cost, ofTenant)
		}
	}
	return cost
}

// enter waits until it is the turn of p's tenant, first for replicas where the round
// trip waits for those. Price is what the round trip counts. leave must be called.
// When the backplane closes nobody waits. The order matters: who has a place for
// replicas and waits for the turn delays the few that wait for replicas too, by
// milliseconds of its own tenant's turns; the other way round whoever waits up to
// replicaPatience for such a place would hold one of everybody's meanwhile.
func (r *Redis) enter(p *publisher, price func() int, replicas bool) (leave func()) {
	noReplicas := func() {}
	for replicas && r.ctx.Err() == nil {
		if end, err := r.waits.enter(r.ctx, p.tenant); err == nil {
			noReplicas = end
			break
		}
	}
	cost, err := r.turns.Enter(r.ctx, &p.party.Party, price)
	if err != nil {
		return noReplicas
	}
	return func() {
		r.turns.Leave(&p.party.Party, cost, 0)
		noReplicas()
	}
}
