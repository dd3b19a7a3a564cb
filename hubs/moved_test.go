package hubs_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
)

// moving is a hub whose methods go on while their client moves.
type moving struct {
	began chan struct{}
	ended chan error
}

func (m *moving) Finish(ctx context.Context) (string, error) {
	m.began <- struct{}{}
	<-m.ended
	return "finished", ctx.Err()
}

func (m *moving) Tick(ctx context.Context) <-chan int {
	ticks := make(chan int, 1)
	ticks <- 1
	context.AfterFunc(ctx, func() { close(ticks) })
	return ticks
}

func (m *moving) OnDisconnected(_ context.Context, cause error) { m.ended <- cause }

// move makes the transport say that the client goes on elsewhere.
func (w *wire) move() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inEnd = hubs.ErrMoved
	w.cond.Broadcast()
}

func TestMoved_client_gets_what_was_running_for_it(t *testing.T) {
	t.Parallel()
	hub := &moving{began: make(chan struct{}), ended: make(chan error)}
	s := registered(t, hubs.Config{}, hub)
	c := dial(t, s, protocol.NewJSON(), "", "c")
	c.stream("tick", "Tick")
	if m := c.next(); m.Type != protocol.StreamItem {
		t.Fatalf("got %v, want an item", m)
	}
	c.invoke("1", "Finish")
	<-hub.began
	c.invoke("", "Finish") // waits for its turn
	c.move()
	if m := c.next(); m.InvocationID != "tick" || m.Type != protocol.Completion || m.Error != "The connection moved to another server." {
		t.Errorf("the stream ends with %+v", m)
	}
	hub.ended <- nil
	<-hub.began
	hub.ended <- nil
	m := c.next()
	var result string
	if m.InvocationID != "1" || values.Decode(m.Result, &result) != nil || result != "finished" {
		t.Errorf("the invocation ends with %+v", m)
	}
	if cause := <-hub.ended; !errors.Is(cause, hubs.ErrMoved) {
		t.Errorf("OnDisconnected was told %v", cause)
	}
	if err := c.expectEnd(); !errors.Is(err, hubs.ErrMoved) {
		t.Errorf("Serve returned %v", err)
	}
}

// elsewhere is a Backplane that only notes who published.
type elsewhere struct {
	hubs.Backplane
	published func(*hubs.Entry, hubs.PublishOptions)
}

func (b *elsewhere) Publish(_ context.Context, e *hubs.Entry, o hubs.PublishOptions) (hubs.Position, error) {
	b.published(e, o)
	return hubs.Position{}, nil
}

type telling struct{}

func (telling) Tell(ctx context.Context) error {
	call := hubs.FromContext(ctx)
	if err := call.Caller().Send(ctx, "first"); err != nil {
		return err
	}
	return call.Others().Send(ctx, "second")
}

func TestUseBackplane_is_told_of_the_connection_that_publishes(t *testing.T) {
	t.Parallel()
	d, err := hubs.Register(telling{})
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, hubs.Config{Dispatcher: d})
	early := s.Context()
	var c *peer
	b := &elsewhere{Backplane: hubs.NewMemoryBackplane(), published: func(_ *hubs.Entry, o hubs.PublishOptions) {
		if o.Origin == nil {
			return
		}
		if err := o.Origin.AwaitWritten(t.Context()); err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.writes < 2 { // the answer to the handshake is one
			t.Error("the second message was published before the first was written")
		}
	}}
	if err := s.UseBackplane(b); err != nil {
		t.Fatal(err)
	}
	c = dial(t, s, protocol.NewJSON(), "", "c")
	c.invoke("1", "Tell")
	for m := c.next(); m.Type != protocol.Completion; m = c.next() {
		continue
	}
	if err := early.All().Send(t.Context(), "third"); err != nil {
		t.Error(err)
	}
	if err := s.UseBackplane(b); err == nil {
		t.Error("the backplane was changed under a connection")
	}
}

func TestExpectAnswer_takes_the_answer_to_somebody_elses_invocation(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, p protocol.Protocol) {
		s := newServer(t, hubs.Config{})
		c := dial(t, s, p, "", "c")
		conn, ok := s.Connection("c")
		if !ok {
			t.Fatal("the connection isn't there")
		}
		entries := make(chan *hubs.Entry, 2)
		take := func(id string) {
			t.Helper()
			err := conn.ExpectAnswer(id, time.Minute, func(a hubs.ClientAnswer, err error) {
				a.Result = a.Result.Clone()
				entries <- hubs.AnswerEntry("c", id, a, err)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		take("a")
		take("b")
		c.put(&protocol.Message{Type: protocol.Completion, InvocationID: "a", Result: c.raw("yes")})
		e := <-entries
		if e.Kind != hubs.ClientResult || e.Reason != "a" || e.Message.Target != "value" || !cmp.Equal(e.Connections, []string{"c"}) {
			t.Errorf("got %+v", e)
		}
		c.hangUp()
		if e = <-entries; e.Reason != "b" || e.Message.Target != "gone" {
			t.Errorf("got %+v", e)
		}
	})
}

// A method that takes longer is cancelled, and its caller is told.
func TestMoved_client_does_not_wait_for_long_methods(t *testing.T) {
	t.Parallel()
	s := registered(t, hubs.Config{}, lasting{})
	c := dial(t, s, protocol.NewJSON(), "", "c")
	c.invoke("1", "Last")
	c.invoke("2", "Last")
	c.move()
	for _, id := range []string{"2", "1"} { // what hasn't begun is answered first
		if m := c.next(); m.InvocationID != id || m.Error != "The connection moved to another server." {
			t.Errorf("got %+v", m)
		}
	}
	if err := c.expectEnd(); !errors.Is(err, hubs.ErrMoved) {
		t.Errorf("Serve returned %v", err)
	}
}

type lasting struct{}

func (lasting) Last(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}
