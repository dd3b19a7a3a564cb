-- +goose Up
-- Whoever waits for this waits for who waits for a lock: better none than for long.
SET LOCAL lock_timeout = '5s';

ALTER TABLE plans ADD COLUMN max_members int NOT NULL DEFAULT 500 CHECK (max_members >= 1); -- people of one account
UPDATE plans SET max_members = CASE id WHEN 'free' THEN 2 WHEN 'pro' THEN 20 ELSE 500 END;

-- In the place of the plan's, by an operator; NULL = the plan's.
ALTER TABLE accounts
    ADD COLUMN max_tenants int CHECK (max_tenants >= 1),
    ADD COLUMN max_members int CHECK (max_members >= 1);
