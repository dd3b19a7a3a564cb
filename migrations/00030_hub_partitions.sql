-- +goose Up
-- In how many streams a hub is kept, of those of which that was ever changed. It outlives
-- the hub's settings: streams of a generation are never used again.
CREATE TABLE hub_partitions (
    tenant_id  text    NOT NULL REFERENCES tenants ON DELETE CASCADE,
    hub        text    NOT NULL, -- lower case
    generation integer NOT NULL CHECK (generation > 0),
    count      integer NOT NULL CHECK (count > 0),
    PRIMARY KEY (tenant_id, hub)
);
