-- +goose Up
CREATE TABLE token_issuers (
    tenant_id  text        NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id         text        NOT NULL,
    issuer     text        NOT NULL, -- the claim iss of its tokens
    settings   jsonb       NOT NULL, -- tenants.IssuerSettings
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT token_issuers_issuer UNIQUE (tenant_id, issuer)
);

CREATE TABLE token_revocations (
    tenant_id     text        NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id            text        NOT NULL,
    kind          text        NOT NULL CHECK (kind IN ('token', 'user', 'key')),
    value         text        NOT NULL,
    issued_before timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL, -- no token that it concerns is good after that
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT token_revocations_value UNIQUE (tenant_id, kind, value)
);
CREATE INDEX token_revocations_expires ON token_revocations (tenant_id, expires_at);
