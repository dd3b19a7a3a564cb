// Package billingstore keeps the ledger of usage in Postgres and reads plans.
// Every statement names the tenants whose rows it touches.
package billingstore

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

// Store is a billing.Store and a usage.Ledger on Postgres. It is safe for
// concurrent use, by several processes too.
type Store struct{ pool postgres.Scoped }

var (
	_ billing.Store = (*Store)(nil)
	_ usage.Ledger  = (*Store)(nil)
)

// New makes a Store.
func New(pool *pgxpool.Pool) *Store { return &Store{pool: postgres.Scoped{Pool: pool}} }

// many reads all rows.
func many[T any](ctx context.Context, s *Store, what string, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	rows, _ := s.pool.Query(ctx, sql, args...) // its error comes with the rows
	v, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, postgres.Error("read "+what, err)
	}
	return v, nil
}

// Plans implements billing.Store.
func (s *Store) Plans(ctx context.Context) ([]billing.Plan, error) {
	return many(ctx, s, "plans", func(row pgx.CollectableRow) (_ billing.Plan, err error) {
		var p planRow
		if err := row.Scan(p.fields()...); err != nil {
			return p.Plan, err
		}
		return p.plan()
	}, "SELECT "+planColumns+" FROM plans p ORDER BY position")
}

const planColumns = `p.id, p.name, p.messages_per_month, p.connection_minutes_per_month, p.max_tenants, p.max_members, p.limits,
	p.currency, p.price, coalesce(p.extra_messages_price, 0), coalesce(p.extra_minutes_price, 0)`

// planRow is a row of planColumns.
type planRow struct {
	billing.Plan
	limits []byte
}

// plan is the row once it is read.
func (p *planRow) plan() (_ billing.Plan, err error) {
	p.Limits, err = tenants.PlanLimits(p.ID, p.limits)
	return p.Plan, err
}

func (p *planRow) fields() []any {
	return []any{
		&p.ID, &p.Name, &p.MessagesPerMonth, &p.ConnectionMinutesPerMonth, &p.MaxTenants, &p.MaxMembers, &p.limits,
		&p.Currency, &p.Price, &p.ExtraMessagesPrice, &p.ExtraMinutesPrice,
	}
}

// Subscribed implements billing.Store.
func (s *Store) Subscribed(ctx context.Context, account tenants.AccountID, at time.Time) (from, to time.Time, plans []billing.PlanSince, err error) {
	var anchor int
	err = s.pool.QueryRow(ctx, "SELECT extract(day FROM anchor_on)::int FROM accounts WHERE id = $1", account).Scan(&anchor)
	if errors.Is(err, pgx.ErrNoRows) {
		return from, to, nil, fault.New(fault.NotFound, "There is no such account.")
	}
	if err != nil {
		return from, to, nil, postgres.Error("read anchor", err)
	}
	from, to = tenants.Period(anchor, at)
	plans, err = many(ctx, s, "plans", func(row pgx.CollectableRow) (v billing.PlanSince, err error) {
		var p planRow
		if err := row.Scan(append(p.fields(), &v.Since)...); err != nil {
			return v, err
		}
		v.Since = v.Since.UTC()
		v.Plan, err = p.plan()
		return v, err
	}, `SELECT p.id, p.name, t.messages_per_month, t.connection_minutes_per_month, p.max_tenants, p.max_members, p.limits,
			t.currency, t.price, coalesce(t.extra_messages_price, 0), coalesce(t.extra_minutes_price, 0), h.since
		FROM account_plans h JOIN plans p ON p.id = h.plan JOIN LATERAL (
			SELECT * FROM plan_terms t WHERE t.plan = h.plan AND t.since <= greatest(h.since, $2) ORDER BY t.since DESC, t.id DESC LIMIT 1
		) t ON true
		WHERE h.account_id = $1 ORDER BY h.since, h.id`, account, from)
	return from, to, plans, err
}

// AnchorDay implements billing.Store.
func (s *Store) AnchorDay(ctx context.Context, t tenants.ID) (day int, err error) {
	err = s.pool.QueryRow(ctx, "SELECT extract(day FROM a.anchor_on)::int FROM tenants t JOIN accounts a ON a.id = t.account_id WHERE t.id = $1", t).Scan(&day)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, fault.New(fault.NotFound, "There is no such tenant.")
	}
	if err != nil {
		return 0, postgres.Error("read anchor", err)
	}
	return day, nil
}

// AccountAmounts implements billing.Store.
func (s *Store) AccountAmounts(ctx context.Context, account tenants.AccountID, from, to time.Time) ([]billing.TenantAmounts, error) {
	return many(ctx, s, "amounts", func(row pgx.CollectableRow) (v billing.TenantAmounts, err error) {
		err = row.Scan(&v.Tenant, &v.Name, &v.Accepted, &v.Delivered, &v.DeliveredBytes, &v.ReceivedBytes, &v.ConnectionSeconds, &v.Opened)
		return v, err
	}, `
		SELECT tenant_id, coalesce((SELECT name FROM tenants WHERE id = tenant_id AND account_id = $1), ''),
			sum(accepted)::bigint, sum(delivered)::bigint, sum(delivered_bytes)::bigint, sum(received_bytes)::bigint,
			sum(connection_seconds)::bigint, sum(opened)::bigint
		FROM (
			SELECT tenant_id, accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened
			FROM usage_ledger_days WHERE account_id = $1 AND day >= ($2::timestamptz AT TIME ZONE 'UTC')::date AND day < ($3::timestamptz AT TIME ZONE 'UTC')::date
			UNION ALL
			SELECT tenant_id, accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened
			FROM usage_open WHERE account_id = $1 AND hour >= $2 AND hour < $3
		) used
		GROUP BY tenant_id ORDER BY tenant_id`, account, from, to)
}

// UsedAt implements billing.Store.
func (s *Store) UsedAt(ctx context.Context, account tenants.AccountID, from, to time.Time, byHour []time.Time) ([]billing.UsedAt, error) {
	return many(ctx, s, "usage by time", func(row pgx.CollectableRow) (v billing.UsedAt, err error) {
		err = row.Scan(&v.At, &v.Day, &v.Messages, &v.ConnectionSeconds)
		v.At = v.At.UTC()
		return v, err
	}, `
		WITH hourly AS (SELECT (at AT TIME ZONE 'UTC')::date AS day FROM unnest($4::timestamptz[]) AS at)
		SELECT day::timestamp AT TIME ZONE 'UTC', true, sum(accepted + delivered)::bigint, sum(connection_seconds)::bigint
		FROM usage_ledger_days WHERE account_id = $1 AND day >= ($2::timestamptz AT TIME ZONE 'UTC')::date AND day < ($3::timestamptz AT TIME ZONE 'UTC')::date
			AND day NOT IN (SELECT day FROM hourly)
		GROUP BY day
		UNION ALL
		SELECT hour, false, sum(accepted + delivered)::bigint, sum(connection_seconds)::bigint
		FROM hourly JOIN usage_ledger ON hour >= day::timestamp AT TIME ZONE 'UTC' AND hour < (day + 1)::timestamp AT TIME ZONE 'UTC'
		WHERE account_id = $1 AND hour >= $2 AND hour < $3 GROUP BY hour
		UNION ALL
		SELECT hour, false, sum(accepted + delivered)::bigint, sum(connection_seconds)::bigint
		FROM usage_open WHERE account_id = $1 AND hour >= $2 AND hour < $3 GROUP BY hour`, account, from, to, byHour)
}

// Spent implements billing.Store.
func (s *Store) Spent(ctx context.Context, of []tenants.ID, now time.Time) ([]billing.Spent, error) {
	var accounts []tenants.AccountID
	var froms, tos []time.Time
	spent, err := many(ctx, s, "accounts", func(row pgx.CollectableRow) (v billing.Spent, err error) {
		var anchor int
		if err := row.Scan(&v.Account, &v.Tenant, &anchor); err != nil {
			return v, err
		}
		var to time.Time
		v.From, to = tenants.Period(anchor, now)
		accounts, froms, tos = append(accounts, v.Account), append(froms, v.From), append(tos, to)
		return v, nil
	}, "SELECT a.id, min(t.id), extract(day FROM a.anchor_on)::int FROM tenants t JOIN accounts a ON a.id = t.account_id WHERE t.id = ANY($1) GROUP BY a.id ORDER BY a.id", of)
	if err != nil || len(spent) == 0 {
		return nil, err
	}
	// Every account has a row, in the order that was asked for.
	used, err := many(ctx, s, "what was spent", pgx.RowToStructByPos[struct{ Messages, ConnectionSeconds int64 }], `
		SELECT coalesce(sum(d.messages), 0)::bigint, coalesce(sum(d.connection_seconds), 0)::bigint
		FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) WITH ORDINALITY AS p(account, begins, ends, place)
		LEFT JOIN tenants t ON t.account_id = p.account
		LEFT JOIN usage_days d ON d.tenant_id = t.id AND d.day >= (p.begins AT TIME ZONE 'UTC')::date AND d.day < (p.ends AT TIME ZONE 'UTC')::date
		GROUP BY p.place ORDER BY p.place`, accounts, froms, tos)
	if err != nil {
		return nil, err
	}
	for i, u := range used {
		spent[i].Messages, spent[i].ConnectionSeconds = u.Messages, u.ConnectionSeconds
	}
	return spent, nil
}

// Points implements billing.Store. Peaks of several edges in one minute add up;
// of several minutes the highest counts.
func (s *Store) Points(ctx context.Context, t tenants.ID, from, to time.Time, step billing.Step) ([]billing.Point, error) {
	return many(ctx, s, "usage", func(row pgx.CollectableRow) (p billing.Point, err error) {
		v := &p.Values
		err = row.Scan(&p.At, &v.Accepted, &v.Delivered, &v.DeliveredBytes, &v.ReceivedBytes, &v.ConnectionSeconds, &v.Opened, &v.Peak, &v.Refused)
		p.At = p.At.UTC()
		return p, err
	}, `
		WITH used AS (
			SELECT date_trunc($4, minute, 'UTC') AS at, accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened, 0::bigint AS peak
			FROM usage_minutes WHERE $4 = 'minute' AND tenant_id = $1 AND minute >= $2 AND minute < $3
			UNION ALL
			SELECT date_trunc($4, hour, 'UTC'), accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened, 0
			FROM usage_ledger WHERE $4 <> 'minute' AND tenant_id = $1 AND hour >= $2 AND hour < $3
			UNION ALL
			SELECT date_trunc($4, hour, 'UTC'), accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened, 0
			FROM usage_open WHERE $4 <> 'minute' AND tenant_id = $1 AND hour >= $2 AND hour < $3
			UNION ALL
			SELECT date_trunc($4, minute, 'UTC'), 0, 0, 0, 0, 0, 0, sum(peak)::bigint
			FROM usage_peaks WHERE tenant_id = $1 AND minute >= $2 AND minute < $3 GROUP BY minute
		), refused AS (
			SELECT at, jsonb_object_agg(code, count) AS refused FROM (
				SELECT date_trunc($4, minute, 'UTC') AS at, code, sum(count)::bigint AS count
				FROM usage_refusals WHERE tenant_id = $1 AND minute >= $2 AND minute < $3 GROUP BY 1, 2
			) by_code GROUP BY at
		), summed AS (
			SELECT at, sum(accepted)::bigint AS accepted, sum(delivered)::bigint AS delivered,
				sum(delivered_bytes)::bigint AS delivered_bytes, sum(received_bytes)::bigint AS received_bytes,
				sum(connection_seconds)::bigint AS connection_seconds, sum(opened)::bigint AS opened, max(peak) AS peak
			FROM used GROUP BY at
		)
		SELECT at, coalesce(accepted, 0), coalesce(delivered, 0), coalesce(delivered_bytes, 0), coalesce(received_bytes, 0),
			coalesce(connection_seconds, 0), coalesce(opened, 0), coalesce(peak, 0), coalesce(refused, '{}')
		FROM summed FULL JOIN refused USING (at) ORDER BY at`, t, from, to, string(step))
}

// Month implements billing.Store.
func (s *Store) Month(ctx context.Context, t tenants.ID, from, to time.Time) (billing.Month, error) {
	m := billing.Month{From: from, To: to}
	var seconds, accountSeconds int64
	err := s.pool.QueryRow(ctx, `
		WITH account AS (
			SELECT a.id, p.id AS plan, p.messages_per_month, p.connection_minutes_per_month
			FROM tenants t JOIN accounts a ON a.id = t.account_id JOIN plans p ON p.id = a.plan WHERE t.id = $1
		), mine AS (
			SELECT t.id FROM tenants t JOIN account ON t.account_id = account.id
		), used AS (
			SELECT tenant_id, sum(messages) AS messages, sum(connection_seconds) AS seconds
			FROM usage_days WHERE tenant_id IN (SELECT id FROM mine) AND day >= $2 AND day < $3 GROUP BY tenant_id
		)
		SELECT id, plan, messages_per_month, connection_minutes_per_month,
			coalesce((SELECT sum(messages) FROM used WHERE tenant_id = $1), 0)::bigint,
			coalesce((SELECT sum(seconds) FROM used WHERE tenant_id = $1), 0)::bigint,
			coalesce((SELECT sum(messages) FROM used), 0)::bigint,
			coalesce((SELECT sum(seconds) FROM used), 0)::bigint
		FROM account`, t, from, to).
		Scan(&m.Account, &m.Plan, &m.MessagesAllowed, &m.ConnectionMinutesAllowed, &m.Messages, &seconds, &m.AccountMessages, &accountSeconds)
	if err == pgx.ErrNoRows { //nolint:errorlint // QueryRow returns it bare
		return m, fault.New(fault.NotFound, "There is no such tenant.")
	}
	if err != nil {
		return m, postgres.Error("read month", err)
	}
	m.ConnectionMinutes = billing.Values{ConnectionSeconds: seconds}.ConnectionMinutes()
	m.AccountConnectionMinutes = billing.Values{ConnectionSeconds: accountSeconds}.ConnectionMinutes()
	return m, nil
}

// Activity implements billing.Store.
func (s *Store) Activity(ctx context.Context, t tenants.ID, silence time.Duration) (billing.Activity, error) {
	a := billing.Activity{Tenant: t}
	var firstConnection, firstMessage, lastMessage *time.Time
	err := s.pool.QueryRow(ctx, `
		SELECT coalesce((SELECT sum(g.connections) FROM usage_gauges g JOIN usage_edges e USING (edge_run)
				WHERE g.tenant_id = $1 AND e.seen_at > now() - $2::interval), 0)::bigint,
			max(first_connection_at), max(first_message_at), max(last_message_at)
		FROM usage_activity WHERE tenant_id = $1`, t, silence).Scan(&a.ConnectionsNow, &firstConnection, &firstMessage, &lastMessage)
	if err != nil {
		return a, postgres.Error("read activity", err)
	}
	for _, at := range []struct {
		from *time.Time
		to   *time.Time
	}{{firstConnection, &a.FirstConnectionAt}, {firstMessage, &a.FirstMessageAt}, {lastMessage, &a.LastMessageAt}} {
		if at.from != nil {
			*at.to = at.from.UTC()
		}
	}
	return a, nil
}

// Hubs implements billing.Store.
func (s *Store) Hubs(ctx context.Context, t tenants.ID, since time.Time, most int) ([]string, error) {
	return many(ctx, s, "used hubs", pgx.RowTo[string],
		"SELECT hub FROM usage_hubs WHERE tenant_id = $1 AND last_used_on >= $2 ORDER BY last_used_on DESC, hub LIMIT $3", t, since, most)
}

// Keys implements billing.Store.
func (s *Store) Keys(ctx context.Context, t tenants.ID) (map[string]time.Time, error) {
	type use struct {
		key string
		at  time.Time
	}
	all, err := many(ctx, s, "uses of keys", func(row pgx.CollectableRow) (u use, err error) {
		err = row.Scan(&u.key, &u.at)
		return u, err
	}, "SELECT key_id, last_used_at FROM usage_keys WHERE tenant_id = $1", t)
	used := make(map[string]time.Time, len(all))
	for _, u := range all {
		used[u.key] = u.at.UTC()
	}
	return used, err
}

// Watch implements billing.Store.
func (s *Store) Watch(ctx context.Context, t tenants.ID, until time.Time) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO usage_watches (tenant_id, until) VALUES ($1, $2)
		ON CONFLICT (tenant_id) DO UPDATE SET until = greatest(usage_watches.until, excluded.until)`, t, until)
	if err != nil {
		return postgres.Error("write watch", err)
	}
	return nil
}

// Watched implements billing.Store.
func (s *Store) Watched(ctx context.Context, among []tenants.ID, now time.Time) ([]tenants.ID, error) {
	return many(ctx, s, "watches", pgx.RowTo[tenants.ID], "SELECT tenant_id FROM usage_watches WHERE tenant_id = ANY($1) AND until > $2", among, now)
}

// Forget deletes what is no longer needed: marks of flushes and edges that went
// silent before, watches that ended before that time, hubs that are no longer shown
// as used, and what was written of tenants after they were deleted, save what is the
// ledger's.
func (s *Store) Forget(ctx context.Context, before time.Time) error {
	for _, sql := range []string{
		"DELETE FROM usage_commits WHERE committed_at < $1",
		"DELETE FROM usage_edges WHERE seen_at < $1",
		"DELETE FROM usage_watches WHERE until < $1",
		"DELETE FROM usage_accepted WHERE minute < $1",
	} {
		if _, err := s.pool.Exec(ctx, sql, before); err != nil {
			return postgres.Error("forget old usage marks", err)
		}
	}
	for _, table := range []string{"usage_keys", "usage_hubs", "usage_top"} {
		if _, err := s.pool.Exec(ctx, "DELETE FROM "+table+" u USING tenants t WHERE t.id = u.tenant_id AND t.status = 'deleted'"); err != nil {
			return postgres.Error("forget "+table+" of deleted tenants", err)
		}
	}
	if _, err := s.pool.Exec(ctx, "DELETE FROM usage_hubs WHERE last_used_on < $1", before.Add(-billing.HubsShownFor)); err != nil {
		return postgres.Error("forget unused hubs", err)
	}
	return nil
}

// Coarsen forgets the minutes before a time: usage is in the ledger by hours, and
// of peaks and refusals the hours are kept.
func (s *Store) Coarsen(ctx context.Context, before time.Time) error {
	before = before.UTC().Truncate(time.Hour)
	for _, sql := range []string{
		"DELETE FROM usage_minutes WHERE minute < $1",
		`WITH old AS (
			DELETE FROM usage_peaks WHERE minute < $1 AND NOT (edge_run = '' AND minute = date_trunc('hour', minute, 'UTC')) RETURNING *
		), minutes AS (
			SELECT tenant_id, minute, sum(peak)::bigint AS peak FROM old GROUP BY 1, 2
		)
		INSERT INTO usage_peaks AS u (tenant_id, minute, edge_run, peak)
		SELECT tenant_id, date_trunc('hour', minute, 'UTC'), '', max(peak) FROM minutes GROUP BY 1, 2
		ON CONFLICT (tenant_id, minute, edge_run) DO UPDATE SET peak = greatest(u.peak, excluded.peak)`,
		`WITH old AS (
			DELETE FROM usage_refusals WHERE minute < $1 AND minute <> date_trunc('hour', minute, 'UTC') RETURNING *
		)
		INSERT INTO usage_refusals AS u (tenant_id, minute, code, count)
		SELECT tenant_id, date_trunc('hour', minute, 'UTC'), code, sum(count)::bigint FROM old GROUP BY 1, 2, 3
		ON CONFLICT (tenant_id, minute, code) DO UPDATE SET count = u.count + excluded.count`,
	} {
		if _, err := s.pool.Exec(ctx, sql, before); err != nil {
			return postgres.Error("forget old minutes", err)
		}
	}
	return nil
}
