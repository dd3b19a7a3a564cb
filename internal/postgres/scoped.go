package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/signalbox/signalbox/internal/scope"
)

// Role is what statements of stores run as. It owns nothing, may change nothing that is
// append-only, and sees the rows that the scope of their context has, by the policies of
// Secure. It can't log in: whoever does must be allowed to become it.
const Role = "signalbox_app"

// Scoped is a pool whose statements run as Role, with the scope of their context. Both
// are set for their transaction alone and in the same round trip, so that a connection
// takes nothing of them along.
type Scoped struct{ Pool *pgxpool.Pool }

var (
	_ DB       = Scoped{}
	_ Beginner = Scoped{}
)

// The settings are read by the policies of Secure. An account's user is a member of it
// by a policy that needs no accounts, so that these can be found.
const (
	setUser = `SELECT set_config('role', '` + Role + `', true), set_config('signalbox.user', $1, true), set_config('signalbox.system', $2, true),
		set_config('signalbox.accounts', '', true)`
	setAccounts = `SELECT set_config('signalbox.accounts', concat_ws(',', nullif($3, ''),
		(SELECT string_agg(account_id, ',') FROM members WHERE user_id = $1 AND ($2 = '' OR account_id = $2))), true)`
)

// queue queues what puts s in force, and returns how many statements that are.
func queue(b *pgx.Batch, s scope.Scope) int {
	b.Queue(setUser, s.User, string(s.System))
	if s.System != "" || s.User == "" && s.With == "" {
		return 1
	}
	b.Queue(setAccounts, s.User, s.Account, s.With)
	return 2
}

// begun sends a statement behind its scope. The caller closes what comes back.
func (s Scoped) begun(ctx context.Context, sql string, args []any) (pgx.BatchResults, error) {
	var b pgx.Batch
	before := queue(&b, scope.Of(ctx))
	b.Queue(sql, args...)
	results := s.Pool.SendBatch(ctx, &b)
	for range before {
		if _, err := results.Exec(); err != nil {
			return results, unscoped(err)
		}
	}
	return results, nil
}

// unscoped adds what to do about it to the error of a statement that sets a scope.
func unscoped(err error) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "42501" {
		return fmt.Errorf("%w: the database's user must be allowed to become the role %s: GRANT %s TO it", err, Role, Role)
	}
	return err
}

// Exec implements DB.
func (s Scoped) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	results, err := s.begun(ctx, sql, args)
	var tag pgconn.CommandTag
	if err == nil {
		tag, err = results.Exec()
	}
	if closed := results.Close(); err == nil {
		err = closed
	}
	return tag, err
}

// Query implements DB.
func (s Scoped) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	results, err := s.begun(ctx, sql, args)
	if err != nil {
		_ = results.Close() // the first error counts
		return failedRows{err: err}, err
	}
	rows, err := results.Query()
	return &lastRows{Rows: rows, results: results}, err
}

// QueryRow implements DB.
func (s Scoped) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, _ := s.Query(ctx, sql, args...) // its error comes with the row
	return oneRow{rows}
}

// Begin implements Beginner.
func (s Scoped) Begin(ctx context.Context) (pgx.Tx, error) {
	return s.BeginTx(ctx, pgx.TxOptions{})
}

// BeginTx starts a transaction. Its statements have the scope of their own context.
func (s Scoped) BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error) {
	tx, err := s.Pool.BeginTx(ctx, o)
	if err != nil {
		return nil, err
	}
	return &scopedTx{Tx: tx, in: new(inForce)}, nil
}

// inForce is the scope of a transaction, its savepoints included.
type inForce struct {
	scope scope.Scope
	known bool
}

// scopedTx is a transaction whose statements have the scope of their context.
type scopedTx struct {
	pgx.Tx
	in *inForce
}

func (t *scopedTx) ensure(ctx context.Context) error {
	s := scope.Of(ctx)
	if t.in.known && t.in.scope == s {
		return nil
	}
	var b pgx.Batch
	queue(&b, s)
	t.in.known = false
	if err := t.Tx.SendBatch(ctx, &b).Close(); err != nil {
		return unscoped(err)
	}
	t.in.scope, t.in.known = s, true
	return nil
}

// waited has the accounts of the user looked up again after a statement that takes a
// lock: whom it waited for may have changed them.
func (t *scopedTx) waited(sql string) {
	if strings.Contains(sql, "FOR UPDATE") {
		t.in.known = false
	}
}

// Begin implements pgx.Tx: it makes a savepoint.
func (t *scopedTx) Begin(ctx context.Context) (pgx.Tx, error) {
	tx, err := t.Tx.Begin(ctx)
	if err != nil {
		return nil, err
	}
	return &scopedTx{Tx: tx, in: t.in}, nil
}

// Rollback implements pgx.Tx. What was set since the savepoint is as it was before.
func (t *scopedTx) Rollback(ctx context.Context) error {
	t.in.known = false
	return t.Tx.Rollback(ctx)
}

// Exec implements pgx.Tx.
func (t *scopedTx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := t.ensure(ctx); err != nil {
		return pgconn.CommandTag{}, err
	}
	defer t.waited(sql)
	return t.Tx.Exec(ctx, sql, args...)
}

// Query implements pgx.Tx.
func (t *scopedTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := t.ensure(ctx); err != nil {
		return failedRows{err: err}, err
	}
	defer t.waited(sql)
	return t.Tx.Query(ctx, sql, args...) //nolint:sqlclosecheck // the caller's
}

// QueryRow implements pgx.Tx.
func (t *scopedTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if err := t.ensure(ctx); err != nil {
		return failedRows{err: err}
	}
	defer t.waited(sql)
	return t.Tx.QueryRow(ctx, sql, args...)
}

// SendBatch implements pgx.Tx.
func (t *scopedTx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if err := t.ensure(ctx); err != nil {
		return failedBatch{err}
	}
	return t.Tx.SendBatch(ctx, b)
}

// CopyFrom implements pgx.Tx.
func (t *scopedTx) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, rows pgx.CopyFromSource) (int64, error) {
	if err := t.ensure(ctx); err != nil {
		return 0, err
	}
	return t.Tx.CopyFrom(ctx, table, columns, rows)
}

// lastRows are those of the last statement of a batch, which ends with them.
type lastRows struct {
	pgx.Rows
	results pgx.BatchResults
	ended   bool
	err     error // of the end
}

// Close implements pgx.Rows.
func (r *lastRows) Close() {
	r.Rows.Close()
	if !r.ended {
		r.ended = true
		r.err = r.results.Close()
	}
}

// Next implements pgx.Rows.
func (r *lastRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.Close()
	return false
}

// Err implements pgx.Rows.
func (r *lastRows) Err() error {
	if err := r.Rows.Err(); err != nil {
		return err
	}
	return r.err
}

// oneRow is the first of rows.
type oneRow struct{ rows pgx.Rows }

// Scan implements pgx.Row.
func (r oneRow) Scan(dest ...any) error {
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}

// failedRows are those of a statement that was never sent.
type failedRows struct {
	pgx.Rows
	err error
}

func (failedRows) Close()                            {}
func (failedRows) Next() bool                        { return false }
func (r failedRows) Err() error                      { return r.err }
func (r failedRows) Scan(...any) error               { return r.err }
func (failedRows) CommandTag() (t pgconn.CommandTag) { return t }

// failedBatch is that of statements that were never sent.
type failedBatch struct{ err error }

func (b failedBatch) Exec() (t pgconn.CommandTag, err error) { return t, b.err }
func (b failedBatch) Query() (pgx.Rows, error)               { return failedRows{err: b.err}, b.err }
func (b failedBatch) QueryRow() pgx.Row                      { return failedRows{err: b.err} }
func (b failedBatch) Close() error                           { return b.err }
func (failedBatch) Tx() pgx.Tx                               { return nil }
