package billingstore

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/postgres"
)

// postLimit bounds how many hours one transaction moves to the ledger.
const postLimit = 5000

// Post moves the hours that began before a time to the ledger. What is used in
// them afterwards makes rows of its own. Any number of processes may do it.
func (s *Store) Post(ctx context.Context, before time.Time) error {
	for {
		tag, err := s.pool.Exec(ctx, `
			WITH due AS (
				SELECT tenant_id, hour, hub FROM usage_open WHERE hour < $1 ORDER BY tenant_id, hour, hub LIMIT $2 FOR UPDATE SKIP LOCKED
			), taken AS (
				DELETE FROM usage_open o USING due d WHERE o.tenant_id = d.tenant_id AND o.hour = d.hour AND o.hub = d.hub RETURNING o.*
			), posted AS (
				INSERT INTO usage_ledger (account_id, tenant_id, hub, hour, kind, accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened)
				SELECT account_id, tenant_id, hub, hour, 'usage', accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened
				FROM taken WHERE greatest(accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened) > 0
			)
			SELECT FROM taken`, before, postLimit)
		if err != nil {
			return postgres.Error("post usage", err)
		}
		if tag.RowsAffected() == 0 {
			return nil
		}
	}
}

// Correct implements billing.Store.
func (s *Store) Correct(ctx context.Context, c billing.Correction, at time.Time) error {
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			INSERT INTO usage_ledger (account_id, tenant_id, hub, hour, kind, accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened,
				concerns, reason, actor)
			SELECT account_id, tenant_id, $2, $3, 'correction', $4, $5, $6, $7, $8, $9, $10, $11, $12 FROM (
				SELECT account_id, id AS tenant_id FROM tenants WHERE id = $1
				UNION SELECT account_id, tenant_id FROM usage_ledger WHERE tenant_id = $1
			) known LIMIT 1`,
			c.Tenant, c.Hub, at.UTC().Truncate(time.Hour), c.Accepted, c.Delivered, c.DeliveredBytes, c.ReceivedBytes, c.ConnectionSeconds, c.Opened,
			c.Concerns.UTC().Truncate(time.Hour), c.Reason, c.Actor)
		if err != nil {
			return fmt.Errorf("add correction: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return fault.New(fault.NotFound, "There is no such tenant, and never was.")
		}
		// Minutes and days are sums of the ledger: they follow it.
		var b pgx.Batch
		b.Queue(`
			INSERT INTO usage_minutes AS u (tenant_id, hub, minute, accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (tenant_id, minute, hub) DO UPDATE SET
				accepted = u.accepted + excluded.accepted, delivered = u.delivered + excluded.delivered,
				delivered_bytes = u.delivered_bytes + excluded.delivered_bytes, received_bytes = u.received_bytes + excluded.received_bytes,
				connection_seconds = u.connection_seconds + excluded.connection_seconds, opened = u.opened + excluded.opened`,
			c.Tenant, c.Hub, minuteOf(at), c.Accepted, c.Delivered, c.DeliveredBytes, c.ReceivedBytes, c.ConnectionSeconds, c.Opened)
		b.Queue(`
			INSERT INTO usage_days AS u (tenant_id, day, messages, connection_seconds) VALUES ($1, $2, $3, $4)
			ON CONFLICT (tenant_id, day) DO UPDATE SET
				messages = u.messages + excluded.messages, connection_seconds = u.connection_seconds + excluded.connection_seconds`,
			c.Tenant, at.UTC(), c.Accepted+c.Delivered, c.ConnectionSeconds)
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return fmt.Errorf("add correction: %w", err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("correct usage: %w", err)
	}
	return nil
}

// whose is the column and its value that a reading of the ledger is bound to.
func whose(w billing.Whose) (column string, value any) {
	if w.Account != "" {
		return "account_id", w.Account
	}
	return "tenant_id", w.Tenant
}

// entriesPage is how many entries are read at once, and some more: all of an hour of a
// hub are read together.
const entriesPage = 1000

// Entries implements billing.Store. They are read in pages, and no connection is held
// while a page is handed on, for as long as that may take. An hour that still counts is
// read in the same moment as what the ledger has of it, so that it isn't missed or read
// twice on its way.
func (s *Store) Entries(ctx context.Context, w billing.Whose, from, to time.Time, kind billing.Kind, each func(billing.Entry) error) error {
	for last := (billing.Entry{Hour: from}); ; {
		page, err := s.entriesAfter(ctx, w, last, to, kind)
		if err != nil {
			return err
		}
		for _, e := range page {
			if err := each(e); err != nil {
				return err
			}
		}
		if len(page) < entriesPage {
			return nil
		}
		last = page[len(page)-1]
	}
}

// entriesAfter reads the page that follows the hour of a hub that an entry is of.
func (s *Store) entriesAfter(ctx context.Context, w billing.Whose, last billing.Entry, to time.Time, kind billing.Kind) ([]billing.Entry, error) {
	column, value := whose(w)
	const first = ` ORDER BY hour, tenant_id, hub FETCH FIRST $7 ROWS WITH TIES`
	of := `WHERE ` + column + ` = $1 AND hour >= $2 AND hour < $3 AND (hour, tenant_id, hub) > ($2, $5, $6)`
	return many(ctx, s, "ledger", func(row pgx.CollectableRow) (e billing.Entry, err error) {
		var concerns, posted *time.Time
		err = row.Scan(&e.ID, &e.Tenant, &e.Hub, &e.Hour, &e.Kind, &e.Accepted, &e.Delivered, &e.DeliveredBytes, &e.ReceivedBytes, &e.ConnectionSeconds, &e.Opened,
			&concerns, &e.Reason, &e.Actor, &posted)
		e.Hour = e.Hour.UTC()
		if concerns != nil {
			e.Concerns = concerns.UTC()
		}
		if posted != nil {
			e.PostedAt = posted.UTC()
		}
		return e, err
	}, `
		SELECT * FROM (
			SELECT * FROM (
				(SELECT id, tenant_id, hub, hour, kind, accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened,
					concerns, coalesce(reason, ''), coalesce(actor, ''), posted_at
				FROM usage_ledger `+of+` AND ($4::text = '' OR kind = $4)`+first+`)
				UNION ALL
				(SELECT 0, tenant_id, hub, hour, 'usage', accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened, NULL, '', '', NULL
				FROM usage_open `+of+` AND $4::text <> 'correction'`+first+`)
			) entries`+first+`
		) page
		ORDER BY hour, tenant_id, hub, id = 0, id`, value, last.Hour, to, string(kind), last.Tenant, last.Hub, entriesPage)
}

// CountEntries implements billing.Store.
func (s *Store) CountEntries(ctx context.Context, w billing.Whose, from, to time.Time, kind billing.Kind) (n int, err error) {
	column, value := whose(w)
	err = s.pool.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM usage_ledger WHERE `+column+` = $1 AND hour >= $2 AND hour < $3 AND ($4::text = '' OR kind = $4))
			+ (SELECT count(*) FROM usage_open WHERE `+column+` = $1 AND hour >= $2 AND hour < $3 AND $4 <> 'correction')`, value, from, to, string(kind)).Scan(&n)
	if err != nil {
		return 0, postgres.Error("count ledger", err)
	}
	return n, nil
}
