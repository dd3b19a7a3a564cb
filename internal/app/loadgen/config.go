package loadgen

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

// Config says what load to make and where.
type Config struct {
	// URL is the service's base, with /t/{slug} for a tenant without a host.
	URL string
	// PublishURL is where publishes go instead; empty: to URL.
	PublishURL string
	// Key is an access key of the tenant; it signs the clients' token.
	Key string
	Hub string

	Connections int
	Transport   string // websockets, sse or longpolling
	Protocol    string // json or messagepack
	// GroupSize is how many connections share a group; 0 = all get everything.
	GroupSize int
	// Negotiate false connects WebSockets without asking first.
	Negotiate   bool
	ConnectRate int // connections per second, 0 = as fast as they open

	// Rate is how many messages are published per second; 0 = as many as are
	// delivered with at most Outstanding of them on their way.
	Rate        float64
	Outstanding int
	Size        int // bytes of the message's text
	// Keys is what messages are about, in turn: each has an argument before its text
	// that says which of so many. 0 = they have none.
	Keys int
	// Conflate is how often a client in its group gets the newest message about each
	// key; 0 = it gets every message. What was replaced by something newer isn't lost.
	Conflate time.Duration
	Warmup   time.Duration
	Duration time.Duration // 0 = connect, and hold for Hold
	Hold     time.Duration // how long idle connections are held before memory is read

	// PIDs are processes of the server on this machine whose CPU and memory are
	// reported.
	PIDs []int
	JSON bool
}

// The bounds of a run: enough for one machine, and no accident for a service.
const (
	maxConnections = 60_000
	maxRate        = 1_000_000
	maxSize        = 1 << 20
	maxOutstanding = 4096
	maxKeys        = 10_000
	minSize        = stampSize
)

var (
	transports = []string{"websockets", "sse", "longpolling"}
	protocols  = []string{"json", "messagepack"}
)

// ParseConfig reads the command line without the program's name. It writes usage
// to out; flag.ErrHelp means that this was all that was asked for. Another error
// names every flag at fault.
func ParseConfig(args []string, out io.Writer) (Config, error) {
	c := defaults
	plan := planOf(args)
	if known, ok := plans[plan]; ok {
		known.apply(&c)
	}
	f := flag.NewFlagSet("loadgen", flag.ContinueOnError)
	f.SetOutput(out)
	f.String("plan", "", "a `shape` of real traffic, which other flags change: "+planNames())
	f.StringVar(&c.URL, "url", c.URL, "base `URL` of the service, with /t/{slug} for a tenant without a host")
	f.StringVar(&c.PublishURL, "publish-url", "", "base `URL` that publishes go to, another edge for instance; empty: that of -url")
	f.StringVar(&c.Key, "key", "", "access `key` of the tenant (required)")
	f.StringVar(&c.Hub, "hub", c.Hub, "`name` of the hub")
	f.IntVar(&c.Connections, "connections", c.Connections, "how many clients")
	f.StringVar(&c.Transport, "transport", c.Transport, strings.Join(transports, ", "))
	f.StringVar(&c.Protocol, "protocol", c.Protocol, strings.Join(protocols, ", "))
	f.IntVar(&c.GroupSize, "group-size", c.GroupSize, "clients in each group; 0: messages go to all clients of the hub")
	f.BoolVar(&c.Negotiate, "negotiate", c.Negotiate, "negotiate before connecting")
	f.IntVar(&c.ConnectRate, "connect-rate", c.ConnectRate, "connections per second; 0: as fast as they open")
	f.Float64Var(&c.Rate, "rate", c.Rate, "publishes per second; 0: as fast as they are delivered")
	f.IntVar(&c.Outstanding, "outstanding", c.Outstanding, "with -rate 0, how many publishes may be on their way")
	f.IntVar(&c.Size, "size", c.Size, "bytes of a message's argument")
	f.IntVar(&c.Keys, "keys", c.Keys, "of how many things messages tell, each in its first argument; 0: of one")
	f.DurationVar(&c.Conflate, "conflate", c.Conflate, "how often a client gets the newest message of each key; 0: it gets all")
	f.DurationVar(&c.Warmup, "warmup", c.Warmup, "how long to publish before measuring")
	f.DurationVar(&c.Duration, "duration", c.Duration, "how long to measure; 0: only connect and hold")
	f.DurationVar(&c.Hold, "hold", c.Hold, "with -duration 0, how long to hold the connections")
	f.Func("pid", "`processes` of the server on this machine, with commas, to report CPU and memory of", func(s string) error {
		for _, text := range strings.Split(s, ",") {
			pid, err := strconv.Atoi(text)
			if err != nil || pid < 1 {
				return fmt.Errorf("%q is no process id", text)
			}
			c.PIDs = append(c.PIDs, pid)
		}
		return nil
	})
	f.BoolVar(&c.JSON, "json", false, "print the result as JSON")
	if err := f.Parse(args); err != nil {
		return Config{}, err
	}
	if _, ok := plans[plan]; plan != "" && !ok {
		return Config{}, fmt.Errorf("-plan is %q: accepted is %s", plan, planNames())
	}
	if f.NArg() > 0 {
		return Config{}, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return c, c.validate()
}

func (c Config) validate() error {
	var problems []error
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	for name, address := range map[string]string{"url": c.URL, "publish-url": c.PublishURL} {
		if name == "publish-url" && address == "" {
			continue
		}
		if u, err := url.Parse(address); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			wrong("-%s is %q: accepted is an http or https URL", name, address)
		}
	}
	if c.Key == "" {
		wrong("-key is missing: accepted is an access key of the tenant")
	}
	if c.Hub == "" {
		wrong("-hub is empty")
	}
	within := func(name string, value, least, most int) {
		if value < least || value > most {
			wrong("-%s is %d: accepted is %d to %d", name, value, least, most)
		}
	}
	within("connections", c.Connections, 1, maxConnections)
	within("group-size", c.GroupSize, 0, c.Connections)
	within("connect-rate", c.ConnectRate, 0, maxRate)
	within("outstanding", c.Outstanding, 1, maxOutstanding)
	within("size", c.Size, minSize, maxSize)
	within("keys", c.Keys, 0, maxKeys)
	if c.Conflate != 0 {
		if c.Conflate < hubs.MinConflation || c.Conflate > hubs.MaxConflation {
			wrong("-conflate is %v: accepted is 0, or %v to %v", c.Conflate, hubs.MinConflation, hubs.MaxConflation)
		}
		if c.Keys == 0 || c.GroupSize == 0 || c.Rate == 0 {
			wrong("-conflate works with -keys, -group-size and -rate alone")
		}
	}
	if c.Rate < 0 || c.Rate > maxRate {
		wrong("-rate is %g: accepted is 0 to %d", c.Rate, maxRate)
	}
	if !slices.Contains(transports, c.Transport) {
		wrong("-transport is %q: accepted is %s", c.Transport, strings.Join(transports, ", "))
	}
	if !slices.Contains(protocols, c.Protocol) {
		wrong("-protocol is %q: accepted is %s", c.Protocol, strings.Join(protocols, ", "))
	}
	if c.Transport == "sse" && c.Protocol == "messagepack" {
		wrong("-protocol is messagepack: Server-Sent Events carry json alone")
	}
	if !c.Negotiate && c.Transport != "websockets" {
		wrong("-negotiate=false works with -transport websockets alone")
	}
	for name, d := range map[string]time.Duration{"warmup": c.Warmup, "duration": c.Duration, "hold": c.Hold} {
		if d < 0 || d > 24*time.Hour {
			wrong("-%s is %v: accepted is 0 to 24h", name, d)
		}
	}
	return errors.Join(problems...)
}
