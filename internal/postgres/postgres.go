// Package postgres opens pools, runs transactions and migrates the database.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/puddle/v2"

	"github.com/signalbox/signalbox/internal/fault"
)

// The bounds of a pool. A statement that takes longer than statementTimeout is
// ended by the server. So is a session that says nothing for idleTimeout within a
// transaction: the process may be stopped, and what it has locked others wait for.
const (
	maxConnections   = 20
	connectTimeout   = 5 * time.Second
	statementTimeout = 15 * time.Second
	idleTimeout      = 20 * time.Second
)

// errMalformedURL stands for the parser's error, whose text may hold the password.
var errMalformedURL = errors.New("the database URL is malformed")

// DB runs statements: a pool or a transaction.
type DB interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Beginner starts transactions: a pool, or a transaction for a nested one.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Open makes a pool and checks that the database answers. Times come and go in
// UTC. The tracer may be nil.
func Open(ctx context.Context, url string, tracer pgx.QueryTracer) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errMalformedURL
	}
	config.MaxConns = maxConnections
	config.ConnConfig.ConnectTimeout = connectTimeout
	config.ConnConfig.Tracer = tracer
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	config.ConnConfig.RuntimeParams["statement_timeout"] = fmt.Sprint(statementTimeout.Milliseconds())
	config.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = fmt.Sprint(idleTimeout.Milliseconds())
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reach database: %w", err)
	}
	return pool, nil
}

// InTx runs f in a transaction: committed when f returns nil, else rolled back.
func InTx(ctx context.Context, db Beginner, f func(pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, db, f)
	if _, known := errors.AsType[*fault.Error](err); err == nil || known {
		return err
	}
	return Error("transaction", err)
}

// Snapshot runs f in a transaction that only reads, and sees the database as it is at
// one moment.
func Snapshot(ctx context.Context, db Scoped, f func(pgx.Tx) error) error {
	return InTx(ctx, snapshots{db}, f)
}

type snapshots struct{ Scoped }

// Begin implements Beginner.
func (s snapshots) Begin(ctx context.Context) (pgx.Tx, error) {
	return s.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
}

// Error adds what was being done to the error of a statement. When the database
// can't be reached it is a fault of kind Unavailable.
func Error(doing string, err error) error {
	_, refused := errors.AsType[*pgconn.ConnectError](err)
	_, network := errors.AsType[net.Error](err)
	if refused || network || errors.Is(err, puddle.ErrClosedPool) || errors.Is(err, io.ErrUnexpectedEOF) || pgconn.SafeToRetry(err) || gaveUp(err) {
		err = fault.Wrap(fault.Unavailable, "This is not possible right now. Please try again.", err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// gaveUp tells whether the server ended a statement for no fault of the
// statement's: class 57 is "operator intervention", which has the end of the
// server and statementTimeout; 25P03 is idleTimeout; 40001 and 40P01 are for who lost
// against others.
func gaveUp(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (strings.HasPrefix(e.Code, "57") || e.Code == "25P03" || e.Code == "40001" || e.Code == "40P01")
}

// Unacceptable tells whether the values of a statement can't be kept, now or
// later: class 22 is "data exception", class 54 "program limit exceeded", which is a
// value that an index has no room for.
func Unacceptable(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (strings.HasPrefix(e.Code, "22") || strings.HasPrefix(e.Code, "54"))
}

// WaitedTooLong tells whether a statement waited for a lock longer than lock_timeout.
func WaitedTooLong(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "55P03"
}

// UniqueViolation returns the name of the unique constraint that err broke, or "".
func UniqueViolation(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "23505" {
		return e.ConstraintName
	}
	return ""
}
