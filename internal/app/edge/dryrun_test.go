package edge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// TestDryRun_of_a_publish_counts_what_the_publish_does: what a dry run says is what the
// ledger is told of the same publish, to each kind of target and by sizes around the steps
// of messages.
func TestDryRun_of_a_publish_counts_what_the_publish_does(t *testing.T) {
	t.Parallel()
	const step = 64 << 10
	demo := document("demo", 1)
	demo.Limits.MaxHubs, demo.Limits.MaxMessageBytes, demo.Limits.MaxRequestBytes = 20, 1<<20, 1<<20
	demo.Hubs = map[string]tenants.HubSettings{}
	type publish struct {
		path string // after the hub's
		size int
	}
	publishes := make(map[string]publish) // by a hub of their own
	for kind, path := range map[string]string{"all": "/:send", "group": "/groups/room/:send", "user": "/users/ann/:send", "connection": "/connections/%s/:send"} {
		for _, size := range []int{10, 5 << 10, step + 1<<10, 2*step + 1<<10} {
			hub := fmt.Sprint(kind, size)
			publishes[hub] = publish{path, size}
			demo.Hubs[hub] = tenants.HubSettings{}
		}
	}
	c := startEdges(t, 2, demo)
	type counts struct{ accepted, delivered int64 }
	said := make(map[string]counts)
	for hub, p := range publishes {
		at := func(path string) string { return c.base(1, demo.Slug) + "/api/hubs/" + hub + path }
		ann, ben := c.connect(0, demo, hub, "ann"), c.connect(1, demo, hub, "ben")
		for _, user := range []string{"ann", "ben"} {
			if res, text := c.do(http.MethodPut, at("/users/"+user+"/groups/room"), demo.Keys[0].Secret, "", nil); res.StatusCode >= 300 {
				t.Fatalf("%s into the group: %d %s", user, res.StatusCode, text)
			}
		}
		path := p.path
		if strings.Contains(path, "%s") {
			path = fmt.Sprintf(path, c.idOf(demo, hub, "ann"))
		}
		body := `{"target":"m","arguments":["` + strings.Repeat("x", p.size) + `"]}`
		var told struct{ MessagesAccepted, MessagesDelivered, Recipients int64 }
		res, text := c.do(http.MethodPost, at(path+"?dry_run=true"), demo.Keys[0].Secret, body, nil)
		if err := json.Unmarshal([]byte(text), &told); err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", hub, res.StatusCode, text)
		}
		if want := int64(p.size)/step + 1; told.MessagesAccepted != want || told.Recipients < 1 || told.MessagesDelivered != want*told.Recipients {
			t.Errorf("%s: told %+v, want %d for each", hub, told, want)
		}
		said[hub] = counts{told.MessagesAccepted, told.MessagesDelivered}
		if res, text := c.do(http.MethodPost, at(path), demo.Keys[0].Secret, body, nil); res.StatusCode != http.StatusAccepted {
			t.Fatalf("%s: %d %s", hub, res.StatusCode, text)
		}
		if f := ann.next(); f.Target != "m" {
			t.Fatalf("%s: ann got %+v", hub, f)
		}
		if told.Recipients == 2 {
			if f := ben.next(); f.Target != "m" {
				t.Fatalf("%s: ben got %+v", hub, f)
			}
		}
	}
	for _, end := range c.ends {
		if err := end(); err != nil {
			t.Fatal(err)
		}
	}
	counted := make(map[string]counts)
	entries, err := c.redis.XRange(t.Context(), redisclient.UsageStream, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		var f usage.Flush
		if err := json.Unmarshal([]byte(e.Values["flush"].(string)), &f); err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Deltas {
			n := counted[d.Hub]
			n.delivered += d.Delivered
			counted[d.Hub] = n
		}
		for _, a := range f.Accepted { // one publish, so of one minute
			n := counted[a.Hub]
			n.accepted = max(n.accepted, a.Total)
			counted[a.Hub] = n
		}
	}
	for hub, want := range said {
		if got := counted[hub]; got != want {
			t.Errorf("%s: %+v is counted, and the dry run said %+v", hub, got, want)
		}
	}
}

// idOf is the id of a user's only connection.
func (c *cluster) idOf(d *tenants.Document, hub, user string) string {
	c.t.Helper()
	var page struct {
		Value []struct {
			ConnectionID string `json:"connectionId"`
			UserID       string `json:"userId"`
		} `json:"value"`
	}
	res, text := c.do(http.MethodGet, c.base(0, d.Slug)+"/api/hubs/"+hub+"/connections", d.Keys[0].Secret, "", nil)
	if err := json.Unmarshal([]byte(text), &page); err != nil || res.StatusCode != http.StatusOK {
		c.t.Fatalf("connections of %s: %d %s", hub, res.StatusCode, text)
	}
	for _, v := range page.Value {
		if v.UserID == user {
			return v.ConnectionID
		}
	}
	c.t.Fatalf("%s isn't connected: %s", user, text)
	return ""
}
