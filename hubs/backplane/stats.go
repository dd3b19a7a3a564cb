package backplane

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Stats are totals since the process began.
type Stats struct {
	Publishes    uint64 // accepted
	Duplicates   uint64 // answered from idempotency memory
	Conflicts    uint64 // refused: idempotency key with another body
	Unknown      uint64 // publishes given up without knowing their outcome
	Full         uint64 // publishes refused because Redis has little room left
	Unheard      uint64 // publishes that failed after they were answered (hubs.AckNone)
	Entries      uint64 // entries handed to a node
	CatchUps     uint64 // times the stream was read because a doorbell was not enough
	Gaps         uint64 // losses reported because the stream was trimmed
	Missing      uint64 // entries in those gaps
	Epochs       uint64 // losses reported because the hub's epoch changed
	Poison       uint64 // entries that could not be carried out
	Reconnects   uint64 // doorbell connections made after the first ones
	Overflows    uint64 // doorbells dropped because a feed was behind
	Unanswered   uint64 // commands and queries that some node did not answer in time
	HistoryReads uint64 // pages of history read from Redis
	Recalled     uint64 // pages of history answered from memory
	Followed     int64  // hubs followed now
	Unavailable  bool   // Redis is taken to be away
}

type counters struct {
	publishes, duplicates, conflicts, unknown atomic.Uint64
	entries, catchUps, gaps, missing, epochs  atomic.Uint64
	unheard, full                             atomic.Uint64
	historyReads, recalled                    atomic.Uint64
	poison, reconnects, overflows, unanswered atomic.Uint64
	followed                                  atomic.Int64
}

// Stats returns the totals.
func (r *Redis) Stats() Stats {
	c := &r.stats
	return Stats{
		Publishes: c.publishes.Load(), Duplicates: c.duplicates.Load(), Conflicts: c.conflicts.Load(), Unknown: c.unknown.Load(), Unheard: c.unheard.Load(), Full: c.full.Load(),
		Entries: c.entries.Load(), CatchUps: c.catchUps.Load(), Gaps: c.gaps.Load(), Missing: c.missing.Load(),
		Epochs: c.epochs.Load(), Poison: c.poison.Load(), Reconnects: c.reconnects.Load(), Overflows: c.overflows.Load(),
		Unanswered: c.unanswered.Load(), HistoryReads: c.historyReads.Load(), Recalled: c.recalled.Load(), Followed: c.followed.Load(), Unavailable: r.health.open(),
	}
}

// Lag is how far the node is behind its hubs' streams.
type Lag struct {
	Hubs    int // with something in their streams that is yet to be read
	Entries int // and questions: heard of and yet to be taken up
	// Oldest is for how long the one has waited that was heard of first and isn't
	// carried out, or a stream to be read; 0 = nothing waits. What is not heard of while
	// Redis is away isn't in it.
	Oldest time.Duration
}

// Lag returns how far the node is behind.
func (r *Redis) Lag() (lag Lag) {
	now := time.Now()
	for _, d := range r.doorbells {
		for _, f := range d.followed() {
			f.mu.Lock()
			if f.behind {
				lag.Hubs++
			}
			lag.Entries += len(f.inbox)
			if !f.since.IsZero() {
				lag.Oldest = max(lag.Oldest, now.Sub(f.since))
			}
			f.mu.Unlock()
		}
	}
	return lag
}

// Instrument reports the totals as metrics of m.
func (r *Redis) Instrument(m metric.Meter) error {
	publishes, err := m.Int64ObservableCounter("signalbox.backplane.publishes", metric.WithUnit("{entry}"),
		metric.WithDescription("Publishes by outcome."))
	if err != nil {
		return err
	}
	entries, err := m.Int64ObservableCounter("signalbox.backplane.entries", metric.WithUnit("{entry}"),
		metric.WithDescription("Entries handed to nodes, or not, by result."))
	if err != nil {
		return err
	}
	losses, err := m.Int64ObservableCounter("signalbox.backplane.losses", metric.WithUnit("{loss}"),
		metric.WithDescription("Losses reported to nodes, by reason."))
	if err != nil {
		return err
	}
	repairs, err := m.Int64ObservableCounter("signalbox.backplane.repairs", metric.WithUnit("{event}"),
		metric.WithDescription("Catch-up reads, reconnects, overflows and unanswered requests."))
	if err != nil {
		return err
	}
	history, err := m.Int64ObservableCounter("signalbox.backplane.history", metric.WithUnit("{page}"),
		metric.WithDescription("Pages of hub history, by where they were read."))
	if err != nil {
		return err
	}
	followed, err := m.Int64ObservableGauge("signalbox.backplane.followed", metric.WithUnit("{hub}"),
		metric.WithDescription("Hubs that this process follows."))
	if err != nil {
		return err
	}
	unavailable, err := m.Int64ObservableGauge("signalbox.backplane.unavailable", metric.WithUnit("1"),
		metric.WithDescription("1 while Redis is taken to be away."))
	if err != nil {
		return err
	}
	memory, err := m.Int64ObservableGauge("signalbox.backplane.memory", metric.WithUnit("By"),
		metric.WithDescription("Memory of Redis that is in use, and its limit; 0 = none."))
	if err != nil {
		return err
	}
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := r.Stats()
		observe := func(c metric.Int64Observable, v uint64, key, value string) {
			o.ObserveInt64(c, int64(v), metric.WithAttributes(attribute.String(key, value)))
		}
		observe(publishes, s.Publishes, "outcome", "accepted")
		observe(publishes, s.Duplicates, "outcome", "duplicate")
		observe(publishes, s.Conflicts, "outcome", "conflict")
		observe(publishes, s.Unknown, "outcome", "unknown")
		observe(publishes, s.Unheard, "outcome", "unheard")
		observe(publishes, s.Full, "outcome", "full")
		used, limit := r.room.now()
		o.ObserveInt64(memory, used, metric.WithAttributes(attribute.String("kind", "used")))
		o.ObserveInt64(memory, limit, metric.WithAttributes(attribute.String("kind", "limit")))
		observe(entries, s.Entries, "result", "applied")
		observe(entries, s.Poison, "result", "poison")
		observe(entries, s.Missing, "result", "missing")
		observe(losses, s.Gaps, "reason", "trimmed")
		observe(losses, s.Epochs, "reason", "epoch")
		observe(history, s.HistoryReads, "source", "redis")
		observe(history, s.Recalled, "source", "memory")
		observe(repairs, s.CatchUps, "event", "catch_up")
		observe(repairs, s.Reconnects, "event", "reconnect")
		observe(repairs, s.Overflows, "event", "overflow")
		observe(repairs, s.Unanswered, "event", "unanswered")
		o.ObserveInt64(followed, s.Followed)
		var away int64
		if s.Unavailable {
			away = 1
		}
		o.ObserveInt64(unavailable, away)
		return nil
	}, publishes, entries, losses, repairs, history, followed, unavailable, memory)
	return err
}
