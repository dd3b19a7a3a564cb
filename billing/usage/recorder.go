package usage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

const (
	// FlushEvery is the time between two flushes of a Recorder. It divides a
	// minute, and flushes happen at its multiples, so that a delta never spans
	// two minutes.
	FlushEvery = 2 * time.Second

	sendTimeout   = 2 * time.Second
	maxDeltas     = 1000    // per flush
	maxBacklog    = 100_000 // deltas, and totals, that wait for Redis
	maxStream     = 200_000 // flushes that wait in Redis for the control plane
	maxRefusals   = 64      // codes per hub
	flushField    = "flush"
	refusalsOther = "other"
)

// Recorder counts what tenants use on one edge and flushes it to Redis. Counting
// is cheap enough for the hot path and never waits. While Redis is away, counts
// are kept and merged by minute; memory stays bounded, and beyond the bound they
// move to a later minute rather than getting lost. Safe for concurrent use.
type Recorder struct {
	redis redis.UniversalClient
	run   string
	log   *slog.Logger
	now   func() time.Time

	mu      sync.Mutex
	hubs    map[hubKey]*HubMeter
	tenants map[tenants.ID]*tenantGauge

	attributions attributions

	acceptedMu sync.Mutex
	accepted   map[acceptedKey]int64

	keys keyUses

	// Used by the flushing goroutine alone.
	sequence   int64
	backlog    map[deltaKey]*Delta
	unsent     *Flush  // outcome unknown: is sent again as it was
	gauges     []Gauge // for the next flush
	attributed []Attribution
	hadGauges  bool // the last flush had some
	flushingMu sync.Mutex
}

type hubKey struct {
	tenant tenants.ID
	hub    string
}

type deltaKey struct {
	hubKey
	minute int64
}

type acceptedKey struct {
	hubKey
	epoch  string
	minute int64
}

// NewRecorder returns a Recorder of the edge with that run id, which must be new
// with every start of the process: it names the flushes.
func NewRecorder(r redis.UniversalClient, run string, log *slog.Logger) *Recorder {
	return &Recorder{
		redis: r, run: run, log: log, now: time.Now,
		hubs:     make(map[hubKey]*HubMeter),
		tenants:  make(map[tenants.ID]*tenantGauge),
		accepted: make(map[acceptedKey]int64),
		backlog:  make(map[deltaKey]*Delta),
	}
}

// Hub returns the meter of a tenant's hub. It is shared by all who ask for it
// and is counted until as many of them have called Close.
func (r *Recorder) Hub(tenant tenants.ID, hub string) *HubMeter {
	key := hubKey{tenant, hub}
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.hubs[key]
	if m == nil {
		g := r.gauge(tenant)
		m = &HubMeter{recorder: r, gauge: g}
		r.hubs[key] = m
		g.hubs++
	}
	m.users++
	return m
}

// gauge returns a tenant's; r.mu is held.
func (r *Recorder) gauge(tenant tenants.ID) *tenantGauge {
	g := r.tenants[tenant]
	if g == nil {
		g = new(tenantGauge)
		r.tenants[tenant] = g
	}
	return g
}

// Spent is what a tenant has used on this edge.
type Spent struct {
	Messages     int64 // accepted and delivered
	Milliseconds int64 // of connections
}

// Plus returns the sum.
func (s Spent) Plus(o Spent) Spent {
	return Spent{Messages: s.Messages + o.Messages, Milliseconds: s.Milliseconds + o.Milliseconds}
}

// Unspent returns what a tenant has used since TakeSpent was called last.
func (r *Recorder) Unspent(tenant tenants.ID) Spent {
	now := r.now()
	r.mu.Lock()
	g := r.tenants[tenant]
	r.mu.Unlock()
	if g == nil {
		return Spent{}
	}
	return g.unspent(now)
}

// TakeSpent returns what each tenant has used since the last call.
func (r *Recorder) TakeSpent() map[tenants.ID]Spent {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[tenants.ID]Spent)
	for id, g := range r.tenants {
		if s := g.take(now); s != (Spent{}) {
			all[id] = s
		}
	}
	return all
}

// Refused counts something that a tenant's limit or check refused outside of a
// hub that is served here. hub may be empty.
func (r *Recorder) Refused(tenant tenants.ID, hub, code string) {
	m := r.Hub(tenant, hub)
	m.Refused(code)
	m.Close()
}

// Accepted notes the running total of accepted messages of a hub in a minute, as
// the publish script counted it, and what this publish added to it. It can be
// called out of order.
func (r *Recorder) Accepted(tenant tenants.ID, hub, epoch string, minute time.Time, total, charge int64) {
	r.mu.Lock()
	r.gauge(tenant).spent.Add(charge)
	r.mu.Unlock()
	key := acceptedKey{hubKey{tenant, hub}, epoch, minute.Unix()}
	r.acceptedMu.Lock()
	defer r.acceptedMu.Unlock()
	if before, ok := r.accepted[key]; total > before && (ok || len(r.accepted) < maxBacklog) {
		r.accepted[key] = total
	}
}

// Pending is how many deltas wait for Redis, as of the last flush.
func (r *Recorder) Pending() int {
	r.flushingMu.Lock()
	defer r.flushingMu.Unlock()
	n := len(r.backlog)
	if r.unsent != nil {
		n += len(r.unsent.Deltas)
	}
	return n
}

// Run flushes until ctx is done, and then once more.
func (r *Recorder) Run(ctx context.Context) error {
	for {
		now := r.now()
		select {
		case <-ctx.Done():
			r.attributions.end()
			return r.Flush(context.WithoutCancel(ctx))
		case <-time.After(now.Truncate(FlushEvery).Add(FlushEvery).Sub(now)):
		}
		if err := r.Flush(ctx); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "usage not flushed, keeping it", "error", err)
		}
	}
}

// Flush sends everything counted so far. After an error it is kept and sent
// with the next one.
func (r *Recorder) Flush(ctx context.Context) error {
	r.flushingMu.Lock()
	defer r.flushingMu.Unlock()
	now := r.now()
	// Before the totals that they are part of, and of the same minute.
	r.attributions.gather(minuteBefore(now).Unix())
	r.attributed = append(r.attributed, r.attributions.take(now)...)
	if len(r.attributed) > maxBacklog {
		r.attributed = r.attributed[:maxBacklog] // the rest is in the totals
	}
	r.gauges = keepPeaks(r.gauges, r.collect(now))
	// Gauges are news once per call, also that there are none any more.
	news := len(r.gauges) > 0 || r.hadGauges
	for {
		if r.unsent == nil {
			f := r.cut(now)
			if len(f.Deltas) == 0 && len(f.Accepted) == 0 && len(f.Keys) == 0 && len(f.Attributed) == 0 && !news {
				return nil
			}
			news, r.hadGauges = false, len(f.Gauges) > 0
			r.unsent = f
		}
		if err := r.send(ctx, r.unsent); err != nil {
			return err
		}
		r.unsent = nil
	}
}

// keepPeaks returns the gauges now, with the peaks of those before that were not
// sent.
func keepPeaks(before, now []Gauge) []Gauge {
	peaks := make(map[tenants.ID]int64)
	for _, b := range before {
		if b.Peak > 0 {
			peaks[b.Tenant] = b.Peak
		}
	}
	for i, g := range now {
		now[i].Peak = max(g.Peak, peaks[g.Tenant])
		delete(peaks, g.Tenant)
	}
	for id, peak := range peaks {
		now = append(now, Gauge{Tenant: id, Peak: peak})
	}
	return now
}

// minuteBefore returns the minute of what a flush carries: at the first moment of a
// minute that is what was counted before.
func minuteBefore(now time.Time) time.Time { return now.Add(-FlushEvery / 2).Truncate(time.Minute) }

// collect moves what the meters have counted to the backlog and returns the
// gauges.
func (r *Recorder) collect(now time.Time) []Gauge {
	minute := minuteBefore(now)
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, m := range r.hubs {
		dk := deltaKey{key, minute.Unix()}
		d, ok := r.backlog[dk]
		if !ok {
			if len(r.backlog) >= maxBacklog {
				continue // stays in the meter
			}
			d = &Delta{Tenant: key.tenant, Hub: key.hub, Minute: minute.UTC()}
		}
		if m.take(d, now) && !ok {
			r.backlog[dk] = d
		}
		if m.users == 0 && m.quiet() {
			delete(r.hubs, key)
			m.gauge.hubs--
		}
	}
	var gauges []Gauge
	for id, g := range r.tenants {
		connections, peak := g.read()
		if connections > 0 || peak > 0 {
			gauges = append(gauges, Gauge{Tenant: id, Connections: connections, Peak: peak})
		} else if g.hubs <= 0 && g.spent.Load() == 0 {
			delete(r.tenants, id)
		}
	}
	return gauges
}

// cut makes the next flush from the backlog. Each one carries all gauges, since
// it replaces those before.
func (r *Recorder) cut(now time.Time) *Flush {
	f := &Flush{EdgeRun: r.run, SentAt: now.UTC(), Gauges: r.gauges, Keys: r.keys.take(now, maxDeltas)}
	r.gauges = nil
	for _, g := range f.Gauges {
		if g.Connections > 0 {
			r.gauges = append(r.gauges, Gauge{Tenant: g.Tenant, Connections: g.Connections})
		}
	}
	for key, d := range r.backlog {
		if len(f.Deltas) == maxDeltas {
			break
		}
		f.Deltas = append(f.Deltas, *d)
		delete(r.backlog, key)
	}
	n := min(len(r.attributed), maxDeltas)
	f.Attributed, r.attributed = slices.Clone(r.attributed[:n]), r.attributed[n:]
	r.acceptedMu.Lock()
	defer r.acceptedMu.Unlock()
	for key, total := range r.accepted {
		if len(f.Accepted) == maxDeltas {
			break
		}
		f.Accepted = append(f.Accepted, Counter{
			Tenant: key.tenant, Hub: key.hub, Epoch: key.epoch, Minute: time.Unix(key.minute, 0).UTC(), Total: total,
		})
		delete(r.accepted, key)
	}
	return f
}

// send appends f to the stream. Its number is given once: a repeat after an
// unknown outcome is the same flush.
func (r *Recorder) send(ctx context.Context, f *Flush) error {
	if f.Sequence == 0 {
		r.sequence++
		f.Sequence = r.sequence
	}
	data, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode usage flush: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	err = r.redis.XAdd(ctx, &redis.XAddArgs{
		Stream: redisclient.UsageStream, MaxLen: maxStream, Approx: true, Values: []any{flushField, data},
	}).Err()
	if err != nil {
		return fmt.Errorf("send usage flush: %w", err)
	}
	return nil
}

var errNoFlush = errors.New("entry has no flush")

// decode reads a flush out of a stream entry.
func decode(values map[string]any) (Flush, error) {
	var f Flush
	data, ok := values[flushField].(string)
	if !ok {
		return f, errNoFlush
	}
	if err := json.Unmarshal([]byte(data), &f); err != nil {
		return f, fmt.Errorf("decode usage flush: %w", err)
	}
	if f.EdgeRun == "" || f.Sequence < 1 {
		return f, errors.New("usage flush without run or sequence")
	}
	return f, nil
}
