package edge

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/redisclient"
)

// TestCutOff: an edge that alone has lost Redis takes no more clients and asks its
// own to go elsewhere; one that is no worse off than the others, or can't tell,
// goes on.
func TestCutOff(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	var away, fine atomic.Bool
	i := c.edges[0].isolation()
	i.away = away.Load
	i.fine = func(context.Context) error {
		if fine.Load() {
			return nil
		}
		return errors.New("for all")
	}
	i.tick, i.after, i.move, i.over = 5*time.Millisecond, 20*time.Millisecond, 100*time.Millisecond, 50*time.Millisecond
	ctx, end := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- i.run(ctx) }()
	defer func() { end(); <-done }()

	clients := []*client{c.connect(0, demo, "chat", "ann"), c.connect(0, demo, "news", "bob")}
	ready := func() bool { return c.status("http://"+c.edges[0].AdminAddr()+"/readyz") == http.StatusOK }
	away.Store(true)
	c.send(1, demo, "chat", "m", "redis is away for all")
	clients[0].want("m", "redis is away for all")
	if !ready() {
		t.Fatal("the edge isn't ready though it is no worse off than the others")
	}

	fine.Store(true)
	for _, k := range clients {
		k.wantClose("cut off", true)
	}
	if ready() {
		t.Error("the edge is ready though it is cut off")
	}
	_, res, err := c.dial(0, 0, demo, "chat", clientJWT(t, demo, 0, "chat", "ann"))
	if err == nil || res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("a client that comes: %v, %v; want 503 with Retry-After", res, err)
	}

	away.Store(false)
	c.eventually("the edge is ready again", ready)
	c.connect(0, demo, "chat", "ann")
}

// TestUnfitRedis: with a Redis that may drop keys the edge isn't ready, until it is
// set right.
func TestUnfitRedis(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	if err := c.redis.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err(); err != nil {
		t.Fatal(err)
	}
	checked := make(chan error, 1)
	go func() { checked <- c.edges[0].checkRedis(t.Context()) }()
	ready := func() bool { return c.status("http://"+c.edges[0].AdminAddr()+"/readyz") == http.StatusOK }
	c.eventually("the edge isn't ready", func() bool { return !ready() })
	if err := c.redis.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err(); err != nil {
		t.Fatal(err)
	}
	c.eventually("the edge is ready again", ready)
	if err := <-checked; err != nil {
		t.Error(err)
	}
}

// TestEdges_that_differ_about_streams_only: an edge isn't ready beside one that it
// couldn't ask, and is when that one has gone.
func TestEdges_that_differ_about_streams_only(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{false, true} {
		c := startEdgesWith(t, 1, func(cfg *Config) { cfg.StreamsOnly = first })
		c.eventually("the first edge is known", func() bool {
			inbox := c.redis.Exists(t.Context(), redisclient.EdgeInbox(c.edges[0].run)).Val()
			return c.redis.ZCard(t.Context(), redisclient.Edges).Val() == 1 && (inbox == 1) == first
		})
		address := "http://" + c.start(func(cfg *Config) { cfg.StreamsOnly = !first }).AdminAddr() + "/readyz"
		c.eventually("the edge says why it isn't ready", func() bool { return c.readyz(address).Alone })
		if now := c.readyz(address); now.Ready || !now.Redis {
			t.Errorf("%+v", now)
		}
		if err := c.ends[0](); err != nil {
			t.Error(err)
		}
		c.eventually("the edge is ready", func() bool { now := c.readyz(address); return now.Ready && !now.Alone })
	}
}

func (c *cluster) readyz(address string) (now state) {
	c.t.Helper()
	r, err := http.Get(address)
	if err != nil {
		c.t.Fatal(err)
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(&now); err != nil {
		c.t.Fatal(err)
	}
	return now
}
