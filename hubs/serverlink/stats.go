package serverlink

import "sync/atomic"

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
