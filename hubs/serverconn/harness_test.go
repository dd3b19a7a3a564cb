package serverconn_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/backplane"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/serverconn"
	sp "github.com/signalbox/signalbox/hubs/serviceprotocol"
	"github.com/signalbox/signalbox/hubs/serviceprotocol/strict"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/tenants"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for an event.
const patience = 20 * time.Second

var chat = pairing.Hub{Tenant: "01JCTENANT000000000000000A", Name: "chat"}

// stand is a pool of server connections behind a real HTTP server.
type stand struct {
	t    testing.TB
	pool *serverconn.Pool
	bus  hubs.Backplane
	url  string

	mu        sync.Mutex
	admission serverconn.Admission // for the next ones
	refused   map[string]int
	changes   int
}

type setting func(*serverconn.Config)

func timing(f func(*serverconn.Timing)) setting {
	return func(c *serverconn.Config) { f(&c.Timing) }
}

// newStand starts a pool on a Redis of its own; bus, when given, stands for it.
func newStand(t testing.TB, bus hubs.Backplane, settings ...setting) *stand {
	t.Helper()
	if bus == nil {
		bus = newBus(t)
	}
	s := &stand{t: t, bus: bus, refused: make(map[string]int)}
	cfg := serverconn.Config{
		Instance: "edge-1", Logger: slog.New(slog.NewTextHandler(testenv.Log(t), nil)),
		OnChange: func(pairing.Hub) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.changes++
		},
	}
	for _, f := range settings {
		f(&cfg)
	}
	pool, err := serverconn.NewPool(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.pool = pool
	s.admission = serverconn.Admission{
		Hub: chat, ServerID: "app-1", Credential: tenants.Credential{KeyID: "key-1"},
		Limits:    func() tenants.Limits { return tenants.Limits{MaxMessageBytes: 32 << 10, MaxConnections: 100} },
		Backplane: func() hubs.Backplane { return bus },
		Admit:     func(context.Context, []string, int) (time.Duration, error) { return 0, nil },
		Refused:   s.count,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		a := s.admission
		s.mu.Unlock()
		if id := r.Header.Get("X-ASRS-Server-Id"); id != "" {
			a.ServerID = id
		}
		pool.Accept(w, r, a)
	}))
	s.url = "ws" + strings.TrimPrefix(server.URL, "http") + "/server/?hub=chat"
	t.Cleanup(func() {
		pool.Close()
		server.Close()
	})
	return s
}

// newBus returns the backplane of a hub on a Redis of its own.
func newBus(t testing.TB) hubs.Backplane {
	t.Helper()
	client, err := redisclient.New(testenv.Redis(t), "serverconn-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	bus, err := backplane.New(backplane.Config{Redis: client, EdgeRun: "run1", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Close)
	return bus.Hub(chat.Tenant, chat.Name, backplane.Settings{})
}

func (s *stand) count(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused[code]++
}

func (s *stand) refusals(code string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused[code]
}

// admit changes the admission of the server connections to come.
func (s *stand) admit(f func(*serverconn.Admission)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.admission)
}

func (s *stand) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// app is an app server's end of one server connection. What it receives passes the
// SDK's reader.
type app struct {
	t      testing.TB
	ws     *websocket.Conn
	conn   net.Conn
	got    chan sp.Message
	ended  chan struct{} // closed when nothing more comes
	paused atomic.Bool   // reads nothing
	resume chan struct{}
}

// dial opens a socket as the app server with that id.
func (s *stand) dial(server string) *app {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, res, err := websocket.Dial(ctx, s.url, &websocket.DialOptions{HTTPHeader: http.Header{"X-ASRS-Server-Id": {server}}})
	if err != nil {
		s.t.Fatal(err)
	}
	if res.Body != nil {
		res.Body.Close()
	}
	a := &app{
		t: s.t, ws: ws, conn: websocket.NetConn(context.Background(), ws, websocket.MessageBinary),
		got: make(chan sp.Message, 100_000), ended: make(chan struct{}), resume: make(chan struct{}),
	}
	go a.read()
	s.t.Cleanup(func() {
		_ = ws.CloseNow()
		<-a.ended
	})
	return a
}

// reads passes bytes on unless the app server is paused.
type reads struct{ a *app }

func (r reads) Read(p []byte) (int, error) {
	if r.a.paused.Load() {
		<-r.a.resume
	}
	return r.a.conn.Read(p)
}

func (a *app) read() {
	defer close(a.ended)
	defer close(a.got)
	reader := sp.NewReader(io.TeeReader(reads{a}, new(strict.Tap)), 32<<20)
	for {
		m, err := reader.Next()
		if err != nil {
			return
		}
		// The reader's bytes are good until the next call.
		m, err = sp.Parse(unframed(sp.Append(nil, m)))
		if err != nil {
			a.t.Errorf("message read again: %v", err)
			return
		}
		a.got <- m
	}
}

// unframed cuts the length prefix off.
func unframed(b []byte) []byte {
	for i, c := range b {
		if c&0x80 == 0 {
			return b[i+1:]
		}
	}
	return nil
}

// connect opens a server connection past its handshake.
func (s *stand) connect(server string, kind sp.ConnectionType, level sp.MigrationLevel) *app {
	s.t.Helper()
	a := s.dial(server)
	before := s.servers()
	a.send(&sp.HandshakeRequest{Version: 1, ConnectionType: kind, MigrationLevel: level})
	r, ok := a.next().(*sp.HandshakeResponse)
	if !ok || r.Error != "" {
		s.t.Fatalf("handshake answered with %+v", r)
	}
	if kind != sp.ConnectionWeak {
		s.eventually("the server connection takes clients", func() bool { return s.servers() > before })
	}
	return a
}

// servers is how many server connections take clients.
func (s *stand) servers() (n int) {
	s.pool.Servers(chat, func(string, int) { n++ })
	return n
}

func (a *app) send(list ...sp.Message) {
	a.t.Helper()
	var b []byte
	for _, m := range list {
		b = sp.Append(b, m)
	}
	a.raw(b)
}

func (a *app) raw(b []byte) {
	a.t.Helper()
	_ = a.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := a.conn.Write(b); err != nil {
		a.t.Errorf("app server writes: %v", err)
	}
}

// next returns the next message that is no keep-alive; nil when the connection has
// ended.
func (a *app) next() sp.Message {
	a.t.Helper()
	for {
		select {
		case m, ok := <-a.got:
			if !ok {
				return nil
			}
			if p, isPing := m.(*sp.Ping); isPing && len(p.Items) == 0 {
				continue
			}
			return m
		case <-time.After(patience):
			a.t.Fatalf("the service says nothing within %s", patience)
		}
	}
}

// await returns the next message of a type and passes over others.
func await[M sp.Message](a *app) M {
	a.t.Helper()
	for {
		m := a.next()
		if m == nil {
			a.t.Fatalf("the connection ended before a %T came", *new(M))
		}
		if want, ok := m.(M); ok {
			return want
		}
	}
}

// end waits until the service has closed the connection.
func (a *app) end() {
	a.t.Helper()
	select {
	case <-a.ended:
	case <-time.After(patience):
		a.t.Fatalf("the connection isn't closed within %s", patience)
	}
}

// down is a client's edge.
type down struct {
	t      testing.TB
	events chan string
	after  chan hubs.Position
}

func newDown(t testing.TB) *down {
	return &down{t: t, events: make(chan string, 1000), after: make(chan hubs.Position, 1000)}
}

func (d *down) Deliver(after hubs.Position, payload []byte, settled *sync.WaitGroup) {
	settled.Add(1)
	defer settled.Done()
	d.after <- after
	d.events <- "data " + string(payload)
}

func (d *down) Close(_ hubs.Position, reason string) { d.events <- "close " + reason }
func (d *down) Migrate()                             { d.events <- "migrate" }
func (d *down) Lost(cause error)                     { d.events <- "lost" }

func (d *down) next() string {
	d.t.Helper()
	select {
	case e := <-d.events:
		return e
	case <-time.After(patience):
		d.t.Fatalf("the client's edge is told nothing within %s", patience)
		return ""
	}
}

func (d *down) expect(want string) {
	d.t.Helper()
	if got := d.next(); got != want {
		d.t.Fatalf("the client's edge is told %q, want %q", got, want)
	}
}

func client(id string) *pairing.Client {
	return &pairing.Client{Hub: chat, ConnectionID: id, Protocol: "json", Handshake: []byte("{\"protocol\":\"json\",\"version\":1}\x1e")}
}

// open pairs a client, and takes what the app server is told of it.
func (s *stand) open(a *app, c *pairing.Client) (pairing.Session, *down) {
	s.t.Helper()
	d := newDown(s.t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	session, err := s.pool.Open(ctx, c, d)
	if err != nil {
		s.t.Fatalf("pair %s: %v", c.ConnectionID, err)
	}
	if o := await[*sp.OpenConnection](a); o.ConnectionID != c.ConnectionID {
		s.t.Fatalf("opened %q, want %q", o.ConnectionID, c.ConnectionID)
	}
	if m := await[*sp.ConnectionData](a); m.ConnectionID != c.ConnectionID || m.DataType != sp.DataHandshake || string(m.Payload) != string(c.Handshake) {
		s.t.Fatalf("first data is %+v", m)
	}
	return session, d
}

// node records the hub's entries, and matches as many connections as it is told.
type node struct {
	matches atomic.Int64
	entries chan *hubs.Entry
}

func (s *stand) node() *node {
	s.t.Helper()
	n := &node{entries: make(chan *hubs.Entry, 100_000)}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	leave, err := s.bus.Subscribe(ctx, n)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(leave)
	return n
}

func (n *node) Apply(e *hubs.Entry) int {
	n.entries <- e
	return int(n.matches.Load())
}
func (n *node) Answer(hubs.Query) int { return int(n.matches.Load()) }

func (n *node) List(hubs.ListQuery) hubs.Page {
	return hubs.Page{Items: []hubs.Listed{{Name: "c1", User: "ann"}, {Name: "c2"}}, More: true}
}
func (n *node) Lost(hubs.Gap)        {}
func (n *node) Begins(hubs.Position) {}

func (n *node) next(t testing.TB) *hubs.Entry {
	t.Helper()
	select {
	case e := <-n.entries:
		return e
	case <-time.After(patience):
		t.Fatalf("no entry within %s", patience)
		return nil
	}
}

// payloads are an invocation of target(argument) in both hub protocols.
func payloads(t testing.TB, target, argument string) []sp.Payload {
	t.Helper()
	return []sp.Payload{
		{Protocol: "json", Data: fmt.Appendf(nil, `{"type":1,"target":%q,"arguments":[%q]}`+"\x1e", target, argument)},
		{Protocol: "MessagePack", Data: packed(target, argument)},
	}
}

// packed is the same in MessagePack; both texts are short.
func packed(target, argument string) []byte {
	b := []byte{0, 0x96, 0x01, 0x80, 0xc0, 0xa0 | byte(len(target))}
	b = append(b, target...)
	b = append(b, 0x91, 0xd9, byte(len(argument)))
	b = append(b, argument...)
	b = append(b, 0x90)
	b[0] = byte(len(b) - 1)
	return b
}

// quietDown is a client's edge that nobody looks at.
type quietDown struct{}

func newQuietDown() pairing.Downstream { return quietDown{} }

func (quietDown) Deliver(hubs.Position, []byte, *sync.WaitGroup) {}
func (quietDown) Close(hubs.Position, string)                    {}
func (quietDown) Migrate()                                       {}
func (quietDown) Lost(error)                                     {}
