-- +goose Up
-- For what messages were accepted: so many values of each dimension and step, and
-- the rest is the difference to the totals.
CREATE TABLE usage_top (
    tenant_id text        NOT NULL,
    dimension text        NOT NULL,
    step      text        NOT NULL,
    at        timestamptz NOT NULL,
    value     text        NOT NULL, -- '' = none
    accepted  bigint      NOT NULL,
    PRIMARY KEY (tenant_id, dimension, step, at, value)
);
CREATE INDEX usage_top_at ON usage_top (step, at);
