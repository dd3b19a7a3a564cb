package hubs_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// talker is a hub that sends a lot to its caller.
type talker struct{ done chan int }

func (h *talker) Talk(ctx context.Context, n int) error {
	call := hubs.FromContext(ctx)
	for i := range n {
		if err := call.Caller().Send(ctx, "n", i, strings.Repeat("x", 1000)); err != nil {
			return err
		}
	}
	h.done <- n
	return nil
}

func TestCaller_is_not_flooded(t *testing.T) {
	t.Parallel()
	hub := &talker{done: make(chan int, 1)}
	s := registered(t, hubs.Config{}, hub)
	c := dial(t, s, protocol.NewJSON(), "", "c1")
	c.stall(true)
	c.invoke("1", "Talk", 5000)
	select {
	case <-hub.done:
		t.Error("the method ran ahead of its caller")
	case <-time.After(50 * time.Millisecond):
	}
	c.stall(false)
	for i := range 5000 {
		m := c.want(protocol.Invocation, "")
		if n := read[[]any](c, m.Arguments)[0]; n != float64(i) {
			t.Fatalf("got %v, want %d", n, i)
		}
	}
	c.wantVoid("1")
}

func TestSilence_while_the_server_does_not_read_is_no_timeout(t *testing.T) {
	t.Parallel()
	options := hubs.Options{ClientTimeoutInterval: 50 * time.Millisecond, KeepAliveInterval: 20 * time.Millisecond, StreamBufferCapacity: 1}
	for name, fill := range map[string]func(c *peer, f *feed){
		"a full stream buffer": func(c *peer, f *feed) {
			c.upload("1", "Hold", []string{"s"})
			expect(c.t, f.begun, "hold")
			// From the first ping on silence counts: it comes in one piece with what fills.
			c.together(func() {
				c.put(&protocol.Message{Type: protocol.Ping})
				for range 1000 {
					c.item("s", 1)
				}
				c.complete("s")
			})
		},
		"a full queue": func(c *peer, f *feed) {
			c.stream("1", "Slow", "hold")
			expect(c.t, f.begun, "hold")
			c.together(func() {
				c.put(&protocol.Message{Type: protocol.Ping})
				for range 1000 {
					c.invoke("", "Value")
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := options
			s, hub := newFeed(t, options)
			c := dial(t, s, protocol.NewJSON(), "", "c1")
			fill(c, hub)
			select {
			case err := <-c.ended:
				t.Fatalf("the connection ended: %v", err)
			case <-time.After(300 * time.Millisecond):
			}
			options.ClientTimeoutInterval = time.Minute // now it may be slow
			if err := s.SetOptions(options); err != nil {
				t.Fatal(err)
			}
			hub.release()
			if m := c.next(); m == nil || m.HasError {
				t.Errorf("got %+v", m)
			}
			c.Abort()
			if err := c.serveReturned(); errors.Is(err, hubs.ErrClientTimeout) {
				t.Error("the client was called silent")
			}
		})
	}
}
