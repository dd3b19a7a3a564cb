-- +goose Up
-- Limits and suspensions of operators, from before they were marked as such: of what an
-- account does there is an event in the audit, of what an operator sets there is none,
-- or one of api seed, which comes from no address.
UPDATE limit_overrides o SET set_by = 'operator'
WHERE set_by = 'account' AND (tenant_id, code) NOT IN (
    SELECT tenant_id, subject FROM audit_events WHERE action = 'limit.overridden' AND tenant_id IS NOT NULL
);
WITH last AS (
    SELECT DISTINCT ON (tenant_id) tenant_id, request_id = 'seed' AND ip = '' AS seeded
    FROM audit_events WHERE action = 'tenant.suspended' AND tenant_id IS NOT NULL ORDER BY tenant_id, id DESC
)
UPDATE tenants t SET suspended_by = 'operator'
WHERE status = 'suspended' AND suspended_by = 'account' AND NOT EXISTS (SELECT FROM last WHERE last.tenant_id = t.id AND NOT seeded);
