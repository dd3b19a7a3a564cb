package serverconn_test

import (
	"testing"

	sp "github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// BenchmarkSends measures what one server connection gets into the hub, over a real
// socket and a real Redis: sends alone, and sends that each have to wait for bytes
// to one client before them.
func BenchmarkSends(b *testing.B) {
	for _, alternating := range []bool{false, true} {
		name := "pipelined"
		if alternating {
			name = "alternating"
		}
		b.Run(name, func(b *testing.B) {
			s := newStand(b, nil)
			n := s.node()
			a := s.connect("one", sp.ConnectionDefault, 0)
			_, d := s.open(a, client("c1"))
			p := payloads(b, "say", "hello")
			data := &sp.ConnectionData{ConnectionID: "c1", Payload: p[0].Data}
			b.ReportAllocs()
			for sent := 0; b.Loop(); sent++ {
				if alternating {
					a.send(data)
				}
				a.send(&sp.BroadcastData{Payloads: p})
				if sent >= 500 { // so much is on its way
					n.next(b)
				}
				if alternating && sent >= 100 {
					<-d.events
					<-d.after
				}
			}
		})
	}
}
