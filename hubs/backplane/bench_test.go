package backplane

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
)

// BenchmarkPublish is publish to applied, with Pub/Sub and without: many publishers on
// one hub that all of four processes follow, and on 600 of which each is followed by
// three of eight. The rate is what comes about, or 2,000 a second.
func BenchmarkPublish(b *testing.B) {
	for _, shape := range []struct {
		name             string
		hubs, processes  int
		followers, perMS int
	}{
		{"one hub", 1, 4, 4, 0},
		{"one hub, 2000 per s", 1, 4, 4, 2},
		{"600 hubs", 600, 8, 3, 0},
		{"600 hubs, 2000 per s", 600, 8, 3, 2},
	} {
		for _, streams := range []bool{false, true} {
			mode := "doorbells"
			if streams {
				mode = streamsOnly
			}
			b.Run(shape.name+"/"+mode, func(b *testing.B) {
				benchmarkPublish(b, shape.hubs, shape.processes, shape.followers, shape.perMS, streams)
			})
		}
	}
}

func benchmarkPublish(b *testing.B, count, processes, followers, perMS int, streams bool) {
	url := testenv.Redis(b)
	var all []*Redis
	for i := range processes {
		client, err := redisclient.New(url, "bench")
		if err != nil {
			b.Fatal(err)
		}
		defer client.Close()
		r, err := New(Config{Redis: client, EdgeRun: fmt.Sprint("bench", i), Logger: slog.New(slog.DiscardHandler), StreamsOnly: streams})
		if err != nil {
			b.Fatal(err)
		}
		defer r.Close()
		all = append(all, r)
	}
	name := func(h int) string { return fmt.Sprint("hub", h) }
	var applied sync.WaitGroup
	for h := range count {
		for k := range followers {
			n := benchNode{applied.Done}
			if _, err := all[(h+k)%processes].Hub(tenant, name(h), Settings{}).Subscribe(context.Background(), n); err != nil {
				b.Fatal(err)
			}
		}
	}
	e := say("bench", 1)
	var next atomic.Int64
	publish := func() {
		i := int(next.Add(1))
		applied.Add(followers)
		if _, err := all[i%processes].Hub(tenant, name(i%count), Settings{}).Publish(context.Background(), e, hubs.PublishOptions{Charge: 1}); err != nil {
			b.Error(err)
		}
	}
	for range count { // every hub has its keys
		publish()
	}
	applied.Wait()
	b.SetParallelism(64)
	b.ReportAllocs()
	before := redisCPU(b, all[0].client)
	b.ResetTimer()
	if perMS == 0 {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				publish()
			}
		})
	} else {
		var under sync.WaitGroup
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for n := 0; n < b.N; n += perMS {
			<-tick.C
			for range min(perMS, b.N-n) {
				under.Go(publish)
			}
		}
		under.Wait()
	}
	applied.Wait()
	b.ReportMetric((redisCPU(b, all[0].client)-before)*1e6/float64(b.N), "redis-us/op")
}

// benchNode says when it has applied an entry.
type benchNode struct{ applied func() }

// Apply, Answer, List and Lost implement hubs.Node.
func (n benchNode) Apply(*hubs.Entry) int       { n.applied(); return 0 }
func (benchNode) Answer(hubs.Query) int         { return 0 }
func (benchNode) List(hubs.ListQuery) hubs.Page { return hubs.Page{} }
func (benchNode) Lost(hubs.Gap)                 {}
func (benchNode) Begins(hubs.Position)          {}

// redisCPU is what Redis itself has used so far, in seconds.
func redisCPU(tb testing.TB, c redis.UniversalClient) float64 {
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
