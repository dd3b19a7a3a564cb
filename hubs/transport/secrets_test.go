package transport_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/transport"
)

// sink keeps what is logged.
type sink struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// brittle is a hub and a filter whose every part may panic with all that it is given.
type brittle struct {
	hubs.PassFilter
	where string
}

// tell is what a careless programmer would print of a connection.
func (b brittle) tell(where string, c *hubs.Connection) {
	if b.where == where {
		panic([]any{where, c.Info(), c.Principal(), *c.Server(), c.Groups()})
	}
}

func (b brittle) Connected(_ context.Context, c *hubs.Connection) error {
	b.tell("the hub, connecting", c)
	return nil
}

func (b brittle) Message(_ context.Context, c *hubs.Connection, _ *protocol.Message) error {
	b.tell("the hub, at a message", c)
	return nil
}

func (b brittle) Disconnected(_ context.Context, c *hubs.Connection, _ error) {
	b.tell("the hub, disconnecting", c)
}

func (b brittle) OnInvocation(ctx context.Context, c *hubs.Connection, _ *protocol.Message, next func(context.Context) error) error {
	b.tell("a filter", c)
	return next(ctx)
}

// SEC-09: neither the access token in the query nor the connection token is in a log,
// an answer or the trace of a panic, whoever panics, over every transport.
func TestSEC_09_panics_hold_no_tokens(t *testing.T) {
	t.Parallel()
	const token = "eyJhbGciOiJIUzI1NiJ9.c2VjcmV0.c2lnbmF0dXJl"
	for _, where := range []string{"the hub, connecting", "the hub, at a message", "the hub, disconnecting", "a filter", "Resolve", "Admit"} {
		for _, kind := range []hubs.TransportKind{hubs.WebSockets, hubs.ServerSentEvents, hubs.LongPolling} {
			t.Run(where+" over "+string(kind), func(t *testing.T) {
				t.Parallel()
				log, printed := new(sink), new(sink)
				logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
				b := brittle{where: where}
				hub, err := hubs.NewServer(hubs.Config{Name: "chat", Dispatcher: b, Filters: []hubs.Filter{b}, Logger: logger})
				if err != nil {
					t.Fatal(err)
				}
				h, err := transport.NewHandler(transport.Options{Logger: logger, Resolve: func(r *http.Request) (*transport.Endpoint, error) {
					ep := &transport.Endpoint{Server: hub, Scope: "chat", Principal: hubs.Principal{UserID: "ann"}}
					ep.Admit = func(context.Context, string) (func(), error) {
						if where == "Admit" {
							panic("admit")
						}
						return func() {}, nil
					}
					if where == "Resolve" && r.Method == http.MethodGet {
						panic("resolve")
					}
					return ep, nil
				}})
				if err != nil {
					t.Fatal(err)
				}
				server := httptest.NewUnstartedServer(h)
				server.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(printed, nil), slog.LevelError)
				server.Start()
				s := &site{t: t, url: server.URL + "/client", hub: hub, handler: h, client: server.Client()}
				t.Cleanup(func() {
					_ = hub.Close()
					h.Wait()
					server.Client().CloseIdleConnections()
					server.Close()
				})

				said := s.do("POST", "/negotiate", "?negotiateVersion=1&access_token="+token, "", nil)
				n := parse[negotiation](t, said.body)
				query := "?id=" + n.ConnectionToken + "&access_token=" + token
				answers := s.converse(kind, query, where == "the hub, disconnecting")
				until(t, "the panic to be told", func() bool {
					return strings.Contains(log.String(), "panic") || strings.Contains(printed.String(), "panic")
				})
				until(t, "the end of the connection", func() bool { return hub.Connections() == 0 })
				for place, text := range map[string]string{"log": log.String(), "server's log": printed.String(), "answers": answers} {
					for what, secret := range map[string]string{"access token": token, "part of it": "c2lnbmF0dXJl", "connection token": n.ConnectionToken} {
						if strings.Contains(text, secret) {
							t.Errorf("the %s is in the %s: %s", what, place, text)
						}
					}
				}
			})
		}
	}
}

// converse connects, calls and leaves, as far as the server lets it, and returns all
// that the server has said. leaves tells that the server won't end it by itself.
func (s *site) converse(kind hubs.TransportKind, query string, leaves bool) string {
	s.t.Helper()
	var said strings.Builder
	req := func(method, body string) {
		ctx, cancel := context.WithTimeout(s.t.Context(), wait)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, method, s.url+query, strings.NewReader(body))
		if err != nil {
			s.t.Fatal(err)
		}
		resp, err := s.client.Do(r)
		if err != nil {
			return // cut off by a panic; the error names the URL, which is the client's own
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		_, _ = b.ReadFrom(resp.Body)
		_ = resp.Header.Write(&said)
		said.Write(b.Bytes())
	}
	switch kind {
	case hubs.WebSockets:
		ws, resp, err := s.dial(query, nil)
		if err != nil {
			if resp != nil {
				_ = resp.Header.Write(&said)
			}
			return said.String()
		}
		ws.send(handshake + call("a"))
		if s.hub != nil {
			record, _ := ws.read()
			said.WriteString(record)
		}
		_ = ws.conn.CloseNow()
	case hubs.ServerSentEvents:
		ctx, cancel := context.WithTimeout(s.t.Context(), wait)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+query, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		r.Header.Set("Accept", "text/event-stream")
		resp, err := s.client.Do(r)
		if err != nil {
			return said.String()
		}
		defer resp.Body.Close()
		req(http.MethodPost, handshake+call("a"))
		// To the end, or to the answer to the handshake where the client has to leave.
		b := make([]byte, 4096)
		for !leaves || !strings.Contains(said.String(), "\x1e") {
			k, err := resp.Body.Read(b)
			said.Write(b[:k])
			if err != nil {
				break
			}
		}
	case hubs.LongPolling:
		req(http.MethodGet, "")
		req(http.MethodPost, handshake+call("a"))
		req(http.MethodGet, "")
		req(http.MethodDelete, "")
	}
	return said.String()
}
