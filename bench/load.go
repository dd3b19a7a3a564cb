package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/backplane"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/internal/app/loadgen"
	"github.com/signalbox/signalbox/internal/redisclient"
)

// shape is how hubs lie over edges.
type shape struct {
	name string
	hubs int
	// on is how many of the edges follow a hub.
	on func(hub, edges int) int
}

// The three shapes of tenants.
var (
	manySmall = shape{"many small hubs", 3000, func(_, edges int) int { return min(3, edges) }}
	oneHuge   = shape{"one huge hub", 1, func(_, edges int) int { return edges }}
	mixed     = shape{"mixed", 1000, func(hub, edges int) int {
		if hub%2 == 0 { // half of the messages go to hubs that are everywhere
			return edges
		}
		return 1
	}}
)

// cost is what one publish costs on the backplane, whoever it is delivered to.
type cost struct {
	redis    float64 // CPU, µs
	edges    float64 // CPU of all edges together, µs
	bytesIn  float64 // into Redis
	bytesOut float64 // out of it
	rate     float64 // publishes per second that came about
}

// mute is an edge's part of a hub without a client.
type mute struct{ applied func() }

// Apply, Answer, List, Lost and Begins implement hubs.Node.
func (m mute) Apply(*hubs.Entry) int       { m.applied(); return 0 }
func (mute) Answer(hubs.Query) int         { return 0 }
func (mute) List(hubs.ListQuery) hubs.Page { return hubs.Page{} }
func (mute) Lost(hubs.Gap)                 {}
func (mute) Begins(hubs.Position)          {}

// backplaneCost publishes messages of 260 bytes to hubs in turn, at so many a
// second, over the backplanes of so many edges. Those run in this process, so
// their CPU is this one's. Redis is what is measured: it has the servers' core.
func backplaneCost(ctx context.Context, s shape, edges int, rate float64, window time.Duration) (cost, error) {
	address, _, end, err := startRedis(ctx, serverCore)
	if err != nil {
		return cost{}, err
	}
	defer end()
	client, err := redisclient.New("redis://"+address, "bench")
	if err != nil {
		return cost{}, err
	}
	defer client.Close() //nolint:errcheck // nothing was written that matters
	var planes []*backplane.Redis
	for i := range edges {
		b, err := backplane.New(backplane.Config{Redis: client, EdgeRun: "bench" + strconv.Itoa(i), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return cost{}, err
		}
		defer b.Close()
		planes = append(planes, b)
	}
	var applied sync.WaitGroup
	for h := range s.hubs {
		for k := range s.on(h, edges) {
			// Closing the backplane ends it.
			_, err := planes[(h+k)%edges].Hub("bench", hubName(h), backplane.Settings{}).Subscribe(ctx, &mute{applied.Done})
			if err != nil {
				return cost{}, fmt.Errorf("follow hub %d: %w", h, err)
			}
		}
	}
	publish := func(n int) {
		h := n % s.hubs
		applied.Add(s.on(h, edges))
		message := &hubs.Broadcast{Target: "load", Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: []byte(`["` + strings.Repeat("x", 230) + `"]`)}}
		e := &hubs.Entry{Kind: hubs.SendToGroups, Groups: []string{"group"}, Message: message}
		if _, err := planes[n%edges].Hub("bench", hubName(h), backplane.Settings{}).Publish(ctx, e, hubs.PublishOptions{Charge: 1}); err != nil {
			fmt.Fprintln(os.Stderr, "publish:", err)
			for range s.on(h, edges) {
				applied.Done()
			}
		}
	}
	return costOf(ctx, client, s, rate, window, publish, applied.Wait)
}

// costOf publishes to the hubs of a shape, until all is applied, and tells what it
// cost.
func costOf(ctx context.Context, client redis.Cmdable, s shape, rate float64, window time.Duration, publish func(n int), applied func()) (cost, error) {
	n := 0
	run := func(d time.Duration) {
		n += paced(d, rate, n, publish)
		applied()
	}
	// Every hub has its keys then.
	run(max(time.Second, time.Duration(1.1*float64(s.hubs)/rate*float64(time.Second))))
	n = 0
	before, err := usageOfBackplane(ctx, client)
	if err != nil {
		return cost{}, err
	}
	began := time.Now()
	run(window)
	elapsed := time.Since(began).Seconds()
	after, err := usageOfBackplane(ctx, client)
	if err != nil {
		return cost{}, err
	}
	per := func(b, a float64) float64 { return (a - b) / float64(n) }
	return cost{
		redis: per(before.redis, after.redis), edges: per(before.edges, after.edges),
		bytesIn: per(before.bytesIn, after.bytesIn), bytesOut: per(before.bytesOut, after.bytesOut),
		rate: float64(n) / elapsed,
	}, nil
}

// paced calls f so many times a second, with numbers from first on, and waits until
// all calls have ended. It returns how many there were.
func paced(d time.Duration, rate float64, first int, f func(n int)) (calls int) {
	var under sync.WaitGroup
	slots := make(chan struct{}, 256)
	for began := time.Now(); time.Since(began) < d; calls++ {
		slots <- struct{}{}
		number := first + calls
		under.Go(func() { f(number); <-slots })
		time.Sleep(time.Until(began.Add(time.Duration(float64(calls+1) / rate * float64(time.Second)))))
	}
	under.Wait()
	return calls
}

func hubName(n int) string { return "hub" + strconv.Itoa(n) }

// usageOfBackplane is what Redis and this process have used so far.
func usageOfBackplane(ctx context.Context, client redis.Cmdable) (cost, error) {
	info, err := client.Info(ctx, "cpu", "stats").Result()
	if err != nil {
		return cost{}, err
	}
	value := func(name string) float64 {
		_, rest, _ := strings.Cut(info, name+":")
		text, _, _ := strings.Cut(rest, "\r")
		v, _ := strconv.ParseFloat(text, 64)
		return v
	}
	own, err := loadgen.CPU(os.Getpid())
	return cost{
		redis: 1e6 * (value("used_cpu_user") + value("used_cpu_sys")), edges: float64(own.Microseconds()),
		bytesIn: value("total_net_input_bytes"), bytesOut: value("total_net_output_bytes"),
	}, err
}

// payloads are five real shapes of arguments.
var payloads = []struct{ name, json string }{
	{"a chat message", `[{"id":"01JD8Q6V6Z3M4T9W","user":"ada.lovelace","name":"Ada Lovelace","text":"The engine weaves algebraic patterns just as the loom weaves flowers and leaves.","at":"2026-11-30T12:00:00.000Z"}]`},
	{"a cursor", `["u-4711",512.25,384.75]`},
	{"20 quotes of a ticker", `[[` + strings.TrimSuffix(strings.Repeat(`{"s":"ACME","b":101.25,"a":101.27,"l":101.26,"v":1284500,"t":1796040000123},`, 20), ",") + `]]`},
	{"a sensor's reading", `[{"device":"b7f3a0c2","temperature":21.437,"humidity":0.482,"battery":87,"alarm":false,"sequence":180223}]`},
	{"a change of a document", `[{"doc":"d_9f31","rev":4821,"ops":[{"op":"retain","n":1042},{"op":"insert","text":"hello, world","attributes":{"bold":true,"color":"#ff8800"}},{"op":"delete","n":17},{"op":"retain","n":220}],"author":null}]`},
}

// payloadTable compares the bytes of the hub protocols.
func payloadTable(context.Context) (string, error) {
	var text bytes.Buffer
	text.WriteString("| arguments | JSON, bytes | MessagePack, bytes | ratio |\n|---|---|---|---|\n")
	for _, p := range payloads {
		var sizes []int
		for _, name := range []string{"json", "messagepack"} {
			proto, _ := protocol.ByName(name)
			m := &hubs.Broadcast{Target: "receive", Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: []byte(p.json)}}
			frame, err := m.Frame(proto)
			if err != nil {
				return "", fmt.Errorf("%s: %w", p.name, err)
			}
			sizes = append(sizes, len(frame))
		}
		fmt.Fprintf(&text, "| %s | %d | %d | %.2f× |\n", p.name, sizes[0], sizes[1], float64(sizes[1])/float64(sizes[0]))
	}
	return text.String(), nil
}
