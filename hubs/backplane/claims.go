package backplane

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
)

// A hub's idempotency keys outlive changes of its partitions, and name one request
// whatever its partition. The answer to one is remembered by the script that publishes,
// so where the entry is. Which partition that is, the hub remembers: a request claims
// its key for a partition before it is published there. A claim for partitions before
// is answered by those, or moved: they are sealed, so what they haven't accepted they
// never will.

// claimScript claims an idempotency key. KEYS: that of the hub. ARGV: hash of the
// request, the place that it claims, life in ms, a place whose claim it may replace.
// Answer: the place that has it, "epoch number" of when the hub was one stream, or
// "conflict".
var claimScript = redis.NewScript(`
local known = redis.call('GET', KEYS[1])
if known then
  if string.sub(known, 1, #ARGV[1]) ~= ARGV[1] then return 'conflict' end
  local place = string.sub(known, #ARGV[1] + 2)
  if place ~= ARGV[2] and place ~= ARGV[4] then return place end
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
return ARGV[2]`)

// claimMark begins the place of a claim, behind which is the partition's name.
const claimMark = "@"

// claimSlack is how much longer a claim lives than the answer that it leads to.
const claimSlack = 5 * time.Second

// claim returns the answer to a request with the entry's idempotency key; nil = it is to be
// published in its partition. Nothing has been published when it fails.
func (h *hubBackplane) claim(ctx context.Context, e *hubs.Entry, key string, s Settings) (*answer, error) {
	if h.r.health.open() {
		return nil, hubs.ErrUnavailable
	}
	_, hash, err := encodeEntry(e, address{}, true)
	if err != nil {
		return nil, err
	}
	p := s.Partitions
	mine, before := claimMark+p.name(p.route(e)), ""
	base := redisclient.Hub(h.id.tenant, h.id.hub)
	life := (s.idempotency() + claimSlack).Milliseconds()
	for {
		var place string
		if err := h.patiently(ctx, func(ctx context.Context) (err error) {
			place, err = claimScript.Run(ctx, h.r.client, []string{base.Idempotency(key)}, hash, mine, life, before).Text()
			return err
		}); err != nil {
			return nil, err
		}
		name, claimed := strings.CutPrefix(place, claimMark)
		switch {
		case place == mine:
			return nil, nil
		case place == "conflict":
			h.r.stats.conflicts.Add(1)
			return nil, hubs.ErrIdempotencyConflict
		case !claimed:
			return parseClaimed(place)
		}
		of, _, _ := strings.Cut(name, ".")
		generation, err := strconv.Atoi(of)
		if err != nil {
			return nil, fmt.Errorf("claim of a partition %q: %w", name, err)
		}
		if generation >= p.Generation {
			return nil, fmt.Errorf("%w: %w", hubs.ErrUnavailable, errSealed)
		}
		var known string
		if err := h.patiently(ctx, func(ctx context.Context) (err error) {
			known, err = h.r.client.Get(ctx, redisclient.HubPartition(h.id.tenant, h.id.hub, name).Idempotency(key)).Result()
			if errors.Is(err, redis.Nil) {
				known, err = "", nil
			}
			return err
		}); err != nil {
			return nil, err
		}
		if at, is := strings.CutPrefix(known, hash+" "); is {
			return parseClaimed(at)
		}
		before = place
	}
}

// parseClaimed reads "epoch number".
func parseClaimed(text string) (*answer, error) {
	a, err := parseAnswer("dup " + text)
	return &a, err
}

// patiently repeats what harms nothing until Redis has answered, for as long as a publish may
// take.
func (h *hubBackplane) patiently(ctx context.Context, do func(ctx context.Context) error) error {
	for deadline := time.Now().Add(publishPatience); ; {
		attempt, cancel := context.WithTimeout(ctx, attemptPatience)
		err := do(attempt)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			h.r.health.report(err)
		}
		if again, _ := retryable(err); !again || h.r.health.open() || time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("claim idempotency key: %w: %w", hubs.ErrUnavailable, err)
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
		case <-h.r.ctx.Done():
			return fmt.Errorf("claim idempotency key: %w", hubs.ErrUnavailable)
		}
	}
}
