package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

func TestPublishOnOneEdgeArrivesOnTheOther(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	here := c.connect(0, demo, "chat", "ann")
	there := c.connect(1, demo, "chat", "bob")
	crossed, _, err := c.dial(0, 1, demo, "chat", clientJWT(t, demo, 1, "chat", "cid")) // negotiated elsewhere, other key
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		c.send(i%2, demo, "chat", "news", strconv.Itoa(i))
	}
	for _, k := range []*client{here, there, crossed} {
		for i := range 20 {
			k.want("news", strconv.Itoa(i))
		}
	}
	res, body := c.do(http.MethodPost, c.base(1, "demo")+"/api/hubs/chat/users/ann/:send", demo.Keys[1].Secret, `{"target":"you","arguments":["only"]}`, nil)
	if res.StatusCode != http.StatusAccepted || res.Header.Get("X-Signalbox-Position") == "" {
		t.Fatalf("send with the plain key: %d %s", res.StatusCode, body)
	}
	here.want("you", "only")
	c.send(0, demo, "chat", "news", "last")
	for _, k := range []*client{here, there, crossed} {
		k.want("news", "last") // and nothing that was for ann alone
	}
	// A hub without a handler says what to set up.
	here.write(`{"type":1,"invocationId":"7","target":"Echo","arguments":[]}`)
	if f := here.next(); f.Type != 3 || f.InvocationID != "7" || !strings.Contains(f.Error, "REST API") {
		t.Fatalf("got %+v", f)
	}
}

func TestTenantsWithTheSameNamesNeverMeet(t *testing.T) {
	t.Parallel()
	demo, other := document("demo", 1), document("other", 1)
	c := startCluster(t, demo, other)
	var all [2][]*client
	for i, d := range []*tenants.Document{demo, other} {
		for edge := range 2 {
			all[i] = append(all[i], c.connect(edge, d, "chat", "ann"))
		}
		res, body := c.do(http.MethodPut, c.base(0, d.Slug)+"/api/v1/hubs/chat/groups/room/users/ann", restJWT(t, d), "", nil)
		if res.StatusCode != http.StatusAccepted {
			t.Fatalf("join: %d %s", res.StatusCode, body)
		}
	}
	const rounds = 30
	kinds := []string{"", "/users/ann", "/groups/room"}
	for i := range rounds {
		for _, d := range []*tenants.Document{demo, other} {
			res, body := c.do(http.MethodPost, c.base(i%2, d.Slug)+"/api/v1/hubs/chat"+kinds[i%3], restJWT(t, d),
				fmt.Sprintf(`{"target":"m","arguments":["%s %d"]}`, d.Slug, i), nil)
			if res.StatusCode != http.StatusAccepted {
				t.Fatalf("send: %d %s", res.StatusCode, body)
			}
		}
	}
	for i, d := range []*tenants.Document{demo, other} {
		for _, k := range all[i] {
			for n := range rounds {
				k.want("m", fmt.Sprintf("%s %d", d.Slug, n))
			}
		}
	}
}

func TestTenantAndTokenOfARequest(t *testing.T) {
	t.Parallel()
	demo, other := document("demo", 1), document("other", 1)
	other.Hosts = []string{"other.example.com", "localhost:8889"}
	suspended := document("suspended", 1)
	suspended.Status = tenants.Suspended
	c := startCluster(t, demo, other, suspended)
	root := "http://" + c.edges[0].Addr()
	token := clientJWT(t, demo, 0, "chat", "ann")
	forOther := clientJWT(t, other, 0, "chat", "ann")
	_, unauthorizedBody := c.do(http.MethodPost, root+"/t/nobody/client/negotiate?hub=chat", token, "", nil)
	for _, row := range []struct {
		name, method, url, token string
		host                     string
		status                   int
	}{
		{"default_tenant", "POST", "/client/negotiate?hub=chat", token, "", 200},
		{"path_form", "POST", "/t/demo/client/negotiate?hub=chat", token, "", 200},
		{"token_in_query", "POST", "/client/negotiate?hub=chat&access_token=" + token, "", "", 200},
		{"last_token_in_query_counts", "POST", "/client/negotiate?hub=chat&access_token=x&access_token=" + token, "", "", 200},
		{"own_host", "POST", "/client/negotiate?hub=chat", forOther, "other.example.com", 200},
		{"own_host_any_port", "POST", "/client/negotiate?hub=chat", forOther, "other.example.com:1234", 200},
		{"own_host_and_port", "POST", "/client/negotiate?hub=chat", forOther, "localhost:8889", 200},
		{"own_host_and_own_prefix", "POST", "/t/other/client/negotiate?hub=chat", forOther, "other.example.com", 200},
		{"own_host_and_other_prefix", "POST", "/t/demo/client/negotiate?hub=chat", token, "other.example.com", 400},
		{"same_host_other_port_is_shared", "POST", "/client/negotiate?hub=chat", token, "localhost:8888", 200},
		{"unknown_tenant", "POST", "/t/nobody/client/negotiate?hub=chat", token, "", 401},
		{"token_of_another_tenant", "POST", "/t/other/client/negotiate?hub=chat", token, "", 401},
		{"token_of_another_hub", "POST", "/client/negotiate?hub=chat2", token, "", 401},
		{"no_token", "POST", "/client/negotiate?hub=chat", "", "", 401},
		{"key_as_client_token", "POST", "/client/negotiate?hub=chat", demo.Keys[0].Secret, "", 401},
		{"rest_token_as_client", "POST", "/client/negotiate?hub=chat", restJWT(t, demo), "", 403},
		{"suspended_tenant", "POST", "/t/suspended/client/negotiate?hub=chat", clientJWT(t, suspended, 0, "chat", ""), "", 403},
		{"no_hub", "POST", "/client/negotiate", token, "", 400},
		{"two_hubs", "POST", "/client/negotiate?hub=chat&hub=chat", token, "", 400},
		{"bad_hub", "POST", "/client/negotiate?hub=1%20x", token, "", 400},
		{"hub_in_upper_case", "POST", "/client/negotiate?hub=CHAT", token, "", 200},
		{"get_negotiate", "GET", "/client/negotiate?hub=chat", token, "", 405},
		{"connect_without_id", "GET", "/client/?hub=chat", token, "", 400},
		{"connect_with_unknown_id", "GET", "/client?hub=chat&id=xyz", token, "", 404},
		{"other_path_below_client", "POST", "/client/other?hub=chat", token, "", 404},
		{"nowhere", "GET", "/", "", "", 404},
		{"long_url", "GET", "/client/?hub=chat&x=" + strings.Repeat("x", maxURL), token, "", 414},

		{"rest_with_token", "POST", "/api/v1/hubs/chat", restJWT(t, demo), "", 202},
		{"rest_with_key", "POST", "/t/demo/api/v1/hubs/chat", demo.Keys[1].Secret, "", 202},
		{"rest_of_own_host", "POST", "/api/v1/hubs/chat", restJWT(t, other), "other.example.com", 202},
		{"rest_with_client_token", "POST", "/api/v1/hubs/chat", token, "", 403},
		{"rest_with_key_of_another_tenant", "POST", "/t/other/api/v1/hubs/chat", demo.Keys[0].Secret, "", 401},
		{"rest_of_unknown_tenant", "POST", "/t/nobody/api/v1/hubs/chat", demo.Keys[0].Secret, "", 401},
		{"rest_without_token", "POST", "/api/v1/hubs/chat", "", "", 401},
		{"rest_token_in_query", "POST", "/api/v1/hubs/chat?access_token=" + restJWT(t, demo), "", "", 401},
		{"rest_of_suspended_tenant", "POST", "/t/suspended/api/v1/hubs/chat", suspended.Keys[0].Secret, "", 403},
		{"rest_own_host_and_other_prefix", "POST", "/t/demo/api/v1/hubs/chat", demo.Keys[0].Secret, "other.example.com", 400},
		{"rest_health", "HEAD", "/api/health", "", "", 200},
	} {
		t.Run(row.name, func(t *testing.T) {
			var change func(*http.Request)
			if row.host != "" {
				change = hostOf(row.host)
			}
			body := ""
			if strings.Contains(row.url, "/api/v1/hubs") {
				body = `{"target":"t","arguments":[]}`
			}
			res, got := c.do(row.method, root+row.url, row.token, body, change)
			if res.StatusCode != row.status {
				t.Fatalf("got %d %s, want %d", res.StatusCode, got, row.status)
			}
			if row.status == 401 && !strings.Contains(row.url, "/api/") && got != unauthorizedBody {
				t.Fatalf("got %q, an unknown tenant gets %q", got, unauthorizedBody)
			}
			if strings.Contains(got, "redis") || strings.Contains(got, "goroutine") {
				t.Fatalf("shows internals: %s", got)
			}
		})
	}
	_, unknown := c.do(http.MethodPost, root+"/t/nobody/api/v1/hubs/chat", "x", `{}`, nil)
	requestID := regexp.MustCompile(`req_\w+`)
	if _, bad := c.do(http.MethodPost, root+"/t/demo/api/v1/hubs/chat", "x", `{}`, nil); requestID.ReplaceAllString(bad, "") != requestID.ReplaceAllString(unknown, "") {
		t.Fatalf("REST tells unknown tenants and bad tokens apart: %s, %s", unknown, bad)
	}
	if logs := c.logs.String(); strings.Contains(logs, token) || strings.Contains(logs, demo.Keys[0].Secret) {
		t.Fatal("the logs hold a credential")
	}
}

func TestRevokedKeyEndsItsConnections(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	byPrimary := c.connect(0, demo, "chat", "ann")
	bySecondary, _, err := c.dial(1, 1, demo, "chat", clientJWT(t, demo, 1, "chat", "bob"))
	if err != nil {
		t.Fatal(err)
	}
	old := clientJWT(t, demo, 0, "chat", "ann")
	rotated := document("demo", 2)
	rotated.Keys[0] = tenants.DocKey{ID: "demo-3", Slot: tenants.Primary, Secret: "a new primary secret 0123456789abcdef"}
	c.publish(rotated)
	byPrimary.wantClose(reasonRevoked, false)
	for edge := range 2 {
		c.eventually("the old key is refused", func() bool {
			res, _ := c.do(http.MethodPost, c.base(edge, "demo")+"/client/negotiate?hub=chat", old, "", nil)
			return res.StatusCode == http.StatusUnauthorized
		})
	}
	c.send(0, rotated, "chat", "still", "here")
	bySecondary.want("still", "here")
	c.connect(0, rotated, "chat", "ann")
}

func TestSuspendedAndDeletedTenantsLoseTheirConnections(t *testing.T) {
	t.Parallel()
	demo, other := document("demo", 1), document("other", 1)
	c := startCluster(t, demo, other)
	kept := c.connect(0, other, "chat", "ann")
	first := c.connect(0, demo, "chat", "ann")
	suspended := document("demo", 2)
	suspended.Status = tenants.Suspended
	c.publish(suspended)
	first.wantClose(reasonSuspended, false)
	c.publish(document("demo", 3))
	var second *client
	c.eventually("the tenant is served again", func() bool {
		var err error
		second, _, err = c.dial(1, 1, demo, "chat", clientJWT(t, demo, 0, "chat", "ann"))
		return err == nil
	})
	c.publish(&tenants.Document{ID: demo.ID, Revision: 4, Status: tenants.Deleted})
	second.wantClose(reasonDeleted, false)
	c.eventually("a deleted tenant is unknown", func() bool {
		res, _ := c.do(http.MethodPost, c.base(0, "demo")+"/client/negotiate?hub=chat", clientJWT(t, demo, 0, "chat", ""), "", nil)
		return res.StatusCode == http.StatusUnauthorized
	})
	c.send(1, other, "chat", "still", "here")
	kept.want("still", "here")
}

func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	demo.Limits.MaxConnections = 3
	c := startCluster(t, demo)
	token := clientJWT(t, demo, 0, "chat", "ann")
	var open []*client
	for i := range 3 {
		open = append(open, c.connect(i%2, demo, "chat", "ann"))
	}
	c.eventually("negotiate over the limit is refused", func() bool { // not when Redis takes its time
		res, body := c.do(http.MethodPost, c.base(1, "demo")+"/client/negotiate?hub=chat", token, "", nil)
		return res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") != "" && strings.Contains(body, "connection_limit")
	})
	// Straight to a WebSocket: refused before the upgrade.
	res, body := c.do(http.MethodGet, c.base(1, "demo")+"/client/?hub=chat", token, "", func(r *http.Request) {
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Sec-WebSocket-Version", "13")
		r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	})
	if res.StatusCode != http.StatusTooManyRequests {
		t.Fatalf("connect over the limit: %d %q", res.StatusCode, body)
	}
	open[0].ws.CloseNow()
	c.eventually("the place is free again", func() bool {
		_, _, err := c.dial(1, 0, demo, "chat", token)
		return err == nil
	})
	raised := document("demo", 2)
	raised.Limits.MaxConnections = 4
	c.publish(raised)
	c.eventually("the raised limit is in force", func() bool {
		_, _, err := c.dial(0, 1, demo, "chat", token)
		return err == nil
	})
}

func TestMessageRate(t *testing.T) {
	t.Parallel()
	demo, other := document("demo", 1), document("other", 1)
	demo.Limits.MessagesPerSecond, demo.Limits.MessageBurst = 1, 5
	c := startCluster(t, demo, other)
	k := c.connect(0, demo, "chat", "ann")
	refused := 0
	for i := range 12 {
		res, body := c.do(http.MethodPost, c.base(i%2, "demo")+"/api/v1/hubs/chat", demo.Keys[0].Secret, `{"target":"t","arguments":["x"]}`, nil)
		switch res.StatusCode {
		case http.StatusAccepted:
		case http.StatusTooManyRequests:
			refused++
			if res.Header.Get("Retry-After") == "" || !strings.Contains(body, "rate_limited") {
				t.Fatalf("got %v %s", res.Header, body)
			}
		default:
			t.Fatalf("got %d %s", res.StatusCode, body)
		}
	}
	if refused == 0 {
		t.Fatal("12 messages passed a limit of 1/s and a burst of 5")
	}
	for range 12 - refused {
		k.want("t", "x")
	}
	// Invocations are charged to the same limit.
	for range 5 {
		k.write(`{"type":1,"invocationId":"1","target":"Echo","arguments":[]}`)
	}
	c.eventually("an invocation is refused by the limit", func() bool { return strings.Contains(k.next().Error, "rate_limited") })
	c.send(0, other, "chat", "m", "other tenants don't notice")
}

// Requests have a bucket of their own, whatever they are about.
func TestRequestRate(t *testing.T) {
	t.Parallel()
	demo, other := document("demo", 1), document("other", 1)
	demo.Limits.RequestsPerSecond, demo.Limits.RequestBurst = 1, 5
	c := startCluster(t, demo, other)
	ask := func(i int, d *tenants.Document) (*http.Response, string) {
		switch i % 3 {
		case 0:
			return c.do(http.MethodHead, c.base(i%2, d.Slug)+"/api/v1/hubs/chat/users/u", d.Keys[0].Secret, "", nil)
		case 1:
			return c.do(http.MethodPut, c.base(i%2, d.Slug)+"/api/v1/hubs/chat/users/u/groups/g", d.Keys[0].Secret, "", nil)
		}
		return c.do(http.MethodDelete, c.base(i%2, d.Slug)+"/api/v1/hubs/chat/connections/c", d.Keys[0].Secret, "", nil)
	}
	refused := 0
	for i := range 18 {
		res, body := ask(i, demo)
		if res.StatusCode != http.StatusTooManyRequests {
			continue
		}
		refused++
		if res.Header.Get("Retry-After") == "" || !strings.Contains(res.Header.Get("RateLimit-Policy"), "requests_per_second") ||
			res.Request.Method != http.MethodHead && !strings.Contains(body, "too_many_requests") {
			t.Fatalf("got %v %s", res.Header, body)
		}
	}
	if refused == 0 {
		t.Fatal("18 requests passed a limit of 1/s and a burst of 5")
	}
	if res, body := ask(1, other); res.StatusCode != http.StatusAccepted {
		t.Errorf("another tenant gets %d %s", res.StatusCode, body)
	}
}

func TestHubLimit(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	demo.Limits.MaxHubs = 2
	demo.Hubs = map[string]tenants.HubSettings{"set": {}}
	c := startCluster(t, demo)
	for _, row := range []struct {
		hub    string
		status int
	}{{"one", 202}, {"ONE", 202}, {"set", 202}, {"two", 403}} {
		res, body := c.do(http.MethodPost, c.base(0, "demo")+"/api/v1/hubs/"+row.hub, demo.Keys[0].Secret, `{"target":"t","arguments":[]}`, nil)
		if res.StatusCode != row.status || (row.status == 403 && !strings.Contains(body, "hub_limit")) {
			t.Errorf("hub %s: got %d %s, want %d", row.hub, res.StatusCode, body, row.status)
		}
	}
}

func TestLongPollingAcrossEdges(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	token := clientJWT(t, demo, 0, "chat", "ann")
	_, body := c.do(http.MethodPost, c.base(0, "demo")+"/client/negotiate?hub=chat&negotiateVersion=1", token, "", nil)
	var n struct{ ConnectionToken string }
	if err := json.Unmarshal([]byte(body), &n); err != nil {
		t.Fatal(err)
	}
	turn := 0
	call := func(method, body string) string { // each request to the next edge, as behind a round-robin front
		turn++
		res, got := c.do(method, c.base(turn%2, "demo")+"/client/?hub=chat&id="+n.ConnectionToken, token, body, nil)
		if res.StatusCode/100 != 2 {
			t.Fatalf("%s %d: %d %s", method, turn, res.StatusCode, got)
		}
		return got
	}
	call("GET", "")
	call("POST", `{"protocol":"json","version":1}`+separator)
	var got string
	for !strings.Contains(got, "{}"+separator) {
		got += call("GET", "")
	}
	c.send(0, demo, "chat", "news", "hello")
	for !strings.Contains(got, `"hello"`) {
		got += call("GET", "")
	}
	call("DELETE", "")
}

func TestUsageOfAnEdge(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	k := c.connect(0, demo, "chat", "ann")
	for i := range 3 {
		c.send(1, demo, "chat", "m", strconv.Itoa(i))
		k.want("m", strconv.Itoa(i))
	}
	for _, end := range c.ends {
		if err := end(); err != nil {
			t.Fatal(err)
		}
	}
	var delivered, opened, accepted int64
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
			delivered += d.Delivered
			opened += d.Opened
		}
		for _, a := range f.Accepted {
			accepted = max(accepted, a.Total) // of one minute; a turn of it would show less
		}
	}
	if delivered != 3 || opened != 1 || accepted == 0 || accepted > 3 {
		t.Fatalf("delivered %d, opened %d, accepted %d", delivered, opened, accepted)
	}
}

func TestDrainAsksClientsToReconnect(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	k := c.connect(0, demo, "chat", "ann")
	stays := c.connect(1, demo, "chat", "ann")
	ended := make(chan error, 1)
	go func() { ended <- c.ends[0]() }()
	k.wantClose("", true)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if n := c.redis.Exists(t.Context(), redisclient.EdgeLease(c.edges[0].run)).Val(); n != 0 {
		t.Fatal("the lease outlives the edge")
	}
	c.send(1, demo, "chat", "still", "here")
	stays.want("still", "here")
}

func TestKnownTenantsOutliveRedis(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	token := clientJWT(t, demo, 0, "chat", "ann")
	c.connect(0, demo, "chat", "ann")
	c.stopRedis()
	res, body := c.do(http.MethodPost, c.base(0, "demo")+"/client/negotiate?hub=chat", token, "", nil)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("negotiate with Redis away: %d %s", res.StatusCode, body)
	}
	if got := c.status("http://" + c.edges[0].AdminAddr() + "/readyz"); got != http.StatusOK {
		t.Fatalf("an edge that serves what it knows is not ready: %d", got)
	}
	res, body = c.do(http.MethodPost, c.base(0, "demo")+"/api/v1/hubs/chat", demo.Keys[0].Secret, `{"target":"t","arguments":[]}`, nil)
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("a publish that can't be accepted: %d %s", res.StatusCode, body)
	}
}

func TestAdminListener(t *testing.T) {
	t.Parallel()
	c := startCluster(t, document("demo", 1))
	k := c.connect(0, document("demo", 1), "chat", "ann")
	admin := "http://" + c.edges[0].AdminAddr()
	if got := c.status(admin + "/healthz"); got != http.StatusOK {
		t.Fatalf("healthz: %d", got)
	}
	_, body := c.do(http.MethodGet, admin+"/metrics", "", "", nil)
	for _, name := range []string{"signalr_server_active_connections", "signalbox_edge_hubs", "signalbox_directory_documents"} {
		if !strings.Contains(body, name) {
			t.Errorf("no metric %s", name)
		}
	}
	if strings.Contains(body, "01DEMO") {
		t.Error("metrics name a tenant")
	}
	k.ws.CloseNow()
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if got := c.status("http://" + c.edges[0].Addr() + path); got != http.StatusNotFound {
			t.Errorf("%s is public: %d", path, got)
		}
	}
	// The internal listener is closed to strangers.
	if _, err := http.Get("https://" + c.edges[0].InternalAddr() + "/"); err == nil {
		t.Error("a stranger reached the internal listener")
	}
}

func TestConfigNamesEveryProblem(t *testing.T) {
	t.Parallel()
	err := Config{
		RedisURL: "http://x", Addr: "x", AdminAddr: "127.0.0.1:1", InternalAddr: "0.0.0.0:0", Advertise: "edge", FleetSecret: "short",
		APIInternalURL: "http://api", ServiceHosts: []string{"a:1"}, DefaultTenant: "API", DrainOver: -time.Second, LogLevel: "loud",
	}.Validate()
	for _, name := range []string{
		"REDIS_URL", "SIGNALBOX_EDGE_ADDR", "SIGNALBOX_EDGE_ADVERTISE", "SIGNALBOX_FLEET_SECRET", "SIGNALBOX_API_INTERNAL_URL",
		"SIGNALBOX_SERVICE_HOSTS", "SIGNALBOX_DEFAULT_TENANT", "SIGNALBOX_EDGE_DRAIN", "SIGNALBOX_LOG_LEVEL",
	} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named in %v", name, err)
		}
	}
	if _, err := New(t.Context(), Config{}, nil); err == nil || errors.Is(err, http.ErrServerClosed) {
		t.Errorf("an empty configuration was accepted: %v", err)
	}
}
