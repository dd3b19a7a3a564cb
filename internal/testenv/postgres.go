package testenv

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/embedded"
)

// postgres is the one server of the test binary.
var postgres = sync.OnceValues(func() (*embedded.Postgres, error) {
	env, err := shared()
	if err != nil {
		return nil, err
	}
	return embedded.StartPostgres(context.Background(), env.guard, embedded.PostgresConfig{Dir: env.postgresDir(), Throwaway: true})
})

// databases counts the databases made, to name them.
var databases atomic.Int64

// EmptyPostgres returns the URL of a fresh database without any tables, for
// tests of migrations. It is the test's own.
func EmptyPostgres(t testing.TB) string {
	t.Helper()
	return newDatabase(t, "template0")
}

// newDatabase makes a database that is dropped at the end of the test.
func newDatabase(t testing.TB, template string) string {
	t.Helper()
	server, err := postgres()
	if err != nil {
		t.Fatalf("start Postgres: %v", err)
	}
	name := fmt.Sprintf("test_%d", databases.Add(1))
	if err := execute(t.Context(), server, "CREATE DATABASE "+name+" TEMPLATE "+template); err != nil {
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
