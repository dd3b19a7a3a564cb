package hubs_test

import (
	"context"
	"io"
	"sync"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
)

// caller is a Transport whose client sends one invocation after the other and
// waits for each answer.
type caller struct {
	next    chan []byte   // what the client sends
	answers chan struct{} // one for each write
	pending []byte
	ended   chan struct{}
	once    sync.Once
}

func (*caller) Kind() hubs.TransportKind          { return hubs.WebSockets }
func (*caller) SetFormat(protocol.TransferFormat) {}
func (c *caller) Close(hubs.Ending)               { c.Abort() }
func (c *caller) Abort()                          { c.once.Do(func() { close(c.ended) }) }
func (c *caller) Write([]byte) error              { c.answers <- struct{}{}; return nil }

func (c *caller) Wait() error {
	if len(c.pending) > 0 {
		return nil
	}
	select {
	case c.pending = <-c.next:
		return nil
	case <-c.ended:
		return io.EOF
	}
}

func (c *caller) Read(p []byte) (int, error) {
	n := copy(p, c.pending)
	c.pending = c.pending[n:]
	return n, nil
}

type twoArguments struct{}

func (twoArguments) Send(_ context.Context, user, text string) (int, error) {
	return len(user) + len(text), nil
}

// call makes one round trip.
func (c *caller) call(frame []byte) {
	c.next <- frame
	<-c.answers
}

// newCaller connects and returns the frame of an invocation with two arguments.
func newCaller(tb testing.TB, p protocol.Protocol) (*caller, []byte) {
	d, err := hubs.Register(twoArguments{})
	if err != nil {
		tb.Fatal(err)
	}
	s, err := hubs.NewServer(hubs.Config{Name: "bench", Dispatcher: d})
	if err != nil {
		tb.Fatal(err)
	}
	c := &caller{next: make(chan []byte), answers: make(chan struct{}), ended: make(chan struct{})}
	go s.Serve(context.Background(), hubs.ConnectionInfo{}, c) //nolint:errcheck // ends with the server
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	c.call([]byte("{\"protocol\":\"" + p.Name() + "\",\"version\":1}\x1e"))
	args, err := values.Arguments(p.Encoding(), "ann", "hello, everybody")
	if err != nil {
		tb.Fatal(err)
	}
	frame, err := p.Append(nil, &protocol.Message{Type: protocol.Invocation, InvocationID: "17", Target: "Send", Arguments: args})
	if err != nil {
		tb.Fatal(err)
	}
	return c, frame
}

// BenchmarkInvocation is the round trip of one invocation with two arguments and
// a result, without a network.
func BenchmarkInvocation(b *testing.B) {
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		b.Run(p.Name(), func(b *testing.B) {
			c, frame := newCaller(b, p)
			b.ReportAllocs()
			for b.Loop() {
				c.call(frame)
			}
		})
	}
}

// TestInvocation_allocates_little bounds the round trip; pools may be emptied
// meanwhile, hence the average.
func TestInvocation_allocates_little(t *testing.T) {
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		c, frame := newCaller(t, p)
		if n := testing.AllocsPerRun(2000, func() { c.call(frame) }); n > 10 && !raceEnabled {
			t.Errorf("%s: %.0f allocations, want at most 10", p.Name(), n)
		}
	}
}
