package serverlink

import (
	"context"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Stats says what the links of this edge have done since it started.
type Stats struct {
	Links        int64  // that this edge has dialled, now
	Accepted     int64  // that others have dialled to it, now
	Sessions     int64  // clients of this edge paired with servers of others, now
	Hosted       int64  // clients of other edges paired with servers of this one, now
	Dials        uint64 // that succeeded
	DialFailures uint64
	Opened       uint64 // pairings, on whichever edge
	Refused      uint64 // clients that found no server
	Failed       uint64 // clients whose pairing failed otherwise
	Lost         uint64 // pairings of clients here that ended with their link
	Overrun      uint64 // pairings given up because the client's edge was behind
	Queued       int64  // bytes waiting to be written to links, now
}

// stats are the counters behind it.
type stats struct {
	links, accepted, sessions, hosted                           atomic.Int64
	dials, dialFailures, opened, refused, failed, lost, overrun atomic.Uint64
}

// Stats returns the totals of this edge.
func (f *Fleet) Stats() Stats {
	st := f.stats
	s := Stats{
		Links: st.links.Load(), Accepted: st.accepted.Load(), Sessions: st.sessions.Load(), Hosted: st.hosted.Load(),
		Dials: st.dials.Load(), DialFailures: st.dialFailures.Load(),
		Opened: st.opened.Load(), Refused: st.refused.Load(), Failed: st.failed.Load(), Lost: st.lost.Load(), Overrun: st.overrun.Load(),
	}
	for _, l := range f.host.each() {
		s.Queued += int64(l.queued())
	}
	for _, l := range f.links.each() {
		s.Queued += int64(l.queued())
	}
	return s
}

// each returns the links there are.
func (p *links) each() []*dialed {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []*dialed
	for _, s := range p.slots {
		select {
		case <-s.ready:
			if s.d != nil {
				list = append(list, s.d)
			}
		default:
		}
	}
	return list
}

// Instrument reports the totals as metrics of m.
func (f *Fleet) Instrument(m metric.Meter) error {
	var problems []error
	gauge := func(name, unit, description string) metric.Int64ObservableGauge {
		g, err := m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
		problems = append(problems, err)
		return g
	}
	counter := func(name, unit, description string) metric.Int64ObservableCounter {
		c, err := m.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		problems = append(problems, err)
		return c
	}
	links := gauge("signalbox.links.open", "{link}", "Links between this edge and others, by which side dialled.")
	pairings := gauge("signalbox.links.pairings", "{pairing}", "Pairings over links, by what is on this edge.")
	queued := gauge("signalbox.links.queued", "By", "Bytes that wait to be written to links.")
	dials := counter("signalbox.links.dials", "{dial}", "Links that this edge dialled, by outcome.")
	opens := counter("signalbox.pairings", "{pairing}", "Clients that wanted an app server, by outcome.")
	ends := counter("signalbox.links.losses", "{pairing}", "Pairings that a link could not keep, by reason.")
	if err := errors.Join(problems...); err != nil {
		return err
	}
	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := f.Stats()
		observe := func(c metric.Int64Observable, v int64, key, value string) {
			o.ObserveInt64(c, v, metric.WithAttributes(attribute.String(key, value)))
		}
		observe(links, s.Links, "side", "dialled")
		observe(links, s.Accepted, "side", "accepted")
		observe(pairings, s.Sessions, "here", "client")
		observe(pairings, s.Hosted, "here", "server")
		o.ObserveInt64(queued, s.Queued)
		observe(dials, int64(s.Dials), "outcome", "connected")
		observe(dials, int64(s.DialFailures), "outcome", "failed")
		observe(opens, int64(s.Opened), "outcome", "paired")
		observe(opens, int64(s.Refused), "outcome", "refused")
		observe(opens, int64(s.Failed), "outcome", "failed")
		observe(ends, int64(s.Lost), "reason", "link")
		observe(ends, int64(s.Overrun), "reason", "behind")
		return nil
	}, links, pairings, queued, dials, opens, ends)
	return err
}
