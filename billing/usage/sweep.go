package usage

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

const (
	sweepEvery = 5 * time.Second
	// sweepBack is how far back totals are read: the publish script keeps those of
	// an hour.
	sweepBack  = time.Hour
	sweepBatch = 500 // hubs per question
)

// readTotals returns the epoch of a hub and, minute by minute, its totals, all of
// one moment: that of the minute that is counted is in the head, see publish.lua. A hub
// whose head was lost has none: it begins anew. The version before made a head whose
// partitions were replaced its epoch.
const readTotals = `
local head
if redis.call('TYPE', KEYS[1]).ok == 'string' then
  head = {redis.call('GET', KEYS[1])}
else
  head = redis.call('HMGET', KEYS[1], 'epoch', 'at')
end
if not head[1] or head[1] == '' then return {} end
local answer, now, total = {head[1]}, '', 0
if head[2] then
  now, total = struct.unpack('>I8I8', head[2], 33)
  now = string.format('%d', now)
  answer[2], answer[3] = now, string.format('%d', total)
end
local before = redis.call('HGETALL', KEYS[2])
for i = 1, #before, 2 do
  if before[i] ~= now then answer[#answer + 1], answer[#answer + 2] = before[i], before[i + 1] end
end
return answer`

// Sweeper reads the totals of accepted messages where the publish script counts
// them, so that those of an edge that died before it could tell are in the ledger
// as well. A total that the ledger knows changes nothing.
type Sweeper struct {
	redis  redis.UniversalClient
	ledger Ledger
	log    *slog.Logger
	run    string
	// known are totals that are in the ledger, to leave them out.
	known map[acceptedKey]int64
	told  func(context.Context, []tenants.ID)

	sequence int64
}

// NewSweeper returns a Sweeper; Run does the work. onCommit is as for a Collector.
func NewSweeper(r redis.UniversalClient, l Ledger, onCommit func(context.Context, []tenants.ID), log *slog.Logger) *Sweeper {
	return &Sweeper{redis: r, ledger: l, log: log, run: "sweep-" + rand.Text(), known: make(map[acceptedKey]int64), told: onCommit}
}

// Run sweeps until ctx is done. It goes on after every error.
func (s *Sweeper) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "accepted messages not swept, trying again", "error", err)
		}
	}
}

// Sweep reads the totals of all hubs that were published to lately, once.
func (s *Sweeper) Sweep(ctx context.Context) error {
	now := time.Now()
	oldest := now.Add(-sweepBack).Unix() / 60
	for key := range s.known {
		if key.minute/60 < oldest {
			delete(s.known, key)
		}
	}
	// Who forgets must not be slower than who reads.
	if err := s.redis.ZRemRangeByScore(ctx, redisclient.UsageHubs, "-inf", "("+strconv.FormatInt(oldest-60, 10)).Err(); err != nil {
		return fmt.Errorf("forget quiet hubs: %w", err)
	}
	hubs, err := s.redis.ZRangeByScore(ctx, redisclient.UsageHubs, &redis.ZRangeBy{Min: strconv.FormatInt(oldest, 10), Max: "+inf"}).Result()
	if err != nil {
		return fmt.Errorf("list hubs: %w", err)
	}
	for len(hubs) > 0 {
		n := min(len(hubs), sweepBatch)
		if err := s.sweep(ctx, hubs[:n], oldest); err != nil {
			return err
		}
		hubs = hubs[n:]
	}
	return nil
}

// SweepTenant is Sweep for the hubs of one tenant.
func (s *Sweeper) SweepTenant(ctx context.Context, t tenants.ID) error {
	all, err := s.redis.ZRange(ctx, redisclient.UsageHubs, 0, -1).Result()
	if err != nil {
		return fmt.Errorf("list hubs: %w", err)
	}
	own := slices.DeleteFunc(all, func(name string) bool { return !strings.HasPrefix(name, redisclient.UsageHub(t, "", "")) })
	return s.sweep(ctx, own, time.Now().Add(-sweepBack).Unix()/60)
}

// sweep reads and commits the totals of some hubs.
func (s *Sweeper) sweep(ctx context.Context, names []string, oldest int64) error {
	type read struct {
		hubKey
		answer *redis.Cmd
	}
	var reads []read
	pipe := s.redis.Pipeline()
	for _, name := range names {
		if tenant, hub, ok := strings.Cut(name, "/"); ok {
			hub, partition, _ := strings.Cut(hub, "/")
			keys := redisclient.HubPartition(tenants.ID(tenant), hub, partition)
			reads = append(reads, read{hubKey{tenants.ID(tenant), hub}, pipe.EvalRO(ctx, readTotals, []string{keys.Head(), keys.Accepted()})})
		}
	}
	if len(reads) == 0 {
		return nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("read totals: %w", err)
	}
	var counters []Counter
	for _, r := range reads {
		answer, err := r.answer.StringSlice()
		if err != nil {
			return fmt.Errorf("read totals: %w", err)
		}
		for i := 1; i+1 < len(answer); i += 2 {
			minute, err := strconv.ParseInt(answer[i], 10, 64)
			total, err2 := strconv.ParseInt(answer[i+1], 10, 64)
			key := acceptedKey{r.hubKey, answer[0], minute * 60}
			if err != nil || err2 != nil || minute < oldest || total <= s.known[key] {
				continue
			}
			counters = append(counters, Counter{Tenant: r.tenant, Hub: r.hub, Epoch: answer[0], Minute: time.Unix(minute*60, 0).UTC(), Total: total})
		}
	}
	for len(counters) > 0 {
		n := min(len(counters), maxDeltas)
		if err := s.commit(ctx, counters[:n]); err != nil {
			return err
		}
		counters = counters[n:]
	}
	return nil
}

func (s *Sweeper) commit(ctx context.Context, counters []Counter) error {
	s.sequence++
	f := Flush{EdgeRun: s.run, Sequence: s.sequence, SentAt: time.Now().UTC(), Accepted: counters}
	if _, err := s.ledger.Commit(ctx, f); err != nil {
		return fmt.Errorf("commit totals: %w", err)
	}
	for _, c := range counters {
		s.known[acceptedKey{hubKey{c.Tenant, c.Hub}, c.Epoch, c.Minute.Unix()}] = c.Total
	}
	if s.told != nil {
		s.told(ctx, tenantsOf(f))
	}
	return nil
}
