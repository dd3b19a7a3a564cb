package edge

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/signalbox/signalbox/tenants"
)

func TestOrigins(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	demo.Hubs = map[string]tenants.HubSettings{"chat": {AllowedOrigins: []string{"https://app.example.com"}}}
	c := startCluster(t, demo)
	for _, row := range []struct {
		hub, origin string
		status      int
	}{
		{"chat", "https://app.example.com", 200},
		{"chat", "https://evil.example.com", 403},
		{"free", "https://evil.example.com", 200},
	} {
		from := func(r *http.Request) { r.Header.Set("Origin", row.origin) }
		at := c.base(0, "demo") + "/client/negotiate?hub=" + row.hub
		preflight, _ := c.do(http.MethodOptions, at, "", "", func(r *http.Request) {
			from(r)
			r.Header.Set("Access-Control-Request-Method", "POST")
			r.Header.Set("Access-Control-Request-Headers", "authorization,x-requested-with")
		})
		if preflight.StatusCode != 204 || preflight.Header.Get("Access-Control-Allow-Origin") != row.origin {
			t.Errorf("a preflight to %s from %s: got %d %v", row.hub, row.origin, preflight.StatusCode, preflight.Header)
		}
		res, _ := c.do(http.MethodPost, at, clientJWT(t, demo, 0, row.hub, "ann"), "", from)
		if res.StatusCode != row.status {
			t.Errorf("%s from %s: got %d, want %d", row.hub, row.origin, res.StatusCode, row.status)
		}
		if allowed := res.Header.Get("Access-Control-Allow-Origin"); (allowed == row.origin) != (row.status == 200) {
			t.Errorf("%s from %s: allows %q", row.hub, row.origin, allowed)
		}
	}
}

// SEC-30: a page that isn't allowed uses up nothing of the tenant's, and gets its 403
// whether anything is left or not.
func TestOrigins_that_are_refused_cost_nothing(t *testing.T) {
	t.Parallel()
	demo := limited("demo", func(l *tenants.Limits) { l.ConnectsPerSecond, l.ConnectBurst = 1, 2 })
	demo.Hubs = map[string]tenants.HubSettings{"chat": {AllowedOrigins: []string{"https://app.example.com"}}}
	c := startEdges(t, 1, demo)
	token := clientJWT(t, demo, 0, "chat", "ann")
	ask := func(origin string) *http.Response {
		res, _ := c.do(http.MethodPost, c.base(0, "demo")+"/client/negotiate?hub=chat", token, "", func(r *http.Request) { r.Header.Set("Origin", origin) })
		return res
	}
	foreign := func(when string) {
		t.Helper()
		for range 10 {
			if res := ask("https://staging.example.com"); res.StatusCode != http.StatusForbidden || res.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Fatalf("%s, a page that isn't allowed gets %d %v", when, res.StatusCode, res.Header)
			}
		}
	}
	foreign("with connects left")
	if res := ask("https://app.example.com"); res.StatusCode != http.StatusOK {
		t.Fatalf("after many of another, the page that is allowed gets %d", res.StatusCode)
	}
	c.eventually("connects are used up", func() bool { return ask("https://app.example.com").StatusCode == http.StatusTooManyRequests })
	foreign("without connects left")
}

// Whether there is a tenant, nobody learns who has no key of it: what is asked of a
// tenant that there isn't is answered as what is asked with a bad token, word for word,
// whatever is asked and however it is wrong. What the answer takes is the same work.
func TestSEC_49_tenants_are_not_found_out(t *testing.T) {
	t.Parallel()
	demo, suspended, development := document("demo", 1), document("suspended", 1), document("development", 1)
	demo.Hosts = []string{"demo.example.com"}
	demo.Hubs = map[string]tenants.HubSettings{"chat": {AllowedOrigins: []string{"https://app.example.com"}}}
	suspended.Status = tenants.Suspended
	development.Environment = tenants.Development
	c := startEdgesWith(t, 1, func(cfg *Config) { cfg.DefaultTenant = "" }, demo, suspended, development)
	root := "http://" + c.edges[0].Addr()
	other := document("other", 1) // whose keys nobody knows
	bad := map[string]string{"none": "", "nonsense": "x.y.z", "of a stranger": clientJWT(t, other, 0, "chat", "ann"), "a key": other.Keys[0].Secret, "for REST": restJWT(t, other)}
	id := base64.RawURLEncoding.EncodeToString(make([]byte, 64))
	upgrade := func(r *http.Request) {
		for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} {
			r.Header.Set(k, v)
		}
	}
	events := func(r *http.Request) { r.Header.Set("Accept", "text/event-stream") }
	preflight := func(r *http.Request) { r.Header.Set("Access-Control-Request-Method", "POST") }
	answer := func(method, at, token, body string, change func(*http.Request)) string {
		res, got := c.do(method, at, token, body, change)
		for _, name := range []string{"Date", "X-Request-Id", "X-Ms-Request-Id", "X-Ms-Client-Request-Id"} {
			res.Header.Del(name)
		}
		return requestIDs.ReplaceAllString(fmt.Sprintf("%d %v %s", res.StatusCode, res.Header, got), "REQUEST")
	}
	looked := 0
	for _, ask := range []struct {
		method, path, body string
		change             func(*http.Request)
	}{
		{"POST", "/client/negotiate?hub=chat", "", nil},
		{"POST", "/client/negotiate?hub=chat&negotiateVersion=1", "", nil},
		{"POST", "/client/negotiate?hub=unknown", "", nil},
		{"POST", "/client/negotiate", "", nil},
		{"POST", "/client/negotiate?hub=1%20x", "", nil},
		{"POST", "/client/negotiate?hub=chat&hub=chat", "", nil},
		{"GET", "/client/?hub=chat", "", upgrade},
		{"GET", "/client/?hub=chat&id=" + id, "", upgrade},
		{"GET", "/client/?hub=chat&id=" + id, "", events},
		{"GET", "/client/?hub=chat&id=" + id, "", nil},
		{"GET", "/client/?hub=chat&rewind=last:0&id=" + id, "", nil},
		{"POST", "/client/?hub=chat&id=" + id, ping, nil},
		{"DELETE", "/client/?hub=chat&id=" + id, "", nil},
		{"GET", "/server/?hub=chat", "", upgrade},
		{"GET", "/server/?hub=1%20x", "", upgrade},
		{"POST", "/api/v1/hubs/chat", `{"target":"t"}`, nil},
		{"POST", "/api/v1/hubs/chat/groups/g", `{"target":"t"}`, nil},
		{"POST", "/api/v1/hubs/1%20x", `{`, nil},
		{"POST", "/api/hubs/chat/:send?api-version=2022-11-01", `{}`, nil},
		{"POST", "/api/hubs/chat/:generateToken?api-version=2022-11-01", "", nil},
		{"GET", "/api/hubs/chat/messages?after=x", "", nil},
		{"HEAD", "/api/hubs/chat/connections/x?api-version=2022-11-01", "", nil},
		{"DELETE", "/api/hubs/chat/users/u/groups?api-version=2022-11-01", "", nil},
		{"OPTIONS", "/client/negotiate?hub=chat", "", preflight},
		{"OPTIONS", "/client/?hub=chat&id=" + id, "", preflight},
		{"OPTIONS", "/client/?hub=chat", "", nil},
		{"GET", "/api/nowhere", "", nil},
		{"GET", "/nowhere", "", nil},
	} {
		for name, token := range bad {
			for _, origin := range []string{"", "https://app.example.com", "https://evil.example.com"} {
				change := func(r *http.Request) {
					if ask.change != nil {
						ask.change(r)
					}
					if origin != "" {
						r.Header.Set("Origin", origin)
					}
				}
				want := answer(ask.method, root+"/t/nobody"+ask.path, token, ask.body, change)
				for _, slug := range []string{"demo", "suspended", "development"} {
					looked++
					if got := answer(ask.method, root+"/t/"+slug+ask.path, token, ask.body, change); got != want {
						t.Errorf("%s %s with the token %s, origin %q:\n%s is answered %s\nnobody is answered %s", ask.method, ask.path, name, origin, slug, got, want)
					}
				}
			}
			at := func(host string) func(*http.Request) {
				return func(r *http.Request) {
					if ask.change != nil {
						ask.change(r)
					}
					r.Host = host
				}
			}
			looked++
			if got, want := answer(ask.method, root+ask.path, token, ask.body, at("demo.example.com")), answer(ask.method, root+ask.path, token, ask.body, at("none.example.com")); got != want {
				t.Errorf("%s %s with the token %s: a host of a tenant is answered %s, one of nobody %s", ask.method, ask.path, name, got, want)
			}
		}
	}
	// The time isn't judged, since others use this machine; it is told.
	took := func(slug string) time.Duration {
		var all []time.Duration
		for range 200 {
			began := time.Now()
			c.do(http.MethodPost, root+"/t/"+slug+"/client/negotiate?hub=chat", bad["of a stranger"], "", nil)
			all = append(all, time.Since(began))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	t.Logf("%d answers compared; the median of 200 refusals took %s for a tenant, %s for none", looked, took("demo"), took("nobody"))
}
