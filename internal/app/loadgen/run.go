package loadgen

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

const (
	// opening is how many connections are opened beside each other.
	opening = 64
	// settleTime bounds the wait for the last deliveries.
	settleTime = 10 * time.Second
	// pingEvery keeps connections within a client timeout of 30 s.
	pingEvery = 15 * time.Second
)

// run is one measurement.
type run struct {
	config    Config
	dialer    *dialer
	publisher *publisher
	measure   *measure
	clients   []*client
	groups    int
	ended     atomic.Int64 // connections that ended by themselves
	closing   atomic.Bool
}

// Run makes the load and returns what was measured. ctx ends it early, without a
// result.
func Run(ctx context.Context, config Config) (Result, error) {
	token, err := accesstoken.MintClient(tenants.DocKey{ID: "loadgen", Secret: config.Key}, config.URL, accesstoken.ClientOptions{Hub: config.Hub, UserID: "loadgen"}, time.Now())
	if err != nil {
		return Result{}, fmt.Errorf("make the clients' token: %w", err)
	}
	proto, _ := protocol.ByName(config.Protocol)
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		MaxIdleConnsPerHost: opening + publishers,
		DisableCompression:  true,
	}
	defer transport.CloseIdleConnections()
	r := &run{
		config:    config,
		dialer:    &dialer{config: config, http: &http.Client{Transport: transport}, token: token.Token, proto: proto},
		publisher: &publisher{config: config, http: &http.Client{Transport: transport, Timeout: time.Minute}},
		measure:   newMeasure(),
	}
	return r.do(ctx)
}

func (r *run) do(ctx context.Context) (Result, error) {
	before, err := usageOf(r.config.PIDs)
	if err != nil {
		return Result{}, err
	}
	began := time.Now()
	err = r.connect(ctx)
	defer r.disconnect()
	if err != nil {
		return Result{}, err
	}
	result := Result{Config: r.config, Connections: len(r.clients), ConnectsPerSecond: float64(len(r.clients)) / time.Since(began).Seconds()}
	connected, err := usageOf(r.config.PIDs)
	if err != nil {
		return Result{}, err
	}
	result.ConnectCPU = (connected.cpu - before.cpu).Seconds()
	stop, err := r.start()
	if err != nil {
		return Result{}, err
	}
	defer stop()
	if r.config.GroupSize > 0 {
		if err := r.join(ctx); err != nil {
			return Result{}, err
		}
	}
	if r.config.Duration == 0 {
		if err := sleepUntil(ctx, time.Now().Add(r.config.Hold)); err != nil {
			return Result{}, err
		}
	} else if err := r.load(ctx, &result); err != nil {
		return Result{}, err
	}
	after, err := usageOf(r.config.PIDs)
	if err != nil {
		return Result{}, err
	}
	if len(r.config.PIDs) > 0 {
		result.MemoryPerConnection = float64(after.memory-before.memory) / float64(len(r.clients))
		result.Memory = after.memory
	}
	result.Ended = int(r.ended.Load())
	return result, nil
}

// connect opens all connections.
func (r *run) connect(ctx context.Context) error {
	r.clients = make([]*client, r.config.Connections)
	var group errgroup.Group
	group.SetLimit(opening)
	began := time.Now()
	for i := range r.clients {
		if r.config.ConnectRate > 0 {
			if err := sleepUntil(ctx, began.Add(time.Duration(i)*time.Second/time.Duration(r.config.ConnectRate))); err != nil {
				return errors.Join(err, group.Wait())
			}
		}
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return patiently(ctx, r.measure.refuse, func() (err error) {
				opening, cancel := context.WithTimeout(ctx, 30*time.Second)
				defer cancel()
				r.clients[i], err = r.dialer.open(opening)
				return err
			})
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

// start reads from all clients, and lets them give signs of life until stop.
func (r *run) start() (stop func(), err error) {
	for i, c := range r.clients {
		go func() {
			_ = c.read(func(data []byte) { r.measure.read(i, data) })
			if !r.closing.Load() {
				r.ended.Add(1)
			}
		}()
	}
	ping, err := r.dialer.ping()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var pinging sync.WaitGroup
	pinging.Go(func() {
		for turn := time.Now(); ; turn = turn.Add(pingEvery) {
			for i, c := range r.clients { // spread over the time
				at := turn.Add(pingEvery * time.Duration(i) / time.Duration(len(r.clients)))
				if sleepUntil(ctx, at) != nil {
					return
				}
				_ = c.say(ctx, ping) // its reader notices the end
			}
		}
	})
	return func() { cancel(); pinging.Wait() }, nil
}

// join puts each connection into its group.
func (r *run) join(ctx context.Context) error {
	r.groups = (len(r.clients) + r.config.GroupSize - 1) / r.config.GroupSize
	var group errgroup.Group
	group.SetLimit(opening)
	for i, c := range r.clients {
		if c.id == "" {
			return errors.New("groups need -negotiate: without it clients don't know their connection id")
		}
		group.Go(func() error {
			return patiently(ctx, r.measure.refuse, func() error { return r.publisher.join(ctx, c.id, i/r.config.GroupSize) })
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("join groups: %w", err)
	}
	return nil
}

// nextGroup is the one that the next message goes to.
func (r *run) nextGroup() int {
	if r.groups <= 1 {
		return 0
	}
	return rand.IntN(r.groups)
}

// members is how many clients read what goes to a group.
func (r *run) members(group int) int {
	if r.config.GroupSize == 0 {
		return len(r.clients)
	}
	return min(r.config.GroupSize, len(r.clients)-group*r.config.GroupSize)
}

// load publishes for the configured time and measures.
func (r *run) load(ctx context.Context, result *Result) error {
	from := time.Now().Add(r.config.Warmup)
	until := from.Add(r.config.Duration)
	r.measure.window(from, until)
	publishing, cancel := context.WithDeadlineCause(ctx, until, errOver)
	defer cancel()
	var published errgroup.Group
	published.Go(func() error { return r.publish(publishing) })
	if err := sleepUntil(publishing, from); err != nil {
		return errors.Join(ended(err), published.Wait())
	}
	before, err := usageOf(r.config.PIDs)
	if err != nil {
		return err
	}
	if err := published.Wait(); err != nil {
		return err
	}
	after, err := usageOf(r.config.PIDs)
	if err != nil {
		return err
	}
	elapsed := time.Since(from)
	_, within, _ := r.measure.total()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	settling, cancelSettling := context.WithTimeout(ctx, settleTime)
	defer cancelSettling()
	_ = r.measure.room(settling, 1) // what doesn't come in time is counted as lost
	latencies, delivered, frames := r.measure.total()
	result.fill(r.measure, latencies, elapsed, within)
	if frames > 0 {
		result.MessagesPerRead = float64(delivered) / float64(frames)
	}
	if len(r.config.PIDs) > 0 && within > 0 {
		result.CPU = (after.cpu - before.cpu).Seconds()
		result.CPUPerMillion = result.CPU / float64(within) * 1e6
	}
	return nil
}

// disconnect ends all connections.
func (r *run) disconnect() {
	r.closing.Store(true)
	for _, c := range r.clients {
		if c != nil {
			c.close()
		}
	}
}
