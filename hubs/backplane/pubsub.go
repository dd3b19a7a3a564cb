package backplane

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// pubsubPing is how often a Pub/Sub connection is checked: one without a sign
// of life for a whole round after a ping is given up.
const pubsubPing = 3 * time.Second

// receive hands what conn brings to message and subscription (which may be
// nil) until the connection breaks, goes silent or the backplane closes.
func (r *Redis) receive(conn *redis.PubSub, message func(channel, m string), subscription func(*redis.Subscription)) error {
	ctx, cancel := context.WithCancelCause(r.ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // unblocks Receive
	defer stop()
	var alive atomic.Bool // a channel would wake watch with each message
	if !r.start(func() { watch(ctx, cancel, conn, &alive) }) {
		return context.Canceled
	}
	for {
		m, err := conn.Receive(ctx)
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return fmt.Errorf("receive: %w", err)
		}
		alive.Store(true)
		switch m := m.(type) {
		case *redis.Message:
			message(m.Channel, m.Payload)
		case *redis.Subscription:
			if subscription != nil {
				subscription(m)
			}
		}
	}
}

// watch pings and cancels when neither a pong nor anything else came for a round.
func watch(ctx context.Context, cancel context.CancelCauseFunc, conn *redis.PubSub, alive *atomic.Bool) {
	tick := time.NewTicker(pubsubPing)
	defer tick.Stop()
	asked := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if !alive.Swap(false) && asked {
				cancel(fmt.Errorf("no sign of life for %v", pubsubPing))
				return
			}
			pingCtx, done := context.WithTimeout(ctx, attemptPatience)
			err := conn.Ping(pingCtx)
			done()
			if err != nil {
				cancel(fmt.Errorf("ping: %w", err))
				return
			}
			asked = true
		}
	}
}
