package appserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/connectionstring"
	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// App is a hub behind the service.
type App struct {
	hub      *hubs.Server
	hubKey   string // the hub's name to the service
	serverID string
	endpoint endpoint
	opt      Options
	log      *slog.Logger
	bus      *bus
	acks     acks

	ctx    context.Context // until everything has to end
	cancel context.CancelFunc
	group  sync.WaitGroup // goroutines of the App
	done   chan struct{}  // closed when Shutdown is done

	mu       sync.Mutex
	links    []*link // those that are up, oldest first
	demanded int     // on-demand connections, those in the making too
	clients  map[string]*client
	idle     chan struct{} // closed when there are no clients; nil while nobody waits
	changed  chan struct{} // closed when links or failure have changed
	failure  error         // of the last attempt to connect
	ending   bool
}

// hubName is what a hub may be called: Azure's names with "-" and "_".
var hubName = regexp.MustCompile("^[A-Za-z][A-Za-z0-9_`,.\\[\\]-]{0,127}$")

// Connect serves hub behind the service that the connection string names. hub
// must not have served clients yet; it may go on serving those of its own routes,
// who then are no part of the hub that the service knows.
//
// It returns at once; connections are made, and made again, until ctx is done:
// then Shutdown runs. See Ready and Done. The error says what is wrong with the
// arguments.
func Connect(ctx context.Context, hub *hubs.Server, connectionString string, o ...Options) (*App, error) {
	if len(o) > 1 {
		return nil, errors.New("connect an app server: give one Options at most")
	}
	var opt Options
	if len(o) == 1 {
		opt = o[0]
	}
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("connect an app server: %w", err)
	}
	e, err := connectionstring.Parse(connectionString)
	if err != nil {
		return nil, fmt.Errorf("connect an app server: %w", err)
	}
	key := strings.ToLower(hub.Name())
	if opt.Application != "" {
		key = strings.ToLower(opt.Application) + "_" + key
	}
	if !hubName.MatchString(key) {
		return nil, fmt.Errorf("connect an app server: the service knows no hub of the name %q: a letter and up to 127 letters, digits, - and _", key)
	}
	a := &App{
		hub: hub, hubKey: key, serverID: opt.ServerName + "_" + strings.ToLower(rand.Text()), endpoint: endpoint{e}, opt: opt, log: opt.Logger,
		done: make(chan struct{}), clients: make(map[string]*client), changed: make(chan struct{}),
	}
	a.bus = &bus{app: a}
	if err := hub.UseBackplane(a.bus); err != nil {
		return nil, fmt.Errorf("connect an app server: %w", err)
	}
	a.ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for range opt.Connections {
		a.group.Go(a.maintain)
	}
	context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), opt.ShutdownTimeout)
		defer cancel()
		if err := a.Shutdown(limit); err != nil {
			a.log.Warn("app server has stopped before its clients had moved", "hub", key, "error", err)
		}
	})
	return a, nil
}

// ID names this app server to the service.
func (a *App) ID() string { return a.serverID }

// Clients is the number of clients that this app server has.
func (a *App) Clients() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.clients)
}

// Done is closed when the App has stopped.
func (a *App) Done() <-chan struct{} { return a.done }

// Ready returns when the service has accepted a server connection. The error has
// the last failure in it when ctx is done first, and says so when the App stops.
func (a *App) Ready(ctx context.Context) error {
	for {
		a.mu.Lock()
		up, ending, failure, changed := len(a.links) > 0, a.ending, a.failure, a.changed
		a.mu.Unlock()
		switch {
		case ending:
			return hubs.ErrServerClosed
		case up:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), failure)
		}
	}
}

func (a *App) isReady() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.links) > 0 && !a.ending
}

// change tells those that wait in Ready. a.mu is held.
func (a *App) change() {
	close(a.changed)
	a.changed = make(chan struct{})
}

// backoff is the pause before attempt n to connect, from 0: 1, 2, 4 … 60 s and up
// to 1 s more, so that app servers don't come back all at once.
func backoff(n int) time.Duration {
	return min(time.Second<<min(n, 6), time.Minute) + mathrand.N(time.Second)
}

// maintain keeps one server connection.
func (a *App) maintain() {
	for failures := 0; ; failures++ {
		served, err := a.connect("")
		if served {
			failures = 0
		}
		if a.stopping() {
			return
		}
		pause := backoff(failures)
		a.log.Warn("server connection ended", "hub", a.hubKey, "served", served, "error", err, "again_in", pause)
		select {
		case <-time.After(pause):
		case <-a.ctx.Done():
			return
		}
		if a.stopping() {
			return
		}
	}
}

func (a *App) stopping() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ending
}

// connect makes a server connection and serves it to its end; served tells
// whether the service had accepted it.
func (a *App) connect(target string) (served bool, err error) {
	l, err := a.dial(a.ctx, target)
	a.mu.Lock()
	a.failure = err
	if err == nil && a.ending {
		err = hubs.ErrServerClosed
		defer l.fail(err)
	}
	if err == nil {
		a.links = append(a.links, l)
	}
	a.change()
	a.mu.Unlock()
	if err != nil {
		return false, err
	}
	a.log.Info("server connection is up", "hub", a.hubKey, "target", target)
	err = l.serve()
	a.lost(l, err)
	return true, err
}

// connectOnDemand makes one more server connection at the service's wish. Its
// failure is normal.
func (a *App) connectOnDemand(target string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ending || a.opt.Connections+a.demanded >= a.opt.MaxConnections {
		return
	}
	a.demanded++
	a.group.Go(func() {
		_, err := a.connect(target)
		a.log.Info("on-demand server connection ended", "hub", a.hubKey, "error", err)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.demanded--
	})
}

// lost ends all that depended on a server connection.
func (a *App) lost(l *link, cause error) {
	a.mu.Lock()
	for i, other := range a.links {
		if other == l {
			a.links = append(a.links[:i:i], a.links[i+1:]...)
			break
		}
	}
	var clients []*client
	for _, c := range a.clients {
		if c.link == l {
			clients = append(clients, c)
		}
	}
	a.mu.Unlock()
	for _, c := range clients {
		c.closed(errLinkClosed)
	}
	a.acks.lose(l, errLinkClosed)
	a.bus.lose(func(q *question) bool { return q.link == l })
	a.log.Info("server connection is down", "hub", a.hubKey, "clients", len(clients), "cause", cause)
}

// instanceGone ends the clients of a service instance that has died; of all when
// it has no name.
func (a *App) instanceGone(instance string) {
	a.mu.Lock()
	var clients []*client
	for _, c := range a.clients {
		if instance == "" || c.instance == instance {
			clients = append(clients, c)
		}
	}
	a.mu.Unlock()
	for _, c := range clients {
		c.closed(errInstance)
	}
	a.bus.lose(func(q *question) bool { return instance == "" || q.instance == instance })
}

// primary is the server connection for what belongs to no client: always the
// same while it lasts, so that it stays in order.
func (a *App) primary() (*link, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.links {
		if l.usable() {
			return l, nil
		}
	}
	return nil, fmt.Errorf("%w: no server connection is up", hubs.ErrUnavailable)
}

// client returns a client of l.
func (a *App) client(l *link, id string) *client {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.clients[id]; c != nil && c.link == l {
		return c
	}
	return nil
}

// linkOf returns the server connection of a client of this app server.
func (a *App) linkOf(id string) (*link, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.clients[id]
	if c == nil {
		return nil, false
	}
	return c.link, true
}

// open begins to serve a client.
func (a *App) open(l *link, m *serviceprotocol.OpenConnection) {
	c, info := newClient(l, m), infoOf(m)
	a.mu.Lock()
	before := a.clients[c.id]
	taken := before != nil && !before.isGone()
	if !taken {
		a.clients[c.id] = c
	}
	a.mu.Unlock()
	if taken {
		a.log.Warn("the service opens a client that is there", "hub", a.hubKey, "connection", c.id)
		c.letGo("The connection id is in use.")
		return
	}
	l.count(1)
	a.group.Go(func() {
		if before != nil {
			<-before.served // it is on its way out
		}
		err := a.hub.Serve(a.ctx, info, c)
		a.log.Debug("client has left", "hub", a.hubKey, "connection", c.id, "cause", err)
		close(c.served)
		c.awaitMove()
		l.count(-1)
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.clients[c.id] == c {
			delete(a.clients, c.id)
		}
		if len(a.clients) == 0 && a.idle != nil {
			close(a.idle)
			a.idle = nil
		}
	})
}
