package filters

import (
	"context"

	"golang.org/x/time/rate"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// RateLimit refuses invocations of a connection beyond perSecond on average and
// burst at once. Put it into hubs.Config.Filters to refuse them before their
// arguments are decoded, and to count methods that don't exist.
func RateLimit(perSecond float64, burst int) hubs.Filter {
	return &rateLimit{perSecond: rate.Limit(perSecond), burst: burst}
}

type rateLimit struct {
	hubs.PassFilter
	perSecond rate.Limit
	burst     int
}

// OnConnected gives the connection its own bucket.
func (f *rateLimit) OnConnected(ctx context.Context, c *hubs.Connection, next func(context.Context) error) error {
	c.SetValue(f, rate.NewLimiter(f.perSecond, f.burst))
	return next(ctx)
}

// OnInvocation implements hubs.Filter.
func (f *rateLimit) OnInvocation(ctx context.Context, c *hubs.Connection, _ *protocol.Message, next func(context.Context) error) error {
	limiter, ok := c.Value(f).(*rate.Limiter)
	if !ok {
		// As a filter of one method it hears of no connections; this one's first
		// invocations may race for the bucket, which costs at most a burst.
		limiter = rate.NewLimiter(f.perSecond, f.burst)
		c.SetValue(f, limiter)
	}
	if !limiter.Allow() {
		return hubs.Errorf("Too many invocations: at most %g a second, %d at once.", float64(f.perSecond), f.burst)
	}
	return next(ctx)
}
