package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/embedded"
)

// failover is a Redis with a replica and a sentinel that makes it the primary when
// that fails. Between replica and primary there is a route.
type failover struct {
	w           *world
	password    string
	ports       [2]int
	servers     [2]*embedded.Process
	clients     [2]*redis.Client
	sentinel    *redis.SentinelClient
	sentinelRun *embedded.Process
	replication *route
}

const sentinelMaster = "hubs"

func startFailover(ctx context.Context, w *world) (*failover, error) {
	f := &failover{w: w, password: rand.Text()}
	for i := range f.ports {
		port, err := embedded.FreePort()
		if err != nil {
			return nil, err
		}
		f.ports[i] = port
	}
	var err error
	if f.replication, err = w.routes.add("replica to primary", f.ports[0]); err != nil {
		return nil, err
	}
	for i, port := range f.ports {
		settings := fmt.Sprintf("bind 127.0.0.1\nport %d\nrequirepass %s\nmasterauth %s\nsave \"\"\nappendonly no\nmaxmemory-policy noeviction\ndaemonize no\nrepl-diskless-sync-delay 0\nmin-replicas-max-lag 10\n", port, f.password, f.password)
		if i == 0 {
			settings += "min-replicas-to-write 1\n"
		} else {
			host, proxied, _ := strings.Cut(f.replication.listen, ":")
			settings += fmt.Sprintf("replicaof %s %s\nreplica-announce-ip 127.0.0.1\nreplica-announce-port %d\n", host, proxied, port)
		}
		if f.servers[i], err = f.launch("redis-"+strconv.Itoa(i+1), settings); err != nil {
			return nil, err
		}
		f.clients[i] = redis.NewClient(&redis.Options{Addr: loopback(port), Password: f.password, MaxRetries: -1})
	}
	for i, c := range f.clients {
		if err := await(ctx, 20*time.Second, fmt.Sprintf("Redis %d to answer", i+1), func() bool { return c.Ping(ctx).Err() == nil }); err != nil {
			return nil, err
		}
	}
	if err := await(ctx, 20*time.Second, "the replica to have the primary's data", f.inSync(ctx)); err != nil {
		return nil, err
	}
	port, err := embedded.FreePort()
	if err != nil {
		return nil, err
	}
	if f.sentinelRun, err = f.launchSentinel(port); err != nil {
		return nil, err
	}
	f.sentinel = redis.NewSentinelClient(&redis.Options{Addr: loopback(port), MaxRetries: -1})
	return f, await(ctx, 20*time.Second, "the sentinel to know the replica", func() bool {
		list, err := f.sentinel.Replicas(ctx, sentinelMaster).Result()
		return err == nil && len(list) == 1
	})
}

// inSync reports whether the replica follows.
func (f *failover) inSync(ctx context.Context) func() bool {
	return func() bool {
		info, err := f.clients[1].Info(ctx, "replication").Result()
		return err == nil && strings.Contains(info, "master_link_status:up")
	}
}

func (f *failover) launch(name, settings string) (*embedded.Process, error) {
	cmd := exec.Command("redis-server", "-") //nolint:noctx // the guard ends it
	cmd.Dir = f.w.dir
	cmd.Stdin = strings.NewReader(settings)
	return f.logged(cmd, name)
}

// launchSentinel gives the sentinel a file of its own, which it rewrites. It knows the
// primary by the route: a replica that follows another address it would point there.
func (f *failover) launchSentinel(port int) (*embedded.Process, error) {
	path := filepath.Join(f.w.dir, "sentinel.conf")
	text := fmt.Sprintf(`bind 127.0.0.1
port %d
dir %s
sentinel monitor %[3]s 127.0.0.1 %[4]d 1
sentinel auth-pass %[3]s %[5]s
sentinel down-after-milliseconds %[3]s 1500
sentinel failover-timeout %[3]s 5000
sentinel parallel-syncs %[3]s 1
`, port, f.w.dir, sentinelMaster, portOf(f.replication.listen), f.password)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return f.logged(exec.Command("redis-server", path, "--sentinel"), "sentinel") //nolint:noctx // the guard ends it
}

func (f *failover) logged(cmd *exec.Cmd, name string) (*embedded.Process, error) {
	out, err := os.Create(logFile(f.w.dir, name))
	if err != nil {
		return nil, err
	}
	defer out.Close() //nolint:errcheck // the child has its own
	cmd.Stdout, cmd.Stderr = out, out
	return f.w.guard.Start(cmd, syscall.SIGTERM)
}

func (f *failover) url() string {
	u := url.URL{Scheme: "redis", User: url.UserPassword("", f.password), Host: loopback(f.port()), Path: "/0"}
	return u.String()
}

func (f *failover) port() int { return f.ports[0] }

// promoted waits until the sentinel has made the replica the primary.
func (f *failover) promoted(ctx context.Context) error {
	return await(ctx, 30*time.Second, "the sentinel to promote the replica", func() bool {
		address, err := f.sentinel.GetMasterAddrByName(ctx, sentinelMaster).Result()
		if err != nil || len(address) != 2 || address[1] != strconv.Itoa(f.ports[1]) {
			return false
		}
		info, err := f.clients[1].Info(ctx, "replication").Result()
		return err == nil && strings.Contains(info, "role:master")
	})
}
