package tenantstore

import (
	"cmp"
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

// tenantColumns need tenants as t and accounts as a.
const tenantColumns = `t.id, t.account_id, t.slug, t.name, t.status, t.environment, a.plan, t.revision, t.created_at, t.suspended_at, t.suspended_by, t.suspended_reason,
	ARRAY(SELECT h.host FROM tenant_hosts h WHERE h.tenant_id = t.id ORDER BY h.host),
	ARRAY(SELECT d.domain FROM tenant_domains d WHERE d.tenant_id = t.id AND d.verified_at IS NOT NULL ORDER BY d.domain)`

// scanTenant reads tenantColumns, and what follows them into rest.
func scanTenant(row pgx.CollectableRow, t *tenants.Tenant, rest ...any) error {
	var suspended *time.Time
	err := row.Scan(append([]any{
		&t.ID, &t.Account, &t.Slug, &t.Name, &t.Status, &t.Environment, &t.Plan, &t.Revision, &t.CreatedAt, &suspended, &t.SuspendedBy, &t.SuspendedReason, &t.Hosts, &t.Domains,
	}, rest...)...)
	if t.SuspendedAt = nullZero(suspended); t.Status != tenants.Suspended {
		t.SuspendedBy = ""
	}
	return err
}

func plainTenant(row pgx.CollectableRow) (t tenants.Tenant, err error) {
	err = scanTenant(row, &t)
	return t, err
}

func scanMemberTenant(row pgx.CollectableRow) (t tenants.MemberTenant, err error) {
	err = scanTenant(row, &t.Tenant, &t.Role, &t.ShutOut)
	return t, err
}

// memberTenantColumns need members as m besides.
const memberTenantColumns = tenantColumns + ", m.role, " + shutOut

// shutOut tells whether an account, as a, requires a second factor that a member,
// as m, doesn't have. Services have none and need none.
const shutOut = `a.require_second_factor AND EXISTS (
	SELECT FROM users u WHERE u.id = m.user_id AND u.kind = 'person'
		AND NOT EXISTS (SELECT FROM second_factors f WHERE f.user_id = u.id AND f.enabled_at IS NOT NULL))`

// LockAccount implements tenants.Registry. What the account has is read by a statement
// of its own: the one that waits for the lock sees other rows as they were before it
// waited, and joins an account whose plan changed meanwhile to none.
func (s *Store) LockAccount(ctx context.Context, a tenants.AccountID) (maxTenants, have int, err error) {
	if _, err := one(ctx, s, "account", pgx.RowTo[tenants.AccountID], "SELECT id FROM accounts WHERE id = $1 FOR UPDATE", a); err != nil {
		return 0, 0, err
	}
	type counts struct{ Max, Have int }
	n, err := one(ctx, s, "account", pgx.RowToStructByPos[counts], `SELECT coalesce(a.max_tenants, p.max_tenants), (SELECT count(*) FROM tenants WHERE account_id = $1 AND status <> 'deleted')
		FROM accounts a JOIN plans p ON p.id = a.plan WHERE a.id = $1`, a)
	return n.Max, n.Have, err
}

// CreateTenant implements tenants.Registry. The revision begins at zero, so that
// the first Touch makes it one.
func (s *Store) CreateTenant(ctx context.Context, t tenants.Tenant) error {
	err := s.exec(ctx, "tenant", "INSERT INTO tenants (id, account_id, slug, name, status, environment, revision, created_at) VALUES ($1, $2, $3, $4, $5, $6, 0, $7)",
		t.ID, t.Account, t.Slug, t.Name, t.Status, cmp.Or(t.Environment, tenants.Production), t.CreatedAt)
	if err != nil {
		return err
	}
	return s.SetHosts(ctx, t.ID, t.Hosts)
}

// TenantsOf implements tenants.Registry.
func (s *Store) TenantsOf(ctx context.Context, u tenants.UserID, account tenants.AccountID) ([]tenants.MemberTenant, error) {
	return many(ctx, s, "tenants", scanMemberTenant, "SELECT "+memberTenantColumns+`
		FROM tenants t JOIN accounts a ON a.id = t.account_id JOIN members m ON m.account_id = a.id
		WHERE m.user_id = $1 AND ($2 = '' OR a.id = $2) AND t.status <> 'deleted' AND NOT (`+shutOut+`)
		ORDER BY t.name, t.id`, u, account)
}

// TenantOf implements tenants.Registry.
func (s *Store) TenantOf(ctx context.Context, u tenants.UserID, account tenants.AccountID, ref string) (tenants.MemberTenant, error) {
	return one(ctx, s, "tenant", scanMemberTenant, "SELECT "+memberTenantColumns+`
		FROM tenants t JOIN accounts a ON a.id = t.account_id JOIN members m ON m.account_id = a.id
		WHERE m.user_id = $1 AND ($2 = '' OR a.id = $2) AND (t.id = $3 OR t.slug = $3) AND t.status <> 'deleted'`, u, account, ref)
}

// TenantBySlug implements tenants.Registry.
func (s *Store) TenantBySlug(ctx context.Context, slug string) (tenants.Tenant, error) {
	return one(ctx, s, "tenant", plainTenant, "SELECT "+tenantColumns+
		" FROM tenants t JOIN accounts a ON a.id = t.account_id WHERE t.slug = $1 AND t.status <> 'deleted'", slug)
}

// TenantByHost implements tenants.Registry. Under a policy a comparison with a sub-select
// is made after it, for every row there is; one with a column finds the index. OFFSET
// keeps the planner from making the former of the latter.
func (s *Store) TenantByHost(ctx context.Context, host string) (tenants.Tenant, error) {
	return one(ctx, s, "tenant", plainTenant, "SELECT "+tenantColumns+`
		FROM (SELECT coalesce((SELECT tenant_id FROM tenant_hosts WHERE host = $1),
			(SELECT tenant_id FROM tenant_domains WHERE domain = $1 AND verified_at IS NOT NULL)) AS id OFFSET 0) known
		JOIN tenants t ON t.id = known.id JOIN accounts a ON a.id = t.account_id WHERE t.status <> 'deleted'`, host)
}

// Tenant implements tenants.Registry.
func (s *Store) Tenant(ctx context.Context, t tenants.ID) (tenants.Tenant, error) {
	return one(ctx, s, "tenant", plainTenant, "SELECT "+tenantColumns+
		" FROM tenants t JOIN accounts a ON a.id = t.account_id WHERE t.id = $1", t)
}

// SuspendedByOperator implements tenants.Registry.
func (s *Store) SuspendedByOperator(ctx context.Context, a tenants.AccountID) (bool, error) {
	return one(ctx, s, "tenants", pgx.RowTo[bool], "SELECT EXISTS (SELECT FROM tenants WHERE account_id = $1 AND status = 'suspended' AND suspended_by = 'operator')", a)
}

// TenantIDs implements tenants.Registry.
func (s *Store) TenantIDs(ctx context.Context, after tenants.ID, limit int) ([]tenants.ID, error) {
	return many(ctx, s, "tenants", pgx.RowTo[tenants.ID],
		"SELECT id FROM tenants WHERE id > $1 AND status <> 'deleted' ORDER BY id LIMIT $2", after, limit)
}

// UpdateTenant implements tenants.Registry.
func (s *Store) UpdateTenant(ctx context.Context, t tenants.Tenant) error {
	return s.exec(ctx, "tenant", "UPDATE tenants SET name = $2, environment = $3, status = $4, suspended_at = $5, suspended_by = $6, suspended_reason = $7 WHERE id = $1 AND status <> 'deleted'",
		t.ID, t.Name, t.Environment, t.Status, zeroNull(t.SuspendedAt), cmp.Or(t.SuspendedBy, tenants.ByAccount), t.SuspendedReason)
}

// SetHosts implements tenants.Registry.
func (s *Store) SetHosts(ctx context.Context, t tenants.ID, hosts []string) error {
	if _, err := s.db.Exec(ctx, "DELETE FROM tenant_hosts WHERE tenant_id = $1 AND host <> ALL($2)", t, append([]string{}, hosts...)); err != nil {
		return postgres.Error("remove hosts", err)
	}
	for _, host := range hosts {
		_, err := s.db.Exec(ctx, "INSERT INTO tenant_hosts (host, tenant_id) SELECT $2, $1 WHERE NOT EXISTS (SELECT FROM tenant_hosts WHERE host = $2 AND tenant_id = $1)", t, host)
		if err != nil {
			return postgres.Error("write host", conflict(err))
		}
	}
	return nil
}

// DeleteTenant implements tenants.Registry. The row stays, for its id and for
// invoices; all that the tenant owns goes.
func (s *Store) DeleteTenant(ctx context.Context, t tenants.ID, now time.Time) error {
	if err := s.exec(ctx, "tenant", "UPDATE tenants SET status = 'deleted', deleted_at = $2 WHERE id = $1 AND status <> 'deleted'", t, now); err != nil {
		return err
	}
	for _, table := range []string{
		"access_keys", "webhook_secrets", "token_issuers", "token_revocations", "hubs", "hub_versions", "hub_partitions", "tenant_hosts", "tenant_domains", "limit_overrides",
		"usage_keys", "usage_watches", "usage_hubs", "usage_top",
	} {
		if _, err := s.db.Exec(ctx, "DELETE FROM "+table+" WHERE tenant_id = $1", t); err != nil {
			return postgres.Error("empty "+table, err)
		}
	}
	return s.insertJob(ctx, PurgeTenant{Tenant: t, Deleted: now})
}

// MarkPurged implements tenants.Registry.
func (s *Store) MarkPurged(ctx context.Context, t tenants.ID, now time.Time) (first bool, err error) {
	tag, err := s.db.Exec(ctx, "UPDATE tenants SET purged_at = $2 WHERE id = $1 AND purged_at IS NULL", t, now)
	if err != nil {
		return false, postgres.Error("mark tenant", err)
	}
	return tag.RowsAffected() > 0, nil
}

// Touch implements tenants.Registry.
func (s *Store) Touch(ctx context.Context, t tenants.ID) error {
	if err := s.exec(ctx, "tenant", "UPDATE tenants SET revision = revision + 1 WHERE id = $1 AND status <> 'deleted'", t); err != nil {
		return err
	}
	return s.insertJob(ctx, PublishDocument{Tenant: t})
}
