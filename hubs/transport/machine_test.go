package transport_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"pgregory.net/rapid"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/transport"
)

// request is something that a client asks of a connection.
type request string

const (
	poll   request = "poll"
	events request = "events"
	socks  request = "WebSocket"
	post   request = "POST"
	remove request = "DELETE"
)

var requests = []request{poll, events, socks, post, remove}

// onlyPolls is the path of the endpoint that has long polling only.
const onlyPolls = "/polls"

// phase is how far a connection has come.
type phase int

const (
	fresh  phase = iota // negotiated
	live                // a transport runs and the handshake is done
	away                // live, but its WebSocket was cut; it may come back
	ending              // has ended, which the server may be about to notice
	spent               // the server has shown that it knows
)

// refusals are the statuses of requests to a live connection that don't suit
// its transport, with their texts.
var refusals = map[hubs.TransportKind]map[request]string{
	hubs.WebSockets: {
		poll: "400 Cannot change transports mid-connection", events: "400 Cannot change transports mid-connection", socks: "409 ",
		post: "405 POST requests are not allowed for WebSocket connections.", remove: "400 Cannot terminate this connection using the DELETE endpoint.",
	},
	hubs.ServerSentEvents: {
		poll: "400 Cannot change transports mid-connection", events: "409 ", socks: "400 Cannot change transports mid-connection",
		remove: "400 Cannot terminate this connection using the DELETE endpoint.",
	},
	hubs.LongPolling: {
		events: "400 Cannot change transports mid-connection", socks: "400 Cannot change transports mid-connection",
	},
}

const unknown = "404 No Connection with that ID"

// peer is one client and what the model knows of its connection.
type peer struct {
	user, query, id string
	stateful        bool
	kind            hubs.TransportKind
	phase           phase

	ws     *socket
	events *stream
	open   <-chan answer // the poll that stands

	sent   int      // invocations
	pushes []string // those that the client, which never acknowledges, may get again
	queued string   // what the next poll brings
}

// expected are the answers that a request may get, if any, when it must neither
// open nor change anything.
func (p *peer) expected(r request) []string {
	refusal, refused := refusals[p.kind][r]
	switch {
	case p.phase == spent, p.phase == fresh && (r == post || r == remove):
		return []string{unknown}
	case p.phase == ending && p.kind == hubs.LongPolling && r == poll:
		return []string{unknown, "204 "}
	case p.phase == ending && p.kind == hubs.LongPolling && r == remove:
		return []string{unknown, "202 "}
	case p.phase == ending && p.kind == hubs.LongPolling && r == post:
		return []string{unknown}
	case p.phase == ending && r == post && p.kind == hubs.ServerSentEvents:
		return []string{unknown, "200 "}
	case p.phase == ending && p.stateful && r == socks:
		return nil // until the server has noticed, it is a client that comes back
	case p.phase == ending:
		return []string{unknown, refusal}
	case refused && (p.phase == live || p.phase == away) && !(p.stateful && r == socks):
		return []string{refusal}
	}
	return nil
}

// heard is a Dispatcher that tells which invocations come.
type heard chan string

func (h heard) Connected(context.Context, *hubs.Connection) error { return nil }
func (h heard) Message(_ context.Context, _ *hubs.Connection, m *protocol.Message) error {
	h <- m.Target
	return nil
}
func (h heard) Disconnected(context.Context, *hubs.Connection, error) {}

// machine is the model of a node with some clients.
type machine struct {
	*site
	*rapid.T
	heard  heard
	kinds  []hubs.TransportKind // that clients use
	led    bool                 // by the fuzzer
	peers  []*peer
	pushed int
}

// ask makes one request and returns its status and text.
func (m *machine) ask(r request, path, query, user string) string {
	m.Helper()
	method, body, h := http.MethodGet, "", header{"Authorization": "Bearer " + user}
	switch r {
	case socks:
		ws, resp, err := m.dialPath(path, query, h)
		if err == nil {
			ws.cut()
			return "101 "
		}
		if resp == nil {
			m.Fatalf("dial: %v", err)
		}
		text, _ := io.ReadAll(resp.Body)
		return fmt.Sprint(resp.StatusCode, " ", string(text))
	case events:
		h["Accept"] = "text/event-stream"
	case post:
		method, body = http.MethodPost, "{\"type\":6}\x1e"
	case remove:
		method = http.MethodDelete
	case poll:
	}
	a := m.do(method, path, query, body, h)
	return fmt.Sprint(a.status, " ", a.body)
}

func (m *machine) dialPath(path, query string, h header) (*socket, *http.Response, error) {
	at := *m.site
	at.url += path
	return at.dial(query, h)
}

// skipped is the panic of a step that the fuzzer chose and that makes no sense now.
// Skip fails a test that chooses many of those in a row.
type skipped struct{}

// skip leaves out a step.
func (m *machine) skip(why string) {
	if m.led {
		panic(skipped{})
	}
	m.Skip(why)
}

// tries are the steps, of which those that are left out count as done if m is led
// by the fuzzer.
func (m *machine) tries(steps map[string]func(*rapid.T)) map[string]func(*rapid.T) {
	if !m.led {
		return steps
	}
	for name, step := range steps {
		steps[name] = func(r *rapid.T) {
			defer func() {
				if p := recover(); p != nil && p != any(skipped{}) {
					panic(p)
				}
			}()
			step(r)
		}
	}
	return steps
}

// one picks a client that suits.
func (m *machine) one(suits func(*peer) bool) *peer {
	var some []*peer
	for _, p := range m.peers {
		if suits(p) {
			some = append(some, p)
		}
	}
	if len(some) == 0 {
		m.skip("no client suits")
	}
	return rapid.SampledFrom(some).Draw(m.T, "client")
}

func (m *machine) got(what, got string, want ...string) {
	m.Helper()
	if !slices.Contains(want, got) {
		m.Fatalf("%s: got %q, want one of %q", what, got, want)
	}
}

// negotiate adds a client, in place of a spent one if there are many.
func (m *machine) negotiate(*rapid.T) {
	p := &peer{user: rapid.SampledFrom([]string{"ada", "bob"}).Draw(m.T, "user"), stateful: rapid.Bool().Draw(m.T, "stateful")}
	query := "?negotiateVersion=1"
	if p.stateful {
		query += "&useStatefulReconnect=true"
	}
	n := parse[negotiation](m.site.t, m.do("POST", "/negotiate", query, "", as(p.user)).body)
	p.query, p.id = "?id="+n.ConnectionToken, n.ConnectionID
	if i := slices.IndexFunc(m.peers, func(p *peer) bool { return p.phase == spent }); i >= 0 && len(m.peers) > 4 {
		m.peers[i] = p
		return
	}
	if len(m.peers) > 4 {
		m.skip("enough clients")
	}
	m.peers = append(m.peers, p)
}

// connect begins a transport.
func (m *machine) connect(*rapid.T) {
	p := m.one(func(p *peer) bool { return p.phase == fresh })
	p.kind = rapid.SampledFrom(m.kinds).Draw(m.T, "transport")
	p.stateful = p.stateful && p.kind == hubs.WebSockets
	p.phase = live
	switch p.kind {
	case hubs.WebSockets:
		p.ws = m.redial(p.query, p.user)
		if p.stateful {
			p.ws.send(handshake2)
		} else {
			p.ws.send(handshake)
		}
		m.read(p, "{}\x1e")
	case hubs.ServerSentEvents:
		p.events = m.site.events(p.query, as(p.user))
		m.got("handshake", m.say(p, handshake), "200 ")
		m.read(p, "{}\x1e")
	case hubs.LongPolling:
		m.got("first poll", m.ask(poll, "", p.query, p.user), "200 ")
		m.got("handshake", m.say(p, handshake), "200 ")
		m.got("second poll", m.ask(poll, "", p.query, p.user), "200 {}\x1e")
	}
}

// say sends a client's bytes by POST.
func (m *machine) say(p *peer, text string) string {
	a := m.do("POST", "", p.query, text, as(p.user))
	return fmt.Sprint(a.status, " ", a.body)
}

// read takes the next record from a client's transport, Acks aside.
func (m *machine) read(p *peer, want string) {
	m.Helper()
	got, err := "", error(nil)
	switch p.kind {
	case hubs.WebSockets:
		for got, err = p.ws.read(); err == nil && strings.HasPrefix(got, `{"type":8,`); got, err = p.ws.read() {
		}
	case hubs.ServerSentEvents:
		got, err = p.events.next()
	case hubs.LongPolling:
		a := m.answer(p.open)
		p.open = nil
		got = a.body
		if a.status != http.StatusOK {
			err = fmt.Errorf("status %d", a.status)
		}
	}
	if err != nil || got != want {
		m.Fatalf("%s: got %q, %v; want %q", p.kind, got, err, want)
	}
}

// isLive: the client has its transport.
func isLive(p *peer) bool { return p.phase == live }

func isPolling(p *peer) bool { return p.phase == live && p.kind == hubs.LongPolling }

// poll opens a poll, or a second one: then the older ends with 204.
func (m *machine) poll(*rapid.T) {
	p := m.one(isPolling)
	older := p.open
	p.open = m.begin(m.T.Context(), p)
	if p.queued != "" {
		want := p.queued
		p.queued = ""
		m.read(p, want)
		return
	}
	if older != nil {
		p.open = m.outlive(older, p.open)
	}
}

// giveUp is a client that leaves the poll that stands and polls anew.
func (m *machine) giveUp(*rapid.T) {
	p := m.one(func(p *peer) bool { return isPolling(p) && p.open != nil })
	ctx, cancel := context.WithCancel(m.T.Context())
	defer cancel()
	left := m.begin(ctx, p)
	if p.open = m.outlive(p.open, left); p.open != left {
		return // it is the older that came later
	}
	cancel()
	if a := m.answer(left); a.status != 0 {
		m.Fatalf("the poll that was left is answered %d %q", a.status, a.body)
	}
	// What is sent before the server learns of it is lost with the response: the
	// poll that stands now must be known to have arrived.
	p.open = m.outlive(m.begin(m.T.Context(), p), m.begin(m.T.Context(), p))
}

// outlive returns the one of two polls that stands; the other has got 204.
func (m *machine) outlive(one, two <-chan answer) <-chan answer {
	m.Helper()
	var a answer
	stands := two
	select {
	case a = <-one:
	case a = <-two:
		stands = one
	case <-time.After(wait):
		m.Fatal("both polls stay open")
	}
	m.got("the poll that doesn't stand", fmt.Sprint(a.status, " ", a.body), "204 ")
	return stands
}

// begin polls in the background; status 0 is no answer.
func (m *machine) begin(ctx context.Context, p *peer) <-chan answer {
	c := make(chan answer, 1)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url+p.query, nil)
	if err != nil {
		m.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.user)
	go func() {
		resp, err := m.client.Do(req)
		if err != nil {
			c <- answer{body: err.Error()}
			return
		}
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			c <- answer{body: err.Error()}
			return
		}
		c <- answer{resp.StatusCode, resp.Header, string(b)}
	}()
	return c
}

// answer waits for a poll's answer.
func (m *machine) answer(c <-chan answer) answer {
	m.Helper()
	select {
	case a := <-c:
		return a
	case <-time.After(wait):
		m.Fatalf("no answer to the poll within %v", wait)
		return answer{}
	}
}

// invoke sends an invocation, which the server hands on.
func (m *machine) invoke(*rapid.T) {
	p := m.one(isLive)
	p.sent++
	target := fmt.Sprintf("%s/%d", p.id, p.sent)
	if p.kind == hubs.WebSockets {
		p.ws.send(invocation(target))
	} else {
		m.got("POST", m.say(p, invocation(target)), "200 ")
	}
	select {
	case got := <-m.heard:
		m.got("handed on", got, target)
	case <-time.After(wait):
		m.Fatalf("%s: the invocation isn't handed on", p.kind)
	}
}

// push sends to everybody; each gets it once, or will.
func (m *machine) push(*rapid.T) {
	m.pushed++
	frame := m.publish(fmt.Sprint(m.pushed))
	for _, p := range m.peers {
		if p.phase == live || p.phase == away {
			p.pushes = append(p.pushes, frame)
		}
		switch {
		case isPolling(p) && p.open == nil:
			p.queued += frame
		case p.phase == live:
			m.read(p, frame)
		}
	}
}

// intrude asks what must be refused and must change nothing.
func (m *machine) intrude(*rapid.T) {
	p := m.one(func(*peer) bool { return true })
	r := rapid.SampledFrom(requests).Draw(m.T, "request")
	switch rapid.IntRange(0, 4).Draw(m.T, "how") {
	case 0:
		m.got("a stranger's "+string(r), m.ask(r, "", p.query, "mallory"), "403 This connection belongs to another user.")
	case 1:
		m.got("the public id's "+string(r), m.ask(r, "", "?id="+p.id, p.user), unknown)
	case 2:
		if r != socks {
			m.got("no id's "+string(r), m.ask(r, "", "", p.user), "400 Connection ID required")
		}
	case 3:
		if r == events || r == socks {
			got := m.ask(r, onlyPolls, p.query, p.user)
			if !strings.HasPrefix(got, "404 ") {
				m.Fatalf("%s, turned off: got %q", r, got)
			}
		}
	case 4:
		m.got("other methods", fmt.Sprint(m.do(http.MethodPut, "", p.query, "", as(p.user)).status), "405")
	}
}

// misuse asks what doesn't suit the connection's state.
func (m *machine) misuse(*rapid.T) {
	r := rapid.SampledFrom(requests).Draw(m.T, "request")
	p := m.one(func(p *peer) bool { return p.expected(r) != nil })
	m.got(fmt.Sprintf("%s on %s in phase %d", r, p.kind, p.phase), m.ask(r, "", p.query, p.user), p.expected(r)...)
}

// leave ends a connection by its client's wish.
func (m *machine) leave(*rapid.T) {
	p := m.one(isLive)
	p.phase = ending
	switch p.kind {
	case hubs.WebSockets:
		if err := p.ws.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
			m.Fatalf("close: %v", err)
		}
	case hubs.ServerSentEvents:
		p.events.close()
	case hubs.LongPolling:
		m.got("DELETE", m.ask(remove, "", p.query, p.user), "202 ")
		if p.open != nil {
			a := m.answer(p.open)
			m.got("the open poll", fmt.Sprint(a.status, " ", a.body), "204 ", unknown) // unknown: DELETE was faster
			p.open = nil
		}
	}
}

// cut loses a WebSocket.
func (m *machine) cut(*rapid.T) {
	p := m.one(func(p *peer) bool { return isLive(p) && p.kind == hubs.WebSockets })
	p.ws.cut()
	p.phase = ending
	if p.stateful {
		p.phase = away
	}
}

// resume comes back with another WebSocket, whether or not the old one is lost.
func (m *machine) resume(*rapid.T) {
	p := m.one(func(p *peer) bool { return p.stateful && (p.phase == live || p.phase == away) })
	old, stood := p.ws, p.phase == live
	p.ws, p.phase = m.redial(p.query, p.user), live
	p.ws.send(sequence(p.sent + 1))
	if stood {
		for {
			got, err := old.read()
			if err != nil {
				break
			}
			if !strings.HasPrefix(got, `{"type":8,`) {
				m.Fatalf("the old socket got %q", got)
			}
		}
	}
	m.read(p, sequence(1))
	for _, frame := range p.pushes {
		m.read(p, frame)
	}
}

// end is the server's end of a connection.
func (m *machine) end(*rapid.T) {
	p := m.one(isLive)
	m.entry(&hubs.Entry{Kind: hubs.CloseConnections, Connections: []string{p.id}, Reason: "bye"})
	last := "{\"type\":7,\"error\":\"bye\"}\x1e"
	p.phase = ending
	switch p.kind {
	case hubs.WebSockets:
		m.read(p, last)
		p.ws.expectClosed(websocket.StatusNormalClosure)
	case hubs.ServerSentEvents:
		m.read(p, last)
		if got, err := p.events.next(); err == nil {
			m.Fatalf("after the end came %q", got)
		}
	case hubs.LongPolling:
		if p.open == nil {
			p.open = m.begin(m.T.Context(), p)
		}
		m.read(p, p.queued+last)
		m.got("the last poll", m.ask(poll, "", p.query, p.user), "204 ")
	}
}

// settle waits until the server has noticed an end.
func (m *machine) settle(*rapid.T) {
	p := m.one(func(p *peer) bool { return p.phase == ending })
	until(m.site.t, "an unknown id", func() bool { return m.ask(poll, "", p.query, p.user) == unknown })
	p.phase = spent
}

// TestConnectionStates runs random requests of a few clients against a small
// model of what each is answered: T-01, T-02, T-03, T-04, T-05, T-06, T-07,
// T-08, T-09, T-11, T-21, T-23, T-24, T-26, T-27, T-28, SEC-12, SEC-13. Whatever
// one client does, the others go on.
func TestConnectionStates(t *testing.T) {
	t.Parallel()
	rapid.Check(t, newMachines(t, hubs.WebSockets, hubs.ServerSentEvents, hubs.LongPolling).check(t, false))
}

// FuzzLongPollSequence is TestConnectionStates with long polling alone, led by the
// fuzzer: polls, posts, deletes and tokens of others in any order. All inputs meet
// the same node.
func FuzzLongPollSequence(f *testing.F) {
	machines := newMachines(f, hubs.LongPolling)
	for seed := range byte(8) {
		b := make([]byte, 4096) // what rapid draws its choices from
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, choices []byte) {
		rapid.MakeFuzz(machines.check(t, true))(t, choices)
	})
}

// machines makes machines on one node.
type machines struct {
	site  *site
	heard heard
	kinds []hubs.TransportKind
}

// newMachines starts the node, for clients with these transports.
func newMachines(t testing.TB, kinds ...hubs.TransportKind) machines {
	t.Helper()
	h := make(heard, 1)
	var s *site
	s = newSite(t, func(c *setup) {
		c.options.ForgedTokensPerMinute = 1_000_000 // the machine guesses a lot
		c.config.Dispatcher = h
		c.resolve = func(r *http.Request) (*transport.Endpoint, error) {
			ep := &transport.Endpoint{Scope: "tenant/chat", Server: s.hub, StatefulReconnect: true}
			ep.Principal.UserID = bearer(r)
			if strings.HasSuffix(r.URL.Path, onlyPolls) {
				ep.Transports = []hubs.TransportKind{hubs.LongPolling}
			}
			return ep, nil
		}
	})
	return machines{s, h, kinds}
}

// check is what one test, which may be one input of many that a fuzzer leads, does
// with a machine.
func (ms machines) check(t testing.TB, led bool) func(*rapid.T) {
	s := *ms.site
	s.t = t
	return func(r *rapid.T) {
		m := &machine{site: &s, T: r, heard: ms.heard, kinds: ms.kinds, led: led}
		defer m.part()
		r.Repeat(m.tries(map[string]func(*rapid.T){
			"negotiate": m.negotiate, "connect": m.connect, "connect too": m.connect, "poll": m.poll, "second poll": m.poll,
			"give a poll up": m.giveUp, "invoke": m.invoke, "push": m.push, "intrude": m.intrude, "misuse": m.misuse,
			"misuse more": m.misuse, "leave": m.leave, "cut": m.cut, "resume": m.resume, "end": m.end, "settle": m.settle,
		}))
	}
}

// part ends what is left, so that the next run's pushes reach nobody else.
func (m *machine) part() {
	for _, p := range m.peers {
		switch {
		case p.ws != nil:
			p.ws.cut()
		case p.events != nil:
			p.events.close()
		case p.kind == hubs.LongPolling:
			m.ask(remove, "", p.query, p.user)
		}
	}
}
