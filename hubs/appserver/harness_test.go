package appserver_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/appserver"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/serviceprotocol"
	"github.com/signalbox/signalbox/hubs/serviceprotocol/strict"
	"github.com/signalbox/signalbox/hubs/values"
)

// wait bounds every wait for something that must happen.
const wait = 15 * time.Second

const accessKey = "0123456789012345678901234567890123456789"

// service is the service's end of server connections, told by the test what to
// say. What goes over them in either direction is read along as the SDK for .NET
// reads it.
type service struct {
	t      *testing.T
	http   *httptest.Server
	joined chan *peer // server connections whose handshake is done
	refuse func(*peer) string
}

// peer is one server connection.
type peer struct {
	t        *testing.T
	ws       *websocket.Conn
	request  *http.Request
	claims   jwt.MapClaims
	hello    *serviceprotocol.HandshakeRequest
	messages chan serviceprotocol.Message
	gone     chan struct{}

	mu  sync.Mutex
	tap strict.Tap
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{t: t, joined: make(chan *peer, 100)}
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.http.Close)
	return s
}

func (s *service) connectionString() string {
	return "Endpoint=" + s.http.URL + ";AccessKey=" + accessKey + ";Version=1.0;"
}

func (s *service) serve(w http.ResponseWriter, r *http.Request) {
	p := &peer{t: s.t, request: r, claims: jwt.MapClaims{}, messages: make(chan serviceprotocol.Message, 10_000), gone: make(chan struct{})}
	defer close(p.gone)
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if _, err := jwt.ParseWithClaims(bearer, p.claims, func(*jwt.Token) (any, error) { return []byte(accessKey), nil }); err != nil {
		http.Error(w, "", http.StatusUnauthorized)
		return
	}
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer ws.CloseNow()
	ws.SetReadLimit(-1)
	p.ws = ws
	reader := serviceprotocol.NewReader(io.TeeReader(&frames{ctx: r.Context(), ws: ws}, &strict.Tap{}), 64<<20)
	first, err := reader.Next()
	if err != nil {
		return // the app server has stopped meanwhile
	}
	hello, ok := first.(*serviceprotocol.HandshakeRequest)
	if !ok {
		s.t.Errorf("the first message is %#v", first)
		return
	}
	p.hello = hello
	if s.refuse != nil {
		if text := s.refuse(p); text != "" {
			p.send(&serviceprotocol.HandshakeResponse{Error: text})
			return
		}
	}
	p.send(&serviceprotocol.HandshakeResponse{ConnectionID: "server-connection"})
	s.joined <- p
	for {
		m, err := reader.Next()
		if err != nil {
			if strings.Contains(err.Error(), "message of type") {
				s.t.Errorf("what the app server sends can't be read: %v", err)
			}
			return
		}
		p.messages <- keep(m)
	}
}

// keep makes a message outlive its reader's buffer.
func keep(m serviceprotocol.Message) serviceprotocol.Message {
	own, err := serviceprotocol.NewReader(strings.NewReader(string(serviceprotocol.Append(nil, m))), 64<<20).Next()
	if err != nil {
		panic(err)
	}
	return own
}

type frames struct {
	ctx   context.Context
	ws    *websocket.Conn
	frame io.Reader
}

func (f *frames) Read(b []byte) (int, error) {
	for {
		if f.frame == nil {
			_, frame, err := f.ws.Reader(f.ctx)
			if err != nil {
				return 0, err
			}
			f.frame = frame
		}
		n, err := f.frame.Read(b)
		if err == io.EOF {
			f.frame, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// send sends messages in one frame.
func (p *peer) send(messages ...serviceprotocol.Message) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var b []byte
	for _, m := range messages {
		b = serviceprotocol.Append(b, m)
	}
	if _, err := p.tap.Write(b); err != nil {
		p.t.Errorf("the test sends what the service must not: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if err := p.ws.Write(ctx, websocket.MessageBinary, b); err != nil {
		p.t.Errorf("send: %v", err)
	}
}

// next returns the next message that is no keep-alive.
func (p *peer) next() serviceprotocol.Message {
	p.t.Helper()
	for {
		select {
		case m := <-p.messages:
			if ping, ok := m.(*serviceprotocol.Ping); ok {
				if _, alive := ping.Value("#client"); alive || len(ping.Items) == 0 {
					continue
				}
			}
			return m
		case <-time.After(wait):
			p.t.Fatalf("nothing came within %v", wait)
		}
	}
}

// expect returns the next message, which must be a T.
func expect[T serviceprotocol.Message](p *peer) T {
	p.t.Helper()
	m := p.next()
	own, ok := m.(T)
	if !ok {
		p.t.Fatalf("got %#v", m)
	}
	return own
}

// connection waits for the next server connection.
func (s *service) connection() *peer {
	s.t.Helper()
	select {
	case p := <-s.joined:
		return p
	case <-time.After(wait):
		s.t.Fatalf("no server connection within %v", wait)
		return nil
	}
}

// connect puts a hub behind the service with one server connection.
func connect(t *testing.T, s *service, hub any, o appserver.Options) (*appserver.App, *hubs.Server, *peer) {
	t.Helper()
	server := newHub(t, hub, hubs.Options{})
	if o.Connections == 0 {
		o.Connections = 1
	}
	app := start(t, s, server, o)
	p := s.connection()
	if err := app.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return app, server, p
}

func newHub(t *testing.T, hub any, o hubs.Options) *hubs.Server {
	t.Helper()
	d, err := hubs.Register(hub)
	if err != nil {
		t.Fatal(err)
	}
	server, err := hubs.NewServer(hubs.Config{Name: "Chat", Dispatcher: d, Options: o})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func start(t *testing.T, s *service, server *hubs.Server, o appserver.Options) *appserver.App {
	t.Helper()
	if testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	app, err := appserver.Connect(context.Background(), server, s.connectionString(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // nobody migrates any more
		_ = app.Shutdown(ctx)
		<-app.Done()
	})
	return app
}

// client is a client of the service, who speaks over a server connection.
type client struct {
	*peer
	id    string
	proto protocol.Protocol
	data  []byte
}

// open brings a client to the app server and shakes hands.
func (p *peer) open(id string, proto protocol.Protocol, more ...func(*serviceprotocol.OpenConnection)) *client {
	p.t.Helper()
	m := &serviceprotocol.OpenConnection{ConnectionID: id, Protocol: proto.Name()}
	for _, f := range more {
		f(m)
	}
	c := &client{peer: p, id: id, proto: proto}
	p.send(m, &serviceprotocol.ConnectionData{
		ConnectionID: id, Payload: []byte(`{"protocol":"` + proto.Name() + `","version":1}` + "\x1e"), DataType: serviceprotocol.DataHandshake,
	})
	return c
}

// opened is open, and the answer to the handshake.
func (p *peer) opened(id string, proto protocol.Protocol, more ...func(*serviceprotocol.OpenConnection)) *client {
	p.t.Helper()
	c := p.open(id, proto, more...)
	if m := expect[*serviceprotocol.ConnectionData](p); m.ConnectionID != id || string(m.Payload) != "{}\x1e" {
		p.t.Fatalf("the handshake is answered with %q", m.Payload)
	}
	return c
}

// put sends hub messages of the client.
func (c *client) put(messages ...*protocol.Message) {
	c.t.Helper()
	var b []byte
	for _, m := range messages {
		var err error
		if b, err = c.proto.Append(b, m); err != nil {
			c.t.Fatal(err)
		}
	}
	c.send(&serviceprotocol.ConnectionData{ConnectionID: c.id, Payload: b, DataType: serviceprotocol.DataInvocation})
}

func (c *client) raw(v any) protocol.Raw {
	c.t.Helper()
	raw, err := values.Encode(c.proto.Encoding(), v)
	if err != nil {
		c.t.Fatal(err)
	}
	return raw
}

func (c *client) invocation(t protocol.Type, id, target string, args ...any) *protocol.Message {
	c.t.Helper()
	raw, err := values.Arguments(c.proto.Encoding(), args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return &protocol.Message{Type: t, InvocationID: id, Target: target, Arguments: raw}
}

func (c *client) invoke(id, target string, args ...any) {
	c.t.Helper()
	c.put(c.invocation(protocol.Invocation, id, target, args...))
}

// get returns the next hub message to the client that is no ping, from the data
// that the app server sends it next.
func (c *client) get() *protocol.Message {
	c.t.Helper()
	for {
		var m protocol.Message
		n, err := c.proto.Parse(c.data, &m)
		if err != nil {
			c.t.Fatal(err)
		}
		if n > 0 {
			own := m.Clone()
			c.data = c.data[n:]
			if own.Type != protocol.Ping {
				return own
			}
			continue
		}
		data := expect[*serviceprotocol.ConnectionData](c.peer)
		if data.ConnectionID != c.id {
			c.t.Fatalf("got data for %s, want it for %s", data.ConnectionID, c.id)
		}
		c.data = append(c.data, data.Payload...)
	}
}

// completed returns the result of an invocation, or fails the test.
func completed[T any](c *client, id string) T {
	c.t.Helper()
	m := c.get()
	var v T
	if m.Type != protocol.Completion || m.InvocationID != id || m.HasError {
		c.t.Fatalf("got %+v", m)
	}
	if m.Result.Present() {
		if err := values.Decode(m.Result, &v); err != nil {
			c.t.Fatal(err)
		}
	}
	return v
}

// bothProtocols runs a test for each hub protocol.
func bothProtocols(t *testing.T, test func(t *testing.T, p protocol.Protocol)) {
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		t.Run(p.Name(), func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

// receive waits for a value.
func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(wait):
		t.Fatalf("nothing came within %v", wait)
		panic("unreachable")
	}
}
