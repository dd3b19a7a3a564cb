package turns

import (
	"context"
	"errors"
	"testing"
	"time"
)

// still returns a Queue whose clock stands.
func still(o Options) *Queue {
	q := New(o)
	at := time.Unix(1000, 0)
	q.now = func() time.Time { return at }
	return q
}

// line puts things of a party into the Queue and returns their waiters.
func line(q *Queue, p *Party, n, cost int) (all []*waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for range n {
		all = append(all, q.wait(p, price(cost)))
	}
	return all
}

// served counts those whose turn has come.
func served(all []*waiter) (n int) {
	for _, w := range all {
		select {
		case <-w.came:
			n++
		default:
			return n
		}
	}
	return n
}

func price(cost int) func() int { return func() int { return cost } }

// step ends one place of whoever was let in last and lets the next in.
func (q *Queue) step(p *Party, cost int) { q.Leave(p, cost, 0) }

// run serves one thing at a time until so many have been served, and returns what
// each party has had, by what its things cost.
func run(t *testing.T, q *Queue, steps int, parties map[*Party]int, lines map[*Party][]*waiter) map[*Party]int {
	t.Helper()
	had := make(map[*Party]int)
	before := make(map[*Party]int)
	q.mu.Lock()
	q.grant()
	q.mu.Unlock()
	for range steps {
		found := false
		for p, all := range lines {
			if n := served(all); n > before[p] {
				before[p]++
				had[p] += parties[p]
				q.step(p, parties[p])
				found = true
				break
			}
		}
		if !found {
			t.Fatal("nobody has a turn")
		}
	}
	return had
}

func TestQueue_counts_turns_in_cost(t *testing.T) {
	t.Parallel()
	q := still(Options{Places: 1, MostPlaces: 1, Cost: 1 << 20, MostCost: 1 << 20, Turn: 32 << 10})
	var large, small Party
	parties := map[*Party]int{&large: 64 << 10, &small: 1 << 10}
	lines := map[*Party][]*waiter{&large: line(q, &large, 1_000, 64<<10), &small: line(q, &small, 1_000, 1<<10)}
	had := run(t, q, 800, parties, lines)
	if ratio := float64(had[&large]) / float64(had[&small]); ratio < 0.8 || ratio > 1.25 {
		t.Errorf("large things got %.2f times what small ones got", ratio)
	}
}

func TestQueue_weights(t *testing.T) {
	t.Parallel()
	q := still(Options{Places: 1, MostPlaces: 1, Cost: 1 << 20, MostCost: 1 << 20, Turn: 32 << 10})
	var heavy, light Party
	heavy.SetWeight(4)
	parties := map[*Party]int{&heavy: 4 << 10, &light: 4 << 10}
	lines := map[*Party][]*waiter{&heavy: line(q, &heavy, 1_000, 4<<10), &light: line(q, &light, 1_000, 4<<10)}
	had := run(t, q, 600, parties, lines)
	if ratio := float64(had[&heavy]) / float64(had[&light]); ratio < 3.5 || ratio > 4.5 {
		t.Errorf("weight 4 got %.2f times what weight 1 got", ratio)
	}
}

// A party with a hundred times as much in the queue stands in nobody's way.
func TestQueue_one_does_not_wait_for_a_flood(t *testing.T) {
	t.Parallel()
	q := still(Options{Places: 8, MostPlaces: 6, Cost: 1 << 20, MostCost: 768 << 10, Turn: 64 << 10})
	var flood, calm Party
	all := line(q, &flood, 1_000, 200<<10)
	q.mu.Lock()
	q.grant()
	q.mu.Unlock()
	if n := served(all); n != 3 {
		t.Errorf("%d of the flood came in, want 3: one party's share of the cost", n)
	}
	if _, err := q.Enter(t.Context(), &calm, price(1<<10)); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if _, err := q.Enter(t.Context(), &calm, price(1<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if n := served(all); n != 3 {
		t.Errorf("%d of the flood came in meanwhile", n)
	}
}

func TestQueue_gains_nothing_by_pausing(t *testing.T) {
	t.Parallel()
	q := still(Options{Places: 1, MostPlaces: 1, Cost: 1 << 20, MostCost: 1 << 20, Turn: 32 << 10})
	var sly, steady Party
	lines := line(q, &steady, 1_000, 1<<10)
	q.mu.Lock()
	q.grant()
	q.mu.Unlock()
	slyHad, steadyHad, before := 0, 0, 0
	var own []*waiter
	for range 500 {
		if own == nil {
			own = line(q, &sly, 1, 256<<10) // one large thing at a time
		}
		if n := served(lines); n > before {
			before = n
			steadyHad += 1 << 10
			q.step(&steady, 1<<10)
			continue
		}
		if served(own) != 1 {
			t.Fatal("nobody has a turn")
		}
		slyHad += 256 << 10
		own = nil
		q.step(&sly, 256<<10)
	}
	if ratio := float64(slyHad) / float64(steadyHad); ratio > 1.5 {
		t.Errorf("pausing got %.2f times what waiting got", ratio)
	}
}

// What takes long gives its place up between two of its parts, and gets it back
// when the others have had their turn.
func TestQueue_pauses_for_others(t *testing.T) {
	t.Parallel()
	q := still(Options{Places: 1, MostPlaces: 1, Cost: 1 << 20, MostCost: 1 << 20, Turn: 10})
	var long, short Party
	if _, err := q.Enter(t.Context(), &long, price(0)); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		q.Pause(&long, 10) // nobody waits
	}
	waits := line(q, &short, 1, 0)
	back := make(chan struct{})
	go func() {
		for range 2 {
			q.Pause(&long, 10)
		}
		close(back)
	}()
	<-waits[0].came
	select {
	case <-back:
		t.Fatal("both are in the only place")
	default:
	}
	q.Leave(&short, 0, 5)
	<-back
	q.Leave(&long, 0, 0)
	if q.in != 0 || q.cost != 0 || len(q.ring) != 0 {
		t.Errorf("%d are in for %d, %d wait; nobody is there", q.in, q.cost, len(q.ring))
	}
}

// Who has been in a place for long, and not waited for as long, owes what it had all the
// same when it gives the place up for a moment.
func TestQueue_pausing_forgives_no_debt(t *testing.T) {
	t.Parallel()
	q := New(Options{Places: 1, MostPlaces: 1, Cost: 1 << 20, MostCost: 1 << 20, Turn: 10})
	now := time.Unix(1000, 0)
	q.now = func() time.Time { return now }
	var long, short Party
	if _, err := q.Enter(t.Context(), &long, Free); err != nil {
		t.Fatal(err)
	}
	waits := line(q, &short, 20, 5)
	now = now.Add(time.Minute) // in which it had neither waited nor paused
	back := make(chan struct{})
	go func() {
		q.Pause(&long, 55) // it owes five turns and a half
		close(back)
	}()
	had := 0
	for ; ; had++ {
		select {
		case <-waits[had].came:
			q.Leave(&short, 5, 0)
			continue
		case <-back:
		}
		break
	}
	if had < 10 {
		t.Errorf("the others had %d parts of half a turn before it was in again, want 10 or more", had)
	}
	q.Leave(&long, 0, 0)
}

func TestQueue_forgets_who_gives_up(t *testing.T) {
	t.Parallel()
	q := still(Options{Places: 2, MostPlaces: 1, Cost: 1 << 20, MostCost: 1 << 20, Turn: 10})
	var p, other Party
	if _, err := q.Enter(t.Context(), &p, price(1)); err != nil {
		t.Fatal(err)
	}
	gone, give := context.WithCancel(t.Context())
	give()
	if _, err := q.Enter(gone, &p, price(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	if _, err := q.Enter(t.Context(), &other, price(1)); err != nil {
		t.Fatal(err)
	}
	q.Leave(&p, 1, 0)
	q.Leave(&other, 1, 0)
	if q.in != 0 || q.cost != 0 || len(q.ring) != 0 || q.next != 0 {
		t.Errorf("%d are in for %d, %d wait; nobody is there", q.in, q.cost, len(q.ring))
	}
}

func TestTryEnter_takes_a_place_that_nobody_waits_for(t *testing.T) {
	t.Parallel()
	q := still(Options{Places: 2, MostPlaces: 1, Cost: 10, MostCost: 10, Turn: 1})
	var one, other Party
	if cost, ok := q.TryEnter(&one, price(3)); !ok || cost != 3 {
		t.Fatalf("all is free: %d, %v", cost, ok)
	}
	if _, ok := q.TryEnter(&one, price(3)); ok {
		t.Error("a party got more places than one may have")
	}
	if _, ok := q.TryEnter(&other, price(8)); ok {
		t.Error("there was no room for what it costs")
	}
	waits := line(q, &one, 1, 3)
	if _, ok := q.TryEnter(&other, price(3)); ok {
		t.Error("somebody waits")
	}
	q.Leave(&one, 3, 0)
	if served(waits) != 1 {
		t.Fatal("who waited has no place")
	}
	if _, ok := q.TryEnter(&other, price(3)); !ok {
		t.Error("nobody waits any more")
	}
}
