package tenantstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

// Issuers implements tenants.Registry.
func (s *Store) Issuers(ctx context.Context, t tenants.ID) ([]tenants.Issuer, error) {
	return many(ctx, s, "issuers", func(row pgx.CollectableRow) (i tenants.Issuer, err error) {
		err = row.Scan(&i.ID, &i.IssuerSettings, &i.CreatedAt, &i.UpdatedAt)
		return i, err
	}, "SELECT id, settings, created_at, updated_at FROM token_issuers WHERE tenant_id = $1 ORDER BY created_at, id", t)
}

// PutIssuer implements tenants.Registry.
func (s *Store) PutIssuer(ctx context.Context, t tenants.ID, i tenants.Issuer) error {
	return s.exec(ctx, "issuer", `
		INSERT INTO token_issuers (tenant_id, id, issuer, settings, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (tenant_id, id) DO UPDATE SET issuer = excluded.issuer, settings = excluded.settings, updated_at = excluded.updated_at
		WHERE token_issuers.tenant_id = $1`, t, i.ID, i.Issuer, i.IssuerSettings, i.CreatedAt, i.UpdatedAt)
}

// DeleteIssuer implements tenants.Registry.
func (s *Store) DeleteIssuer(ctx context.Context, t tenants.ID, id string) error {
	return s.exec(ctx, "issuer", "DELETE FROM token_issuers WHERE tenant_id = $1 AND id = $2", t, id)
}

// Revocations implements tenants.Registry.
func (s *Store) Revocations(ctx context.Context, t tenants.ID, now time.Time) ([]tenants.Revocation, error) {
	return many(ctx, s, "revocations", func(row pgx.CollectableRow) (r tenants.Revocation, err error) {
		err = row.Scan(&r.ID, &r.Kind, &r.Value, &r.IssuedBefore, &r.ExpiresAt, &r.CreatedAt)
		return r, err
	}, `SELECT id, kind, value, issued_before, expires_at, created_at FROM token_revocations
		WHERE tenant_id = $1 AND expires_at > $2 ORDER BY created_at DESC, id DESC`, t, now)
}

// PutRevocation implements tenants.Registry.
func (s *Store) PutRevocation(ctx context.Context, t tenants.ID, r tenants.Revocation) error {
	return s.exec(ctx, "revocation", `
		INSERT INTO token_revocations (tenant_id, id, kind, value, issued_before, expires_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT ON CONSTRAINT token_revocations_value DO UPDATE
		SET id = excluded.id, issued_before = excluded.issued_before, expires_at = excluded.expires_at, created_at = excluded.created_at
		WHERE token_revocations.tenant_id = $1`, t, r.ID, r.Kind, r.Value, r.IssuedBefore, r.ExpiresAt, r.CreatedAt)
}

// DeleteRevocation implements tenants.Registry.
func (s *Store) DeleteRevocation(ctx context.Context, t tenants.ID, id string) error {
	return s.exec(ctx, "revocation", "DELETE FROM token_revocations WHERE tenant_id = $1 AND id = $2", t, id)
}

// DropRevocations implements tenants.Registry.
func (s *Store) DropRevocations(ctx context.Context, t tenants.ID, now time.Time) error {
	if _, err := s.db.Exec(ctx, "DELETE FROM token_revocations WHERE tenant_id = $1 AND expires_at <= $2", t, now); err != nil {
		return postgres.Error("drop revocations", err)
	}
	return nil
}

// CountRevocations implements tenants.Registry.
func (s *Store) CountRevocations(ctx context.Context, t tenants.ID) (count, bytes int, err error) {
	sums, err := one(ctx, s, "revocations", pgx.RowToStructByPos[struct{ Count, Bytes int }],
		"SELECT count(*), coalesce(sum(octet_length(value)), 0)::bigint FROM token_revocations WHERE tenant_id = $1", t)
	return sums.Count, sums.Bytes, err
}
