package serverlink_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/serverlink"
	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/internal/httpserver"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for an event.
const patience = 20 * time.Second

var chat = pairing.Hub{Tenant: "01JCTENANT000000000000000A", Name: "chat"}

const secret = "a secret of at least thirty-two characters"

var runs atomic.Int64

func newRedis(t testing.TB, url string) *redis.Client {
	t.Helper()
	c, err := redisclient.New(url, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// eventually waits for a state that nothing announces.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

// get waits for what comes over a channel.
func get[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s within %v", what, patience)
		panic("unreachable")
	}
}

// node is an edge: listener, registry and fleet. Its server connections are
// those of local.
type node struct {
	t        testing.TB
	run      string
	redis    *redis.Client
	local    *local
	registry *serverlink.Registry
	fleet    *serverlink.Fleet
	proxy    *proxy // before the listener
	kill     func() // ends the listener, the links and the lease, without a word
}

// options change how a node is made.
type options struct {
	timing   serverlink.Timing
	redisURL string // of this node's client
	direct   bool   // nothing is between the edges
	sweep    time.Duration
	streams  bool // without Pub/Sub
}

// patient is for tests that no pause of a loaded machine must disturb.
var patient = serverlink.Timing{PingEvery: patience / 4, DeadAfter: patience, DialWithin: patience, OpenWithin: patience}

func newNode(t testing.TB, url string, change ...func(*options)) *node {
	t.Helper()
	o := options{timing: patient, redisURL: url, sweep: 500 * time.Millisecond}
	for _, f := range change {
		f(&o)
	}
	n := &node{t: t, run: fmt.Sprintf("run%d-%d", os.Getpid(), runs.Add(1)), redis: newRedis(t, o.redisURL)}
	log := slog.New(slog.NewTextHandler(testenv.Log(t), &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", n.run)
	members, err := fleet.New(secret)
	if err != nil {
		t.Fatal(err)
	}
	handler := &late{}
	s, err := httpserver.Listen(context.Background(), httpserver.Config{
		Name: n.run, Addr: "127.0.0.1:0", Handler: handler, TLS: members.ServerTLS("edge"), Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	n.proxy = newProxy(t, s.Addr())
	address := n.proxy.addr()
	if o.direct {
		address = s.Addr()
	}
	n.local = newLocal()
	n.registry, err = serverlink.NewRegistry(serverlink.RegistryConfig{
		Redis: n.redis, EdgeRun: n.run, Address: address, Local: n.local, Logger: log,
		LoadEvery: 100 * time.Millisecond, RefreshEvery: time.Second, SweepEvery: o.sweep, StreamsOnly: o.streams,
	})
	if err != nil {
		t.Fatal(err)
	}
	n.local.changed = n.registry.Changed
	n.fleet, err = serverlink.New(serverlink.Config{
		EdgeRun: n.run, TLS: members.ClientTLS(), Local: n.local, Registry: n.registry, Timing: o.timing, Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	handler.Handler = n.fleet
	n.setLease(true)
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { _ = n.registry.Run(ctx) })
	work.Go(func() { _ = s.Serve() })
	end := sync.OnceFunc(func() {
		n.fleet.Close()
		stop()
		expired, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Shutdown(expired)
		work.Wait()
	})
	n.kill = func() {
		n.proxy.refuse.Store(true)
		n.proxy.cut()
		n.setLease(false)
		end()
	}
	t.Cleanup(end)
	return n
}

type late struct{ http.Handler }

// setLease does what backplane.Ownership does for an edge.
func (n *node) setLease(lives bool) {
	n.t.Helper()
	key := redisclient.EdgeLease(n.run)
	var err error
	if lives {
		err = n.redis.HSet(context.Background(), key, "addr", n.proxy.addr()).Err()
	} else {
		err = n.redis.Del(context.Background(), key).Err()
	}
	if err != nil {
		n.t.Fatalf("lease: %v", err)
	}
}

// request asks for a link as a member of the fleet does, with these headers.
func (n *node) request(t *testing.T, header map[string]string) (status int) {
	t.Helper()
	members, err := fleet.New(secret)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: members.ClientTLS()}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+n.proxy.addr()+serverlink.Path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	res, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

// knows waits until the node knows whether a hub has app servers.
func (n *node) knows(hub pairing.Hub, there bool) {
	n.t.Helper()
	eventually(n.t, fmt.Sprintf("presence %v at %s", there, n.run), func() bool {
		p, err := n.registry.Presence(context.Background(), hub)
		return err == nil && p.Now == there
	})
}

// lists waits until the node knows the app servers that other edges have for a hub.
func (n *node) lists(hub pairing.Hub, ids ...string) {
	n.t.Helper()
	slices.Sort(ids)
	eventually(n.t, fmt.Sprintf("%q at %s", ids, n.run), func() bool { return slices.Equal(n.registry.Servers(hub), ids) })
}

// open pairs a client and returns both ends.
func (n *node) open(c *pairing.Client) (pairing.Session, *client, error) {
	d := newDownstream()
	s, err := n.fleet.Open(context.Background(), c, d)
	return s, d, err
}

func (n *node) mustOpen(c *pairing.Client) (pairing.Session, *client) {
	n.t.Helper()
	s, d, err := n.open(c)
	if err != nil {
		n.t.Fatalf("open %s at %s: %v", c.ConnectionID, n.run, err)
	}
	return s, d
}

// openSoon is mustOpen on links that take a machine that stands still for an edge that
// hangs.
func (n *node) openSoon(id string) (s pairing.Session, d *client) {
	n.t.Helper()
	var err error
	eventually(n.t, "pairing", func() bool {
		s, d, err = n.open(newClient(id))
		return err == nil
	})
	return s, d
}

func newClient(id string) *pairing.Client {
	return &pairing.Client{
		Hub: chat, ConnectionID: id, Protocol: "json", Handshake: []byte("{\"protocol\":\"json\",\"version\":1}\x1e"),
		Claims:  []hubs.Claim{{Type: "role", Value: "a"}, {Type: "role", Value: "b"}},
		Headers: map[string][]string{"User-Agent": {"test"}, "X-Many": {"1", "2"}}, Query: "?a=1",
	}
}

// local is the server connections of a node.
type local struct {
	changed func(pairing.Hub)

	mu      sync.Mutex
	servers []*appServer
}

func newLocal() *local { return &local{changed: func(pairing.Hub) {}} }

// appServer is one server connection.
type appServer struct {
	hub    pairing.Hub
	id     string
	opened chan *paired

	mu      sync.Mutex
	clients int
	refuse  error // of every Open
	early   func(*paired)
}

// connect adds a server connection.
func (l *local) connect(hub pairing.Hub, id string, clients int) *appServer {
	a := &appServer{hub: hub, id: id, clients: clients, opened: make(chan *paired, 20_000)}
	l.mu.Lock()
	l.servers = append(l.servers, a)
	l.mu.Unlock()
	l.changed(hub)
	return a
}

func (l *local) disconnect(a *appServer) {
	l.mu.Lock()
	l.servers = slices.DeleteFunc(l.servers, func(other *appServer) bool { return other == a })
	l.mu.Unlock()
	l.changed(a.hub)
}

func (l *local) Servers(hub pairing.Hub, f func(string, int)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.servers {
		if a.hub == hub {
			a.mu.Lock()
			f(a.id, a.clients)
			a.mu.Unlock()
		}
	}
}

func (l *local) Open(_ context.Context, c *pairing.Client, d pairing.Downstream) (pairing.Session, error) {
	l.mu.Lock()
	var best *appServer
	for _, a := range l.servers {
		if a.hub != c.Hub || a.id == c.MovedFrom || c.Sticky == pairing.Required && a.id != c.Server {
			continue
		}
		if best == nil || a.clients < best.clients {
			best = a
		}
	}
	l.mu.Unlock()
	if best == nil {
		if c.Sticky == pairing.Required {
			return nil, pairing.ErrServerAway
		}
		return nil, pairing.ErrNoServer
	}
	best.mu.Lock()
	refuse, early := best.refuse, best.early
	if refuse == nil {
		best.clients++
	}
	best.mu.Unlock()
	if refuse != nil {
		return nil, refuse
	}
	p := &paired{server: best, client: c, down: d, said: make(chan said, 4096), ended: make(chan [2]string, 1), holds: make(chan bool, 4096)}
	if early != nil {
		early(p)
	}
	best.opened <- p
	return p, nil
}

// paired is a client as its app server has it; it implements pairing.Session.
type paired struct {
	server *appServer
	client *pairing.Client
	down   pairing.Downstream
	said   chan said
	ended  chan [2]string
	pause  func(context.Context) error
	holds  chan bool
	hold   atomic.Pointer[chan struct{}] // non-nil: Send waits until it is closed
}

// said is a message of a client.
type said struct {
	text string
	kind pairing.DataType
}

func (p *paired) ServerID() string { return p.server.id }

func (p *paired) Send(ctx context.Context, payload []byte, t pairing.DataType) error {
	if hold := p.hold.Load(); hold != nil {
		select {
		case <-*hold:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	p.said <- said{string(payload), t}
	return nil
}

func (p *paired) Hold(on bool) { p.holds <- on }

func (p *paired) Pause(ctx context.Context) error {
	if p.pause != nil {
		return p.pause(ctx)
	}
	return nil
}

func (p *paired) End(reason, movedTo string) {
	select {
	case p.ended <- [2]string{reason, movedTo}:
	default:
		panic("ended twice")
	}
}

// deliver says something to the client and waits until it is settled.
func (p *paired) deliver(t testing.TB, text string) {
	t.Helper()
	var settled sync.WaitGroup
	p.down.Deliver(hubs.Position{}, []byte(text), &settled)
	waitFor(t, "settled", &settled)
}

func waitFor(t testing.TB, what string, wg *sync.WaitGroup) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	get(t, what, done)
}

// client is the Downstream of a client.
type client struct {
	mu       sync.Mutex
	text     strings.Builder
	chunks   int
	closed   *string
	lost     error
	lostAt   time.Time
	migrates int
	after    []hubs.Position
	hold     chan struct{}                                // non-nil: Deliver waits until it is closed
	take     func(hubs.Position, []byte, *sync.WaitGroup) // instead of keeping it
	events   chan string
}

func newDownstream() *client { return &client{events: make(chan string, 4096)} }

func (c *client) Deliver(after hubs.Position, payload []byte, settled *sync.WaitGroup) {
	c.mu.Lock()
	hold, take := c.hold, c.take
	c.mu.Unlock()
	if take != nil {
		take(after, payload, settled)
		return
	}
	settled.Add(1)
	defer settled.Done()
	if hold != nil {
		<-hold
	}
	c.mu.Lock()
	c.text.Write(payload)
	c.chunks++
	c.after = append(c.after, after)
	c.mu.Unlock()
	c.events <- "deliver"
}

func (c *client) Close(_ hubs.Position, reason string) {
	c.mu.Lock()
	c.closed = &reason
	c.mu.Unlock()
	c.events <- "close " + reason
}

func (c *client) Migrate() {
	c.mu.Lock()
	c.migrates++
	c.mu.Unlock()
	c.events <- "migrate"
}

func (c *client) Lost(cause error) {
	c.mu.Lock()
	c.lost, c.lostAt = cause, time.Now()
	c.mu.Unlock()
	c.events <- "lost"
}

func (c *client) got() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// proxy is a TCP front that can stall and break.
type proxy struct {
	listener net.Listener
	target   string
	refuse   atomic.Bool
	mu       sync.Mutex
	conns    map[net.Conn]bool
	stalled  chan struct{} // nil, or open while bytes are held back
	work     sync.WaitGroup
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, conns: make(map[net.Conn]bool)}
	p.work.Go(p.serve)
	t.Cleanup(func() {
		_ = l.Close()
		p.resume()
		p.cut()
		p.work.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		if p.refuse.Load() {
			_ = c.Close()
			continue
		}
		up, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = c.Close()
			continue
		}
		p.mu.Lock()
		p.conns[c], p.conns[up] = true, true
		p.mu.Unlock()
		p.work.Go(func() { p.pump(c, up) })
		p.work.Go(func() { p.pump(up, c) })
	}
}

func (p *proxy) pump(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		stalled := p.stalled
		p.mu.Unlock()
		if stalled != nil {
			<-stalled
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cut breaks all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

// stall holds all bytes back until resume.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = make(chan struct{})
}

func (p *proxy) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled != nil {
		close(p.stalled)
		p.stalled = nil
	}
}

var errTest = errors.New("of the test")
