package tenantstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/tenants"
)

// apiTokenColumns need api_tokens as t, users as u and members as m.
const apiTokenColumns = "t.id, t.account_id, t.kind, t.user_id, u.email, m.role, t.name, t.scopes, t.hint, t.created_at, t.expires_at, t.last_used_at"

// apiTokenJoins leave out tokens whose user is no member of their account.
const apiTokenJoins = " JOIN users u ON u.id = t.user_id JOIN members m ON m.account_id = t.account_id AND m.user_id = t.user_id"

func scanAPIToken(row pgx.CollectableRow) (t tenants.APIToken, err error) {
	var expires, used *time.Time
	err = row.Scan(&t.ID, &t.Account, &t.Kind, &t.User, &t.Email, &t.Role, &t.Name, &t.Scopes, &t.Hint, &t.Created, &expires, &used)
	t.Expires, t.LastUsed = nullZero(expires), nullZero(used)
	return t, err
}

// CreateAPIToken implements tenants.Tokens.
func (s *Store) CreateAPIToken(ctx context.Context, t tenants.APIToken, hash []byte) error {
	return s.exec(ctx, "API token", `
		INSERT INTO api_tokens (id, account_id, kind, user_id, name, scopes, token_hash, hint, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		t.ID, t.Account, t.Kind, t.User, t.Name, append([]tenants.Scope{}, t.Scopes...), hash, t.Hint, t.Created, zeroNull(t.Expires))
}

// APITokens implements tenants.Tokens.
func (s *Store) APITokens(ctx context.Context, u tenants.UserID, a tenants.AccountID) ([]tenants.APIToken, error) {
	return many(ctx, s, "API tokens", scanAPIToken,
		"SELECT "+apiTokenColumns+" FROM api_tokens t"+apiTokenJoins+" WHERE t.user_id = $1 AND ($2 = '' OR t.account_id = $2) ORDER BY t.created_at DESC, t.id DESC", u, a)
}

// AccountTokens implements tenants.Tokens.
func (s *Store) AccountTokens(ctx context.Context, a tenants.AccountID) ([]tenants.APIToken, error) {
	return many(ctx, s, "API tokens", scanAPIToken,
		"SELECT "+apiTokenColumns+" FROM api_tokens t"+apiTokenJoins+" WHERE t.account_id = $1 ORDER BY t.created_at DESC, t.id DESC", a)
}

// DeleteAPIToken implements tenants.Tokens.
func (s *Store) DeleteAPIToken(ctx context.Context, u tenants.UserID, a tenants.AccountID, id string) (tenants.APIToken, error) {
	return one(ctx, s, "API token", scanAPIToken, `
		WITH t AS (DELETE FROM api_tokens WHERE id = $3 AND user_id = $1 AND ($2 = '' OR account_id = $2) RETURNING *)
		SELECT `+apiTokenColumns+" FROM t"+apiTokenJoins, u, a, id)
}

// DeleteAccountToken implements tenants.Tokens.
func (s *Store) DeleteAccountToken(ctx context.Context, a tenants.AccountID, id string) (tenants.APIToken, error) {
	return one(ctx, s, "API token", scanAPIToken,
		"WITH t AS (DELETE FROM api_tokens WHERE id = $2 AND account_id = $1 RETURNING *) SELECT "+apiTokenColumns+" FROM t"+apiTokenJoins, a, id)
}

// APITokenByHash implements tenants.Tokens. The token counts only while its user
// is a member of its account. Its last use is written at most once a minute.
func (s *Store) APITokenByHash(ctx context.Context, hash []byte, now time.Time) (tenants.APIToken, error) {
	t, err := one(ctx, s, "API token", scanAPIToken,
		"SELECT "+apiTokenColumns+" FROM api_tokens t"+apiTokenJoins+" WHERE t.token_hash = $1 AND (t.expires_at IS NULL OR t.expires_at > $2)", hash, now)
	if err != nil || now.Sub(t.LastUsed) < time.Minute {
		return t, err
	}
	t.LastUsed = now.Truncate(time.Minute)
	return t, s.exec(ctx, "API token", "UPDATE api_tokens SET last_used_at = $3 WHERE id = $1 AND account_id = $2", t.ID, t.Account, t.LastUsed)
}
