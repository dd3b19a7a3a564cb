package pairing

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

// The codes of refused clients.
const (
	CodeNoServer    = "no_app_server"
	CodeServerAway  = "app_server_away"
	CodeUnreachable = "app_server_unreachable"
	// CodeServerLost: the client's app server is gone and no other took it.
	CodeServerLost = "app_server_lost"
	// CodeServerMoved is of calls: the app server that had them is gone, and the
	// client has another.
	CodeServerMoved = "app_server_moved"
)

// What clients are told. A client whose handshake is refused is told in the answer
// to it: stock clients with automatic reconnect go on with the next of their
// delays then. One that was let in first and then closed with leave to reconnect
// would begin with the first delay again, which is none, and come back without a
// pause for as long as there is no app server (reconnect of HubConnection, both in
// @microsoft/signalr and in Microsoft.AspNetCore.SignalR.Client).
const (
	textServerAway  = CodeServerAway + ": The app server that this client belongs to is not connected. Connect again."
	textUnreachable = CodeUnreachable + ": No app server could be reached. Connect again."
	textServerMoved = CodeServerMoved + ": The app server that had this call is gone. Call again."
	textServerLost  = CodeServerLost + ": The app server behind this connection is gone. Connect again."
)

// Config is what a Proxy needs. All fields are required unless they say otherwise.
type Config struct {
	Hub    Hub
	Opener Opener
	// Refused is told the code of every client that is refused or closed.
	Refused func(code string)
	Logger  *slog.Logger
	// SlowAfter is how long a client for which much waits may take in less than 64 KiB
	// before it is closed. 0 = 30 s.
	SlowAfter time.Duration
}

// Proxy pairs the clients of one hub on this edge with app servers.
type Proxy struct {
	Config
	work sync.WaitGroup // migrations, and waits for clients that are behind
}

var _ hubs.Proxy = (*Proxy)(nil)

// NewProxy returns a Proxy.
func NewProxy(cfg Config) *Proxy {
	if cfg.SlowAfter <= 0 {
		cfg.SlowAfter = slowAfter
	}
	return &Proxy{Config: cfg}
}

// Wait returns when no client is being moved or waited for any more; the hub's
// server must have been closed.
func (p *Proxy) Wait() { p.work.Wait() }

// Open implements hubs.Proxy.
func (p *Proxy) Open(ctx context.Context, conn *hubs.Connection, o hubs.Opening) (hubs.ProxySession, error) {
	c := &client{proxy: p, conn: conn, told: clientOf(p.Hub, conn, o), sending: make(chan struct{}, 1)}
	told := c.told
	way, _ := c.next()
	s, err := p.Opener.Open(ctx, &told, way)
	switch {
	case err == nil:
		c.begin(s)
		return c, nil
	case errors.Is(err, ErrNoServer):
		return nil, p.NoServer()
	case errors.Is(err, ErrServerAway):
		p.Refused(CodeServerAway)
		return nil, hubs.NewError(textServerAway)
	}
	p.Logger.Warn("client can't be paired", "hub", p.Hub.Name, "connection", conn.ID(), "error", err)
	p.Refused(CodeUnreachable)
	return nil, hubs.NewError(textUnreachable)
}

// NoServer counts and returns the refusal of a client for whose hub there is no
// app server.
func (p *Proxy) NoServer() error {
	p.Refused(CodeNoServer)
	return hubs.Errorf("%s: No app server is connected to hub '%s'. Start one with the tenant's connection string, or set another handler for the hub.", CodeNoServer, p.Hub.Name)
}
