package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/signalbox/signalbox/internal/embedded"
)

// The tenants: two that behave, and one that may not.
const (
	tenantA = "aaa"
	tenantB = "bbb"
	tenantN = "noisy"
	hubName = "room" // the same in every tenant

	planOfOthers = "scale" // the plan of those of which a row says nothing
)

const edgeCount = 3

// setting is how a row wants its world.
type setting struct {
	throwaway bool              // Redis keeps nothing on disk
	planN     string            // plan of tenant N; "" = as that of the others
	edgeEnv   map[string]string // further settings of the edges
	edgeRun   func(program string) *exec.Cmd
	sticky    bool // no client sends its requests to several edges
	onTmpfs   bool // Redis' data is on a file system of 16 MB, Postgres' on one of 256 MB
	sentinel  bool // Redis with a replica and a sentinel
	unstarted bool // nothing of the product is started
}

// world is the whole product on this machine, each connection between two
// processes on a route of its own.
type world struct {
	dir      string
	guard    *embedded.Guard
	programs string
	setting  setting

	redisDir     string
	redisServer  *embedded.Redis
	redis        *redis.Client // past the proxies
	postgres     *embedded.Postgres
	postgresDir  string
	failover     *failover // nil without a sentinel
	routes       *proxies
	edgeRedis    [edgeCount]*route // edge → Redis
	edgeInternal [edgeCount]*route // other edges → edge
	edgePublic   [edgeCount]*route // clients → edge, for clients that use it
	edgeAPI      *route            // edges → api
	apiRedis     *route
	apiPostgres  *route

	api       *process
	apiURL    string
	edges     [edgeCount]*process
	edgeAddrs [edgeCount]string
	tenants   []*tenant
	tokens    map[string]string // for the api, by plan: each has an account
	front     *front
	secrets   worldSecrets
}

type worldSecrets struct{ fleet, sealing, password string }

// tenant is one that has been seeded.
type tenant struct {
	slug, key, plan string
	limits          map[string]int // an operator's, in the place of the plan's
}

// startWorld starts everything and returns when it serves.
func startWorld(ctx context.Context, programs, dir string, s setting) (_ *world, err error) {
	w := &world{dir: dir, programs: programs, setting: s, routes: newProxies(), tokens: make(map[string]string)}
	if w.guard, err = embedded.NewGuard(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	w.secrets = worldSecrets{fleet: rand.Text() + rand.Text(), sealing: base64.StdEncoding.EncodeToString(key), password: rand.Text()}
	for _, slug := range []string{tenantA, tenantB, tenantN} {
		t := &tenant{slug: slug, key: rand.Text() + rand.Text(), plan: planOfOthers}
		if slug == tenantN && s.planN != "" {
			t.plan = s.planN
		}
		w.tokens[t.plan] = "sbt_" + rand.Text() + rand.Text()
		w.tenants = append(w.tenants, t)
	}
	if err := w.startServers(ctx); err != nil {
		return nil, err
	}
	if err := w.configure(); err != nil {
		return nil, err
	}
	if s.unstarted {
		return w, nil
	}
	if err := w.seed(ctx); err != nil {
		return nil, err
	}
	all := append([]*process{w.api}, w.edges[:]...)
	for _, p := range all {
		if err := p.start(); err != nil {
			return nil, err
		}
	}
	for _, p := range all {
		if _, err := p.awaitReady(ctx, 60*time.Second); err != nil {
			return nil, err
		}
	}
	w.front = newFront(w)
	return w, w.awaitTenants(ctx)
}

// startServers starts Redis and Postgres.
func (w *world) startServers(ctx context.Context) error {
	// Postgres' user must reach its directory.
	if err := os.Chmod(w.dir, 0o711); err != nil {
		return err
	}
	w.redisDir, w.postgresDir = filepath.Join(w.dir, "redis"), filepath.Join(w.dir, "postgres")
	if w.setting.onTmpfs {
		for dir, size := range map[string]string{w.redisDir: "16m", w.postgresDir: "256m"} {
			if err := os.Mkdir(dir, 0o711); err != nil {
				return err
			}
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=711,size="+size); err != nil {
				return fmt.Errorf("mount a small file system (needs root): %w", err)
			}
		}
	}
	var group errgroup.Group
	group.Go(func() (err error) {
		w.postgres, err = embedded.StartPostgres(ctx, w.guard, embedded.PostgresConfig{Dir: w.postgresDir, Throwaway: true, Package: w.postgresPackage()})
		return err
	})
	group.Go(func() (err error) {
		if w.setting.sentinel {
			w.failover, err = startFailover(ctx, w)
			return err
		}
		w.redisServer, err = embedded.StartRedis(ctx, w.guard, embedded.RedisConfig{Dir: w.redisDir, Throwaway: w.setting.throwaway})
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	address := w.redisURL("")
	options, err := redis.ParseURL(address)
	if err != nil {
		return err
	}
	options.MaxRetries = -1
	w.redis = redis.NewClient(options)
	return nil
}

// redisURL is Redis' address past the proxies, or through the one that listens at via.
func (w *world) redisURL(via string) string {
	text := w.directRedisURL()
	if via == "" {
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		panic(err) // it was made by this program
	}
	u.Host = via
	return u.String()
}

func (w *world) directRedisURL() string {
	if w.failover != nil {
		return w.failover.url()
	}
	return w.redisServer.URL()
}

func (w *world) redisPort() int {
	if w.failover != nil {
		return w.failover.port()
	}
	return w.redisServer.Port()
}

// restartRedis starts Redis after it has ended, on the same data and port.
func (w *world) restartRedis(ctx context.Context) error {
	again, err := embedded.StartRedis(ctx, w.guard, embedded.RedisConfig{Dir: w.redisDir, Port: w.redisServer.Port(), Throwaway: w.setting.throwaway})
	if err == nil {
		w.redisServer = again
	}
	return err
}

// restartPostgres is restartRedis for Postgres.
func (w *world) restartPostgres(ctx context.Context) error {
	again, err := embedded.StartPostgres(ctx, w.guard, embedded.PostgresConfig{Dir: w.postgresDir, Port: w.postgres.Port(), Throwaway: true, Package: w.postgresPackage()})
	if err == nil {
		w.postgres = again
	}
	return err
}

// postgresPackage is tools/pg of the checkout in which the programs are, a folder or
// two above them.
func (w *world) postgresPackage() string {
	for at := filepath.Dir(w.programs); ; at = filepath.Dir(at) {
		if path := filepath.Join(at, "tools", "pg"); at == filepath.Dir(at) {
			return path
		} else if _, err := os.Stat(path); err == nil {
			return path
		}
	}
}

// configure chooses ports and makes routes and processes.
func (w *world) configure() (err error) {
	var problems []error
	port := func() int {
		p, err := embedded.FreePort()
		problems = append(problems, err)
		return p
	}
	way := func(name string, to int) *route {
		r, err := w.routes.add(name, to)
		problems = append(problems, err)
		if r == nil {
			r = new(route)
		}
		return r
	}
	apiPort, apiAdmin, apiInternal := port(), port(), port()
	w.apiURL = "http://" + loopback(apiPort)
	w.edgeAPI = way("edges to api", apiInternal)
	w.apiRedis = way("api to redis", w.redisPort())
	w.apiPostgres = way("api to postgres", w.postgres.Port())
	database, err := url.Parse(w.postgres.URL(embedded.Database))
	if err != nil {
		return err
	}
	database.Host = w.apiPostgres.listen
	w.api = &process{name: "api", program: filepath.Join(w.programs, "api"), admin: loopback(apiAdmin), log: logFile(w.dir, "api"), guard: w.guard, env: map[string]string{
		"PATH":                        os.Getenv("PATH"),
		"DATABASE_URL":                database.String(),
		"REDIS_URL":                   w.redisURL(w.apiRedis.listen),
		"SIGNALBOX_API_ADDR":          loopback(apiPort),
		"SIGNALBOX_API_ADMIN_ADDR":    loopback(apiAdmin),
		"SIGNALBOX_API_INTERNAL_ADDR": loopback(apiInternal),
		"SIGNALBOX_OPERATOR_ADDR":     "off",
		"SIGNALBOX_FLEET_SECRET":      w.secrets.fleet,
		"SIGNALBOX_SEALING_KEY":       w.secrets.sealing,
		"SIGNALBOX_CONSOLE_URL":       "http://" + loopback(apiPort),
		"SIGNALBOX_SERVICE_URL":       "http://127.0.0.1",
		"SIGNALBOX_DEV":               "1",
		"SIGNALBOX_OUTBOUND_ALLOW":    "127.0.0.0/8",
	}}
	for i := range w.edges {
		name := "edge-" + strconv.Itoa(i+1)
		public, admin, internal := port(), port(), port()
		w.edgeRedis[i] = way(name+" to redis", w.redisPort())
		w.edgeInternal[i] = way("edges to "+name, internal)
		w.edgePublic[i] = way("clients to "+name, public)
		w.edgeAddrs[i] = loopback(public)
		env := map[string]string{
			"PATH":                         os.Getenv("PATH"),
			"REDIS_URL":                    w.redisURL(w.edgeRedis[i].listen),
			"SIGNALBOX_EDGE_ADDR":          loopback(public),
			"SIGNALBOX_EDGE_ADMIN_ADDR":    loopback(admin),
			"SIGNALBOX_EDGE_INTERNAL_ADDR": loopback(internal),
			"SIGNALBOX_EDGE_ADVERTISE":     w.edgeInternal[i].listen,
			"SIGNALBOX_FLEET_SECRET":       w.secrets.fleet,
			"SIGNALBOX_API_INTERNAL_URL":   "https://" + w.edgeAPI.listen,
			"SIGNALBOX_SERVICE_HOSTS":      "127.0.0.1",
			"SIGNALBOX_OUTBOUND_ALLOW":     "127.0.0.0/8",
		}
		for name, value := range w.setting.edgeEnv {
			env[name] = value
		}
		w.edges[i] = &process{name: name, program: filepath.Join(w.programs, "edge"), admin: loopback(admin), log: logFile(w.dir, name), guard: w.guard, env: env, command: w.setting.edgeRun}
	}
	return errors.Join(problems...)
}

// seed makes the tenants; those of another plan belong to another account.
func (w *world) seed(ctx context.Context) error {
	for plan := range w.tokens {
		if err := w.seedPlan(ctx, plan); err != nil {
			return err
		}
	}
	return nil
}

// seedPlan makes the tenants of one plan, or gives them the limits that they have by now.
func (w *world) seedPlan(ctx context.Context, plan string) error {
	var list []map[string]any
	for _, t := range w.tenants {
		if t.plan == plan {
			list = append(list, map[string]any{
				"slug": t.slug, "name": t.slug, "hosts": []string{}, "primary_key": t.key, "hubs": []string{hubName}, "limits": t.limits,
			})
		}
	}
	account := map[string]any{"name": plan, "email": plan + "@example.com", "password": w.secrets.password, "plan": plan, "api_token": w.tokens[plan]}
	input, err := json.Marshal(map[string]any{"account": account, "tenants": list})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, w.api.program, "seed")
	for name, value := range w.api.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stdin = bytes.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("seed: %w: %s", err, out)
	}
	return nil
}

// awaitTenants returns when every edge knows every tenant.
func (w *world) awaitTenants(ctx context.Context) error {
	for i := range w.edges {
		for _, t := range w.tenants {
			if err := await(ctx, 30*time.Second, fmt.Sprintf("edge %d to know %s", i+1, t.slug), func() bool {
				return w.rest(i, t).status(ctx, "HEAD", "/connections/none") == 404
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *world) tenant(slug string) *tenant {
	for _, t := range w.tenants {
		if t.slug == slug {
			return t
		}
	}
	panic("no such tenant: " + slug)
}

// processes are the product's.
func (w *world) processes() []*process { return append([]*process{w.api}, w.edges[:]...) }

// close ends all processes at once.
func (w *world) close() {
	if w.front != nil {
		w.front.close()
	}
	for _, p := range w.processes() {
		if p != nil && p.current() != nil {
			_ = p.signal(9) // what is stopped by SIGSTOP has to end, too
		}
	}
	w.routes.close()
	if w.redis != nil {
		_ = w.redis.Close()
	}
	_ = w.guard.Close()
	if w.setting.onTmpfs {
		_ = syscall.Unmount(w.redisDir, 0)
		_ = syscall.Unmount(w.postgresDir, 0)
	}
}

// front is a balancer: it knows which edges are ready, and that alone.
type front struct {
	w     *world
	ready [edgeCount]atomic.Bool
	turn  atomic.Uint64
	end   context.CancelFunc
	done  chan struct{}
}

// frontCheck is how often the front asks the edges.
const frontCheck = 200 * time.Millisecond

func newFront(w *world) *front {
	ctx, end := context.WithCancel(context.Background())
	f := &front{w: w, end: end, done: make(chan struct{})}
	for i := range f.ready {
		f.ready[i].Store(true)
	}
	go func() {
		defer close(f.done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(frontCheck):
			}
			var all errgroup.Group
			for i, p := range w.edges {
				all.Go(func() error { f.ready[i].Store(p.ready(ctx)); return nil })
			}
			_ = all.Wait()
		}
	}()
	return f
}

func (f *front) close() { f.end(); <-f.done }

// next returns the next edge in turn that is ready, or any.
func (f *front) next() int {
	first := int(f.turn.Add(1))
	for i := range edgeCount {
		if at := (first + i) % edgeCount; f.ready[at].Load() {
			return at
		}
	}
	return first % edgeCount
}
