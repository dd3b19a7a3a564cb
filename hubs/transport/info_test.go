package transport_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/transport"
)

// keeper is a Dispatcher that hands out the connections it is told of.
type keeper struct{ connections chan *hubs.Connection }

func (k keeper) Connected(_ context.Context, c *hubs.Connection) error {
	k.connections <- c
	return nil
}
func (keeper) Message(context.Context, *hubs.Connection, *protocol.Message) error { return nil }
func (keeper) Disconnected(context.Context, *hubs.Connection, error)              {}

// log collects what is logged.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestConnectionInfo(t *testing.T) {
	t.Parallel()
	k := keeper{make(chan *hubs.Connection, 3)}
	s := newSite(t, func(s *setup) { s.config.Dispatcher = k })
	query := func(token string) string { return "?Room=a&access_token=secret-ada&ID=" + token }
	h := header{"User-Agent": "mine", "Cookie": "a=b", "Authorization": "Bearer secret-ada", "X-SignalR-User-Agent": "Microsoft SignalR/10.0"}

	tokens := map[hubs.TransportKind]negotiation{}
	for _, kind := range []hubs.TransportKind{hubs.WebSockets, hubs.ServerSentEvents, hubs.LongPolling} {
		n := s.negotiate("secret-ada")
		tokens[kind] = n
		switch kind {
		case hubs.WebSockets:
			ws, _, err := s.dial(query(n.ConnectionToken), h)
			if err != nil {
				t.Fatal(err)
			}
			ws.send(handshake)
		case hubs.ServerSentEvents:
			s.events(query(n.ConnectionToken), h)
			s.do("POST", "", query(n.ConnectionToken), handshake, h).want(t, 200, "")
		case hubs.LongPolling:
			s.do("GET", "", query(n.ConnectionToken), "", h).want(t, 200, "")
			s.do("POST", "", query(n.ConnectionToken), handshake, h).want(t, 200, "")
		}
		c := <-k.connections
		if c.Transport() != kind || c.Hub() != "chat" || c.ID() != n.ConnectionID || c.User() != "secret-ada" || c.Protocol().Name() != "json" || c.Server() != s.hub {
			t.Errorf("L-06 connection over %s is %s %s %s %s", kind, c.Transport(), c.Hub(), c.ID(), c.User())
		}
		info := c.Info()
		if len(info.Query) != 1 || info.Query["Room"][0] != "a" {
			t.Errorf("L-07 query is %v", info.Query)
		}
		// T-37: the user agents can be read; credentials can't.
		if got := fmt.Sprint(info.Headers); got != "map[User-Agent:[mine] X-Signalr-User-Agent:[Microsoft SignalR/10.0]]" {
			t.Errorf("headers are %s", got)
		}
		if !strings.HasPrefix(info.RemoteAddress, "127.0.0.1:") {
			t.Errorf("address is %q", info.RemoteAddress)
		}
		type key struct{}
		c.SetValue(key{}, 17)
		if c.Value(key{}) != 17 || c.Value("other") != nil {
			t.Error("the connection doesn't keep values")
		}
	}
}

func TestNoTokenIsLogged(t *testing.T) {
	t.Parallel()
	l := &log{}
	logger := slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := newSite(t, func(s *setup) {
		s.config.Logger, s.options.Logger = logger, logger
		s.options.Ownership = brokenOwnership{transport.NewLocalOwnership()}
	})
	n := s.negotiate("secret-ada")
	query := "?access_token=secret-ada&id=" + n.ConnectionToken
	s.do("POST", "", query, "x", nil).want(t, 503, "")
	ws, _, err := s.dial(query, nil)
	if err != nil {
		t.Fatal(err)
	}
	ws.send(handshake)
	ws.expect("{}\x1e")
	ws.send("{\"type\":1,\"secret-payload\"\x1e")
	ws.expect("{\"type\":7,\"error\":\"Connection closed with an error.\"}\x1e")
	until(t, "the end in the log", func() bool { return strings.Contains(l.String(), "connection ended") })
	for _, secret := range []string{"secret", n.ConnectionToken} {
		if strings.Contains(l.String(), secret) {
			t.Errorf("%q is in the log:\n%s", secret, l)
		}
	}
	if !strings.Contains(l.String(), n.ConnectionID) {
		t.Errorf("the public id isn't in the log:\n%s", l)
	}
}

// brokenOwnership can't say who owns what it doesn't own itself.
type brokenOwnership struct{ *transport.LocalOwnership }

func (brokenOwnership) Owner(context.Context, string, string) (string, error) {
	return "", errors.New("store down")
}

func TestResolveFails(t *testing.T) {
	t.Parallel()
	l := &log{}
	s := newSite(t, func(s *setup) {
		s.options.Logger = slog.New(slog.NewTextHandler(l, nil))
		s.resolve = func(*http.Request) (*transport.Endpoint, error) { return nil, errors.New("database password is x") }
	})
	s.do("POST", "/negotiate", "?access_token=t", "", nil).want(t, 500, "")
	if !strings.Contains(l.String(), "database password") {
		t.Error("the cause isn't logged")
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	resolve := func(*http.Request) (*transport.Endpoint, error) { return nil, errors.ErrUnsupported }
	for name, o := range map[string]transport.Options{
		"Resolve":  {},
		"TokenKey": {Resolve: resolve, TokenKey: make([]byte, 31)},
	} {
		if _, err := transport.NewHandler(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}
