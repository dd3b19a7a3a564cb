package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/telemetry"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
	"github.com/signalbox/signalbox/tenants/directory"
)

const secret = "the fleet secret of the tests of the edge"

// patience bounds every wait for an event.
const patience = 10 * time.Second

// streamsOnly has all tests of this package run on edges that do without Pub/Sub.
var streamsOnly = os.Getenv("SIGNALBOX_STREAMS_ONLY") == "true"

// cluster is edges on one Redis, with a publisher of documents.
type cluster struct {
	t         *testing.T
	url       string // of Redis
	redis     *redis.Client
	redisURL  string
	stopRedis func()
	redisGone *atomic.Bool // stopRedis was called
	publisher *directory.Publisher
	edges     []*Edge
	ends      []func() error
	forces    []func() // make an end not wait for its connections
	logs      *syncBuffer
	front     *front // nil = none
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// startCluster is startEdges with two edges.
func startCluster(t *testing.T, docs ...*tenants.Document) *cluster {
	t.Helper()
	return startEdges(t, 2, docs...)
}

func startEdges(t *testing.T, count int, docs ...*tenants.Document) *cluster {
	t.Helper()
	return startEdgesWith(t, count, func(*Config) {}, docs...)
}

// startEdgesWith is startEdges with other settings.
func startEdgesWith(t *testing.T, count int, change func(*Config), docs ...*tenants.Document) *cluster {
	t.Helper()
	redisURL, stop := testenv.StartRedis(t)
	client, err := redisclient.New(redisURL, "edge-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	f, err := fleet.New(secret)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, url: redisURL, redis: client, redisURL: redisURL, redisGone: new(atomic.Bool), publisher: directory.NewPublisher(client, f), logs: new(syncBuffer)}
	c.stopRedis = func() {
		c.redisGone.Store(true)
		stop()
	}
	if err := c.publisher.PublishAll(t.Context(), func(yield func(*tenants.Document, error) bool) {
		for _, d := range docs {
			if !yield(d, nil) {
				return
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	for range count {
		c.start(change)
	}
	for _, e := range c.edges {
		c.eventually("edge is ready", func() bool { return c.status("http://"+e.AdminAddr()+"/readyz") == http.StatusOK })
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.logs.String())
		}
	})
	return c
}

// start adds an edge, which may not be ready yet.
func (c *cluster) start(change func(*Config)) *Edge {
	c.t.Helper()
	cfg := Config{
		RedisURL: c.url, Addr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0", InternalAddr: "127.0.0.1:0",
		FleetSecret: secret, ServiceHosts: []string{"127.0.0.1", "localhost"}, DefaultTenant: "demo",
		OutboundAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, StreamsOnly: streamsOnly,
		IPLimitExempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
	change(&cfg)
	e, err := New(c.t.Context(), cfg, telemetry.NewLogger(c.logs, telemetry.LogConfig{Level: slog.LevelDebug}))
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, drain := context.WithCancel(context.Background())
	forced, force := context.WithCancel(context.Background())
	c.t.Cleanup(force)
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx, forced) }()
	end := sync.OnceValue(func() error { drain(); return <-done })
	c.t.Cleanup(func() { _ = end() })
	c.edges, c.ends, c.forces = append(c.edges, e), append(c.ends, end), append(c.forces, force)
	return e
}

func (c *cluster) publish(d *tenants.Document) {
	c.t.Helper()
	if err := c.publisher.Publish(c.t.Context(), d); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) eventually(what string, ok func() bool) {
	c.t.Helper()
	c.within(patience, what, ok)
}

// within is eventually for what takes its time.
func (c *cluster) within(most time.Duration, what string, ok func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(most)
	for !ok() {
		if time.Now().After(deadline) {
			c.t.Fatalf("not within %s: %s", most, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (c *cluster) status(url string) int {
	res, err := http.Get(url)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

// base is the URL of an edge, or of anyEdge, with the tenant's prefix.
func (c *cluster) base(edge int, slug string) string {
	if edge == anyEdge {
		return c.front.url + "/t/" + slug
	}
	return "http://" + c.edges[edge].Addr() + "/t/" + slug
}

// document is a tenant with two keys and roomy limits.
func document(slug string, revision int64) *tenants.Document {
	return &tenants.Document{
		ID: tenants.ID("01" + strings.ToUpper(slug)), Slug: slug, Revision: revision, Status: tenants.Active, Plan: "pro",
		Keys: []tenants.DocKey{
			{ID: slug + "-1", Slot: tenants.Primary, Secret: "primary secret of " + slug + " 0123456789abcdef"},
			{ID: slug + "-2", Slot: tenants.Secondary, Secret: "secondary secret of " + slug + " 0123456789abcd"},
		},
		Limits: tenants.Limits{
			MaxConnections: 100, MessagesPerSecond: 1000, MessageBurst: 1000, MaxMessageBytes: 32 << 10,
			MaxGroupsPerConn: 10, MaxHubs: 5, IdempotencySeconds: 120, RetentionSeconds: 180,
			ResumeWindowSeconds: 30, ResumeBufferBytes: 100_000,
			CallsPerSecond: 10_000, CallBurst: 50_000, BytesPerSecond: 64 << 20, ByteBurst: 64 << 20,
			RequestsPerSecond: 10_000, RequestBurst: 10_000, GroupPublishesPerSecond: 10_000, GroupPublishBurst: 10_000,
			DeliveriesPerSecond: 1_000_000,
		},
	}
}

func clientJWT(t *testing.T, d *tenants.Document, key int, hub, user string) string {
	t.Helper()
	m, err := accesstoken.MintClient(d.Keys[key], "http://localhost/t/"+d.Slug, accesstoken.ClientOptions{Hub: hub, UserID: user}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return m.Token
}

func restJWT(t *testing.T, d *tenants.Document) string {
	t.Helper()
	m, err := accesstoken.MintREST(d.Keys[0], "http://localhost/t/"+d.Slug, 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return m.Token
}

// do sends a request and returns the answer with its body. While edges take a Redis that
// is there for one that is away, since the machine stood still, it asks again.
func (c *cluster) do(method, target, token, body string, change func(*http.Request)) (*http.Response, string) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		res, answer := c.doOnce(method, target, token, body, change)
		if !strings.Contains(answer, "can't tell now whose URL this is") || c.redisGone.Load() || time.Now().After(deadline) {
			return res, answer
		}
	}
}

func (c *cluster) doOnce(method, target, token, body string, change func(*http.Request)) (*http.Response, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if change != nil {
		change(req)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res, string(data)
}

// send publishes target(argument) to all of a hub over REST.
func (c *cluster) send(edge int, d *tenants.Document, hub, target, argument string) {
	c.t.Helper()
	res, body := c.do(http.MethodPost, c.base(edge, d.Slug)+"/api/v1/hubs/"+hub, restJWT(c.t, d),
		fmt.Sprintf(`{"target":%q,"arguments":[%q]}`, target, argument), nil)
	if res.StatusCode != http.StatusAccepted {
		c.t.Fatalf("send: %d %s", res.StatusCode, body)
	}
}

// client is a raw SignalR client over a WebSocket, speaking JSON.
type client struct {
	t      *testing.T
	ws     *websocket.Conn
	frames chan frame
}

// frame is what a test looks at in a hub message.
type frame struct {
	Type           int             `json:"type"`
	InvocationID   string          `json:"invocationId"`
	Target         string          `json:"target"`
	Arguments      json.RawMessage `json:"arguments"`
	Result         json.RawMessage `json:"result"`
	Item           json.RawMessage `json:"item"`
	Error          string          `json:"error"`
	AllowReconnect bool            `json:"allowReconnect"`
	end            error           // the socket ended
}

const separator = "\x1e"

// dial negotiates on one edge and connects on another.
func (c *cluster) dial(negotiateAt, connectAt int, d *tenants.Document, hub, token string) (*client, *http.Response, error) {
	c.t.Helper()
	return c.dialAt(c.base(negotiateAt, d.Slug), c.base(connectAt, d.Slug), hub, token)
}

// dialAt is dial for edges with these URLs.
func (c *cluster) dialAt(negotiateAt, connectAt, hub, token string) (*client, *http.Response, error) {
	c.t.Helper()
	res, body := c.do(http.MethodPost, negotiateAt+"/client/negotiate?negotiateVersion=1&hub="+hub, token, "", nil)
	if res.StatusCode != http.StatusOK {
		return nil, res, errors.New(body)
	}
	var n struct{ ConnectionToken string }
	if err := json.Unmarshal([]byte(body), &n); err != nil {
		return nil, res, err
	}
	at := connectAt + "/client/?hub=" + hub + "&id=" + url.QueryEscape(n.ConnectionToken)
	ws, res, err := websocket.Dial(c.t.Context(), at, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
	if err != nil {
		return nil, res, err
	}
	ws.SetReadLimit(1 << 20)
	k := &client{t: c.t, ws: ws, frames: make(chan frame, 1000)}
	c.t.Cleanup(func() { ws.CloseNow() })
	k.write(`{"protocol":"json","version":1}`)
	go k.read()
	if f := k.next(); f.Type != 0 || f.Error != "" || f.end != nil {
		return nil, res, fmt.Errorf("handshake: %+v", f)
	}
	return k, res, nil
}

func (c *cluster) connect(edge int, d *tenants.Document, hub, user string) *client {
	c.t.Helper()
	return c.joined(edge, d, hub, clientJWT(c.t, d, 0, hub, user))
}

// joined dials as clients do that are told to come again: on a machine that stood
// still edges take their Redis for one that is away.
func (c *cluster) joined(edge int, d *tenants.Document, hub, token string) (k *client) {
	c.t.Helper()
	c.eventually("a client to be let in", func() bool {
		var res *http.Response
		var err error
		if k, res, err = c.dial(edge, edge, d, hub, token); err != nil && (res == nil || res.StatusCode != http.StatusServiceUnavailable) {
			c.t.Fatal(err)
		}
		return err == nil
	})
	return k
}

func (k *client) write(s string) {
	k.t.Helper()
	if err := k.ws.Write(k.t.Context(), websocket.MessageText, []byte(s+separator)); err != nil {
		k.t.Fatal(err)
	}
}

func (k *client) read() {
	for {
		_, data, err := k.ws.Read(context.Background())
		if err != nil {
			k.frames <- frame{end: err}
			return
		}
		for _, part := range strings.Split(strings.TrimSuffix(string(data), separator), separator) {
			var f frame
			if err := json.Unmarshal([]byte(part), &f); err != nil {
				f.end = err
			}
			if f.Type != 6 { // pings
				k.frames <- f
			}
		}
	}
}

func (k *client) next() frame {
	k.t.Helper()
	select {
	case f := <-k.frames:
		return f
	case <-time.After(patience):
		k.t.Fatal("no frame came")
		return frame{}
	}
}

// want waits for an invocation of target with one text.
func (k *client) want(target, argument string) {
	k.t.Helper()
	if f := k.next(); f.Type != 1 || f.Target != target || string(f.Arguments) != fmt.Sprintf("[%q]", argument) {
		k.t.Fatalf("got %+v, want %s(%q)", f, target, argument)
	}
}

// wantClose waits for a Close message and the end of the socket.
func (k *client) wantClose(reason string, allowReconnect bool) {
	k.t.Helper()
	f := k.next()
	if f.Type != 7 || !strings.Contains(f.Error, reason) || f.AllowReconnect != allowReconnect {
		k.t.Fatalf("got %+v, want a close for %q, reconnect %v", f, reason, allowReconnect)
	}
	if f := k.next(); f.end == nil {
		k.t.Fatalf("got %+v after the close", f)
	}
}

// hostOf makes requests carry a Host header.
func hostOf(host string) func(*http.Request) { return func(r *http.Request) { r.Host = host } }
