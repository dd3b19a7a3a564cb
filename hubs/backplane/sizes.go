package backplane

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// The publish script measures a stream now and then. What it finds is kept in one
// hash per tenant, hub by hub, with the time until which the stream can exist: so
// that a tenant's use is a sum over its hubs, without a look at the streams.

const (
	// sizesEvery is how long a writer waits before it writes a newer size.
	sizesEvery = time.Second
	// leastShare is the part of a tenant's bytes that a hub may always have.
	leastShare = 16
)

// sizes is what this process knows of the streams of tenants whose hubs it
// publishes to.
type sizes struct {
	mu    sync.Mutex
	hubs  map[hubID]*hubSize
	total map[tenants.ID]int64
}

type hubSize struct {
	bytes int64
	busy  bool // somebody writes it
}

// measured takes what the script has found of a hub's stream.
func (r *Redis) measured(id hubID, bytes int64, retention time.Duration) {
	s := &r.sizes
	s.mu.Lock()
	if s.hubs == nil {
		s.hubs, s.total = make(map[hubID]*hubSize), make(map[tenants.ID]int64)
	}
	h := s.hubs[id]
	if h == nil {
		h = &hubSize{}
		s.hubs[id] = h
	}
	s.total[id.tenant] += bytes - h.bytes
	h.bytes = bytes
	due := !h.busy
	h.busy = true
	s.mu.Unlock()
	if due {
		r.start(func() { r.writeSizes(id, h, retention) }) // else the process ends
	}
}

// writeSizes tells the other processes, until what was told is what was measured.
func (r *Redis) writeSizes(id hubID, h *hubSize, retention time.Duration) {
	for r.ctx.Err() == nil && r.writeSize(id, h, retention) {
		select {
		case <-time.After(sizesEvery):
		case <-r.ctx.Done():
		}
	}
}

// writeSize writes one size and takes the tenant's sum from the others; it reports
// whether there is a newer one to be written.
func (r *Redis) writeSize(id hubID, h *hubSize, retention time.Duration) (newer bool) {
	s := &r.sizes
	s.mu.Lock()
	bytes := h.bytes
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(r.ctx, attemptPatience)
	defer cancel()
	key, until := redisclient.StreamSizes(id.tenant), time.Now().Add(retention+time.Minute)
	var all *redis.MapStringStringCmd
	_, err := r.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.HSet(ctx, key, strings.TrimSuffix(id.hub+"/"+id.part, "/"), fmt.Sprintf("%d %d", bytes, until.UnixMilli()))
		pipe.PExpire(ctx, key, headLife)
		all = pipe.HGetAll(ctx, key)
		return nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.total[id.tenant], _ = sumSizes(all.Val(), time.Now())
	}
	newer = err != nil || h.bytes != bytes
	h.busy = newer
	return newer
}

// sumSizes adds up what is still valid and returns the hubs that aren't any more.
func sumSizes(all map[string]string, now time.Time) (total int64, over []string) {
	for hub, value := range all {
		size, end, _ := strings.Cut(value, " ")
		bytes, err1 := strconv.ParseInt(size, 10, 64)
		until, err2 := strconv.ParseInt(end, 10, 64)
		if err1 != nil || err2 != nil || now.UnixMilli() > until {
			over = append(over, hub)
			continue
		}
		total += bytes
	}
	return total, over
}

// share is how many bytes a hub's stream may have now: all that it likes while its
// tenant keeps within its limit, else less by what is too much.
func (r *Redis) share(id hubID, limit int64) int64 {
	s := &r.sizes
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hubs[id]
	if h == nil || s.total[id.tenant] <= limit {
		return limit
	}
	least := limit / leastShare
	if id.part != "" {
		least /= hubs.MaxPartitions
	}
	return max(h.bytes-(s.total[id.tenant]-limit), least)
}

// held is how many bytes the streams of a tenant have, as far as this process knows,
// and for how many tenants it publishes.
func (r *Redis) held(t tenants.ID) (bytes int64, known int) {
	s := &r.sizes
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total[t], max(1, len(s.total))
}

// forgetSize drops what is known of a hub that isn't published to any more.
func (r *Redis) forgetSize(id hubID) {
	s := &r.sizes
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.hubs[id]; h != nil && !h.busy {
		delete(s.hubs, id)
		for other := range s.hubs {
			if other.tenant == id.tenant {
				return
			}
		}
		delete(s.total, id.tenant)
	}
}

// StreamBytes is what the streams of a tenant's hubs have together, as of their
// last measurement: every 64 messages or 1 MiB of a hub. It forgets the hubs whose
// streams have ended.
func StreamBytes(ctx context.Context, c redis.Cmdable, t tenants.ID) (int64, error) {
	all, err := c.HGetAll(ctx, redisclient.StreamSizes(t)).Result()
	if err != nil {
		return 0, fmt.Errorf("read sizes of streams: %w", err)
	}
	total, over := sumSizes(all, time.Now())
	if len(over) > 0 {
		err = c.HDel(ctx, redisclient.StreamSizes(t), over...).Err()
	}
	return total, err
}
