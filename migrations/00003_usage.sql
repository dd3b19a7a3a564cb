-- +goose Up
-- Tenants are not referenced: usage outlives them, for invoices.

-- What was committed, so that a flush counts once.
CREATE TABLE usage_flushes (
    edge_run     text        NOT NULL,
    sequence     bigint      NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (edge_run, sequence)
);
CREATE INDEX usage_flushes_committed ON usage_flushes (committed_at);

CREATE TABLE usage_minutes (
    tenant_id          text        NOT NULL,
    hub                text        NOT NULL,
    minute             timestamptz NOT NULL,
    delivered          bigint      NOT NULL DEFAULT 0,
    delivered_bytes    bigint      NOT NULL DEFAULT 0,
    received_bytes     bigint      NOT NULL DEFAULT 0,
    connection_seconds bigint      NOT NULL DEFAULT 0,
    opened             bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, minute, hub)
);

CREATE TABLE usage_refusals (
    tenant_id text        NOT NULL,
    minute    timestamptz NOT NULL,
    code      text        NOT NULL,
    count     bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, minute, code)
);

-- Running totals as the publish script counted them: the largest one seen wins.
CREATE TABLE usage_accepted (
    tenant_id text        NOT NULL,
    hub       text        NOT NULL,
    epoch     text        NOT NULL,
    minute    timestamptz NOT NULL,
    total     bigint      NOT NULL,
    PRIMARY KEY (tenant_id, minute, hub, epoch)
);

CREATE TABLE usage_peaks (
    tenant_id text        NOT NULL,
    minute    timestamptz NOT NULL,
    edge_run  text        NOT NULL,
    peak      bigint      NOT NULL,
    PRIMARY KEY (tenant_id, minute, edge_run)
);

-- The last flush seen of each edge, and what it held then.
CREATE TABLE usage_edges (
    edge_run text PRIMARY KEY,
    sequence bigint      NOT NULL,
    seen_at  timestamptz NOT NULL
);

CREATE TABLE usage_gauges (
    tenant_id   text   NOT NULL,
    edge_run    text   NOT NULL REFERENCES usage_edges ON DELETE CASCADE,
    connections bigint NOT NULL,
    PRIMARY KEY (tenant_id, edge_run)
);
CREATE INDEX usage_gauges_edge ON usage_gauges (edge_run);

CREATE TABLE usage_activity (
    tenant_id           text PRIMARY KEY,
    first_connection_at timestamptz,
    first_message_at    timestamptz,
    last_message_at     timestamptz
);

-- Tenants whose usage somebody looks at live, until when.
CREATE TABLE usage_watches (
    tenant_id text PRIMARY KEY,
    until     timestamptz NOT NULL
);
