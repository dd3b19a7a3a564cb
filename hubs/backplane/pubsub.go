package backplane

import (
	"context"
	"fmt"
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
	alive := make(chan struct{}, 1)
	if !r.start(func() { watch(ctx, cancel, conn, alive) }) {
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
		select {
		case alive <- struct{}{}:
		default:
		}
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
func watch(ctx context.Context, cancel context.CancelCauseFunc, conn *redis.PubSub, alive <-chan struct{}) {
	tick := time.NewTicker(pubsubPing)
	defer tick.Stop()
	asked := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-alive:
			asked = false
		case <-tick.C:
			if asked {
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
