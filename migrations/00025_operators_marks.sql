-- +goose Up
-- Limits and suspensions of operators, from before they were marked as such: of what an
-- account does there is an event in the audit, of what an operator sets there is none,
-- or one of api seed.
UPDATE limit_overrides o SET set_by = 'operator'
WHERE set_by = 'account' AND NOT EXISTS (
    SELECT FROM audit_events e WHERE e.tenant_id = o.tenant_id AND e.action = 'limit.overridden' AND e.subject = o.code
);
UPDATE tenants t SET suspended_by = 'operator'
WHERE status = 'suspended' AND suspended_by = 'account' AND coalesce((
    SELECT e.request_id = 'seed' FROM audit_events e WHERE e.tenant_id = t.id AND e.action = 'tenant.suspended' ORDER BY e.id DESC LIMIT 1
), true);
