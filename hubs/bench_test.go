package hubs_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
)

// sink is a Transport whose client reads everything at once.
type sink struct {
	protocol string
	once     sync.Once
	sent     atomic.Bool
	ended    chan struct{}
	got      *atomic.Int64 // bytes
}

func (*sink) Kind() hubs.TransportKind          { return hubs.WebSockets }
func (*sink) SetFormat(protocol.TransferFormat) {}
func (s *sink) Close(hubs.Ending)               { s.Abort() }
func (s *sink) Abort()                          { s.once.Do(func() { close(s.ended) }) }
func (s *sink) Write(p []byte) error            { s.got.Add(int64(len(p))); return nil }

func (s *sink) Wait() error {
	if !s.sent.Load() {
		return nil
	}
	<-s.ended
	return io.EOF
}

func (s *sink) Read(p []byte) (int, error) {
	if s.sent.Swap(true) {
		return 0, nil
	}
	return copy(p, "{\"protocol\":\""+s.protocol+"\",\"version\":1}\x1e"), nil
}

// audience is a Server with some connections that read everything.
type audience struct {
	server  *hubs.Server
	clients int
	frame   int // bytes of the message in the clients' protocol
	message protocol.Raw
	got     atomic.Int64
	want    int64
}

func newAudience(tb testing.TB, p protocol.Protocol, clients int) *audience {
	tb.Helper()
	s, err := hubs.NewServer(hubs.Config{Name: "bench"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	a := &audience{server: s, clients: clients}
	if a.message, err = values.Arguments(p.Encoding(), "0123456789"); err != nil {
		tb.Fatal(err)
	}
	frame, err := a.broadcast().Frame(p)
	if err != nil {
		tb.Fatal(err)
	}
	a.frame = len(frame)
	for range clients {
		go s.Serve(context.Background(), hubs.ConnectionInfo{}, &sink{protocol: p.Name(), ended: make(chan struct{}), got: &a.got}) //nolint:errcheck // ends with the server
	}
	a.want = int64(clients * len("{}\x1e"))
	a.settle(tb)
	return a
}

func (a *audience) broadcast() *hubs.Broadcast {
	return &hubs.Broadcast{Target: "message", Arguments: a.message}
}

// send sends one message to all, encoding included, and waits until every one
// of them has been written to.
func (a *audience) send(tb testing.TB) {
	a.want += int64(a.clients * a.frame)
	a.server.Apply(&hubs.Entry{Kind: hubs.SendToAll, Message: a.broadcast()})
	a.settle(tb)
}

func (a *audience) settle(tb testing.TB) {
	deadline := time.Now().Add(wait)
	for turn := 1; a.got.Load() != a.want; turn++ {
		runtime.Gosched() // a timer would be measured, not the writers
		if turn%1000 == 0 && time.Now().After(deadline) {
			tb.Fatalf("%d bytes of %d were written within %v", a.got.Load(), a.want, wait)
		}
	}
}

// BenchmarkFanOut sends to all connections of a node and waits until every one
// of them has been written to; without a network.
func BenchmarkFanOut(b *testing.B) {
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		for _, clients := range []int{1, 1000, 10_000} {
			b.Run(fmt.Sprintf("%s/connections=%d", p.Name(), clients), func(b *testing.B) {
				a := newAudience(b, p, clients)
				a.send(b)
				b.ReportAllocs()
				for b.Loop() {
					a.send(b)
				}
			})
		}
	}
}

// TestFanOut_allocates_nothing_per_recipient: what a broadcast allocates doesn't
// grow with its recipients. Pools may be emptied meanwhile, hence the room.
func TestFanOut_allocates_nothing_per_recipient(t *testing.T) {
	const clients, room = 1000, 50
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		a := newAudience(t, p, clients)
		if n := testing.AllocsPerRun(200, func() { a.send(t) }); n > room && !raceEnabled {
			t.Errorf("%s: %.0f allocations for %d recipients, want at most %d in all", p.Name(), n, clients, room)
		}
	}
}

// BenchmarkConflation publishes prices of 500 symbols, round after round, to a
// group that all viewers are in. Viewers without conflation are written every one of
// them; others get what a clock of 100 ms leaves of them, which sent/price tells.
func BenchmarkConflation(b *testing.B) {
	const symbols = 500
	p := protocol.NewJSON()
	for _, viewers := range []int{100, 2000} {
		for _, conflated := range []bool{false, true} {
			b.Run(fmt.Sprintf("viewers=%d/conflated=%t", viewers, conflated), func(b *testing.B) {
				a := newAudience(b, p, viewers)
				join := &hubs.Entry{Kind: hubs.AddToGroup, Groups: []string{"prices"}}
				a.server.Each(func(c *hubs.Connection) { join.Connections = append(join.Connections, c.ID()) })
				if conflated {
					join.Conflate = &hubs.Conflation{Every: 100 * time.Millisecond}
				}
				a.server.Apply(join)
				began, size := a.got.Load(), 0
				b.ReportAllocs()
				for b.Loop() {
					for n := range symbols {
						price := &hubs.Broadcast{Target: "price", Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: fmt.Appendf(nil, "[%q,1]", fmt.Sprintf("%06d", n))}}
						a.server.Apply(&hubs.Entry{Kind: hubs.SendToGroups, Groups: []string{"prices"}, Message: price})
						frame, err := price.Frame(p)
						if err != nil {
							b.Fatal(err)
						}
						size = len(frame)
					}
					if !conflated {
						a.want += int64(viewers * symbols * size)
						a.settle(b)
					}
				}
				prices := float64(b.N * symbols)
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/prices, "ns/price")
				b.ReportMetric(float64(a.got.Load()-began)/float64(size*viewers)/prices, "sent/price")
			})
		}
	}
}
