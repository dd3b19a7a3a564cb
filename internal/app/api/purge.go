package api

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/riverqueue/river"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/tenantstore"
)

// When what edges keep of a deleted tenant is taken out of Redis, counted from the
// deletion. Edges hear of it at once, close its connections and tell what those have
// used within some seconds; what they write meanwhile, or one that was cut off writes
// when it is back, a later look finds.
type purgeTimes struct {
	first time.Duration
	// ledger is until when a look waits for the last flushes to be in the ledger.
	ledger  time.Duration
	every   time.Duration
	settled time.Duration // from here on a look that finds nothing is the last but one
	last    time.Duration
}

// usualPurge leaves nothing after a minute.
var usualPurge = purgeTimes{first: 6 * time.Second, ledger: 30 * time.Second, every: 10 * time.Second, settled: 40 * time.Second, last: 15 * time.Minute}

const (
	purgeTimeout = time.Minute // of one look
	scanStep     = 1000        // keys
)

// purgeWorker takes what edges have kept of a deleted tenant out of Redis.
type purgeWorker struct {
	river.WorkerDefaults[tenantstore.PurgeTenant]
	purger
	// sweep puts the last totals of accepted messages in the ledger.
	sweep   func(context.Context, tenants.ID) error
	times   purgeTimes
	publish func(context.Context, tenants.ID) error
	// purged notes that nothing is left.
	purged func(context.Context, tenants.ID) error
}

// Work implements river.Worker.
func (w *purgeWorker) Work(ctx context.Context, job *river.Job[tenantstore.PurgeTenant]) error {
	// Edges drop the tenant when they have its tombstone, which was published right
	// after the deletion unless Redis was away.
	if err := w.publish(ctx, job.Args.Tenant); err != nil {
		return fmt.Errorf("publish tombstone: %w", err)
	}
	age := time.Since(job.Args.Deleted)
	if age < w.times.first {
		return river.JobSnooze(w.times.first - age)
	}
	if age < w.times.ledger {
		told, err := w.committed(ctx, job.Args.Deleted.Add(w.times.first))
		if err != nil {
			return err
		}
		if !told {
			return river.JobSnooze(time.Second)
		}
	}
	if err := w.sweep(ctx, job.Args.Tenant); err != nil {
		return fmt.Errorf("read the last totals: %w", err)
	}
	gone, err := w.purge(ctx, job.Args.Tenant)
	switch {
	case err != nil:
		return err
	case gone > 0 || age < w.times.settled:
		return river.JobSnooze(w.times.every)
	case age < w.times.last:
		return river.JobSnooze(w.times.last - age)
	}
	return w.purged(ctx, job.Args.Tenant)
}

// Timeout implements river.Worker.
func (*purgeWorker) Timeout(*river.Job[tenantstore.PurgeTenant]) time.Duration { return purgeTimeout }

// NextRetry implements river.Worker.
func (*purgeWorker) NextRetry(*river.Job[tenantstore.PurgeTenant]) time.Time {
	return time.Now().Add(publishRetryMost)
}

// purger deletes keys of tenants.
type purger struct{ redis redis.UniversalClient }

// committed reports whether every flush of usage that was sent before a time is in the
// ledger.
func (p purger) committed(ctx context.Context, before time.Time) (bool, error) {
	waiting, err := p.redis.XRangeN(ctx, redisclient.UsageStream, "-", strconv.FormatInt(before.UnixMilli()-1, 10), 1).Result()
	if err != nil {
		return false, fmt.Errorf("read usage: %w", err)
	}
	return len(waiting) == 0, nil
}

// purge deletes all keys of a tenant, and where it is named in keys of edges. It
// returns how many there were.
func (p purger) purge(ctx context.Context, t tenants.ID) (gone int64, err error) {
	var cursor uint64
	for {
		var keys []string
		if keys, cursor, err = p.redis.Scan(ctx, cursor, redisclient.OfTenant(t), scanStep).Result(); err != nil {
			return gone, fmt.Errorf("look for keys: %w", err)
		}
		if len(keys) > 0 {
			n, err := p.redis.Unlink(ctx, keys...).Result()
			if err != nil {
				return gone, fmt.Errorf("delete keys: %w", err)
			}
			gone += n
		}
		if cursor == 0 {
			break
		}
	}
	listed, err := p.redis.ZRange(ctx, redisclient.UsageHubs, 0, -1).Result()
	if err != nil {
		return gone, fmt.Errorf("look for used hubs: %w", err)
	}
	if own := membersOf(t, listed); len(own) > 0 {
		n, err := p.redis.ZRem(ctx, redisclient.UsageHubs, own...).Result()
		if err != nil {
			return gone, fmt.Errorf("forget used hubs: %w", err)
		}
		gone += n
	}
	// Edges that follow announcements from the stream have had this one.
	announced, err := p.redis.XRange(ctx, redisclient.DocumentsLog, "-", "+").Result()
	if err != nil {
		return gone, fmt.Errorf("look for announcements: %w", err)
	}
	for _, m := range announced {
		for _, v := range m.Values {
			if v == string(t) {
				if err := p.redis.XDel(ctx, redisclient.DocumentsLog, m.ID).Err(); err != nil {
					return gone, fmt.Errorf("forget announcement: %w", err)
				}
			}
		}
	}
	runs, err := p.redis.SMembers(ctx, redisclient.PresenceEdges).Result()
	if err != nil {
		return gone, fmt.Errorf("look for presence: %w", err)
	}
	for _, run := range runs {
		present, err := p.redis.SMembers(ctx, redisclient.PresenceHubs(run)).Result()
		if err != nil {
			return gone, fmt.Errorf("look for presence: %w", err)
		}
		if own := membersOf(t, present); len(own) > 0 {
			n, err := p.redis.SRem(ctx, redisclient.PresenceHubs(run), own...).Result()
			if err != nil {
				return gone, fmt.Errorf("forget presence: %w", err)
			}
			gone += n
		}
	}
	return gone, nil
}

// membersOf picks the hubs of a tenant out of such as tenant/hub.
func membersOf(t tenants.ID, all []string) (own []any) {
	for _, m := range all {
		if strings.HasPrefix(m, string(t)+"/") {
			own = append(own, m)
		}
	}
	return own
}
