package serverlink_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/serverlink"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
)

// fleet of three edges in which the first has the clients.
func three(t testing.TB) (a, b, c *node) {
	t.Helper()
	url := testenv.Redis(t)
	return newNode(t, url), newNode(t, url), newNode(t, url)
}

func TestOpen_chooses(t *testing.T) {
	t.Parallel()
	type server struct {
		node    int // 0 has the clients
		id      string
		clients int
	}
	for _, row := range []struct {
		name    string
		servers []server
		change  func(*pairing.Client)
		want    string // server id, with the node
		err     error
	}{
		{name: "nobody_there", err: pairing.ErrNoServer},
		{name: "least_loaded_of_the_fleet", servers: []server{{0, "s", 900}, {1, "s", 500}, {2, "s", 100}}, want: "2/s"},
		{name: "own_edge_when_about_as_good", servers: []server{{0, "s", 110}, {1, "s", 100}}, want: "0/s"},
		{name: "other_edge_when_much_better", servers: []server{{0, "s", 200}, {1, "s", 100}}, want: "1/s"},
		{
			name: "preferred_server_on_another_edge", servers: []server{{0, "s", 0}, {1, "mine", 500}},
			change: func(c *pairing.Client) { c.Sticky, c.Server = pairing.Preferred, "mine" }, want: "1/mine",
		},
		{
			name: "preferred_server_that_is_gone", servers: []server{{0, "s", 500}, {1, "other", 0}},
			change: func(c *pairing.Client) { c.Sticky, c.Server = pairing.Preferred, "mine" }, want: "1/other",
		},
		{
			name: "required_server_on_another_edge", servers: []server{{0, "s", 0}, {1, "s", 0}, {2, "mine", 500}},
			change: func(c *pairing.Client) { c.Sticky, c.Server = pairing.Required, "mine" }, want: "2/mine",
		},
		{
			name: "required_server_on_two_edges", servers: []server{{0, "mine", 500}, {1, "mine", 100}},
			change: func(c *pairing.Client) { c.Sticky, c.Server = pairing.Required, "mine" }, want: "1/mine",
		},
		{
			name: "required_server_that_is_gone", servers: []server{{0, "s", 0}, {1, "other", 0}},
			change: func(c *pairing.Client) { c.Sticky, c.Server = pairing.Required, "mine" }, err: pairing.ErrServerAway,
		},
		{
			name: "moved_client_leaves_its_server", servers: []server{{0, "old", 0}, {1, "old", 0}, {2, "new", 900}},
			change: func(c *pairing.Client) { c.MovedFrom = "old" }, want: "2/new",
		},
		{
			name: "moved_client_leaves_its_server_on_an_edge_that_has_both", servers: []server{{1, "old", 0}, {1, "new", 900}},
			change: func(c *pairing.Client) { c.MovedFrom = "old" }, want: "1/new",
		},
		{
			name: "moved_client_with_nowhere_to_go", servers: []server{{0, "old", 0}, {1, "old", 0}},
			change: func(c *pairing.Client) { c.MovedFrom = "old" }, err: pairing.ErrNoServer,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			a, b, c := three(t)
			nodes := []*node{a, b, c}
			var list []*appServer
			for _, s := range row.servers {
				list = append(list, nodes[s.node].local.connect(chat, s.id, s.clients))
			}
			// All must be known, not just one.
			for _, s := range row.servers {
				if s.node > 0 {
					key := redisclient.Hub(chat.Tenant, chat.Name).Servers()
					eventually(t, "entry", func() bool {
						return strings.Contains(a.redis.HGet(t.Context(), key, nodes[s.node].run).Val(), `"`+s.id+`"`)
					})
				}
			}
			client := newClient("c1")
			if row.change != nil {
				row.change(client)
			}
			s, _, err := a.open(client)
			if !errors.Is(err, row.err) {
				t.Fatalf("got %v, want %v", err, row.err)
			}
			if err != nil {
				return
			}
			for i, app := range list {
				select {
				case <-app.opened:
					if got := fmt.Sprint(row.servers[i].node, "/", s.ServerID()); got != row.want {
						t.Errorf("got %s, want %s", got, row.want)
					}
				default:
				}
			}
		})
	}
}

func TestOpen_passes_over_places_that_refuse(t *testing.T) {
	t.Parallel()
	a, b, c := three(t)
	full := b.local.connect(chat, "full", 0)
	full.refuse = pairing.ErrNoServer
	free := c.local.connect(chat, "free", 500)
	a.lists(chat, "full", "free")
	s, _ := a.mustOpen(newClient("c1"))
	if s.ServerID() != "free" {
		t.Errorf("got %s", s.ServerID())
	}
	get(t, "pairing", free.opened)
	// An outcome that isn't known is not tried elsewhere: the app server might
	// have the client.
	full.mu.Lock()
	full.refuse = errTest
	full.mu.Unlock()
	if _, _, err := a.open(newClient("c2")); err == nil || errors.Is(err, pairing.ErrNoServer) {
		t.Errorf("got %v", err)
	}
}

// An edge that is killed is passed over at once, while it is still listed.
func TestOpen_passes_over_an_edge_that_was_killed(t *testing.T) {
	t.Parallel()
	a, b, c := three(t)
	dead := b.local.connect(chat, "dead", 0)
	alive := c.local.connect(chat, "alive", 500)
	a.lists(chat, "dead", "alive")
	_, d := a.mustOpen(newClient("c1"))
	get(t, "pairing", dead.opened)
	b.proxy.refuse.Store(true)
	b.proxy.cut()
	if got := get(t, "lost", d.events); got != "lost" {
		t.Fatalf("got %q", got)
	}
	s, _ := a.mustOpen(newClient("c2"))
	if s.ServerID() != "alive" {
		t.Errorf("got %s", s.ServerID())
	}
	get(t, "pairing", alive.opened)
}

// Clients that come faster than loads are told don't all go to one place.
func TestOpen_spreads_a_herd(t *testing.T) {
	t.Parallel()
	a, b, c := three(t)
	one, two := b.local.connect(chat, "one", 100), c.local.connect(chat, "two", 100)
	a.lists(chat, "one", "two")
	for i := range 200 {
		a.mustOpen(newClient(fmt.Sprint("c", i)))
	}
	for _, app := range []*appServer{one, two} {
		if n := len(app.opened); n < 60 {
			t.Errorf("%s got %d of 200", app.id, n)
		}
	}
}

// App servers come and go for as long as an edge lives, each with an id of its own.
func TestRegistry_forgets_what_went_to_app_servers_that_are_gone(t *testing.T) {
	t.Parallel()
	a, b, _ := three(t)
	gone := b.local.connect(chat, "gone", 0)
	a.lists(chat, "gone")
	a.mustOpen(newClient("c"))
	if n := serverlink.Counted(a.registry, chat); n != 1 {
		t.Fatalf("%d are counted", n)
	}
	b.local.disconnect(gone)
	b.local.connect(chat, "next", 0)
	eventually(t, "end of the count", func() bool { return serverlink.Counted(a.registry, chat) == 0 })
}

func TestDrain_moves_clients_to_other_edges(t *testing.T) {
	t.Parallel()
	a, b, c := three(t)
	leaving := b.local.connect(chat, "leaving", 0)
	a.knows(chat, true)
	const clients = 50
	type pair struct {
		s pairing.Session
		d *client
	}
	var list []pair
	for i := range clients {
		s, d := a.mustOpen(newClient(fmt.Sprint("c", i)))
		list = append(list, pair{s, d})
		get(t, "pairing", leaving.opened)
	}
	staying := c.local.connect(chat, "staying", 0)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		b.fleet.Drain(t.Context(), 50*time.Millisecond)
	}()
	for i, p := range list {
		if got := get(t, "migrate", p.d.events); got != "migrate" {
			t.Fatalf("client %d: %q", i, got)
		}
		if err := p.s.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		moved := newClient(fmt.Sprint("c", i))
		moved.MovedFrom = p.s.ServerID()
		s, _ := a.mustOpen(moved)
		if s.ServerID() != "staying" {
			t.Fatalf("moved to %s", s.ServerID())
		}
		if got := get(t, "pairing", staying.opened); got.client.MovedFrom != "leaving" {
			t.Errorf("moved from %q", got.client.MovedFrom)
		}
		p.s.End("", s.ServerID())
	}
	get(t, "end of the drain", drained)
	if n := b.fleet.Stats().Hosted; n != 0 {
		t.Errorf("%d clients are left", n)
	}
	key := redisclient.Hub(chat.Tenant, chat.Name).Servers()
	if a.redis.HExists(t.Context(), key, b.run).Val() {
		t.Error("the edge is still listed")
	}
	// Asked once each, though the app server may ask as well.
	for _, p := range list {
		p.d.mu.Lock()
		if p.d.migrates != 1 {
			t.Errorf("asked to migrate %d times", p.d.migrates)
		}
		p.d.mu.Unlock()
	}
	// A client that comes all the same is refused.
	leaving.refuse = nil
	late := newClient("late")
	late.Sticky, late.Server = pairing.Required, "leaving"
	if _, _, err := a.open(late); !errors.Is(err, pairing.ErrServerAway) {
		t.Errorf("got %v", err)
	}
}

func TestRegistry_presence(t *testing.T) {
	t.Parallel()
	url := testenv.Redis(t)
	a, b := newNode(t, url), newNode(t, url)
	presence := func(n *node) any {
		p, err := n.registry.Presence(t.Context(), chat)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if got := fmt.Sprint(presence(a)); got != "{false false}" {
		t.Errorf("before: %v", got)
	}
	app := b.local.connect(chat, "app", 0)
	a.knows(chat, true)
	if got := fmt.Sprint(presence(b)); got != "{true true}" {
		t.Errorf("where it is: %v", got)
	}
	if got := a.registry.Servers(chat); !slices.Equal(got, []string{"app"}) {
		t.Errorf("servers %q", got)
	}
	b.local.disconnect(app)
	a.knows(chat, false)
	b.knows(chat, false)
	for _, n := range []*node{a, b, newNode(t, url)} { // the last one never knew it
		if got := fmt.Sprint(presence(n)); got != "{false true}" {
			t.Errorf("afterwards at %s: %v", n.run, got)
		}
	}
	// Ten minutes later.
	keys := redisclient.Hub(chat.Tenant, chat.Name)
	life := a.redis.PTTL(t.Context(), keys.ServersSeen()).Val()
	if life > 10*time.Minute || life < 9*time.Minute {
		t.Errorf("remembered for %v", life)
	}
	a.redis.Del(t.Context(), keys.ServersSeen())
	if got := fmt.Sprint(presence(newNode(t, url))); got != "{false false}" {
		t.Errorf("ten minutes later: %v", got)
	}
}

func TestRegistry_tells_followers_of_the_first_server(t *testing.T) {
	t.Parallel()
	a, b, c := three(t)
	var calls atomic.Int32
	leave := a.registry.Follow(chat, func() { calls.Add(1) })
	a.knows(chat, false)
	one := b.local.connect(chat, "one", 0)
	eventually(t, "call", func() bool { return calls.Load() == 1 })
	two := c.local.connect(chat, "two", 0)
	a.lists(chat, "one", "two")
	own := a.local.connect(chat, "own", 0)
	b.local.disconnect(one)
	c.local.disconnect(two)
	a.local.disconnect(own)
	a.knows(chat, false)
	if n := calls.Load(); n != 1 {
		t.Errorf("%d calls while there was a server all the time", n)
	}
	own = a.local.connect(chat, "own", 0)
	eventually(t, "call for an own server", func() bool { return calls.Load() == 2 })
	// Who comes later is told of what is there already.
	again := make(chan struct{})
	leaveAgain := a.registry.Follow(chat, func() { close(again) })
	get(t, "call", again)
	leave()
	leaveAgain()
	a.local.disconnect(own)
	a.knows(chat, false)
	b.local.connect(chat, "one", 0)
	a.knows(chat, true)
	if n := calls.Load(); n != 2 {
		t.Errorf("%d calls after leaving", n)
	}
}

func TestRegistry_ignores_and_sweeps_dead_edges(t *testing.T) {
	t.Parallel()
	a, b, c := three(t)
	b.local.connect(chat, "dead", 0)
	a.knows(chat, true)
	// Killed without a word: its entry stays, its lease goes.
	key := redisclient.Hub(chat.Tenant, chat.Name).Servers()
	entry := a.redis.HGet(t.Context(), key, b.run).Val()
	b.kill()
	if err := a.redis.HSet(context.Background(), key, b.run, entry).Err(); err != nil {
		t.Fatal(err)
	}
	a.knows(chat, false)
	if _, _, err := a.open(newClient("c1")); !errors.Is(err, pairing.ErrNoServer) {
		t.Errorf("got %v", err)
	}
	c.knows(chat, false)
	eventually(t, "sweep", func() bool { return !a.redis.HExists(t.Context(), key, b.run).Val() })
	// A lease that lapsed and comes back: so does the entry.
	c.local.connect(chat, "back", 0)
	a.knows(chat, true)
	c.setLease(false)
	a.knows(chat, false)
	c.setLease(true)
	a.knows(chat, true)
}

// While Redis is away, what was known last counts, and links tell the truth.
func TestRegistry_without_Redis(t *testing.T) {
	t.Parallel()
	url, stop := testenv.StartRedis(t)
	a, b := newNode(t, url), newNode(t, url)
	app := b.local.connect(chat, "app", 0)
	leave := a.registry.Follow(chat, func() {})
	defer leave()
	a.knows(chat, true)
	stop()
	for i := range 20 {
		a.mustOpen(newClient(fmt.Sprint("c", i)))
		get(t, "pairing", app.opened)
	}
	if p, err := a.registry.Presence(t.Context(), chat); err != nil || !p.Now {
		t.Errorf("%+v, %v", p, err)
	}
	unknown := pairing.Hub{Tenant: chat.Tenant, Name: "other"}
	if p, err := a.registry.Presence(t.Context(), unknown); err == nil {
		t.Errorf("of a hub that was never heard of: %+v", p)
	}
	c := newClient("c")
	c.Hub = unknown
	if _, _, err := a.open(c); err == nil || errors.Is(err, pairing.ErrNoServer) {
		t.Errorf("of a hub that was never heard of: %v", err)
	}
	// The server connections here need no Redis.
	a.local.connect(unknown, "own", 0)
	if s, _ := a.mustOpen(c); s.ServerID() != "own" {
		t.Errorf("got %s", s.ServerID())
	}
	b.proxy.refuse.Store(true)
	b.proxy.cut()
	if _, _, err := a.open(newClient("late")); err == nil {
		t.Error("paired with an edge that is gone")
	}
}

// A Redis that loses its data gets all back.
func TestRegistry_is_written_anew(t *testing.T) {
	t.Parallel()
	a, b, _ := three(t)
	b.local.connect(chat, "app", 0)
	a.knows(chat, true)
	if err := a.redis.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	b.setLease(true)
	key := redisclient.Hub(chat.Tenant, chat.Name).Servers()
	eventually(t, "entry", func() bool { return a.redis.HExists(t.Context(), key, b.run).Val() })
	a.knows(chat, true)
}

// inBothModes runs a test with Pub/Sub and without it.
func inBothModes(t *testing.T, test func(t *testing.T, mode func(*options))) {
	t.Helper()
	t.Parallel()
	for name, streams := range map[string]bool{"doorbells": false, "streams-only": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, func(o *options) { o.streams = streams })
		})
	}
}

// killListeners breaks the connections over which news are heard.
func killListeners(t *testing.T, c *redis.Client) {
	t.Helper()
	list, err := c.ClientList(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range testenv.Readers(list) {
		if err := c.ClientKillByFilter(t.Context(), "ID", id).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
}

// News that were missed are read: the connections over which they are heard are
// killed again and again while app servers come and go.
func TestRegistry_outlives_its_doorbell(t *testing.T) {
	inBothModes(t, func(t *testing.T, mode func(*options)) {
		url := testenv.Redis(t)
		a, b := newNode(t, url, mode), newNode(t, url, mode)
		leave := a.registry.Follow(chat, func() {})
		defer leave()
		for range 20 {
			app := b.local.connect(chat, "app", 0)
			killListeners(t, a.redis)
			a.knows(chat, true)
			b.local.disconnect(app)
			killListeners(t, a.redis)
			a.knows(chat, false)
		}
	})
}

// What is announced is heard without anything being read anew.
func TestRegistry_hears_of_changes(t *testing.T) {
	inBothModes(t, func(t *testing.T, mode func(*options)) {
		never := func(o *options) { o.sweep = time.Hour }
		url := testenv.Redis(t)
		a, b := newNode(t, url, never, mode), newNode(t, url, never, mode)
		hub := func(i int) pairing.Hub { return pairing.Hub{Tenant: chat.Tenant, Name: fmt.Sprint("hub", i)} }
		const hubs = 600 // more than one SUBSCRIBE or reader takes
		for i := range hubs {
			defer a.registry.Follow(hub(i), func() {})()
		}
		for i := range hubs {
			b.local.connect(hub(i), "app", 0)
		}
		for i := range hubs {
			a.knows(hub(i), true)
		}
	})
}

// An edge that swallows what is sent to it costs one client some time; the
// others go elsewhere at once.
func TestOpen_prefers_edges_that_can_be_reached(t *testing.T) {
	t.Parallel()
	url := testenv.Redis(t)
	a := newNode(t, url, func(o *options) { o.timing.DialWithin = 3 * time.Second })
	b, c := newNode(t, url), newNode(t, url)
	b.local.connect(chat, "mute", 0)
	alive := c.local.connect(chat, "alive", 500)
	a.lists(chat, "mute", "alive")
	b.proxy.stall()
	for i := range 50 {
		s, _ := a.mustOpen(newClient(fmt.Sprint("c", i)))
		if s.ServerID() != "alive" {
			t.Fatalf("got %s", s.ServerID())
		}
		get(t, "pairing", alive.opened)
	}
	if n := a.fleet.Stats().DialFailures; n != 1 {
		t.Errorf("dialled in vain %d times", n)
	}
}
