-- +goose Up
-- How many group memberships all connections of a tenant have together.
UPDATE plans SET limits = limits || '{"max_group_memberships": 10000}' WHERE id = 'free';
UPDATE plans SET limits = limits || '{"max_group_memberships": 100000}' WHERE id = 'pro';
UPDATE plans SET limits = limits || '{"max_group_memberships": 1000000}' WHERE id = 'scale';
UPDATE plans SET limits = limits || '{"max_group_memberships": 100000}' WHERE NOT limits ? 'max_group_memberships';
