-- +goose Up
ALTER TABLE tenants
    -- What is there already serves somebody: production is the strict one.
    ADD COLUMN environment  text NOT NULL DEFAULT 'production' CHECK (environment IN ('development', 'production')),
    ADD COLUMN suspended_at timestamptz;

-- Domains by which tenants want to be reached. Anybody may claim any; a verified one
-- is one tenant's alone.
CREATE TABLE tenant_domains (
    tenant_id   text        NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id          text        NOT NULL,
    domain      text        NOT NULL, -- lower case, ASCII
    token       text        NOT NULL, -- what the DNS record has to say
    created_at  timestamptz NOT NULL,
    checked_at  timestamptz,
    verified_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT tenant_domains_domain UNIQUE (tenant_id, domain)
);
CREATE UNIQUE INDEX tenant_domains_verified ON tenant_domains (domain) WHERE verified_at IS NOT NULL;

-- A key that was replaced may be good for a while beside the new one of its slot.
ALTER TABLE access_keys
    ADD COLUMN expires_at timestamptz, -- NULL = in use
    DROP CONSTRAINT access_keys_slot;
CREATE UNIQUE INDEX access_keys_in_use ON access_keys (tenant_id, slot) WHERE expires_at IS NULL;
CREATE INDEX access_keys_tenant ON access_keys (tenant_id);

CREATE TABLE usage_keys (
    tenant_id    text        NOT NULL,
    key_id       text        NOT NULL,
    last_used_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, key_id)
);

-- What a hub's settings were, and who made them so.
CREATE TABLE hub_versions (
    tenant_id   text        NOT NULL REFERENCES tenants ON DELETE CASCADE,
    hub         text        NOT NULL,
    version     bigint      NOT NULL, -- of the hub, from 1
    settings    jsonb,                -- NULL = the hub's settings were forgotten
    email       text        NOT NULL, -- of the person, as it was then; '' = nobody's
    token       text        NOT NULL, -- the name of the API token; '' = none
    returned_to bigint,               -- the version whose settings these are once more
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, hub, version)
);
INSERT INTO hub_versions (tenant_id, hub, version, settings, email, token, created_at)
SELECT tenant_id, name, 1, settings, '', '', updated_at FROM hubs;
