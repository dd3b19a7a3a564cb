package hubs

import (
	"container/heap"
	"math"
	"sync"
	"time"
)

// Memberships that AddUserToGroup gives for a time end in the hub's order: an
// entry that was accepted after the end doesn't find the member any more, on
// whatever node and however late it is applied. Where no entry comes, a query
// looks at the local clock first, and a timer cleans up.

// endingSlack is how long after its end a membership is cleaned up: entries from
// before the end that are still on their way reach the member.
const endingSlack = 30 * time.Second

// ending is when a membership ends that its user was given.
type ending struct {
	connection *Connection
	group      string
	at         int64 // Unix milliseconds by the clock of Entry.At
	local      int64 // clock() of this node, never too early
	index      int   // in endings, from 1; 0 = it is not there
}

// forEver is the end of what lasts until it is removed.
var forEver = &ending{at: math.MaxInt64}

// endOf is when the membership that e gives to c ends; nil = when c leaves.
func (e *Entry) endOf(c *Connection, group string) *ending {
	switch {
	case e.Kind != AddUserToGroup || e.TTLSeconds == 0:
		return nil
	case e.TTLSeconds < 0:
		return forEver
	}
	at := e.At
	if at.IsZero() {
		at = time.Now()
	}
	lasts := time.Duration(min(e.TTLSeconds, math.MaxInt32)) * time.Second
	return &ending{connection: c, group: group, at: at.Add(lasts).UnixMilli(), local: clock() + int64(lasts)}
}

// endOf is when the membership that c got from its user ends.
func (g UserGroup) endOf(c *Connection) *ending {
	if g.Until.IsZero() {
		return forEver
	}
	return &ending{connection: c, group: g.Name, at: g.Until.UnixMilli(), local: clock() + int64(g.Left)}
}

// endings are those of a Server, the earliest first.
//
// Lock order: Connection.mu before endings.mu.
type endings struct {
	mu    sync.Mutex
	order endingHeap
	timer *time.Timer // cleans up; nil while there is nothing
}

// add takes an end in; nil and forEver need none.
func (s *endings) add(e *ending, clean func()) {
	if e == nil || e == forEver {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	heap.Push(&s.order, e)
	if e.index == 1 {
		s.schedule(clean)
	}
}

// remove forgets an end.
func (s *endings) remove(e *ending) {
	if e == nil || e == forEver {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.index != 0 {
		heap.Remove(&s.order, e.index-1)
	}
	if len(s.order) == 0 && s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// schedule calls clean when the earliest end can be cleaned up. s.mu is held.
func (s *endings) schedule(clean func()) {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer = time.AfterFunc(time.Duration(s.order[0].local-clock())+endingSlack, clean)
}

// take removes and returns the ends, from the earliest on, that are over.
func (s *endings) take(over func(*ending) bool) []*ending {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ended []*ending
	for len(s.order) > 0 && over(s.order[0]) {
		ended = append(ended, heap.Pop(&s.order).(*ending))
	}
	return ended
}

// endBefore ends the memberships that were over when e was accepted.
func (s *Server) endBefore(e *Entry) {
	if !e.At.IsZero() {
		at := e.At.UnixMilli()
		s.end(func(m *ending) bool { return m.at <= at })
	}
}

// endNow ends the memberships that have been over for a while by this node's clock.
func (s *Server) endNow(since time.Duration) {
	now := clock() - int64(since)
	s.end(func(m *ending) bool { return m.local <= now })
}

func (s *Server) end(over func(*ending) bool) {
	for _, m := range s.endings.take(over) {
		m.connection.leaveEnded(m)
	}
}

// cleanUp is what the timer of endings calls.
func (s *Server) cleanUp() {
	s.endNow(endingSlack)
	s.endings.mu.Lock()
	defer s.endings.mu.Unlock()
	if len(s.endings.order) > 0 {
		s.endings.schedule(s.cleanUp)
	}
}

// leaveEnded takes the connection out of a group unless its membership has been
// renewed meanwhile.
func (c *Connection) leaveEnded(m *ending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.groups[m.group] == m {
		delete(c.groups, m.group)
		c.server.store.groups.remove(m.group, c)
		c.server.memberships.Leave(1)
		c.leftGroup(m.group)
	}
}

// endingHeap implements heap.Interface.
type endingHeap []*ending

// Len, Less, Swap, Push and Pop are for package heap.
func (h endingHeap) Len() int           { return len(h) }
func (h endingHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h endingHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i+1, j+1
}

func (h *endingHeap) Push(x any) {
	e := x.(*ending)
	*h = append(*h, e)
	e.index = len(*h)
}

func (h *endingHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.index = 0
	return e
}
