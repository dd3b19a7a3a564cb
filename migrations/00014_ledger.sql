-- +goose Up
-- What was accepted beside what was delivered, so that a minute is one row.
ALTER TABLE usage_minutes ADD COLUMN accepted bigint NOT NULL DEFAULT 0;
INSERT INTO usage_minutes (tenant_id, hub, minute, accepted)
SELECT tenant_id, hub, minute, sum(total) FROM usage_accepted GROUP BY 1, 2, 3
ON CONFLICT (tenant_id, minute, hub) DO UPDATE SET accepted = excluded.accepted;
CREATE INDEX usage_minutes_minute ON usage_minutes (minute);
CREATE INDEX usage_accepted_minute ON usage_accepted (minute);
CREATE INDEX usage_peaks_minute ON usage_peaks (minute);
CREATE INDEX usage_refusals_minute ON usage_refusals (minute);

-- Hours that aren't in the ledger yet: they still count.
CREATE TABLE usage_open (
    account_id         text        NOT NULL,
    tenant_id          text        NOT NULL,
    hub                text        NOT NULL,
    hour               timestamptz NOT NULL,
    accepted           bigint      NOT NULL DEFAULT 0,
    delivered          bigint      NOT NULL DEFAULT 0,
    delivered_bytes    bigint      NOT NULL DEFAULT 0,
    received_bytes     bigint      NOT NULL DEFAULT 0,
    connection_seconds bigint      NOT NULL DEFAULT 0,
    opened             bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, hour, hub)
);
CREATE INDEX usage_open_hour ON usage_open (hour);
CREATE INDEX usage_open_account ON usage_open (account_id, hour);

INSERT INTO usage_open (account_id, tenant_id, hub, hour, accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened)
SELECT coalesce((SELECT account_id FROM tenants t WHERE t.id = m.tenant_id), ''), tenant_id, hub, date_trunc('hour', minute, 'UTC'),
    sum(accepted), sum(delivered), sum(delivered_bytes), sum(received_bytes), sum(connection_seconds), sum(opened)
FROM usage_minutes m GROUP BY 1, 2, 3, 4;

-- The ledger: rows are added, and none is ever changed or deleted. It references
-- neither tenants nor accounts: it outlives them.
CREATE TABLE usage_ledger (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id         text        NOT NULL,
    tenant_id          text        NOT NULL,
    hub                text        NOT NULL,
    hour               timestamptz NOT NULL, -- UTC
    kind               text        NOT NULL CHECK (kind IN ('usage', 'correction')),
    accepted           bigint      NOT NULL,
    delivered          bigint      NOT NULL,
    delivered_bytes    bigint      NOT NULL,
    received_bytes     bigint      NOT NULL,
    connection_seconds bigint      NOT NULL,
    opened             bigint      NOT NULL,
    concerns           timestamptz, -- the hour that a correction is about
    reason             text,
    actor              text,
    posted_at          timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT usage_ledger_kind CHECK (CASE kind
        WHEN 'usage' THEN least(accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened) >= 0
            AND concerns IS NULL AND reason IS NULL AND actor IS NULL
        ELSE concerns IS NOT NULL AND reason <> '' AND reason IS NOT NULL AND actor <> '' AND actor IS NOT NULL END)
);
CREATE INDEX usage_ledger_tenant ON usage_ledger (tenant_id, hour, hub, id);
CREATE INDEX usage_ledger_account ON usage_ledger (account_id, hour);

-- +goose StatementBegin
CREATE FUNCTION usage_ledger_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the usage ledger is append-only: add a correction instead' USING ERRCODE = 'restrict_violation';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER usage_ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON usage_ledger
    FOR EACH STATEMENT EXECUTE FUNCTION usage_ledger_append_only();
