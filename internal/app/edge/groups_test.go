package edge

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// SEC-27: a tenant's connections are in so many groups, over all hubs and edges;
// its neighbours have their own.
func TestGroupMemberships_are_bounded_over_edges_SEC_27(t *testing.T) {
	t.Parallel()
	demo, other := document("demo", 1), document("other", 1)
	demo.Limits.MaxMemberships, demo.Limits.MaxGroupsPerConn = 4, 100
	c := startCluster(t, demo, other)
	c.connect(0, demo, "chat", "ann")
	c.connect(1, demo, "news", "bob")
	c.connect(1, other, "chat", "eve")
	join := func(edge int, d *tenants.Document, hub, user string, n int) {
		t.Helper()
		res, body := c.do(http.MethodPut, fmt.Sprintf("%s/api/v1/hubs/%s/users/%s/groups/g%d", c.base(edge, d.Slug), hub, user, n), d.Keys[0].Secret, "", nil)
		if res.StatusCode >= 300 {
			t.Fatalf("join: %d %q", res.StatusCode, body)
		}
	}
	for n := range 3 {
		join(1, demo, "chat", "ann", n) // who is on edge 0
	}
	c.eventually("edge 1 knows of edge 0's", func() bool {
		return c.redis.HGet(t.Context(), redisclient.MembershipCounts(demo.ID), c.edges[0].run).Val() == "3"
	})
	server := func(edge int, d *tenants.Document, hub string) *servedHub { return c.edges[edge].hubs.of(d.ID)[hub] }
	c.eventually("one is left, and no more", func() bool {
		m := server(1, demo, "news").memberships
		n := 0
		for m.Join() == nil {
			n++
		}
		m.Leave(n)
		return n == 1
	})
	for n := range 10 {
		join(0, demo, "news", "bob", n)
		join(0, other, "chat", "eve", n)
	}
	groups := func(edge int, d *tenants.Document, hub string) (n int) {
		server(edge, d, hub).server.Each(func(c *hubs.Connection) { n += len(c.Groups()) })
		return n
	}
	c.eventually("edge 1 has heard of its clients' groups", func() bool { return groups(1, other, "chat") == 10 })
	for what, row := range map[string]struct{ got, want int }{
		"the three that were first": {groups(0, demo, "chat"), 3},
		"the one that was left":     {groups(1, demo, "news"), 1},
	} {
		if row.got != row.want {
			t.Errorf("%s: in %d groups, want %d", what, row.got, row.want)
		}
	}
}
