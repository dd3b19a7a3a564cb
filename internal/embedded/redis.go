package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNoRedis means that no redis-server was found.
var ErrNoRedis = errors.New("redis-server was not found; install it with `apt-get install redis-server` (Debian, Ubuntu) or `brew install redis` (macOS), or set REDIS_URL")

// RedisConfig says how to run a private Redis.
type RedisConfig struct {
	// Dir holds data, password and log; it is made when missing.
	Dir string
	// Throwaway keeps nothing on disk and removes Dir at the end. Otherwise
	// writes go to an append-only file that is synced once a second.
	Throwaway bool
	// Port of 127.0.0.1; 0 = a free one.
	Port int
	// Cluster makes it a node of a Redis Cluster that is to be given its slots.
	Cluster bool
}

// Redis is a running private Redis server.
type Redis struct {
	*Process
	port int
	url  string
}

// Port is where it listens.
func (r *Redis) Port() int { return r.port }

// URL is what REDIS_URL takes, password included.
func (r *Redis) URL() string { return r.url }

// StartRedis starts redis-server and returns when it answers.
func StartRedis(ctx context.Context, g *Guard, c RedisConfig) (*Redis, error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, ErrNoRedis
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make Redis directory: %w", err)
	}
	if c.Throwaway {
		if err := g.RemoveAtEnd(c.Dir); err != nil {
			return nil, err
		}
	} else if err := stopOrphan(ctx, filepath.Join(c.Dir, "redis.pid"), "redis-server", syscall.SIGTERM); err != nil {
		return nil, err
	}
	password, err := secretFile(filepath.Join(c.Dir, "password"))
	if err != nil {
		return nil, err
	}
	return onPort(c.Port, func(port int) (*Redis, error) {
		// Not cancelled with ctx: a server is stopped, never killed half-way.
		cmd := exec.Command(binary, "-") //nolint:noctx // see above
		cmd.Dir = c.Dir
		// From standard input, so that no process list shows the password.
		settings := redisSettings(c, port, password)
		if c.Cluster {
			bus, err := FreePort()
			if err != nil {
				return nil, err
			}
			settings += fmt.Sprintf("cluster-enabled yes\ncluster-port %d\n", bus)
		}
		cmd.Stdin = strings.NewReader(settings)
		p, err := launch(ctx, g, cmd, syscall.SIGTERM, filepath.Join(c.Dir, "redis.log"), func(int) bool { return redisAnswers(ctx, port, password) })
		if err != nil {
			return nil, err
		}
		u := url.URL{Scheme: "redis", User: url.UserPassword("", password), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Path: "/0"}
		return &Redis{Process: p, port: port, url: u.String()}, nil
	})
}

func redisSettings(c RedisConfig, port int, password string) string {
	persistence := "appendonly yes\nappendfsync everysec\npidfile redis.pid\n"
	if c.Throwaway {
		persistence = "appendonly no\n"
	}
	// Nothing may be evicted: entries that a full Redis refuses are errors that
	// publishers see, entries that it forgets are silence.
	return fmt.Sprintf("bind 127.0.0.1\nport %d\nrequirepass %s\nsave \"\"\nmaxmemory-policy noeviction\ndaemonize no\n%s", port, password, persistence)
}

// redisAnswers logs in and waits for PONG, which comes only after the data has
// been loaded.
func redisAnswers(ctx context.Context, port int, password string) bool {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	defer conn.Close() //nolint:errcheck // a probe
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	if _, err := fmt.Fprintf(conn, "AUTH %s\r\nPING\r\nQUIT\r\n", password); err != nil {
		return false
	}
	answer := make([]byte, 0, 64)
	for buf := make([]byte, 64); len(answer) < cap(answer); {
		n, err := conn.Read(buf)
		answer = append(answer, buf[:n]...)
		if strings.Contains(string(answer), "+PONG") {
			return true
		}
		if err != nil {
			return false
		}
	}
	return false
}
