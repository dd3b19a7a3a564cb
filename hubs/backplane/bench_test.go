package backplane

import (
	"context"
	"log/slog"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
)

// BenchmarkPublish is publish to applied, many publishers on one hub.
func BenchmarkPublish(b *testing.B) {
	client, err := redisclient.New(testenv.Redis(b), "bench")
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	r, err := New(Config{Redis: client, EdgeRun: "bench", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	n := newNode()
	h := r.Hub(tenant, hub, Settings{})
	if _, err := h.Subscribe(context.Background(), n); err != nil {
		b.Fatal(err)
	}
	e := say("bench", 1)
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := h.Publish(context.Background(), e, hubs.PublishOptions{Charge: 1}); err != nil {
				b.Error(err)
			}
		}
	})
	for {
		n.mu.Lock()
		done, changed := len(n.entries) >= b.N, n.changed
		n.mu.Unlock()
		if done {
			break
		}
		<-changed
	}
}
