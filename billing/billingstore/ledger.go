package billingstore

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

// Commit implements usage.Ledger: the flush's mark and everything in it are one
// transaction, so a flush counts once, whoever commits it how often. What messages
// were for is in a savepoint of it: nothing about that keeps them from being counted.
func (s *Store) Commit(ctx context.Context, f usage.Flush) (added bool, err error) {
	var unattributed error
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "INSERT INTO usage_commits (edge_run, sequence) VALUES ($1, $2) ON CONFLICT DO NOTHING", f.EdgeRun, f.Sequence)
		if err != nil {
			return fmt.Errorf("mark flush: %w", err)
		}
		if added = tag.RowsAffected() == 1; !added {
			return nil
		}
		var b pgx.Batch
		all := byTenant(f)
		for _, t := range all {
			t.queue(&b, f.SentAt)
		}
		queueGauges(&b, f)
		queueKeys(&b, f)
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return fmt.Errorf("add flush: %w", err)
		}
		if len(f.Attributed) > 0 {
			unattributed = attribute(ctx, tx, all)
		}
		return nil
	})
	if err != nil {
		if postgres.Unacceptable(err) {
			err = fmt.Errorf("%w: %w", usage.ErrUnacceptable, err)
		}
		return false, fmt.Errorf("commit flush %s/%d: %w", f.EdgeRun, f.Sequence, err)
	}
	if unattributed != nil {
		return added, fmt.Errorf("commit flush %s/%d: %w: %w", f.EdgeRun, f.Sequence, usage.ErrUnattributed, unattributed)
	}
	return added, nil
}

// attribute keeps what messages were for, all of it or nothing. After an error tx can
// be committed, unless its connection is broken.
func attribute(ctx context.Context, tx pgx.Tx, all []*tenantUsage) error {
	return pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error {
		var ids, dimensions, values []string
		var minutes []time.Time
		var accepted, delivered []int64
		for _, t := range all {
			for _, a := range t.about {
				ids, dimensions, minutes, values = append(ids, string(a.Tenant)), append(dimensions, string(a.Dimension)), append(minutes, minuteOf(a.Minute)), append(values, a.Value)
				accepted, delivered = append(accepted, max(0, a.Accepted)), append(delivered, max(0, a.Delivered))
			}
		}
		_, err := savepoint.Exec(ctx, addTop, ids, dimensions, minutes, values, accepted, delivered)
		return err
	})
}

// queueKeys keeps when keys were used, in an order that is the same for every flush.
func queueKeys(b *pgx.Batch, f usage.Flush) {
	uses := slices.SortedFunc(slices.Values(f.Keys), func(a, b usage.KeyUse) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Key, b.Key))
	})
	for _, u := range uses {
		b.Queue(`
			INSERT INTO usage_keys AS u (tenant_id, key_id, last_used_at) VALUES ($1, $2, $3)
			ON CONFLICT (tenant_id, key_id) DO UPDATE SET last_used_at = greatest(u.last_used_at, excluded.last_used_at)
			WHERE u.tenant_id = $1`, u.Tenant, u.Key, u.At)
	}
}

// tenantUsage is what a flush says of one tenant.
type tenantUsage struct {
	tenant    tenants.ID
	minutes   map[hubMinute]usage.Delta
	refusals  map[codeMinute]int64
	accepted  []usage.Counter
	about     []usage.Attribution
	connected bool // a connection was open or opened
}

type hubMinute struct {
	minute time.Time
	hub    string
}

type codeMinute struct {
	minute time.Time
	code   string
}

// byTenant sorts a flush by tenants. The order is the same for every flush, so
// that two commits at once wait for each other and never for ever.
func byTenant(f usage.Flush) []*tenantUsage {
	all := make(map[tenants.ID]*tenantUsage)
	of := func(id tenants.ID) *tenantUsage {
		t := all[id]
		if t == nil {
			t = &tenantUsage{tenant: id, minutes: make(map[hubMinute]usage.Delta), refusals: make(map[codeMinute]int64)}
			all[id] = t
		}
		return t
	}
	for _, d := range f.Deltas {
		of(d.Tenant).add(d)
	}
	for _, c := range f.Accepted {
		of(c.Tenant).accepted = append(of(c.Tenant).accepted, c)
	}
	for _, a := range f.Attributed {
		of(a.Tenant).about = append(of(a.Tenant).about, a)
	}
	for _, g := range f.Gauges {
		if max(g.Peak, g.Connections) > 0 {
			of(g.Tenant).connected = true
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b *tenantUsage) int { return cmp.Compare(a.tenant, b.tenant) })
}

// add sums a delta. Amounts are never negative: what is counted only grows.
func (t *tenantUsage) add(d usage.Delta) {
	key := hubMinute{minuteOf(d.Minute), d.Hub}
	sum := t.minutes[key]
	sum.Delivered += max(0, d.Delivered)
	sum.DeliveredBytes += max(0, d.DeliveredBytes)
	sum.ReceivedBytes += max(0, d.ReceivedBytes)
	sum.ConnectionSeconds += max(0, d.ConnectionSeconds)
	sum.Opened += max(0, d.Opened)
	t.minutes[key] = sum
	t.connected = t.connected || d.Opened > 0
	for code, n := range d.Refused {
		t.refusals[codeMinute{key.minute, code}] += max(0, n)
	}
}

func minuteOf(t time.Time) time.Time { return t.UTC().Truncate(time.Minute) }

// added are the statements that add amounts to a minute, to its open hour and to
// its day; amounts is a row of tenant, hub, minute, and the six amounts.
func added(amounts string) string {
	return `m AS (
			INSERT INTO usage_minutes AS u (tenant_id, hub, minute, accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened)
			SELECT * FROM ` + amounts + `
			ON CONFLICT (tenant_id, minute, hub) DO UPDATE SET
				accepted = u.accepted + excluded.accepted, delivered = u.delivered + excluded.delivered,
				delivered_bytes = u.delivered_bytes + excluded.delivered_bytes, received_bytes = u.received_bytes + excluded.received_bytes,
				connection_seconds = u.connection_seconds + excluded.connection_seconds, opened = u.opened + excluded.opened
		), h AS (
			INSERT INTO usage_open AS u (account_id, tenant_id, hub, hour, accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened)
			SELECT coalesce((SELECT account_id FROM tenants WHERE id = $1), ''), tenant_id, hub, date_trunc('hour', minute, 'UTC'),
				accepted, delivered, delivered_bytes, received_bytes, connection_seconds, opened
			FROM ` + amounts + `
			ON CONFLICT (tenant_id, hour, hub) DO UPDATE SET
				accepted = u.accepted + excluded.accepted, delivered = u.delivered + excluded.delivered,
				delivered_bytes = u.delivered_bytes + excluded.delivered_bytes, received_bytes = u.received_bytes + excluded.received_bytes,
				connection_seconds = u.connection_seconds + excluded.connection_seconds, opened = u.opened + excluded.opened
		)
		INSERT INTO usage_days AS u (tenant_id, day, messages, connection_seconds)
		SELECT tenant_id, (minute AT TIME ZONE 'UTC')::date, accepted + delivered, connection_seconds FROM ` + amounts + `
		ON CONFLICT (tenant_id, day) DO UPDATE SET
			messages = u.messages + excluded.messages, connection_seconds = u.connection_seconds + excluded.connection_seconds`
}

var (
	// addUsage takes tenant, hub, minute and the six amounts.
	addUsage = `WITH amounts AS (
			SELECT $1::text AS tenant_id, $2::text AS hub, $3::timestamptz AS minute, $4::bigint AS accepted, $5::bigint AS delivered,
				$6::bigint AS delivered_bytes, $7::bigint AS received_bytes, $8::bigint AS connection_seconds, $9::bigint AS opened
		), ` + added("amounts")
	// addAccepted takes tenant, hub, minute, epoch, the running total, and the minute
	// that its growth counts in.
	addAccepted = `WITH grown AS (
			SELECT $5::bigint - coalesce((
				SELECT total FROM usage_accepted WHERE tenant_id = $1 AND minute = $3 AND hub = $2 AND epoch = $4
			), 0) AS by
		), amounts AS (
			SELECT $1::text AS tenant_id, $2::text AS hub, $6::timestamptz AS minute, by AS accepted, 0::bigint AS delivered,
				0::bigint AS delivered_bytes, 0::bigint AS received_bytes, 0::bigint AS connection_seconds, 0::bigint AS opened
			FROM grown WHERE by > 0
		), total AS (
			INSERT INTO usage_accepted AS u (tenant_id, hub, epoch, minute, total) SELECT $1, $2, $4, $3, $5 FROM grown WHERE by > 0
			ON CONFLICT (tenant_id, minute, hub, epoch) DO UPDATE SET total = greatest(u.total, excluded.total)
		), ` + added("amounts")
)

// queue queues the statements for one tenant. The first one locks the tenant's
// row of activity, so that the others find nobody else at work on this tenant.
func (t *tenantUsage) queue(b *pgx.Batch, sentAt time.Time) {
	t.queueActivity(b, sentAt)
	for key, d := range t.minutes {
		b.Queue(addUsage, t.tenant, key.hub, key.minute, 0, d.Delivered, d.DeliveredBytes, d.ReceivedBytes, d.ConnectionSeconds, d.Opened)
	}
	t.queueHubs(b)
	for key, n := range t.refusals {
		b.Queue(`
			INSERT INTO usage_refusals AS u (tenant_id, minute, code, count) VALUES ($1, $2, $3, $4)
			ON CONFLICT (tenant_id, minute, code) DO UPDATE SET count = u.count + excluded.count`,
			t.tenant, key.minute, key.code, n)
	}
	t.queueAccepted(b)
}

// queueHubs notes when hubs were used last. What was only refused is no use: names
// that are guessed would make hubs.
func (t *tenantUsage) queueHubs(b *pgx.Batch) {
	used := make(map[string]time.Time)
	note := func(hub string, minute time.Time) {
		if hub != "" && minute.After(used[hub]) {
			used[hub] = minute
		}
	}
	for key, d := range t.minutes {
		if d.Opened+d.ConnectionSeconds+d.Delivered > 0 {
			note(key.hub, key.minute)
		}
	}
	for _, c := range t.accepted {
		if c.Total > 0 {
			note(c.Hub, minuteOf(c.Minute))
		}
	}
	for hub, at := range used {
		b.Queue(`
			INSERT INTO usage_hubs AS u (tenant_id, hub, last_used_on) VALUES ($1, $2, $3)
			ON CONFLICT (tenant_id, hub) DO UPDATE SET last_used_on = excluded.last_used_on WHERE u.last_used_on < excluded.last_used_on`,
			t.tenant, hub, at)
	}
}

// queueAccepted writes running totals; the largest one seen wins, so that their
// order of arrival means nothing. What a total grew by is usage.
func (t *tenantUsage) queueAccepted(b *pgx.Batch) {
	for _, c := range t.accepted {
		counts := c.Minute
		if !c.Counts.IsZero() {
			counts = c.Counts
		}
		b.Queue(addAccepted, t.tenant, c.Hub, minuteOf(c.Minute), c.Epoch, c.Total, minuteOf(counts))
	}
}

// queueActivity notes first connections, and first and last messages.
func (t *tenantUsage) queueActivity(b *pgx.Batch, sentAt time.Time) {
	var connected, published *time.Time
	if t.connected {
		connected = &sentAt
	}
	if slices.ContainsFunc(t.accepted, func(c usage.Counter) bool { return c.Total > 0 }) {
		published = &sentAt
	}
	b.Queue(`
		INSERT INTO usage_activity AS u (tenant_id, first_connection_at, first_message_at, last_message_at) VALUES ($1, $2, $3, $3)
		ON CONFLICT (tenant_id) DO UPDATE SET
			first_connection_at = least(u.first_connection_at, excluded.first_connection_at),
			first_message_at = least(u.first_message_at, excluded.first_message_at),
			last_message_at = greatest(u.last_message_at, excluded.last_message_at)`, t.tenant, connected, published)
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
	// A flush at the first moment of a minute carries what was before.
	minute := minuteOf(f.SentAt.Add(-usage.FlushEvery / 2))
	for _, g := range slices.SortedFunc(slices.Values(f.Gauges), func(a, b usage.Gauge) int { return cmp.Compare(a.Tenant, b.Tenant) }) {
		if peak := max(g.Peak, g.Connections); peak > 0 {
			b.Queue(`
				INSERT INTO usage_peaks AS u (tenant_id, minute, edge_run, peak) VALUES ($1, $2, $3, $4)
				ON CONFLICT (tenant_id, minute, edge_run) DO UPDATE SET peak = greatest(u.peak, excluded.peak)`,
				g.Tenant, minute, f.EdgeRun, peak)
		}
	}
}
