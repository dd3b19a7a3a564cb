package loadgen

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// defaults are the flags' own.
var defaults = Config{
	URL: "http://127.0.0.1:8888", Hub: "load", Connections: 100, Transport: "websockets", Protocol: "json", Negotiate: true,
	Rate: 10, Outstanding: 16, Size: 200, Warmup: time.Second, Duration: 5 * time.Second, Hold: 2 * time.Second,
}

// plan is a shape of real traffic.
type plan struct {
	transport   string // empty: WebSockets
	connections int
	groupSize   int
	rate        float64
	size        int
	keys        int
	conflate    time.Duration
}

// plans are the shapes, by name.
var plans = map[string]plan{
	// 50 people in one document, each with a cursor that moves 60 times a second.
	"cursors": {connections: 50, groupSize: 50, rate: 3000, size: 64},
	// 500 symbols, each changing every other second, to all of 2,000 viewers.
	"ticker": {connections: 2000, groupSize: 2000, rate: 250, size: 96, keys: 500},
	// The same to viewers who want the newest price of each every 4 s.
	"ticker-conflated": {connections: 2000, groupSize: 2000, rate: 250, size: 96, keys: 500, conflate: 4 * time.Second},
	// A room of 5,000: 50 of them type, which is told every 3 s, and 5 messages a
	// second.
	"chat": {connections: 5000, groupSize: 5000, rate: 22, size: 160},
	// 10,000 devices that poll, each of which gets one message a minute.
	"sensors": {transport: "longpolling", connections: 10_000, groupSize: 1, rate: 10_000.0 / 60, size: 64},
}

func (p plan) apply(c *Config) {
	if p.transport != "" {
		c.Transport = p.transport
	}
	c.Connections, c.GroupSize, c.Rate, c.Size = p.connections, p.groupSize, p.rate, p.size
	c.Keys, c.Conflate = p.keys, p.conflate
}

// Follow changes the config to a plan; it reports false when there is none of the
// name.
func (c *Config) Follow(name string) bool {
	p, ok := plans[name]
	if ok {
		p.apply(c)
	}
	return ok
}

func planNames() string { return strings.Join(slices.Sorted(maps.Keys(plans)), ", ") }

// planOf finds the flag -plan: a plan changes what other flags mean when they are
// missing.
func planOf(args []string) (name string) {
	for i, arg := range args {
		flag, value, found := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
		switch {
		case flag != "plan" || !strings.HasPrefix(arg, "-"):
		case found:
			name = value
		case i+1 < len(args):
			name = args[i+1]
		}
	}
	return name
}
