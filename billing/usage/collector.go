package usage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

const (
	group = "ledger"
	// readBatch is how many flushes are read at once.
	readBatch = 64
	readBlock = time.Second
	// claimAfter is when a flush that another collector has read but not
	// committed is taken over: longer than any commit takes.
	claimAfter = 30 * time.Second
	// claimChecks is how often within that time a collector looks for them.
	claimChecks = 3
	// retryPause is the time between two tries after an error.
	retryPause = time.Second
	// maxUnreadable is how many flushes that nobody can read are kept for people.
	maxUnreadable = 1000
)

// CollectorConfig is what a Collector needs.
type CollectorConfig struct {
	Redis  redis.UniversalClient
	Ledger Ledger
	// Name is unique per process.
	Name string
	// OnCommit is told the tenants of each flush that was new to the ledger. It
	// must not block for long. Nil = nobody is told.
	OnCommit func(ctx context.Context, ids []tenants.ID)
	Logger   *slog.Logger
}

// Collector moves flushes from Redis to the ledger. Any number may run: each
// flush goes to one of them, and what one leaves behind another takes over. The
// ledger makes sure that it counts once.
type Collector struct {
	cfg     CollectorConfig
	block   time.Duration
	claim   time.Duration // claimAfter
	claimAt time.Time
}

// NewCollector returns a Collector; Run does the work.
func NewCollector(cfg CollectorConfig) (*Collector, error) {
	if cfg.Redis == nil || cfg.Ledger == nil || cfg.Name == "" || cfg.Logger == nil {
		return nil, errors.New("usage collector needs Redis, Ledger, Name and Logger")
	}
	return &Collector{cfg: cfg, block: readBlock, claim: claimAfter}, nil
}

// Run commits flushes until ctx is done. It goes on after every error.
func (c *Collector) Run(ctx context.Context) error {
	// What this consumer had read before an error is pending and read first.
	from := "0"
	for ctx.Err() == nil {
		n, err := c.step(ctx, from)
		switch {
		case err == nil && from == "0" && n == 0:
			from = ">"
		case err != nil && ctx.Err() == nil:
			c.cfg.Logger.WarnContext(ctx, "usage not collected, trying again", "error", err)
			from = "0"
			select {
			case <-ctx.Done():
			case <-time.After(retryPause):
			}
		}
	}
	return nil
}

// step reads and commits one batch and returns its size.
func (c *Collector) step(ctx context.Context, from string) (int, error) {
	if time.Since(c.claimAt) >= c.claim/claimChecks {
		if err := c.takeOver(ctx); err != nil {
			return 0, err
		}
		c.claimAt = time.Now()
	}
	read, err := c.cfg.Redis.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: group, Consumer: c.cfg.Name, Streams: []string{redisclient.UsageStream, from}, Count: readBatch, Block: c.block,
	}).Result()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	if err != nil {
		if err = c.regroup(ctx, err); err != nil {
			return 0, fmt.Errorf("read usage: %w", err)
		}
		return 0, nil
	}
	n := 0
	for _, stream := range read {
		n += len(stream.Messages)
		if err := c.commit(ctx, stream.Messages); err != nil {
			return n, err
		}
	}
	return n, nil
}

// takeOver commits what other collectors have left behind.
func (c *Collector) takeOver(ctx context.Context) error {
	start := "0-0"
	for {
		messages, next, err := c.cfg.Redis.XAutoClaim(ctx, &redis.XAutoClaimArgs{
			Stream: redisclient.UsageStream, Group: group, Consumer: c.cfg.Name, MinIdle: c.claim, Start: start, Count: readBatch,
		}).Result()
		if err != nil {
			if err = c.regroup(ctx, err); err != nil {
				return fmt.Errorf("take over usage: %w", err)
			}
			return nil
		}
		if err := c.commit(ctx, messages); err != nil {
			return err
		}
		if next == "0-0" {
			return nil
		}
		start = next
	}
}

// commit puts each flush in the ledger and then takes it out of the stream. A
// crash in between makes it be committed again, which changes nothing.
func (c *Collector) commit(ctx context.Context, messages []redis.XMessage) error {
	for _, m := range messages {
		f, err := decode(m.Values)
		if err != nil {
			if err := c.setAside(ctx, m, err); err != nil {
				return err
			}
			continue
		}
		if err := f.settle(time.Now()); err != nil {
			if err := c.setAside(ctx, m, err); err != nil {
				return err
			}
			continue
		}
		added, err := c.cfg.Ledger.Commit(ctx, f)
		if errors.Is(err, ErrUnacceptable) { // it would hold up all that come after it
			if err := c.setAside(ctx, m, err); err != nil {
				return err
			}
			continue
		}
		if errors.Is(err, ErrUnattributed) {
			c.cfg.Logger.ErrorContext(ctx, "usage counted without what it was for", "edge_run", f.EdgeRun, "sequence", f.Sequence, "error", err)
			err = nil
		}
		if err != nil {
			return fmt.Errorf("commit usage flush %s/%d: %w", f.EdgeRun, f.Sequence, err)
		}
		if err := c.done(ctx, m.ID); err != nil {
			return err
		}
		if added && c.cfg.OnCommit != nil {
			if ids := tenantsOf(f); len(ids) > 0 {
				c.cfg.OnCommit(ctx, ids)
			}
		}
	}
	return nil
}

// done takes an entry out of the stream.
func (c *Collector) done(ctx context.Context, id string) error {
	pipe := c.cfg.Redis.TxPipeline()
	pipe.XAck(ctx, redisclient.UsageStream, group, id)
	pipe.XDel(ctx, redisclient.UsageStream, id)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("acknowledge usage: %w", err)
	}
	return nil
}

// setAside keeps an entry that can't be read or kept for people to look at, so that it
// doesn't hold up the others.
func (c *Collector) setAside(ctx context.Context, m redis.XMessage, why error) error {
	c.cfg.Logger.ErrorContext(ctx, "usage flush set aside", "entry", m.ID, "stream", redisclient.UsageUnreadable, "error", why)
	if len(m.Values) > 0 { // a deleted entry has none
		err := c.cfg.Redis.XAdd(ctx, &redis.XAddArgs{
			Stream: redisclient.UsageUnreadable, MaxLen: maxUnreadable, Approx: true, Values: m.Values,
		}).Err()
		if err != nil {
			return fmt.Errorf("set usage aside: %w", err)
		}
	}
	return c.done(ctx, m.ID)
}

// regroup makes the consumer group if err says that Redis doesn't have it, on
// first use or after it lost its data. It returns what is left of err.
func (c *Collector) regroup(ctx context.Context, err error) error {
	if !redis.HasErrorPrefix(err, "NOGROUP") {
		return err
	}
	err = c.cfg.Redis.XGroupCreateMkStream(ctx, redisclient.UsageStream, group, "0").Err()
	if redis.HasErrorPrefix(err, "BUSYGROUP") { // another collector was faster
		return nil
	}
	return err
}

// tenantsOf lists each tenant of f once.
func tenantsOf(f Flush) []tenants.ID {
	seen := make(map[tenants.ID]bool)
	var ids []tenants.ID
	note := func(id tenants.ID) {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	for _, d := range f.Deltas {
		note(d.Tenant)
	}
	for _, a := range f.Accepted {
		note(a.Tenant)
	}
	for _, g := range f.Gauges {
		note(g.Tenant)
	}
	return ids
}
