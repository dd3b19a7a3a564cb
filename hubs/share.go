package hubs

import (
	"math"
	"sync/atomic"

	"github.com/signalbox/signalbox/hubs/internal/turns"
)

const (
	// shareTurn is how many bytes a Share of weight 1 writes before others that
	// wait have their turn.
	shareTurn = 32 << 10
	// writeCost is what each write counts beside its bytes: many small ones keep a
	// writer as busy as few large ones.
	writeCost = 1 << 10
	// flushTurn is how much one connection writes before others of its Share have
	// their turn.
	flushTurn = 256 << 10
	// debtLasts is for how long a Share that rests owes what it wrote beyond its
	// turn.
	debtLasts = 100_000_000 // ns
)

// MaxShareWeight is the greatest weight of a Share.
const MaxShareWeight = 16

// Share is what the Servers that have it may write beside others: while several
// Shares have something to write in a process, each gets turns of as many bytes as
// its weight says, whatever the number of its connections and messages. What one
// doesn't need goes to the others. A Share never occupies all writers, so a burst of
// clients that don't read holds up nobody else. In the same way Shares take turns at
// putting entries into the queues of their connections.
//
// Servers that belong together, those of one tenant for instance, have one Share. It
// is safe for concurrent use.
type Share struct {
	weight atomic.Int32
	fanOut turns.Party // see fanout.go

	// Guarded by writerPool.mu.
	ready   []*Connection
	next    int  // index into ready
	writers int  // that write for it and aren't stalled
	waits   bool // it is in the pool's ring
	credit  int  // bytes that it may still write in this turn; negative = it owes
	rested  int64
}

// NewShare returns a Share with a weight of 1 to MaxShareWeight; others count as the
// nearest of these.
func NewShare(weight int) *Share {
	s := new(Share)
	s.SetWeight(weight)
	return s
}

// Weight is the weight in force.
func (s *Share) Weight() int { return int(max(s.weight.Load(), 1)) }

// SetWeight changes the weight from the next turn on.
func (s *Share) SetWeight(weight int) {
	s.weight.Store(int32(min(max(weight, 1), MaxShareWeight)))
	s.fanOut.SetWeight(weight)
}

// turn is what one turn is worth.
func (s *Share) turn() int { return shareTurn * s.Weight() }

// has is how many of its connections wait.
func (s *Share) has() int { return len(s.ready) - s.next }

// take returns the next of its connections.
func (s *Share) take() *Connection {
	c := s.ready[s.next]
	s.ready[s.next] = nil
	s.next++
	if s.next == len(s.ready) {
		s.next = 0
		if cap(s.ready) > readyKept {
			s.ready = nil
		}
		s.ready = s.ready[:0]
	}
	return c
}

// begin puts the Share at the beginning of a turn, or to where it was when it has
// rested for a moment only: nobody gains by stopping and beginning again.
func (s *Share) begin() {
	if s.credit > 0 || clock()-s.rested > debtLasts {
		s.credit = 0
	}
	s.credit += s.turn()
}

// charge counts what a writer has written for it.
func (s *Share) charge(bytes int) {
	s.credit = max(s.credit-bytes-writeCost, math.MinInt32)
}
