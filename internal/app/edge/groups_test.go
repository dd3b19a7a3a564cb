package edge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/quota"
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
		told, _, _ := strings.Cut(c.redis.HGet(t.Context(), redisclient.MembershipCounts(demo.ID), c.edges[0].run).Val(), "+")
		return told == "3"
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

// Three edges whose clients ask for five times the memberships that there are let in the
// limit, within 2 %, and the console's figure is what was let in, within 1 % (F-25).
func TestGroupMemberships_are_exact_over_three_edges_F_25(t *testing.T) {
	t.Parallel()
	const most = 300
	d := limited("memberships", func(l *tenants.Limits) {
		l.MaxMemberships, l.MaxGroupsPerConn = most, 1000
		l.MessagesPerSecond, l.MessageBurst = 100_000, 100_000 // each join is a message, and they come as fast as the machine is
	})
	c := startEdges(t, 3, d)
	var all sync.WaitGroup
	var joined, refused atomic.Int64
	for i := range 15 {
		k := c.connect(i%3, d, "chat", fmt.Sprint("user-", i))
		all.Go(func() {
			for n := range 5 * most / 15 {
				switch f := k.call("$joinGroup", fmt.Sprint("room-", n)); {
				case f.Error == "", strings.Contains(f.Error, "outcome_unknown: "): // it is answered late, and counts
					joined.Add(1)
				case line(t, "completion", f.Error).Code == "group_limit":
					refused.Add(1)
				default:
					t.Errorf("refused otherwise: %s", f.Error)
				}
			}
		})
	}
	all.Wait()
	n := joined.Load()
	if n > most*102/100 || n < most*98/100 || n+refused.Load() != 5*most {
		t.Errorf("%d joined and %d were refused, want %d ± 2 %% of %d", n, refused.Load(), most, 5*most)
	}
	// A join that was refused for a moment, then let in, is among the refused.
	shown := int64(0)
	c.eventually("the console's figures are what was answered", func() bool {
		figures, err := quota.ReadFigures(t.Context(), c.redis, d.ID, time.Now())
		g := figures["max_group_memberships"]
		shown = g.Used
		return err == nil && shown*100 >= n*99 && shown*100 <= n*101 && g.Refused >= refused.Load() && g.Refused*100 <= refused.Load()*102
	})
	t.Logf("%d joined, %d were refused, %d are shown", n, refused.Load(), shown)
}

// A join that a limit refuses is counted as refused, and never as a message.
func TestGroups_refused_joins_are_not_metered(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*tenants.Limits){
		"of a connection": func(l *tenants.Limits) { l.MaxGroupsPerConn = 2 },
		"of all":          func(l *tenants.Limits) { l.MaxMemberships = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := limited("unmetered", set)
			c := startCluster(t, d)
			k := c.connect(0, d, "chat", "ann")
			joined, refused := 0, 0
			for i := range 8 {
				f := k.call("$joinGroup", fmt.Sprint("room-", i))
				if f.Error == "" {
					joined++
				} else if refused++; line(t, "completion", f.Error).Code != "group_limit" && line(t, "completion", f.Error).Code != "too_many_groups" {
					t.Errorf("refused otherwise: %s", f.Error)
				}
			}
			k.done("$joinGroup", "room-0") // it is in it
			if joined == 0 || joined > 2 || refused < 6 {
				t.Fatalf("%d joined, %d were refused", joined, refused)
			}
			for _, end := range c.ends {
				if err := end(); err != nil {
					t.Fatal(err)
				}
			}
			entries, err := c.redis.XRange(t.Context(), redisclient.UsageStream, "-", "+").Result()
			if err != nil {
				t.Fatal(err)
			}
			accepted := int64(0)
			for _, e := range entries {
				var f usage.Flush
				if err := json.Unmarshal([]byte(e.Values["flush"].(string)), &f); err != nil {
					t.Fatal(err)
				}
				for _, a := range f.Accepted {
					accepted = max(accepted, a.Total) // of one minute; a turn of it would show less
				}
			}
			if accepted == 0 || accepted > int64(joined)+1 {
				t.Errorf("%d messages for %d joins", accepted, joined+1)
			}
		})
	}
}
