-- +goose Up
-- People who run the service. They are no users: they sign in elsewhere.
CREATE TABLE operators (
    id            text PRIMARY KEY,
    name          text        NOT NULL, -- customers see it in their audit
    email         text        NOT NULL,
    email_key     text        NOT NULL CONSTRAINT operators_email UNIQUE,
    password_hash text        NOT NULL DEFAULT '',
    sealed_secret bytea,                          -- of the authenticator app: AES-256-GCM, the operator's id authenticated
    last_step     bigint      NOT NULL DEFAULT 0, -- of the last code that was taken, so that none is taken twice
    setup_hash    bytea UNIQUE,                   -- sha-256 of the link's token; null = it was used
    setup_expires timestamptz,
    enabled_at    timestamptz, -- null = not set up yet, or not any more
    created_at    timestamptz NOT NULL
);

CREATE TABLE operator_sessions (
    token       text PRIMARY KEY,
    data        bytea       NOT NULL, -- '' = it has ended
    expiry      timestamptz NOT NULL,
    operator_id text        REFERENCES operators ON DELETE CASCADE, -- null = nobody has signed in
    seen_at     timestamptz NOT NULL
);
CREATE INDEX operator_sessions_expiry ON operator_sessions (expiry);
CREATE INDEX operator_sessions_operator ON operator_sessions (operator_id);

CREATE TABLE operator_tokens (
    id           text PRIMARY KEY,
    operator_id  text        NOT NULL REFERENCES operators ON DELETE CASCADE,
    name         text        NOT NULL,
    token_hash   bytea       NOT NULL UNIQUE, -- sha-256
    hint         text        NOT NULL,
    scopes       text[]      NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    last_used_at timestamptz
);
CREATE INDEX operator_tokens_operator ON operator_tokens (operator_id);

-- Why an operator did it, which customers see.
ALTER TABLE tenants ADD COLUMN suspended_reason text NOT NULL DEFAULT '';
ALTER TABLE limit_overrides ADD COLUMN reason text NOT NULL DEFAULT '';

-- Operators send requests with a key, too, and are no users. What is kept of a user
-- who has gone ends by itself within a day.
ALTER TABLE idempotent_requests DROP CONSTRAINT idempotent_requests_user_id_fkey;
