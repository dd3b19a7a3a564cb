package backplane

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/tenants"
)

// A Redis that is full refuses everybody's writes: those of all tenants, leases and
// documents. So edges look at its memory and refuse first, and only those tenants
// whose streams take more than their part of it.

const (
	// tightPercent of Redis' memory in use is from where on tenants with more than
	// their part are refused, fullPercent those with more than an eighth of it, and
	// lastPercent all: what is left is for leases, owners and documents.
	tightPercent = 80
	fullPercent  = 95
	lastPercent  = 99
	// storeEvery is how often the memory is looked at, and storeAgain how often when much
	// is published.
	storeEvery = time.Second
	storeAgain = 20 * time.Millisecond
	// storeOverhead is what Redis needs for an entry beside its bytes, about.
	storeOverhead = 96
	// tidyEvery is how often the stream of a hub whose publishes are refused is
	// relieved of what is too old; else publishing does that.
	tidyEvery = time.Second
	codeFull  = "store_full"
)

// room is what this process knows of Redis' memory.
type room struct {
	look chan struct{} // holds one: it is time to look

	mu          sync.Mutex
	limit, used int64 // bytes; 0 = there is no limit, or it isn't known
	spent       int64 // published since the last look
	byTenant    map[tenants.ID]int64
	tidied      map[hubID]time.Time
}

func newRoom() *room {
	return &room{look: make(chan struct{}, 1), byTenant: make(map[tenants.ID]int64), tidied: make(map[hubID]time.Time)}
}

// watchRoom looks at Redis' memory until the backplane closes.
func (r *Redis) watchRoom() {
	for {
		r.measureRoom()
		select {
		case <-r.ctx.Done():
			return
		case <-time.After(storeAgain):
		}
		select {
		case <-r.ctx.Done():
			return
		case <-time.After(storeEvery):
		case <-r.room.look:
		}
	}
}

// measureRoom takes a new look. Without an answer the last one counts.
func (r *Redis) measureRoom() {
	ctx, cancel := context.WithTimeout(r.ctx, attemptPatience)
	defer cancel()
	m := r.room
	m.mu.Lock()
	before := m.spent
	m.mu.Unlock()
	info, err := r.client.InfoMap(ctx, "memory").Result()
	if err != nil {
		return
	}
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(info["Memory"][name], 10, 64) // what isn't told is 0
		return n
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limit = number("maxmemory")
	m.used = number("used_memory") - number("mem_not_counted_for_evict")
	// What was published while Redis answered may be in it or not.
	m.spent -= before
	clear(m.byTenant)
}

// admit counts an entry that is to be published, unless its tenant has more than its
// part of what is left. Held is what the tenant's streams have, known how many
// tenants this process publishes for.
func (m *room) admit(t tenants.ID, bytes, held int64, known int) error {
	bytes += storeOverhead
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.limit <= 0 {
		return nil
	}
	used, tight := m.used+m.spent+bytes, m.limit/100*tightPercent
	part := tight / int64(2*(known+1)) // Redis needs more for an entry than its bytes
	own := m.byTenant[t] + bytes
	free := tight - m.used
	if m.spent > free/8 {
		m.wake() // what is known will soon be too old
	}
	// Others publish, too, through other processes: until the next look nobody gets
	// more than a quarter of what is left.
	if used > m.limit/100*fullPercent {
		part /= 8
	}
	if used > m.limit/100*lastPercent {
		m.wake()
		return storeFull("The message bus has nearly no memory left.")
	}
	if (used > tight || own > max(free/4, 256<<10)) && held+own > part {
		m.wake()
		return storeFull(fmt.Sprintf("The message bus has little memory left, and the tenant's hubs keep more than its part: about %d KiB. Publish less, or let the hubs keep less.", (held+own)>>10))
	}
	m.spent += bytes
	m.byTenant[t] = own
	return nil
}

func storeFull(text string) error {
	return &hubs.OverloadError{Code: codeFull, Text: text, RetryAfter: 2 * time.Second}
}

// wake has the memory looked at soon. m.mu is held.
func (m *room) wake() {
	select {
	case m.look <- struct{}{}:
	default:
	}
}

// now returns what is in use and what there is.
func (m *room) now() (used, limit int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used, m.limit
}

// admit refuses a publish to a hub that Redis has no room for.
func (r *Redis) admit(id hubID, bytes int, retention time.Duration) error {
	held, known := r.held(id.tenant)
	err := r.room.admit(id.tenant, int64(bytes), held, known)
	if err == nil {
		return nil
	}
	r.stats.full.Add(1)
	if r.room.tidies(id) {
		r.start(func() { r.tidy(id, retention) })
	}
	return fmt.Errorf("publish: %w", err)
}

// tidies reports whether it is time to tidy a hub up.
func (m *room) tidies(id hubID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if now.Sub(m.tidied[id]) < tidyEvery {
		return false
	}
	for other, at := range m.tidied {
		if now.Sub(at) > time.Minute {
			delete(m.tidied, other)
		}
	}
	m.tidied[id] = now
	return true
}

// tidyScript relieves a stream of what is too old and returns the bytes that it
// has then. KEYS: head, stream. ARGV: retention in ms.
var tidyScript = redis.NewScript(`
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('XTRIM', KEYS[2], 'MINID', '~', string.format('%.0f', now - tonumber(ARGV[1])))
local at = redis.call('HGET', KEYS[1], 'at')
local sum = at and struct.unpack('>I8', at, 17) or tonumber(redis.call('HGET', KEYS[1], 'sum')) or 0
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
if not first then return 0 end
return string.format('%.0f', sum - (tonumber(first[2][6]) or 0) + #(first[2][4] or ''))`)

// tidy does what publishing does with what is too old.
func (r *Redis) tidy(id hubID, retention time.Duration) {
	ctx, cancel := context.WithTimeout(r.ctx, attemptPatience)
	defer cancel()
	keys := id.keys()
	bytes, err := tidyScript.Run(ctx, r.client, []string{keys.Head(), keys.Stream()}, retention.Milliseconds()).Int64()
	if err != nil {
		r.log.Debug("hub isn't tidied up", "tenant", id.tenant, "hub", id.hub, "error", err)
		return
	}
	r.measured(id, bytes, retention)
}
