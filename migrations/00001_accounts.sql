-- +goose Up
CREATE TABLE plans (
    id                           text PRIMARY KEY,
    name                         text   NOT NULL,
    position                     int    NOT NULL UNIQUE, -- smallest plan first
    messages_per_month           bigint NOT NULL CHECK (messages_per_month >= 0),
    connection_minutes_per_month bigint NOT NULL CHECK (connection_minutes_per_month >= 0),
    max_tenants                  int    NOT NULL CHECK (max_tenants >= 0), -- of one account
    limits                       jsonb  NOT NULL -- tenants.Limits
);

INSERT INTO plans (id, name, position, messages_per_month, connection_minutes_per_month, max_tenants, limits) VALUES
('free', 'Free', 1, 3000000, 1000000, 3, '{
    "max_connections": 200, "messages_per_second": 100, "message_burst": 300, "max_message_bytes": 32768,
    "max_groups_per_connection": 50, "max_hubs": 20, "idempotency_seconds": 120, "retention_seconds": 180,
    "resume_window_seconds": 30, "resume_buffer_bytes": 100000}'),
('pro', 'Pro', 2, 25000000, 50000000, 20, '{
    "max_connections": 5000, "messages_per_second": 2000, "message_burst": 6000, "max_message_bytes": 65536,
    "max_groups_per_connection": 200, "max_hubs": 200, "idempotency_seconds": 3600, "retention_seconds": 600,
    "resume_window_seconds": 60, "resume_buffer_bytes": 262144}'),
('scale', 'Scale', 3, 500000000, 500000000, 100, '{
    "max_connections": 50000, "messages_per_second": 20000, "message_burst": 60000, "max_message_bytes": 262144,
    "max_groups_per_connection": 1000, "max_hubs": 2000, "idempotency_seconds": 86400, "retention_seconds": 1800,
    "resume_window_seconds": 120, "resume_buffer_bytes": 1048576}');

CREATE TABLE users (
    id                text PRIMARY KEY,
    email             text        NOT NULL, -- as typed
    email_key         text        NOT NULL CONSTRAINT users_email_key UNIQUE, -- lower case: one person, one address
    password_hash     text        NOT NULL, -- argon2id
    email_verified_at timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE accounts (
    id         text PRIMARY KEY,
    name       text        NOT NULL,
    plan       text        NOT NULL REFERENCES plans,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE members (
    account_id text        NOT NULL REFERENCES accounts ON DELETE CASCADE,
    user_id    text        NOT NULL REFERENCES users ON DELETE CASCADE,
    role       text        NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'billing', 'viewer')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, user_id)
);
CREATE INDEX members_user ON members (user_id);

-- The table of the session library.
CREATE TABLE sessions (
    token  text PRIMARY KEY,
    data   bytea       NOT NULL,
    expiry timestamptz NOT NULL
);
CREATE INDEX sessions_expiry ON sessions (expiry);

CREATE TABLE attempts (
    subject      text        NOT NULL, -- "email:...", "ip:...", "signup:...", "token:..."
    attempted_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX attempts_subject ON attempts (subject, attempted_at);

CREATE TABLE email_verifications (
    token_hash bytea PRIMARY KEY, -- sha-256
    user_id    text        NOT NULL REFERENCES users ON DELETE CASCADE,
    email      text        NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE TABLE api_tokens (
    id           text PRIMARY KEY,
    account_id   text        NOT NULL REFERENCES accounts ON DELETE CASCADE,
    user_id      text        NOT NULL REFERENCES users ON DELETE CASCADE,
    name         text        NOT NULL,
    token_hash   bytea       NOT NULL CONSTRAINT api_tokens_token_hash UNIQUE, -- sha-256
    hint         text        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz
);
CREATE INDEX api_tokens_user ON api_tokens (user_id);

CREATE TABLE mail_outbox (
    id         text PRIMARY KEY,
    recipient  text        NOT NULL,
    subject    text        NOT NULL,
    body       text        NOT NULL,
    link       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at    timestamptz
);
CREATE INDEX mail_outbox_created ON mail_outbox (created_at);

CREATE TABLE audit_events (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id text, -- no reference: the trail outlives what it is about
    tenant_id  text,
    user_id    text,
    token_id   text,
    action     text        NOT NULL,
    subject    text        NOT NULL,
    request_id text        NOT NULL,
    ip         text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_events_account ON audit_events (account_id, created_at);
