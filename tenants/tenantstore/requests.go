package tenantstore

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

// claimPatience is how long a request waits for another one of its key.
const claimPatience = "5s"

// ClaimRequest implements tenants.Requests. The row of a request that is under way
// is there, but not committed: whoever inserts the same one waits for it. No row of
// another key is touched, so that requests wait for nothing else.
func (s *Store) ClaimRequest(ctx context.Context, r tenants.Request, now time.Time) (*tenants.Request, error) {
	if _, err := s.db.Exec(ctx, "SELECT set_config('lock_timeout', $1, true)", claimPatience); err != nil {
		return nil, postgres.Error("bound the wait for a request", err)
	}
	if _, err := s.db.Exec(ctx, "DELETE FROM idempotent_requests WHERE user_id = $1 AND account_id = $2 AND key = $3 AND expires_at <= $4", r.User, r.Account, r.Key, now); err != nil {
		return nil, postgres.Error("forget past request", inProgress(err))
	}
	tag, err := s.db.Exec(ctx, `INSERT INTO idempotent_requests (user_id, account_id, key, request_hash, expires_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (user_id, account_id, key) DO NOTHING`, r.User, r.Account, r.Key, r.Hash, r.Expires)
	if err != nil {
		return nil, postgres.Error("claim request", inProgress(err))
	}
	if _, err := s.db.Exec(ctx, "SELECT set_config('lock_timeout', '0', true)"); err != nil {
		return nil, postgres.Error("unbound the wait", err)
	}
	if tag.RowsAffected() > 0 {
		return nil, nil
	}
	former, err := one(ctx, s, "request", func(row pgx.CollectableRow) (f tenants.Request, err error) {
		err = row.Scan(&f.User, &f.Account, &f.Key, &f.Hash, &f.Sealed, &f.Expires)
		return f, err
	}, `SELECT user_id, account_id, key, request_hash, answer, expires_at FROM idempotent_requests
		WHERE user_id = $1 AND account_id = $2 AND key = $3`, r.User, r.Account, r.Key)
	if err != nil {
		return nil, err
	}
	return &former, nil
}

// inProgress is for whoever waited too long for a request of the same key.
func inProgress(err error) error {
	if !postgres.WaitedTooLong(err) {
		return err
	}
	e := fault.Wrap(fault.Conflict, "A request with this Idempotency-Key is still under way.", err).WithCode("idempotency_in_progress")
	e.RetryAfter = time.Second
	return e
}

// CountRequests implements tenants.Requests.
func (s *Store) CountRequests(ctx context.Context, u tenants.UserID, now time.Time) (int, error) {
	return one(ctx, s, "requests", pgx.RowTo[int], "SELECT count(*) FROM idempotent_requests WHERE user_id = $1 AND expires_at > $2", u, now)
}

// AnswerRequest implements tenants.Requests.
func (s *Store) AnswerRequest(ctx context.Context, r tenants.Request) error {
	return s.exec(ctx, "request", "UPDATE idempotent_requests SET answer = $4 WHERE user_id = $1 AND account_id = $2 AND key = $3", r.User, r.Account, r.Key, r.Sealed)
}

// DropRequest implements tenants.Requests.
func (s *Store) DropRequest(ctx context.Context, r tenants.Request) error {
	err := s.exec(ctx, "request", "DELETE FROM idempotent_requests WHERE user_id = $1 AND account_id = $2 AND key = $3", r.User, r.Account, r.Key)
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Kind == fault.NotFound {
		return nil // gone with its user
	}
	return err
}

// LockTenant implements tenants.Registry.
func (s *Store) LockTenant(ctx context.Context, t tenants.ID) error {
	_, err := one(ctx, s, "tenant", pgx.RowTo[tenants.ID], "SELECT id FROM tenants WHERE id = $1 AND status <> 'deleted' FOR UPDATE", t)
	return err
}
