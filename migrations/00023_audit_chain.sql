-- +goose Up
-- Each account's events are a chain, and so are each user's own, those of operators and
-- those of nobody known: every event has a number without gaps and the hash of the one
-- before. The hash is of what the package tenants/audit writes, field by field.
ALTER TABLE audit_events RENAME COLUMN user_id TO actor_id;
ALTER TABLE audit_events
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

-- What there is becomes chains in the order in which it was written.
-- +goose StatementBegin
DO $$
DECLARE e audit_events;
BEGIN
    FOR e IN SELECT * FROM audit_events ORDER BY id LOOP
        e.chain := CASE WHEN e.account_id IS NOT NULL THEN 'account:' || e.account_id WHEN e.actor_id IS NOT NULL THEN 'user:' || e.actor_id ELSE 'service' END;
        e.actor := CASE WHEN e.token_id IS NOT NULL THEN 'api_token' WHEN e.request_id IN ('system', 'seed') THEN 'system' WHEN e.actor_id IS NOT NULL THEN 'user' ELSE 'nobody' END;
        INSERT INTO audit_chains (chain, number, hash) VALUES (e.chain, 0, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING;
        SELECT c.number + 1, c.hash INTO e.number, e.previous FROM audit_chains c WHERE c.chain = e.chain;
        e.hash := audit_event_hash(e);
        UPDATE audit_events SET chain = e.chain, actor = e.actor, number = e.number, previous = e.previous, hash = e.hash WHERE id = e.id;
        UPDATE audit_chains c SET number = e.number, hash = e.hash WHERE c.chain = e.chain;
    END LOOP;
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

-- Whoever may insert an event gets the next place of its chain, and can't choose
-- another. It runs with the rights of the tables' owner: nobody else has to write to
-- audit_chains.
-- +goose StatementBegin
CREATE FUNCTION audit_event_chained() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO audit_chains (chain, number, hash) VALUES (NEW.chain, 0, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING;
    SELECT c.number + 1, c.hash INTO STRICT NEW.number, NEW.previous FROM audit_chains c WHERE c.chain = NEW.chain FOR UPDATE;
    NEW.created_at := clock_timestamp();
    NEW.hash := audit_event_hash(NEW);
    UPDATE audit_chains c SET number = NEW.number, hash = NEW.hash WHERE c.chain = NEW.chain;
    RETURN NEW;
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
