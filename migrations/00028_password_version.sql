-- +goose Up
-- Which password a user has: a session that was proved with a former one is not begun.
ALTER TABLE users ADD COLUMN password_version bigint NOT NULL DEFAULT 0;
