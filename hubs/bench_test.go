package hubs_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// sink is a Transport whose client reads everything at once.
type sink struct {
	once  sync.Once
	sent  atomic.Bool
	ended chan struct{}
	got   *atomic.Int64 // bytes
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
	return copy(p, handshake), nil
}

// BenchmarkFanOut publishes to all connections and waits until every one of
// them has been written to.
func BenchmarkFanOut(b *testing.B) {
	for _, clients := range []int{10, 1000} {
		b.Run(fmt.Sprintf("connections=%d", clients), func(b *testing.B) {
			s, err := hubs.NewServer(hubs.Config{Name: "bench"})
			if err != nil {
				b.Fatal(err)
			}
			var got atomic.Int64
			for range clients {
				go s.Serve(context.Background(), hubs.ConnectionInfo{}, &sink{ended: make(chan struct{}), got: &got}) //nolint:errcheck // ends with the server
			}
			want := int64(clients * len("{}\x1e"))
			settle := func() {
				for deadline := time.Now().Add(wait); got.Load() != want; time.Sleep(10 * time.Microsecond) {
					if time.Now().After(deadline) {
						b.Fatalf("%d bytes of %d were written within %v", got.Load(), want, wait)
					}
				}
			}
			settle()
			m, frame := message("0123456789")
			e := &hubs.Entry{Kind: hubs.SendToAll, Message: m}
			b.ReportAllocs()
			for b.Loop() {
				want += int64(clients * len(frame))
				s.Apply(e)
				settle()
			}
			b.StopTimer()
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
