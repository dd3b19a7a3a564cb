package hubs_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// lateBackplane accepts entries at once and applies them later, as a backplane
// over a network does.
type lateBackplane struct {
	*hubs.MemoryBackplane // groups of users

	mu      sync.Mutex
	number  uint64
	node    hubs.Node
	pending chan *lateEntry
	held    sync.Mutex // while locked, nothing is applied
	stopped chan struct{}
}

type lateEntry struct {
	entry   hubs.Entry
	applied chan int
}

func newLateBackplane(t *testing.T) *lateBackplane {
	b := &lateBackplane{MemoryBackplane: hubs.NewMemoryBackplane(), pending: make(chan *lateEntry, 100_000), stopped: make(chan struct{})}
	go func() {
		defer close(b.stopped)
		for e := range b.pending {
			for range rand.IntN(4) {
				runtime.Gosched()
			}
			b.held.Lock()
			b.mu.Lock()
			node := b.node
			b.mu.Unlock()
			n := 0
			if node != nil {
				n = node.Apply(&e.entry)
			}
			e.applied <- n
			b.held.Unlock()
		}
	}()
	t.Cleanup(func() {
		close(b.pending)
		<-b.stopped
	})
	return b
}

func (b *lateBackplane) Subscribe(_ context.Context, n hubs.Node) (func(), error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.node = n
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.node = nil
	}, nil
}

func (b *lateBackplane) put(e *hubs.Entry) (hubs.Position, *lateEntry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.number++
	late := &lateEntry{entry: *e, applied: make(chan int, 1)}
	late.entry.Epoch, late.entry.Number = "e", b.number
	b.pending <- late
	return hubs.Position{Epoch: "e", Number: b.number}, late
}

func (b *lateBackplane) Publish(_ context.Context, e *hubs.Entry, _ hubs.PublishOptions) (hubs.Position, error) {
	p, _ := b.put(e)
	return p, nil
}

func (b *lateBackplane) Command(ctx context.Context, e *hubs.Entry, _ hubs.PublishOptions) (hubs.Position, int, error) {
	p, late := b.put(e)
	select {
	case n := <-late.applied:
		return p, n, nil
	case <-ctx.Done():
		return p, 0, context.Cause(ctx)
	}
}

// steps is a hub whose methods talk to the caller and to a group by turns.
type steps struct{}

func (steps) Join(ctx context.Context) error { return hubs.FromContext(ctx).Join(ctx, "g") }

// Step sends two numbers to the caller and two to the group, in some order, and
// returns the fifth.
func (steps) Step(ctx context.Context, from int) (int, error) {
	c := hubs.FromContext(ctx)
	for i := range 4 {
		to := c.Caller()
		if (from>>i)&1 == 1 {
			to = c.Group("g")
		}
		if err := to.Send(ctx, "n", from+i); err != nil {
			return 0, err
		}
	}
	return from + 4, nil
}

// Leave says good-bye to the group and ends the caller's connection.
func (steps) Leave(ctx context.Context) error {
	c := hubs.FromContext(ctx)
	err := c.Group("g").Send(ctx, "n", -1)
	c.Abort()
	return err
}

// Items publishes between the items of a stream.
func (steps) Items(ctx context.Context, n int) iter.Seq2[int, error] {
	c := hubs.FromContext(ctx)
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(2*i, c.Group("g").Send(ctx, "n", 2*i+1)) {
				return
			}
		}
	}
}

// TestOrder_of_a_method is I-14 with a backplane that applies late: what a
// method sends to its caller and to a group, and its completion, are seen in the
// order of the program.
func TestOrder_of_a_method(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, p protocol.Protocol) {
		s := registered(t, hubs.Config{Backplane: newLateBackplane(t)}, steps{})
		c := dial(t, s, p, "", "c1")
		c.invoke("j", "Join")
		c.wantVoid("j")

		const batch, batches = 50, 100 // 10,000 invocations in both protocols together
		for b := range batches {
			for i := range batch {
				c.invoke("i", "Step", 16*(b*batch+i)+rand.IntN(11))
			}
			for range batch {
				first := -1
				for k := range 4 {
					m := c.want(protocol.Invocation, "")
					n := read[[]int](c, m.Arguments)[0]
					if k == 0 {
						first = n
					}
					if n != first+k {
						t.Fatalf("got %d, want %d", n, first+k)
					}
				}
				wantResult(c, "i", first+4)
			}
		}
		c.stream("s", "Items", 100)
		for i := range 100 {
			// The send to the group is made before the item is yielded.
			if m := c.want(protocol.Invocation, ""); read[[]int](c, m.Arguments)[0] != 2*i+1 {
				t.Fatalf("got %q at %d", m.Arguments.Bytes, i)
			}
			wantItem(c, "s", 2*i)
		}
		c.wantVoid("s")

		c.invoke("", "Leave")
		wantPush(c, "n", -1)
		if m := c.next(); m == nil || m.Type != protocol.Close {
			t.Errorf("got %+v, want Close", m)
		}
	})
}

func TestOrder_without_an_end(t *testing.T) {
	t.Parallel()
	t.Run("what waits is bounded", func(t *testing.T) {
		b := newLateBackplane(t)
		s := registered(t, hubs.Config{Backplane: b, Options: hubs.Options{OutboundMessages: 20}}, steps{})
		c := dial(t, s, protocol.NewJSON(), "", "c1")
		b.held.Lock()
		defer b.held.Unlock()
		for i := range 30 {
			c.invoke(fmt.Sprint(i), "Step", 15) // to the group alone
		}
		for m := c.next(); m != nil; m = c.next() {
			if m.Type == protocol.Close && !m.AllowReconnect {
				t.Error("the client isn't asked to come back")
			}
		}
		if err := c.serveReturned(); err == nil {
			t.Error("Serve returned nil")
		}
	})
	t.Run("a new epoch lets go what waited for the old one", func(t *testing.T) {
		b := newLateBackplane(t)
		s := registered(t, hubs.Config{Backplane: b}, steps{})
		c := dial(t, s, protocol.NewJSON(), "", "c1")
		c.invoke("j", "Join")
		c.wantVoid("j")
		b.held.Lock()
		c.invoke("1", "Step", 15) // to the group alone
		until(t, "four entries are accepted", func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.number == 5
		})
		node := b.node
		node.Apply(&hubs.Entry{Epoch: "f", Number: 1, Kind: hubs.AddToGroup})
		wantResult(c, "1", 19)
		b.held.Unlock()
		for range 4 {
			c.want(protocol.Invocation, "")
		}
	})
	t.Run("a connection that ends takes what waits with it", func(t *testing.T) {
		b := newLateBackplane(t)
		s := registered(t, hubs.Config{Backplane: b}, steps{})
		c := dial(t, s, protocol.NewJSON(), "", "c1")
		b.held.Lock()
		c.invoke("1", "Step", 15)
		until(t, "four entries are accepted", func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.number == 4
		})
		c.Abort()
		if err := c.serveReturned(); err == nil {
			t.Error("Serve returned nil")
		}
		b.held.Unlock()
	})
}

var _ hubs.Backplane = (*lateBackplane)(nil)

// Entries that are lost are waited for no longer: what a told client was to get behind
// them comes behind the notice.
func TestGap_releases_what_waits_for_the_lost(t *testing.T) {
	t.Parallel()
	for reason, next := range map[string]func(hubs.Position) hubs.Position{
		"trimmed": func(p hubs.Position) hubs.Position { p.Number += 5; return p },
		"epoch":   func(hubs.Position) hubs.Position { return hubs.Position{Epoch: "another"} },
		"forked":  func(hubs.Position) hubs.Position { return hubs.Position{} },
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, hubs.Config{Options: hubs.Options{TellGaps: true}})
			w := connect(t, s, "", "c")
			last, err := s.Backplane().Publish(t.Context(), &hubs.Entry{Kind: hubs.SendToConnections}, hubs.PublishOptions{})
			if err != nil {
				t.Fatal(err)
			}
			c, _ := s.Connection("c")
			_, frame := message("behind")
			lost := last
			lost.Number += 3
			c.SendAfter(lost, []byte(frame), false)
			applied := make(chan error, 1)
			go func() { applied <- s.AwaitApplied(t.Context(), lost) }()
			s.Lost(hubs.Gap{Reason: reason, From: last.Number + 1, To: last.Number + 5, Last: last, Next: next(last)})
			notice, _ := w.read()
			if !strings.Contains(notice, `"target":"$gap"`) {
				t.Errorf("got %q, want a notice", notice)
			}
			w.expect(frame)
			expect(t, applied, nil)
			// Nor when what comes next is of another epoch than the lost.
			s.Apply(&hubs.Entry{Kind: hubs.SendToConnections, Epoch: "another", Number: 1})
			_, frame = message("later")
			c.SendAfter(lost, []byte(frame), false)
			w.expect(frame)
		})
	}
}
