package tenantstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

// PasswordHash implements tenants.Credentials.
func (s *Store) PasswordHash(ctx context.Context, u tenants.UserID) (string, error) {
	return one(ctx, s, "user", pgx.RowTo[string], "SELECT password_hash FROM users WHERE id = $1", u)
}

// SetPassword implements tenants.Credentials.
func (s *Store) SetPassword(ctx context.Context, u tenants.UserID, passwordHash string) error {
	return s.exec(ctx, "user", "UPDATE users SET password_hash = $2, password_version = password_version + 1 WHERE id = $1 AND kind = 'person'", u, passwordHash)
}

// CreateVerification implements tenants.Credentials.
func (s *Store) CreateVerification(ctx context.Context, u tenants.UserID, email, newEmailKey string, tokenHash []byte, expires time.Time) error {
	return s.exec(ctx, "verification", `
		INSERT INTO email_verifications (token_hash, user_id, email, new_email_key, expires_at) VALUES ($1, $2, $3, nullif($4, ''), $5)`,
		tokenHash, u, email, newEmailKey, expires)
}

// Verify implements tenants.Credentials. The present address is marked only if it
// still is the user's; a new one makes all other links of the user void.
func (s *Store) Verify(ctx context.Context, tokenHash []byte, now time.Time) (tenants.Verified, error) {
	var v tenants.Verified
	var newKey *string
	var expires time.Time
	err := s.db.QueryRow(ctx, "DELETE FROM email_verifications WHERE token_hash = $1 RETURNING user_id, email, new_email_key, expires_at", tokenHash).
		Scan(&v.User, &v.Email, &newKey, &expires)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !expires.After(now) {
		return v, notFound("verification")
	}
	if err != nil {
		return v, postgres.Error("read verification", err)
	}
	if newKey == nil {
		return v, s.exec(ctx, "verification", "UPDATE users SET email_verified_at = coalesce(email_verified_at, $3) WHERE id = $1 AND email = $2", v.User, v.Email, now)
	}
	if v.Former, err = one(ctx, s, "user", pgx.RowTo[string], "SELECT email FROM users WHERE id = $1 FOR UPDATE", v.User); err != nil {
		return v, err
	}
	if err := s.VoidLinks(ctx, v.User); err != nil {
		return v, err
	}
	return v, s.exec(ctx, "user", "UPDATE users SET email = $2, email_key = $3, email_verified_at = $4 WHERE id = $1", v.User, v.Email, *newKey, now)
}

// MarkVerified implements tenants.Credentials.
func (s *Store) MarkVerified(ctx context.Context, u tenants.UserID, now time.Time) error {
	return s.exec(ctx, "user", "UPDATE users SET email_verified_at = coalesce(email_verified_at, $2) WHERE id = $1", u, now)
}

// PutSignUp implements tenants.Credentials.
func (s *Store) PutSignUp(ctx context.Context, in tenants.SignUp, passwordHash string, tokenHash []byte, expires time.Time) error {
	return s.exec(ctx, "sign-up", `
		INSERT INTO signups (token_hash, email, password_hash, account_name, tenant_name, tenant_slug, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		tokenHash, in.Email, passwordHash, in.AccountName, in.TenantName, in.TenantSlug, expires)
}

// TakeSignUp implements tenants.Credentials.
func (s *Store) TakeSignUp(ctx context.Context, tokenHash []byte, now time.Time) (in tenants.SignUp, passwordHash string, err error) {
	err = s.db.QueryRow(ctx, `DELETE FROM signups WHERE token_hash = $1 AND expires_at > $2
		RETURNING email, password_hash, account_name, tenant_name, tenant_slug`, tokenHash, now).
		Scan(&in.Email, &passwordHash, &in.AccountName, &in.TenantName, &in.TenantSlug)
	if errors.Is(err, pgx.ErrNoRows) {
		return in, "", notFound("sign-up")
	}
	if err != nil {
		return in, "", postgres.Error("read sign-up", err)
	}
	return in, passwordHash, nil
}

// PutReset implements tenants.Credentials.
func (s *Store) PutReset(ctx context.Context, u tenants.UserID, tokenHash []byte, expires time.Time) error {
	return s.exec(ctx, "reset", "INSERT INTO password_resets (token_hash, user_id, expires_at) VALUES ($1, $2, $3)", tokenHash, u, expires)
}

// TakeReset implements tenants.Credentials.
func (s *Store) TakeReset(ctx context.Context, tokenHash []byte, now time.Time) (tenants.UserID, error) {
	return one(ctx, s, "reset", pgx.RowTo[tenants.UserID], "DELETE FROM password_resets WHERE token_hash = $1 AND expires_at > $2 RETURNING user_id", tokenHash, now)
}

// VoidLinks implements tenants.Credentials. A link that proves the present address
// stays: it changes nothing else.
func (s *Store) VoidLinks(ctx context.Context, u tenants.UserID) error {
	for _, sql := range []string{
		"DELETE FROM email_verifications WHERE user_id = $1 AND new_email_key IS NOT NULL",
		"DELETE FROM password_resets WHERE user_id = $1",
	} {
		if _, err := s.db.Exec(ctx, sql, u); err != nil {
			return postgres.Error("void links", err)
		}
	}
	return nil
}

// DropCredentials implements tenants.Credentials.
func (s *Store) DropCredentials(ctx context.Context, u tenants.UserID) ([]tenants.AccountID, error) {
	accounts, err := many(ctx, s, "dropped service tokens", pgx.RowTo[tenants.AccountID], `
		DELETE FROM users s USING members m WHERE m.user_id = s.id AND s.kind = 'service'
			AND m.account_id IN (SELECT account_id FROM members WHERE user_id = $1)
			AND NOT EXISTS (SELECT FROM members o JOIN users p ON p.id = o.user_id WHERE o.account_id = m.account_id AND o.user_id <> $1 AND p.kind = 'person')
		RETURNING m.account_id`, u)
	if err != nil {
		return nil, err
	}
	for _, table := range []string{"api_tokens", "second_factors", "identities"} {
		if _, err := s.db.Exec(ctx, "DELETE FROM "+table+" WHERE user_id = $1", u); err != nil {
			return nil, postgres.Error("drop credentials", err)
		}
	}
	slices.Sort(accounts)
	return slices.Compact(accounts), nil
}

// PutSecondFactor implements tenants.Credentials.
func (s *Store) PutSecondFactor(ctx context.Context, u tenants.UserID, sealed []byte, now time.Time) error {
	return s.exec(ctx, "second factor", `
		INSERT INTO second_factors (user_id, sealed_secret, created_at) VALUES ($1, $2, $3)
		ON CONFLICT (user_id) DO UPDATE SET sealed_secret = excluded.sealed_secret, created_at = excluded.created_at, last_step = 0
		WHERE second_factors.enabled_at IS NULL`, u, sealed, now)
}

// SecondFactor implements tenants.Credentials.
func (s *Store) SecondFactor(ctx context.Context, u tenants.UserID) (tenants.SecondFactor, error) {
	return one(ctx, s, "second factor", func(row pgx.CollectableRow) (f tenants.SecondFactor, err error) {
		var enabled *time.Time
		err = row.Scan(&f.Sealed, &enabled, &f.Codes)
		f.Enabled = nullZero(enabled)
		return f, err
	}, "SELECT sealed_secret, enabled_at, (SELECT count(*) FROM recovery_codes r WHERE r.user_id = f.user_id) FROM second_factors f WHERE user_id = $1", u)
}

// EnableSecondFactor implements tenants.Credentials.
func (s *Store) EnableSecondFactor(ctx context.Context, u tenants.UserID, now time.Time) error {
	return s.exec(ctx, "second factor", "UPDATE second_factors SET enabled_at = $2 WHERE user_id = $1 AND enabled_at IS NULL", u, now)
}

// DeleteSecondFactor implements tenants.Credentials.
func (s *Store) DeleteSecondFactor(ctx context.Context, u tenants.UserID) error {
	return s.exec(ctx, "second factor", "DELETE FROM second_factors WHERE user_id = $1", u)
}

// UseStep implements tenants.Credentials.
func (s *Store) UseStep(ctx context.Context, u tenants.UserID, step int64) (bool, error) {
	tag, err := s.db.Exec(ctx, "UPDATE second_factors SET last_step = $2 WHERE user_id = $1 AND last_step < $2", u, step)
	if err != nil {
		return false, postgres.Error("use code", err)
	}
	return tag.RowsAffected() > 0, nil
}

// SetRecoveryCodes implements tenants.Credentials.
func (s *Store) SetRecoveryCodes(ctx context.Context, u tenants.UserID, hashes [][]byte) error {
	if _, err := s.db.Exec(ctx, "DELETE FROM recovery_codes WHERE user_id = $1", u); err != nil {
		return postgres.Error("void recovery codes", err)
	}
	return s.exec(ctx, "second factor", "INSERT INTO recovery_codes (user_id, code_hash) SELECT $1, unnest($2::bytea[])", u, hashes)
}

// UseRecoveryCode implements tenants.Credentials.
func (s *Store) UseRecoveryCode(ctx context.Context, u tenants.UserID, hash []byte) (bool, error) {
	tag, err := s.db.Exec(ctx, "DELETE FROM recovery_codes WHERE user_id = $1 AND code_hash = $2", u, hash)
	if err != nil {
		return false, postgres.Error("use recovery code", err)
	}
	return tag.RowsAffected() > 0, nil
}
