-- +goose Up
-- Which hubs were used: hubs need no settings to work.
CREATE TABLE usage_hubs (
    tenant_id    text NOT NULL,
    hub          text NOT NULL,
    last_used_on date NOT NULL, -- UTC
    PRIMARY KEY (tenant_id, hub)
);
CREATE INDEX usage_hubs_last_used_on ON usage_hubs (last_used_on);

INSERT INTO usage_hubs (tenant_id, hub, last_used_on)
SELECT tenant_id, hub, max((minute AT TIME ZONE 'UTC')::date)
FROM (
    SELECT tenant_id, hub, minute FROM usage_minutes WHERE opened + connection_seconds + delivered > 0
    UNION ALL
    SELECT tenant_id, hub, minute FROM usage_accepted WHERE total > 0
) used
WHERE hub <> ''
GROUP BY 1, 2;
