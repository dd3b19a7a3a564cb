package testenv

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/embedded"
	migrator "github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/migrations"
)

// template is the migrated database that tests get copies of.
const template = "migrated"

// postgres is the one server of the test binary.
var postgres = sync.OnceValues(func() (*embedded.Postgres, error) {
	env, err := shared()
	if err != nil {
		return nil, err
	}
	return embedded.StartPostgres(context.Background(), env.guard, embedded.PostgresConfig{Dir: env.postgresDir(), Throwaway: true, Package: packaged()})
})

// packaged is where npm puts Postgres on machines that have none: tools/pg of
// this checkout.
func packaged() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return ""
	}
	return filepath.Join(filepath.Dir(file), "..", "..", "tools", "pg")
}

// migrated makes the template; a copy takes a tenth of the time of migrating.
var migrated = sync.OnceValue(func() error {
	server, err := postgres()
	if err != nil {
		return err
	}
	if err := execute(context.Background(), server, "CREATE DATABASE "+template+" TEMPLATE template0"); err != nil {
		return err
	}
	return migrator.Migrate(context.Background(), server.URL(template), migrations.Files, slog.New(slog.DiscardHandler))
})

// databases counts the databases made, to name them.
var databases atomic.Int64

// Postgres returns the URL of a fresh database with all migrations applied. It
// is the test's own.
func Postgres(t testing.TB) string {
	t.Helper()
	if err := migrated(); err != nil {
		t.Fatalf("migrate the template database: %v", err)
	}
	return newDatabase(t, template)
}

// EmptyPostgres returns the URL of a fresh database without any tables, for
// tests of migrations. It is the test's own.
func EmptyPostgres(t testing.TB) string {
	t.Helper()
	return newDatabase(t, "template0")
}

// StartPostgres starts a server of the test's own, with an empty database, and returns
// the URL of that and the server's directory, where its data, its write-ahead log and its
// log are. It takes a second.
func StartPostgres(t testing.TB) (url, dir string) {
	t.Helper()
	env, err := shared()
	if err != nil {
		t.Fatalf("start test environment: %v", err)
	}
	if dir, err = os.MkdirTemp(env.dir, "postgres-"); err != nil {
		t.Fatalf("make Postgres directory: %v", err)
	}
	server, err := embedded.StartPostgres(context.WithoutCancel(t.Context()), env.guard, embedded.PostgresConfig{Dir: dir, Throwaway: true, Package: packaged()})
	if err != nil {
		t.Fatalf("start Postgres: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Errorf("stop Postgres: %v", err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove Postgres directory: %v", err)
		}
	})
	return server.URL(embedded.Database), dir
}

// newDatabase makes a database that is dropped at the end of the test.
func newDatabase(t testing.TB, from string) string {
	t.Helper()
	server, err := postgres()
	if err != nil {
		t.Fatalf("start Postgres: %v", err)
	}
	name := fmt.Sprintf("test_%d", databases.Add(1))
	if err := execute(t.Context(), server, "CREATE DATABASE "+name+" TEMPLATE "+from); err != nil {
		t.Fatalf("make test database: %v", err)
	}
	t.Cleanup(func() {
		if err := execute(context.Background(), server, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop test database: %v", err)
		}
	})
	return server.URL(name)
}

// execute runs one statement on a connection of its own; the names in it are
// this package's.
func execute(ctx context.Context, server *embedded.Postgres, sql string) error {
	conn, err := pgx.Connect(ctx, server.URL(embedded.Database))
	if err != nil {
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	defer conn.Close(ctx) //nolint:errcheck // the statement's own error counts
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("execute: %w", err)
	}
	return nil
}
