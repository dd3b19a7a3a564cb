package quota

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

const (
	// deliveriesEvery is how often an edge tells what it has delivered.
	deliveriesEvery = 100 * time.Millisecond
	// mostDelay is how long a publish waits for deliveries before it; then it is refused.
	mostDelay = time.Second
	// askedFor is how long after its last publish a tenant's debt is asked for.
	askedFor = 2 * time.Second
	// mostDebt bounds, in seconds, how long a flood is remembered.
	mostDebt = 60
	// underWay is what may be under way, in seconds of the limit, before publishes
	// wait, and spread from where on they go one by one.
	underWay = 1.0
	spread   = 0.5
)

var deliveriesRow = row("deliveries_per_second")

// Deliveries bounds what is delivered for a tenant per second over all edges. What was
// accepted is delivered in any case: a tenant that is over the limit is in debt, by so
// many seconds of it, and its next publishes wait for that, or are refused.
type Deliveries struct {
	redis   redis.UniversalClient
	log     *slog.Logger
	figures *Figures
	now     func() time.Time
	// Limits returns a tenant's limits in force, or nil. Set it before Run.
	Limits func(tenants.ID) *tenants.Limits

	tenants sync.Map // tenants.ID → *debt
}

// debt is what is known of a tenant's.
type debt struct {
	delivered atomic.Int64 // since the last time it was told
	asked     atomic.Int64 // Unix ms of the last publish

	mu      sync.Mutex
	seconds float64 // at the time at, over the whole fleet
	at      time.Time
	tried   float64 // the same by a value that is only tried out
	// admitted are publishes since the last time, each is what one has cost lately, in
	// seconds of the limit over the whole fleet, and next is when the next one may go
	// that has to wait: those that wait must not all go at once.
	admitted int
	each     float64
	next     time.Time
}

// NewDeliveries returns a Deliveries of one edge; figures may be nil.
func NewDeliveries(r redis.UniversalClient, figures *Figures, log *slog.Logger) *Deliveries {
	return &Deliveries{redis: r, figures: figures, log: log, now: time.Now}
}

func (d *Deliveries) of(t tenants.ID) *debt {
	v, ok := d.tenants.Load(t)
	if !ok {
		v, _ = d.tenants.LoadOrStore(t, new(debt))
	}
	return v.(*debt)
}

// Tenant returns a counter of the tenant's deliveries on this edge, for the hot path.
func (d *Deliveries) Tenant(t tenants.ID) func(n int) {
	o := d.of(t)
	return func(n int) { o.delivered.Add(int64(n)) }
}

// Admit waits, up to a second, until a publish may go on. The error is a *Refusal, or
// that of ctx.
func (d *Deliveries) Admit(ctx context.Context, t tenants.ID, l *tenants.Limits) error {
	until := d.now().Add(mostDelay)
	for waited := false; ; waited = true {
		wait, err := d.ask(t, l, until, waited)
		if err != nil || wait <= 0 {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// ask returns how long a publish has to wait before it asks again; 0 = it may go on.
// One that has waited for its turn goes when the debt allows it, whoever waits behind
// it. The error is a *Refusal, when its turn is behind until.
func (d *Deliveries) ask(t tenants.ID, l *tenants.Limits, until time.Time, waited bool) (time.Duration, error) {
	o := d.of(t)
	now := d.now()
	o.asked.Store(now.UnixMilli())
	rate := float64(max(1, l.DeliveriesPerSecond))
	o.mu.Lock()
	defer o.mu.Unlock()
	passed := now.Sub(o.at).Seconds()
	owed := max(0, o.seconds-passed) + float64(o.delivered.Load())/rate
	if l.Tried != nil && l.Tried.DeliveriesPerSecond > 0 && max(0, o.tried-passed) > underWay+mostDelay.Seconds() {
		d.figures.Would(t, deliveriesRow.Name)
	}
	turn := now
	if owed > underWay {
		turn = now.Add(seconds(owed - underWay))
	}
	if owed > spread && (!waited || owed > underWay) && o.next.After(turn) {
		turn = o.next
	}
	wait := turn.Sub(now)
	if turn.After(until) {
		return 0, refuse(deliveriesRow, l.DeliveriesPerSecond, l.DeliveriesPerSecond, max(wait-mostDelay, time.Millisecond))
	}
	if wait > 0 || !waited {
		o.next = turn.Add(seconds(o.each))
	}
	if wait <= 0 {
		o.admitted++
	}
	return wait, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// owe adds deliveries to a tenant's debt, which is in seconds so that a changed limit
// takes it along.
// KEYS: the debt, the debt by a value that is tried out; ARGV: deliveries, rate, rate
// tried (0 = none), most seconds. It returns both debts in milliseconds.
var owe = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000
local function add(key, rate)
  if rate <= 0 then return 0 end
  local d = redis.call('HMGET', key, 'owed', 'at')
  local owed = math.max(0, (tonumber(d[1]) or 0) - math.max(0, now - (tonumber(d[2]) or now)))
  owed = math.min(tonumber(ARGV[4]), owed + tonumber(ARGV[1]) / rate)
  if owed > 0 then
    redis.call('HSET', key, 'owed', string.format('%.6f', owed), 'at', string.format('%.6f', now))
    redis.call('EXPIRE', key, 120)
  end
  return math.floor(owed * 1000)
end
return {add(KEYS[1], tonumber(ARGV[2])), add(KEYS[2], tonumber(ARGV[3]))}`)

// learn takes in what the fleet has delivered since the last time, in seconds of the
// limit: as much as publishes of this edge have cost, with those of the others whose
// share it is to leave them. o.mu is held.
func (o *debt) learn(grown float64) {
	if o.admitted > 0 {
		o.each = min((3*o.each+max(0, grown)/float64(o.admitted))/4, mostDelay.Seconds())
		o.admitted = 0
	}
}

// Run tells what was delivered until ctx is done.
func (d *Deliveries) Run(ctx context.Context) error {
	tick := time.NewTicker(deliveriesEvery)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := d.tell(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			d.log.Warn("deliveries not counted in redis, each edge goes by its own", "error", err)
		}
		failed = err != nil
	}
}

// word is what is told of one tenant.
type word struct {
	debt    *debt
	n       int64
	rate    float64
	tried   float64
	answers *redis.Cmd
}

func (d *Deliveries) tell(ctx context.Context) error {
	now := d.now()
	words := make(map[tenants.ID]*word)
	d.tenants.Range(func(k, v any) bool {
		id, o := k.(tenants.ID), v.(*debt)
		asked := now.UnixMilli()-o.asked.Load() < askedFor.Milliseconds()
		if o.delivered.Load() == 0 && !asked {
			return true
		}
		l := d.Limits(id)
		if l == nil {
			o.delivered.Store(0)
			return true
		}
		w := &word{debt: o, n: o.delivered.Swap(0), rate: float64(max(1, l.DeliveriesPerSecond))}
		if l.Tried != nil {
			w.tried = float64(l.Tried.DeliveriesPerSecond)
		}
		d.figures.Use(id, deliveriesRow.Name, int(w.n))
		words[id] = w
		return true
	})
	if len(words) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	pipe := d.redis.Pipeline()
	for id, w := range words {
		w.answers = owe.Eval(ctx, pipe, []string{
			redisclient.RateBucket(id, deliveriesRow.Name), redisclient.RateBucket(id, deliveriesRow.Name+":tried"),
		}, w.n, w.rate, w.tried, mostDebt)
	}
	_, failed := pipe.Exec(ctx)
	now = d.now()
	for _, w := range words {
		owed, err := w.answers.Int64Slice()
		w.debt.mu.Lock()
		before := max(0, w.debt.seconds-now.Sub(w.debt.at).Seconds())
		if err == nil {
			w.debt.seconds, w.debt.tried = float64(owed[0])/1000, float64(owed[1])/1000
		} else {
			// Alone: what this edge delivers counts.
			failed = err
			w.debt.seconds = min(mostDebt, before+float64(w.n)/w.rate)
		}
		w.debt.at = now
		w.debt.learn(w.debt.seconds - before)
		w.debt.mu.Unlock()
	}
	if failed != nil {
		return fmt.Errorf("tell deliveries: %w", failed)
	}
	return nil
}
