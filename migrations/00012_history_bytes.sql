-- +goose Up
-- How many bytes the streams of all hubs of a tenant may have together.
UPDATE plans SET limits = limits || '{"history_bytes": 16777216}' WHERE id = 'free';
UPDATE plans SET limits = limits || '{"history_bytes": 134217728}' WHERE id = 'pro';
UPDATE plans SET limits = limits || '{"history_bytes": 1073741824}' WHERE id = 'scale';
UPDATE plans SET limits = limits || '{"history_bytes": 134217728}' WHERE NOT limits ? 'history_bytes';
