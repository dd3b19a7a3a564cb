package dev

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/signalbox/signalbox/internal/embedded"
)

const (
	// readyTimeout bounds the start of all processes, databases excluded.
	readyTimeout = 60 * time.Second
	// readyPoll is how often a starting process is asked.
	readyPoll = 50 * time.Millisecond
)

// ErrStopped is returned by Run for a stop that was asked for before everything
// served.
var ErrStopped = errors.New("stopped before everything served")

// world is one running whole.
type world struct {
	config  Config
	console io.Writer
	logger  *slog.Logger
	secrets secrets
	ports   ports
	guard   *embedded.Guard

	servers               []*server // the private ones, in the order of their stop
	databaseURL, redisURL string

	mu         sync.Mutex
	pids       map[string]int
	descriptor *Descriptor // nil until everything serves
}

// Run starts everything, writes dev.json, prints "ready" on a line of its own
// and serves until ctx ends; then it stops everything in reverse order. What a
// person should know goes to console and logger.
func Run(ctx context.Context, config Config, console io.Writer, logger *slog.Logger) (err error) {
	// Open to Postgres' user, who may only pass through.
	if err := os.MkdirAll(filepath.Join(config.Dir, "logs"), 0o711); err != nil {
		return fmt.Errorf("make DEV_DIR: %w", err)
	}
	unlock, err := lockDir(config.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	w := &world{config: config, console: console, logger: logger, pids: map[string]int{}}
	if err := w.forget(); err != nil {
		return err
	}
	if err := errors.Join(checkFree("DEV_PORT", config.Port), checkFree("DEV_EDGE_PORT", config.EdgePort), checkFree("DEV_EDGE_PORT", config.EdgePort+1)); err != nil {
		return err
	}
	if w.secrets, err = readSecrets(config.Dir, []string{demoSlug, otherSlug}); err != nil {
		return err
	}
	ports, releasePorts, err := choosePorts(config.Edges)
	if err != nil {
		return err
	}
	defer releasePorts()
	w.ports = ports
	if w.guard, err = embedded.NewGuard(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.forget(), w.guard.Close()) }()

	err = w.startServers(ctx)
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*stopTimeout)
		defer cancel()
		for _, s := range w.servers {
			err = errors.Join(err, s.process.Stop(stopping))
		}
	}()
	if err == nil {
		err = w.serve(ctx)
	}
	if err != nil && ctx.Err() != nil {
		logger.Debug("stopped early", "error", err)
		return ErrStopped
	}
	return err
}

// serve seeds, runs the product's processes and the front, and returns when ctx
// ends or one of them can't be run.
func (w *world) serve(ctx context.Context) error {
	ids, err := w.seed(ctx)
	if err != nil {
		return err
	}
	tenants := describeTenants(w.config.EdgePort, ids, w.secrets)

	group, running := errgroup.WithContext(ctx)
	supervisor := newSupervisor(w.guard, filepath.Join(w.config.Dir, "logs"), w.console, w.logger, w.started)
	group.Go(func() error {
		w.roll(running, supervisor)
		return nil
	})
	for _, c := range w.children() {
		group.Go(func() error { return supervisor.run(running, c) })
	}
	for _, s := range w.servers {
		group.Go(func() error { return s.keep(running, w) })
	}
	if err := w.serveFront(running, group); err != nil {
		group.Go(func() error { return err }) // ends the others
		return group.Wait()
	}
	group.Go(func() error {
		if err := w.awaitReady(running, tenants); err != nil {
			return err
		}
		if err := w.describe(tenants); err != nil {
			return err
		}
		w.welcome()
		if w.config.Feed {
			feed(running, loopbackURL("http", w.config.EdgePort), w.secrets.Keys[demoSlug].Primary, w.logger)
		}
		return nil
	})
	return group.Wait()
}

// serveFront serves the front on its two ports until ctx ends, on IPv6 loopback
// as well where there is one: "localhost" may mean either.
func (w *world) serveFront(ctx context.Context, group *errgroup.Group) error {
	edges := make([]*url.URL, w.config.Edges)
	for i := range edges {
		edges[i] = &url.URL{Scheme: "http", Host: loopback(w.ports.edge[i])}
	}
	turns := newRoundRobin(edges)
	group.Go(func() error {
		turns.watch(ctx, w.edgeAdminURLs())
		return nil
	})
	server := &http.Server{
		Handler:           newFront(turns, w.logger),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(w.logger.Handler(), slog.LevelDebug),
	}
	for _, port := range []int{w.config.EdgePort, w.config.EdgePort + 1} {
		listener, err := net.Listen("tcp", loopback(port)) //nolint:noctx // a bind on loopback does not block
		if err != nil {
			return errors.Join(fmt.Errorf("listen for the front: %w", err), server.Close())
		}
		listeners := []net.Listener{listener}
		if six, err := net.Listen("tcp", fmt.Sprintf("[::1]:%d", port)); err == nil { //nolint:noctx // as above
			listeners = append(listeners, six)
		}
		for _, l := range listeners {
			group.Go(func() error {
				if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
					return fmt.Errorf("serve the front: %w", err)
				}
				return nil
			})
		}
	}
	group.Go(func() error {
		<-ctx.Done()
		return server.Close() // the edges themselves say goodbye to their clients
	})
	return nil
}

// awaitReady returns when every process says that it is ready and every edge
// knows the seeded tenants.
func (w *world) awaitReady(ctx context.Context, tenants []DescribeTenant) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("not everything served within %s: see %s", readyTimeout, filepath.Join(w.config.Dir, "logs")))
	defer cancel()
	var checks []check
	for _, port := range append([]int{w.ports.apiAdmin}, w.ports.edgeAdmin[:]...) {
		checks = append(checks, check{method: http.MethodGet, url: loopbackURL("http", port) + "/readyz", want: http.StatusOK})
	}
	for i := range w.config.Edges {
		for _, tenant := range tenants {
			// Known and allowed in, though there is no such connection.
			checks = append(checks, check{
				method: http.MethodHead, key: tenant.AccessKey, want: http.StatusNotFound,
				url: loopbackURL("http", w.ports.edge[i]) + "/t/" + tenant.Slug + "/api/v1/hubs/" + chatHub + "/connections/none",
			})
		}
	}
	var group errgroup.Group
	for _, c := range checks {
		group.Go(func() error { return c.await(ctx) })
	}
	return group.Wait()
}

// check is a request that is answered with a known status once a part serves.
type check struct {
	method, url, key string
	want             int
	client           *http.Client // nil = the default one
}

func (c check) await(ctx context.Context) error {
	for {
		var last error
		got, err := c.ask(ctx)
		switch {
		case err != nil:
			last = err
		case got == c.want:
			return nil
		default:
			last = fmt.Errorf("status %d, want %d", got, c.want)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %s %s: %w", context.Cause(ctx), c.method, c.url, last)
		case <-time.After(readyPoll):
		}
	}
}

func (c check) ask(ctx context.Context) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, c.method, c.url, http.NoBody)
	if err != nil {
		return 0, err
	}
	if c.key != "" {
		request.Header.Set("Authorization", "Bearer "+c.key)
	}
	response, err := cmp.Or(c.client, http.DefaultClient).Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// started notes a child's new process id, in dev.json too once that exists.
func (w *world) started(name string, pid int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pids[name] = pid
	if w.descriptor == nil {
		return
	}
	w.descriptor.PIDs = w.processIDs()
	if err := writeJSON(w.descriptorPath(), w.descriptor); err != nil {
		w.logger.Error("dev.json has old process ids", "error", err)
	}
}

// processIDs is called with mu held.
func (w *world) processIDs() PIDs {
	ids := PIDs{Dev: os.Getpid(), API: w.pids[apiName], Postgres: w.pids[postgresName], Redis: w.pids[redisName]}
	for i := range w.config.Edges {
		ids.Edges = append(ids.Edges, w.pids[edgeName(i)])
	}
	return ids
}

// describe writes dev.json.
func (w *world) describe(tenants []DescribeTenant) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.descriptor = &Descriptor{
		ConsoleURL:  loopbackURL("http", w.config.Port),
		APIURL:      loopbackURL("http", w.config.Port),
		ServiceURL:  loopbackURL("http", w.config.EdgePort),
		AdminURLs:   AdminURLs{API: loopbackURL("http", w.ports.apiAdmin)},
		OperatorURL: loopbackURL("http", w.ports.operator),
		PIDs:        w.processIDs(),
		Account:     Account{Email: demoEmail, Password: w.secrets.Password},
		APIToken:    w.secrets.APIToken,
		Tenants:     slices.Clone(tenants),
	}
	for i := range w.config.Edges {
		w.descriptor.EdgeURLs = append(w.descriptor.EdgeURLs, loopbackURL("http", w.ports.edge[i]))
	}
	w.descriptor.AdminURLs.Edges = w.edgeAdminURLs()
	if err := w.writeAPISettings(); err != nil {
		return err
	}
	return writeJSON(w.descriptorPath(), w.descriptor)
}

// edgeAdminURLs are the admin addresses of the edges.
func (w *world) edgeAdminURLs() []string {
	urls := make([]string, w.config.Edges)
	for i := range urls {
		urls[i] = loopbackURL("http", w.ports.edgeAdmin[i])
	}
	return urls
}

// forget removes dev.json and api.env: they are there only while everything serves.
func (w *world) forget() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.descriptor = nil
	for _, path := range []string{w.descriptorPath(), w.apiSettingsPath()} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", filepath.Base(path), err)
		}
	}
	return nil
}

func (w *world) descriptorPath() string { return filepath.Join(w.config.Dir, "dev.json") }

// welcome tells a person where to go; its last line is for programs.
func (w *world) welcome() {
	_, _ = fmt.Fprintf(w.console, `
  console   %s   sign in as %s with password %s
  service   %s   %d edges, one request each in turn
  operators %s   become one with: make operator
  details   %s
  logs      %s

ready
`, loopbackURL("http", w.config.Port), demoEmail, w.secrets.Password, loopbackURL("http", w.config.EdgePort), w.config.Edges, loopbackURL("http", w.ports.operator),
		w.descriptorPath(), filepath.Join(w.config.Dir, "logs"))
}
