package tenantstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/tenants"
)

const apiTokenColumns = "id, account_id, user_id, name, hint, created_at, last_used_at"

func scanAPIToken(row pgx.CollectableRow) (t tenants.APIToken, err error) {
	var used *time.Time
	err = row.Scan(&t.ID, &t.Account, &t.User, &t.Name, &t.Hint, &t.CreatedAt, &used)
	if used != nil {
		t.LastUsedAt = *used
	}
	return t, err
}

// CreateAPIToken implements tenants.Tokens.
func (s *Store) CreateAPIToken(ctx context.Context, t tenants.APIToken, hash []byte) error {
	return s.exec(ctx, "API token", "INSERT INTO api_tokens (id, account_id, user_id, name, token_hash, hint, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		t.ID, t.Account, t.User, t.Name, hash, t.Hint, t.CreatedAt)
}

// APITokens implements tenants.Tokens.
func (s *Store) APITokens(ctx context.Context, u tenants.UserID, a tenants.AccountID) ([]tenants.APIToken, error) {
	return many(ctx, s, "API tokens", scanAPIToken,
		"SELECT "+apiTokenColumns+" FROM api_tokens WHERE user_id = $1 AND ($2 = '' OR account_id = $2) ORDER BY created_at DESC, id DESC", u, a)
}

// DeleteAPIToken implements tenants.Tokens.
func (s *Store) DeleteAPIToken(ctx context.Context, u tenants.UserID, a tenants.AccountID, id string) (tenants.AccountID, error) {
	return one(ctx, s, "API token", pgx.RowTo[tenants.AccountID],
		"DELETE FROM api_tokens WHERE id = $3 AND user_id = $1 AND ($2 = '' OR account_id = $2) RETURNING account_id", u, a, id)
}

// APITokenByHash implements tenants.Tokens. The token counts only while its user
// is a member of its account. Its last use is written at most once a minute.
func (s *Store) APITokenByHash(ctx context.Context, hash []byte, now time.Time) (tenants.APIToken, error) {
	t, err := one(ctx, s, "API token", scanAPIToken, `
		SELECT t.id, t.account_id, t.user_id, t.name, t.hint, t.created_at, t.last_used_at
		FROM api_tokens t JOIN members m ON m.account_id = t.account_id AND m.user_id = t.user_id
		WHERE t.token_hash = $1`, hash)
	if err != nil || now.Sub(t.LastUsedAt) < time.Minute {
		return t, err
	}
	t.LastUsedAt = now.Truncate(time.Minute)
	return t, s.exec(ctx, "API token", "UPDATE api_tokens SET last_used_at = $3 WHERE id = $1 AND account_id = $2", t.ID, t.Account, t.LastUsedAt)
}
