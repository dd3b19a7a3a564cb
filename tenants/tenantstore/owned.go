package tenantstore

import (
	"cmp"
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

// PutKey implements tenants.Registry.
func (s *Store) PutKey(ctx context.Context, t tenants.ID, k tenants.AccessKey, formerUntil time.Time) error {
	_, err := s.db.Exec(ctx, "DELETE FROM access_keys WHERE tenant_id = $1 AND slot = $2 AND (expires_at IS NOT NULL OR $3 <= $4)", t, k.Slot, formerUntil, k.CreatedAt)
	if err != nil {
		return postgres.Error("remove former access key", err)
	}
	if _, err := s.db.Exec(ctx, "UPDATE access_keys SET expires_at = $3 WHERE tenant_id = $1 AND slot = $2", t, k.Slot, formerUntil); err != nil {
		return postgres.Error("end access key", err)
	}
	return s.exec(ctx, "access key", "INSERT INTO access_keys (id, tenant_id, slot, sealed_secret, hint, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
		k.ID, t, k.Slot, k.Sealed, k.Hint, k.CreatedAt)
}

const keyColumns = "id, slot, sealed_secret, hint, created_at, expires_at"

func scanKey(row pgx.CollectableRow) (k tenants.AccessKey, err error) {
	var expires *time.Time
	err = row.Scan(&k.ID, &k.Slot, &k.Sealed, &k.Hint, &k.CreatedAt, &expires)
	k.Expires = nullZero(expires)
	return k, err
}

// Keys implements tenants.Registry.
func (s *Store) Keys(ctx context.Context, t tenants.ID, now time.Time) ([]tenants.AccessKey, error) {
	return many(ctx, s, "access keys", scanKey, "SELECT "+keyColumns+` FROM access_keys
		WHERE tenant_id = $1 AND (expires_at IS NULL OR expires_at > $2) ORDER BY expires_at IS NOT NULL, slot`, t, now)
}

// EndFormerKey implements tenants.Registry.
func (s *Store) EndFormerKey(ctx context.Context, t tenants.ID, slot tenants.KeySlot, now time.Time) (tenants.AccessKey, error) {
	return one(ctx, s, "key that was replaced", scanKey,
		"DELETE FROM access_keys WHERE tenant_id = $1 AND slot = $2 AND expires_at > $3 RETURNING "+keyColumns, t, slot, now)
}

// RotateWebhookSecret implements tenants.Registry.
func (s *Store) RotateWebhookSecret(ctx context.Context, t tenants.ID, w tenants.WebhookSecret, formerUntil time.Time) error {
	if _, err := s.db.Exec(ctx, "DELETE FROM webhook_secrets WHERE tenant_id = $1 AND (expires_at IS NOT NULL OR $2 <= $3)", t, formerUntil, w.CreatedAt); err != nil {
		return postgres.Error("remove former webhook secret", err)
	}
	if _, err := s.db.Exec(ctx, "UPDATE webhook_secrets SET expires_at = $2 WHERE tenant_id = $1", t, formerUntil); err != nil {
		return postgres.Error("end webhook secret", err)
	}
	return s.exec(ctx, "webhook secret", "INSERT INTO webhook_secrets (id, tenant_id, sealed_secret, hint, created_at) VALUES ($1, $2, $3, $4, $5)",
		w.ID, t, w.Sealed, w.Hint, w.CreatedAt)
}

// WebhookSecrets implements tenants.Registry.
func (s *Store) WebhookSecrets(ctx context.Context, t tenants.ID, now time.Time) ([]tenants.WebhookSecret, error) {
	return many(ctx, s, "webhook secrets", func(row pgx.CollectableRow) (w tenants.WebhookSecret, err error) {
		var expires *time.Time
		err = row.Scan(&w.ID, &w.Sealed, &w.Hint, &w.CreatedAt, &expires)
		if expires != nil {
			w.Expires = *expires
		}
		return w, err
	}, "SELECT id, sealed_secret, hint, created_at, expires_at FROM webhook_secrets WHERE tenant_id = $1 AND (expires_at IS NULL OR expires_at > $2) ORDER BY expires_at DESC NULLS FIRST", t, now)
}

const hubColumns = "name, settings, created_at, updated_at"

func scanHub(row pgx.CollectableRow) (h tenants.Hub, err error) {
	err = row.Scan(&h.Name, &h.Settings, &h.CreatedAt, &h.UpdatedAt)
	return h, err
}

// Hubs implements tenants.Registry; they come by name.
func (s *Store) Hubs(ctx context.Context, t tenants.ID) ([]tenants.Hub, error) {
	return many(ctx, s, "hubs", scanHub, "SELECT "+hubColumns+" FROM hubs WHERE tenant_id = $1 ORDER BY name", t)
}

// Hub implements tenants.Registry.
func (s *Store) Hub(ctx context.Context, t tenants.ID, name string) (tenants.Hub, error) {
	return one(ctx, s, "hub with settings", scanHub, "SELECT "+hubColumns+" FROM hubs WHERE tenant_id = $1 AND name = $2", t, name)
}

// CountHubs implements tenants.Registry.
func (s *Store) CountHubs(ctx context.Context, t tenants.ID) (int, error) {
	return one(ctx, s, "hubs", pgx.RowTo[int], "SELECT count(*) FROM hubs WHERE tenant_id = $1", t)
}

// HubBytes implements tenants.Registry.
func (s *Store) HubBytes(ctx context.Context, t tenants.ID) (int, error) {
	return one(ctx, s, "hubs", pgx.RowTo[int],
		"SELECT coalesce(sum(octet_length(name) + octet_length(settings::text)), 0)::bigint FROM hubs WHERE tenant_id = $1", t)
}

// PutHub implements tenants.Registry.
func (s *Store) PutHub(ctx context.Context, t tenants.ID, h tenants.Hub) (tenants.Hub, error) {
	return one(ctx, s, "hub", scanHub, `
		INSERT INTO hubs (tenant_id, name, settings, created_at, updated_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (tenant_id, name) DO UPDATE SET settings = excluded.settings, updated_at = excluded.updated_at
		WHERE hubs.tenant_id = $1
		RETURNING `+hubColumns, t, h.Name, h.Settings, h.CreatedAt, h.UpdatedAt)
}

// DeleteHub implements tenants.Registry.
func (s *Store) DeleteHub(ctx context.Context, t tenants.ID, name string) error {
	return s.exec(ctx, "hub with settings", "DELETE FROM hubs WHERE tenant_id = $1 AND name = $2", t, name)
}

// HubPartitions implements tenants.Registry.
func (s *Store) HubPartitions(ctx context.Context, t tenants.ID) (map[string]tenants.HubPartitions, error) {
	type row struct {
		Hub string
		tenants.HubPartitions
	}
	rows, err := many(ctx, s, "partitions of hubs", func(r pgx.CollectableRow) (p row, err error) {
		err = r.Scan(&p.Hub, &p.Generation, &p.Count)
		return p, err
	}, "SELECT hub, generation, count FROM hub_partitions WHERE tenant_id = $1", t)
	if err != nil {
		return nil, err
	}
	all := make(map[string]tenants.HubPartitions, len(rows))
	for _, r := range rows {
		all[r.Hub] = r.HubPartitions
	}
	return all, nil
}

// SetHubPartitions implements tenants.Registry.
func (s *Store) SetHubPartitions(ctx context.Context, t tenants.ID, hub string, p tenants.HubPartitions) error {
	return s.exec(ctx, "partitions of a hub", `
		INSERT INTO hub_partitions (tenant_id, hub, generation, count) VALUES ($1, $2, $3, $4)
		ON CONFLICT (tenant_id, hub) DO UPDATE SET generation = excluded.generation, count = excluded.count
		WHERE hub_partitions.tenant_id = $1`, t, hub, p.Generation, p.Count)
}

// Limits implements tenants.Registry.
func (s *Store) Limits(ctx context.Context, t tenants.ID, now time.Time) (tenants.Limits, []tenants.Override, error) {
	limits, err := one(ctx, s, "tenant", func(row pgx.CollectableRow) (l tenants.Limits, err error) {
		var plan string
		var stored []byte
		if err := row.Scan(&plan, &stored); err != nil {
			return l, err
		}
		return tenants.PlanLimits(plan, stored)
	}, "SELECT p.id, p.limits FROM tenants t JOIN accounts a ON a.id = t.account_id JOIN plans p ON p.id = a.plan WHERE t.id = $1", t)
	if err != nil {
		return tenants.Limits{}, nil, err
	}
	overrides, err := many(ctx, s, "limit overrides", pgx.RowToStructByPos[tenants.Override],
		"SELECT code, value, dry_run, expires_at, set_by, reason FROM limit_overrides WHERE tenant_id = $1 AND (expires_at IS NULL OR expires_at > $2) ORDER BY code", t, now)
	return limits, overrides, err
}

// PutOverride implements tenants.Registry.
func (s *Store) PutOverride(ctx context.Context, t tenants.ID, o tenants.Override) error {
	return s.exec(ctx, "limit override", `
		INSERT INTO limit_overrides (tenant_id, code, value, dry_run, expires_at, set_by, reason) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (tenant_id, code) DO UPDATE SET value = excluded.value, dry_run = excluded.dry_run, expires_at = excluded.expires_at, set_by = excluded.set_by, reason = excluded.reason
		WHERE limit_overrides.tenant_id = $1`, t, o.Limit, o.Value, o.DryRun, o.Expires, cmp.Or(o.By, tenants.ByAccount), o.Reason)
}

// DeleteOverride implements tenants.Registry.
func (s *Store) DeleteOverride(ctx context.Context, t tenants.ID, limit string) error {
	return s.exec(ctx, "override of this limit", "DELETE FROM limit_overrides WHERE tenant_id = $1 AND code = $2", t, limit)
}

// ExpiredOverrides implements tenants.Registry.
func (s *Store) ExpiredOverrides(ctx context.Context, now time.Time, limit int) ([]tenants.ID, error) {
	return many(ctx, s, "limit overrides", pgx.RowTo[tenants.ID], "SELECT DISTINCT tenant_id FROM limit_overrides WHERE expires_at <= $1 ORDER BY tenant_id LIMIT $2", now, limit)
}

// DropOverrides implements tenants.Registry.
func (s *Store) DropOverrides(ctx context.Context, t tenants.ID, now time.Time) ([]tenants.Override, error) {
	return many(ctx, s, "limit overrides", pgx.RowToStructByPos[tenants.Override],
		"DELETE FROM limit_overrides WHERE tenant_id = $1 AND expires_at <= $2 RETURNING code, value, dry_run, expires_at, set_by, reason", t, now)
}
