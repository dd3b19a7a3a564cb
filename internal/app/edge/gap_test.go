package edge

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// counted waits until the tenant's usage says that so many were refused by a code.
func (c *cluster) counted(d *tenants.Document, hub, code string, least int64) {
	c.t.Helper()
	c.eventually(code+" is counted for the tenant", func() bool { return c.refusals(d, hub, code) >= least })
}

// refusals is what the edges have written of a code so far.
func (c *cluster) refusals(d *tenants.Document, hub, code string) (n int64) {
	c.t.Helper()
	entries, err := c.redis.XRange(c.t.Context(), redisclient.UsageStream, "-", "+").Result()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, e := range entries {
		var f usage.Flush
		if err := json.Unmarshal([]byte(e.Values["flush"].(string)), &f); err != nil {
			c.t.Fatal(err)
		}
		for _, delta := range f.Deltas {
			if delta.Tenant == d.ID && delta.Hub == hub {
				n += delta.Refused[code]
			}
		}
	}
	return n
}

// Redis is emptied: the clients of a hub that wants to be told are told and go on,
// those of the others are closed and asked to come back; each is counted.
func TestGaps_are_told_or_end_the_connection(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	demo.Hubs = map[string]tenants.HubSettings{"told": {Gaps: tenants.TellGaps}}
	c := startCluster(t, demo)
	told, closed := c.connect(0, demo, "told", "ann"), c.connect(1, demo, "other", "bob")
	c.send(1, demo, "told", "news", "before")
	c.send(0, demo, "other", "news", "before")
	told.want("news", "before")
	closed.want("news", "before")
	if err := c.redis.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	f := told.next()
	if f.Type != 1 || f.Target != "$gap" || !strings.Contains(string(f.Arguments), `"reason":"epoch"`) || !strings.Contains(string(f.Arguments), `"from":"`) {
		t.Fatalf("got %+v, want a notice", f)
	}
	closed.wantClose("", true)
	c.publish(demo)
	c.send(1, demo, "told", "news", "after")
	told.want("news", "after")
	c.counted(demo, "told", "gap_notice", 1)
	c.counted(demo, "other", "history_gone", 1)

	// With the setting gone, the next loss ends the connection.
	plain := document("demo", 2)
	c.publish(plain)
	c.eventually("the setting is in force", func() bool {
		s, ok := c.edges[0].hubs.of(demo.ID)["told"]
		return ok && !s.server.Options().TellGaps
	})
	if err := c.redis.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	told.wantClose("", true)
}
