-- +goose Up
CREATE TABLE tenants (
    id         text PRIMARY KEY,
    account_id text        NOT NULL REFERENCES accounts,
    slug       text        NOT NULL,
    name       text        NOT NULL,
    status     text        NOT NULL CHECK (status IN ('active', 'suspended', 'deleted')),
    revision   bigint      NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
-- A deleted tenant's slug is free again.
CREATE UNIQUE INDEX tenants_slug ON tenants (slug) WHERE status <> 'deleted';
CREATE INDEX tenants_account ON tenants (account_id);

CREATE TABLE tenant_hosts (
    host      text PRIMARY KEY, -- lower case, with or without port
    tenant_id text NOT NULL REFERENCES tenants ON DELETE CASCADE
);
CREATE INDEX tenant_hosts_tenant ON tenant_hosts (tenant_id);

CREATE TABLE access_keys (
    id            text PRIMARY KEY,
    tenant_id     text        NOT NULL REFERENCES tenants ON DELETE CASCADE,
    slot          text        NOT NULL CHECK (slot IN ('primary', 'secondary')),
    sealed_secret bytea       NOT NULL, -- AES-256-GCM, the tenant's id and the key's id authenticated
    hint          text        NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT access_keys_slot UNIQUE (tenant_id, slot)
);

CREATE TABLE hubs (
    tenant_id  text        NOT NULL REFERENCES tenants ON DELETE CASCADE,
    name       text        NOT NULL, -- lower case
    settings   jsonb       NOT NULL, -- tenants.HubSettings
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, name)
);

CREATE TABLE limit_overrides (
    tenant_id  text        NOT NULL REFERENCES tenants ON DELETE CASCADE,
    code       text        NOT NULL, -- a field of tenants.Limits
    value      int         NOT NULL CHECK (value >= 0),
    expires_at timestamptz,
    PRIMARY KEY (tenant_id, code)
);
