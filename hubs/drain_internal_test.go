package hubs

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
)

func TestSpread_is_even(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n    int
		over time.Duration
	}{{1, time.Minute}, {7, time.Minute}, {5000, 2 * time.Second}, {100, 0}, {0, time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			perSecond := map[int]int{}
			done := 0
			if err := spread(t.Context(), c.over, c.n, func(i int) {
				if i != done {
					t.Fatalf("do(%d), want do(%d)", i, done)
				}
				done++
				perSecond[int(time.Since(began)/time.Second)]++
			}); err != nil || done != c.n {
				t.Fatalf("%v, %d of %d done", err, done, c.n)
			}
			if past := time.Since(began); past > c.over {
				t.Errorf("took %v, longer than %v", past, c.over)
			}
			if c.over < time.Second {
				return
			}
			// At most 1.2 times as many in a second as the even rate, and one.
			most := int(1.2*float64(c.n)/c.over.Seconds()) + 1
			for second, n := range perSecond {
				if n > most {
					t.Errorf("%d of %d in second %d, want at most %d", n, c.n, second, most)
				}
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := spread(ctx, time.Minute, 60, func(int) {}); err == nil {
			t.Error("it didn't end with its context")
		}
	})
}

// busyDispatcher never rests.
type busyDispatcher struct{ Dispatcher }

func (busyDispatcher) Busy(*Connection) bool { return true }

func TestRetiring_has_an_end(t *testing.T) {
	t.Parallel()
	s, err := NewServer(Config{Name: "chat"})
	if err != nil {
		t.Fatal(err)
	}
	l := &listening{absent: absent{aborted: make(chan struct{})}, written: make(chan string, 10)}
	c := &Connection{server: s, transport: l, proto: protocol.NewJSON(), dispatcher: busyDispatcher{BroadcastOnly("chat")}}
	c.out.done = make(chan struct{})
	c.ctx, c.cancel = context.WithCancelCause(t.Context())
	c.open.Store(true)
	if c.check(clock()); c.isEnding() {
		t.Fatal("ended without having to")
	}
	c.Retire()
	now := c.retiring.Load()
	if next := c.check(now); next != retireCheck || c.isEnding() {
		t.Fatalf("busy: next look in %v, ending %t", next, c.isEnding())
	}
	call := &protocol.Message{Type: protocol.Invocation, InvocationID: "1", Target: "x"}
	if err := c.handle(call, nil); err != nil {
		t.Fatal(err)
	}
	<-l.written // the refusal: nobody handles the hub's methods
	c.retiring.Store(now - int64(retireQuietly))
	if err := c.handle(call, nil); err != nil {
		t.Fatal(err)
	}
	if got := <-l.written; !strings.Contains(got, "connection_retires: ") || !strings.Contains(got, `"invocationId":"1"`) {
		t.Errorf("got %q for an invocation that came too late, want it refused", got)
	}
	if c.check(c.retiring.Load() + int64(retireWithin)); !c.isEnding() {
		t.Fatal("it doesn't end")
	}
	if got := <-l.written; got != `{"type":7,"allowReconnect":true}`+"\x1e" {
		t.Errorf("got %q, want the end", got)
	}
}

// countingDispatcher counts invocations; the first asks for the end of its connection
// while it is in the reader's hands.
type countingDispatcher struct {
	Dispatcher
	begun int
}

func (d *countingDispatcher) Message(_ context.Context, c *Connection, m *protocol.Message) error {
	if d.begun++; d.begun == 1 {
		c.Retire()
		if c.isEnding() {
			return Errorf("ended with an invocation under way")
		}
	}
	return c.Send(&protocol.Message{Type: protocol.Completion, InvocationID: m.InvocationID})
}

// An invocation is begun and answered, or it isn't begun: there is nothing between.
func TestRetiring_begins_nothing_that_it_cannot_answer(t *testing.T) {
	t.Parallel()
	s, err := NewServer(Config{Name: "chat"})
	if err != nil {
		t.Fatal(err)
	}
	l := &listening{absent: absent{aborted: make(chan struct{})}, written: make(chan string, 10)}
	d := &countingDispatcher{Dispatcher: BroadcastOnly("chat")}
	c := &Connection{server: s, transport: l, proto: protocol.NewJSON(), dispatcher: d}
	c.out.done = make(chan struct{})
	c.ctx, c.cancel = context.WithCancelCause(t.Context())
	c.open.Store(true)
	call := &protocol.Message{Type: protocol.Invocation, InvocationID: "1", Target: "x"}
	if err := c.handle(call, nil); err != nil {
		t.Fatal(err)
	}
	c.check(c.retiring.Load())
	if !c.isEnding() {
		t.Fatal("it doesn't end at rest")
	}
	if err := c.handle(call, nil); err != nil {
		t.Fatal(err)
	}
	if d.begun != 1 {
		t.Errorf("%d invocations begun, want the one before the end", d.begun)
	}
	got := <-l.written
	for !strings.Contains(got, `"type":7`) {
		got += <-l.written
	}
	if want := `{"type":3,"invocationId":"1"}` + "\x1e" + `{"type":7,"allowReconnect":true}` + "\x1e"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
