package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/signalbox/signalbox/internal/app/loadgen"
)

// benchmark is one run of the program.
type benchmark struct {
	programs string
	runs     int
	window   time.Duration
	only     string
	foreign  sample // of the measure that is being taken
}

// sample is what one server gave, run by run.
type sample []float64

func (s sample) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// row is one line of the report: ours beside a peer's.
type row struct {
	name, unit, peer string
	ours, theirs     sample
	// accept and aim are bounds of ours/theirs; atLeast says that more is better.
	accept, aim float64
	atLeast     bool
	foreign     sample // cores that others kept busy meanwhile, run by run
	note        string // told below the table
}

func (r row) ratio() float64 {
	if r.theirs.median() == 0 {
		return 0
	}
	return r.ours.median() / r.theirs.median()
}

// The load that all measures share.
const size = 200

// settle is when memory is read: so long after the last connection.
const settle = 8 * time.Second

func (b *benchmark) config(url string, pids ...int) loadgen.Config {
	return loadgen.Config{
		URL: url, Hub: "load", Transport: "websockets", Protocol: "json", Negotiate: true, Outstanding: 16, Size: size,
		Warmup: time.Second, Duration: b.window, Hold: settle, PIDs: pids,
	}
}

// measures are all that is taken, in order.
func (b *benchmark) measures() []func(context.Context) ([]row, error) {
	return []func(context.Context) ([]row, error){b.largeGroups, b.steady, b.smallGroups, b.otherEdge, b.idle, b.redisCost}
}

func (b *benchmark) measure(ctx context.Context) ([]row, error) {
	var all []row
	for _, take := range b.measures() {
		b.foreign = nil
		rows, err := take(ctx)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			if rows[i].foreign == nil {
				rows[i].foreign = b.foreign
			}
		}
		all = append(all, rows...)
	}
	return all, nil
}

// sections are what is told beside the table of ratios.
func (b *benchmark) sections(ctx context.Context) ([]section, error) {
	var all []section
	for _, s := range []struct {
		title string
		make  func(context.Context) (string, error)
	}{
		{"Real traffic", b.traffic},
		{"MessagePack beside JSON", payloadTable},
		{"Growth", b.growth},
	} {
		if b.skipped(s.title) {
			continue
		}
		text, err := s.make(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.title, err)
		}
		all = append(all, section{s.title, text})
	}
	return all, nil
}

// skipped reports whether -only asks for something else.
func (b *benchmark) skipped(name string) bool {
	return b.only != "" && !strings.HasPrefix(name, b.only)
}

// ours takes one measure of the product with one edge, which ends before the next
// server starts.
func (b *benchmark) ours(ctx context.Context, change func(*loadgen.Config)) (loadgen.Result, error) {
	p, err := startProduct(ctx, b.programs, 1)
	if err != nil {
		return loadgen.Result{}, err
	}
	defer p.end()
	c := b.config(p.edges[0], p.pids...)
	c.Key = p.key
	change(&c)
	return loadgen.Run(ctx, c)
}

// centrifuge takes the same measure of centrifuge, through Redis or by itself.
func (b *benchmark) centrifuge(ctx context.Context, throughRedis bool, change func(*loadgen.Config)) (loadgen.Result, error) {
	args := []string{"serve-centrifuge"}
	if throughRedis {
		address, _, end, err := startRedis(ctx, otherCore)
		if err != nil {
			return loadgen.Result{}, err
		}
		defer end()
		args = append(args, address)
	}
	s, err := startPeer(ctx, args...)
	if err != nil {
		return loadgen.Result{}, err
	}
	defer s.end()
	c := b.config(s.url, s.pid)
	change(&c)
	return loadgen.RunWith(ctx, c, newCentrifugeService(c.GroupSize, s.url))
}

// pair measures both sides, run after run.
func (b *benchmark) pair(ctx context.Context, name string, throughRedis bool, change func(*loadgen.Config)) (ours, theirs []loadgen.Result, err error) {
	for i := range b.runs {
		progress("%s, run %d of %d", name, i+1, b.runs)
		quiet := listen()
		o, err := b.ours(ctx, change)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		t, err := b.centrifuge(ctx, throughRedis, change)
		if err != nil {
			return nil, nil, fmt.Errorf("%s, centrifuge: %w", name, err)
		}
		progress("  ours      %s", line(o))
		progress("  centrifuge %s", line(t))
		b.heard(quiet)
		ours, theirs = append(ours, o), append(theirs, t)
	}
	return ours, theirs, nil
}

// heard notes what others did during a run.
func (b *benchmark) heard(n noise) {
	cores := n.foreign()
	b.foreign = append(b.foreign, cores)
	progress("  others     %.2f cores", cores)
}

func line(r loadgen.Result) string {
	var text strings.Builder
	_ = r.Write(&text) // a strings.Builder doesn't fail
	return strings.TrimSpace(text.String())
}

func of(results []loadgen.Result, value func(loadgen.Result) float64) sample {
	var s sample
	for _, r := range results {
		s = append(s, value(r))
	}
	return s
}

// largeGroups: one group, published to as fast as it is delivered, and then at the
// same rate for both, half of what centrifuge could do.
func (b *benchmark) largeGroups(ctx context.Context) ([]row, error) {
	var rows []row
	for _, members := range []int{1000, 5000} {
		name := fmt.Sprintf("one group of %d", members)
		if b.skipped(name) {
			continue
		}
		shape := func(c *loadgen.Config) { c.Connections, c.GroupSize, c.Rate = members, members, 0 }
		ours, theirs, err := b.pair(ctx, name, false, shape)
		if err != nil {
			return nil, err
		}
		deliveries := func(r loadgen.Result) float64 { return r.DeliveriesPerSecond }
		accept, aim := 2.0, 4.0
		if members == 5000 {
			accept, aim = 1.5, 3
		}
		rows = append(rows, row{name: name, unit: "deliveries/s", peer: "centrifuge, memory", ours: of(ours, deliveries), theirs: of(theirs, deliveries), accept: accept, aim: aim, atLeast: true})
		if members == 1000 {
			half := of(theirs, func(r loadgen.Result) float64 { return r.PublishesPerSecond }).median() / 2
			name := fmt.Sprintf("the same at %.0f publishes/s", half)
			ours, theirs, err := b.pair(ctx, name, false, func(c *loadgen.Config) { shape(c); c.Rate = half })
			if err != nil {
				return nil, err
			}
			p99 := func(r loadgen.Result) float64 { return r.P99 }
			rows = append(rows, row{name: name, unit: "p99, ms", peer: "centrifuge, memory", ours: of(ours, p99), theirs: of(theirs, p99), accept: 1, aim: 0.7})
		}
	}
	return rows, nil
}

// steady: what a delivery costs at 10,000 a second, beside a loop of writes.
func (b *benchmark) steady(ctx context.Context) ([]row, error) {
	const name, members, rate = "10,000 deliveries/s", 1000, 10
	if b.skipped(name) {
		return nil, nil
	}
	r := row{name: name, unit: "CPU s per million", peer: "bare loop, one per write", accept: 1.6, aim: 1.2}
	for i := range b.runs {
		progress("%s, run %d of %d", name, i+1, b.runs)
		quiet := listen()
		o, err := b.ours(ctx, func(c *loadgen.Config) { c.Connections, c.GroupSize, c.Rate = members, members, rate })
		if err != nil {
			return nil, err
		}
		cost, err := b.blast(ctx, members, rate)
		if err != nil {
			return nil, err
		}
		progress("  ours %.2f, bare loop %.2f", o.CPUPerMillion, cost)
		b.heard(quiet)
		r.ours, r.theirs = append(r.ours, o.CPUPerMillion), append(r.theirs, cost)
	}
	return []row{r}, nil
}

// blast is the CPU time of the bare loop for a million messages.
func (b *benchmark) blast(ctx context.Context, clients, rate int) (float64, error) {
	s, err := startPeer(ctx, "serve-bare")
	if err != nil {
		return 0, err
	}
	defer s.end()
	end, err := drain(ctx, s.url, clients)
	if err != nil {
		return 0, err
	}
	defer end()
	before, err := loadgen.CPU(s.pid)
	if err != nil {
		return 0, err
	}
	address := fmt.Sprintf("%s/blast?size=%d&joined=1&rate=%d&seconds=%g", s.url, size+40, rate, b.window.Seconds())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	written, err := strconv.Atoi(string(text))
	if err != nil {
		return 0, fmt.Errorf("bare loop: %s", text)
	}
	after, err := loadgen.CPU(s.pid)
	return (after - before).Seconds() / float64(written) * 1e6, err
}

// smallGroups: many groups of ten, published to at random.
func (b *benchmark) smallGroups(ctx context.Context) ([]row, error) {
	const name = "groups of 10, over REST"
	if b.skipped(name) {
		return nil, nil
	}
	ours, theirs, err := b.pair(ctx, name, true, func(c *loadgen.Config) {
		c.Connections, c.GroupSize, c.Rate, c.Outstanding = 5000, 10, 0, 64
	})
	if err != nil {
		return nil, err
	}
	deliveries := func(r loadgen.Result) float64 { return r.DeliveriesPerSecond }
	return []row{{name: name, unit: "deliveries/s", peer: "centrifuge, Redis", ours: of(ours, deliveries), theirs: of(theirs, deliveries), accept: 1.2, aim: 2, atLeast: true}}, nil
}

// otherEdge: from a publish at one node to a client of another.
func (b *benchmark) otherEdge(ctx context.Context) ([]row, error) {
	const name = "through the other edge, 100/s"
	if b.skipped(name) {
		return nil, nil
	}
	shape := func(c *loadgen.Config) { c.Connections, c.Rate = 10, 100 }
	var ours, theirs []loadgen.Result
	for i := range b.runs {
		progress("%s, run %d of %d", name, i+1, b.runs)
		quiet := listen()
		o, err := b.twoEdges(ctx, shape)
		if err != nil {
			return nil, err
		}
		t, err := b.twoCentrifuges(ctx, shape)
		if err != nil {
			return nil, err
		}
		progress("  ours      %s", line(o))
		progress("  centrifuge %s", line(t))
		b.heard(quiet)
		ours, theirs = append(ours, o), append(theirs, t)
	}
	p50 := func(r loadgen.Result) float64 { return r.P50 }
	p99 := func(r loadgen.Result) float64 { return r.P99 }
	return []row{
		{name: name, unit: "p50, ms", peer: "centrifuge, Redis", ours: of(ours, p50), theirs: of(theirs, p50), accept: 1.2, aim: 0.8},
		{name: name, unit: "p99, ms", peer: "centrifuge, Redis", ours: of(ours, p99), theirs: of(theirs, p99), accept: 1.2, aim: 0.8},
	}, nil
}

func (b *benchmark) twoEdges(ctx context.Context, change func(*loadgen.Config)) (loadgen.Result, error) {
	p, err := startProduct(ctx, b.programs, 2)
	if err != nil {
		return loadgen.Result{}, err
	}
	defer p.end()
	c := b.config(p.edges[0], p.pids...)
	c.Key, c.PublishURL = p.key, p.edges[1]
	change(&c)
	return loadgen.Run(ctx, c)
}

func (b *benchmark) twoCentrifuges(ctx context.Context, change func(*loadgen.Config)) (loadgen.Result, error) {
	address, _, end, err := startRedis(ctx, otherCore)
	if err != nil {
		return loadgen.Result{}, err
	}
	defer end()
	var urls []string
	var pids []int
	for range 2 {
		s, err := startPeer(ctx, "serve-centrifuge", address)
		if err != nil {
			return loadgen.Result{}, err
		}
		defer s.end()
		urls, pids = append(urls, s.url), append(pids, s.pid)
	}
	c := b.config(urls[0], pids...)
	change(&c)
	return loadgen.RunWith(ctx, c, newCentrifugeService(c.GroupSize, urls...))
}

// idle: what a connection that only waits costs, and how fast they open.
func (b *benchmark) idle(ctx context.Context) ([]row, error) {
	const name, clients = "10,000 idle connections", 10_000
	if b.skipped(name) {
		return nil, nil
	}
	shape := func(c *loadgen.Config) { c.Connections, c.GroupSize, c.Duration = clients, clients, 0 }
	ours, theirs, err := b.pair(ctx, name, false, shape)
	if err != nil {
		return nil, err
	}
	var least sample
	for range b.runs {
		memory, err := b.leanest(ctx, clients)
		if err != nil {
			return nil, err
		}
		least = append(least, memory)
	}
	memory := func(r loadgen.Result) float64 { return r.MemoryPerConnection / 1024 }
	opened := func(r loadgen.Result) float64 { return r.ConnectsPerSecond }
	return []row{
		{name: name + ", authenticated, in one group", unit: "KB each", peer: "bare coder/websocket", ours: of(ours, memory), theirs: least, accept: 1.9, aim: 1.4},
		{name: name + ", authenticated, in one group", unit: "KB each", peer: "centrifuge, memory", ours: of(ours, memory), theirs: of(theirs, memory), accept: 1, aim: 0.5},
		{name: "connects with negotiate and token", unit: "connects/s", peer: "centrifuge, without", ours: of(ours, opened), theirs: of(theirs, opened), accept: 0.5, aim: 0.7, atLeast: true},
	}, nil
}

// leanest is the memory of an idle connection of the bare server, in KB.
func (b *benchmark) leanest(ctx context.Context, clients int) (float64, error) {
	s, err := startPeer(ctx, "serve-bare")
	if err != nil {
		return 0, err
	}
	defer s.end()
	before, err := loadgen.Memory(s.pid)
	if err != nil {
		return 0, err
	}
	end, err := drain(ctx, s.url, clients)
	if err != nil {
		return 0, err
	}
	defer end()
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	after, err := loadgen.Memory(s.pid)
	return float64(after-before) / float64(clients) / 1024, err
}
