package backplane

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/tenants"
)

const (
	tenant = tenants.ID("01JCTENANT000000000000000A")
	hub    = "chat"
)

// patience bounds every wait for an event.
const patience = 20 * time.Second

// shortPatience is for those who wait in vain: long enough for the answers that do come
// to a machine that stands still for a while.
const shortPatience = 3 * time.Second

// testConfig makes sweeps fast, so that tests of repairs are.
func testConfig(t *testing.T, client *redis.Client) Config {
	return Config{
		Redis: client, EdgeRun: fmt.Sprintf("run%d", runs.Add(1)),
		Logger:      slog.New(slog.NewTextHandler(testenv.Log(t), &slog.HandlerOptions{Level: slog.LevelDebug})),
		SweepEvery:  300 * time.Millisecond,
		StreamsOnly: withoutPubSub(t),
	}
}

// inBothModes runs a test with Pub/Sub and without it, side by side: process makes
// what its mode asks for.
func inBothModes(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	for _, mode := range []string{"doorbells", streamsOnly} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

const streamsOnly = "streams-only"

func withoutPubSub(t testing.TB) bool { return strings.Contains(t.Name()+"/", "/"+streamsOnly+"/") }

var runs atomic.Int64

func newClient(t *testing.T, url string) *redis.Client {
	t.Helper()
	c, err := redisclient.New(url, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// process starts one process's backplane with its own client.
func process(t *testing.T, url string, change ...func(*Config)) *Redis {
	t.Helper()
	cfg := testConfig(t, newClient(t, url))
	for _, f := range change {
		f(&cfg)
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// node is a hubs.Node that keeps what it is told.
type node struct {
	mu      sync.Mutex
	entries []*hubs.Entry
	gaps    []hubs.Gap
	began   []hubs.Position
	changed chan struct{}
	hook    func(e *hubs.Entry) // called first, outside the lock
	matched int
	list    func() hubs.Page
}

func newNode() *node { return &node{changed: make(chan struct{}), matched: 1} }

func (n *node) Apply(e *hubs.Entry) int {
	if n.hook != nil {
		n.hook(e)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.entries = append(n.entries, e)
	n.signal()
	return n.matched
}

func (n *node) Answer(hubs.Query) int { return n.matched }

func (n *node) List(hubs.ListQuery) hubs.Page {
	if n.list == nil {
		return hubs.Page{}
	}
	return n.list()
}

func (n *node) Lost(g hubs.Gap) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gaps = append(n.gaps, g)
	n.signal()
}

func (n *node) Begins(at hubs.Position) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.began = append(n.began, at)
}

func (n *node) signal() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// wait returns once holds does.
func (n *node) wait(t *testing.T, what string, holds func(entries []*hubs.Entry, gaps []hubs.Gap) bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		n.mu.Lock()
		ok, changed := holds(n.entries, n.gaps), n.changed
		entries, gaps := len(n.entries), slices.Clone(n.gaps)
		n.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("no %s within %v: %d entries, gaps %v", what, patience, entries, gaps)
		}
	}
}

func (n *node) waitEntries(t *testing.T, count int) []*hubs.Entry {
	t.Helper()
	n.wait(t, fmt.Sprint(count, " entries"), func(e []*hubs.Entry, _ []hubs.Gap) bool { return len(e) >= count })
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.entries)
}

func (n *node) lost() []hubs.Gap {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.gaps)
}

// eventually waits for a state that nothing announces.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

func subscribe(t *testing.T, r *Redis, n hubs.Node) func() {
	t.Helper()
	leave, err := r.Hub(tenant, hub, Settings{}).Subscribe(t.Context(), n)
	if err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	return leave
}

// say is a message with a number and who said it.
func say(who string, i int) *hubs.Entry {
	args, err := json.Marshal([]any{who, i})
	if err != nil {
		panic(err)
	}
	return &hubs.Entry{Kind: hubs.SendToAll, Message: &hubs.Broadcast{Target: "say", Arguments: protocol.Raw{Bytes: args}}}
}

func said(e *hubs.Entry) (who string, i int) {
	var args []any
	if err := json.Unmarshal(e.Message.Arguments.Bytes, &args); err != nil || len(args) != 2 {
		panic(fmt.Sprint("arguments ", string(e.Message.Arguments.Bytes)))
	}
	return args[0].(string), int(args[1].(float64))
}

// headWith is a hub's head, changed the way that no script does.
func headWith(t *testing.T, client *redis.Client, k redisclient.HubKeys, change func(at []uint64)) string {
	t.Helper()
	data, err := client.HGet(t.Context(), k.Head(), "at").Bytes()
	if err != nil {
		t.Fatal(err)
	}
	at := make([]uint64, len(data)/8)
	if _, err := binary.Decode(data, binary.BigEndian, at); err != nil {
		t.Fatal(err)
	}
	change(at)
	if data, err = binary.Append(nil, binary.BigEndian, at); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func publish(t *testing.T, r *Redis, e *hubs.Entry) hubs.Position {
	t.Helper()
	at, err := r.Hub(tenant, hub, Settings{}).Publish(t.Context(), e, hubs.PublishOptions{Charge: 1})
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	return at
}

// inOrder checks that numbers are contiguous within each epoch and that what
// each publisher said is in order and there once.
func inOrder(t *testing.T, entries []*hubs.Entry) {
	t.Helper()
	last := make(map[string]int)
	var before *hubs.Entry
	for _, e := range entries {
		if before != nil && e.Epoch == before.Epoch && e.Number != before.Number+1 {
			t.Fatalf("number %d follows %d", e.Number, before.Number)
		}
		before = e
		who, i := said(e)
		if i <= last[who] {
			t.Fatalf("%s said %d after %d", who, i, last[who])
		}
		last[who] = i
	}
}

// proxy is a TCP front of Redis that can go away, stall and change its target.
type proxy struct {
	listener net.Listener
	target   atomic.Pointer[string]
	refuse   atomic.Bool
	mu       sync.Mutex
	conns    map[net.Conn]bool
	stalled  chan struct{} // nil, or open while bytes are held back
	work     sync.WaitGroup
}

// newProxy returns a proxy of the Redis at url and the URL of the proxy.
func newProxy(t *testing.T, url string) (*proxy, string) {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, conns: make(map[net.Conn]bool)}
	p.target.Store(&o.Addr)
	p.work.Go(p.serve)
	t.Cleanup(func() {
		_ = l.Close()
		p.resume()
		p.cut()
		p.work.Wait()
	})
	return p, strings.Replace(url, o.Addr, l.Addr().String(), 1)
}

func (p *proxy) serve() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		if p.refuse.Load() {
			_ = c.Close()
			continue
		}
		up, err := net.Dial("tcp", *p.target.Load())
		if err != nil {
			_ = c.Close()
			continue
		}
		p.mu.Lock()
		refused := p.refuse.Load() // since it was accepted: cut may have been here
		if !refused {
			p.conns[c], p.conns[up] = true, true
		}
		p.mu.Unlock()
		if refused {
			_, _ = c.Close(), up.Close()
			continue
		}
		p.work.Go(func() { p.pump(c, up) })
		p.work.Go(func() { p.pump(up, c) })
	}
}

func (p *proxy) pump(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		stalled := p.stalled
		p.mu.Unlock()
		if stalled != nil {
			<-stalled
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cut breaks all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

// stall holds all bytes back until resume.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = make(chan struct{})
}

func (p *proxy) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled != nil {
		close(p.stalled)
		p.stalled = nil
	}
}

// newRedis is the URL of a Redis of the test's own.
func newRedis(t *testing.T) string {
	t.Helper()
	return testenv.Redis(t)
}

// clusterRedis is newRedis for tests of partitions: with doorbells it is a node with all
// slots of a Redis Cluster. That answers a client of one server, but no command, script or
// transaction with keys of several slots. Reads that wait for several streams are for one
// server alone. It takes 2 s, which it sleeps for the most part.
func clusterRedis(t *testing.T) string {
	t.Helper()
	if withoutPubSub(t) {
		return newRedis(t)
	}
	url := testenv.RedisNode(t)
	c := newClient(t, url)
	if err := c.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatalf("give the node its slots: %v", err)
	}
	eventually(t, "cluster", func() bool {
		return strings.Contains(c.ClusterInfo(t.Context()).Val(), "cluster_state:ok")
	})
	return url
}

var background = context.Background()

func containsText(err error, s string) bool { return err != nil && strings.Contains(err.Error(), s) }

// hookOn calls f once behind the first command of c, alone or in a pipeline, for
// which it is one that is meant.
func hookOn(c redis.UniversalClient, meant func(redis.Cmder) bool, f func()) {
	var once sync.Once
	c.AddHook(behind(func(cmd redis.Cmder) {
		if meant(cmd) {
			once.Do(f)
		}
	}))
}

type behind func(redis.Cmder)

func (behind) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b behind) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if err == nil {
			b(cmd)
		}
		return err
	}
}

func (b behind) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			if cmd.Err() == nil {
				b(cmd)
			}
		}
		return err
	}
}

// runsScript reports whether cmd runs the script with this text.
func runsScript(source string) func(redis.Cmder) bool {
	hash := redis.NewScript(source).Hash()
	return func(cmd redis.Cmder) bool {
		args := cmd.Args()
		return len(args) > 1 && (args[0] == "evalsha" && args[1] == hash || args[0] == "eval" && args[1] == source)
	}
}
