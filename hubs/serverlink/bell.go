package serverlink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/internal/redisclient"
)

const (
	// bellPing is how often a silent connection is checked; a round without a sign
	// of life ends it.
	bellPing = 2 * time.Second
	// bellPause is how long a broken connection stays down, at least.
	bellPause = 100 * time.Millisecond
	// bellChunk is how many channels one SUBSCRIBE names.
	bellChunk = 256
)

// bell is the Pub/Sub connection over which other edges tell of their server
// connections.
type bell struct {
	r    *Registry
	wake chan struct{} // holds one: the first hub came

	mu      sync.Mutex
	conn    *redis.PubSub          // nil while there is none
	hubs    map[string]pairing.Hub // by channel
	pending []change               // for conn, in order
}

// change is a channel to subscribe to, or to leave.
type change struct {
	channel string
	leave   bool
}

func newBell(r *Registry) *bell {
	return &bell{r: r, wake: make(chan struct{}, 1), hubs: make(map[string]pairing.Hub)}
}

// add subscribes to a hub. It doesn't block: the confirmation comes later.
func (b *bell) add(hub pairing.Hub) {
	channel := redisclient.Hub(hub.Tenant, hub.Name).ServersDoorbell()
	b.mu.Lock()
	b.hubs[channel] = hub
	b.mu.Unlock()
	b.queue(change{channel: channel})
}

func (b *bell) remove(hub pairing.Hub) {
	channel := redisclient.Hub(hub.Tenant, hub.Name).ServersDoorbell()
	b.mu.Lock()
	delete(b.hubs, channel)
	b.mu.Unlock()
	b.queue(change{channel: channel, leave: true})
}

func (b *bell) queue(c change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != nil {
		b.pending = append(b.pending, c)
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run keeps a connection up while there are hubs, until ctx ends.
func (b *bell) run(ctx context.Context) {
	for ctx.Err() == nil {
		b.mu.Lock()
		none := len(b.hubs) == 0
		b.mu.Unlock()
		if none {
			select {
			case <-b.wake:
			case <-ctx.Done():
			}
			continue
		}
		err := b.serve(ctx)
		b.silent()
		if ctx.Err() != nil {
			return
		}
		b.r.cfg.Logger.WarnContext(ctx, "news of server connections are not heard", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(bellPause + rand.N(2*bellPause)):
		}
	}
}

// silent notes that nothing is heard any more.
func (b *bell) silent() {
	b.mu.Lock()
	b.conn, b.pending = nil, nil
	hubs := slices.Collect(maps.Values(b.hubs))
	b.mu.Unlock()
	for _, hub := range hubs {
		b.r.listen(hub, false)
	}
}

// serve subscribes to all hubs and hands on what comes until the connection
// breaks.
func (b *bell) serve(ctx context.Context) error {
	conn := b.r.cfg.Redis.Subscribe(ctx)
	defer conn.Close()
	b.mu.Lock()
	b.conn, b.pending = conn, nil
	for channel := range b.hubs {
		b.pending = append(b.pending, change{channel: channel})
	}
	b.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel(nil)
	work.Go(func() { cancel(b.subscribe(ctx, conn)) })
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // unblocks receiving
	defer stop()

	asked := false
	for {
		m, err := conn.ReceiveTimeout(ctx, bellPing)
		var slow net.Error
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &slow) && slow.Timeout() && !asked:
			asked = true
			if err := conn.Ping(ctx); err != nil {
				return fmt.Errorf("ping: %w", err)
			}
			continue
		case err != nil:
			return fmt.Errorf("receive: %w", err)
		}
		asked = false
		switch m := m.(type) {
		case *redis.Message:
			if hub, ok := b.hub(m.Channel); ok {
				b.r.rang(hub, m.Payload)
			}
		case *redis.Subscription:
			if hub, ok := b.hub(m.Channel); ok {
				b.r.listen(hub, m.Kind == "subscribe")
			}
		default: // a pong
		}
	}
}

func (b *bell) hub(channel string) (pairing.Hub, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	hub, ok := b.hubs[channel]
	return hub, ok
}

// subscribe writes what is pending, in order, until ctx ends.
func (b *bell) subscribe(ctx context.Context, conn *redis.PubSub) error {
	for {
		b.mu.Lock()
		pending := b.pending
		b.pending = nil
		b.mu.Unlock()
		for len(pending) > 0 {
			n := 1
			for n < min(len(pending), bellChunk) && pending[n].leave == pending[0].leave {
				n++
			}
			channels := make([]string, n)
			for i, c := range pending[:n] {
				channels[i] = c.channel
			}
			act := conn.Subscribe
			if pending[0].leave {
				act = conn.Unsubscribe
			}
			attempt, cancel := context.WithTimeout(ctx, redisPatience)
			err := act(attempt, channels...)
			cancel()
			if err != nil {
				return fmt.Errorf("subscribe: %w", err)
			}
			pending = pending[n:]
		}
		select {
		case <-b.wake:
		case <-ctx.Done():
			return nil
		}
	}
}
