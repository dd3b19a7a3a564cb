package redisclient_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
)

func TestNew_refuses_what_is_no_Redis_URL(t *testing.T) {
	for _, url := range []string{"", "localhost", "http://localhost", "redis://localhost/x"} {
		if _, err := redisclient.New(url, "test"); err == nil {
			t.Errorf("%q was accepted", url)
		}
	}
}

func TestClusters_are_refused(t *testing.T) {
	for _, url := range []string{"redis://a:6379,b:6379/0", "redis://a:6379?addr=b:6379"} {
		if _, err := redisclient.New(url, "test"); !errors.Is(err, redisclient.ErrCluster) {
			t.Errorf("%s: %v", url, err)
		}
	}
	c, err := redisclient.New(testenv.Redis(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := redisclient.CheckMode(t.Context(), c); err != nil {
		t.Errorf("one Redis: %v", err)
	}
	if err := redisclient.CheckMode(t.Context(), clusterNode{c}); !errors.Is(err, redisclient.ErrCluster) {
		t.Errorf("node of a cluster: %v", err)
	}
}

// clusterNode says what a node of a cluster says.
type clusterNode struct{ redis.Cmdable }

func (clusterNode) InfoMap(ctx context.Context, _ ...string) *redis.InfoCmd {
	cmd := redis.NewInfoCmd(ctx)
	cmd.SetVal(map[string]map[string]string{"Cluster": {"cluster_enabled": "1"}})
	return cmd
}

func TestCheckPolicy_wants_noeviction(t *testing.T) {
	c, err := redisclient.New(testenv.Redis(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := redisclient.CheckPolicy(t.Context(), c); err != nil {
		t.Errorf("noeviction: %v", err)
	}
	if err := c.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err(); err != nil {
		t.Fatal(err)
	}
	check := func(how string) {
		t.Helper()
		if err := redisclient.CheckPolicy(t.Context(), c); err == nil || !strings.Contains(err.Error(), "allkeys-lru") {
			t.Errorf("%s: %v", how, err)
		}
	}
	check("allkeys-lru")
	if err := c.Do(t.Context(), "ACL", "SETUSER", "default", "-config").Err(); err != nil {
		t.Fatal(err)
	}
	check("allkeys-lru, settings hidden")
}

// A client that isn't answered gives up within its time-outs, and once.
func TestClient_does_not_wait_for_ever(t *testing.T) {
	url, stop := testenv.StartRedis(t)
	c, err := redisclient.New(url, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	stop()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := c.Ping(ctx).Err(); err == nil || ctx.Err() != nil {
		t.Errorf("ping of a stopped Redis: %v, context: %v", err, ctx.Err())
	}
}

func TestKeepWarm_has_connections_ready(t *testing.T) {
	c, err := redisclient.New(testenv.Redis(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- redisclient.KeepWarm(ctx, c) }()
	for deadline := time.Now().Add(20 * time.Second); c.PoolStats().IdleConns < 32; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are ready", c.PoolStats().IdleConns)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
