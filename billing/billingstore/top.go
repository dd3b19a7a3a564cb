package billingstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

// addTop takes tenant, dimension, minute, value and messages. A step keeps so many
// values of a dimension and no more: others are in the totals alone.
const addTop = `
	INSERT INTO usage_top AS u (tenant_id, dimension, step, at, value, accepted)
	SELECT $1::text, $2::text, s.step, date_trunc(s.step, $3::timestamptz, 'UTC'), $4::text, $5::bigint
	FROM (VALUES ('minute', 100), ('hour', 200), ('day', 500)) s(step, most)
	WHERE $5 > 0 AND (
		EXISTS (SELECT FROM usage_top WHERE tenant_id = $1 AND dimension = $2 AND step = s.step AND at = date_trunc(s.step, $3, 'UTC') AND value = $4)
		OR (SELECT count(*) FROM usage_top WHERE tenant_id = $1 AND dimension = $2 AND step = s.step AND at = date_trunc(s.step, $3, 'UTC')) < s.most)
	ON CONFLICT (tenant_id, dimension, step, at, value) DO UPDATE SET accepted = u.accepted + excluded.accepted`

// Top implements billing.Store.
func (s *Store) Top(ctx context.Context, t tenants.ID, q billing.Query, by billing.Dimension, most int) (top []billing.TopValue, total int64, err error) {
	// What is told apart is part of what was used: corrections are of no group or user.
	const usage = `
		SELECT hub, accepted FROM usage_ledger WHERE $4 <> 'minute' AND kind = 'usage' AND tenant_id = $1 AND hour >= $2 AND hour < $3
		UNION ALL SELECT hub, accepted FROM usage_open WHERE $4 <> 'minute' AND tenant_id = $1 AND hour >= $2 AND hour < $3
		UNION ALL SELECT hub, total FROM usage_accepted WHERE $4 = 'minute' AND tenant_id = $1 AND minute >= $2 AND minute < $3`
	values := "SELECT value, accepted FROM usage_top WHERE tenant_id = $1 AND at >= $2 AND at < $3 AND step = $4 AND dimension = $5"
	if by == billing.ByHub {
		values = "SELECT hub AS value, accepted FROM (" + usage + ") used WHERE $5 = 'hub'"
	}
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		// Both are of one moment.
		if _, err := tx.Exec(ctx, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "SELECT coalesce(sum(accepted), 0)::bigint FROM ("+usage+") used", t, q.From, q.To, string(q.Step)).Scan(&total); err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, "SELECT value, sum(accepted)::bigint FROM ("+values+") v GROUP BY value ORDER BY 2 DESC, 1 LIMIT $6",
			t, q.From, q.To, string(q.Step), string(by), most) // its error comes with the rows
		top, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (v billing.TopValue, err error) {
			err = row.Scan(&v.Value, &v.Accepted)
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
