package hubs_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// BenchmarkConflation_of_rare_values sends the values of many keys to many viewers, each
// key so seldom that no value is ever replaced: what conflation costs where it saves
// nothing, beside a group without it.
func BenchmarkConflation_of_rare_values(b *testing.B) {
	const keys, viewers = 500, 2000
	for _, how := range []struct {
		name     string
		conflate *hubs.Conflation
	}{
		{"plain", nil},
		{"conflated", &hubs.Conflation{Every: hubs.MinConflation}},
	} {
		b.Run(fmt.Sprintf("%s/keys=%d/viewers=%d", how.name, keys, viewers), func(b *testing.B) {
			p := protocol.NewJSON()
			s, err := hubs.NewServer(hubs.Config{Name: "bench"})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() {
				if err := s.Close(); err != nil {
					b.Error(err)
				}
			})
			a := &audience{server: s, clients: viewers}
			ids := make([]string, viewers)
			for i := range ids {
				ids[i] = fmt.Sprint("c", i)
				go s.Serve(context.Background(), hubs.ConnectionInfo{ID: ids[i]}, &sink{protocol: p.Name(), ended: make(chan struct{}), got: &a.got}) //nolint:errcheck // ends with the server
			}
			a.want = int64(viewers * len("{}\x1e"))
			a.settle(b)
			s.Apply(&hubs.Entry{Kind: hubs.AddToGroup, Connections: ids, Groups: []string{"prices"}, Conflate: how.conflate})
			entries := make([]*hubs.Entry, keys)
			for k := range entries {
				entries[k] = &hubs.Entry{Kind: hubs.SendToGroups, Groups: []string{"prices"}, Message: &hubs.Broadcast{
					Target: "price", Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: fmt.Appendf(nil, `["K%03d",123.45]`, k)},
				}}
			}
			frame, err := entries[0].Message.Frame(p)
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			send := func() {
				e := *entries[n%keys]
				n++
				a.want += int64(viewers * len(frame))
				s.Apply(&e)
				a.settle(b)
			}
			for range keys { // every key is known
				send()
			}
			b.ReportAllocs()
			for b.Loop() {
				send()
			}
		})
	}
}
