package hubs_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// TestClient_results_across_nodes is C-01 to C-08 for a client of another node,
// of either protocol.
func TestClient_results_across_nodes(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, p protocol.Protocol) {
		bus := hubs.NewMemoryBackplane()
		node := func() *hubs.Server {
			return registered(t, hubs.Config{Backplane: bus, Options: hubs.Options{EnableDetailedErrors: true}}, &lobby{gate: newGate()})
		}
		near, far := node(), node()
		there := dial(t, far, p, "", "there")
		other := dial(t, far, p, "", "other")

		// ask asks from the near node, which has no connection yet.
		type answer struct {
			text string
			err  error
		}
		ask := func(ctx context.Context, id string) <-chan answer {
			done := make(chan answer, 1)
			go func() {
				text, err := hubs.Invoke[string](ctx, near.Context().Client(id), "ask", "?")
				done <- answer{text, err}
			}()
			return done
		}
		asked := func() string {
			t.Helper()
			m := there.next()
			if m == nil || m.Type != protocol.Invocation || m.InvocationID == "" || m.Target != "ask" || read[[]string](there, m.Arguments)[0] != "?" {
				t.Fatalf("got %+v", m)
			}
			return m.InvocationID
		}
		wantFailure := func(a answer, text string) {
			t.Helper()
			if a.err == nil || a.err.Error() != text {
				t.Errorf("got %q, %v, want %q", a.text, a.err, text)
			}
		}
		t.Run("C-01 C-08 the answer of the one who was asked", func(t *testing.T) {
			got := ask(t.Context(), "there")
			id := asked()
			other.put(&protocol.Message{Type: protocol.Completion, InvocationID: id, Result: other.raw("forged")})
			other.invoke("1", "Ping")
			wantResult(other, "1", "pong")
			there.put(&protocol.Message{Type: protocol.Completion, InvocationID: id, Result: there.raw("yes")})
			if a := <-got; a.text != "yes" || a.err != nil {
				t.Errorf("got %+v", a)
			}
			there.put(&protocol.Message{Type: protocol.Completion, InvocationID: id, Result: there.raw("again")})
		})
		t.Run("C-02 the client's error", func(t *testing.T) {
			got := ask(t.Context(), "there")
			there.fail(asked(), "Error: no")
			a := <-got
			var safe *hubs.Error
			if !errors.As(a.err, &safe) {
				t.Errorf("%T", a.err)
			}
			wantFailure(a, "Error: no")
		})
		t.Run("no value", func(t *testing.T) {
			got := ask(t.Context(), "there")
			there.complete(asked())
			if a := <-got; a.text != "" || a.err != nil {
				t.Errorf("got %+v", a)
			}
		})
		t.Run("C-05 from a hub method", func(t *testing.T) {
			here := dial(t, near, p, "", "here")
			here.invoke("1", "Ask", "there")
			there.put(&protocol.Message{Type: protocol.Completion, InvocationID: there.want(protocol.Invocation, there.peekID()).InvocationID, Result: there.raw("far")})
			wantResult(here, "1", "far")
		})
		t.Run("C-06 nobody", func(t *testing.T) {
			wantFailure(<-ask(t.Context(), "nobody"), "Connection 'nobody' does not exist.")
		})
		t.Run("C-11 the wrong type", func(t *testing.T) {
			got := ask(t.Context(), "there")
			there.put(&protocol.Message{Type: protocol.Completion, InvocationID: asked(), Result: there.raw([]int{1})})
			if a := <-got; a.err == nil {
				t.Errorf("got %+v", a)
			}
		})
		t.Run("SEC-24 a cancelled wait, and too many", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var waiting []<-chan answer
			for range 100 {
				waiting = append(waiting, ask(ctx, "there"))
				asked()
			}
			wantFailure(<-ask(t.Context(), "there"), fmt.Sprintf("more than %d invocations of the client wait for an answer", 100))
			cancel()
			for _, w := range waiting {
				if a := <-w; !errors.Is(a.err, context.Canceled) {
					t.Errorf("got %+v", a)
				}
			}
		})
		t.Run("C-07 the connection ends meanwhile", func(t *testing.T) {
			got := make(chan answer, 1)
			go func() {
				_, err := hubs.Invoke[string](t.Context(), near.Context().Client("other"), "ask")
				got <- answer{err: err}
			}()
			other.next()
			other.Abort()
			wantFailure(<-got, "Connection 'other' disconnected.")
		})
	})
}

// peekID waits for the next message and returns its invocation id.
func (c *peer) peekID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		var m protocol.Message
		if n, err := c.proto.Parse(c.out, &m); n > 0 || err != nil || c.outEnd {
			return m.InvocationID
		}
		c.cond.Wait()
	}
}
