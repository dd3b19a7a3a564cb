package transport_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wait bounds every wait for something that must happen.
const wait = 10 * time.Second

const handshake = "{\"protocol\":\"json\",\"version\":1}\x1e"

// site is one node: a hub, its HTTP side and a server.
type site struct {
	t       testing.TB
	url     string
	hub     *hubs.Server
	handler *transport.Handler
	client  *http.Client
}

// setup is what a test changes of the default site.
type setup struct {
	config   hubs.Config
	options  transport.Options
	endpoint transport.Endpoint
	// resolve, when set, replaces the default: the user is the bearer token.
	resolve func(*http.Request) (*transport.Endpoint, error)
}

func newSite(t testing.TB, change func(*setup)) *site {
	t.Helper()
	s := setup{config: hubs.Config{Name: "chat"}, endpoint: transport.Endpoint{Scope: "tenant/chat"}}
	if change != nil {
		change(&s)
	}
	hub, err := hubs.NewServer(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.options.Resolve = s.resolve
	if s.options.Resolve == nil {
		s.options.Resolve = func(r *http.Request) (*transport.Endpoint, error) {
			ep := s.endpoint
			ep.Server = hub
			ep.Principal.UserID = bearer(r)
			if ep.Principal.UserID == "nobody" {
				return nil, &transport.Error{Status: http.StatusUnauthorized, Text: "no"}
			}
			return &ep, nil
		}
	}
	h, err := transport.NewHandler(s.options)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	site := &site{t: t, url: server.URL + "/client", hub: hub, handler: h, client: server.Client()}
	t.Cleanup(func() {
		if err := hub.Close(); err != nil {
			t.Errorf("close the hub: %v", err)
		}
		h.Wait()
		server.Client().CloseIdleConnections()
		server.Close()
	})
	return site
}

func bearer(r *http.Request) string {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return token
	}
	return r.URL.Query().Get("access_token")
}

// answer is a response with its body read.
type answer struct {
	status int
	header http.Header
	body   string
}

type header map[string]string

// do sends one request. query begins with "?" or is empty.
func (s *site) do(method, path, query, body string, h header) answer {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), wait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.url+path+query, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for k, v := range h {
		req.Header.Set(k, v)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s %s: read the body: %v", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// want fails the test unless the answer is this status with exactly this text.
func (a answer) want(t testing.TB, status int, text string) {
	t.Helper()
	if a.status != status || a.body != text {
		t.Errorf("answered %d %q, want %d %q", a.status, a.body, status, text)
	}
}

type negotiation struct {
	NegotiateVersion    int
	ConnectionID        string `json:"connectionId"`
	ConnectionToken     string `json:"connectionToken"`
	AvailableTransports []struct {
		Transport       string
		TransferFormats []string
	}
	Error string
}

// negotiate returns the connection token and id for a user.
func (s *site) negotiate(user string) negotiation {
	s.t.Helper()
	a := s.do("POST", "/negotiate", "?negotiateVersion=1", "", as(user))
	var n negotiation
	if err := json.Unmarshal([]byte(a.body), &n); err != nil || a.status != http.StatusOK {
		s.t.Fatalf("negotiate: %d %q: %v", a.status, a.body, err)
	}
	return n
}

func parse[T any](t testing.TB, body string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	return v
}

func as(user string) header {
	if user == "" {
		return nil
	}
	return header{"Authorization": "Bearer " + user}
}

// socket is a WebSocket client.
type socket struct {
	t    testing.TB
	conn *websocket.Conn
	rest []byte
}

// dial opens a WebSocket; query begins with "?" or is empty.
func (s *site) dial(query string, h header) (*socket, *http.Response, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), wait)
	defer cancel()
	hh := http.Header{}
	for k, v := range h {
		hh.Set(k, v)
	}
	conn, resp, err := websocket.Dial(ctx, strings.Replace(s.url, "http", "ws", 1)+query, &websocket.DialOptions{HTTPHeader: hh, HTTPClient: s.client})
	if err != nil {
		return nil, resp, err
	}
	conn.SetReadLimit(-1)
	s.t.Cleanup(func() { _ = conn.CloseNow() })
	return &socket{t: s.t, conn: conn}, resp, nil
}

// open negotiates and dials for a user; it returns the public connection id.
func (s *site) open(user string) (*socket, string) {
	s.t.Helper()
	n := s.negotiate(user)
	ws, _, err := s.dial("?id="+n.ConnectionToken, as(user))
	if err != nil {
		s.t.Fatalf("dial: %v", err)
	}
	return ws, n.ConnectionID
}

// connected is open with the handshake done.
func (s *site) connected(user string) (*socket, string) {
	s.t.Helper()
	ws, id := s.open(user)
	ws.send(handshake)
	ws.expect("{}\x1e")
	return ws, id
}

func (ws *socket) send(text string) {
	ws.t.Helper()
	ctx, cancel := context.WithTimeout(ws.t.Context(), wait)
	defer cancel()
	if err := ws.conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		ws.t.Fatalf("send: %v", err)
	}
}

// read returns the next record, its separator included.
func (ws *socket) read() (string, error) {
	ctx, cancel := context.WithTimeout(ws.t.Context(), wait)
	defer cancel()
	for {
		if i := bytes.IndexByte(ws.rest, 0x1e); i >= 0 {
			record := string(ws.rest[:i+1])
			ws.rest = ws.rest[i+1:]
			return record, nil
		}
		_, b, err := ws.conn.Read(ctx)
		if err != nil {
			return "", err
		}
		ws.rest = append(ws.rest, b...)
	}
}

func (ws *socket) expect(want ...string) {
	ws.t.Helper()
	for _, w := range want {
		got, err := ws.read()
		if err != nil {
			ws.t.Fatalf("read: %v, want %q", err, w)
		}
		if got != w {
			ws.t.Fatalf("got %q, want %q", got, w)
		}
	}
}

// expectClosed fails the test unless the server closes with this status.
func (ws *socket) expectClosed(status websocket.StatusCode) {
	ws.t.Helper()
	got, err := ws.read()
	if err == nil {
		ws.t.Fatalf("got %q, want the end", got)
	}
	if s := websocket.CloseStatus(err); s != status {
		ws.t.Fatalf("closed with %v (%v), want %v", s, err, status)
	}
}

// stream is a client of Server-Sent Events.
type stream struct {
	t    testing.TB
	resp *http.Response
	in   *bufio.Reader
	stop context.CancelFunc
}

// events opens an event stream.
func (s *site) events(query string, h header) *stream {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", s.url+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	for k, v := range h {
		req.Header.Set(k, v)
	}
	timer := time.AfterFunc(wait, cancel)
	resp, err := s.client.Do(req)
	timer.Stop()
	if err != nil {
		cancel()
		s.t.Fatalf("events: %v", err)
	}
	st := &stream{t: s.t, resp: resp, in: bufio.NewReader(resp.Body), stop: cancel}
	s.t.Cleanup(st.close)
	return st
}

func (st *stream) close() {
	st.stop()
	_ = st.resp.Body.Close()
}

// next returns the data of the next event as EventSource would.
func (st *stream) next() (string, error) {
	timer := time.AfterFunc(wait, st.stop)
	defer timer.Stop()
	var data []string
	for {
		line, err := st.in.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "" && data != nil:
			return strings.Join(data, "\n"), nil
		case strings.HasPrefix(line, "data: "):
			data = append(data, strings.TrimPrefix(line, "data: "))
		}
	}
}

func (st *stream) expect(want string) {
	st.t.Helper()
	got, err := st.next()
	if err != nil || got != want {
		st.t.Fatalf("event %q, %v; want %q", got, err, want)
	}
}

// message is a broadcast with one string argument, and its JSON frame.
func message(text string) (*hubs.Broadcast, string) {
	b := &hubs.Broadcast{Target: "show", Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: fmt.Appendf(nil, "[%q]", text)}}
	f, err := b.Frame(protocol.NewJSON())
	if err != nil {
		panic(err)
	}
	return b, string(f)
}

// publish sends text to everybody and returns the frame that clients get.
func (s *site) publish(text string) string {
	s.t.Helper()
	b, frame := message(text)
	s.entry(&hubs.Entry{Kind: hubs.SendToAll, Message: b})
	return frame
}

func (s *site) entry(e *hubs.Entry) {
	s.t.Helper()
	if _, err := s.hub.Backplane().Publish(s.t.Context(), e, hubs.PublishOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// until waits for cond, which some event makes true.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(wait)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, wait)
		}
		time.Sleep(time.Millisecond)
	}
}
