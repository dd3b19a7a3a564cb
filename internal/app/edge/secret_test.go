package edge

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/tenants/directory"
)

// The fleet's secret is exchanged, edge by edge. An edge that has the former one and one
// that has the next take each other's connection tokens, positions, continuation tokens
// and relays; clients stay connected; and what the former secret alone has sealed ends
// with it.
func TestFleetSecret_is_exchanged_while_clients_stay(t *testing.T) {
	t.Parallel()
	const next = "the next secret of the fleet, with enough characters"
	demo := document("demo", 1)
	c := startEdgesWith(t, 1, func(cfg *Config) { cfg.FleetSecretsFormer = []string{next} }, demo)
	ann := c.connect(0, demo, "chat", "ann")
	c.ready(c.start(func(cfg *Config) { cfg.FleetSecret, cfg.FleetSecretsFormer = next, []string{secret} }))
	bob := c.connect(1, demo, "chat", "bob")
	publish := func(edge int, text string) (position string) {
		t.Helper()
		res, body := c.do(http.MethodPost, c.base(edge, "demo")+"/api/v1/hubs/chat", restJWT(t, demo), `{"target":"m","arguments":["`+text+`"]}`, nil)
		if res.StatusCode != http.StatusAccepted {
			t.Fatalf("publishing answers %d %s", res.StatusCode, body)
		}
		return res.Header.Get("X-Signalbox-Position")
	}
	both := func(text string) {
		t.Helper()
		ann.want("m", text)
		bob.want("m", text)
	}
	read := func(edge int, position string) int {
		t.Helper()
		res, _ := c.do(http.MethodGet, c.base(edge, "demo")+"/api/hubs/chat/messages?after="+url.QueryEscape(position), restJWT(t, demo), "", nil)
		return res.StatusCode
	}
	positions := []string{publish(0, "zero"), publish(1, "one")}
	both("zero")
	both("one")
	for edge := range 2 {
		if status := read(1-edge, positions[edge]); status != http.StatusOK {
			t.Errorf("edge %d answers a position of the other with %d", 1-edge, status)
		}
		// Negotiated on one, opened on the other, and posted to through the first: by relay.
		_, body := c.do(http.MethodPost, c.base(edge, "demo")+"/client/negotiate?negotiateVersion=1&hub=chat", clientJWT(t, demo, 0, "chat", "eve"), "", nil)
		var n struct{ ConnectionToken string }
		if err := json.Unmarshal([]byte(body), &n); err != nil {
			t.Fatal(err)
		}
		at := func(edge int) string {
			return c.base(edge, "demo") + "/client/?hub=chat&id=" + url.QueryEscape(n.ConnectionToken)
		}
		eve := clientJWT(t, demo, 0, "chat", "eve")
		if res, body := c.do(http.MethodGet, at(1-edge), eve, "", nil); res.StatusCode != http.StatusOK {
			t.Errorf("edge %d answers a connection token of the other with %d %s", 1-edge, res.StatusCode, body)
		}
		if res, body := c.do(http.MethodPost, at(edge), eve, `{"protocol":"json","version":1}`+separator, nil); res.StatusCode != http.StatusOK {
			t.Errorf("a relay from edge %d to the other is answered %d %s", edge, res.StatusCode, body)
		}
		if res, body := c.do(http.MethodGet, at(edge), eve, "", nil); res.StatusCode != http.StatusOK || !strings.HasPrefix(body, "{}") {
			t.Errorf("a poll by relay is answered %d %q", res.StatusCode, body)
		}
		c.do(http.MethodDelete, at(edge), eve, "", nil)
	}

	// The next secret alone, once an api has sealed the documents anew.
	f, err := fleet.New(next)
	if err != nil {
		t.Fatal(err)
	}
	if err := directory.NewPublisher(c.redis, f).Publish(t.Context(), demo); err != nil {
		t.Fatal(err)
	}
	c.ready(c.start(func(cfg *Config) { cfg.FleetSecret = next }))
	eve := c.connect(2, demo, "chat", "eve")
	publish(2, "two")
	both("two")
	eve.want("m", "two")
	for edge, want := range []int{http.StatusBadRequest, http.StatusOK} {
		if status := read(2, positions[edge]); status != want {
			t.Errorf("an edge with the next secret alone answers a position of edge %d with %d, want %d", edge, status, want)
		}
	}
}

// ready waits until an edge is.
func (c *cluster) ready(e *Edge) {
	c.t.Helper()
	c.eventually("edge is ready", func() bool { return c.status("http://"+e.AdminAddr()+"/readyz") == http.StatusOK })
}
