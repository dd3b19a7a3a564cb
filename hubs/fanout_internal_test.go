package hubs

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs/internal/turns"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// looking is a hub protocol that is asked for its name when a message is encoded.
type looking struct {
	protocol.Protocol
	look func()
}

func (l looking) Name() string {
	l.look()
	return l.Protocol.Name()
}

// held returns a Server with n connections in group g, to which nothing is written.
func held(t *testing.T, share *Share, q *turns.Queue, n int, p protocol.Protocol) *Server {
	t.Helper()
	s, err := NewServer(Config{Name: "chat", Share: share})
	if err != nil {
		t.Fatal(err)
	}
	s.turns = q
	for i := range n {
		c := silent(t, s, p, fmt.Sprint(i))
		s.store.add(c)
		c.join("g", 10, nil)
	}
	return s
}

// silent returns a connection to which nothing is written.
func silent(t *testing.T, s *Server, p protocol.Protocol, id string) *Connection {
	t.Helper()
	c := &Connection{server: s, proto: p, info: ConnectionInfo{ID: id}}
	c.ctx, c.cancel = context.WithCancelCause(t.Context())
	c.out.held = true
	c.open.Store(true)
	return c
}

func say(n uint64) *Entry {
	return &Entry{Kind: SendToGroups, Groups: []string{"g"}, Epoch: "e", Number: n,
		Message: &Broadcast{Target: "p", Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: fmt.Appendf(nil, "[%d]", n)}}}
}

// got is how many messages wait for all connections.
func (s *Server) got() (n int) {
	s.store.each(func(c *Connection) {
		c.out.mu.Lock()
		defer c.out.mu.Unlock()
		n += c.out.messages
	})
	return n
}

// awaitWaiting returns when n wait for their turn.
func awaitWaiting(t *testing.T, q *turns.Queue, n int) {
	t.Helper()
	for q.Waiting() != n {
		if t.Context().Err() != nil {
			t.Fatal("the test ended")
		}
		time.Sleep(time.Millisecond)
	}
}

// meanwhile applies entries to a large group, with one place for all Servers, and
// calls look once while an entry of another Server is applied that came second.
func meanwhile(t *testing.T, crowd, entries int, look func(large *Server)) *Server {
	t.Helper()
	q := turns.New(turns.Options{Places: 1, MostPlaces: 1, Cost: math.MaxInt, MostCost: math.MaxInt, Turn: fanOutTurn})
	large := held(t, NewShare(1), q, crowd, protocol.NewJSON())
	var once sync.Once
	small := held(t, NewShare(1), q, 1, looking{protocol.NewJSON(), func() { once.Do(func() { look(large) }) }})
	var first turns.Party
	if _, err := q.Enter(t.Context(), &first, turns.Free); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for n := range entries {
			large.Apply(say(uint64(n + 1)))
		}
	})
	awaitWaiting(t, q, 1)
	all.Go(func() { small.Apply(say(1)) })
	awaitWaiting(t, q, 2)
	q.Leave(&first, 0, 0)
	all.Wait()
	if n := small.got(); n != 1 {
		t.Errorf("%d messages came to the small group, want 1", n)
	}
	return large
}

// An entry for a large group doesn't hold up the entries of others until it is in
// all queues: a small one comes between its slices.
func TestFanOut_of_a_large_group_lets_others_in_between(t *testing.T) {
	t.Parallel()
	const crowd, entries = 20 * sliceOf, 3
	between := 0
	large := meanwhile(t, crowd, entries, func(large *Server) { between = large.got() })
	if between < sliceOf || between > 2*sliceOf {
		t.Errorf("%d of the large group's %d messages were queued before the small one, want the %d of one turn", between, entries*crowd, 2*sliceOf)
	}
	if n := large.got(); n != entries*crowd {
		t.Errorf("%d messages came to the large group, want %d", n, entries*crowd)
	}
	for _, c := range large.store.snapshot() {
		for i, item := range c.out.queue {
			want := fmt.Sprintf(`{"type":1,"target":"p","arguments":[%d]}`+"\x1e", i+1)
			if string(item.frame) != want {
				t.Fatalf("message %d is %q, want %q", i+1, item.frame, want)
			}
		}
	}
}

// Who leaves a group between two slices gets nothing from the later ones.
func TestFanOut_leaves_out_who_has_left(t *testing.T) {
	t.Parallel()
	const crowd = 8 * sliceOf
	had := 0
	large := meanwhile(t, crowd, 1, func(large *Server) {
		had = large.got()
		for _, c := range large.store.snapshot() {
			if c.out.messages == 0 {
				c.leave("g")
			}
		}
	})
	if n := large.got(); n != had || had == 0 || had == crowd {
		t.Errorf("%d messages came to the group, %d of %d before the others left", n, had, crowd)
	}
}

// The same holds for a message to several groups that are conflated.
func TestFanOut_leaves_out_who_has_left_with_conflation(t *testing.T) {
	t.Parallel()
	const crowd = 8 * sliceOf
	q := turns.New(turns.Options{Places: 1, MostPlaces: 1, Cost: math.MaxInt, MostCost: math.MaxInt, Turn: fanOutTurn})
	large := held(t, NewShare(1), q, crowd, protocol.NewJSON())
	for _, c := range large.store.snapshot() {
		c.setConflation("g", Conflation{Every: time.Hour})
	}
	waits := func(c *Connection) bool {
		c.out.mu.Lock()
		defer c.out.mu.Unlock()
		return c.out.conflation.Load().keys > 0
	}
	had, gone := 0, []*Connection(nil)
	// Its turns come between the slices, first while who is in the groups is collected.
	small := held(t, NewShare(1), q, 1, looking{protocol.NewJSON(), func() {
		if had > 0 {
			return
		}
		var others []*Connection
		for _, c := range large.store.snapshot() {
			if waits(c) {
				had++
			} else {
				others = append(others, c)
			}
		}
		if had > 0 {
			gone = others
		}
		for _, c := range gone {
			c.leave("g")
		}
	}})
	var first turns.Party
	if _, err := q.Enter(t.Context(), &first, turns.Free); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		e := say(1)
		e.Groups = []string{"g", "h"}
		large.Apply(e)
	})
	awaitWaiting(t, q, 1)
	all.Go(func() {
		for n := range 4 * crowd / sliceOf {
			small.Apply(say(uint64(n + 1)))
		}
	})
	awaitWaiting(t, q, 2)
	q.Leave(&first, 0, 0)
	all.Wait()
	if had == 0 || len(gone) == 0 {
		t.Fatalf("%d had the message before %d left, want some", had, len(gone))
	}
	for _, c := range gone {
		if c.out.messages != 0 || waits(c) {
			t.Fatal("one that had left got the message")
		}
	}
}

// What a panic in one connection's protocol leaves of an entry is written to those that
// have it already, and isn't taken along into the next entry.
func TestFanOut_leaves_nothing_behind_after_a_panic(t *testing.T) {
	t.Parallel()
	s, err := NewServer(Config{Name: "chat"})
	if err != nil {
		t.Fatal(err)
	}
	member := func(p protocol.Protocol, id string, groups ...string) *Connection {
		c := silent(t, s, p, id)
		s.store.add(c)
		for _, g := range groups {
			c.join(g, 10, nil)
		}
		return c
	}
	l := &listening{written: make(chan string, 10)}
	plain := member(protocol.NewJSON(), "plain", "g")
	plain.transport, plain.out.held, plain.out.done = l, false, make(chan struct{})
	conflating := member(protocol.NewJSON(), "conflating", "g")
	conflating.setConflation("g", Conflation{Every: time.Hour})
	broken := true
	member(looking{protocol.NewJSON(), func() {
		if broken {
			panic("of the test")
		}
	}}, "broken", "g")
	other := member(protocol.NewJSON(), "other", "other")
	other.setConflation("other", Conflation{Every: time.Hour})

	e := say(1)
	e.Groups = []string{"g", "h"}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("nothing panicked")
			}
		}()
		s.Apply(e)
	}()
	broken = false
	if len(s.due) != 0 || len(s.conflating) != 0 {
		t.Errorf("%d and %d connections are left of the entry", len(s.due), len(s.conflating))
	} else {
		<-l.written
	}
	e = say(2)
	e.Groups = []string{"other", "h"}
	s.Apply(e)
	if n := conflating.out.messages; n != 0 {
		t.Errorf("%d messages came to who isn't in the next entry's groups", n)
	}
}
