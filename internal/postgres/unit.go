package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// unit is a transaction that everything done with its context is part of.
type unit struct {
	tx     pgx.Tx
	commit []func(context.Context)
}

type unitKey struct{}

func unitOf(ctx context.Context) *unit {
	u, _ := ctx.Value(unitKey{}).(*unit)
	return u
}

// Joining is a pool whose statements and transactions join the unit that their
// context carries; without one it is Scoped. A unit has one connection:
// what is done with its context is done by one goroutine.
type Joining struct{ Pool *pgxpool.Pool }

var (
	_ DB       = Joining{}
	_ Beginner = Joining{}
)

// Exec implements DB.
func (j Joining) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return j.db(ctx).Exec(ctx, sql, args...)
}

// Query implements DB.
func (j Joining) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return j.db(ctx).Query(ctx, sql, args...)
}

// QueryRow implements DB.
func (j Joining) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return j.db(ctx).QueryRow(ctx, sql, args...)
}

// Begin implements Beginner. In a unit it makes a savepoint.
func (j Joining) Begin(ctx context.Context) (pgx.Tx, error) {
	if u := unitOf(ctx); u != nil {
		return u.tx.Begin(ctx)
	}
	return Scoped(j).Begin(ctx)
}

func (j Joining) db(ctx context.Context) DB {
	if u := unitOf(ctx); u != nil {
		return u.tx
	}
	return Scoped(j)
}

// Unit runs f with a context that makes all of j's statements one transaction:
// committed when f returns nil, else rolled back. Then what AfterCommit was given
// runs. A unit within a unit is part of it.
func (j Joining) Unit(ctx context.Context, f func(context.Context) error) error {
	if unitOf(ctx) != nil {
		return f(ctx)
	}
	u := new(unit)
	err := InTx(ctx, Scoped(j), func(tx pgx.Tx) error {
		u.tx = tx
		return f(context.WithValue(ctx, unitKey{}, u))
	})
	if err != nil {
		return err
	}
	for _, after := range u.commit {
		after(ctx)
	}
	return nil
}

// Within returns ctx as part of the transaction tx.
func Within(ctx context.Context, tx pgx.Tx) context.Context {
	return context.WithValue(ctx, unitKey{}, &unit{tx: tx})
}

// AfterCommit runs f once the unit of ctx is committed, at once outside of one, and
// never when it is rolled back.
func AfterCommit(ctx context.Context, f func(context.Context)) {
	if u := unitOf(ctx); u != nil {
		u.commit = append(u.commit, f)
		return
	}
	f(ctx)
}
