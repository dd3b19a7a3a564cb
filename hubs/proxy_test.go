package hubs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// proxy is a hubs.Proxy that remembers what it is given.
type proxy struct {
	refuse error
	silent bool // it leaves the handshake without an answer

	sessions chan *session
}

func newProxy() *proxy { return &proxy{sessions: make(chan *session, 100)} }

func (p *proxy) Open(_ context.Context, c *hubs.Connection, o hubs.Opening) (hubs.ProxySession, error) {
	if p.refuse != nil {
		return nil, p.refuse
	}
	s := &session{conn: c, opening: o, got: make(chan passed, 1000), closed: make(chan error, 10)}
	if !p.silent {
		c.Forward(hubs.Position{}, []byte("{}\x1e"))
	}
	p.sessions <- s
	return s, nil
}

// handle is a Config.Handle that gives every client to p.
func (p *proxy) handle(context.Context, *hubs.Connection, hubs.Opening) (hubs.Handler, error) {
	return hubs.Handler{Proxy: p}, nil
}

// passed is a message that reached the hub server.
type passed struct {
	typ protocol.Type
	raw string
}

type session struct {
	conn    *hubs.Connection
	opening hubs.Opening
	got     chan passed
	closed  chan error

	mu   sync.Mutex
	hold chan struct{} // Message waits until it is closed
	fail error
}

func (s *session) Message(ctx context.Context, m *protocol.Message, raw []byte) error {
	s.mu.Lock()
	hold, fail := s.hold, s.fail
	s.mu.Unlock()
	s.conn.Asked(m)
	s.got <- passed{m.Type, string(raw)}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return fail
}

func (s *session) Close(cause error) { s.closed <- cause }

func (s *session) forward(text string) { s.conn.Forward(hubs.Position{}, []byte(text)) }

func (p *proxy) next(t *testing.T) *session {
	t.Helper()
	return nextOf(t, p.sessions)
}

// wantClosed waits for the session's end and returns what it was told.
func (s *session) wantClosed(t *testing.T) error {
	t.Helper()
	return nextOf(t, s.closed)
}

const (
	ping    = "{\"type\":6}\x1e"
	invoke1 = "{\"type\":1,\"invocationId\":\"1\",\"target\":\"say\",\"arguments\":[1]}\x1e"
	invoke2 = "{\"type\":1,\"invocationId\":\"2\",\"target\":\"shout\",\"arguments\":[2]}\x1e"
	show    = "{\"type\":1,\"target\":\"show\",\"arguments\":[\"a\"]}\x1e"
	result  = "{\"type\":3,\"invocationId\":\"1\",\"result\":\"é\"}\x1e"
)

func TestProxy_gets_every_message_raw_and_in_order(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, proto protocol.Protocol) {
		p := newProxy()
		// Wire order holds whatever the hub allows at once.
		s := newServer(t, hubs.Config{Handle: p.handle, Options: hubs.Options{MaximumParallelInvocationsPerClient: 16}})
		c := dial(t, s, proto, "u", "c")
		session := p.next(t)
		if got := session.opening.Handshake; got.Protocol != proto.Name() || got.Version != 1 {
			t.Errorf("the handshake request is %+v", got)
		}
		var all []protocol.Message
		for i := range 50 {
			id := fmt.Sprint(i)
			all = append(all,
				protocol.Message{Type: protocol.Ping},
				protocol.Message{Type: protocol.Invocation, InvocationID: id, Target: "say", Arguments: c.args([]any{id}), Headers: []protocol.Header{{Name: "h", Value: "v"}}},
				protocol.Message{Type: protocol.StreamInvocation, InvocationID: "s" + id, Target: "count", Arguments: c.args([]any{10}), StreamIDs: []string{"u" + id}},
				protocol.Message{Type: protocol.StreamItem, InvocationID: "u" + id, Item: c.raw(id)},
				protocol.Message{Type: protocol.Completion, InvocationID: "u" + id},
				protocol.Message{Type: protocol.CancelInvocation, InvocationID: "s" + id},
			)
		}
		var want []passed
		var wire []byte
		for i := range all {
			frame, err := proto.Append(nil, &all[i])
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, passed{all[i].Type, string(frame)})
			wire = append(wire, frame...)
		}
		for len(wire) > 0 { // in pieces that know nothing of messages
			n := min(7, len(wire))
			c.send(string(wire[:n]))
			wire = wire[n:]
		}
		for _, w := range want {
			expect(t, session.got, w)
		}
		c.hangUp()
		if err := session.wantClosed(t); err != nil {
			t.Errorf("closed with %v", err)
		}
	})
}

func TestProxy_is_told_of_the_first_request_once(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle})
	w := serveInfo(t, s, hubs.ConnectionInfo{ID: "c", Request: "of the wire"})
	w.send(handshake)
	w.expect("{}\x1e")
	session := p.next(t)
	if session.opening.Request != "of the wire" || session.conn.Info().Request != nil {
		t.Errorf("opened with %v, kept %v", session.opening.Request, session.conn.Info().Request)
	}
}

func TestProxy_answer_comes_before_all_that_is_published(t *testing.T) {
	t.Parallel()
	p := newProxy()
	p.silent = true
	s := newServer(t, hubs.Config{Handle: p.handle})
	w := serve(t, s, "u", "c")
	w.send(handshake)
	session := p.next(t)
	frame, matched := sendTo(t, s, hubs.Entry{Kind: hubs.SendToConnections, Connections: []string{"c"}}, "held")
	if matched != 1 {
		t.Fatalf("matched %d connections, want the one in its handshake", matched)
	}
	session.forward("{\"minorVersion\":0}")
	if session.conn.Answered() {
		t.Error("answered by half of an answer")
	}
	session.forward("\x1e" + show[:5])
	session.forward(show[5:])
	w.expect("{\"minorVersion\":0}\x1e", frame, show)
	if !session.conn.Answered() {
		t.Error("not answered")
	}
}

func TestProxy_nothing_is_owed_before_the_answer(t *testing.T) {
	t.Parallel()
	p := newProxy()
	p.silent = true
	s := newServer(t, hubs.Config{Handle: p.handle, Options: hubs.Options{OutboundMessages: 4}})
	w := serve(t, s, "u", "c")
	w.send(handshake)
	session := p.next(t)
	var last string
	for i := range 10 {
		last, _ = sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, fmt.Sprint(i))
	}
	session.forward("{}\x1e")
	w.expect("{}\x1e")
	for { // what is left has no hole and ends with the last
		got, ok := w.read()
		if !ok {
			t.Fatal("the connection ended")
		}
		if got == last {
			return
		}
	}
}

func TestProxy_bytes_are_cut_into_messages(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, proto protocol.Protocol) {
		for _, size := range []int{1, 2, 13, 1 << 20} {
			m := &meter{}
			p := newProxy()
			s := newServer(t, hubs.Config{Handle: p.handle, Meter: m})
			c := dial(t, s, proto, "u", "c")
			session := p.next(t)
			var wire []byte
			add := func(m *protocol.Message) {
				var err error
				if wire, err = proto.Append(wire, m); err != nil {
					t.Fatal(err)
				}
			}
			add(&protocol.Message{Type: protocol.Completion, InvocationID: "1", Result: c.raw("é")})
			add(&protocol.Message{Type: protocol.Ping})
			add(&protocol.Message{Type: protocol.StreamItem, InvocationID: "2", Item: c.raw("item")})
			add(&protocol.Message{Type: protocol.Ack, SequenceID: 7}) // of numbers that aren't the client's
			add(&protocol.Message{Type: protocol.Invocation, Target: "show", Arguments: c.args([]any{strings.Repeat("x", 5000)})})
			for len(wire) > 0 {
				n := min(size, len(wire))
				piece := bytes.Clone(wire[:n])
				session.conn.Forward(hubs.Position{}, piece)
				clear(piece) // it may not be kept
				wire = wire[n:]
			}
			wantResult(c, "1", "é")
			wantItem(c, "2", "item")
			wantPush(c, "show", strings.Repeat("x", 5000))
			until(t, "three deliveries are counted", func() (ok bool) {
				m.get(func() { ok = m.messages == 3 })
				return ok
			})
		}
	})
}

func TestProxy_no_hub_message_ends_the_connection(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		proto protocol.Protocol
		bytes string
	}{
		"not_JSON":                 {protocol.NewJSON(), "hello\x1e"},
		"not_MessagePack":          {protocol.NewMessagePack(), "\x02\xc1\xc1"},
		"a_length_beyond_the_most": {protocol.NewMessagePack(), "\xff\xff\xff\x7f\x95"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &meter{}
			p := newProxy()
			s := newServer(t, hubs.Config{Handle: p.handle, Meter: m})
			c := dial(t, s, row.proto, "u", "c")
			session := p.next(t)
			session.forward(row.bytes)
			session.forward(row.bytes) // and nothing more is looked at
			if got := c.next(); got == nil || got.Type != protocol.Close || got.Error != "Connection closed with an error." || got.AllowReconnect {
				t.Errorf("got %+v", got)
			}
			if session.wantClosed(t) == nil {
				t.Error("the session was told of an orderly end")
			}
			m.get(func() {
				if m.refused[hubs.RefusedProtocol] != 1 {
					t.Errorf("refusals: %v", m.refused)
				}
			})
		})
	}
}

func TestProxy_message_of_16_MiB_is_the_largest(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle})
	w := connect(t, s, "u", "c")
	session := p.next(t)
	chunk := strings.Repeat("x", 1<<20)
	session.forward(`{"type":1,"target":"t","arguments":["`)
	for range 15 {
		session.forward(chunk)
	}
	session.forward("\"]}\x1e")
	if got, ok := w.read(); !ok || len(got) < 15<<20 {
		t.Fatalf("got %d bytes", len(got))
	}
	session.forward(`{"type":1,"target":"t","arguments":["`)
	for range 16 {
		session.forward(chunk)
	}
	w.expect("{\"type\":7,\"error\":\"Connection closed with an error.\"}\x1e")
}

func TestProxy_close_messages_end_the_connection_behind_the_rest(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle})
	w := connect(t, s, "u", "c")
	session := p.next(t)
	goodbye := "{\"type\":7,\"error\":\"Bye.\",\"allowReconnect\":true}\x1e"
	session.forward(show + goodbye + show)
	w.expect(show, goodbye)
	_ = w.expectEnd()
	if err := session.wantClosed(t); !errors.Is(err, hubs.ErrClosedByServer) {
		t.Errorf("closed with %v", err)
	}
}

func TestProxy_handshake_that_fails(t *testing.T) {
	t.Parallel()
	const away = "No app server is connected to hub 'chat'."
	for name, row := range map[string]struct {
		proxy   func(p *proxy)
		then    func(t *testing.T, s *hubs.Server, session *session)
		want    string
		counted bool
	}{
		"refused_with_a_text": {func(p *proxy) { p.refuse = hubs.NewError(away) }, nil, "{\"error\":\"" + away + "\"}\x1e", false},
		"refused_otherwise": {
			func(p *proxy) { p.refuse = errors.New("internal") }, nil,
			"{\"error\":\"An unexpected error occurred during connection handshake.\"}\x1e", true,
		},
		"an_error_of_the_hub_server": {
			func(p *proxy) { p.silent = true },
			func(_ *testing.T, _ *hubs.Server, session *session) {
				session.forward("{\"error\":\"Not you.\"}\x1e" + show)
			},
			"{\"error\":\"Not you.\"}\x1e", true,
		},
		"a_hub_message_instead": {
			func(p *proxy) { p.silent = true },
			func(_ *testing.T, _ *hubs.Server, session *session) { session.forward(show) },
			"{\"error\":\"Connection closed with an error.\"}\x1e", true,
		},
		"closed_by_the_app_server": {
			func(p *proxy) { p.silent = true },
			func(_ *testing.T, _ *hubs.Server, session *session) {
				session.conn.CloseAfter(hubs.Position{}, "Not today.", true)
			},
			"{\"error\":\"Not today.\"}\x1e", true,
		},
		"closed_by_an_entry": {
			func(p *proxy) { p.silent = true },
			func(t *testing.T, s *hubs.Server, _ *session) {
				sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, "held")
				command(t, s, &hubs.Entry{Kind: hubs.CloseConnections, Connections: []string{"c"}})
			},
			"{\"error\":\"An unexpected error occurred during connection handshake.\"}\x1e", true,
		},
		"no_answer_in_time": {
			func(p *proxy) { p.silent = true },
			func(*testing.T, *hubs.Server, *session) {},
			"{\"error\":\"Handshake was canceled.\"}\x1e", true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &meter{}
			p := newProxy()
			row.proxy(p)
			opt := hubs.Options{}
			if name == "no_answer_in_time" {
				opt.HandshakeTimeout = 100 * time.Millisecond
			}
			s := newServer(t, hubs.Config{Handle: p.handle, Meter: m, Options: opt})
			w := serve(t, s, "u", "c")
			w.send(handshake)
			var session *session
			if row.then != nil {
				session = p.next(t)
				row.then(t, s, session)
			}
			w.expect(row.want)
			if err := w.expectEnd(); err == nil {
				t.Error("Serve returned no error")
			}
			if session != nil && session.wantClosed(t) == nil {
				t.Error("the session was told of an orderly end")
			}
			if s.Connections() != 0 {
				t.Error("the connection is still in the hub")
			}
			m.get(func() {
				if m.opened != 0 || (m.refused[hubs.RefusedHandshake] == 1) != row.counted {
					t.Errorf("opened %d, refusals %v", m.opened, m.refused)
				}
			})
		})
	}
}

func TestProxy_limits_and_filters_come_before_it(t *testing.T) {
	t.Parallel()
	m := &meter{}
	p := newProxy()
	f := filter{onInvocation: func(ctx context.Context, c *hubs.Connection, m *protocol.Message, next func(context.Context) error) error {
		switch m.Target {
		case "shout":
			return hubs.NewError("Too loud.")
		case "$join":
			return c.Send(&protocol.Message{Type: protocol.Completion, InvocationID: m.InvocationID})
		}
		return next(ctx)
	}}
	s := newServer(t, hubs.Config{Handle: p.handle, Filters: []hubs.Filter{f}, Meter: m, Options: hubs.Options{MaximumReceiveMessageSize: 200}})
	w := connect(t, s, "u", "c")
	session := p.next(t)
	w.send(invoke2 + "{\"type\":1,\"invocationId\":\"3\",\"target\":\"$join\",\"arguments\":[]}\x1e" + invoke1)
	w.expect("{\"type\":3,\"invocationId\":\"2\",\"error\":\"An unexpected error occurred invoking 'shout' on the server. HubException: Too loud.\"}\x1e")
	w.expect("{\"type\":3,\"invocationId\":\"3\"}\x1e")
	expect(t, session.got, passed{protocol.Invocation, invoke1})
	session.forward(result)
	w.expect(result)

	w.send(strings.Repeat("x", 201))
	w.expect("{\"type\":7,\"error\":\"Connection closed with an error.\"}\x1e")
	if session.wantClosed(t) == nil {
		t.Error("the session was told of an orderly end")
	}
}

// filter is a hubs.Filter made of functions.
type filter struct {
	hubs.PassFilter
	onConnected  func(context.Context, *hubs.Connection) error
	onInvocation func(context.Context, *hubs.Connection, *protocol.Message, func(context.Context) error) error
}

func (f filter) OnConnected(ctx context.Context, c *hubs.Connection, next func(context.Context) error) error {
	if f.onConnected != nil {
		if err := f.onConnected(ctx, c); err != nil {
			return err
		}
	}
	return next(ctx)
}

func (f filter) OnInvocation(ctx context.Context, c *hubs.Connection, m *protocol.Message, next func(context.Context) error) error {
	if f.onInvocation != nil {
		return f.onInvocation(ctx, c, m, next)
	}
	return next(ctx)
}

func TestProxy_client_that_a_filter_refuses(t *testing.T) {
	t.Parallel()
	p := newProxy()
	f := filter{onConnected: func(context.Context, *hubs.Connection) error { return hubs.NewError("Revoked.") }}
	s := newServer(t, hubs.Config{Handle: p.handle, Filters: []hubs.Filter{f}})
	w := connect(t, s, "u", "c")
	w.expect("{\"type\":7,\"error\":\"Connection closed with an error. HubException: Revoked.\"}\x1e")
	if p.next(t).wantClosed(t) == nil {
		t.Error("the session was told of an orderly end")
	}
}

func TestProxy_close_of_the_client_is_passed_on_first(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle})
	w := connect(t, s, "u", "c")
	session := p.next(t)
	goodbye := "{\"type\":7}\x1e"
	w.send(invoke1 + goodbye)
	expect(t, session.got, passed{protocol.Invocation, invoke1})
	expect(t, session.got, passed{protocol.Close, goodbye})
	if err := session.wantClosed(t); err != nil {
		t.Errorf("closed with %v", err)
	}
	if err := w.expectEnd(); err != nil {
		t.Errorf("Serve returned %v", err)
	}
}

func TestProxy_that_is_behind_isn_t_given_more(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle})
	w := connect(t, s, "u", "c")
	session := p.next(t)
	session.hold = make(chan struct{})
	w.send(strings.Repeat(invoke1, 3))
	expect(t, session.got, passed{protocol.Invocation, invoke1})
	session.forward(show) // the other way goes on
	w.expect(show)
	select {
	case m := <-session.got:
		t.Fatalf("got %v before the message before it was taken", m)
	default:
	}
	close(session.hold)
	expect(t, session.got, passed{protocol.Invocation, invoke1})
	expect(t, session.got, passed{protocol.Invocation, invoke1})

	session.mu.Lock()
	session.hold = make(chan struct{})
	session.mu.Unlock()
	w.send(invoke1)
	expect(t, session.got, passed{protocol.Invocation, invoke1})
	session.conn.Close("Enough.", true) // also while it waits
	w.expect("{\"type\":7,\"error\":\"Enough.\",\"allowReconnect\":true}\x1e")
	_ = session.wantClosed(t)
}

func TestProxy_session_that_fails_ends_the_connection(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle})
	w := connect(t, s, "u", "c")
	session := p.next(t)
	session.mu.Lock()
	session.fail = errors.New("gone")
	session.mu.Unlock()
	w.send(invoke1)
	w.expect("{\"type\":7,\"error\":\"Connection closed with an error.\"}\x1e")
	if err := w.expectEnd(); err == nil || err.Error() != "gone" {
		t.Errorf("Serve returned %v", err)
	}
}

func TestProxy_pings_and_time_outs_are_the_hub_server_s(t *testing.T) {
	t.Parallel()
	p := newProxy()
	m := &meter{}
	s := newServer(t, hubs.Config{Handle: p.handle, Meter: m, Options: hubs.Options{
		KeepAliveInterval: 50 * time.Millisecond, ClientTimeoutInterval: 100 * time.Millisecond,
	}})
	w := connect(t, s, "u", "c")
	session := p.next(t)
	w.send(ping) // time-outs begin with the first
	expect(t, session.got, passed{protocol.Ping, ping})
	// An ordinary connection beside it shows when the time has come for both.
	plain := newServer(t, hubs.Config{Options: s.Options()})
	other := connect(t, plain, "u", "d")
	other.send(ping)
	for {
		got, ok := other.read()
		if !ok {
			t.Fatal("no Close message")
		}
		if got != ping {
			break
		}
	}
	session.forward(show)
	w.expect(show)
	session.forward(ping)
	w.expect(ping)
	m.get(func() {
		if m.refused[hubs.RefusedTimeout] != 0 {
			t.Errorf("refusals: %v", m.refused)
		}
	})
}

func TestProxy_after_and_stream_keep_one_order(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle, Options: hubs.Options{OutboundMessages: 100_000, OutboundBytes: 64 << 20}})
	w := connect(t, s, "u", "c")
	session := p.next(t)
	const rounds = 10_000
	var after hubs.Position
	go func() {
		for i := range rounds {
			b, _ := message(fmt.Sprint("s", i))
			at, err := s.Backplane().Publish(context.Background(), &hubs.Entry{Kind: hubs.SendToAll, Message: b}, hubs.PublishOptions{})
			if err != nil {
				t.Errorf("publish: %v", err)
				return
			}
			after = at
			session.conn.Forward(after, fmt.Appendf(nil, "{\"type\":1,\"target\":\"show\",\"arguments\":[\"d%d\"]}\x1e", i))
		}
	}()
	for i := range rounds {
		for _, way := range []string{"s", "d"} {
			_, want := message(fmt.Sprint(way, i))
			w.expect(want)
		}
	}
}

func TestHandle_chooses_for_each_connection(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: func(_ context.Context, c *hubs.Connection, _ hubs.Opening) (hubs.Handler, error) {
		switch c.User() {
		case "proxied":
			return hubs.Handler{Proxy: p}, nil
		case "refused":
			return hubs.Handler{}, hubs.NewError("Come back later.")
		}
		return hubs.Handler{Dispatcher: hubs.BroadcastOnly("chat")}, nil
	}})
	proxied := connect(t, s, "proxied", "a")
	plain := connect(t, s, "plain", "b")
	refused := serve(t, s, "refused", "c")
	refused.send(handshake)
	refused.expect("{\"error\":\"Come back later.\"}\x1e")
	session := p.next(t)
	proxied.send(invoke1)
	expect(t, session.got, passed{protocol.Invocation, invoke1})
	plain.send(invoke1)
	plain.expect("{\"type\":3,\"invocationId\":\"1\",\"error\":\"An unexpected error occurred invoking 'say' on the server. HubException: Hub 'chat' has no handler for invocations. Connect an app server, set an upstream URL, or publish over the REST API.\"}\x1e")
	frame, matched := sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, "both")
	if matched != 2 {
		t.Errorf("matched %d, want 2", matched)
	}
	proxied.expect(frame)
	plain.expect(frame)
}

func TestHandle_that_panics_refuses_the_client(t *testing.T) {
	t.Parallel()
	s := newServer(t, hubs.Config{Handle: func(context.Context, *hubs.Connection, hubs.Opening) (hubs.Handler, error) { panic("no") }})
	w := serve(t, s, "u", "c")
	w.send(handshake)
	w.expect("{\"error\":\"An unexpected error occurred during connection handshake.\"}\x1e")
	_ = w.expectEnd()
}

func TestProxy_stalled_clients_hold_up_nobody(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle, Options: hubs.Options{OutboundMessages: 50}})
	const clients, stalled = 100, 50
	wires := make([]*wire, clients)
	sessions := make([]*session, clients)
	for i := range wires {
		wires[i] = connect(t, s, "u", fmt.Sprint("c", i))
		sessions[i] = p.next(t)
		wires[i].stall(i < stalled)
	}
	for range 40 {
		for _, session := range sessions {
			session.forward(show)
		}
	}
	for _, w := range wires[stalled:] {
		for range 40 {
			w.expect(show)
		}
	}
	for range 60 { // more than the queue of those that don't read
		for _, session := range sessions[:stalled] {
			session.forward(show)
		}
	}
	for _, w := range wires[:stalled] {
		w.stall(false)
		for range 100 { // which isn't what bounds what their hub server says
			w.expect(show)
		}
	}
}

func TestHandle_that_chooses_nothing_leaves_the_dispatcher(t *testing.T) {
	t.Parallel()
	n := newNotes()
	s := newServer(t, hubs.Config{Dispatcher: n, Handle: func(context.Context, *hubs.Connection, hubs.Opening) (hubs.Handler, error) {
		return hubs.Handler{}, nil
	}})
	w := connect(t, s, "u", "c")
	w.send(invoke1)
	expect(t, n.targets, "say")
}

func TestProxy_client_that_answers_twice_is_heard_once(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle})
	w := connect(t, s, "u", "c")
	session := p.next(t)
	answered := make(chan hubs.ClientAnswer, 1)
	go func() {
		a, err := hubs.NewContext(s.Backplane()).InvokeConnection(t.Context(), hubs.ClientInvocation{
			Connection: "c", ID: "ask", Message: &hubs.Broadcast{Target: "question", Arguments: protocol.Raw{Bytes: []byte("[]")}},
		})
		if err != nil {
			t.Errorf("ask: %v", err)
		}
		answered <- a
	}()
	w.expect("{\"type\":1,\"invocationId\":\"ask\",\"target\":\"question\",\"arguments\":[]}\x1e")
	other := "{\"type\":3,\"invocationId\":\"1\"}\x1e" // the end of a stream of the client
	w.send("{\"type\":3,\"invocationId\":\"ask\",\"result\":\"mine\"}\x1e{\"type\":3,\"invocationId\":\"ask\",\"result\":\"again\"}\x1e" + other)
	if a := nextOf(t, answered); string(a.Result.Bytes) != `"mine"` {
		t.Errorf("got %q", a.Result.Bytes)
	}
	expect(t, session.got, passed{protocol.Completion, other})
}

func TestProxy_what_a_hub_server_leaves_unanswered(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle, Options: hubs.Options{OutboundMessages: 10}})
	w := connect(t, s, "u", "c")
	session := p.next(t)
	for _, id := range []string{"1", "2", "2"} {
		w.send(fmt.Sprintf("{\"type\":1,\"invocationId\":%q,\"target\":\"say\",\"arguments\":[]}\x1e", id))
		nextOf(t, session.got)
	}
	for i := range 1_100 {
		w.send(fmt.Sprintf("{\"type\":4,\"invocationId\":\"s%d\",\"target\":\"count\",\"arguments\":[]}\x1e", i))
		nextOf(t, session.got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan struct{})
	go func() {
		session.conn.AwaitAnswers(t.Context())
		close(waiting)
	}()
	answered := "{\"type\":3,\"invocationId\":\"1\"}\x1e"
	session.forward(answered)
	cancel()
	session.conn.AwaitAnswers(ctx) // returns, though 2 isn't answered
	select {
	case <-waiting:
		t.Error("2 isn't answered yet")
	default:
	}
	if n := session.conn.FailInvocations("gone"); n != 999 {
		t.Errorf("%d failed, want as many as are remembered", n)
	}
	nextOf(t, waiting)
	w.expect(answered, "{\"type\":3,\"invocationId\":\"2\",\"error\":\"gone\"}\x1e")
	if n := session.conn.FailInvocations("gone"); n != 0 {
		t.Errorf("%d failed again", n)
	}
}
