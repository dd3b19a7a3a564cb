-- +goose Up
ALTER TABLE usage_top ADD COLUMN delivered bigint NOT NULL DEFAULT 0;

-- An api of a version before this one knows less of a flush than is in it. While both
-- run it can't commit any: what it has read the newer ones take over. Whatever teaches
-- commits something new gives this table another name.
ALTER TABLE usage_flushes RENAME TO usage_commits;
ALTER INDEX usage_flushes_pkey RENAME TO usage_commits_pkey;
ALTER INDEX usage_flushes_committed RENAME TO usage_commits_committed;
