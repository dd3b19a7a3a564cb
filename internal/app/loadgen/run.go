package loadgen

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
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
	config  Config
	service Service
	measure *measure
	clients []*Client
	groups  int
	ended   atomic.Int64 // connections that ended by themselves
	closing atomic.Bool
}

// Run makes the load for Signalbox and returns what was measured. ctx ends it
// early, without a result.
func Run(ctx context.Context, config Config) (Result, error) {
	service, end, err := signalbox(config)
	if err != nil {
		return Result{}, err
	}
	defer end()
	return RunWith(ctx, config, service)
}

// RunWith is Run for any service.
func RunWith(ctx context.Context, config Config, s Service) (Result, error) {
	r := &run{config: config, service: s, measure: newMeasure()}
	r.measure.clocked = config.Duration == 0
	r.measure.conflated = config.Conflate > 0
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
	stop := r.start()
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
		result.hold(r.measure)
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
	r.clients = make([]*Client, r.config.Connections)
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
				r.clients[i], err = r.service.Open(opening)
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
func (r *run) start() (stop func()) {
	for i, c := range r.clients {
		go func() {
			_ = c.Read(func(data []byte) { r.measure.read(i, data) })
			if !r.closing.Load() {
				r.ended.Add(1)
			}
		}()
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
				_ = c.Ping(ctx) // its reader notices the end
			}
		}
	})
	return func() { cancel(); pinging.Wait() }
}

// join puts each connection into its group.
func (r *run) join(ctx context.Context) error {
	r.groups = (len(r.clients) + r.config.GroupSize - 1) / r.config.GroupSize
	var group errgroup.Group
	group.SetLimit(opening)
	for i, c := range r.clients {
		group.Go(func() error {
			return patiently(ctx, r.measure.refuse, func() error { return r.service.Join(ctx, c, i/r.config.GroupSize) })
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
			c.Close()
		}
	}
}
