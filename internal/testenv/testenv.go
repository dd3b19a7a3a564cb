// Package testenv gives tests real Postgres and Redis servers. They are started
// on first use, once per test binary for Postgres and once per call for Redis,
// and are gone with everything they wrote when the test binary ends, even by a
// panic or SIGKILL. Nothing is skipped when a server is missing: the test fails
// and says what to install.
package testenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/signalbox/signalbox/internal/embedded"
)

// stopTimeout bounds the stop of one server at the end of a test.
const stopTimeout = 10 * time.Second

// environment is what the tests of one binary share.
type environment struct {
	guard *embedded.Guard
	dir   string // reachable by Postgres' unprivileged user, unlike t.TempDir
}

// shared lives until the test binary ends; the guard cleans up after it.
var shared = sync.OnceValues(func() (*environment, error) {
	guard, err := embedded.NewGuard()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "signalbox-testenv-")
	if err != nil {
		return nil, fmt.Errorf("make directory for servers: %w", err)
	}
	if err := guard.RemoveAtEnd(dir); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, fmt.Errorf("open directory for servers: %w", err)
	}
	return &environment{guard: guard, dir: dir}, nil
})

// Redis starts a Redis server of the test's own, without persistence, and
// returns its URL as redis.ParseURL takes it. It takes some 30 ms.
func Redis(t testing.TB) string {
	t.Helper()
	server, _ := StartRedis(t)
	return server
}

// RedisNode is Redis in cluster mode: a node that has no slots yet.
func RedisNode(t testing.TB) (url string) {
	t.Helper()
	url, _ = startRedis(t, embedded.RedisConfig{Throwaway: true, Cluster: true})
	return url
}

// StartRedis is Redis for tests that take the server away: stop ends it at once.
func StartRedis(t testing.TB) (url string, stop func()) {
	t.Helper()
	return startRedis(t, embedded.RedisConfig{Throwaway: true})
}

func startRedis(t testing.TB, cfg embedded.RedisConfig) (url string, stop func()) {
	t.Helper()
	env, err := shared()
	if err != nil {
		t.Fatalf("start test environment: %v", err)
	}
	dir, err := os.MkdirTemp(env.dir, "redis-")
	if err != nil {
		t.Fatalf("make Redis directory: %v", err)
	}
	cfg.Dir = dir
	server, err := embedded.StartRedis(context.WithoutCancel(t.Context()), env.guard, cfg)
	if err != nil {
		t.Fatalf("start Redis: %v", err)
	}
	stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Errorf("stop Redis: %v", err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove Redis directory: %v", err)
		}
	})
	t.Cleanup(stop)
	return server.URL(), stop
}

// Readers returns the ids of the connections that read streams, of what CLIENT LIST
// says.
func Readers(list string) (ids []string) {
	for line := range strings.Lines(list) {
		if _, after, _ := strings.Cut(line, "id="); strings.Contains(line, " cmd=xread ") {
			id, _, _ := strings.Cut(after, " ")
			ids = append(ids, id)
		}
	}
	return ids
}

// Goroutines fails the test when goroutines that it started are still there at
// its end. Call it first, so that its check runs after all other cleanups. It
// can't be used with t.Parallel, where other tests' goroutines come and go.
func Goroutines(t testing.TB) {
	t.Helper()
	already := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, already,
			// A shared server that this test was the first to ask for.
			goleak.IgnoreAnyFunction("github.com/signalbox/signalbox/internal/embedded.(*Process).wait"),
			goleak.IgnoreAnyFunction("os/exec.(*Cmd).Start.func2"),
			goleak.IgnoreAnyFunction("os/exec.(*Cmd).watchCtx.func1"),
		)
	})
}

func (e *environment) postgresDir() string { return filepath.Join(e.dir, "postgres") }
