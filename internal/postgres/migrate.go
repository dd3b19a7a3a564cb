package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// How the lock is asked for: each second, for five minutes, which is longer
// than any of our migrations may take.
const (
	lockPollSeconds  = 1
	lockPollAttempts = 300
	unlockTimeout    = 5 * time.Second
)

// How long a database is waited for that can't be reached: processes may start in
// any order, but one with a wrong address has to say so by its end.
const (
	connectPatience = 2 * time.Minute
	connectPause    = time.Second
)

// connect returns a connection, as soon as there is one. A database that refuses
// (credentials, no such database) is not waited for.
func connect(ctx context.Context, db *sql.DB, logger *slog.Logger) (*sql.Conn, error) {
	for deadline := time.Now().Add(connectPatience); ; {
		conn, err := db.Conn(ctx)
		var refused *pgconn.PgError
		switch {
		case err == nil:
			return conn, nil
		case errors.As(err, &refused) && refused.Code != codeStarting, time.Now().After(deadline):
			return nil, err
		}
		logger.WarnContext(ctx, "database can't be reached, trying again", "error", err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(connectPause):
		}
	}
}

// codeStarting is cannot_connect_now: the server is starting up or shutting down.
const codeStarting = "57P03"

// Migrate brings the database to the newest version of files and of the job
// queue's own tables, and puts rows of accounts under the policies of secure. Any number of processes may do so at once: one works, the
// others wait for its lock and find nothing left to do. Migrations only go
// forward. It uses connections of its own, whose statements may take long.
func Migrate(ctx context.Context, url string, files fs.FS, logger *slog.Logger) (err error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return errMalformedURL
	}
	defer pool.Close()
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close() //nolint:errcheck // the pool's connections are not its own
	conn, err := connect(ctx, db, logger)
	if err != nil {
		return fmt.Errorf("connect to migrate: %w", err)
	}
	defer conn.Close() //nolint:errcheck // goes back to the pool

	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(lockPollSeconds, lockPollAttempts))
	if err != nil {
		return fmt.Errorf("make migration lock: %w", err)
	}
	if err := locker.SessionLock(ctx, conn); err != nil {
		return fmt.Errorf("take migration lock: %w", err)
	}
	defer func() {
		// Also when ctx has ended: the connection goes back to the pool.
		unlock, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockTimeout)
		defer cancel()
		if unlockErr := locker.SessionUnlock(unlock, conn); unlockErr != nil && err == nil {
			err = fmt.Errorf("release migration lock: %w", unlockErr)
		}
	}()

	if err := withConn(conn, func(c *pgx.Conn) error { return makeRole(ctx, c) }); err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	for _, r := range results {
		logger.InfoContext(ctx, "migration applied", "file", r.Source.Path, "duration", r.Duration)
	}

	jobs, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("make job queue migrator: %w", err)
	}
	if _, err := jobs.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrate job queue: %w", err)
	}
	return withConn(conn, func(c *pgx.Conn) error { return secure(ctx, c) })
}

// withConn runs f with the connection that conn stands for.
func withConn(conn *sql.Conn, f func(*pgx.Conn) error) error {
	return conn.Raw(func(driver any) error { return f(driver.(*stdlib.Conn).Conn()) })
}
