package hubs

import (
	"runtime"
	"sync"
	"time"
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
// for stallAfter at most.
type writerPool struct {
	limit int

	mu       sync.Mutex
	ready    []*Connection
	next     int // index into ready
	active   map[*writer]struct{}
	stalled  int  // of active
	watching bool // a timer for watch is armed
}

// writer is one goroutine of the pool; fields are guarded by writerPool.mu.
type writer struct {
	since   int64 // clock() when it began with its present connection
	stalled bool
}

// schedule hands connections, each with outbound.writing just set, to the pool.
func (p *writerPool) schedule(cs ...*Connection) {
	if len(cs) == 0 {
		return
	}
	p.mu.Lock()
	p.ready = append(p.ready, cs...)
	p.start()
	if !p.watching && len(p.ready) > p.next {
		p.watching = true
		time.AfterFunc(stallAfter, p.watch)
	}
	p.mu.Unlock()
}

// start starts as many writers as there is work and room for. p.mu is held.
func (p *writerPool) start() {
	if p.active == nil {
		p.active = make(map[*writer]struct{}, p.limit)
	}
	for n := min(len(p.ready)-p.next, p.limit-(len(p.active)-p.stalled)); n > 0; n-- {
		w := &writer{since: clock()}
		p.active[w] = struct{}{}
		go p.run(w)
	}
}

func (p *writerPool) run(w *writer) {
	for {
		c := p.take(w)
		if c == nil {
			return
		}
		c.flush()
	}
}

// take returns w's next connection, or nil when w has to end.
func (p *writerPool) take(w *writer) *Connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.stalled {
		w.stalled = false
		p.stalled--
	}
	if p.next == len(p.ready) || len(p.active)-p.stalled > p.limit {
		delete(p.active, w)
		if p.next == len(p.ready) {
			p.rest()
		}
		return nil
	}
	c := p.ready[p.next]
	p.ready[p.next] = nil
	p.next++
	w.since = clock()
	if p.next == len(p.ready) {
		p.rest()
	}
	return c
}

// readyKept is the longest list of connections with something to write that is
// kept for the next broadcast: 256 KiB.
const readyKept = 32 << 10

// rest empties the list of ready connections; a large one isn't kept. p.mu is held.
func (p *writerPool) rest() {
	p.next = 0
	if cap(p.ready) > readyKept {
		p.ready = nil
	}
	p.ready = p.ready[:0]
}

// watch replaces writers that are stuck while connections wait.
func (p *writerPool) watch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == len(p.ready) {
		p.watching = false
		return
	}
	stuck := clock() - int64(stallAfter)
	for w := range p.active {
		if !w.stalled && w.since < stuck {
			w.stalled = true
			p.stalled++
		}
	}
	p.start()
	time.AfterFunc(stallAfter, p.watch)
}
