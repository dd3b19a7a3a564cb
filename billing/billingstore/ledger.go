package billingstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

// Commit implements usage.Ledger: the flush's mark and everything in it are one
// transaction, so a flush counts once, whoever commits it how often.
func (s *Store) Commit(ctx context.Context, f usage.Flush) (added bool, err error) {
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "INSERT INTO usage_flushes (edge_run, sequence) VALUES ($1, $2) ON CONFLICT DO NOTHING", f.EdgeRun, f.Sequence)
		if err != nil {
			return fmt.Errorf("mark flush: %w", err)
		}
		if added = tag.RowsAffected() == 1; !added {
			return nil
		}
		var b pgx.Batch
		queueDeltas(&b, f.Deltas)
		queueAccepted(&b, f.Accepted)
		queueGauges(&b, f)
		queueActivity(&b, f)
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return fmt.Errorf("add flush: %w", err)
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("commit flush %s/%d: %w", f.EdgeRun, f.Sequence, err)
	}
	return added, nil
}

// row names a row of the ledger. Rows are written in their order, so that two
// commits at once wait for each other and never for ever.
type row struct {
	tenant tenants.ID
	minute time.Time
	name   string // hub or code
}

func compareRows(a, b row) int {
	return cmp.Or(cmp.Compare(a.tenant, b.tenant), a.minute.Compare(b.minute), cmp.Compare(a.name, b.name))
}

// sorted returns the keys of m in their order.
func sorted[V any](m map[row]V) []row {
	rows := make([]row, 0, len(m))
	for r := range m {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, compareRows)
	return rows
}

func minuteOf(t time.Time) time.Time { return t.UTC().Truncate(time.Minute) }

// queueDeltas adds deltas to their minutes, and refusals to theirs. Amounts are
// never negative: what is counted only grows.
func queueDeltas(b *pgx.Batch, deltas []usage.Delta) {
	minutes := make(map[row]usage.Delta)
	refusals := make(map[row]int64)
	for _, d := range deltas {
		key := row{d.Tenant, minuteOf(d.Minute), d.Hub}
		sum := minutes[key]
		sum.Delivered += max(0, d.Delivered)
		sum.DeliveredBytes += max(0, d.DeliveredBytes)
		sum.ReceivedBytes += max(0, d.ReceivedBytes)
		sum.ConnectionSeconds += max(0, d.ConnectionSeconds)
		sum.Opened += max(0, d.Opened)
		minutes[key] = sum
		for code, n := range d.Refused {
			refusals[row{d.Tenant, key.minute, code}] += max(0, n)
		}
	}
	for _, r := range sorted(minutes) {
		d := minutes[r]
		b.Queue(`
			INSERT INTO usage_minutes AS u (tenant_id, hub, minute, delivered, delivered_bytes, received_bytes, connection_seconds, opened)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (tenant_id, minute, hub) DO UPDATE SET
				delivered = u.delivered + excluded.delivered, delivered_bytes = u.delivered_bytes + excluded.delivered_bytes,
				received_bytes = u.received_bytes + excluded.received_bytes,
				connection_seconds = u.connection_seconds + excluded.connection_seconds, opened = u.opened + excluded.opened`,
			r.tenant, r.name, r.minute, d.Delivered, d.DeliveredBytes, d.ReceivedBytes, d.ConnectionSeconds, d.Opened)
	}
	for _, r := range sorted(refusals) {
		b.Queue(`
			INSERT INTO usage_refusals AS u (tenant_id, minute, code, count) VALUES ($1, $2, $3, $4)
			ON CONFLICT (tenant_id, minute, code) DO UPDATE SET count = u.count + excluded.count`,
			r.tenant, r.minute, r.name, refusals[r])
	}
}

// queueAccepted writes running totals; the largest one seen wins, so that their
// order of arrival means nothing.
func queueAccepted(b *pgx.Batch, counters []usage.Counter) {
	counters = slices.Clone(counters)
	slices.SortFunc(counters, func(x, y usage.Counter) int {
		return cmp.Or(compareRows(row{x.Tenant, x.Minute, x.Hub}, row{y.Tenant, y.Minute, y.Hub}), cmp.Compare(x.Epoch, y.Epoch))
	})
	for _, c := range counters {
		b.Queue(`
			INSERT INTO usage_accepted AS u (tenant_id, hub, epoch, minute, total) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (tenant_id, minute, hub, epoch) DO UPDATE SET total = greatest(u.total, excluded.total)`,
			c.Tenant, c.Hub, c.Epoch, minuteOf(c.Minute), c.Total)
	}
}

// queueGauges replaces what the edge held, unless a later flush of it was
// committed before, and keeps the peaks. An edge is heard of when its flush is
// committed, by the database's clock: edges' clocks differ.
func queueGauges(b *pgx.Batch, f usage.Flush) {
	b.Queue(`
		INSERT INTO usage_edges AS e (edge_run, sequence, seen_at) VALUES ($1, $2, now())
		ON CONFLICT (edge_run) DO UPDATE SET sequence = excluded.sequence, seen_at = excluded.seen_at
		WHERE e.sequence < excluded.sequence`, f.EdgeRun, f.Sequence)
	var ids []tenants.ID
	var open []int64
	for _, g := range f.Gauges {
		if g.Connections > 0 {
			ids, open = append(ids, g.Tenant), append(open, g.Connections)
		}
	}
	const newest = "EXISTS (SELECT FROM usage_edges WHERE edge_run = $1 AND sequence = $2)"
	b.Queue("DELETE FROM usage_gauges WHERE edge_run = $1 AND tenant_id <> ALL($3) AND "+newest, f.EdgeRun, f.Sequence, append([]tenants.ID{}, ids...))
	b.Queue(`
		INSERT INTO usage_gauges (tenant_id, edge_run, connections)
		SELECT tenant, $1, max(connections) FROM unnest($3::text[], $4::bigint[]) AS g(tenant, connections)
		WHERE `+newest+` GROUP BY tenant
		ON CONFLICT (tenant_id, edge_run) DO UPDATE SET connections = excluded.connections`,
		f.EdgeRun, f.Sequence, append([]tenants.ID{}, ids...), append([]int64{}, open...))
	minute := minuteOf(f.SentAt)
	for _, g := range f.Gauges {
		if peak := max(g.Peak, g.Connections); peak > 0 {
			b.Queue(`
				INSERT INTO usage_peaks AS u (tenant_id, minute, edge_run, peak) VALUES ($1, $2, $3, $4)
				ON CONFLICT (tenant_id, minute, edge_run) DO UPDATE SET peak = greatest(u.peak, excluded.peak)`,
				g.Tenant, minute, f.EdgeRun, peak)
		}
	}
}

// queueActivity notes first connections, and first and last messages.
func queueActivity(b *pgx.Batch, f usage.Flush) {
	type seen struct{ connected, published bool }
	all := make(map[tenants.ID]seen)
	for _, d := range f.Deltas {
		if d.Opened > 0 {
			s := all[d.Tenant]
			s.connected = true
			all[d.Tenant] = s
		}
	}
	for _, g := range f.Gauges {
		if max(g.Peak, g.Connections) > 0 {
			s := all[g.Tenant]
			s.connected = true
			all[g.Tenant] = s
		}
	}
	for _, c := range f.Accepted {
		if c.Total > 0 {
			s := all[c.Tenant]
			s.published = true
			all[c.Tenant] = s
		}
	}
	ids := make([]tenants.ID, 0, len(all))
	for id := range all {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		var connected, published *time.Time
		if all[id].connected {
			connected = &f.SentAt
		}
		if all[id].published {
			published = &f.SentAt
		}
		b.Queue(`
			INSERT INTO usage_activity AS u (tenant_id, first_connection_at, first_message_at, last_message_at) VALUES ($1, $2, $3, $3)
			ON CONFLICT (tenant_id) DO UPDATE SET
				first_connection_at = least(u.first_connection_at, excluded.first_connection_at),
				first_message_at = least(u.first_message_at, excluded.first_message_at),
				last_message_at = greatest(u.last_message_at, excluded.last_message_at)`, id, connected, published)
	}
}
