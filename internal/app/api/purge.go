package api

import (
	"context"
	"errors"
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
const (
	purgeFirst   = 6 * time.Second
	purgeEvery   = 10 * time.Second
	purgeSettled = 40 * time.Second // from here on a look that finds nothing is the last but one
	purgeLast    = 15 * time.Minute
	// ledgerPatience is how long the first look waits for the last flushes to be in
	// the ledger.
	ledgerPatience = 30 * time.Second
	purgeTimeout   = time.Minute
	scanStep       = 1000
)

// purgeWorker takes what edges have kept of a deleted tenant out of Redis.
type purgeWorker struct {
	river.WorkerDefaults[tenantstore.PurgeTenant]
	purger
	publish func(context.Context, tenants.ID) error
}

// Work implements river.Worker.
func (w *purgeWorker) Work(ctx context.Context, job *river.Job[tenantstore.PurgeTenant]) error {
	// Edges drop the tenant when they have its tombstone, which was published right
	// after the deletion unless Redis was away.
	if err := w.publish(ctx, job.Args.Tenant); err != nil {
		return fmt.Errorf("publish tombstone: %w", err)
	}
	age := time.Since(job.Args.Deleted)
	if age < purgeFirst {
		return river.JobSnooze(purgeFirst - age)
	}
	if age < ledgerPatience {
		told, err := w.committed(ctx, job.Args.Deleted.Add(purgeFirst))
		if err != nil {
			return err
		}
		if !told {
			return river.JobSnooze(time.Second)
		}
	}
	gone, err := w.purge(ctx, job.Args.Tenant)
	switch {
	case err != nil:
		return err
	case gone > 0 || age < purgeSettled:
		return river.JobSnooze(purgeEvery)
	case age < purgeLast:
		return river.JobSnooze(purgeLast - age)
	}
	return nil
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
	runs, err := p.redis.SMembers(ctx, redisclient.PresenceEdges).Result()
	if err != nil {
		return gone, fmt.Errorf("look for presence: %w", err)
	}
	for _, run := range runs {
		n, err := p.forget(ctx, redisclient.PresenceHubs(run), string(t)+"/")
		if err != nil {
			return gone, err
		}
		gone += n
	}
	return gone, nil
}

// forget takes the members with a prefix out of a set.
func (p purger) forget(ctx context.Context, set, prefix string) (int64, error) {
	all, err := p.redis.SMembers(ctx, set).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, fmt.Errorf("look for presence: %w", err)
	}
	var members []any
	for _, m := range all {
		if strings.HasPrefix(m, prefix) {
			members = append(members, m)
		}
	}
	if len(members) == 0 {
		return 0, nil
	}
	n, err := p.redis.SRem(ctx, set, members...).Result()
	if err != nil {
		return 0, fmt.Errorf("forget presence: %w", err)
	}
	return n, nil
}
