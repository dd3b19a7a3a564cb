package hubs

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs/internal/grown"
)

// stallAfter is how long one connection may keep a writer before another writer
// is started in its place.
const stallAfter = 5 * time.Millisecond

// writers is the process's writer pool: few goroutines write for all
// connections, and none exists while nothing is to be written.
var writers = &writerPool{limit: max(4, 2*runtime.GOMAXPROCS(0))}

// writerPool runs Connection.flush for connections that have something to
// write. At most limit writers run at a time, not counting those that are stuck
// in a client's socket: a stalled client takes a writer away from the others
// for stallAfter at most. Shares take turns, see Share.
type writerPool struct {
	limit int

	mu       sync.Mutex
	ring     []*Share // those that have connections that wait
	turn     int      // index into ring: whose turn it is
	waiting  int      // connections in all of them
	active   map[*writer]struct{}
	stalled  int  // of active
	watching bool // a timer for watch is armed
}

// writer is one goroutine of the pool; fields are guarded by writerPool.mu.
type writer struct {
	since   int64  // clock() when it began with its present connection
	share   *Share // whose connection that is
	stalled bool
}

// schedule hands connections of one Server, each with outbound.writing just set, to
// the pool.
func (p *writerPool) schedule(cs ...*Connection) {
	if len(cs) == 0 {
		return
	}
	p.mu.Lock()
	p.add(cs[0].server.share, cs...)
	p.start()
	p.mu.Unlock()
}

// busy reports whether writers have something to do, but for those that are stuck.
func (p *writerPool) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting > 0 || len(p.active) > p.stalled
}

// add puts connections behind the others of their Share. p.mu is held.
func (p *writerPool) add(s *Share, cs ...*Connection) {
	s.ready = append(s.ready, cs...)
	p.waiting += len(cs)
	if !s.waits {
		s.waits = true
		s.begin()
		p.ring = append(p.ring, s)
	}
	if !p.watching {
		p.watching = true
		time.AfterFunc(stallAfter, p.watch)
	}
}

// most is how many writers one Share may have: one is left for others.
func (p *writerPool) most() int { return max(1, p.limit-1) }

// start starts as many writers as there is work and room for. p.mu is held.
func (p *writerPool) start() {
	if p.active == nil {
		p.active = make(map[*writer]struct{}, p.limit)
	}
	n := min(p.waiting, p.limit-(len(p.active)-p.stalled))
	if len(p.ring) == 1 {
		n = min(n, p.most()-p.ring[0].writers)
	}
	for ; n > 0; n-- {
		w := &writer{since: clock()}
		p.active[w] = struct{}{}
		grown.Go(func() { p.run(w) })
	}
}

func (p *writerPool) run(w *writer) {
	written, again := 0, (*Connection)(nil)
	sinceOthers := 0
	for {
		if sinceOthers >= shareTurn {
			// The runtime lets a goroutine go on for 10 ms. Requests, readers and what
			// comes from the Backplane don't wait for that.
			sinceOthers = 0
			runtime.Gosched()
		}
		c := p.take(w, written, again)
		if c == nil {
			return
		}
		var more bool
		if written, more = c.flush(); more {
			again = c
		} else {
			again = nil
		}
		sinceOthers += written + writeCost
	}
}

// take returns w's next connection, or nil when w has to end. written is what w has
// written since the last time; again is the connection of which more waits.
func (p *writerPool) take(w *writer, written int, again *Connection) *Connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := w.share; s != nil {
		s.charge(written)
		if again != nil {
			p.add(s, again)
		}
		if w.stalled {
			p.stalled--
		} else {
			s.writers--
		}
		w.share, w.stalled = nil, false
	}
	if len(p.active)-p.stalled > p.limit {
		delete(p.active, w)
		return nil
	}
	s := p.pick()
	if s == nil {
		delete(p.active, w)
		return nil
	}
	c := s.take()
	p.waiting--
	s.writers++
	w.share, w.since = s, clock()
	if s.has() == 0 {
		s.waits, s.rested = false, w.since
		p.ring = slices.Delete(p.ring, p.turn, p.turn+1)
	}
	return c
}

// pick returns the Share that is written for next, at p.turn; nil when there is
// none that may have one more writer. p.mu is held.
func (p *writerPool) pick() *Share {
	for passed := 0; passed < len(p.ring); {
		if p.turn >= len(p.ring) {
			p.turn = 0
		}
		s := p.ring[p.turn]
		switch {
		case s.writers >= p.most():
			passed++
		case s.credit > 0:
			return s
		case len(p.ring)-passed == 1:
			s.credit = s.turn() // nobody else could have it
			return s
		default:
			s.credit += s.turn()
			passed = 0
		}
		p.turn++
	}
	return nil
}

// readyKept is the longest list of connections with something to write that is
// kept for the next broadcast: 256 KiB.
const readyKept = 32 << 10

// watch replaces writers that are stuck while connections wait.
func (p *writerPool) watch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == 0 {
		p.watching = false
		return
	}
	stuck := clock() - int64(stallAfter)
	for w := range p.active {
		if !w.stalled && w.share != nil && w.since < stuck {
			w.stalled = true
			p.stalled++
			w.share.writers--
		}
	}
	p.start()
	time.AfterFunc(stallAfter, p.watch)
}
