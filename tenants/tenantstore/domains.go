package tenantstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

const domainColumns = "id, domain, token, created_at, checked_at, verified_at"

func scanDomain(row pgx.CollectableRow) (d tenants.Domain, err error) {
	var checked, verified *time.Time
	err = row.Scan(&d.ID, &d.Name, &d.Token, &d.CreatedAt, &checked, &verified)
	d.CheckedAt, d.VerifiedAt = nullZero(checked), nullZero(verified)
	return d, err
}

// Domains implements tenants.Registry.
func (s *Store) Domains(ctx context.Context, t tenants.ID) ([]tenants.Domain, error) {
	return many(ctx, s, "domains", scanDomain, "SELECT "+domainColumns+" FROM tenant_domains WHERE tenant_id = $1 ORDER BY domain", t)
}

// Domain implements tenants.Registry.
func (s *Store) Domain(ctx context.Context, t tenants.ID, id string) (tenants.Domain, error) {
	return one(ctx, s, "domain", scanDomain, "SELECT "+domainColumns+" FROM tenant_domains WHERE tenant_id = $1 AND id = $2", t, id)
}

// PutDomain implements tenants.Registry.
func (s *Store) PutDomain(ctx context.Context, t tenants.ID, d tenants.Domain) error {
	return s.exec(ctx, "domain", "INSERT INTO tenant_domains (tenant_id, id, domain, token, created_at) VALUES ($1, $2, $3, $4, $5)",
		t, d.ID, d.Name, d.Token, d.CreatedAt)
}

// DomainOwner implements tenants.Registry.
func (s *Store) DomainOwner(ctx context.Context, name string) (t tenants.ID, d tenants.Domain, err error) {
	t, err = one(ctx, s, "owner", pgx.RowTo[tenants.ID], "SELECT tenant_id FROM tenant_domains WHERE domain = $1 AND verified_at IS NOT NULL", name)
	if err != nil {
		return "", d, err
	}
	d, err = one(ctx, s, "domain", scanDomain, "SELECT "+domainColumns+" FROM tenant_domains WHERE tenant_id = $1 AND domain = $2", t, name)
	return t, d, err
}

// LoseDomain implements tenants.Registry.
func (s *Store) LoseDomain(ctx context.Context, t tenants.ID, d tenants.Domain, now time.Time) (bool, error) {
	tag, err := s.db.Exec(ctx, "UPDATE tenant_domains SET verified_at = NULL, checked_at = $4 WHERE tenant_id = $1 AND id = $2 AND verified_at = $3",
		t, d.ID, d.VerifiedAt, now)
	if err != nil {
		return false, postgres.Error("take domain away", err)
	}
	return tag.RowsAffected() > 0, nil
}

// CheckedDomain implements tenants.Registry.
func (s *Store) CheckedDomain(ctx context.Context, t tenants.ID, d tenants.Domain) error {
	if !d.VerifiedAt.IsZero() {
		// Hosts that the operator gave are no tenant's to take.
		given, err := one(ctx, s, "hosts", pgx.RowTo[bool], "SELECT EXISTS (SELECT FROM tenant_hosts WHERE host = $2 AND tenant_id <> $1)", t, d.Name)
		if err != nil {
			return err
		}
		if given {
			c := taken["tenant_hosts_pkey"]
			return fault.New(fault.Conflict, c.message).WithCode(c.code)
		}
	}
	return s.exec(ctx, "domain", "UPDATE tenant_domains SET checked_at = $3, verified_at = $4 WHERE tenant_id = $1 AND id = $2 AND verified_at IS NULL",
		t, d.ID, d.CheckedAt, zeroNull(d.VerifiedAt))
}

// DeleteDomain implements tenants.Registry.
func (s *Store) DeleteDomain(ctx context.Context, t tenants.ID, id string) error {
	return s.exec(ctx, "domain", "DELETE FROM tenant_domains WHERE tenant_id = $1 AND id = $2", t, id)
}
