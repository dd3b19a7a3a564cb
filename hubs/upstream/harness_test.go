package upstream_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/upstream"
	"github.com/signalbox/signalbox/internal/outbound"
	"github.com/signalbox/signalbox/tenants"
)

// wait bounds every wait for something that must happen.
const wait = 15 * time.Second

const (
	tenantID  = tenants.ID("01TENANT")
	hubName   = "chat"
	primary   = "primary key"
	secondary = "secondary key"
	secret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	former    = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

// arrival is a request as the upstream got it.
type arrival struct {
	path   string
	header http.Header
	body   []byte
}

// message is the body of a request in the native format.
type message struct {
	Type, ID, Hub, Target, Error, Replaces string
	ConnectionID                           string `json:"connection_id"`
	UserID                                 string `json:"user_id"`
	InvocationID                           string `json:"invocation_id"`
	Sequence                               int
	Stream, Last                           bool
	Uploads                                []string
	Arguments                              []any
	Claims                                 []struct{ Type, Value string }
	Items                                  []struct {
		Upload string
		Item   any
	}
	Ended []struct{ Upload, Error string }
}

func (a arrival) message(t *testing.T) (m message) {
	t.Helper()
	if err := json.Unmarshal(a.body, &m); err != nil {
		t.Fatalf("body %s: %v", a.body, err)
	}
	return m
}

// ledger keeps what a Gateway counts and logs.
type ledger struct {
	mu         sync.Mutex
	changed    *sync.Cond
	refused    map[string]int
	deliveries []tenants.Delivery
}

func (l *ledger) count(_ tenants.ID, _, code string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused[code]++
	l.changed.Broadcast()
}

func (l *ledger) Record(_ tenants.ID, d tenants.Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliveries = append(l.deliveries, d)
	l.changed.Broadcast()
}

// until waits until the condition holds.
func (l *ledger) until(t *testing.T, what string, holds func(*ledger) bool) {
	t.Helper()
	late := false
	timer := time.AfterFunc(wait, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		late = true
		l.changed.Broadcast()
	})
	defer timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for !holds(l) {
		if late {
			t.Fatalf("waited %v for %s; refused %v, deliveries %+v", wait, what, l.refused, l.deliveries)
		}
		l.changed.Wait()
	}
}

// world is a hub that is served by an upstream.
type world struct {
	t       testing.TB
	url     string
	arrived chan arrival
	ledger  *ledger
	gateway *upstream.Gateway
	server  *hubs.Server

	mu  sync.Mutex
	doc tenants.Document
}

// setting changes what newWorld makes.
type setting struct {
	config func(*upstream.Config)
	up     func(*tenants.Upstream)
}

// allowed lets tests reach upstreams on this machine.
var allowed = outbound.Policy{Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

// newWorld serves a hub with an upstream in that mode, which answers as handle
// says. Every request arrives in world.arrived first.
func newWorld(t testing.TB, mode tenants.UpstreamMode, handle http.HandlerFunc, change ...setting) *world {
	t.Helper()
	w := &world{t: t, arrived: make(chan arrival, 1000)}
	w.ledger = &ledger{refused: make(map[string]int)}
	w.ledger.changed = sync.NewCond(&w.ledger.mu)
	upstreamServer := httptest.NewServer(http.HandlerFunc(func(res http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.arrived <- arrival{path: r.URL.EscapedPath(), header: r.Header.Clone(), body: body}
		r.Body = io.NopCloser(bytes.NewReader(body))
		handle(res, r)
	}))
	t.Cleanup(func() {
		upstreamServer.CloseClientConnections()
		upstreamServer.Close()
	})
	w.url = upstreamServer.URL
	u := tenants.Upstream{Mode: mode, Rules: []tenants.UpstreamRule{{URL: w.url + "/{hub}/{category}/{event}"}}}
	transport := outbound.NewTransport(outbound.Config{Policy: allowed, MaxConnsPerHost: -1}) // as in NewTransport
	t.Cleanup(transport.CloseIdleConnections)
	config := upstream.Config{Transport: transport, Log: w.ledger, Refused: w.ledger.count, Logger: discard, RetryAfter: []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}}
	for _, c := range change {
		if c.config != nil {
			c.config(&config)
		}
		if c.up != nil {
			c.up(&u)
		}
	}
	w.doc = tenants.Document{
		ID: tenantID, Revision: 1, Status: tenants.Active,
		Keys:           []tenants.DocKey{{ID: "2", Slot: tenants.Secondary, Secret: secondary}, {ID: "1", Slot: tenants.Primary, Secret: primary}},
		WebhookSecrets: []tenants.DocWebhookSecret{{ID: "a", Secret: secret}, {ID: "b", Secret: former, Expires: time.Now().Add(time.Hour).Unix()}},
		Hubs:           map[string]tenants.HubSettings{hubName: {Upstream: &u}},
	}
	w.gateway = upstream.NewGateway(config)
	d := w.gateway.Hub(tenantID, hubName, w.document)
	server, err := hubs.NewServer(hubs.Config{Name: hubName, Dispatcher: d, Linger: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	w.server = server
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		d.Close()
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		_ = w.gateway.Close(ctx) // an upstream that answers nothing may hold it up
	})
	return w
}

func (w *world) document() *tenants.Document {
	w.mu.Lock()
	defer w.mu.Unlock()
	doc := w.doc
	return &doc
}

// next is the next request that arrived.
func (w *world) next() arrival {
	w.t.Helper()
	select {
	case a := <-w.arrived:
		return a
	case <-time.After(wait):
		w.t.Fatalf("no request arrived within %v", wait)
		panic("unreachable")
	}
}

// event is the next request, which must be for this event.
func (w *world) event(name string) arrival {
	w.t.Helper()
	a := w.next()
	if want := "/" + hubName + "/connections/" + name; a.path != want {
		w.t.Fatalf("request to %s, want %s", a.path, want)
	}
	return a
}

// client is one end of a connection: the hub's transport and its client.
type client struct {
	t     testing.TB
	proto protocol.Protocol
	ended chan error

	mu      sync.Mutex
	cond    *sync.Cond
	in, out []byte
	inEnd   error
	closed  bool
	late    bool
}

var errAborted = errors.New("aborted")

// connect connects a client of user ann.
func (w *world) connect(p protocol.Protocol, id string) *client {
	w.t.Helper()
	c := &client{t: w.t, proto: p, ended: make(chan error, 1)}
	c.cond = sync.NewCond(&c.mu)
	info := hubs.ConnectionInfo{
		ID: id, Query: map[string][]string{"room": {"a b"}},
		Principal: hubs.Principal{UserID: "ann", Claims: []hubs.Claim{{Type: "role", Value: "admin"}, {Type: "nameid", Value: "ann"}}},
	}
	go func() { c.ended <- w.server.Serve(context.Background(), info, c) }()
	w.t.Cleanup(c.Abort)
	c.write([]byte(fmt.Sprintf("{\"protocol\":%q,\"version\":1}\x1e", p.Name())))
	c.await("the handshake's answer", func() bool { return bytes.HasPrefix(c.out, []byte("{}\x1e")) })
	c.mu.Lock()
	c.out = c.out[3:]
	c.mu.Unlock()
	return c
}

func (c *client) await(what string, holds func() bool) {
	c.t.Helper()
	timer := time.AfterFunc(wait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.late = true
		c.cond.Broadcast()
	})
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !holds() {
		if c.late || c.closed {
			c.t.Fatalf("waited for %s; closed %v, got %q", what, c.closed, c.out)
		}
		c.cond.Wait()
	}
}

// receive returns the next message that is no ping.
func (c *client) receive() *protocol.Message {
	c.t.Helper()
	for {
		var m protocol.Message
		c.await("a message", func() bool {
			n, err := c.proto.Parse(c.out, &m)
			if err != nil {
				c.t.Errorf("from the hub: %v in %q", err, c.out)
				return true
			}
			if n > 0 {
				m = *m.Clone()
				c.out = c.out[n:]
			}
			return n > 0
		})
		if m.Type != protocol.Ping {
			return &m
		}
	}
}

func (c *client) send(m *protocol.Message) {
	c.t.Helper()
	frame, err := c.proto.Append(nil, m)
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(frame)
}

// jsonList is a list of arguments in JSON.
func jsonList(text string) protocol.Raw {
	return protocol.Raw{Encoding: protocol.JSON, Bytes: []byte(text)}
}

func (c *client) invoke(id, target, arguments string) {
	c.t.Helper()
	c.send(&protocol.Message{Type: protocol.Invocation, InvocationID: id, Target: target, Arguments: jsonList(arguments)})
}

func (c *client) stream(id, target, arguments string) {
	c.t.Helper()
	c.send(&protocol.Message{Type: protocol.StreamInvocation, InvocationID: id, Target: target, Arguments: jsonList(arguments)})
}

// completion is the next message, which must complete id, as "value" or "error: text".
func (c *client) completion(id string) string {
	c.t.Helper()
	m := c.receive()
	if m.Type != protocol.Completion || m.InvocationID != id {
		c.t.Fatalf("got %+v, want the completion of %s", m, id)
	}
	if m.HasError {
		return "error: " + m.Error
	}
	return c.text(m.Result)
}

// text is a value in JSON.
func (c *client) text(r protocol.Raw) string {
	if !r.Present() {
		return ""
	}
	b, err := protocol.AppendJSON(nil, r)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

func (c *client) write(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in = append(c.in, b...)
	c.cond.Broadcast()
}

// leave is the client closing its connection in the orderly way.
func (c *client) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inEnd = io.EOF
	c.cond.Broadcast()
}

func (c *client) Kind() hubs.TransportKind          { return hubs.WebSockets }
func (c *client) SetFormat(protocol.TransferFormat) {}
func (c *client) Close(hubs.Ending)                 { c.Abort() }

func (c *client) Wait() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.in) == 0 && c.inEnd == nil {
		c.cond.Wait()
	}
	if len(c.in) > 0 {
		return nil
	}
	return c.inEnd
}

func (c *client) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *client) Write(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errAborted
	}
	c.out = append(c.out, p...)
	c.cond.Broadcast()
	return nil
}

func (c *client) Abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inEnd == nil {
		c.inEnd = errAborted
	}
	c.closed = true
	c.cond.Broadcast()
}
