-- +goose Up
-- When nothing was left of what edges had kept of a deleted tenant.
ALTER TABLE tenants ADD COLUMN purged_at timestamptz;
