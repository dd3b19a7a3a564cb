package hubs_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// silent is a Dispatcher that must never see the answers of clients.
type silent struct {
	hubs.Dispatcher
	seen chan protocol.Message
}

func (d silent) Message(_ context.Context, _ *hubs.Connection, m *protocol.Message) error {
	d.seen <- *m.Clone()
	return nil
}

// TestInvokeConnection asks clients of a hub whose handler knows nothing of
// client results: from their own node, from another one, and from a process that
// serves no connections.
func TestInvokeConnection(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, p protocol.Protocol) {
		bus := hubs.NewMemoryBackplane()
		handler := silent{hubs.BroadcastOnly("chat"), make(chan protocol.Message, 10)}
		near := newServer(t, hubs.Config{Backplane: bus, Dispatcher: handler})
		far := newServer(t, hubs.Config{Backplane: bus})
		c := dial(t, near, p, "", "c")
		other := dial(t, near, p, "", "other")
		message := func() *hubs.Broadcast {
			return &hubs.Broadcast{Target: "ask", Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: []byte(`["?"]`)}}
		}
		type answer struct {
			hubs.ClientAnswer
			err error
		}
		for name, from := range map[string]hubs.Context{"same node": near.Context(), "another node": far.Context(), "no node": hubs.NewContext(bus)} {
			ask := func(ctx context.Context, v hubs.ClientInvocation) <-chan answer {
				got := make(chan answer, 1)
				go func() {
					a, err := from.InvokeConnection(ctx, v)
					got <- answer{a, err}
				}()
				return got
			}
			asked := func() string {
				t.Helper()
				m := c.next()
				if m == nil || m.Type != protocol.Invocation || m.InvocationID == "" || m.Target != "ask" || read[[]string](c, m.Arguments)[0] != "?" {
					t.Fatalf("got %+v", m)
				}
				return m.InvocationID
			}
			t.Run(name, func(t *testing.T) {
				got := ask(t.Context(), hubs.ClientInvocation{Connection: "c", Message: message()})
				id := asked()
				other.put(&protocol.Message{Type: protocol.Completion, InvocationID: id, Result: other.raw("forged")})
				if m := <-handler.seen; m.Type != protocol.Completion || m.InvocationID != id {
					t.Errorf("the handler got %+v", m)
				}
				c.put(&protocol.Message{Type: protocol.Completion, InvocationID: id, Result: c.raw("yes")})
				if a := <-got; a.err != nil || a.HasError || read[string](c, a.Result) != "yes" {
					t.Errorf("answer %+v", a)
				}

				got = ask(t.Context(), hubs.ClientInvocation{Connection: "c", Message: message()})
				c.fail(asked(), "Error: no")
				if a := <-got; a.err != nil || !a.HasError || a.Error != "Error: no" || a.Result.Present() {
					t.Errorf("answer %+v", a)
				}

				got = ask(t.Context(), hubs.ClientInvocation{Connection: "c", Message: message()})
				c.complete(asked())
				if a := <-got; a.err != nil || a.HasError || a.Result.Present() {
					t.Errorf("answer %+v", a)
				}

				if a := <-ask(t.Context(), hubs.ClientInvocation{Connection: "nobody", Message: message()}); !errors.Is(a.err, hubs.ErrNoConnection) {
					t.Errorf("answer %+v", a)
				}
				if a := <-ask(t.Context(), hubs.ClientInvocation{Connection: "c", Message: &hubs.Broadcast{}}); a.err == nil {
					t.Errorf("answer %+v", a)
				}

				// Frames that are ready, with an id of the caller's.
				m := protocol.Message{Type: protocol.Invocation, InvocationID: "own", Target: "ask", Arguments: c.raw([]string{"?"})}
				frame, err := p.Append(nil, &m)
				if err != nil {
					t.Fatal(err)
				}
				got = ask(t.Context(), hubs.ClientInvocation{Connection: "c", ID: "own", Message: &hubs.Broadcast{Frames: map[string][]byte{p.Name(): frame}}})
				if id := asked(); id != "own" {
					t.Errorf("asked as %q", id)
				}
				if a := <-ask(t.Context(), hubs.ClientInvocation{Connection: "c", ID: "own", Message: message()}); a.err == nil {
					t.Errorf("two invocations with one id: %+v", a)
				}
				c.complete("own")
				if a := <-got; a.err != nil {
					t.Errorf("answer %+v", a)
				}
				if a := <-ask(t.Context(), hubs.ClientInvocation{Connection: "c", Message: &hubs.Broadcast{Frames: map[string][]byte{p.Name(): frame}}}); a.err == nil {
					t.Errorf("frames without an id: %+v", a)
				}
			})
			t.Run(name+": gone meanwhile", func(t *testing.T) {
				id := fmt.Sprint("leaver of ", name)
				leaver := dial(t, near, p, "", id)
				got := ask(t.Context(), hubs.ClientInvocation{Connection: id, Message: message()})
				leaver.next()
				leaver.Abort()
				if a := <-got; !errors.Is(a.err, hubs.ErrDisconnected) {
					t.Errorf("answer %+v", a)
				}
			})
		}
		select {
		case m := <-handler.seen:
			t.Errorf("the handler got %+v", m)
		default:
		}
	})
}

// TestInvokeConnection_makes_room asks a client that never answers: what nobody
// waits for any more leaves room for others.
func TestInvokeConnection_makes_room(t *testing.T) {
	t.Parallel()
	bus := hubs.NewMemoryBackplane()
	s := newServer(t, hubs.Config{Backplane: bus})
	from := hubs.NewContext(bus)
	c := dial(t, s, protocol.NewJSON(), "", "c")
	ask := func(patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := from.InvokeConnection(ctx, hubs.ClientInvocation{Connection: "c", Message: &hubs.Broadcast{Target: "ask", Arguments: protocol.Raw{Bytes: []byte("[]")}}})
		return err
	}
	results := make(chan error, 100)
	for range 100 {
		go func() { results <- ask(time.Second) }()
	}
	for range 100 {
		c.next()
	}
	if err := ask(time.Minute); !errors.Is(err, hubs.ErrManyInvocations) {
		t.Errorf("one too many: %v", err)
	}
	for range 100 {
		if err := <-results; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no answer: %v", err)
		}
	}
	// The client's node has rounded the time up to a second, which is over about now.
	got := make(chan error, 1)
	go func() {
		for {
			err := ask(time.Minute)
			if !errors.Is(err, hubs.ErrManyInvocations) {
				got <- err
				return
			}
		}
	}()
	c.complete(c.next().InvocationID)
	if err := <-got; err != nil {
		t.Errorf("after the others: %v", err)
	}
}
