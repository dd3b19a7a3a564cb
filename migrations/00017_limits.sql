-- +goose Up
-- An override may only try the plan's value out (dry_run without a value).
ALTER TABLE limit_overrides ALTER COLUMN value DROP NOT NULL;
ALTER TABLE limit_overrides ADD COLUMN dry_run boolean NOT NULL DEFAULT false;
ALTER TABLE limit_overrides ADD CONSTRAINT limit_overrides_say_something CHECK (value IS NOT NULL OR dry_run);

-- The defaults of plans are the program's table of limits; plans keep what an
-- operator has made of them.
UPDATE plans p SET limits = (
    SELECT coalesce(jsonb_object_agg(l.key, l.value), '{}')
    FROM jsonb_each(p.limits) l
    WHERE l.value IS DISTINCT FROM d.limits -> l.key
)
FROM (VALUES
    ('free', '{"max_connections": 200, "messages_per_second": 100, "message_burst": 300, "max_message_bytes": 32768,
        "max_groups_per_connection": 50, "max_hubs": 20, "idempotency_seconds": 120, "retention_seconds": 180,
        "resume_window_seconds": 30, "resume_buffer_bytes": 100000, "max_group_memberships": 10000, "history_bytes": 16777216}'::jsonb),
    ('pro', '{"max_connections": 5000, "messages_per_second": 2000, "message_burst": 6000, "max_message_bytes": 65536,
        "max_groups_per_connection": 200, "max_hubs": 200, "idempotency_seconds": 3600, "retention_seconds": 600,
        "resume_window_seconds": 60, "resume_buffer_bytes": 262144, "max_group_memberships": 100000, "history_bytes": 134217728}'::jsonb),
    ('scale', '{"max_connections": 50000, "messages_per_second": 20000, "message_burst": 60000, "max_message_bytes": 1048576,
        "max_groups_per_connection": 1000, "max_hubs": 2000, "idempotency_seconds": 86400, "retention_seconds": 1800,
        "resume_window_seconds": 120, "resume_buffer_bytes": 1048576, "max_group_memberships": 1000000, "history_bytes": 1073741824}'::jsonb)
) AS d (id, limits)
WHERE p.id = d.id;
