package edge

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// newsOfPresence is an upstream that notes who is said to have come and left.
type newsOfPresence struct {
	t      *testing.T
	secret string

	mu  sync.Mutex
	ids map[string]map[string]bool // by what was told
}

func (n *newsOfPresence) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the edge has been killed
	}
	hook, err := standardwebhooks.NewWebhook(n.secret)
	if err == nil {
		err = hook.Verify(body, r.Header)
	}
	var m struct {
		Type, ID, Hub, Group string
		UserID               string `json:"user_id"`
		ConnectionID         string `json:"connection_id"`
	}
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	who := m.UserID
	if who == "" && m.ConnectionID != "" {
		who = "somebody"
	}
	if err != nil || m.ID != r.Header.Get("Webhook-Id") || m.Hub != "chat" || r.URL.Path != "/"+strings.ReplaceAll(m.Type, ".", "/") {
		n.t.Errorf("%s: %v: %s", r.URL.Path, err, body)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	what := m.Type + " " + m.Group + " " + who
	if n.ids[what] == nil {
		n.ids[what] = make(map[string]bool)
	}
	n.ids[what][m.ID] = true
}

// once reports whether all of these were told, and fails when something was twice.
func (n *newsOfPresence) once(all ...string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for what, ids := range n.ids {
		if len(ids) > 1 {
			n.t.Errorf("%s was told %d times", what, len(ids))
		}
	}
	for _, what := range all {
		if len(n.ids[what]) == 0 {
			return false
		}
	}
	return true
}

// TestPresence_webhooks kills an edge with members on it. Every coming and leaving is
// told once, by whatever edge.
func TestPresence_webhooks(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	demo.WebhookSecrets = []tenants.DocWebhookSecret{{Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}
	news := &newsOfPresence{t: t, secret: demo.WebhookSecrets[0].Secret, ids: make(map[string]map[string]bool)}
	upstream := httptest.NewServer(news)
	t.Cleanup(upstream.Close)
	demo.Hubs = map[string]tenants.HubSettings{"chat": {Handler: tenants.HandlerBroadcast, Upstream: &tenants.Upstream{
		Mode: tenants.UpstreamNative, Rules: []tenants.UpstreamRule{{URL: upstream.URL + "/{category}/{event}", Category: "presence"}},
	}}}
	c := startCluster(t, demo)
	address, kill := c.startProcess()
	enter := func(base, user string) *client {
		t.Helper()
		token := mintClient(t, demo, accesstoken.ClientOptions{UserID: user, Groups: []string{"room"}, Permissions: []string{"joinGroup"}}).Token
		k, _, err := c.dialAt(base, base, "chat", token)
		if err != nil {
			t.Fatal(err)
		}
		k.done("$setPresence", "room", "here")
		return k
	}
	killed := "http://" + address + "/t/" + demo.Slug
	ann := []*client{enter(c.base(0, demo.Slug), "ann"), enter(c.base(1, demo.Slug), "ann"), enter(killed, "ann")}
	enter(killed, "bob")
	enter(killed, "")
	c.within(6*patience, "who has come is told", func() bool {
		return news.once("presence.joined room ann", "presence.joined room bob", "presence.joined room somebody")
	})
	kill()
	c.within(6*patience, "who was on the killed edge has left", func() bool {
		return news.once("presence.left room bob", "presence.left room somebody")
	})
	if news.once("presence.left room ann") {
		t.Error("a user who has other connections is said to have left")
	}
	for _, k := range ann[:2] {
		if err := k.ws.CloseNow(); err != nil {
			t.Error(err)
		}
	}
	c.within(6*patience, "the last has left", func() bool { return news.once("presence.left room ann") })
}

// startProcess starts an edge as a process of its own; kill is SIGKILL.
func (c *cluster) startProcess() (address string, kill func()) {
	c.t.Helper()
	p := c.program(c.t, buildEdge(c.t), "SIGNALBOX_OUTBOUND_ALLOW=127.0.0.0/8")
	kill = sync.OnceFunc(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	c.t.Cleanup(func() {
		kill()
		if c.t.Failed() {
			c.t.Log(p.logs.String())
		}
	})
	return p.listens("public"), kill
}
