-- +goose Up
-- Who set the value: the people of the account, within what their plan allows, or an
-- operator, whose word the plan doesn't bound.
ALTER TABLE limit_overrides ADD COLUMN set_by text NOT NULL DEFAULT 'account' CHECK (set_by IN ('account', 'operator'));
