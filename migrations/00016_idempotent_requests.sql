-- +goose Up
-- What was carried out under which Idempotency-Key, and what was answered.
CREATE TABLE idempotent_requests (
    user_id      text        NOT NULL REFERENCES users ON DELETE CASCADE,
    account_id   text        NOT NULL, -- in which an API token acts; '' = a session's
    key          text        NOT NULL,
    request_hash bytea       NOT NULL, -- sha-256
    answer       bytea, -- sealed; null only while the request is under way
    expires_at   timestamptz NOT NULL,
    PRIMARY KEY (user_id, account_id, key)
);
CREATE INDEX idempotent_requests_expires ON idempotent_requests (expires_at);
