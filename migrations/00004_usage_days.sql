-- +goose Up
-- What plans count, by tenant and day: a month is a sum of 31 rows.
CREATE TABLE usage_days (
    tenant_id          text   NOT NULL,
    day                date   NOT NULL, -- UTC
    messages           bigint NOT NULL DEFAULT 0, -- accepted and delivered
    connection_seconds bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, day)
);

INSERT INTO usage_days (tenant_id, day, messages, connection_seconds)
SELECT tenant_id, (minute AT TIME ZONE 'UTC')::date, sum(messages), sum(seconds)
FROM (
    SELECT tenant_id, minute, delivered AS messages, connection_seconds AS seconds FROM usage_minutes
    UNION ALL
    SELECT tenant_id, minute, total, 0 FROM usage_accepted
) used
GROUP BY 1, 2;
