-- +goose Up
-- What a plan costs and allows since when: statements are rated by what was in force
-- when their period, or the plan in it, began, whatever the plan asks later.
CREATE TABLE plan_terms (
    id                           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan                         text        NOT NULL,
    since                        timestamptz NOT NULL,
    currency                     text        NOT NULL,
    price                        bigint      NOT NULL,
    extra_messages_price         bigint,
    extra_minutes_price          bigint,
    messages_per_month           bigint      NOT NULL,
    connection_minutes_per_month bigint      NOT NULL
);
CREATE INDEX plan_terms_plan ON plan_terms (plan, since, id);
INSERT INTO plan_terms (plan, since, currency, price, extra_messages_price, extra_minutes_price, messages_per_month, connection_minutes_per_month)
SELECT id, '-infinity', currency, price, extra_messages_price, extra_minutes_price, messages_per_month, connection_minutes_per_month FROM plans;

-- +goose StatementBegin
CREATE FUNCTION plan_terms_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO plan_terms (plan, since, currency, price, extra_messages_price, extra_minutes_price, messages_per_month, connection_minutes_per_month)
    VALUES (NEW.id, now(), NEW.currency, NEW.price, NEW.extra_messages_price, NEW.extra_minutes_price, NEW.messages_per_month, NEW.connection_minutes_per_month);
    RETURN NULL;
END
$$;
CREATE FUNCTION plan_terms_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the terms of plans are append-only: change the plan instead' USING ERRCODE = 'restrict_violation';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER plan_terms_added AFTER INSERT ON plans FOR EACH ROW EXECUTE FUNCTION plan_terms_changed();
CREATE TRIGGER plan_terms_changed AFTER UPDATE ON plans FOR EACH ROW
    WHEN ((OLD.currency, OLD.price, OLD.extra_messages_price, OLD.extra_minutes_price, OLD.messages_per_month, OLD.connection_minutes_per_month)
        IS DISTINCT FROM (NEW.currency, NEW.price, NEW.extra_messages_price, NEW.extra_minutes_price, NEW.messages_per_month, NEW.connection_minutes_per_month))
    EXECUTE FUNCTION plan_terms_changed();
CREATE TRIGGER plan_terms_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON plan_terms
    FOR EACH STATEMENT EXECUTE FUNCTION plan_terms_append_only();

-- Since when an account has its plan, and which one it will have.
ALTER TABLE accounts
    ADD COLUMN plan_since   timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN next_plan    text REFERENCES plans,
    ADD COLUMN next_plan_at timestamptz,
    ADD CONSTRAINT accounts_next_plan CHECK ((next_plan IS NULL) = (next_plan_at IS NULL));
UPDATE accounts a SET plan_since = coalesce((SELECT max(since) FROM account_plans h WHERE h.account_id = a.id), a.created_at);
CREATE INDEX accounts_next_plan_at ON accounts (next_plan_at) WHERE next_plan_at IS NOT NULL;

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION account_plan_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO account_plans (account_id, plan, since) VALUES (NEW.id, NEW.plan, NEW.created_at);
    ELSIF NEW.plan <> OLD.plan THEN
        -- An api of a former version changes the plan and says no time.
        INSERT INTO account_plans (account_id, plan, since)
        VALUES (NEW.id, NEW.plan, CASE WHEN NEW.plan_since = OLD.plan_since THEN now() ELSE NEW.plan_since END);
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

-- The ledger's sums by account, tenant and day, so that a statement reads a row for
-- each day of a tenant. They are made with the rows that they sum.
CREATE TABLE usage_ledger_days (
    account_id         text   NOT NULL,
    tenant_id          text   NOT NULL,
    day                date   NOT NULL, -- UTC
    accepted           bigint NOT NULL,
    delivered          bigint NOT NULL,
    delivered_bytes    bigint NOT NULL,
    received_bytes     bigint NOT NULL,
    connection_seconds bigint NOT NULL,
    opened             bigint NOT NULL,
    PRIMARY KEY (account_id, day, tenant_id)
);

-- +goose StatementBegin
CREATE FUNCTION usage_ledger_summed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage_ledger_days AS d (account_id, tenant_id, day, accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened)
    SELECT account_id, tenant_id, (hour AT TIME ZONE 'UTC')::date,
        sum(accepted), sum(delivered), sum(delivered_bytes), sum(received_bytes), sum(connection_seconds), sum(opened)
    FROM added GROUP BY 1, 2, 3 ORDER BY 1, 3, 2
    ON CONFLICT (account_id, day, tenant_id) DO UPDATE SET
        accepted = d.accepted + excluded.accepted, delivered = d.delivered + excluded.delivered,
        delivered_bytes = d.delivered_bytes + excluded.delivered_bytes, received_bytes = d.received_bytes + excluded.received_bytes,
        connection_seconds = d.connection_seconds + excluded.connection_seconds, opened = d.opened + excluded.opened;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
LOCK TABLE usage_ledger IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO usage_ledger_days (account_id, tenant_id, day, accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened)
SELECT account_id, tenant_id, (hour AT TIME ZONE 'UTC')::date,
    sum(accepted), sum(delivered), sum(delivered_bytes), sum(received_bytes), sum(connection_seconds), sum(opened)
FROM usage_ledger GROUP BY 1, 2, 3;
CREATE TRIGGER usage_ledger_summed AFTER INSERT ON usage_ledger REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION usage_ledger_summed();
