package deliveries

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// The bounds of a tenant's log. An entry has at most about 24 KiB.
const (
	// MaxEntries is how many deliveries are kept.
	MaxEntries = 500
	// MaxAge is for how long.
	MaxAge = 24 * time.Hour
	// MaxRequestBytes and MaxResponseBytes are how much of a body is kept.
	MaxRequestBytes  = 8 << 10
	MaxResponseBytes = 2 << 10
	// MaxHeaderBytes bounds the headers that are kept; a delivery with more keeps none.
	MaxHeaderBytes = 4 << 10
)

const (
	waitingEntries = 1024 // in memory
	batchEntries   = 64
	pageEntries    = 50
	writeTimeout   = 2 * time.Second
	field          = "d"
)

// Log is the log of all tenants. It is safe for concurrent use.
type Log struct {
	redis   redis.UniversalClient
	log     *slog.Logger
	waiting chan entry
	dropped atomic.Int64
	now     func() time.Time
}

type entry struct {
	tenant   tenants.ID
	delivery tenants.Delivery
}

var _ tenants.DeliveryLog = (*Log)(nil)

// New returns a Log. What Record is given is written while Run runs.
func New(r redis.UniversalClient, log *slog.Logger) *Log {
	return &Log{redis: r, log: log, waiting: make(chan entry, waitingEntries), now: time.Now}
}

// Record has a delivery written soon. It never blocks; when too much waits, the
// delivery is left out. Bodies are cut to what is kept.
func (l *Log) Record(t tenants.ID, d tenants.Delivery) {
	select {
	case l.waiting <- entry{t, cut(d)}:
	default:
		l.dropped.Add(1)
	}
}

// Dropped is how many deliveries were left out since the start.
func (l *Log) Dropped() int64 { return l.dropped.Load() }

// cut returns d with a copy of as much of its bodies as is kept.
func cut(d tenants.Delivery) tenants.Delivery {
	d.Request.Body = head(d.Request.Body, MaxRequestBytes)
	d.Response.Body = head(d.Response.Body, MaxResponseBytes)
	size := 0
	for _, h := range d.Request.Headers {
		size += len(h[0]) + len(h[1])
	}
	if size > MaxHeaderBytes {
		d.Request.Headers = nil
	}
	return d
}

func head(b []byte, most int) []byte { return append([]byte(nil), b[:min(len(b), most)]...) }

// Run writes until ctx is done, and then what still waits.
func (l *Log) Run(ctx context.Context) error {
	for {
		select {
		case first := <-l.waiting:
			l.write(l.batch(first))
		case <-ctx.Done():
			for {
				select {
				case first := <-l.waiting:
					l.write(l.batch(first))
				default:
					return nil
				}
			}
		}
	}
}

// batch returns first with what waits besides.
func (l *Log) batch(first entry) []entry {
	batch := []entry{first}
	for len(batch) < batchEntries {
		select {
		case e := <-l.waiting:
			batch = append(batch, e)
		default:
			return batch
		}
	}
	return batch
}

// write appends a batch. The end of Run doesn't cut it off: what was recorded by
// then is written.
func (l *Log) write(batch []entry) {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	_, err := l.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, e := range batch {
			if _, err := l.add(ctx, p, e.tenant, e.delivery); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		l.dropped.Add(int64(len(batch)))
		l.log.WarnContext(ctx, "deliveries not logged", "count", len(batch), "error", err)
	}
}

// add queues the commands that append one entry and keep the bounds.
func (l *Log) add(ctx context.Context, p redis.Pipeliner, t tenants.ID, d tenants.Delivery) (*redis.StringCmd, error) {
	encoded, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode delivery: %w", err)
	}
	key := redisclient.Deliveries(t)
	id := p.XAdd(ctx, &redis.XAddArgs{Stream: key, MaxLen: MaxEntries, Values: []any{field, encoded}})
	p.XTrimMinIDApprox(ctx, key, fmt.Sprint(l.now().Add(-MaxAge).UnixMilli()), 0)
	p.PExpire(ctx, key, MaxAge)
	return id, nil
}

// Write writes a delivery at once and returns it with its id.
func (l *Log) Write(ctx context.Context, t tenants.ID, d tenants.Delivery) (tenants.Delivery, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	d = cut(d)
	var id *redis.StringCmd
	_, err := l.redis.Pipelined(ctx, func(p redis.Pipeliner) (err error) {
		id, err = l.add(ctx, p, t, d)
		return err
	})
	if err != nil {
		return d, unavailable(err)
	}
	d.ID = id.Val()
	return d, nil
}

func unavailable(err error) error {
	return fault.Wrap(fault.Unavailable, "The delivery log can't be reached now.", err)
}

// idForm is that of a stream's ids.
var idForm = regexp.MustCompile(`^([0-9]{1,20})-([0-9]{1,20})$`)

// isID reports whether Redis takes s for an id: its halves have 64 bits, and
// nothing is before 0-0.
func isID(s string) bool {
	halves := idForm.FindStringSubmatch(s)
	if halves == nil {
		return false
	}
	at, err := strconv.ParseUint(halves[1], 10, 64)
	n, err2 := strconv.ParseUint(halves[2], 10, 64)
	return err == nil && err2 == nil && (at > 0 || n > 0)
}

// Delivery implements tenants.DeliveryLog.
func (l *Log) Delivery(ctx context.Context, t tenants.ID, id string) (tenants.Delivery, error) {
	missing := fault.New(fault.NotFound, "The delivery log does not have this delivery, or not any more.")
	if !isID(id) {
		return tenants.Delivery{}, missing
	}
	found, err := l.redis.XRange(ctx, redisclient.Deliveries(t), id, id).Result()
	if err != nil {
		return tenants.Delivery{}, unavailable(err)
	}
	for _, m := range found {
		if d, ok := l.decode(m); ok {
			return d, nil
		}
	}
	return tenants.Delivery{}, missing
}

// Deliveries implements tenants.DeliveryLog.
func (l *Log) Deliveries(ctx context.Context, t tenants.ID, q tenants.DeliveryQuery) (page []tenants.Delivery, next string, err error) {
	end := "+"
	if q.Cursor != "" {
		if !isID(q.Cursor) {
			return nil, "", fault.InvalidFields(fault.Field{Name: "cursor", Message: "is not one of this log", Accepted: "the cursor of the page before"})
		}
		end = "(" + q.Cursor
	}
	for {
		found, err := l.redis.XRevRangeN(ctx, redisclient.Deliveries(t), end, "-", pageEntries).Result()
		if err != nil {
			return nil, "", unavailable(err)
		}
		for _, m := range found {
			d, ok := l.decode(m)
			if !ok || !selects(q, d) {
				continue
			}
			if len(page) == q.Limit {
				return page, page[len(page)-1].ID, nil
			}
			page = append(page, d)
		}
		if len(found) < pageEntries {
			return page, "", nil
		}
		end = "(" + found[len(found)-1].ID
	}
}

func selects(q tenants.DeliveryQuery, d tenants.Delivery) bool {
	return (q.Hub == "" || q.Hub == d.Hub) && (q.Event == "" || q.Event == d.Event) && (q.Outcome == "" || q.Outcome == d.Outcome) &&
		(q.From.IsZero() || !d.At.Before(q.From)) && (q.To.IsZero() || d.At.Before(q.To))
}

// decode reads an entry; one that is too old or unreadable counts as gone.
func (l *Log) decode(m redis.XMessage) (d tenants.Delivery, ok bool) {
	text, _ := m.Values[field].(string)
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		l.log.Warn("delivery in the log not read", "id", m.ID, "error", err)
		return d, false
	}
	d.ID = m.ID
	return d, l.now().Sub(d.At) < MaxAge
}
