package tenantstore

import (
	"context"
	"errors"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/signalbox/signalbox/internal/postgres"
)

// Sessions keeps the console's sessions in Postgres.
//
// Every request writes its session back to keep it from idling out, also one
// that is still under way when the user signs out. A session that ended
// therefore stays as a row without data until it would have expired, and what
// is written back later finds it ended.
type Sessions struct{ pool *pgxpool.Pool }

var _ scs.CtxStore = (*Sessions)(nil)

// NewSessions makes a Sessions.
func NewSessions(pool *pgxpool.Pool) *Sessions { return &Sessions{pool: pool} }

// FindCtx implements scs.CtxStore.
func (s *Sessions) FindCtx(ctx context.Context, token string) (data []byte, found bool, err error) {
	err = s.pool.QueryRow(ctx, "SELECT data FROM sessions WHERE token = $1 AND data <> '' AND expiry > now()", token).Scan(&data)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, false, nil
	case err != nil:
		return nil, false, postgres.Error("read session", err)
	}
	return data, true, nil
}

// CommitCtx implements scs.CtxStore. It is done also when the caller has gone.
func (s *Sessions) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	return s.write(ctx, "write session", `INSERT INTO sessions (token, data, expiry) VALUES ($1, $2, $3)
		ON CONFLICT (token) DO UPDATE SET data = excluded.data, expiry = excluded.expiry WHERE sessions.data <> ''`, token, data, expiry)
}

// DeleteCtx implements scs.CtxStore. It is done also when the caller has gone.
func (s *Sessions) DeleteCtx(ctx context.Context, token string) error {
	return s.write(ctx, "end session", "UPDATE sessions SET data = '' WHERE token = $1", token)
}

func (s *Sessions) write(ctx context.Context, doing, sql string, args ...any) error {
	if _, err := s.pool.Exec(context.WithoutCancel(ctx), sql, args...); err != nil {
		return postgres.Error(doing, err)
	}
	return nil
}

// Find implements scs.Store.
func (s *Sessions) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

// Commit implements scs.Store.
func (s *Sessions) Commit(token string, data []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, data, expiry)
}

// Delete implements scs.Store.
func (s *Sessions) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }
