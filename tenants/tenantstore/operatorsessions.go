package tenantstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

// operatorIdle is how long an operator's session lasts without a request.
const operatorIdle = 15 * time.Minute

// OperatorSessions keeps the sessions of operators in a table of their own, as Sessions
// does those of users: neither's cookie means anything to the other.
type OperatorSessions struct{ pool *pgxpool.Pool }

var _ scs.CtxStore = (*OperatorSessions)(nil)

// NewOperatorSessions makes an OperatorSessions.
func NewOperatorSessions(pool *pgxpool.Pool) *OperatorSessions { return &OperatorSessions{pool: pool} }

// FindCtx implements scs.CtxStore.
func (s *OperatorSessions) FindCtx(ctx context.Context, token string) (data []byte, found bool, err error) {
	var seen time.Duration
	err = s.pool.QueryRow(ctx, `SELECT data, now() - seen_at FROM operator_sessions
		WHERE token = $1 AND data <> '' AND expiry > now() AND seen_at > now() - $2::interval`, token, operatorIdle).Scan(&data, &seen)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, false, nil
	case err != nil:
		return nil, false, postgres.Error("read session", err)
	case seen < sessionSeenEvery:
		return data, true, nil
	}
	return data, true, s.write(ctx, "note session's use", "UPDATE operator_sessions SET seen_at = now() WHERE token = $1", token)
}

// CommitCtx implements scs.CtxStore. It is done also when the caller has gone.
func (s *OperatorSessions) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	_, values, err := scs.GobCodec{}.Decode(data)
	if err != nil {
		return fmt.Errorf("read session's values: %w", err)
	}
	operator, _ := values[tenants.SessionOperator].(string)
	return s.write(ctx, "write session", `
		INSERT INTO operator_sessions (token, data, expiry, operator_id, seen_at) VALUES ($1, $2, $3, nullif($4, ''), now())
		ON CONFLICT (token) DO UPDATE SET data = excluded.data, expiry = excluded.expiry WHERE operator_sessions.data <> ''`, token, data, expiry, operator)
}

// DeleteCtx implements scs.CtxStore. It is done also when the caller has gone.
func (s *OperatorSessions) DeleteCtx(ctx context.Context, token string) error {
	return s.write(ctx, "end session", "UPDATE operator_sessions SET data = '' WHERE token = $1", token)
}

func (s *OperatorSessions) write(ctx context.Context, doing, sql string, args ...any) error {
	if _, err := s.pool.Exec(context.WithoutCancel(ctx), sql, args...); err != nil {
		return postgres.Error(doing, err)
	}
	return nil
}

// Find implements scs.Store.
func (s *OperatorSessions) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

// Commit implements scs.Store.
func (s *OperatorSessions) Commit(token string, data []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, data, expiry)
}

// Delete implements scs.Store.
func (s *OperatorSessions) Delete(token string) error {
	return s.DeleteCtx(context.Background(), token)
}
