package tenantstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

const operatorColumns = "id, name, email, enabled_at, created_at"

func scanOperator(row pgx.CollectableRow) (o tenants.Operator, err error) {
	var enabled *time.Time
	err = row.Scan(&o.ID, &o.Name, &o.Email, &enabled, &o.Created)
	o.Enabled = nullZero(enabled)
	return o, err
}

// operatorWithSecrets is an operator as signing in needs it.
type operatorWithSecrets struct {
	tenants.Operator
	tenants.OperatorSecrets
}

func scanOperatorSecrets(row pgx.CollectableRow) (o operatorWithSecrets, err error) {
	var enabled *time.Time
	err = row.Scan(&o.ID, &o.Name, &o.Email, &enabled, &o.Created, &o.PasswordHash, &o.Sealed)
	o.Enabled = nullZero(enabled)
	return o, err
}

// CreateOperator implements tenants.Operators.
func (s *Store) CreateOperator(ctx context.Context, o tenants.Operator, emailKey string, setupHash []byte, setupExpires time.Time) error {
	return s.exec(ctx, "operator", "INSERT INTO operators (id, name, email, email_key, setup_hash, setup_expires, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		o.ID, o.Name, o.Email, emailKey, setupHash, setupExpires, o.Created)
}

// ResetOperator implements tenants.Operators.
func (s *Store) ResetOperator(ctx context.Context, id string, setupHash []byte, setupExpires time.Time) error {
	for _, sql := range []string{"UPDATE operator_sessions SET data = '' WHERE operator_id = $1", "DELETE FROM operator_tokens WHERE operator_id = $1"} {
		if _, err := s.db.Exec(ctx, sql, id); err != nil {
			return postgres.Error("end what an operator has", err)
		}
	}
	return s.exec(ctx, "operator", `UPDATE operators SET password_hash = '', sealed_secret = NULL, last_step = 0, enabled_at = NULL, setup_hash = $2, setup_expires = $3 WHERE id = $1`,
		id, setupHash, setupExpires)
}

// DeleteOperator implements tenants.Operators.
func (s *Store) DeleteOperator(ctx context.Context, id string) error {
	return s.exec(ctx, "operator", "DELETE FROM operators WHERE id = $1", id)
}

// Operator implements tenants.Operators.
func (s *Store) Operator(ctx context.Context, id string) (tenants.Operator, error) {
	return one(ctx, s, "operator", scanOperator, "SELECT "+operatorColumns+" FROM operators WHERE id = $1", id)
}

// OperatorByEmail implements tenants.Operators.
func (s *Store) OperatorByEmail(ctx context.Context, emailKey string) (tenants.Operator, tenants.OperatorSecrets, error) {
	o, err := one(ctx, s, "operator", scanOperatorSecrets, "SELECT "+operatorColumns+", password_hash, sealed_secret FROM operators WHERE email_key = $1", emailKey)
	return o.Operator, o.OperatorSecrets, err
}

// OperatorList implements tenants.Operators.
func (s *Store) OperatorList(ctx context.Context) ([]tenants.Operator, error) {
	return many(ctx, s, "operators", scanOperator, "SELECT "+operatorColumns+" FROM operators ORDER BY email_key")
}

// OperatorBySetup implements tenants.Operators.
func (s *Store) OperatorBySetup(ctx context.Context, setupHash []byte, now time.Time) (tenants.Operator, tenants.OperatorSecrets, error) {
	o, err := one(ctx, s, "operator", scanOperatorSecrets, "SELECT "+operatorColumns+", password_hash, sealed_secret FROM operators WHERE setup_hash = $1 AND setup_expires > $2", setupHash, now)
	return o.Operator, o.OperatorSecrets, err
}

// PutOperatorSecrets implements tenants.Operators: nothing of one who is set up.
func (s *Store) PutOperatorSecrets(ctx context.Context, id string, v tenants.OperatorSecrets) error {
	return s.exec(ctx, "operator to set up", "UPDATE operators SET password_hash = $2, sealed_secret = $3, last_step = 0 WHERE id = $1 AND enabled_at IS NULL", id, v.PasswordHash, v.Sealed)
}

// EnableOperator implements tenants.Operators.
func (s *Store) EnableOperator(ctx context.Context, id string, now time.Time) error {
	return s.exec(ctx, "operator to set up", "UPDATE operators SET enabled_at = $2, setup_hash = NULL, setup_expires = NULL WHERE id = $1 AND enabled_at IS NULL", id, now)
}

// UseOperatorStep implements tenants.Operators.
func (s *Store) UseOperatorStep(ctx context.Context, id string, step int64) (bool, error) {
	tag, err := s.db.Exec(ctx, "UPDATE operators SET last_step = $2 WHERE id = $1 AND last_step < $2", id, step)
	if err != nil {
		return false, postgres.Error("use code", err)
	}
	return tag.RowsAffected() > 0, nil
}

const operatorTokenColumns = "id, operator_id, name, hint, scopes, created_at, expires_at, last_used_at"

func scanOperatorToken(row pgx.CollectableRow) (t tenants.OperatorToken, err error) {
	var used *time.Time
	err = row.Scan(&t.ID, &t.Operator, &t.Name, &t.Hint, &t.Scopes, &t.Created, &t.Expires, &used)
	t.LastUsed = nullZero(used)
	return t, err
}

// CreateOperatorToken implements tenants.Operators.
func (s *Store) CreateOperatorToken(ctx context.Context, t tenants.OperatorToken, hash []byte) error {
	return s.exec(ctx, "token", "INSERT INTO operator_tokens (id, operator_id, name, token_hash, hint, scopes, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		t.ID, t.Operator, t.Name, hash, t.Hint, t.Scopes, t.Created, t.Expires)
}

// OperatorTokens implements tenants.Operators.
func (s *Store) OperatorTokens(ctx context.Context, operator string) ([]tenants.OperatorToken, error) {
	return many(ctx, s, "tokens", scanOperatorToken, "SELECT "+operatorTokenColumns+" FROM operator_tokens WHERE operator_id = $1 ORDER BY created_at DESC, id DESC", operator)
}

// DeleteOperatorToken implements tenants.Operators.
func (s *Store) DeleteOperatorToken(ctx context.Context, operator, id string) (tenants.OperatorToken, error) {
	return one(ctx, s, "token", scanOperatorToken, "DELETE FROM operator_tokens WHERE operator_id = $1 AND id = $2 RETURNING "+operatorTokenColumns, operator, id)
}

// OperatorTokenByHash implements tenants.Operators.
func (s *Store) OperatorTokenByHash(ctx context.Context, hash []byte, now time.Time) (tenants.OperatorToken, error) {
	t, err := one(ctx, s, "token", scanOperatorToken, "SELECT "+operatorTokenColumns+` FROM operator_tokens t
		WHERE token_hash = $1 AND expires_at > $2 AND EXISTS (SELECT FROM operators o WHERE o.id = t.operator_id AND o.enabled_at IS NOT NULL)`, hash, now)
	if err != nil || now.Sub(t.LastUsed) < sessionSeenEvery {
		return t, err
	}
	return t, s.exec(ctx, "token", "UPDATE operator_tokens SET last_used_at = $2 WHERE id = $1", t.ID, now)
}

// found is what a search finds of tenants as t with accounts as a: $1 = ” or a part of
// a name, slug, id or member's address.
const found = `($1 = '' OR t.id = $1 OR a.id = $1 OR position(lower($1) IN lower(t.slug || ' ' || t.name || ' ' || a.name)) > 0
	OR EXISTS (SELECT FROM members m JOIN users u ON u.id = m.user_id WHERE m.account_id = a.id AND position(lower($1) IN u.email_key) > 0))`

func scanAccountTenant(row pgx.CollectableRow) (t tenants.AccountTenant, err error) {
	err = scanTenant(row, &t.Tenant, &t.AccountName)
	return t, err
}

// AllTenants implements tenants.Operators.
func (s *Store) AllTenants(ctx context.Context, search string, status tenants.Status, before tenants.ID, limit int) ([]tenants.AccountTenant, error) {
	return many(ctx, s, "tenants", scanAccountTenant, "SELECT "+tenantColumns+", a.name FROM tenants t JOIN accounts a ON a.id = t.account_id WHERE "+found+`
		AND t.status <> 'deleted' AND ($2 = '' OR t.status = $2) AND ($3 = '' OR t.id < $3) ORDER BY t.id DESC LIMIT $4`, search, status, before, limit)
}

// AnyTenant implements tenants.Operators.
func (s *Store) AnyTenant(ctx context.Context, ref string) (tenants.AccountTenant, error) {
	return one(ctx, s, "tenant", scanAccountTenant, "SELECT "+tenantColumns+`, a.name FROM tenants t JOIN accounts a ON a.id = t.account_id
		WHERE (t.id = $1 OR t.slug = $1) AND t.status <> 'deleted'`, ref)
}

// AllAccounts implements tenants.Operators.
func (s *Store) AllAccounts(ctx context.Context, search string, before tenants.AccountID, limit int) ([]tenants.AccountSummary, error) {
	return many(ctx, s, "accounts", func(row pgx.CollectableRow) (a tenants.AccountSummary, err error) {
		err = row.Scan(&a.ID, &a.Name, &a.Plan, &a.RequireSecondFactor, &a.CreatedAt, &a.Members, &a.Tenants, &a.Suspended)
		return a, err
	}, `SELECT a.id, a.name, a.plan, a.require_second_factor, a.created_at,
			(SELECT count(*) FROM members m JOIN users u ON u.id = m.user_id WHERE m.account_id = a.id AND u.kind = 'person'),
			(SELECT count(*) FROM tenants t WHERE t.account_id = a.id AND t.status <> 'deleted'),
			(SELECT count(*) FROM tenants t WHERE t.account_id = a.id AND t.status = 'suspended')
		FROM accounts a WHERE ($1 = '' OR a.id = $1 OR position(lower($1) IN lower(a.name)) > 0
			OR EXISTS (SELECT FROM members m JOIN users u ON u.id = m.user_id WHERE m.account_id = a.id AND position(lower($1) IN u.email_key) > 0))
			AND ($2 = '' OR a.id < $2) ORDER BY a.id DESC LIMIT $3`, search, before, limit)
}
