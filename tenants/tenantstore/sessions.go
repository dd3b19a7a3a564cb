package tenantstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

// How long a session lasts without a request, and how often a request is noted.
const (
	sessionIdle       = 30 * time.Minute
	sessionIdleLong   = 14 * 24 * time.Hour // when it is remembered
	sessionSeenEvery  = time.Minute
	maxSessionDevices = 200 // characters of a device that are kept
)

// Sessions keeps the console's sessions in Postgres. A session idles out by
// itself: reading one notes, at most once a minute, that it was used.
//
// A session that ended stays as a row without data until it would have expired,
// so that a request still under way can't write it back.
type Sessions struct{ pool postgres.Scoped }

var _ scs.CtxStore = (*Sessions)(nil)

// NewSessions makes a Sessions.
func NewSessions(pool *pgxpool.Pool) *Sessions { return &Sessions{pool: postgres.Scoped{Pool: pool}} }

// alive are the sessions that didn't end.
const alive = `data <> '' AND expiry > now() AND seen_at > now() - CASE WHEN remembered THEN $2::interval ELSE $3::interval END`

// FindCtx implements scs.CtxStore.
func (s *Sessions) FindCtx(ctx context.Context, token string) (data []byte, found bool, err error) {
	var seen time.Duration
	err = s.pool.QueryRow(ctx, "SELECT data, now() - seen_at FROM sessions WHERE token = $1 AND "+alive, token, sessionIdleLong, sessionIdle).Scan(&data, &seen)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, false, nil
	case err != nil:
		return nil, false, postgres.Error("read session", err)
	case seen < sessionSeenEvery:
		return data, true, nil
	}
	return data, true, s.write(ctx, "note session's use", "UPDATE sessions SET seen_at = now() WHERE token = $1", token)
}

// CommitCtx implements scs.CtxStore. It is done also when the caller has gone. A session
// of a user begins only while the user has the password with which it was proved who it
// is: a sign-in that was under way when the password changed would outlive the change.
func (s *Sessions) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	_, values, err := scs.GobCodec{}.Decode(data)
	if err != nil {
		return fmt.Errorf("read session's values: %w", err)
	}
	text := func(key string) string {
		v, _ := values[key].(string)
		return v
	}
	user, pending := text(tenants.SessionUser), text(tenants.SessionPending)
	if user == "" {
		user = pending
	}
	id := text(tenants.SessionID)
	if id == "" {
		id = token // of nobody: it is never shown
	}
	remembered, _ := values[tenants.SessionRemembered].(bool)
	device := []rune(text(tenants.SessionDevice))
	password, _ := values[tenants.SessionPassword].(int64)
	ctx = context.WithoutCancel(ctx)
	var there, begun bool
	// The lock waits for a change of the password that is under way, which then ends
	// the sessions that it sees: this one, or this one isn't begun.
	err = s.pool.QueryRow(ctx, `
		WITH there AS (SELECT FROM sessions WHERE token = $1),
			proved AS (SELECT FROM users WHERE id = $5 AND password_version = $10 FOR SHARE),
			written AS (
				INSERT INTO sessions (token, data, expiry, id, user_id, pending, remembered, device, ip, created_at, seen_at)
				SELECT $1, $2::bytea, $3::timestamptz, $4, nullif($5, ''), $6::boolean, $7::boolean, $8, $9, now(), now()
				WHERE $5 = '' OR EXISTS (SELECT FROM there) OR EXISTS (SELECT FROM proved)
				ON CONFLICT (token) DO UPDATE SET data = excluded.data, expiry = excluded.expiry WHERE sessions.data <> ''
				RETURNING token)
		SELECT EXISTS (SELECT FROM there), EXISTS (SELECT FROM written)`,
		token, data, expiry, id, user, text(tenants.SessionUser) == "", remembered, string(device[:min(len(device), maxSessionDevices)]), text(tenants.SessionIP), password).
		Scan(&there, &begun)
	switch {
	case err != nil:
		return postgres.Error("write session", err)
	case !there && !begun:
		return fault.New(fault.Unauthenticated, "The password was changed meanwhile: sign in with the new one.").WithCode("wrong_credentials")
	}
	return nil
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

// Sessions implements tenants.Sessions.
func (s *Store) Sessions(ctx context.Context, u tenants.UserID) ([]tenants.Session, error) {
	return many(ctx, s, "sessions", func(row pgx.CollectableRow) (v tenants.Session, err error) {
		err = row.Scan(&v.ID, &v.Device, &v.IP, &v.Remembered, &v.CreatedAt, &v.SeenAt, &v.ExpiresAt)
		return v, err
	}, "SELECT id, device, ip, remembered, created_at, seen_at, expiry FROM sessions WHERE user_id = $1 AND NOT pending AND "+alive+" ORDER BY created_at DESC, id DESC",
		u, sessionIdleLong, sessionIdle)
}

// EndSession implements tenants.Sessions.
func (s *Store) EndSession(ctx context.Context, u tenants.UserID, id string) error {
	return s.exec(ctx, "session", "UPDATE sessions SET data = '' WHERE user_id = $1 AND id = $4 AND NOT pending AND "+alive, u, sessionIdleLong, sessionIdle, id)
}

// EndSessions implements tenants.Sessions.
func (s *Store) EndSessions(ctx context.Context, u tenants.UserID, except string) ([]tenants.Session, error) {
	return many(ctx, s, "ended sessions", func(row pgx.CollectableRow) (v tenants.Session, err error) {
		err = row.Scan(&v.ID, &v.SeenAt)
		return v, err
	}, "UPDATE sessions SET data = '' WHERE user_id = $1 AND id <> $2 AND data <> '' RETURNING id, seen_at", u, except)
}
