package edge

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"github.com/signalbox/signalbox/hubs/quota"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// told is a refusal as a surface shows it.
type told struct {
	fault.Limit
	surface string
}

// line reads the refusal in a text, which is the form of negotiate, completions and
// Close messages.
func line(t *testing.T, surface, text string) told {
	t.Helper()
	text = text[strings.LastIndex(text, "HubException: ")+1:]
	text = strings.TrimPrefix(text, "ubException: ")
	fields := strings.Fields(text)
	if len(fields) < 4 {
		t.Fatalf("%s: %q is no refusal", surface, text)
	}
	l := told{Limit: fault.Limit{Code: fields[0]}, surface: surface}
	for _, field := range fields[1:] {
		name, value, _ := strings.Cut(field, "=")
		n, _ := strconv.ParseInt(strings.TrimSuffix(value, "/s"), 10, 64)
		switch name {
		case "scope":
			l.Scope = value
		case "limit":
			l.Limit.Limit = value
		case "max":
			l.Max = n
		case "burst":
			l.Burst = n
		case "counted":
			l.Counted = value
		case "retry_after_ms":
			l.RetryAfterMS = n
		case "request_id":
			l.RequestID = value
		case "see":
			l.Doc = value
		}
	}
	return l
}

// limited is a tenant whose limit is met: with roomy limits but for what set changes.
func limited(name string, set func(l *tenants.Limits)) *tenants.Document {
	d := document(strings.ReplaceAll(name, "_", "-"), 1)
	d.Plan = "free" // its limits are hard
	d.Hubs = map[string]tenants.HubSettings{"chat": {ClientPermissions: []string{"joinGroup", "leaveGroup", "sendToGroup", "presence"}}}
	set(&d.Limits)
	return d
}

// TestLimits_are_told_in_the_same_words: each limit is hit for real over real edges, and
// its refusal read on the surface where it appears.
func TestLimits_are_told_in_the_same_words(t *testing.T) {
	t.Parallel()
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or it isn't seen that who asked has gone
		w.Header().Set("Content-Type", "application/x-ndjson")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(silent.Close)
	asked := make(chan struct{}, 1)
	mute := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(mute.Close)
	negotiate := func(c *cluster, d *tenants.Document, edge int, address string) (int, http.Header, string) {
		res, body := c.do(http.MethodPost, c.base(edge, d.Slug)+"/client/negotiate?negotiateVersion=1&hub=chat", clientJWT(c.t, d, 0, "chat", "ann"), "",
			func(r *http.Request) {
				if address != "" {
					r.Header.Set("X-Forwarded-For", address)
				}
			})
		return res.StatusCode, res.Header, body
	}
	// negotiated tries until it is refused.
	negotiated := func(most int, address string) func(c *cluster, d *tenants.Document) told {
		return func(c *cluster, d *tenants.Document) told {
			for i := range most {
				edge := i % 2
				if address != "" {
					edge = 0 // counted on each
				}
				status, header, body := negotiate(c, d, edge, address)
				if status == http.StatusTooManyRequests {
					if header.Get("Retry-After") == "" {
						c.t.Errorf("no Retry-After: %v", header)
					}
					return line(c.t, "negotiate", body)
				}
			}
			c.t.Fatalf("%d were let in", most)
			return told{}
		}
	}
	// connected does so with connections there.
	connected := func(most int) func(c *cluster, d *tenants.Document) told {
		return func(c *cluster, d *tenants.Document) told {
			for i := range most {
				c.connect(i%2, d, "chat", "ann")
			}
			return negotiated(100, "")(c, d) // it lets in whom Redis doesn't judge in a tenth of a second
		}
	}
	called := func(most int, method string, arguments ...any) func(c *cluster, d *tenants.Document) told {
		return func(c *cluster, d *tenants.Document) told {
			k := c.connect(0, d, "chat", "ann")
			for i := range most {
				own := make([]any, len(arguments))
				for j, a := range arguments {
					own[j] = a
					if text, ok := a.(string); ok {
						own[j] = strings.ReplaceAll(text, "#", strconv.Itoa(i))
					}
				}
				if f := k.call(method, own...); strings.Contains(f.Error, "see=") {
					return line(c.t, "completion", f.Error)
				}
			}
			c.t.Fatalf("%d calls were let through", most)
			return told{}
		}
	}
	posted := func(most int, path, body string) func(c *cluster, d *tenants.Document) told {
		return func(c *cluster, d *tenants.Document) told {
			for i := range most {
				res, text := c.do(http.MethodPost, c.base(i%2, d.Slug)+"/api/hubs/chat"+path, d.Keys[0].Secret, body, nil)
				var l fault.Limit
				if err := json.Unmarshal([]byte(text), &l); err == nil && l.Limit != "" {
					if res.StatusCode == http.StatusTooManyRequests && (res.Header.Get("Retry-After") == "" || res.Header.Get("RateLimit-Policy") == "") {
						c.t.Errorf("headers %v", res.Header)
					}
					return told{Limit: l, surface: "REST"}
				}
			}
			c.t.Fatalf("%d requests were let through", most)
			return told{}
		}
	}
	// opened connects from an address, which counts as one behind a proxy.
	opened := func(c *cluster, d *tenants.Document) told {
		const address = "203.0.113.9"
		for range 3 {
			ws, _, err := websocket.Dial(c.t.Context(), c.base(0, d.Slug)+"/client/?hub=chat", &websocket.DialOptions{
				HTTPHeader: http.Header{"Authorization": {"Bearer " + clientJWT(c.t, d, 0, "chat", "")}, "X-Forwarded-For": {address}}})
			if err != nil {
				c.t.Fatal(err)
			}
			c.t.Cleanup(func() { ws.CloseNow() })
			k := &client{t: c.t, ws: ws, frames: make(chan frame, 1)}
			k.write(`{"protocol":"json","version":1}`)
			go k.read()
			k.next() // it counts
			if status, _, body := negotiate(c, d, 0, address); status == http.StatusTooManyRequests {
				return line(c.t, "negotiate", body)
			}
		}
		c.t.Fatal("three connections of one address are let in")
		return told{}
	}
	// streamed opens streams that don't end.
	streamed := func(c *cluster, d *tenants.Document) told {
		k := c.connect(0, d, "chat", "ann")
		for i := range 20 {
			k.write(fmt.Sprintf(`{"type":4,"invocationId":"%d","target":"ticks","arguments":[]}`, i))
		}
		for {
			if f := k.next(); strings.Contains(f.Error, "see=") {
				return line(c.t, "completion", f.Error)
			} else if f.end != nil {
				c.t.Fatal("twenty streams are let through")
			}
		}
	}
	// stalled is sent more than it reads, then reads.
	stalled := func(c *cluster, d *tenants.Document) told {
		token := clientJWT(c.t, d, 0, "chat", "")
		ws, _, err := websocket.Dial(c.t.Context(), c.base(0, d.Slug)+"/client/?hub=chat", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
		if err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(func() { ws.CloseNow() })
		ws.SetReadLimit(-1)
		k := &client{t: c.t, ws: ws, frames: make(chan frame, 1)} // whose reader goes on when it is read
		k.write(`{"protocol":"json","version":1}`)
		go k.read()
		k.next()
		body := `{"target":"t","arguments":["` + strings.Repeat("x", 900<<10) + `"]}`
		c.eventually("its queue is full", func() bool {
			res, text := c.do(http.MethodPost, c.base(0, d.Slug)+"/api/hubs/chat/:send", d.Keys[0].Secret, body, nil)
			if res.StatusCode != http.StatusAccepted {
				c.t.Fatalf("send: %d %s", res.StatusCode, text)
			}
			figures, err := quota.ReadFigures(c.t.Context(), c.redis, d.ID, time.Now())
			return err == nil && figures["outbound_queue_bytes"].Refused > 0
		})
		for {
			if f := k.next(); f.Type == 7 {
				if !f.AllowReconnect {
					c.t.Error("without leave to reconnect")
				}
				return line(c.t, "close", f.Error)
			} else if f.end != nil {
				c.t.Fatalf("ended without a word: %v", f.end)
			}
		}
	}
	rows := []struct {
		limit string
		set   func(l *tenants.Limits)
		hit   func(c *cluster, d *tenants.Document) told
		also  func(d *tenants.Document)
	}{
		{limit: "max_connections", set: func(l *tenants.Limits) { l.MaxConnections = 2 }, hit: connected(2)},
		{limit: "connects_per_second", set: func(l *tenants.Limits) { l.ConnectsPerSecond, l.ConnectBurst = 1, 2 }, hit: negotiated(100, "")},
		{limit: "max_connections_per_user", set: func(l *tenants.Limits) { l.MaxConnectionsPerUser = 2 }, hit: connected(2)},
		{limit: "connects_per_ip_per_second", set: func(l *tenants.Limits) { l.ConnectsPerIPPerSecond, l.ConnectPerIPBurst = 1, 2 }, hit: negotiated(100, "203.0.113.7")},
		{limit: "messages_per_second", set: func(l *tenants.Limits) { l.MessagesPerSecond, l.MessageBurst = 1, 3 }, hit: called(100, "echo")},
		{limit: "calls_per_second", set: func(l *tenants.Limits) { l.CallsPerSecond, l.CallBurst = 1, 3 }, hit: called(100, "$unknown")},
		{limit: "messages_per_second", set: func(l *tenants.Limits) { l.MessagesPerSecond, l.MessageBurst = 1, 3 }, hit: posted(100, "/:send", `{"target":"t","arguments":[]}`)},
		{limit: "deliveries_per_second", set: func(l *tenants.Limits) { l.DeliveriesPerSecond = 1 }, hit: func(c *cluster, d *tenants.Document) told {
			for i := range 5 {
				c.connect(i%2, d, "chat", "")
			}
			return posted(100, "/:send", `{"target":"t","arguments":[]}`)(c, d)
		}},
		{limit: "requests_per_second", set: func(l *tenants.Limits) { l.RequestsPerSecond, l.RequestBurst = 1, 3 }, hit: posted(100, "/:send", `{"target":"t","arguments":[]}`)},
		{limit: "token_issues_per_second", set: func(l *tenants.Limits) { l.TokenIssuesPerSecond = 1 }, hit: posted(100, "/:generateToken", "")},
		{limit: "max_group_memberships", set: func(l *tenants.Limits) { l.MaxMemberships = 2 }, hit: called(5, "$joinGroup", "room-#")},
		{limit: "calls_per_second", set: func(l *tenants.Limits) { l.CallsPerSecond, l.CallBurst = 1, 3 }, hit: called(100, "echo")},
		{limit: "bytes_per_second", set: func(l *tenants.Limits) { l.BytesPerSecond, l.ByteBurst = 1024, 1024 }, hit: called(3, "echo", strings.Repeat("x", 20<<10))},
		{limit: "max_groups_per_connection", set: func(l *tenants.Limits) { l.MaxGroupsPerConn = 2 }, hit: called(5, "$joinGroup", "room-#")},
		{limit: "group_publishes_per_second", set: func(l *tenants.Limits) { l.GroupPublishesPerSecond, l.GroupPublishBurst = 1, 3 }, hit: posted(100, "/groups/room/:send", `{"target":"t","arguments":[]}`)},
		{limit: "group_publishes_per_second", set: func(l *tenants.Limits) { l.GroupPublishesPerSecond, l.GroupPublishBurst = 1, 3 }, hit: called(100, "$sendToGroup", "room", "news", []any{})},
		{limit: "max_presence_state_bytes", set: func(l *tenants.Limits) { l.MaxPresenceStateBytes = 16 }, hit: func(c *cluster, d *tenants.Document) told {
			k := c.connect(0, d, "chat", "ann")
			k.done("$joinGroup", "room")
			return line(c.t, "completion", k.call("$setPresence", "room", strings.Repeat("x", 20)).Error)
		}},
		{limit: "max_hubs", set: func(l *tenants.Limits) { l.MaxHubs = 1 }, also: func(d *tenants.Document) { d.Hubs["other"] = tenants.HubSettings{}; delete(d.Hubs, "chat") }, hit: posted(1, "/:send", `{"target":"t","arguments":[]}`)},
		{limit: "max_message_bytes", set: func(l *tenants.Limits) { l.MaxMessageBytes = 256 }, hit: posted(1, "/:send", `{"target":"t","arguments":["`+strings.Repeat("x", 300)+`"]}`)},
		{limit: "max_request_bytes", set: func(l *tenants.Limits) { l.MaxRequestBytes = 1024 }, hit: posted(1, "/:send", `{"target":"t","arguments":["`+strings.Repeat("x", 1100)+`"]}`)},
		{limit: "max_message_bytes", set: func(l *tenants.Limits) { l.MaxMessageBytes = 256 }, hit: func(c *cluster, d *tenants.Document) told {
			k := c.connect(0, d, "chat", "ann")
			k.write(`{"type":1,"target":"echo","arguments":["` + strings.Repeat("x", 300) + `"]}`)
			return line(c.t, "close", k.next().Error)
		}},
		{limit: "max_connections", set: func(l *tenants.Limits) { l.MaxConnections = 5 }, also: func(d *tenants.Document) { d.Plan = "pro" }, hit: connected(6)}, // 120 %
		{limit: "max_connections_per_ip", set: func(l *tenants.Limits) { l.MaxConnectionsPerIP = 2 }, hit: opened},
		{limit: "max_open_streams", set: func(l *tenants.Limits) { l.MaxOpenStreams = 2 }, also: func(d *tenants.Document) {
			d.Hubs["chat"] = tenants.HubSettings{Upstream: &tenants.Upstream{Mode: tenants.UpstreamNative, Rules: []tenants.UpstreamRule{{URL: silent.URL}}}}
			d.WebhookSecrets = []tenants.DocWebhookSecret{{ID: "w", Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}
		}, hit: streamed},
		{limit: "max_upstream_requests", set: func(l *tenants.Limits) { l.MaxUpstreamRequests = 1 }, also: func(d *tenants.Document) {
			for hub, seconds := range map[string]int{"patient": 30, "chat": 1} {
				d.Hubs[hub] = tenants.HubSettings{Upstream: &tenants.Upstream{Mode: tenants.UpstreamNative, TimeoutSeconds: seconds, Rules: []tenants.UpstreamRule{{URL: mute.URL, Category: tenants.CategoryMessages}}}}
			}
			d.WebhookSecrets = []tenants.DocWebhookSecret{{ID: "w", Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}
		}, hit: func(c *cluster, d *tenants.Document) told {
			c.connect(0, d, "patient", "ann").write(`{"type":1,"invocationId":"1","target":"wait","arguments":[]}`)
			select {
			case <-asked:
			case <-time.After(patience):
				c.t.Fatal("the upstream isn't asked")
			}
			return line(c.t, "completion", c.connect(0, d, "chat", "ben").call("wait").Error)
		}},
		{limit: "max_presence_members", set: func(l *tenants.Limits) { l.MaxPresenceMembers = 1 }, hit: func(c *cluster, d *tenants.Document) told {
			first, second := c.connect(0, d, "chat", "ann"), c.connect(1, d, "chat", "ben")
			for _, k := range []*client{first, second} {
				k.done("$joinGroup", "room")
			}
			first.done("$setPresence", "room")
			return line(c.t, "completion", second.call("$setPresence", "room").Error)
		}},
		{limit: "outbound_queue_bytes", set: func(l *tenants.Limits) {
			l.OutboundQueueBytes, l.MaxMessageBytes, l.MaxRequestBytes = 64<<10, 1<<20, 1<<20
		}, hit: stalled},
		{limit: "max_batch_items", set: func(l *tenants.Limits) { l.MaxBatchItems = 1 }, hit: posted(1, "/:batch", `{"messages":[{"target":"t"},{"target":"t"}]}`)},
	}
	tried := map[string]bool{"max_upstream_endpoints": true} // the control plane's, hit there
	docs := make([]*tenants.Document, len(rows))
	for i, row := range rows {
		tried[row.limit] = true
		docs[i] = limited(fmt.Sprintf("t%d-%.20s", i, row.limit), row.set)
		docs[i].Slug = strings.Trim(docs[i].Slug, "-")
		if row.also != nil {
			row.also(docs[i])
		}
	}
	for _, r := range tenants.Rows() {
		if r.Code != "" && !tried[r.Name] {
			t.Errorf("%s refuses, and isn't hit here", r.Name)
		}
	}
	c := startEdgesWith(t, 2, func(cfg *Config) { cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }, docs...)
	for i, row := range rows {
		t.Run(row.limit, func(t *testing.T) {
			t.Parallel()
			own := *c
			own.t = t
			d := docs[i]
			got := row.hit(&own, d)
			r, _ := tenants.Row(row.limit)
			want := r.Refusal(&d.Limits, 0)
			if got.RequestID == "" || r.Kind != tenants.HardLimit && r.Kind != tenants.SoftLimit && got.RetryAfterMS <= 0 {
				t.Errorf("%s: %+v", got.surface, got)
			}
			want.RequestID, want.RetryAfterMS = got.RequestID, got.RetryAfterMS
			if got.Limit != want {
				t.Errorf("%s tells %+v, want %+v", got.surface, got.Limit, want)
			}
			// It is counted, over the fleet and by the limit's name.
			own.eventually("the refusal is among the figures", func() bool {
				figures, err := quota.ReadFigures(t.Context(), c.redis, d.ID, time.Now())
				return err == nil && figures[row.limit].Refused > 0 && !figures[row.limit].LastHit.IsZero()
			})
		})
	}
}

// Who waits for no answer is told by a call of the client's method $limit, once in ten
// seconds; what ends something is never refused, nor what keeps a connection.
func TestLimitNotice(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/feed" {
			w.Header().Set("Content-Type", "application/x-ndjson")
			_, _ = io.WriteString(w, "1\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			close(ended)
		}
	}))
	t.Cleanup(upstream.Close)
	d := limited("notice", func(l *tenants.Limits) { l.CallsPerSecond, l.CallBurst = 1, 3 })
	d.Hubs["chat"] = tenants.HubSettings{
		ClientPermissions: d.Hubs["chat"].ClientPermissions,
		Upstream: &tenants.Upstream{
			Mode: tenants.UpstreamNative, TimeoutSeconds: 30,
			Rules: []tenants.UpstreamRule{{URL: upstream.URL + "/{event}", Category: tenants.CategoryMessages}},
		},
	}
	c := startEdges(t, 1, d)
	k := c.stateful(0, d, "chat", "ann")
	k.write(`{"type":4,"invocationId":"s","target":"feed","arguments":[]}`)
	if f := k.next(); f.Type != 2 || string(f.Item) != "1" {
		t.Fatalf("the stream begins with %+v", f)
	}
	for range 10 {
		k.write(`{"type":1,"target":"echo","arguments":[]}`)
	}
	f := k.next()
	var notice []fault.Limit
	if err := json.Unmarshal(f.Arguments, &notice); err != nil || f.Type != 1 || f.Target != quota.NoticeMethod || len(notice) != 1 {
		t.Fatalf("got %+v, %v", f, err)
	}
	want := fault.Limit{Code: "call_rate", Scope: "connection", Limit: "calls_per_second", Max: 1, Burst: 3, Doc: fault.PagesURL + "call_rate"}
	want.RetryAfterMS, want.RequestID = notice[0].RetryAfterMS, notice[0].RequestID
	if notice[0] != want || want.RetryAfterMS <= 0 || want.RequestID == "" {
		t.Errorf("told %+v, want %+v", notice[0], want)
	}
	// Nor are pings, acknowledgements and cancels, more of them than refusals close a
	// connection, also while the edge takes nothing that needs memory.
	c.edges[0].hubs.pressure.high.Store(true)
	k.write(strings.Repeat(`{"type":6}`+separator+`{"type":8,"sequenceId":1}`+separator+`{"type":5,"invocationId":"none"}`+separator, 110) + `{"type":6}`)
	k.write(`{"type":5,"invocationId":"s"}`)
	// No second notice: the stream's completion is the next frame.
	if f := k.next(); f.Type != 3 || f.InvocationID != "s" || f.Error != "" {
		t.Errorf("the cancel is answered by %+v", f)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the upstream's request goes on")
	}
	// All leaving is carried out, though there is more of it than is carried out at once.
	const leaves = 300
	k.write(strings.Repeat(`{"type":1,"invocationId":"l","target":"$leaveGroup","arguments":["room"]}`+separator, leaves-1) + `{"type":1,"invocationId":"l","target":"$leaveGroup","arguments":["room"]}`)
	for n := 0; n < leaves; {
		switch f := k.next(); {
		case f.Type == 8: // an acknowledgement, once a second
		case f.Type != 3 || f.InvocationID != "l" || f.Error != "":
			t.Fatalf("leaving %d is answered by %+v", n, f)
		default:
			n++
		}
	}
}

// A client that goes on and on is closed with leave to reconnect, and kept out; nobody
// else is.
func TestLimits_end_those_who_go_on(t *testing.T) {
	t.Parallel()
	d := limited("goes-on", func(l *tenants.Limits) { l.CallsPerSecond, l.CallBurst = 1, 1 })
	c := startCluster(t, d)
	k, other := c.connect(0, d, "chat", "ann"), c.connect(0, d, "chat", "ben")
	k.write(strings.Repeat(`{"type":1,"invocationId":"1","target":"echo","arguments":[]}`+separator, 150))
	var last frame
	for last = k.next(); last.Type != 7 && last.end == nil; last = k.next() {
	}
	if !last.AllowReconnect || !strings.HasPrefix(last.Error, "call_rate scope=connection ") {
		t.Fatalf("ended by %+v", last)
	}
	token := clientJWT(t, d, 0, "chat", "ann")
	for edge := range 2 {
		c.eventually("the user is kept out of each edge", func() bool {
			res, body := c.do(http.MethodPost, c.base(edge, d.Slug)+"/client/negotiate?hub=chat", token, "", nil)
			return res.StatusCode == http.StatusTooManyRequests && strings.HasPrefix(body, "kept_out scope=user ") && res.Header.Get("Retry-After") != ""
		})
	}
	if f := other.call("echo"); strings.Contains(f.Error, "call_rate") {
		t.Errorf("another user's call: %s", f.Error)
	}
	c.eventually("the user is let in again", func() bool {
		res, _ := c.do(http.MethodPost, c.base(1, d.Slug)+"/client/negotiate?hub=chat", token, "", nil)
		return res.StatusCode == http.StatusOK
	})
}

// An override ends by itself on live connections, and its successor is in force in what
// is asked for limits and in what has to be told them.
func TestOverridesEndByThemselves(t *testing.T) {
	t.Parallel()
	d := limited("ends", func(l *tenants.Limits) { l.MaxGroupsPerConn, l.CallsPerSecond, l.CallBurst = 1, 1000, 1000 })
	later := d.Limits
	later.MaxGroupsPerConn = 100
	d.LaterLimits = []tenants.LimitsFrom{{At: time.Now().Add(3 * time.Second).UnixMilli(), Limits: later}}
	c := startEdges(t, 1, d)
	k := c.connect(0, d, "chat", "ann")
	k.done("$joinGroup", "room-0")
	if f := k.call("$joinGroup", "room-1"); time.Now().UnixMilli() < d.LaterLimits[0].At && !strings.Contains(f.Error, "max=1 ") {
		t.Fatalf("a second group: %q", f.Error)
	}
	c.eventually("the plan's value is back", func() bool { return k.call("$joinGroup", "room-2").Error == "" })
}

// A dry run refuses nothing and counts what it would have.
func TestDryRun(t *testing.T) {
	t.Parallel()
	d := limited("dry", func(l *tenants.Limits) {
		l.Tried = &tenants.Limits{CallsPerSecond: 1, MessagesPerSecond: 1, GroupPublishesPerSecond: 1, MaxConnections: 1, MaxConnectionsPerUser: 1, RequestsPerSecond: 1}
		l.CallBurst, l.MessageBurst, l.GroupPublishBurst, l.RequestBurst = 2, 2, 2, 2
	})
	c := startCluster(t, d)
	k := c.connect(0, d, "chat", "ann")
	c.connect(0, d, "chat", "ann")
	for range 20 {
		if f := k.call("$sendToGroup", "room", "news", []any{}); f.Error != "" {
			t.Fatal(f.Error)
		}
		c.send(0, d, "chat", "m", "x")
		k.want("m", "x")
	}
	c.eventually("what would have been refused is counted", func() bool {
		figures, err := quota.ReadFigures(t.Context(), c.redis, d.ID, time.Now())
		if err != nil {
			return false
		}
		for _, name := range []string{"calls_per_second", "messages_per_second", "group_publishes_per_second", "requests_per_second", "max_connections", "max_connections_per_user"} {
			if figures[name].WouldRefuse == 0 || figures[name].Refused != 0 {
				return false
			}
		}
		return true
	})
}

// A tenant's limit holds over edges, and its use is summed over them.
func TestLimits_hold_over_edges(t *testing.T) {
	t.Parallel()
	d := limited("over", func(l *tenants.Limits) { l.MessagesPerSecond, l.MessageBurst, l.MaxConnections = 1, 60, 10 })
	c := startEdges(t, 3, d)
	began := time.Now()
	accepted := 0
	for i := range 150 {
		res, _ := c.do(http.MethodPost, c.base(i%3, d.Slug)+"/api/v1/hubs/chat", d.Keys[0].Secret, `{"target":"t","arguments":[]}`, nil)
		if res.StatusCode == http.StatusAccepted {
			accepted++
		}
	}
	if most := 60 + int(time.Since(began).Seconds()) + 1; accepted > most || accepted < 57 {
		t.Errorf("%d accepted by three edges, want 60 and one for each second: at most %d", accepted, most)
	}
	for i := range 3 {
		c.connect(i, d, "chat", "")
	}
	c.eventually("the connections of three edges are added up", func() bool {
		figures, err := quota.ReadFigures(t.Context(), c.redis, d.ID, time.Now())
		return err == nil && figures["max_connections"].Used == 3 && figures["max_connections"].Peak >= 3
	})
}

// The oldest connection of a user goes for a new one where the hub says so, wherever
// it is.
func TestOldestConnectionIsClosed(t *testing.T) {
	t.Parallel()
	d := limited("oldest", func(l *tenants.Limits) { l.MaxConnectionsPerUser = 2 })
	d.Hubs["chat"] = tenants.HubSettings{UserConnections: tenants.CloseOldest}
	c := startCluster(t, d)
	first, second := c.connect(0, d, "chat", "ann"), c.connect(1, d, "chat", "ann")
	third := c.connect(1, d, "chat", "ann")
	f := first.next()
	if got := line(t, "close", f.Error); f.Type != 7 || f.AllowReconnect || got.Code != "user_connections" || got.Max != 2 {
		t.Errorf("the oldest gets %+v", f)
	}
	c.send(0, d, "chat", "m", "to those who are left")
	second.want("m", "to those who are left")
	third.want("m", "to those who are left")
}

// A hub's settings bound one method of one connection.
func TestMethodRates(t *testing.T) {
	t.Parallel()
	d := limited("method", func(*tenants.Limits) {})
	d.Hubs["chat"] = tenants.HubSettings{MethodRates: map[string]tenants.MethodRate{"move": {PerSecond: 1, Burst: 2}}}
	c := startEdges(t, 1, d)
	k := c.connect(0, d, "chat", "ann")
	var f frame
	for range 100 {
		if f = k.call("Move"); strings.Contains(f.Error, "see=") {
			break
		}
	}
	got := line(t, "completion", f.Error)
	if got.Code != "method_rate" || got.Max != 1 || got.Burst != 2 || got.RetryAfterMS <= 0 {
		t.Errorf("told %+v", got)
	}
	if f := k.call("say"); strings.Contains(f.Error, "method_rate") {
		t.Errorf("another method: %s", f.Error)
	}
}

// simulating is a client's token that wants to see a refusal.
func simulating(t *testing.T, d *tenants.Document, limit string) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"aud": "http://localhost/t/" + d.Slug + "/client/?hub=chat", "exp": time.Now().Add(time.Hour).Unix(), "sub": "ann", "sbx.simulate": limit,
	})
	signed, err := token.SignedString([]byte(d.Keys[0].Secret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestSimulatedRefusals(t *testing.T) {
	t.Parallel()
	dev, prod := limited("dev", func(*tenants.Limits) {}), limited("prod", func(*tenants.Limits) {})
	dev.Environment = tenants.Development
	dev.Limits.MaxConnectionsPerUser = 1000
	dev.Limits.Fill(dev.Plan)
	c := startCluster(t, dev, prod)
	rest := func(d *tenants.Document, limit string) (*http.Response, string) {
		return c.do(http.MethodPost, c.base(0, d.Slug)+"/api/v1/hubs/chat", d.Keys[0].Secret, `{"target":"t","arguments":[]}`, func(r *http.Request) {
			r.Header.Set(HeaderSimulate, limit)
		})
	}
	for _, row := range tenants.Rows() {
		if row.Code == "" {
			if res, body := rest(dev, row.Name); res.StatusCode != http.StatusBadRequest || !strings.Contains(body, "is no limit that refuses anything") {
				t.Errorf("%s refuses nothing, and is simulated: %d %s", row.Name, res.StatusCode, body)
			}
			continue
		}
		// told compares what a surface tells, all but its request.
		told := func(surface string, got fault.Limit) {
			t.Helper()
			want := row.Refusal(&dev.Limits, time.Second)
			want.RequestID, want.RetryAfterMS = got.RequestID, got.RetryAfterMS // which is spread for some
			if got != want || got.RequestID == "" || got.RetryAfterMS < 1000 {
				t.Errorf("%s tells %+v, want %+v", surface, got, want)
			}
		}
		res, body := rest(dev, row.Name)
		var l fault.Limit
		if err := json.Unmarshal([]byte(body), &l); err != nil || res.StatusCode < 400 || res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") != "1" {
			t.Errorf("%s: REST answers %d %v %s", row.Name, res.StatusCode, res.Header, body)
		}
		told("REST", l)
		token := simulating(t, dev, row.Name)
		if atConnect[row.Name] {
			// Negotiate: once, on whatever edge.
			_, _, err := c.dial(0, 0, dev, "chat", token)
			if err == nil {
				t.Errorf("%s: the first negotiate is answered", row.Name)
				continue
			}
			told("negotiate", line(t, "negotiate", err.Error()).Limit)
			c.with(1, dev, token)
			continue
		}
		// A call: the first of each connection.
		k := c.with(0, dev, token)
		told("completion", line(t, "completion", k.call("$joinGroup", "room").Error).Limit)
		k.done("$joinGroup", "room")
	}
	if res, body := rest(dev, "no_such_limit"); res.StatusCode != http.StatusBadRequest {
		t.Errorf("an unknown limit: %d %s", res.StatusCode, body)
	}
	if res, body := rest(prod, "messages_per_second"); res.StatusCode != http.StatusForbidden || !strings.Contains(body, codeSimulator) {
		t.Errorf("in production: %d %s", res.StatusCode, body)
	}
	if _, res, err := c.dial(0, 0, prod, "chat", simulating(t, prod, "max_connections")); err == nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("in production: %v", err)
	}
}

// Upstreams whose rules name the category are told of limits, once for a while.
func TestUpstreamsAreToldOfLimits(t *testing.T) {
	t.Parallel()
	url, posted := echo(t)
	d := limited("events", func(l *tenants.Limits) { l.MaxConnections, l.CallsPerSecond, l.CallBurst = 5, 1, 1 })
	d.WebhookSecrets = []tenants.DocWebhookSecret{{ID: "w", Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}
	rules := func(category string) *tenants.Upstream {
		return &tenants.Upstream{Mode: tenants.UpstreamNative, Rules: []tenants.UpstreamRule{{URL: url, Category: category}}}
	}
	d.Hubs = map[string]tenants.HubSettings{"chat": {Handler: tenants.HandlerBroadcast}, "all": {Upstream: rules("*")}, "limits": {Upstream: rules("limits")}}
	c := startCluster(t, d)
	var k *client
	for i := range 4 { // 80 %, over two edges
		k = c.connect(i%2, d, "chat", "")
	}
	want := func(path, limit string, used int64) {
		t.Helper()
		select {
		case got := <-posted:
			at, body, _ := strings.Cut(got, " ")
			type message struct {
				Type, Tenant, ID, At string
				Used                 int64
				fault.Limit
			}
			var m message
			decoder := json.NewDecoder(strings.NewReader(body))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&m); err != nil {
				t.Fatalf("posted %s, %v", got, err)
			}
			if _, err := time.Parse(time.RFC3339Nano, m.At); err != nil || m.ID == "" {
				t.Errorf("posted %s, %v", got, err)
			}
			row, _ := tenants.Row(limit)
			want := message{Type: "limit." + strings.TrimPrefix(path, "/limits/"), Tenant: d.Slug, ID: m.ID, At: m.At, Used: used, Limit: row.Refusal(&d.Limits, 0)}
			if at != path || m != want {
				t.Fatalf("posted %s to %s, want %+v to %s", body, at, want, path)
			}
		case <-time.After(patience):
			t.Fatalf("nobody was told of %s", limit)
		}
	}
	want("/limits/warning", "max_connections", 4)
	for range 5 {
		k.write(`{"type":1,"target":"echo","arguments":[]}`)
	}
	want("/limits/reached", "calls_per_second", 0)
	c.connect(0, d, "chat", "")
	want("/limits/reached", "max_connections", 5)
	if len(posted) > 0 {
		t.Errorf("told again: %s", <-posted)
	}
}
