package serverlink_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
)

func direct(o *options) { o.direct = true }

// BenchmarkSend is messages of one client to an app server on another edge.
func BenchmarkSend(b *testing.B) {
	for _, size := range []int{100, 4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			a, _, app := two(b, direct)
			s, _ := a.mustOpen(newClient("c1"))
			p := get(b, "pairing", app.opened)
			m := bytes.Repeat([]byte("x"), size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			done := make(chan struct{})
			go func() {
				for range b.N {
					<-p.said
				}
				close(done)
			}()
			b.ResetTimer()
			for range b.N {
				if err := s.Send(b.Context(), m, pairing.DataOther); err != nil {
					b.Fatal(err)
				}
			}
			<-done
		})
	}
}

// BenchmarkDeliver is frames of an app server to many clients of another edge.
func BenchmarkDeliver(b *testing.B) {
	for _, clients := range []int{1, 100} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			a, _, app := two(b, direct)
			var list []*paired
			for i := range clients {
				_, d := a.mustOpen(newClient(fmt.Sprint("c", i)))
				d.take = func(_ hubs.Position, _ []byte, settled *sync.WaitGroup) {
					settled.Add(1)
					settled.Done()
				}
				list = append(list, get(b, "pairing", app.opened))
			}
			m := bytes.Repeat([]byte("x"), 100)
			b.ReportAllocs()
			b.ResetTimer()
			var settled sync.WaitGroup
			for i := range b.N {
				list[i%clients].down.Deliver(hubs.Position{}, m, &settled)
				if i%1000 == 999 {
					settled.Wait()
				}
			}
			settled.Wait()
		})
	}
}

// BenchmarkRoundTrip is what a link adds to an invocation: a message there, a
// frame back, nothing else under way.
func BenchmarkRoundTrip(b *testing.B) {
	a, _, app := two(b, direct)
	s, d := a.mustOpen(newClient("c1"))
	p := get(b, "pairing", app.opened)
	m := bytes.Repeat([]byte("x"), 100)
	go func() {
		var settled sync.WaitGroup
		for range b.N {
			<-p.said
			p.down.Deliver(hubs.Position{}, m, &settled)
		}
	}()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := s.Send(b.Context(), m, pairing.DataOther); err != nil {
			b.Fatal(err)
		}
		<-d.events
	}
}

// BenchmarkOpen is pairing a client with an app server on another edge.
func BenchmarkOpen(b *testing.B) {
	a, _, app := two(b, direct)
	c, d := newClient("c1"), newDownstream()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		s, err := a.fleet.Open(b.Context(), c, d)
		if err != nil {
			b.Fatal(err)
		}
		<-app.opened
		s.End("", "")
	}
}
