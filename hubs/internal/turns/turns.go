// Package turns shares what is scarce between parties that know nothing of each
// other: places of which there are few, and what is in them, counted in bytes or
// whatever else costs. While several parties wait each gets turns of as much as its
// weight says; what one doesn't need goes to the others.
package turns

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// MaxWeight is the greatest weight of a Party.
const MaxWeight = 16

const (
	// debtLasts is for how long a Party that is charged no more owes what it had beyond
	// its turn.
	debtLasts = 100 * time.Millisecond
	// debtTurns is how many turns it may owe.
	debtTurns = 8
)

// Options are the bounds of a Queue; all must be positive.
type Options struct {
	// Places is how many may be in at a time, MostPlaces how many of one Party: fewer,
	// so that there is always a place for others.
	Places, MostPlaces int
	// Cost is what those that are in may cost together, MostCost those of one Party. One that
	// costs more by itself comes in alone.
	Cost, MostCost int
	// Turn is what a Party of weight 1 gets before others that wait have their turn.
	Turn int
}

// Queue is where parties wait for their turns. It is safe for concurrent use.
type Queue struct {
	o   Options
	now func() time.Time

	mu   sync.Mutex
	ring []*Party // those that wait
	next int      // index into ring: whose turn it is
	in   int
	cost int
}

// Party is one of those who share; its zero value has a weight of 1. It belongs to one Queue.
type Party struct {
	weight atomic.Int32

	// Guarded by Queue.mu.
	waiting []*waiter
	waits   bool // it is in the ring
	in      int
	cost    int
	credit  int       // what it may still have in this turn; not above 0 = its turn is over
	charged time.Time // when credit was last taken from it
}

type waiter struct {
	price func() int
	cost  int           // that it came in with
	came  chan struct{} // closed when its turn has come
}

// New returns a Queue.
func New(o Options) *Queue { return &Queue{o: o, now: time.Now} }

// SetWeight changes the weight, 1 to MaxWeight, from the next turn on; others count as the
// nearest of these.
func (p *Party) SetWeight(weight int) { p.weight.Store(int32(min(max(weight, 1), MaxWeight))) }

// Enter waits for a place for something of p's and returns what it costs. Price
// says that; it is asked when the turn may have come, and must not call the Queue.
// Leave must be called, unless ctx ends before.
func (q *Queue) Enter(ctx context.Context, p *Party, price func() int) (cost int, err error) {
	q.mu.Lock()
	if cost, ok := q.try(p, price); ok {
		q.mu.Unlock()
		return cost, nil
	}
	w := q.wait(p, price)
	q.grant()
	q.mu.Unlock()
	select {
	case <-w.came:
		return w.cost, nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(p.waiting, w); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		q.rest(p)
		q.grant() // it may have stood before others that fit
		return 0, fmt.Errorf("wait for a turn: %w", context.Cause(ctx))
	}
	return w.cost, nil // the turn has come meanwhile
}

// TryEnter is Enter for who doesn't wait; it reports false when others do, or there is
// no place.
func (q *Queue) TryEnter(p *Party, price func() int) (cost int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.try(p, price)
}

// Leave gives back a place with its cost, and charges what it has cost beyond.
func (q *Queue) Leave(p *Party, cost, beyond int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.charge(p, beyond)
	q.release(p, cost)
	q.grant()
}

// Pause charges what somebody in a place has spent since Enter or the last Pause.
// When its party's turn is over and others wait, it gives the place to them and
// returns when its next turn has come. The place must have cost nothing by itself.
func (q *Queue) Pause(p *Party, spent int) {
	q.mu.Lock()
	q.charge(p, spent)
	if len(q.ring) == 0 || p.credit > 0 {
		q.mu.Unlock()
		return
	}
	q.release(p, 0)
	w := q.wait(p, Free)
	q.grant()
	q.mu.Unlock()
	<-w.came
}

// Free is the price of what costs nothing but its place.
func Free() int { return 0 }

// Waiting is how many wait.
func (q *Queue) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, p := range q.ring {
		n += len(p.waiting)
	}
	return n
}

// turn is what one turn of p is worth.
func (q *Queue) turn(p *Party) int { return q.o.Turn * int(max(p.weight.Load(), 1)) }

// charge counts what p has had, when there is somebody else who would have had it.
// q.mu is held, as it is in all that follow.
func (q *Queue) charge(p *Party, cost int) {
	if len(q.ring) > 0 {
		q.forgive(p)
		p.credit, p.charged = max(p.credit-cost, -debtTurns*q.turn(p)), q.now()
	}
}

// forgive drops an old debt of p, unless it waits and works it off.
func (q *Queue) forgive(p *Party) {
	if !p.waits && p.credit < 0 && q.now().Sub(p.charged) > debtLasts {
		p.credit = 0
	}
}

// try takes a place for p where nobody waits for one.
func (q *Queue) try(p *Party, price func() int) (cost int, ok bool) {
	if len(q.ring) > 0 {
		return 0, false
	}
	if cost = price(); !q.allows(p, cost) || !q.hasRoom(cost) {
		return 0, false
	}
	q.take(p, cost)
	return cost, true
}

// allows reports whether p may have one more place.
func (q *Queue) allows(p *Party, cost int) bool {
	return p.in < q.o.MostPlaces && (p.in == 0 || p.cost+cost <= q.o.MostCost)
}

// hasRoom reports whether there is a place, whosever.
func (q *Queue) hasRoom(cost int) bool {
	return q.in < q.o.Places && (q.in == 0 || q.cost+cost <= q.o.Cost)
}

func (q *Queue) take(p *Party, cost int) {
	q.in++
	q.cost += cost
	p.in++
	p.cost += cost
}

func (q *Queue) release(p *Party, cost int) {
	q.in--
	q.cost -= cost
	p.in--
	p.cost -= cost
}

// wait puts something of p's behind what p waits for already.
func (q *Queue) wait(p *Party, price func() int) *waiter {
	w := &waiter{price: price, came: make(chan struct{})}
	p.waiting = append(p.waiting, w)
	if !p.waits {
		// At the beginning of a turn, or where it was when it has been charged just now:
		// nobody gains by stopping and beginning again.
		q.forgive(p)
		p.credit = min(p.credit, 0) + q.turn(p)
		p.waits = true
		q.ring = append(q.ring, p)
	}
	return w
}

// rest takes p out of the ring when it waits for nothing.
func (q *Queue) rest(p *Party) {
	if len(p.waiting) > 0 || !p.waits {
		return
	}
	p.waits, p.waiting = false, nil
	i := slices.Index(q.ring, p)
	q.ring = slices.Delete(q.ring, i, i+1)
	if i < q.next {
		q.next--
	}
}

// grant lets in whose turn it is, as long as there is room.
func (q *Queue) grant() {
	for passed := 0; passed < len(q.ring) && q.in < q.o.Places; {
		if q.next >= len(q.ring) {
			q.next = 0
		}
		p := q.ring[q.next]
		cost := p.waiting[0].price()
		switch {
		case !q.allows(p, cost):
			passed++
			q.next++
		case p.credit <= 0 && len(q.ring)-passed > 1:
			p.credit += q.turn(p)
			passed = 0
			q.next++
		case !q.hasRoom(cost):
			return // others must not slip in before it for ever
		default:
			if p.credit <= 0 {
				p.credit = q.turn(p) // nobody else could have it
			}
			p.waiting[0].cost = cost
			close(p.waiting[0].came)
			p.waiting[0] = nil
			p.waiting = p.waiting[1:]
			q.take(p, cost)
			q.charge(p, cost)
			q.rest(p)
			passed = 0
		}
	}
}
