package backplane

import (
	"context"
	"log/slog"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

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
	before := redisCPU(b, client)
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
	b.ReportMetric((redisCPU(b, client)-before)*1e6/float64(b.N), "redis-us/op")
}

// redisCPU is what Redis itself has used so far, in seconds.
func redisCPU(tb testing.TB, c *redis.Client) float64 {
	tb.Helper()
	info, err := c.InfoMap(context.Background(), "cpu").Result()
	if err != nil {
		tb.Fatal(err)
	}
	sum := 0.0
	for _, field := range []string{"used_cpu_user", "used_cpu_sys"} {
		v, err := strconv.ParseFloat(info["CPU"][field], 64)
		if err != nil {
			tb.Fatal(err)
		}
		sum += v
	}
	return sum
}
