// Package usage carries what tenants used from the edges to the ledger: a
// Recorder on each edge sums, a Redis stream carries, a Collector in the control
// plane commits each flush exactly once.
package usage

import (
	"context"
	"errors"
	"time"

	"github.com/signalbox/signalbox/tenants"
)

// Flush is one batch of an edge. (EdgeRun, Sequence) names it: committing it
// twice changes nothing.
type Flush struct {
	EdgeRun  string    `json:"edge_run"` // random per process start
	Sequence int64     `json:"sequence"` // from 1
	SentAt   time.Time `json:"sent_at"`
	Deltas   []Delta   `json:"deltas,omitempty"`
	Accepted []Counter `json:"accepted,omitempty"`
	// Attributed says what messages were for; what isn't said is unknown.
	Attributed []Attribution `json:"attributed,omitempty"`
	// Gauges are the connections open on this edge when the flush was made;
	// they replace the edge's former ones.
	Gauges []Gauge `json:"gauges,omitempty"`
	// Keys are the access keys that were used, each at most once a minute.
	Keys []KeyUse `json:"keys,omitempty"`
}

// KeyUse says when an access key, or a token that it signed, was taken.
type KeyUse struct {
	Tenant tenants.ID `json:"tenant"`
	Key    string     `json:"key"`
	At     time.Time  `json:"at"`
}

// Delta adds to a tenant's hub in one UTC minute.
type Delta struct {
	Tenant            tenants.ID       `json:"tenant"`
	Hub               string           `json:"hub"`
	Minute            time.Time        `json:"minute"`
	Delivered         int64            `json:"delivered,omitempty"` // messages, 64 KiB steps
	DeliveredBytes    int64            `json:"delivered_bytes,omitempty"`
	ReceivedBytes     int64            `json:"received_bytes,omitempty"`
	ConnectionSeconds int64            `json:"connection_seconds,omitempty"`
	Opened            int64            `json:"opened,omitempty"`  // connections
	Refused           map[string]int64 `json:"refused,omitempty"` // by error code
}

// Counter is the running total of accepted messages of a hub in one minute, as
// counted inside the publish script. It only grows: the largest one seen wins.
type Counter struct {
	Tenant tenants.ID `json:"tenant"`
	Hub    string     `json:"hub"`
	Epoch  string     `json:"epoch"`
	Minute time.Time  `json:"minute"`
	Total  int64      `json:"total"`
	// Counts is the minute that what the total grew by counts in; zero = Minute.
	Counts time.Time `json:"-"`
}

// Gauge is how many connections of a tenant an edge holds.
type Gauge struct {
	Tenant      tenants.ID `json:"tenant"`
	Connections int64      `json:"connections"`
	// Peak is the most at once since the flush before.
	Peak int64 `json:"peak"`
}

// ErrUnacceptable says that the ledger can't keep a flush, however often it is
// asked to.
var ErrUnacceptable = errors.New("usage flush can't be kept")

// ErrUnattributed says that the ledger keeps all that a flush counts, and not what it
// says the messages were for.
var ErrUnattributed = errors.New("what messages were for can't be kept")

const (
	// LateBy is how late usage may come and still count in its minute. What comes
	// later counts when it comes: the periods of its minute may be billed already.
	LateBy = 72 * time.Hour
	// aheadBy is what a clock may be ahead.
	aheadBy = time.Minute
	// oldestFlush is the age after which a flush isn't committed any more: marks of
	// flushes are kept for a week, and without its mark it could count twice.
	oldestFlush = 6 * 24 * time.Hour
)

var errTooOld = errors.New("usage flush is too old to know whether it was counted")

// settle moves what is for a minute that can't be any more, or yet, to the present
// one: clocks of edges may be wrong, and what is billed stays as it is. Values that
// the ledger doesn't keep as they are it shortens or leaves out.
func (f *Flush) settle(now time.Time) error {
	if f.SentAt.Before(now.Add(-oldestFlush)) {
		return errTooOld
	}
	for i := range f.Deltas {
		f.Deltas[i].Minute = settled(f.Deltas[i].Minute, now)
	}
	for i := range f.Accepted {
		f.Accepted[i].Counts = settled(f.Accepted[i].Minute, now)
	}
	attributed := f.Attributed[:0]
	for _, a := range f.Attributed {
		a.Minute = settled(a.Minute, now)
		var ok bool
		if a.Value, ok = tellable(a.Value); ok {
			attributed = append(attributed, a)
		}
	}
	f.Attributed = attributed
	if f.SentAt.After(now.Add(aheadBy)) {
		f.SentAt = now.UTC()
	}
	return nil
}

func settled(minute, now time.Time) time.Time {
	if minute.Before(now.Add(-LateBy)) || minute.After(now.Add(aheadBy)) {
		return now.UTC().Truncate(time.Minute)
	}
	return minute
}

// Ledger is where the Collector commits.
type Ledger interface {
	// Commit adds f in one transaction unless it is there already; it reports
	// whether it was new. What can never be kept answers ErrUnacceptable. A flush that
	// was added answers ErrUnattributed when it is there without its Attributed.
	Commit(ctx context.Context, f Flush) (added bool, err error)
}
