package edge

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"github.com/signalbox/signalbox/hubs/appserver"
	sp "github.com/signalbox/signalbox/hubs/serviceprotocol"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// A key is revoked while 100 clients of all transports on three edges and app servers
// live by it: all of them end without leave to come back, and whatever it signed or
// opens is refused on every edge. Those of the other key, and of another tenant with
// the same keys, notice nothing.
func TestSEC_15_revoked_key(t *testing.T) {
	t.Parallel()
	demo, other := document("demo", 1), document("other", 1)
	demo.Limits.MaxConnections = 200
	other.Keys = demo.Keys
	c := startEdges(t, 3, demo, other)
	c.startFront()
	c.endsAtOnce()

	app := c.server(1, demo, "idle", "app_1", sp.ConnectionDefault)
	c.app(0, demo, "desk", appserver.Options{})
	served := c.connect(0, demo, "chat", "served") // by the app server, whose end comes with its own
	if got := served.called("Echo", `"hello"`); got != "desk hello" {
		t.Fatalf("the app server says %q", got)
	}
	const clients = 100
	ends := make([]func() frame, 0, clients)
	var pollers []*wanderer
	for i := range clients {
		user := "user-" + strconv.Itoa(i)
		switch i % 3 {
		case 0:
			ends = append(ends, c.connect(i/3%3, demo, "news", user).next)
		case 1:
			ends = append(ends, c.streaming(demo, "news", user).next)
		default:
			w, _ := c.polling(demo, "news", user)
			ends = append(ends, w.last)
			pollers = append(pollers, w)
		}
	}
	var kept []*client
	for edge := range c.edges {
		k, _, err := c.dial(edge, edge, demo, "news", clientJWT(t, demo, 1, "news", "kept"))
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, k, c.connect(edge, other, "news", "kept"))
	}
	if res, _ := c.do(http.MethodHead, c.base(0, "demo")+"/api/hubs/news/connections/"+url.PathEscape(pollers[0].id)+"?api-version=2022-11-01", demo.Keys[1].Secret, "", nil); res.StatusCode != http.StatusOK {
		t.Errorf("a polling client that is there is answered with %d", res.StatusCode)
	}
	negotiated := make([]string, 3) // ids that no transport has begun yet
	for edge := range c.edges {
		_, body := c.do(http.MethodPost, c.base(edge, "demo")+"/client/negotiate?negotiateVersion=1&hub=news", clientJWT(t, demo, 0, "news", "late"), "", nil)
		var n struct{ ConnectionToken string }
		if json.Unmarshal([]byte(body), &n) != nil || n.ConnectionToken == "" {
			t.Fatalf("negotiate: %s", body)
		}
		negotiated[edge] = n.ConnectionToken
	}

	closed := make(chan frame, clients)
	var all sync.WaitGroup
	for _, end := range ends {
		all.Go(func() { closed <- end() })
	}
	after := document("demo", 2)
	after.Limits.MaxConnections, after.Keys = 200, after.Keys[1:]
	began := time.Now()
	c.publish(after)
	// Every edge refuses the key's tokens 5 s after that at the latest, while its
	// connections are being closed.
	late := clientJWT(t, demo, 0, "news", "late")
	refuses := make([]time.Duration, len(c.edges))
	for edge := range c.edges {
		all.Go(func() {
			c.eventually("the token is refused", func() bool {
				res, _ := c.do(http.MethodPost, c.base(edge, "demo")+"/client/negotiate?hub=news", late, "", nil)
				refuses[edge] = time.Since(began)
				return res.StatusCode == http.StatusUnauthorized
			})
		})
	}
	var told sp.Message
	var serverTook time.Duration
	all.Go(func() {
		if told = app.next(); app.next() != nil {
			t.Error("the app server goes on")
		}
		serverTook = time.Since(began)
	})
	all.Wait()
	close(closed)
	took := time.Since(began)
	t.Logf("%d clients were closed within %s, the app server within %s; the edges refused after %s", clients, took, serverTook, refuses)
	if took > 30*time.Second || serverTook > 30*time.Second {
		t.Errorf("the last client was closed after %s, the app server after %s, want 30 s at most", took, serverTook)
	}
	if last := slices.Max(refuses); last > 5*time.Second {
		t.Errorf("the key's tokens were refused after %s, want 5 s at most", last)
	}
	ended := 0
	for f := range closed {
		ended++
		if f.Type != 7 || f.AllowReconnect || f.Error != "Connection closed with an error." && !strings.Contains(f.Error, reasonRevoked) {
			t.Errorf("a client got %+v at the end", f)
		}
	}
	if ended != clients {
		t.Errorf("%d clients were told, want %d", ended, clients)
	}
	// Of a poll's 401 it can't be seen whether the connection has ended: the REST API,
	// by the good key, knows.
	for _, w := range pollers {
		c.eventually("a polling client is gone", func() bool {
			res, _ := c.do(http.MethodHead, c.base(0, "demo")+"/api/hubs/news/connections/"+url.PathEscape(w.id)+"?api-version=2022-11-01", after.Keys[0].Secret, "", nil)
			return res.StatusCode == http.StatusNotFound
		})
	}
	served.wantClose(reasonRevoked, false)
	if m, ok := told.(*sp.ServiceError); !ok || m.Message != reasonRevoked {
		t.Errorf("the app server was told %+v", told)
	}

	secret := demo.Keys[0].Secret
	hello := `{"target":"t","arguments":[]}`
	for edge := range c.edges {
		at := c.base(edge, "demo")
		token := clientJWT(t, demo, 0, "news", "late")
		for _, ask := range []struct{ what, method, url, token, body string }{
			{"negotiate", http.MethodPost, at + "/client/negotiate?hub=news", token, ""},
			{"token in the query", http.MethodPost, at + "/client/negotiate?hub=news&access_token=" + token, "", ""},
			{"poll", http.MethodGet, at + "/client/?hub=news&id=" + url.QueryEscape(negotiated[edge]), token, ""},
			{"post", http.MethodPost, at + "/client/?hub=news&id=" + url.QueryEscape(negotiated[edge]), token, ping},
			{"end", http.MethodDelete, at + "/client/?hub=news&id=" + url.QueryEscape(negotiated[edge]), token, ""},
			{"REST token", http.MethodPost, at + "/api/v1/hubs/news", restJWT(t, demo), hello},
			{"key as a bearer", http.MethodPost, at + "/api/v1/hubs/news", secret, hello},
		} {
			if res, _ := c.do(ask.method, ask.url, ask.token, ask.body, nil); res.StatusCode != http.StatusUnauthorized {
				t.Errorf("edge %d answers %s with %d", edge, ask.what, res.StatusCode)
			}
		}
		for _, id := range []string{"", "&id=" + url.QueryEscape(negotiated[edge])} {
			for name, upgrade := range map[string]func(*http.Request){
				"WebSocket": func(r *http.Request) {
					for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} {
						r.Header.Set(k, v)
					}
				},
				"events": func(r *http.Request) { r.Header.Set("Accept", "text/event-stream") },
			} {
				if res, _ := c.do(http.MethodGet, at+"/client/?hub=news"+id, token, "", upgrade); res.StatusCode != http.StatusUnauthorized {
					t.Errorf("edge %d answers %s with %d", edge, name, res.StatusCode)
				}
			}
		}
		if _, res := c.dialServer(edge, demo, "chat", serverJWT(t, jwt.SigningMethodHS256, demo, 0, "http://localhost/t/demo/server/?hub=chat", "app_2")); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("edge %d answers an app server with %d", edge, res.StatusCode)
		}
	}
	for _, d := range []*tenants.Document{after, other} {
		if res, body := c.do(http.MethodPost, c.base(2, d.Slug)+"/api/v1/hubs/news", d.Keys[0].Secret, `{"target":"still","arguments":["here"]}`, nil); res.StatusCode != http.StatusAccepted {
			t.Fatalf("publishing with a good key: %d %s", res.StatusCode, body)
		}
	}
	for _, k := range kept {
		k.want("still", "here")
	}
}

// last polls until there is a Close message; a client that is between two polls when it
// is closed finds out by 401, which lets it come back no more than the message would.
func (w *wanderer) last() frame {
	for {
		res, got := w.c.do(http.MethodGet, w.c.front.url+w.path, w.token, "", nil)
		for record := range strings.SplitSeq(w.text+got, separator) {
			var f frame
			if json.Unmarshal([]byte(record), &f) == nil && f.Type == 7 {
				return f
			}
		}
		switch w.text = ""; res.StatusCode {
		case http.StatusOK:
		case http.StatusUnauthorized:
			return frame{Type: 7, Error: reasonRevoked}
		default:
			return frame{Error: fmt.Sprintf("poll: %d %s", res.StatusCode, got)}
		}
	}
}

// endsAtOnce has the edges not wait for their connections at the end of the test.
func (c *cluster) endsAtOnce() {
	c.t.Cleanup(func() {
		for _, force := range c.forces {
			force()
		}
	})
}

// A token that expires ends its connection where it says so itself, or where the hub
// does; a change of the hub's setting counts for connections that live. None begins that
// would end at once.
func TestSEC_17_tokens_that_expire(t *testing.T) {
	t.Parallel()
	with := func(revision int64, chat, strict bool) *tenants.Document {
		d := document("demo", revision)
		d.Hubs = map[string]tenants.HubSettings{"chat": {CloseOnExpiry: chat}, "strict": {CloseOnExpiry: strict}}
		return d
	}
	demo := with(1, false, true)
	c := startEdges(t, 2, demo)
	c.startFront()
	c.endsAtOnce()
	expires := time.Now().Add(8 * time.Second).Truncate(time.Second)
	var ends, later []func() frame
	var stay []func(target, argument string)
	for _, of := range []struct {
		hub          string
		token, stays bool // whether the token says that it closes, and whether the connection stays
	}{{"chat", true, false}, {"strict", false, false}, {"chat", false, true}} {
		token := mintClientAt(t, demo, accesstoken.ClientOptions{Hub: of.hub, UserID: "ann", Life: time.Hour, CloseOnExpiry: of.token}, expires.Add(-time.Hour))
		ws := c.joined(0, demo, of.hub, token)
		sse, polls := c.streamingWith(demo, of.hub, token), c.pollingWith(demo, of.hub, token)
		if of.stays {
			stay = []func(string, string){ws.want, sse.want, polls.want}
			later = []func() frame{ws.next, sse.next, polls.next}
			continue
		}
		ends = append(ends, ws.next, sse.next, polls.next)
	}
	ended := func(i int, end func() frame) {
		t.Helper()
		if f := end(); f.Type != 7 || !f.AllowReconnect {
			t.Errorf("connection %d got %+v, want its end with leave to reconnect", i, f)
		}
	}
	for i, end := range ends {
		ended(i, end)
		if early := time.Until(expires); early > 0 {
			t.Errorf("it ended %s before its token", early)
		}
	}
	took := time.Since(expires)
	t.Logf("the last one ended %s after its token", took)
	if took > 2*time.Second {
		t.Errorf("the last one ended %s after its token, want 2 s at most", took)
	}
	c.send(1, demo, "chat", "still", "here")
	for _, want := range stay {
		want("still", "here")
	}

	fresh := mintClientAt(t, demo, accesstoken.ClientOptions{Hub: "strict", UserID: "ann", Life: time.Hour}, time.Now())
	lives := c.joined(1, demo, "strict", fresh)
	hasEnd := func() bool { return strings.Contains(string(lives.done("$refreshToken", fresh).Result), "expiresAt") }
	if !hasEnd() {
		t.Error("a connection to a hub that closes is not told of its end")
	}
	c.publish(with(2, true, false))
	for i, end := range later {
		ended(i, end)
	}
	c.eventually("a connection outlives its token where the hub doesn't close any more", func() bool { return !hasEnd() })

	// Good by the leeway, but not for a connection that ends with it.
	past := func(hub string, closes bool) string {
		return mintClientAt(t, demo, accesstoken.ClientOptions{Hub: hub, UserID: "late", Life: time.Hour, CloseOnExpiry: closes}, time.Now().Add(-time.Hour-time.Second))
	}
	for _, row := range []struct {
		hub    string
		closes bool
		want   int
	}{{"strict", false, http.StatusOK}, {"strict", true, http.StatusUnauthorized}, {"chat", false, http.StatusUnauthorized}} {
		if res, body := c.do(http.MethodPost, c.base(1, demo.Slug)+"/client/negotiate?negotiateVersion=1&hub="+row.hub, past(row.hub, row.closes), "", nil); res.StatusCode != row.want {
			t.Errorf("a token that has just expired at the hub %s, closing %v: got %d %s, want %d", row.hub, row.closes, res.StatusCode, body, row.want)
		}
	}
	ws, res, err := websocket.Dial(t.Context(), c.base(1, demo.Slug)+"/client/?hub=chat", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + past("chat", false)}}})
	if err == nil {
		ws.CloseNow()
	}
	if err == nil || res == nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a WebSocket that isn't negotiated, with a token that has just expired: %v, %v", res, err)
	}

	for edge := range c.edges { // a minute's leeway apart
		past := mintClientAt(t, demo, accesstoken.ClientOptions{UserID: "on", Life: time.Hour}, time.Now().Add(-time.Hour-accesstoken.Leeway-time.Second))
		if status := c.negotiates(edge, demo, past); status != http.StatusUnauthorized {
			t.Errorf("edge %d answers an expired token with %d", edge, status)
		}
	}
}

// mintClientAt is mintClient at another time.
func mintClientAt(t *testing.T, d *tenants.Document, o accesstoken.ClientOptions, at time.Time) string {
	t.Helper()
	o.Hub = cmp.Or(o.Hub, "chat")
	m, err := accesstoken.MintClient(d.Keys[0], "http://localhost/t/"+d.Slug, o, at)
	if err != nil {
		t.Fatal(err)
	}
	return m.Token
}

// One short of the limit of connections, many come at once to three edges: one gets in.
// With a Redis that doesn't answer in time edges go by the shares that they had, and
// there the count is not exact: what is judged is a round without that.
func TestSEC_47_the_last_connection(t *testing.T) {
	t.Parallel()
	var rounds []*tenants.Document
	for i := range 5 {
		rounds = append(rounds, limited("last"+strconv.Itoa(i), func(l *tenants.Limits) { l.MaxConnections = 10 }))
	}
	c := startEdges(t, 3, rounds...)
	c.endsAtOnce()
	away := func() int { return strings.Count(c.logs.String(), "connections not counted in redis") }
	for _, d := range rounds {
		before := away()
		in := c.lastConnection(d)
		switch {
		case away() > before:
			t.Logf("Redis was slow, and %d got in: once more", in)
			continue
		case in != 1:
			t.Errorf("%d got in, want one", in)
		}
		return
	}
	t.Error("Redis was too slow in each round")
}

// lastConnection takes all places of ten but one, and lets 60 ask for that; it returns
// how many got it.
func (c *cluster) lastConnection(d *tenants.Document) int {
	c.t.Helper()
	for i := range 9 {
		c.connect(i%3, d, "chat", "")
	}
	token := clientJWT(c.t, d, 0, "chat", "ann")
	var in atomic.Int32
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			// Straight to a WebSocket, which nobody has judged before.
			ws, res, err := websocket.Dial(c.t.Context(), c.base(i%3, d.Slug)+"/client/?hub=chat", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
			switch {
			case err == nil:
				in.Add(1)
				c.t.Cleanup(func() { ws.CloseNow() })
			case res == nil || res.StatusCode != http.StatusTooManyRequests:
				c.t.Errorf("%v, %v", res, err)
			}
		})
	}
	all.Wait()
	return int(in.Load())
}

// A plan that allows less than what is in use cuts nobody off: whoever is connected
// stays and is served, nobody else comes until there is room.
func TestSEC_18_a_downgrade_cuts_nobody_off(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	c.endsAtOnce()
	var live []*client
	for i := range 6 {
		live = append(live, c.connect(i%2, demo, "chat", "ann"))
	}
	less := document("demo", 2)
	less.Limits.MaxConnections = 4
	c.publish(less)
	token := clientJWT(t, demo, 0, "chat", "bob")
	for edge := range c.edges {
		c.eventually("a newcomer is refused", func() bool {
			res, body := c.do(http.MethodPost, c.base(edge, "demo")+"/client/negotiate?hub=chat", token, "", nil)
			return res.StatusCode == http.StatusTooManyRequests && strings.Contains(body, "connection_limit")
		})
	}
	c.send(0, demo, "chat", "still", "here")
	for _, k := range live {
		k.want("still", "here")
	}
	for i := range 2 { // as many as are allowed: still no room
		live[i].ws.CloseNow()
	}
	c.eventually("a newcomer is refused with all places taken", func() bool {
		res, _ := c.do(http.MethodPost, c.base(1, "demo")+"/client/negotiate?hub=chat", token, "", nil)
		return res.StatusCode == http.StatusTooManyRequests
	})
	live[2].ws.CloseNow()
	c.eventually("there is room for one", func() bool {
		_, _, err := c.dial(1, 0, demo, "chat", token)
		return err == nil
	})
}

// A tenant is suspended while clients of all transports and an app server are connected:
// all of them end, and whatever is asked for afterwards is refused by the code. What is
// asked without a good token is refused as ever.
func TestSEC_18_a_suspended_tenant_on_every_transport(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	c.startFront()
	c.endsAtOnce()
	app := c.server(1, demo, "idle", "app_1", sp.ConnectionDefault)
	live := c.connect(0, demo, "chat", "ann")
	events := c.streaming(demo, "chat", "bob")
	polls, _ := c.polling(demo, "chat", "eve")
	suspended := document("demo", 2)
	suspended.Status = tenants.Suspended
	began := time.Now()
	c.publish(suspended)
	for name, end := range map[string]func() frame{"WebSocket": live.next, "events": events.next} {
		if f := end(); f.Type != 7 || f.AllowReconnect || !strings.Contains(f.Error, reasonSuspended) {
			t.Errorf("%s got %+v", name, f)
		}
	}
	c.eventually("polls are refused", func() bool {
		status, _ := polls.call(http.MethodGet, "")
		return status == http.StatusForbidden
	})
	if m := nextAs[*sp.ServiceError](app); m.Message != reasonSuspended {
		t.Errorf("the app server was told %+v", m)
	}
	if m := app.next(); m != nil {
		t.Errorf("the app server goes on with %+v", m)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the last one ended %s after the suspension, want 10 s at most", took)
	}

	token, server := clientJWT(t, demo, 0, "chat", "ann"), serverJWT(t, jwt.SigningMethodHS256, demo, 0, "http://localhost/t/demo/server/?hub=chat", "app_2")
	stream := func(r *http.Request) { r.Header.Set("Accept", "text/event-stream") }
	upgrade := func(r *http.Request) {
		for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} {
			r.Header.Set(k, v)
		}
	}
	_, id, _ := strings.Cut(polls.path, "id=")
	for edge := range c.edges {
		at := c.base(edge, "demo")
		for what, ask := range map[string]struct {
			method, path, token string
			change              func(*http.Request)
		}{
			"negotiate":  {http.MethodPost, "/client/negotiate?hub=chat", token, nil},
			"WebSocket":  {http.MethodGet, "/client/?hub=chat", token, upgrade},
			"events":     {http.MethodGet, "/client/?hub=chat&id=" + id, token, stream},
			"poll":       {http.MethodGet, "/client/?hub=chat&id=" + id, token, nil},
			"post":       {http.MethodPost, "/client/?hub=chat&id=" + id, token, nil},
			"end":        {http.MethodDelete, "/client/?hub=chat&id=" + id, token, nil},
			"app server": {http.MethodGet, "/server/?hub=chat", server, upgrade},
			"REST":       {http.MethodPost, "/api/v1/hubs/chat", demo.Keys[0].Secret, nil},
		} {
			if res, body := c.do(ask.method, at+ask.path, ask.token, "", ask.change); res.StatusCode != http.StatusForbidden || !strings.Contains(body, "tenant_suspended") {
				t.Errorf("edge %d answers %s with %d %s", edge, what, res.StatusCode, body)
			}
			if res, body := c.do(ask.method, at+ask.path, "nobody", "", ask.change); res.StatusCode != http.StatusUnauthorized || strings.Contains(body, "suspended") {
				t.Errorf("edge %d answers %s of nobody with %d %s", edge, what, res.StatusCode, body)
			}
		}
	}
}

// requestIDs are what differs between any two answers.
var requestIDs = regexp.MustCompile(`req_\w+`)

// A position can't be made, changed or taken elsewhere, and says nothing of what others
// publish: two of one's own are alike whether nothing or a hundred messages of others
// lie between them.
func TestSEC_51_positions_tell_nothing(t *testing.T) {
	t.Parallel()
	demo, other := document("demo", 1), document("other", 1)
	other.Keys = demo.Keys
	c := startCluster(t, demo, other)
	rest, of := restJWT(t, demo), map[string]*tenants.Document{"demo": demo, "other": other}
	publish := func(group string) (position, whole string) {
		t.Helper()
		res, body := c.do(http.MethodPost, c.base(0, "demo")+"/api/v1/hubs/chat/groups/"+group, rest, `{"target":"news","arguments":["x"]}`, nil)
		position = res.Header.Get("X-Signalbox-Position")
		if res.StatusCode != http.StatusAccepted || position == "" {
			t.Fatalf("publishing: %d %v %s", res.StatusCode, res.Header, body)
		}
		for name := range res.Header { // which are about the caller's own limits, and the request
			if name == "Date" || strings.HasPrefix(name, "Ratelimit") || strings.HasSuffix(name, "Request-Id") {
				res.Header.Del(name)
			}
		}
		return position, strings.ReplaceAll(fmt.Sprintf("%d %v %s", res.StatusCode, res.Header, body), position, "POSITION")
	}
	first, said := publish("mine")
	next, saidNext := publish("mine")
	for range 100 {
		publish("theirs")
	}
	last, saidLast := publish("mine")
	if said != saidNext || said != saidLast {
		t.Errorf("besides its position an answer tells one message from another:\n%s\n%s\n%s", said, saidNext, saidLast)
	}
	raw := func(token string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	// However they are numbered: no byte of a number is at its place, nor anywhere.
	for _, p := range []string{first, next, last} {
		if len(p) != len(first) {
			t.Errorf("positions of one hub have %d and %d characters", len(p), len(first))
		}
		for n := uint64(1); n <= 103; n++ {
			var fixed [8]byte
			binary.BigEndian.PutUint64(fixed[:], n)
			// One or two digits between hyphens are in any text now and then.
			inText := n >= 100 && strings.Contains(p, fmt.Sprintf("-%d-", n))
			if inText || strings.Contains(string(raw(p)), string(fixed[4:])) {
				t.Errorf("%s holds the number %d", p, n)
			}
		}
	}
	differ := func(a, b string) (bits int) {
		x, y := raw(a), raw(b)
		for i := range x {
			for d := x[i] ^ y[i]; d != 0; d &= d - 1 {
				bits++
			}
		}
		return bits
	}
	// Half of the bits of two texts that have nothing to do with each other; neighbours
	// in a counter, or in a stream cipher with one nonce, would have nearly all in common.
	for what, pair := range map[string][2]string{"neighbours": {first, next}, "far apart": {next, last}} {
		if bits, of := differ(pair[0], pair[1]), 8*len(raw(first)); bits < of*3/8 || bits > of*5/8 {
			t.Errorf("positions %s differ in %d of %d bits", what, bits, of)
		}
	}

	asked := 1
	refusal := func(slug, hub, token string) (int, string) {
		res, body := c.do(http.MethodGet, c.base(asked, slug)+"/api/hubs/"+hub+"/messages?after="+url.QueryEscape(token), restJWT(t, of[slug]), "", nil)
		return res.StatusCode, requestIDs.ReplaceAllString(strings.ReplaceAll(body, "/t/"+slug+"/api/hubs/"+hub, ""), "REQUEST")
	}
	_, madeUp := refusal("demo", "chat", "made-up")
	flipped := raw(last)
	var tampered []string
	for i := range flipped {
		flipped[i] ^= 1
		tampered = append(tampered, base64.RawURLEncoding.EncodeToString(flipped))
		flipped[i] ^= 1
	}
	tampered = append(tampered, last[:len(last)-2], last+"AA", last+last, "", strings.Repeat("A", 300), strings.Repeat("A", len(last)), "../../x", "1-0", "101")
	for _, token := range tampered {
		if status, body := refusal("demo", "chat", token); status != http.StatusBadRequest || body != madeUp {
			t.Errorf("%q is answered %d %s, want 400 %s", token, status, body, madeUp)
		}
	}
	for _, place := range [][2]string{{"demo", "news"}, {"other", "chat"}} {
		if status, body := refusal(place[0], place[1], last); status != http.StatusBadRequest || body != madeUp {
			t.Errorf("at %v it is answered %d %s, want 400 %s", place, status, body, madeUp)
		}
	}
	ann := c.with(1, demo, mintClient(t, demo, accesstoken.ClientOptions{UserID: "ann", Groups: []string{"mine"}, Permissions: []string{"joinGroup", "readHistory"}}).Token)
	texts := make(map[string]bool)
	for _, token := range []string{"made-up", tampered[0], tampered[20]} {
		ann.write(`{"type":4,"invocationId":"h","target":"$history","arguments":[{"group":"mine","after":"` + token + `"}]}`)
		texts[ann.next().Error] = true
	}
	if len(texts) != 1 || texts[""] {
		t.Errorf("clients are told %v", texts)
	}

	// Another epoch, and what was trimmed, are one answer too.
	if err := c.redis.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	for f := ann.next(); f.end == nil; f = ann.next() {
	}
	c.publish(demo)
	c.publish(other)
	anew, _ := publish("mine")
	gone := regexp.MustCompile(`"(from|to)":"[^"]*"`)
	said = ""
	for _, token := range []string{first, next, last} {
		status, body := refusal("demo", "chat", token)
		if body = gone.ReplaceAllString(body, ""); status != http.StatusGone || said != "" && body != said {
			t.Errorf("of another epoch it is answered %d %s, want 410 %s", status, body, said)
		}
		said = body
	}
	if status, _ := refusal("demo", "chat", anew); status != http.StatusOK {
		t.Errorf("a good one is answered %d", status)
	}
	for range 10 {
		publish("theirs")
	}
	if err := c.redis.XTrimMaxLen(t.Context(), redisclient.Hub(demo.ID, "chat").Stream(), 1).Err(); err != nil {
		t.Fatal(err)
	}
	// One that remembers nothing: what is in an edge's memory outlives the stream.
	asked = len(c.edges)
	c.start(func(*Config) {})
	status, body := refusal("demo", "chat", anew)
	if body = gone.ReplaceAllString(body, ""); status != http.StatusGone || body != said {
		t.Errorf("what came after it is trimmed, and it is answered %d %s, want 410 %s", status, body, said)
	}
}
