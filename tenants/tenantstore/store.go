// Package tenantstore keeps people and tenants in Postgres. Every statement
// names the tenant, account or user whose rows it touches.
package tenantstore

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

// Queue takes jobs in the transaction that makes them necessary.
type Queue interface {
	InsertTx(ctx context.Context, tx pgx.Tx, args river.JobArgs, opts *river.InsertOpts) error
}

// Store is a tenants.Store on Postgres. It is safe for concurrent use; the store
// that InTx passes on is for one goroutine.
type Store struct {
	db    postgres.DB
	begin postgres.Beginner
	tx    pgx.Tx // nil outside of a transaction
	queue Queue
	// audits are those of the transaction so far; nil outside of one.
	audits *[]queuedAudit
}

var _ tenants.Store = (*Store)(nil)

// New makes a Store that queues its jobs with queue.
func New(pool *pgxpool.Pool, queue Queue) *Store {
	joining := postgres.Joining{Pool: pool}
	return &Store{db: joining, begin: joining, queue: queue}
}

// Unit implements tenants.Store.
func (s *Store) Unit(ctx context.Context, f func(context.Context) error) error {
	if joining, ok := s.db.(postgres.Joining); ok {
		return joining.Unit(ctx, f)
	}
	return f(ctx) // this store is one of a transaction already
}

// AfterCommit implements tenants.Store.
func (s *Store) AfterCommit(ctx context.Context, f func(context.Context)) {
	postgres.AfterCommit(ctx, f)
}

// InTx implements tenants.Store. Within a transaction it makes a savepoint. The
// check of a guarded context comes first. Audits are written last: chains have rows
// that everybody who writes to them waits for, so they are locked for as short as can
// be, in one order, and nothing is waited for while they are.
func (s *Store) InTx(ctx context.Context, f func(tenants.Store) error) error {
	return postgres.InTx(ctx, s.begin, func(tx pgx.Tx) error {
		if err := tenants.CheckGuard(ctx, postgres.Within(ctx, tx)); err != nil {
			return err
		}
		within := &Store{db: tx, begin: tx, tx: tx, queue: s.queue, audits: new([]queuedAudit)}
		if err := f(within); err != nil {
			return err
		}
		if s.audits != nil {
			*s.audits = append(*s.audits, *within.audits...)
			return nil
		}
		return within.writeAudits(ctx)
	})
}

// alonePoll is how often Alone asks for its turn.
const alonePoll = 100 * time.Millisecond

// Alone implements tenants.Store. It asks for the lock again and again instead of
// waiting in the database: who waits holds no connection.
func (s *Store) Alone(ctx context.Context, name string, f func(context.Context) error) error {
	for {
		turn := false
		err := postgres.InTx(ctx, s.begin, func(tx pgx.Tx) error {
			if err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))", "alone:"+name).Scan(&turn); err != nil {
				return postgres.Error("lock "+name, err)
			}
			if !turn {
				return nil
			}
			return f(ctx)
		})
		if turn || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fault.Wrap(fault.Unavailable, "Somebody else changes the same just now. Try again in a moment.", ctx.Err())
		case <-time.After(alonePoll):
		}
	}
}

// insertJob queues a job in the transaction under way, or in one of its own.
func (s *Store) insertJob(ctx context.Context, args river.JobArgs) error {
	insert := func(tx pgx.Tx) error {
		if err := s.queue.InsertTx(ctx, tx, args, nil); err != nil {
			return postgres.Error("queue "+args.Kind(), err)
		}
		return nil
	}
	if s.tx != nil {
		return insert(s.tx)
	}
	return postgres.InTx(ctx, s.begin, insert)
}

// exec runs a statement that must touch a row; what names the thing in the
// message when it touches none.
func (s *Store) exec(ctx context.Context, what, sql string, args ...any) error {
	tag, err := s.db.Exec(ctx, sql, args...)
	if err != nil {
		return postgres.Error("write "+what, conflict(err))
	}
	if tag.RowsAffected() == 0 {
		return notFound(what)
	}
	return nil
}

// one reads exactly one row.
func one[T any](ctx context.Context, s *Store, what string, scan pgx.RowToFunc[T], sql string, args ...any) (T, error) {
	rows, _ := s.db.Query(ctx, sql, args...) // its error comes with the rows
	v, err := pgx.CollectExactlyOneRow(rows, scan)
	if errors.Is(err, pgx.ErrNoRows) {
		return v, notFound(what)
	}
	if err != nil {
		return v, postgres.Error("read "+what, err)
	}
	return v, nil
}

// many reads all rows.
func many[T any](ctx context.Context, s *Store, what string, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	rows, _ := s.db.Query(ctx, sql, args...) // its error comes with the rows
	v, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, postgres.Error("read "+what, err)
	}
	return v, nil
}

func notFound(what string) error {
	return fault.New(fault.NotFound, "There is no such "+what+".")
}

// taken says, by constraint, what is taken.
var taken = map[string]struct{ code, message string }{
	"users_email_key":     {"email_taken", "There is already a user with this email address."},
	"identities_subject":  {"identity_taken", "This identity is linked to a user already."},
	"invitations_address": {"already_invited", "This address is invited already: send that invitation again, or withdraw it."},
	"operators_email":     {"operator_taken", "There is an operator with this address already."},
	"members_pkey":        {"already_member", "This user is a member of the account."},
	"tenants_slug":        {"slug_taken", "This slug is taken."},
	"tenant_hosts_pkey":   {"host_taken", "This host belongs to a tenant already."},

	"tenant_domains_domain":   {"domain_exists", "The tenant has this domain already."},
	"tenant_domains_verified": {"domain_taken", "This domain was verified for another tenant just now."},
}

// conflict turns the violation of a known unique constraint into a Conflict.
func conflict(err error) error {
	if t, ok := taken[postgres.UniqueViolation(err)]; ok {
		return fault.Wrap(fault.Conflict, t.message, err).WithCode(t.code)
	}
	return err
}
