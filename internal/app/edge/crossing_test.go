package edge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"github.com/signalbox/signalbox/hubs/rest"
	sp "github.com/signalbox/signalbox/hubs/serviceprotocol"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// SEC-28, SEC-31: one tenant tries all that another has, by every route of the data plane:
// at the other's URL with its own tokens, and at its own URL with the other's hubs, groups,
// users, connections, positions, connection tokens and idempotency keys. The other's client
// notices nothing of it.
func TestSEC_31_one_tenant_reaches_nothing_of_another(t *testing.T) {
	t.Parallel()
	victim, mallory := document("victim", 1), document("mallory", 1)
	victim.Hubs = map[string]tenants.HubSettings{"chat": {History: tenants.History{Messages: 100, Seconds: 600}}}
	mallory.Hubs = victim.Hubs
	c := startEdges(t, 2, victim, mallory)
	ann := c.with(1, victim, mintClient(t, victim, accesstoken.ClientOptions{UserID: "ann", Groups: []string{"team"}, Permissions: []string{"sendToGroup"}}).Token)
	app := c.server(1, victim, "backend", "server", sp.ConnectionDefault)
	theirs, mine := restJWT(t, victim), restJWT(t, mallory)

	res, _ := c.do(http.MethodPost, c.base(0, "victim")+"/api/v1/hubs/chat/groups/team", theirs, `{"target":"m","arguments":["one"]}`, func(r *http.Request) { r.Header.Set("Idempotency-Key", "key") })
	position := res.Header.Get("X-Signalbox-Position")
	ann.want("m", "one")
	_, body := c.do(http.MethodGet, c.base(0, "victim")+"/api/hubs/chat/users/ann/connections", theirs, "", nil)
	var list struct {
		Value []struct{ ConnectionID string }
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Value) != 1 || position == "" {
		t.Fatalf("%s, %q, %v", body, position, err)
	}
	id := list.Value[0].ConnectionID
	names := strings.NewReplacer("{hub}", "chat", "{user}", "ann", "{group}", "team", "{connection}", id, "{stream}", "s")
	stays := func(after string) {
		t.Helper()
		for _, to := range []string{"/groups/team", "/users/ann", "/connections/" + id} {
			if res, body := c.do(http.MethodPost, c.base(0, "victim")+"/api/v1/hubs/chat"+to, theirs, `{"target":"m","arguments":["after `+after+`"]}`, nil); res.StatusCode != http.StatusAccepted {
				t.Fatalf("after %s %s answers %d %s", after, to, res.StatusCode, body)
			}
			ann.want("m", "after "+after)
		}
		app.send(sp.StatusRequest())
		if p, ok := app.next().(*sp.Ping); !ok {
			t.Fatalf("after %s the app server is told %+v", after, p)
		}
	}

	_, denied := c.do(http.MethodPost, c.base(0, "victim")+"/api/v1/hubs/chat", "x.y.z", `{"target":"m"}`, nil)
	denied = requestIDs.ReplaceAllString(denied, "REQUEST")
	tried := 0
	for _, route := range rest.Routes() {
		method, path := route[0], names.Replace(route[1])
		if strings.HasSuffix(path, "/health") || strings.HasSuffix(path, "openapi.yaml") {
			continue // for everybody, of nobody
		}
		tried++
		body := ""
		switch {
		case strings.HasSuffix(path, ":batch"):
			body = `{"messages":[{"target":"m","arguments":["of mallory"],"groups":["team"]},{"target":"m","users":["ann"]},{"target":"m"}]}`
		case strings.HasSuffix(path, ":execute"):
			body = `[{"type":"CloseConnection","filter":"connectionId eq '` + id + `'"},{"type":"Broadcast","target":"m","arguments":["of mallory"]},{"type":"RemoveFromGroup","groups":["team"]}]`
		case method == http.MethodPost || method == http.MethodPut && strings.Contains(path, "presence"):
			body = `{"target":"m","arguments":["of mallory"]}`
		}
		with := func(r *http.Request) {
			r.Header.Set("Idempotency-Key", "key")
			for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Prefix", "X-Original-Url", "X-Tenant-Id", "Tenant", "X-Signalbox-Tenant"} {
				r.Header.Set(name, "victim")
			}
		}
		for _, token := range []string{mine, mallory.Keys[0].Secret, clientJWT(t, mallory, 0, "chat", "ann")} {
			// A client's own token is one of another kind at home, and nothing elsewhere.
			res, got := c.do(method, c.base(0, "victim")+path, token, body, with)
			if res.StatusCode != http.StatusUnauthorized || method == http.MethodPost && path == "/api/v1/hubs/chat" && requestIDs.ReplaceAllString(got, "REQUEST") != denied {
				t.Errorf("%s %s with another's token is answered %d %s", method, path, res.StatusCode, got)
			}
		}
		if strings.HasSuffix(path, ":invoke") {
			path += "?timeoutInSeconds=1"
		}
		for _, query := range []string{"", "tenant=victim&after=" + url.QueryEscape(position)} {
			if query != "" && !strings.HasSuffix(path, "/messages") {
				continue
			}
			res, got := c.do(method, c.base(0, "mallory")+path+"?"+query, mine, body, with)
			if res.StatusCode >= 500 && res.StatusCode != http.StatusNotImplemented {
				t.Errorf("%s %s is answered %d %s", method, path, res.StatusCode, got)
			}
			if res.Header.Get("Idempotent-Replay") != "" && tried == 1 {
				t.Errorf("%s %s: another's key makes a message of one's own a repeated one", method, path)
			}
			if method == http.MethodGet && strings.Contains(got, id) && !strings.Contains(path, id) || strings.Contains(got, `"userId":"ann"`) || strings.Contains(got, `"one"`) {
				t.Errorf("%s %s shows what another has: %s", method, path, got)
			}
			if method == http.MethodHead && res.StatusCode == http.StatusOK {
				t.Errorf("%s %s finds what another has", method, path)
			}
		}
	}
	if tried < 60 {
		t.Errorf("only %d routes were tried", tried)
	}
	stays("every route")

	// The key that mallory has used too still stands for the victim's own message.
	again, _ := c.do(http.MethodPost, c.base(1, "victim")+"/api/v1/hubs/chat/groups/team", theirs, `{"target":"m","arguments":["one"]}`, func(r *http.Request) { r.Header.Set("Idempotency-Key", "key") })
	if again.Header.Get("Idempotent-Replay") != "true" || again.Header.Get("X-Signalbox-Position") != position {
		t.Errorf("the victim's own repetition is answered %v", again.Header)
	}

	// Connections: by the token of the victim's, by its id, and by tokens of mallory's.
	_, negotiated := c.do(http.MethodPost, c.base(0, "victim")+"/client/negotiate?negotiateVersion=1&hub=chat", clientJWT(t, victim, 0, "chat", "ann"), "", nil)
	var n struct{ ConnectionToken string }
	if err := json.Unmarshal([]byte(negotiated), &n); err != nil {
		t.Fatal(err)
	}
	own := clientJWT(t, mallory, 0, "chat", "ann")
	for _, connection := range []string{n.ConnectionToken, id} {
		for _, row := range []struct {
			slug, method, token string
			status              int
		}{
			{"mallory", "GET", own, 404}, {"mallory", "POST", own, 404}, {"mallory", "DELETE", own, 404},
			{"victim", "GET", own, 401}, {"victim", "POST", own, 401}, {"victim", "DELETE", own, 401},
		} {
			if res, got := c.do(row.method, c.base(0, row.slug)+"/client/?hub=chat&id="+url.QueryEscape(connection), row.token, "", nil); res.StatusCode != row.status {
				t.Errorf("%s of a connection at %s is answered %d %s, want %d", row.method, row.slug, res.StatusCode, got, row.status)
			}
		}
		at := c.base(0, "mallory") + "/client/?hub=chat&id=" + url.QueryEscape(connection)
		if ws, res, err := websocket.Dial(t.Context(), at, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + own}}}); err == nil || res.StatusCode != http.StatusNotFound {
			t.Errorf("a WebSocket on another's connection: %v, %v, %v", ws, res, err)
		}
	}
	if res, got := c.do(http.MethodPost, c.base(0, "victim")+"/client/negotiate?hub=chat&access_token="+own, "", "", nil); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a token in the query is answered %d %s", res.StatusCode, got)
	}
	// App servers: mallory's takes none of the victim's clients.
	for _, audience := range []string{"victim", "mallory"} {
		token := serverJWT(t, jwt.SigningMethodHS256, mallory, 0, "http://localhost/t/"+audience+"/server/?hub=backend", "server")
		if _, res := c.dialServer(0, victim, "backend", token); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("a server connection of another's is answered %d", res.StatusCode)
		}
	}
	// The $ methods of clients, by the same names.
	bob := c.with(0, mallory, mintClient(t, mallory, accesstoken.ClientOptions{UserID: "ann", Permissions: []string{"joinGroup", "sendToGroup", "sendToUser", "readHistory"}}).Token)
	bob.call("$joinGroup", "team")
	for _, call := range []frame{bob.call("$sendToGroup", "team", "m", "of mallory"), bob.call("$history", map[string]any{"group": "team", "after": position}), bob.call("$history", map[string]any{"group": "team"})} {
		if strings.Contains(fmt.Sprintf("%s %s", call.Result, call.Error), "one") && strings.Contains(string(call.Result), `"one"`) {
			t.Errorf("history shows another's: %+v", call)
		}
	}
	stays("all of it")
}
