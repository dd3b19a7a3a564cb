package tenantstore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

const versionColumns = "hub, version, settings, email, token, coalesce(returned_to, 0), created_at"

func scanVersion(row pgx.CollectableRow) (v tenants.HubVersion, err error) {
	err = row.Scan(&v.Hub, &v.Version, &v.Settings, &v.Email, &v.Token, &v.ReturnedTo, &v.CreatedAt)
	return v, err
}

// AddHubVersion implements tenants.Registry. The tenant's row is locked by the change
// under way, so numbers are given once.
func (s *Store) AddHubVersion(ctx context.Context, t tenants.ID, c tenants.Caller, v tenants.HubVersion) error {
	_, err := s.db.Exec(ctx, `
		WITH newest AS (
			SELECT version, settings FROM hub_versions WHERE tenant_id = $1 AND hub = $2 ORDER BY version DESC LIMIT 1
		)
		INSERT INTO hub_versions (tenant_id, hub, version, settings, email, token, returned_to, created_at)
		SELECT $1, $2, coalesce((SELECT version FROM newest), 0) + 1, $3::jsonb,
			coalesce((SELECT email FROM users WHERE id = $4), ''), coalesce((SELECT name FROM api_tokens WHERE id = $5), ''), nullif($6::bigint, 0), $7
		WHERE NOT EXISTS (SELECT FROM newest WHERE settings IS NOT DISTINCT FROM $3::jsonb)`,
		t, v.Hub, v.Settings, c.User, c.TokenID, v.ReturnedTo, v.CreatedAt)
	if err != nil {
		return postgres.Error("keep version of hub", err)
	}
	_, err = s.db.Exec(ctx, `DELETE FROM hub_versions WHERE tenant_id = $1 AND hub = $2
		AND version <= (SELECT max(version) FROM hub_versions WHERE tenant_id = $1 AND hub = $2) - $3`, t, v.Hub, tenants.MaxHubVersions)
	if err != nil {
		return postgres.Error("drop versions of hub", err)
	}
	if v.Settings != nil {
		return nil
	}
	_, err = s.db.Exec(ctx, `DELETE FROM hub_versions WHERE tenant_id = $1 AND hub IN (
		SELECT v.hub FROM hub_versions v WHERE v.tenant_id = $1 AND NOT EXISTS (SELECT FROM hubs h WHERE h.tenant_id = $1 AND h.name = v.hub)
		GROUP BY v.hub ORDER BY max(v.created_at) DESC OFFSET $2)`, t, tenants.MaxForgottenHubs)
	if err != nil {
		return postgres.Error("drop versions of hubs", err)
	}
	return nil
}

// HubVersions implements tenants.Registry.
func (s *Store) HubVersions(ctx context.Context, t tenants.ID, hub string) ([]tenants.HubVersion, error) {
	return many(ctx, s, "versions of hub", scanVersion, "SELECT "+versionColumns+" FROM hub_versions WHERE tenant_id = $1 AND hub = $2 ORDER BY version DESC", t, hub)
}

// HubVersion implements tenants.Registry.
func (s *Store) HubVersion(ctx context.Context, t tenants.ID, hub string, version int64) (tenants.HubVersion, error) {
	return one(ctx, s, "version of hub", scanVersion, "SELECT "+versionColumns+" FROM hub_versions WHERE tenant_id = $1 AND hub = $2 AND version = $3", t, hub, version)
}
