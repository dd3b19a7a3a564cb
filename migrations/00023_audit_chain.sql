-- +goose Up
-- Whoever waits for this waits for who waits for a lock: better none than for long.
SET LOCAL lock_timeout = '5s';

-- Each account's events are a chain, and so are each user's own, those of operators and
-- those of nobody known: every event has a number without gaps and the hash of the one
-- before. The hash is of what the package tenants/audit writes, field by field.
ALTER TABLE audit_events RENAME COLUMN user_id TO actor_id;
ALTER TABLE audit_events
    ADD COLUMN user_id    text, -- what an api of the version before calls actor_id: always NULL
    ADD COLUMN chain      text,
    ADD COLUMN number     bigint,
    ADD COLUMN actor      text,
    ADD COLUMN actor_name text NOT NULL DEFAULT '', -- as it was then
    ADD COLUMN user_agent text NOT NULL DEFAULT '',
    ADD COLUMN previous   bytea,
    ADD COLUMN hash       bytea,
    -- Their bytes are hashed, so they stay the text that they were written as.
    ALTER COLUMN before TYPE json USING before::text::json,
    ALTER COLUMN after  TYPE json USING after::text::json;

-- The last event of each chain. Who writes to a chain holds its row.
CREATE TABLE audit_chains (
    chain  text PRIMARY KEY,
    number bigint NOT NULL,
    hash   bytea  NOT NULL
);

-- +goose StatementBegin
CREATE FUNCTION audit_event_hash(e audit_events) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to(string_agg(octet_length(convert_to(field, 'UTF8')) || ':' || field || ',', '' ORDER BY place), 'UTF8'))
    FROM unnest(ARRAY[
        'signalbox-audit-1', e.chain, e.number::text, to_char(e.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        e.actor, coalesce(e.actor_id, ''), coalesce(e.token_id, ''), e.actor_name, coalesce(e.account_id, ''), coalesce(e.tenant_id, ''),
        e.action, e.subject, e.request_id, e.ip, e.user_agent, coalesce(e.before::text, ''), coalesce(e.after::text, ''), encode(e.previous, 'hex')
    ]) WITH ORDINALITY AS fields (field, place)
$$;
-- +goose StatementEnd

-- What the version before says of an event, in the columns of this one: an api of it may
-- still run. Whoever didn't sign in, or wants a new password, didn't prove who it is.
-- +goose StatementBegin
CREATE FUNCTION audit_event_placed(e audit_events) RETURNS audit_events LANGUAGE plpgsql STABLE AS $$
BEGIN
    e.actor_id := coalesce(e.actor_id, e.user_id);
    e.user_id := NULL;
    e.chain := coalesce(e.chain, 'account:' || e.account_id, 'user:' || e.actor_id, 'service');
    e.actor := coalesce(e.actor, CASE
        WHEN e.request_id IN ('system', 'seed') AND e.ip = '' THEN 'system'
        WHEN e.actor_id IS NULL OR e.action IN ('session.refused', 'session.locked', 'second_factor.refused', 'password.reset_requested') THEN 'nobody'
        WHEN e.token_id IS NOT NULL THEN 'api_token'
        ELSE 'user' END);
    RETURN e;
END
$$;
-- +goose StatementEnd

-- What there is becomes chains in the order in which it was written.
-- +goose StatementBegin
DO $$
DECLARE
    e audit_events;
    last audit_events; -- of the chain before e
BEGIN
    FOR e IN SELECT placed.* FROM audit_events written, audit_event_placed(written) placed ORDER BY placed.chain, placed.id LOOP
        IF e.chain IS DISTINCT FROM last.chain THEN
            INSERT INTO audit_chains (chain, number, hash) SELECT last.chain, last.number, last.hash WHERE last.chain IS NOT NULL;
            last.number := 0;
            last.hash := decode(repeat('00', 32), 'hex');
        END IF;
        e.number := last.number + 1;
        e.previous := last.hash;
        e.hash := audit_event_hash(e);
        UPDATE audit_events SET chain = e.chain, actor = e.actor, number = e.number, previous = e.previous, hash = e.hash WHERE id = e.id;
        last := e;
    END LOOP;
    INSERT INTO audit_chains (chain, number, hash) SELECT last.chain, last.number, last.hash WHERE last.chain IS NOT NULL;
END
$$;
-- +goose StatementEnd

ALTER TABLE audit_events
    ALTER COLUMN chain    SET NOT NULL,
    ALTER COLUMN number   SET NOT NULL,
    ALTER COLUMN actor    SET NOT NULL,
    ALTER COLUMN previous SET NOT NULL,
    ALTER COLUMN hash     SET NOT NULL,
    ADD CONSTRAINT audit_events_actor CHECK (actor IN ('user', 'api_token', 'operator', 'system', 'nobody')),
    ADD CONSTRAINT audit_events_place UNIQUE (chain, number);
DROP INDEX audit_events_account;
CREATE INDEX audit_events_time ON audit_events (chain, created_at);

-- Whoever may insert an event gets the next place of its chain, and can't choose
-- another. It runs with the rights of the tables' owner: nobody else has to write to
-- audit_chains, and no temporary table of theirs is taken for it.
-- +goose StatementBegin
CREATE FUNCTION audit_event_chained() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    NEW := audit_event_placed(NEW);
    INSERT INTO audit_chains (chain, number, hash) VALUES (NEW.chain, 0, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING;
    SELECT c.number + 1, c.hash INTO STRICT NEW.number, NEW.previous FROM audit_chains c WHERE c.chain = NEW.chain FOR UPDATE;
    NEW.created_at := clock_timestamp();
    NEW.hash := audit_event_hash(NEW);
    UPDATE audit_chains c SET number = NEW.number, hash = NEW.hash WHERE c.chain = NEW.chain;
    RETURN NEW;
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION audit_event_chained() SET search_path = pg_catalog, %I, pg_temp', current_schema());
END
$$;
-- +goose StatementEnd
CREATE TRIGGER audit_event_chained BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION audit_event_chained();

-- +goose StatementBegin
CREATE FUNCTION audit_events_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'restrict_violation';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER audit_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_events_append_only();
