-- +goose Up
-- Who suspended it: people of the account, who may resume it, or an operator, whose
-- suspension they can't lift.
ALTER TABLE tenants ADD COLUMN suspended_by text NOT NULL DEFAULT 'account' CHECK (suspended_by IN ('account', 'operator'));
