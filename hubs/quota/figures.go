package quota

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

const (
	// figuresEvery is the time between two flushes of Figures.
	figuresEvery = time.Second
	// figuresLife is how long a day's figures are kept.
	figuresLife = 48 * time.Hour
	// freshUse is how old an edge's use may be to count.
	freshUse = 4 * time.Second
	// warnAt is the part of a limit, in hundredths, from which on there is a warning,
	// and warnEvery the least time between two of the same limit and kind.
	warnAt    = 80
	warnEvery = 5 * time.Minute
	// maxWaitingTenants bounds the tenants whose figures wait while Redis is away.
	maxWaitingTenants = 10_000
)

// Event is one that a tenant's webhook and console are told of.
type Event struct {
	Tenant tenants.ID
	Limit  string // its name
	// Reached: it was hit, or all of it is in use; else most of it is.
	Reached bool
	Used    int64 // over all edges; 0 = it isn't a number that is kept
	Max     int64
}

// Figures counts what tenants use of their limits, and what those refuse, on one
// edge, and adds it up over the fleet. Counting doesn't wait. Nil counts nothing.
type Figures struct {
	redis redis.UniversalClient
	run   string
	log   *slog.Logger
	now   func() time.Time
	// Limits returns a tenant's limits in force, or nil. Set it before Run, or leave it nil
	// where no use is counted.
	Limits func(tenants.ID) *tenants.Limits
	// Open returns how many connections a tenant has on this edge. Set it before Run, or
	// leave it nil for none.
	Open func(tenants.ID) int
	// Joined returns how many group memberships a tenant's connections on this edge have.
	// Set it before Run, or leave it nil for none.
	Joined func(tenants.ID) int
	// OnEvent is told of events, by one of the edges. It must not block. Nil = nobody is.
	OnEvent func(Event)

	mu      sync.Mutex
	tenants map[tenants.ID]*figuresOf
	flushed time.Time

	keptOut keptOut
}

// figuresOf is what was counted since the last flush.
type figuresOf struct {
	hits, would map[string]int64
	use         map[string]int64
	largest     map[string]int64 // of one user or address
	shown       bool             // the last flush had use, so the next says that it is over
	ask         bool             // who is kept out
}

// NewFigures returns the Figures of the edge with that run id.
func NewFigures(r redis.UniversalClient, run string, log *slog.Logger) *Figures {
	f := &Figures{redis: r, run: run, log: log, now: time.Now, tenants: make(map[tenants.ID]*figuresOf)}
	f.flushed = f.now()
	f.keptOut.figures = f
	return f
}

func (f *Figures) of(t tenants.ID) *figuresOf {
	o := f.tenants[t]
	if o == nil {
		if len(f.tenants) >= maxWaitingTenants {
			return &figuresOf{hits: map[string]int64{}, would: map[string]int64{}, use: map[string]int64{}} // not counted
		}
		o = &figuresOf{hits: make(map[string]int64), would: make(map[string]int64), use: make(map[string]int64)}
		f.tenants[t] = o
	}
	return o
}

// Refused counts a refusal by its code; codes that are no limit's are left out.
func (f *Figures) Refused(t tenants.ID, code string) {
	r, ok := tenants.RowOfCode(code)
	if f == nil || !ok {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of(t).hits[r.Name]++
}

// Would counts what a value that is only tried out would have refused.
func (f *Figures) Would(t tenants.ID, limit string) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of(t).would[limit]++
}

// Use counts n of what a rate is of.
func (f *Figures) Use(t tenants.ID, limit string, n int) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of(t).use[limit] += int64(n)
}

// Largest notes that one of those that a limit is for has n.
func (f *Figures) Largest(t tenants.ID, limit string, n int) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.of(t)
	if o.largest == nil {
		o.largest = make(map[string]int64)
	}
	o.largest[limit] = max(o.largest[limit], int64(n))
}

// Seen has the next flush count the tenant's connections and ask who is kept out.
func (f *Figures) Seen(t tenants.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of(t).ask = true
}

// Run adds up until ctx is done, and then once more.
func (f *Figures) Run(ctx context.Context) error {
	tick := time.NewTicker(figuresEvery)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			_ = f.flush(context.WithoutCancel(ctx)) // what isn't told now is lost with the edge
			return nil
		case <-tick.C:
		}
		err := f.flush(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			f.log.Warn("figures of limits not added up, keeping them", "error", err)
		}
		failed = err != nil
	}
}

// addFigures adds what an edge has counted of one tenant.
// KEYS: the day's hash, the hash of uses, the hash of who is kept out; ARGV: edge
// run, now (ms), life of the day (s), freshness (ms), pause between warnings (ms), and
// JSON: hits, would (by limit), use, max (by limit; use replaces the run's former).
// It returns JSON: events ([limit, reached, used, max]) and who is kept out until when.
var addFigures = redis.NewScript(`
local day, uses, out = KEYS[1], KEYS[2], KEYS[3]
local run, now = ARGV[1], tonumber(ARGV[2])
local fresh, pause = tonumber(ARGV[4]), tonumber(ARGV[5])
local c = cjson.decode(ARGV[6])
local events = {}
local function tell(limit, reached, used, most)
  local key = (reached and 'r:' or 'w:') .. limit
  local last = tonumber(redis.call('HGET', day, key) or '0')
  if now - last < pause then return end
  redis.call('HSET', day, key, now)
  events[#events + 1] = {limit, reached, used, most}
end
for limit, n in pairs(c.hits) do
  redis.call('HINCRBY', day, 'h:' .. limit, n)
  redis.call('HSET', day, 'l:' .. limit, now)
end
for limit, n in pairs(c.would) do
  redis.call('HINCRBY', day, 'd:' .. limit, n)
  redis.call('HSET', day, 'l:' .. limit, now)
end
if next(c.use) then
  redis.call('HSET', uses, run, cjson.encode({at = now, use = c.use}))
else
  redis.call('HDEL', uses, run)
end
local sums = {}
local all = redis.call('HGETALL', uses)
for i = 1, #all, 2 do
  local e = cjson.decode(all[i + 1])
  if now - e.at <= fresh then
    for limit, n in pairs(e.use) do sums[limit] = (sums[limit] or 0) + n end
  elseif now - e.at > 60000 then
    redis.call('HDEL', uses, all[i])
  end
end
for limit, n in pairs(sums) do
  if n > tonumber(redis.call('HGET', day, 'p:' .. limit) or '0') then redis.call('HSET', day, 'p:' .. limit, n) end
  local most = c.max[limit]
  if most and c.use[limit] then
    if n >= most then tell(limit, true, n, most) elseif n * 100 >= most * ` + strconv.Itoa(warnAt) + ` then tell(limit, false, n, most) end
  end
end
for limit, n in pairs(c.largest or {}) do
  if n > tonumber(redis.call('HGET', day, 'p:' .. limit) or '0') then redis.call('HSET', day, 'p:' .. limit, n) end
end
for limit in pairs(c.hits) do tell(limit, true, sums[limit] or 0, c.max[limit] or 0) end
redis.call('EXPIRE', day, ARGV[3])
redis.call('EXPIRE', uses, 60)
local kept = {}
local who = redis.call('HGETALL', out)
for i = 1, #who, 2 do
  if tonumber(who[i + 1]) > now then kept[who[i]] = tonumber(who[i + 1]) else redis.call('HDEL', out, who[i]) end
end
if #events == 0 then events = nil end
return cjson.encode({events = events, kept = kept})`)

// counted is what a flush says of one tenant.
type counted struct {
	Hits  map[string]int64 `json:"hits"`
	Would map[string]int64 `json:"would"`
	Use   map[string]int64 `json:"use"`
	Max   map[string]int64 `json:"max"`
	// Largest has what one user or address has.
	Largest map[string]int64 `json:"largest,omitempty"`
}

// take returns what was counted of all tenants, and forgets it.
func (f *Figures) take(now time.Time) map[tenants.ID]counted {
	f.mu.Lock()
	defer f.mu.Unlock()
	passed := max(now.Sub(f.flushed).Seconds(), 0.1)
	f.flushed = now
	all := make(map[tenants.ID]counted)
	for id, o := range f.tenants {
		c := counted{Hits: o.hits, Would: o.would, Largest: o.largest, Use: make(map[string]int64), Max: make(map[string]int64)}
		for limit, n := range o.use {
			c.Use[limit] = int64(float64(n)/passed + 0.5)
		}
		if f.Open != nil {
			if open := f.Open(id); open > 0 {
				c.Use["max_connections"] = int64(open)
			}
		}
		if f.Joined != nil {
			if joined := f.Joined(id); joined > 0 {
				c.Use[membershipsRow.Name] = int64(joined)
			}
		}
		if len(c.Hits) == 0 && len(c.Would) == 0 && len(c.Use) == 0 && len(c.Largest) == 0 && !o.shown && !o.ask {
			delete(f.tenants, id)
			continue
		}
		var l *tenants.Limits
		if f.Limits != nil {
			l = f.Limits(id)
		}
		if l != nil {
			for _, names := range []map[string]int64{c.Use, c.Hits} {
				for limit := range names {
					if r, ok := tenants.Row(limit); ok {
						c.Max[limit] = int64(r.Of(l))
					}
				}
			}
		}
		all[id] = c
		f.tenants[id] = &figuresOf{hits: make(map[string]int64), would: make(map[string]int64), use: make(map[string]int64), shown: len(c.Use) > 0}
	}
	return all
}

// giveBack adds what couldn't be told to what is counted meanwhile.
func (f *Figures) giveBack(id tenants.ID, c counted) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.of(id)
	for limit, n := range c.Hits {
		o.hits[limit] += n
	}
	for limit, n := range c.Would {
		o.would[limit] += n
	}
	for limit, n := range c.Largest {
		if o.largest == nil {
			o.largest = make(map[string]int64)
		}
		o.largest[limit] = max(o.largest[limit], n)
	}
}

func (f *Figures) flush(ctx context.Context) error {
	now := f.now()
	all := f.take(now)
	if len(all) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	pipe := f.redis.Pipeline()
	answers := make(map[tenants.ID]*redis.Cmd, len(all))
	for id, c := range all {
		text, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("encode figures: %w", err)
		}
		answers[id] = addFigures.Eval(ctx, pipe, []string{redisclient.LimitFigures(id, dayOf(now)), redisclient.LimitUse(id), redisclient.KeptOut(id)},
			f.run, now.UnixMilli(), int(figuresLife.Seconds()), freshUse.Milliseconds(), warnEvery.Milliseconds(), text)
	}
	_, failed := pipe.Exec(ctx)
	for id, answer := range answers {
		text, err := answer.Text()
		if err != nil {
			f.giveBack(id, all[id])
			failed = err
			continue
		}
		f.heard(id, text)
	}
	if failed != nil {
		return fmt.Errorf("add up figures: %w", failed)
	}
	return nil
}

// heard takes the answer for one tenant.
func (f *Figures) heard(id tenants.ID, text string) {
	var answer struct {
		Events [][4]any        `json:"events"`
		Kept   json.RawMessage `json:"kept"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		f.log.Error("answer to figures not understood", "tenant_id", id, "error", err)
		return
	}
	var kept map[string]int64
	_ = json.Unmarshal(answer.Kept, &kept) // an empty table is an empty list
	f.keptOut.replace(id, kept)
	if f.OnEvent == nil {
		return
	}
	for _, e := range answer.Events {
		limit, _ := e[0].(string)
		reached, _ := e[1].(bool)
		used, _ := e[2].(float64)
		most, _ := e[3].(float64)
		f.OnEvent(Event{Tenant: id, Limit: limit, Reached: reached, Used: int64(used), Max: int64(most)})
	}
}

// dayOf is the UTC day that figures are kept by.
func dayOf(t time.Time) string { return t.UTC().Format("20060102") }

// Figure is what was counted of a limit today.
type Figure struct {
	Used, Peak           int64 // when Known
	Known                bool  // the limit's use is a number that is kept
	Largest              bool  // Peak is the most that one user or address had; Used isn't kept
	Refused, WouldRefuse int64
	LastHit              time.Time // zero = never
}

// known are the limits whose use is kept.
var known = []string{"max_connections", "connects_per_second", "messages_per_second", "deliveries_per_second", "requests_per_second", "token_issues_per_second", "max_group_memberships"}

// largest are the limits of which the most that one has had is kept.
var largest = []string{"max_connections_per_user", "max_connections_per_ip"}

// ReadFigures returns what the fleet has counted of a tenant's limits today, by name.
func ReadFigures(ctx context.Context, r redis.UniversalClient, t tenants.ID, now time.Time) (map[string]Figure, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	pipe := r.Pipeline()
	day, uses := pipe.HGetAll(ctx, redisclient.LimitFigures(t, dayOf(now))), pipe.HGetAll(ctx, redisclient.LimitUse(t))
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read figures of limits: %w", err)
	}
	figures := make(map[string]Figure)
	for _, name := range known {
		figures[name] = Figure{Known: true}
	}
	for _, name := range largest {
		figures[name] = Figure{Largest: true}
	}
	for field, value := range day.Val() {
		kind, limit, _ := strings.Cut(field, ":")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			continue
		}
		g := figures[limit]
		switch kind {
		case "h":
			g.Refused = n
		case "d":
			g.WouldRefuse = n
		case "p":
			g.Peak = n
		case "l":
			g.LastHit = time.UnixMilli(n).UTC()
		}
		figures[limit] = g
	}
	for _, value := range uses.Val() {
		var e struct {
			At  int64            `json:"at"`
			Use map[string]int64 `json:"use"`
		}
		if json.Unmarshal([]byte(value), &e) != nil || now.UnixMilli()-e.At > freshUse.Milliseconds() {
			continue
		}
		for limit, n := range e.Use {
			g := figures[limit]
			g.Used += n
			figures[limit] = g
		}
	}
	return figures, nil
}
