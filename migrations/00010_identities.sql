-- +goose Up
-- Whom OpenID providers know users as. A user without a password has password_hash ''.
CREATE TABLE identities (
    id         text PRIMARY KEY,
    user_id    text        NOT NULL REFERENCES users ON DELETE CASCADE,
    issuer     text        NOT NULL,
    subject    text        NOT NULL,
    email      text        NOT NULL, -- as the provider said; it identifies nobody
    created_at timestamptz NOT NULL,
    CONSTRAINT identities_subject UNIQUE (issuer, subject)
);
CREATE INDEX identities_user ON identities (user_id);
