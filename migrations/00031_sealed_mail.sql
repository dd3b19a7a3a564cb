-- +goose Up
-- Whoever waits for this waits for who waits for a lock: better none than for long.
SET LOCAL lock_timeout = '5s';

-- What mails say is sealed: links in them are as good as passwords. What was queued before
-- is in body, html and link until it is sent.
ALTER TABLE mail_outbox
    ADD COLUMN sealed bytea, -- NULL = sent, or queued before
    ALTER COLUMN body SET DEFAULT '',
    ALTER COLUMN link SET DEFAULT '';
