-- +goose Up
-- Plans may allow messages of up to 1 MiB.
UPDATE plans SET limits = jsonb_set(limits, '{max_message_bytes}', '1048576') WHERE id = 'scale';
