package edge

import (
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/tenants"
)

// SEC-18: connections beyond the limit of a smaller plan stay until the grace ends, no new
// ones come, and then the newest of each edge go.
func TestGrace_of_a_smaller_plan(t *testing.T) {
	t.Parallel()
	const most = 4
	d := document("demo", 1)
	c := startCluster(t, d)
	clients := map[string]*client{}
	for _, id := range []string{"0a", "1a", "0b", "1b", "0c", "1c"} { // edge and turn
		clients[id] = c.connect(int(id[0]-'0'), d, "chat", id)
	}
	smaller := func(revision, graceEnds int64) *tenants.Document {
		d := document("demo", revision)
		d.Limits.MaxConnections, d.GraceEnds = most, graceEnds
		return d
	}
	c.publish(smaller(2, time.Now().Add(time.Hour).Unix()))
	for _, e := range c.edges {
		c.eventually("the smaller limit is in force", func() bool {
			known, ok := e.directory.Cached(d.ID)
			return ok && known.Revision == 2
		})
	}
	if _, _, err := c.dial(0, 0, d, "chat", clientJWT(t, d, 0, "chat", "new")); err == nil || !strings.Contains(err.Error(), "max_connections") {
		t.Errorf("a new connection: %v", err)
	}
	c.send(0, d, "chat", "still", "x")
	for id, k := range clients {
		if f := k.next(); f.Target != "still" {
			t.Fatalf("%s got %+v", id, f)
		}
	}
	c.publish(smaller(3, time.Now().Unix()))
	for _, id := range []string{"0c", "1c"} {
		if f := clients[id].next(); f.Type != 7 || f.AllowReconnect || !strings.Contains(f.Error, "max_connections") {
			t.Errorf("%s got %+v", id, f)
		}
	}
	c.eventually("as many as may be", func() bool {
		return c.edges[0].limits.connections.Open(d.ID)+c.edges[1].limits.connections.Open(d.ID) == most
	})
	c.send(1, d, "chat", "after", "x")
	for _, id := range []string{"0a", "1a", "0b", "1b"} {
		if f := clients[id].next(); f.Target != "after" {
			t.Errorf("%s got %+v", id, f)
		}
	}
}
