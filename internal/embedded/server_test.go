package embedded_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/embedded"
)

func neverDone() context.Context { return context.Background() }

// throwawayDir is a directory that an unprivileged Postgres user reaches, which
// t.TempDir is not: its parent is private.
func throwawayDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "signalbox-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestPostgres_second_start_finds_the_data(t *testing.T) {
	t.Parallel()
	config := embedded.PostgresConfig{Dir: filepath.Join(throwawayDir(t), "pg")}
	guard := newGuard(t)

	first := startPostgres(t, guard, config)
	query(t, first, "CREATE TABLE kept (id int)")
	stopped(t, first.Process)

	second := startPostgres(t, guard, config)
	query(t, second, "SELECT id FROM kept")
	stopped(t, second.Process)
}

func TestPostgres_start_after_the_parent_was_killed(t *testing.T) {
	t.Parallel()
	config := embedded.PostgresConfig{Dir: filepath.Join(throwawayDir(t), "pg")}
	guard := newGuard(t)
	orphan := startPostgres(t, guard, config)
	query(t, orphan, "CREATE TABLE kept (id int)")

	// The same state as after a crash of the parent: the server still runs.
	second := startPostgres(t, guard, config)
	query(t, second, "SELECT id FROM kept")
	stopped(t, second.Process)

	// And a pid file whose pid belongs to somebody else by now.
	pidFile := filepath.Join(config.Dir, "data", "postmaster.pid")
	if err := os.WriteFile(pidFile, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	third := startPostgres(t, guard, config)
	query(t, third, "SELECT id FROM kept")
	stopped(t, third.Process)
}

func TestPostgres_refuses_a_wrong_password(t *testing.T) {
	t.Parallel()
	server := startPostgres(t, newGuard(t), embedded.PostgresConfig{Dir: filepath.Join(throwawayDir(t), "pg"), Throwaway: true})
	config, err := pgx.ParseConfig(server.URL(embedded.Database))
	if err != nil {
		t.Fatal(err)
	}
	config.Password = "wrong"
	if conn, err := pgx.ConnectConfig(t.Context(), config); err == nil {
		_ = conn.Close(t.Context())
		t.Error("a wrong password was let in")
	}
}

func TestPostgres_error_quotes_the_servers_log(t *testing.T) {
	t.Parallel()
	config := embedded.PostgresConfig{Dir: filepath.Join(throwawayDir(t), "pg")}
	guard := newGuard(t)
	stopped(t, startPostgres(t, guard, config).Process)
	if err := os.WriteFile(filepath.Join(config.Dir, "data", "PG_VERSION"), []byte("9.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := embedded.StartPostgres(t.Context(), guard, config)
	if err == nil || !strings.Contains(err.Error(), "9.1") {
		t.Errorf("error = %v, want the server's own words", err)
	}
}

func TestPostgres_binaries_named_by_PG_BIN_must_be_there(t *testing.T) {
	t.Setenv("PG_BIN", "/nowhere")
	_, err := embedded.StartPostgres(t.Context(), newGuard(t), embedded.PostgresConfig{Dir: filepath.Join(throwawayDir(t), "pg")})
	if err == nil || !strings.Contains(err.Error(), "PG_BIN=/nowhere") {
		t.Errorf("error = %v, want it to name PG_BIN", err)
	}
}

func TestRedis_second_start_finds_the_data(t *testing.T) {
	t.Parallel()
	config := embedded.RedisConfig{Dir: filepath.Join(throwawayDir(t), "redis")}
	guard := newGuard(t)

	first := startRedis(t, guard, config)
	if err := client(t, first).Set(t.Context(), "kept", "yes", 0).Err(); err != nil {
		t.Fatal(err)
	}
	// Not stopped: the second start must end the orphan, which writes its data.
	second := startRedis(t, guard, config)
	if got, err := client(t, second).Get(t.Context(), "kept").Result(); err != nil || got != "yes" {
		t.Errorf("kept = %q, %v; want yes", got, err)
	}
	stopped(t, second.Process)
}

func TestRedis_evicts_nothing_and_wants_the_password(t *testing.T) {
	t.Parallel()
	server := startRedis(t, newGuard(t), embedded.RedisConfig{Dir: filepath.Join(throwawayDir(t), "redis"), Throwaway: true})
	policy, err := client(t, server).ConfigGet(t.Context(), "maxmemory-policy").Result()
	if err != nil || policy["maxmemory-policy"] != "noeviction" {
		t.Errorf("maxmemory-policy = %v, %v; want noeviction", policy, err)
	}
	options, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	options.Password = ""
	stranger := redis.NewClient(options)
	defer stranger.Close()
	if err := stranger.Ping(t.Context()).Err(); err == nil {
		t.Error("Redis let a stranger in")
	}
}

func startPostgres(t *testing.T, g *embedded.Guard, c embedded.PostgresConfig) *embedded.Postgres {
	t.Helper()
	server, err := embedded.StartPostgres(t.Context(), g, c)
	if err != nil {
		t.Fatalf("start Postgres: %v", err)
	}
	return server
}

func startRedis(t *testing.T, g *embedded.Guard, c embedded.RedisConfig) *embedded.Redis {
	t.Helper()
	server, err := embedded.StartRedis(t.Context(), g, c)
	if err != nil {
		t.Fatalf("start Redis: %v", err)
	}
	return server
}

func client(t *testing.T, server *embedded.Redis) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(options)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func query(t *testing.T, server *embedded.Postgres, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.URL(embedded.Database))
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func stopped(t *testing.T, p *embedded.Process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := p.Stop(ctx); err != nil {
		t.Fatalf("stop: %v", err)
	}
}
