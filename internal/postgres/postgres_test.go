package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/internal/testenv"
)

func TestError_tells_what_may_work_later_from_what_never_does(t *testing.T) {
	t.Parallel()
	pool, err := postgres.Open(t.Context(), testenv.Postgres(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for name, row := range map[string]struct {
		ctx  context.Context
		sql  string
		kind fault.Kind
	}{
		"a statement that takes too long": {t.Context(), "SET statement_timeout = 20; SELECT pg_sleep(60)", fault.Unavailable},
		"a request that takes too long":   {soon, "SELECT pg_sleep(60)", fault.Unavailable},
		"a value out of range":            {t.Context(), "SELECT 1 / 0", fault.Internal},
		"a mistake of ours":               {t.Context(), "SELEKT", fault.Internal},
	} {
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = conn.Conn().PgConn().Exec(row.ctx, row.sql).ReadAll()
		_ = conn.Conn().Close(t.Context()) // its settings go with it
		conn.Release()
		if got := fault.KindOf(postgres.Error("test", err)); err == nil || got != row.kind {
			t.Errorf("%s is %s, want %s: %v", name, got, row.kind, err)
		}
	}
	for code, want := range map[string]fault.Kind{"25P03": fault.Unavailable, "40P01": fault.Unavailable, "57P01": fault.Unavailable, "23505": fault.Internal} {
		if got := fault.KindOf(postgres.Error("test", &pgconn.PgError{Code: code})); got != want {
			t.Errorf("%s is %s, want %s", code, got, want)
		}
	}
	if !postgres.Unacceptable(errors.Join(&pgconn.PgError{Code: "22P05"})) || !postgres.Unacceptable(&pgconn.PgError{Code: "54000"}) || postgres.Unacceptable(&pgconn.PgError{Code: "40P01"}) || postgres.Unacceptable(errors.New("22")) {
		t.Error("Unacceptable is for data exceptions and limits alone")
	}
}

// A process that is stopped within a transaction lets go of what it has locked.
func TestOpen_ends_transactions_that_say_nothing(t *testing.T) {
	t.Parallel()
	pool, err := postgres.Open(t.Context(), testenv.Postgres(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var bound string
	if err := pool.QueryRow(t.Context(), "SHOW idle_in_transaction_session_timeout").Scan(&bound); err != nil || bound != "20s" {
		t.Errorf("the bound is %q, %v", bound, err)
	}
	if _, err := pool.Exec(t.Context(), "CREATE TABLE heads (n int); INSERT INTO heads VALUES (0)"); err != nil {
		t.Fatal(err)
	}
	err = postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		// In one message: there is no pause in which it could end too early.
		if _, err := tx.Exec(t.Context(), "UPDATE heads SET n = 1; SET LOCAL idle_in_transaction_session_timeout = 50"); err != nil {
			return err
		}
		if _, err := pool.Exec(t.Context(), "UPDATE heads SET n = n + 2"); err != nil { // waits for the end of the other
			t.Errorf("who waits for it: %v", err)
		}
		_, err := tx.Exec(t.Context(), "SELECT")
		return err
	})
	if fault.KindOf(err) != fault.Unavailable || err == nil {
		t.Errorf("the one that said nothing ended with %v", err)
	}
	var n int
	if err := pool.QueryRow(t.Context(), "SELECT n FROM heads").Scan(&n); err != nil || n != 2 {
		t.Errorf("n is %d, %v; want that of the one that waited, 2", n, err)
	}
}
