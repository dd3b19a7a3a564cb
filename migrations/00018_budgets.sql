-- +goose Up
-- Prices in cents; extra ones for a million, NULL = nothing beyond the allowance is charged.
ALTER TABLE plans
    ADD COLUMN currency               text   NOT NULL DEFAULT 'USD',
    ADD COLUMN price                  bigint NOT NULL DEFAULT 0 CHECK (price >= 0), -- of a period
    ADD COLUMN extra_messages_price   bigint CHECK (extra_messages_price >= 0),
    ADD COLUMN extra_minutes_price    bigint CHECK (extra_minutes_price >= 0);
UPDATE plans SET price = 4900, extra_messages_price = 200, extra_minutes_price = 100 WHERE id = 'pro';
UPDATE plans SET price = 49900, extra_messages_price = 100, extra_minutes_price = 50 WHERE id = 'scale';

-- Periods begin at midnight UTC of the anchor's day of the month.
ALTER TABLE accounts ADD COLUMN anchor_on date;
UPDATE accounts SET anchor_on = (created_at AT TIME ZONE 'UTC')::date;
ALTER TABLE accounts ALTER COLUMN anchor_on SET NOT NULL, ALTER COLUMN anchor_on SET DEFAULT (now() AT TIME ZONE 'UTC')::date;

-- Which plan an account had since when. It outlives the account, as the ledger does.
CREATE TABLE account_plans (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id text        NOT NULL,
    plan       text        NOT NULL,
    since      timestamptz NOT NULL
);
CREATE INDEX account_plans_account ON account_plans (account_id, since, id);
INSERT INTO account_plans (account_id, plan, since) SELECT id, plan, created_at FROM accounts;

-- +goose StatementBegin
CREATE FUNCTION account_plan_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO account_plans (account_id, plan, since) VALUES (NEW.id, NEW.plan, NEW.created_at);
    ELSIF NEW.plan <> OLD.plan THEN
        INSERT INTO account_plans (account_id, plan, since) VALUES (NEW.id, NEW.plan, now());
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER account_plan_changed AFTER INSERT OR UPDATE OF plan ON accounts FOR EACH ROW EXECUTE FUNCTION account_plan_changed();

CREATE TABLE budgets (
    account_id         text PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    messages           bigint CHECK (messages > 0),
    connection_minutes bigint CHECK (connection_minutes > 0),
    steps              int[]  NOT NULL, -- percent, ascending
    action             text   NOT NULL CHECK (action IN ('notify', 'refuse_new_connections', 'refuse_publish', 'read_only', 'stop')),
    updated_at         timestamptz NOT NULL DEFAULT now()
);

-- What was told of a budget, so that each step is told once in a period.
CREATE TABLE budget_notices (
    account_id text        NOT NULL REFERENCES accounts ON DELETE CASCADE,
    period     date        NOT NULL,
    meter      text        NOT NULL CHECK (meter IN ('messages', 'connection_minutes')),
    budget     bigint      NOT NULL,
    step       int         NOT NULL,
    used       bigint      NOT NULL,
    told_at    timestamptz NOT NULL,
    PRIMARY KEY (account_id, period, meter, budget, step)
);
