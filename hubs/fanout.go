package hubs

import (
	"context"
	"math"
	"runtime"
	"sync"

	"github.com/signalbox/signalbox/hubs/internal/turns"
)

// An entry for many connections is put into their queues in slices. Between two
// slices what is in the queues begins to be written, and Shares of which the same
// process has entries have their turns. A hub's entries stay in order: the next one
// begins when the last slice is done.

const (
	// sliceOf is how many connections get an entry before others may have a turn.
	sliceOf = 256
	// recipientCost is what one of them counts.
	recipientCost = 64
	// fanOutTurn is what a Share of weight 1 has in one turn: two slices.
	fanOutTurn = 2 * sliceOf * recipientCost
)

// fanOuts is where the Servers of a process wait to apply entries. No Share has all
// places.
var fanOuts = turns.New(turns.Options{
	Places: runtime.GOMAXPROCS(0) + 1, MostPlaces: runtime.GOMAXPROCS(0),
	Cost: math.MaxInt, MostCost: math.MaxInt, Turn: fanOutTurn,
})

// beginFanOut waits for the Server's turn to apply an entry.
func (s *Server) beginFanOut() {
	s.reached = 0
	s.rested = clock()-s.appliedAt > int64(directRest)
	_, _ = s.turns.Enter(context.Background(), &s.share.fanOut, turns.Free) // ends when it is its turn
}

// endFanOut ends it.
func (s *Server) endFanOut() {
	s.turns.Leave(&s.share.fanOut, 0, (1+s.reached)*recipientCost)
	s.appliedAt = clock()
}

// slice ends a slice when it has been long enough. No lock is held.
func (s *Server) slice() {
	if s.reached < sliceOf {
		return
	}
	s.flushDue()
	s.turns.Pause(&s.share.fanOut, s.reached*recipientCost)
	s.reached = 0
	runtime.Gosched() // readers and writers may be waiting for this processor
}

// flushDue has what deliver has queued written.
func (s *Server) flushDue() {
	left := s.due
	if s.rested && len(left) <= directMost && !writers.busy() {
		left = s.writeDirectly(left)
	}
	writers.schedule(left...)
	s.due = emptied(s.due)
}

// toAll calls f for every connection, in slices.
func (s *Server) toAll(f func(*Connection)) {
	for i := range s.store.byID {
		sh := &s.store.byID[i]
		sh.mu.RLock()
		s.toList(&sh.mu, &sh.all, nil, f)
	}
}

// toMembers calls f for every connection under name, in slices; those that aren't
// there any more when theirs comes are left out.
func (s *Server) toMembers(ix *memberIndex, name string, still func(c *Connection, name string) bool, f func(*Connection)) {
	sh := &ix.shards[shardOf(name)]
	sh.mu.RLock()
	list := sh.byName[name]
	if list == nil {
		sh.mu.RUnlock()
		return
	}
	var there func(*Connection) bool
	if len(list.members) > sliceOf && still != nil {
		there = func(c *Connection) bool { return still(c, name) }
	}
	s.toList(&sh.mu, list, there, f)
}

// toList calls f for every connection of a list whose lock is held for reading; it
// gives the lock back. There says whether one is still in the list; nil = it matters
// to nobody.
func (s *Server) toList(mu *sync.RWMutex, list *memberList, there func(*Connection) bool, f func(*Connection)) {
	if len(list.members) <= sliceOf {
		s.toFew(mu, list.members, f)
		s.slice()
		return
	}
	members := append(s.members[:0], list.members...)
	mu.RUnlock()
	defer func() { s.members = emptied(members) }()
	for from := 0; from < len(members); from += sliceOf {
		part := members[from:min(from+sliceOf, len(members))]
		for _, c := range part {
			if from == 0 || there == nil || there(c) {
				f(c)
			}
		}
		s.reached += len(part)
		s.slice()
	}
}

// toFew is toList for one slice, which needs no copy.
func (s *Server) toFew(mu *sync.RWMutex, members []*Connection, f func(*Connection)) {
	defer mu.RUnlock()
	for _, c := range members {
		f(c)
	}
	s.reached += len(members)
}
