package billingstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

// addTop takes what a flush says messages were for, as lists of tenants, dimensions,
// minutes, values, accepted and delivered. A step keeps so many values of a dimension
// and no more, those that are there already and then the largest: others are in the
// totals alone.
const addTop = `
	WITH steps(step, most) AS (VALUES ('minute', 200), ('hour', 400), ('day', 1000)), news AS (
		SELECT tenant_id, dimension, step, most, date_trunc(step, minute, 'UTC') AS at, value, sum(accepted)::bigint AS accepted, sum(delivered)::bigint AS delivered
		FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::bigint[], $6::bigint[])
			AS n(tenant_id, dimension, minute, value, accepted, delivered), steps
		GROUP BY 1, 2, 3, 4, 5, 6
	), there AS (
		SELECT k.*, (SELECT count(*) FROM usage_top u WHERE u.tenant_id = k.tenant_id AND u.dimension = k.dimension AND u.step = k.step AND u.at = k.at) AS count
		FROM (SELECT DISTINCT tenant_id, dimension, step, at FROM news) k
	), ranked AS (
		SELECT n.*, t.count, u.value IS NOT NULL AS known, count(*) FILTER (WHERE u.value IS NULL) OVER (
				PARTITION BY n.tenant_id, n.dimension, n.step, n.at ORDER BY n.accepted + n.delivered DESC, n.value
			) AS place
		FROM news n JOIN there t USING (tenant_id, dimension, step, at) LEFT JOIN usage_top u USING (tenant_id, dimension, step, at, value)
	)
	INSERT INTO usage_top AS u (tenant_id, dimension, step, at, value, accepted, delivered)
	SELECT tenant_id, dimension, step, at, value, accepted, delivered FROM ranked
	WHERE (known OR count + place <= most) AND accepted + delivered > 0
	ORDER BY tenant_id, dimension, step, at, value
	ON CONFLICT (tenant_id, dimension, step, at, value) DO UPDATE SET
		accepted = u.accepted + excluded.accepted, delivered = u.delivered + excluded.delivered`

// Top implements billing.Store.
func (s *Store) Top(ctx context.Context, t tenants.ID, q billing.Query, by billing.Dimension, most int) (top []billing.TopValue, total billing.TopValue, err error) {
	// What is told apart is part of what was used: corrections are of no group or user.
	const usage = `
		SELECT hub, accepted, delivered FROM usage_ledger WHERE $4 <> 'minute' AND kind = 'usage' AND tenant_id = $1 AND hour >= $2 AND hour < $3
		UNION ALL SELECT hub, accepted, delivered FROM usage_open WHERE $4 <> 'minute' AND tenant_id = $1 AND hour >= $2 AND hour < $3
		UNION ALL SELECT hub, total, 0 FROM usage_accepted WHERE $4 = 'minute' AND tenant_id = $1 AND minute >= $2 AND minute < $3
		UNION ALL SELECT hub, 0, delivered FROM usage_minutes WHERE $4 = 'minute' AND tenant_id = $1 AND minute >= $2 AND minute < $3`
	values := "SELECT value, accepted, delivered FROM usage_top WHERE tenant_id = $1 AND at >= $2 AND at < $3 AND step = $4 AND dimension = $5"
	if by == billing.ByHub {
		values = "SELECT hub AS value, accepted, delivered FROM (" + usage + ") used WHERE $5 = 'hub' AND accepted + delivered > 0"
	}
	err = postgres.Snapshot(ctx, s.pool, func(tx pgx.Tx) error { // both are of one moment
		if err := tx.QueryRow(ctx, "SELECT coalesce(sum(accepted), 0)::bigint, coalesce(sum(delivered), 0)::bigint FROM ("+usage+") used", t, q.From, q.To, string(q.Step)).
			Scan(&total.Accepted, &total.Delivered); err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, `SELECT value, sum(accepted)::bigint, sum(delivered)::bigint FROM (`+values+`) v
			GROUP BY value ORDER BY sum(accepted) + sum(delivered) DESC, value LIMIT $6`,
			t, q.From, q.To, string(q.Step), string(by), most) // its error comes with the rows
		top, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (v billing.TopValue, err error) {
			err = row.Scan(&v.Value, &v.Accepted, &v.Delivered)
			return v, err
		})
		return err
	})
	return top, total, err
}

// ForgetTop deletes what was told apart by steps that are no longer kept.
func (s *Store) ForgetTop(ctx context.Context, now time.Time) error {
	for step, kept := range billing.TopKept {
		if _, err := s.pool.Exec(ctx, "DELETE FROM usage_top WHERE step = $1 AND at < $2", string(step), now.Add(-kept)); err != nil {
			return postgres.Error("forget old values", err)
		}
	}
	return nil
}
