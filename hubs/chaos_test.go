package hubs_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// anything is a hub whose methods end on their own or with their context.
type anything struct{}

func (anything) Echo(s string) string { return s }

func (anything) Wait(ctx context.Context) error {
	select {
	case <-time.After(2 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (anything) Hang(ctx context.Context, in iter.Seq2[int, error]) (n int, err error) {
	for _, err = range in {
		n++
	}
	return n, err
}

func (anything) Relay(ctx context.Context, in <-chan int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for v := range in {
			if !yield(v, hubs.FromContext(ctx).All().Send(ctx, "n", v)) {
				return
			}
		}
	}
}

func (anything) Forever(ctx context.Context) <-chan int {
	c := make(chan int)
	go func() {
		defer close(c)
		for i := 0; ; i++ {
			select {
			case c <- i:
			case <-ctx.Done():
				return
			}
		}
	}()
	return c
}

func (anything) Ask(ctx context.Context) (int, error) {
	return hubs.Invoke[int](ctx, hubs.FromContext(ctx).Caller(), "ask")
}

func (anything) Panic()                    { panic("now and then") }
func (anything) Abort(ctx context.Context) { hubs.FromContext(ctx).Abort() }

// TestChaos does everything at once, in any order, with connections that end in
// any way at any moment. Whatever happens: nothing hangs, and nothing leaks (see
// TestMain).
func TestChaos(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, p protocol.Protocol) {
		for round := range 40 {
			seed := rand.Uint64()
			r := rand.New(rand.NewPCG(seed, 0))
			options := hubs.Options{MaximumParallelInvocationsPerClient: 1 + r.IntN(3), StreamBufferCapacity: 1 + r.IntN(4)}
			s := registered(t, hubs.Config{Options: options, Backplane: newLateBackplane(t)}, anything{})
			c := dial(t, s, p, "", fmt.Sprint("c", round))
			id := func() string { return fmt.Sprint(r.IntN(6)) }
			for range 150 {
				switch r.IntN(14) {
				case 0, 1:
					c.invoke(id(), "Echo", "x")
				case 2:
					c.invoke("", "Wait")
				case 3:
					c.upload(id(), "Hang", []string{id()})
				case 4:
					c.put(&protocol.Message{Type: protocol.StreamInvocation, InvocationID: id(), Target: "Relay", Arguments: c.args(nil), StreamIDs: []string{id()}})
				case 5, 6:
					c.item(id(), r.IntN(3))
				case 7:
					c.complete(id())
				case 8:
					c.fail(id(), "x")
				case 9:
					c.stream(id(), "Forever")
				case 10, 11:
					c.put(&protocol.Message{Type: protocol.CancelInvocation, InvocationID: id()})
				case 12:
					c.invoke(id(), "Ask")
				case 13:
					c.invoke(id(), "Panic")
				}
			}
			switch r.IntN(4) {
			case 0:
				c.Abort()
			case 1:
				c.put(&protocol.Message{Type: protocol.Close})
			case 2:
				c.hangUp()
			case 3:
				c.put(&protocol.Message{Type: protocol.Invocation, Target: "Abort", Arguments: c.args(nil)})
				c.hangUp()
			}
			select {
			case <-c.ended:
			case <-time.After(wait):
				t.Fatalf("the connection didn't end within %v (seed %d)", wait, seed)
			}
		}
	})
}
