package redisclient

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// The time-outs of every client. An answer that takes longer than replyTimeout
// counts as "Redis is away": callers fail fast and say so.
const (
	dialTimeout  = time.Second
	replyTimeout = 2 * time.Second
	poolTimeout  = time.Second
)

// New returns a client for a redis:// or rediss:// URL; name is shown in CLIENT
// LIST. It doesn't connect yet. The client never repeats a command on its own:
// after a broken connection the outcome of a write is unknown, and only the
// caller knows whether a repeat is harmless. Contexts bound every call.
//
// A Redis Cluster isn't supported yet: documents, leases and usage are keys of
// many slots that are written together.
func New(url, name string) (*redis.Client, error) {
	if _, after, ok := strings.Cut(url, "://"); ok && (strings.Contains(after, ",") || strings.Contains(after, "addr=")) {
		return nil, ErrCluster
	}
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("parse Redis URL: %w", err)
	}
	o.ClientName = name
	o.MaxRetries = -1
	o.DialTimeout = dialTimeout
	o.DialerRetries = 1
	o.ReadTimeout = replyTimeout
	o.WriteTimeout = replyTimeout
	o.PoolTimeout = poolTimeout
	o.PoolSize = max(32, 16*runtime.GOMAXPROCS(0))
	o.ContextTimeoutEnabled = true
	o.DisableIdentity = true // a round trip more for each connection, for a name that is in CLIENT LIST anyway
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(o), nil
}

const (
	// warmEvery is less than the time after which the pool closes what nobody uses.
	warmEvery = 10 * time.Minute
	// warmMost is how many connections are kept ready, warmTime how long they may be
	// taken from the pool for it, and warmRetry when that is tried again where fewer
	// than half of them answered.
	warmMost  = 32
	warmTime  = 250 * time.Millisecond
	warmRetry = 2 * time.Second
)

// KeepWarm has connections of the pool ready until ctx is done. A new one costs two
// answers of Redis: when these begin to take long, more are needed at once, and what
// waits for them would wait that much longer.
func KeepWarm(ctx context.Context, c *redis.Client) error {
	for {
		pause := warmEvery
		if !warm(ctx, c) {
			pause = warmRetry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// warm uses connections at the same time, and reports whether half of them answered.
func warm(ctx context.Context, c *redis.Client) bool {
	ctx, cancel := context.WithTimeout(ctx, warmTime)
	defer cancel()
	var answered atomic.Int64
	var all sync.WaitGroup
	most := min(c.Options().PoolSize, warmMost)
	for range most {
		conn := c.Conn()
		defer conn.Close() //nolint:errcheck // it goes back to the pool
		all.Go(func() {
			if conn.Ping(ctx).Err() == nil {
				answered.Add(1)
			}
		})
	}
	all.Wait()
	return int(answered.Load()) >= most/2
}

// ErrCluster refuses a Redis Cluster.
var ErrCluster = errors.New("a Redis Cluster is not supported yet: use one Redis, with replicas where it must not be missed")

// CheckMode returns ErrCluster when the server is a node of a cluster.
func CheckMode(ctx context.Context, c redis.Cmdable) error {
	info, err := c.InfoMap(ctx, "cluster").Result()
	if err != nil {
		return fmt.Errorf("read Redis mode: %w", err)
	}
	if info["Cluster"]["cluster_enabled"] == "1" {
		return ErrCluster
	}
	return nil
}

// ErrPolicy says that Redis may drop keys.
var ErrPolicy = errors.New("redis maxmemory-policy must be noeviction")

// CheckPolicy returns ErrPolicy when Redis may drop keys to save memory. Numbers,
// epochs and documents must never vanish one by one: the promises of delivery
// rest on maxmemory-policy noeviction. A Redis that doesn't let its settings be
// read (many managed ones) is taken at its word in INFO.
func CheckPolicy(ctx context.Context, c redis.Cmdable) error {
	var policy string
	if settings, err := c.ConfigGet(ctx, "maxmemory-policy").Result(); err == nil {
		policy = settings["maxmemory-policy"]
	} else {
		info, infoErr := c.InfoMap(ctx, "memory").Result()
		if infoErr != nil {
			return fmt.Errorf("read Redis memory policy: %w", infoErr)
		}
		policy = info["Memory"]["maxmemory_policy"]
	}
	if policy != "" && policy != "noeviction" {
		return fmt.Errorf("%w: it is %s", ErrPolicy, policy)
	}
	return nil
}
