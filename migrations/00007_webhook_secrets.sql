-- +goose Up
-- What is posted to upstreams in native mode is signed with these.
CREATE TABLE webhook_secrets (
    id            text PRIMARY KEY,
    tenant_id     text        NOT NULL REFERENCES tenants ON DELETE CASCADE,
    sealed_secret bytea       NOT NULL, -- AES-256-GCM, the tenant's id and the secret's id authenticated
    hint          text        NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz           -- NULL = the one in use
);
CREATE UNIQUE INDEX webhook_secrets_in_use ON webhook_secrets (tenant_id) WHERE expires_at IS NULL;
CREATE INDEX webhook_secrets_tenant ON webhook_secrets (tenant_id);
