-- +goose Up
-- Whoever waits for this waits for who waits for a lock: better none than for long.
SET LOCAL lock_timeout = '5s';

-- Events of an actor, an action or a tenant are found without reading their chain.
-- Actions are looked for by their beginnings, byte by byte.
CREATE INDEX audit_events_actor_id ON audit_events (chain, actor_id, number) WHERE actor_id IS NOT NULL;
CREATE INDEX audit_events_token_id ON audit_events (chain, token_id, number) WHERE token_id IS NOT NULL;
CREATE INDEX audit_events_actor_name ON audit_events (chain, actor_name, number);
CREATE INDEX audit_events_action ON audit_events (chain, action COLLATE "C", number);
CREATE INDEX audit_events_tenant ON audit_events (chain, tenant_id, number) WHERE tenant_id IS NOT NULL;
