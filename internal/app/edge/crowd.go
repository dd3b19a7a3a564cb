package edge

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs/rest"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

const (
	// codeCrowd refuses a REST request because as many of the tenant's are under way.
	codeCrowd = "too_many_requests_at_once"
	// leastAtOnce is how many REST requests of a tenant an edge has under way whatever
	// the plan.
	leastAtOnce = 64
)

// requestsAtOnce is how many REST requests of a tenant an edge has under way: as
// many as come in a tenth of a second at the limit of messages, and some.
func requestsAtOnce(l *tenants.Limits) int { return leastAtOnce + l.MessagesPerSecond/10 }

// crowd counts the REST requests of each tenant that are under way, so that one
// tenant's don't have all of an edge's memory and processor. The zero value has
// counted none.
type crowd struct {
	mu      sync.Mutex
	tenants map[tenants.ID]int
}

// enter counts a request until leave is called, or returns a *rest.LimitError. It
// comes before all that costs: the token's verification and the body. Requests that
// wait for a client's answer have a limit of their own.
func (c *crowd) enter(t *tenants.Document, path string) (leave func(), err error) {
	if strings.HasSuffix(path, ":invoke") {
		return func() {}, nil
	}
	most := requestsAtOnce(t.LimitsAt(time.Now()))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tenants[t.ID] >= most {
		return nil, &rest.LimitError{
			Limit: fault.Limit{
				Code: codeCrowd, Scope: string(tenants.ScopeTenant), Limit: "requests_at_once", Max: int64(most), Counted: fault.CountedEdge,
				RetryAfterMS: time.Second.Milliseconds(), Doc: fault.PagesURL + codeCrowd,
			},
			Text: fmt.Sprintf("%d requests of the tenant are under way on this edge. Wait for answers before sending more.", most),
		}
	}
	if c.tenants == nil {
		c.tenants = make(map[tenants.ID]int)
	}
	c.tenants[t.ID]++
	return func() { c.leave(t.ID) }, nil
}

func (c *crowd) leave(t tenants.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tenants[t]--; c.tenants[t] == 0 {
		delete(c.tenants, t)
	}
}
