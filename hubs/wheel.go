package hubs

import (
	"sync"
	"time"
)

// The wheel's resolution and reach. Every connection is looked at no later than
// maxCheck after the last time.
const (
	wheelTick  = 50 * time.Millisecond
	wheelSlots = 128 // more than maxCheck/wheelTick
	maxCheck   = 5 * time.Second
)

var processStart = time.Now()

// clock is monotonic nanoseconds; only differences mean something.
func clock() int64 { return int64(time.Since(processStart)) }

// timers is the process's timing wheel: keep-alive and time-outs of every
// connection of every Server with one ticker, which runs only while there are
// connections.
var timers = &wheel{}

type wheel struct {
	mu      sync.Mutex
	slots   [wheelSlots]*Connection // heads of doubly linked lists
	current int                     // the slot whose time has come last
	count   int
	running bool
}

// wheelEntry is a connection's place in the wheel, guarded by wheel.mu.
type wheelEntry struct {
	prev, next *Connection
	slot       int // index + 1; 0 = in no list
	added      bool
	// hurried is set when hurry came while there was no place to move from: the next
	// check comes after so long at the latest.
	hurried time.Duration
}

// add begins to look after c.
func (w *wheel) add(c *Connection, in time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.entry.added = true
	w.count++
	w.insert(c, in)
	if !w.running {
		w.running = true
		go w.run()
	}
}

// hurry makes the next check come no later than after in.
func (w *wheel) hurry(c *Connection, in time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.entry.slot == 0 { // a check is under way, which may have looked already
		if in = max(in, 1); c.entry.hurried == 0 || in < c.entry.hurried {
			c.entry.hurried = in
		}
		return
	}
	w.unlink(c)
	w.insert(c, in)
}

// remove ends it. A check that is under way may still finish.
func (w *wheel) remove(c *Connection) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !c.entry.added {
		return
	}
	c.entry.added = false
	w.count--
	w.unlink(c)
}

// insert links c into the slot that comes up after in. w.mu is held.
func (w *wheel) insert(c *Connection, in time.Duration) {
	if c.entry.hurried != 0 {
		in, c.entry.hurried = min(in, c.entry.hurried), 0
	}
	ticks := int(min(max(in, 0), maxCheck)/wheelTick) + 1
	i := (w.current + ticks) % wheelSlots
	head := w.slots[i]
	c.entry.next, c.entry.prev, c.entry.slot = head, nil, i+1
	if head != nil {
		head.entry.prev = c
	}
	w.slots[i] = c
}

// unlink takes c out of its slot. w.mu is held.
func (w *wheel) unlink(c *Connection) {
	e := &c.entry
	if e.slot == 0 {
		return
	}
	if e.prev != nil {
		e.prev.entry.next = e.next
	} else {
		w.slots[e.slot-1] = e.next
	}
	if e.next != nil {
		e.next.entry.prev = e.prev
	}
	e.prev, e.next, e.slot = nil, nil, 0
}

func (w *wheel) run() {
	ticker := time.NewTicker(wheelTick)
	defer ticker.Stop()
	last := clock()
	var due []*Connection
	for range ticker.C {
		now := clock()
		steps := min(int((now-last)/int64(wheelTick)), wheelSlots)
		last += int64(steps) * int64(wheelTick)
		if now-last > int64(maxCheck) {
			last = now // the process was stopped for long: don't hurry after it
		}
		w.mu.Lock()
		if w.count == 0 {
			w.running = false
			w.mu.Unlock()
			return
		}
		for range steps {
			w.current = (w.current + 1) % wheelSlots
			for c := w.slots[w.current]; c != nil; c = w.slots[w.current] {
				w.unlink(c)
				due = append(due, c)
			}
		}
		w.mu.Unlock()
		for i, c := range due {
			in := c.check(now)
			w.mu.Lock()
			if c.entry.added {
				w.insert(c, in)
			}
			w.mu.Unlock()
			due[i] = nil
		}
		due = due[:0]
	}
}
