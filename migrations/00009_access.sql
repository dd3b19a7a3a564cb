-- +goose Up
ALTER TABLE users
    -- A service is what a service token acts as: it can't sign in.
    ADD COLUMN kind text NOT NULL DEFAULT 'person' CHECK (kind IN ('person', 'service'));

ALTER TABLE accounts ADD COLUMN require_second_factor boolean NOT NULL DEFAULT false;

-- Sign-ups that wait for their address to be confirmed.
CREATE TABLE signups (
    token_hash    bytea PRIMARY KEY, -- sha-256, as of all tokens here
    email         text        NOT NULL,
    password_hash text        NOT NULL,
    account_name  text        NOT NULL,
    tenant_name   text        NOT NULL,
    tenant_slug   text        NOT NULL,
    expires_at    timestamptz NOT NULL
);

CREATE TABLE password_resets (
    token_hash bytea PRIMARY KEY,
    user_id    text        NOT NULL REFERENCES users ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX password_resets_user ON password_resets (user_id);

-- An address that a user wants to have instead of the present one.
ALTER TABLE email_verifications ADD COLUMN new_email_key text;
CREATE INDEX email_verifications_user ON email_verifications (user_id);

CREATE TABLE invitations (
    id         text PRIMARY KEY,
    account_id text        NOT NULL REFERENCES accounts ON DELETE CASCADE,
    email      text        NOT NULL,
    email_key  text        NOT NULL,
    role       text        NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'billing', 'viewer')),
    token_hash bytea       NOT NULL UNIQUE,
    invited_by text        NOT NULL, -- an address: it outlives its user
    created_at timestamptz NOT NULL,
    sent_at    timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT invitations_address UNIQUE (account_id, email_key)
);

ALTER TABLE api_tokens
    ADD COLUMN kind       text   NOT NULL DEFAULT 'personal' CHECK (kind IN ('personal', 'service')),
    ADD COLUMN scopes     text[] NOT NULL DEFAULT '{}', -- empty = all that the role allows
    ADD COLUMN expires_at timestamptz;
CREATE INDEX api_tokens_account ON api_tokens (account_id);

-- Everybody signs in once more: former sessions don't say whose they are.
DELETE FROM sessions;
ALTER TABLE sessions
    ADD COLUMN id         text        NOT NULL CONSTRAINT sessions_id UNIQUE,
    ADD COLUMN user_id    text        REFERENCES users ON DELETE CASCADE, -- NULL = nobody has signed in
    ADD COLUMN pending    boolean     NOT NULL, -- the second step is missing
    ADD COLUMN remembered boolean     NOT NULL,
    ADD COLUMN device     text        NOT NULL,
    ADD COLUMN ip         text        NOT NULL,
    ADD COLUMN created_at timestamptz NOT NULL,
    ADD COLUMN seen_at    timestamptz NOT NULL;
CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE second_factors (
    user_id       text PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    sealed_secret bytea       NOT NULL, -- AES-256-GCM, the user's id authenticated
    last_step     bigint      NOT NULL DEFAULT 0, -- of the last code that was taken, so that none is taken twice
    enabled_at    timestamptz,                    -- NULL = not confirmed yet
    created_at    timestamptz NOT NULL
);

CREATE TABLE recovery_codes (
    user_id   text  NOT NULL REFERENCES second_factors ON DELETE CASCADE,
    code_hash bytea NOT NULL,
    PRIMARY KEY (user_id, code_hash)
);

ALTER TABLE audit_events
    ADD COLUMN before jsonb,
    ADD COLUMN after  jsonb;

ALTER TABLE mail_outbox
    ADD COLUMN html       text NOT NULL DEFAULT '',
    ADD COLUMN good_until timestamptz; -- it isn't sent any later
