package filters

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// Audit logs who connected, called what and left, at level info. Arguments and
// the texts of errors are never in it: they may be secrets of users.
func Audit(log *slog.Logger) hubs.Filter { return &audit{log: log} }

type audit struct{ log *slog.Logger }

func who(c *hubs.Connection) slog.Attr {
	return slog.Group("caller", "hub", c.Hub(), "connection", c.ID(), "user", c.User(), "address", c.Info().RemoteAddress)
}

// outcome is what became of an invocation, in one word.
func outcome(err error) string {
	var safe *hubs.Error
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, hubs.ErrUnauthorized):
		return "unauthorized"
	case errors.As(err, &safe):
		return "refused"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "cancelled"
	}
	return "failed"
}

// OnConnected implements hubs.Filter.
func (f *audit) OnConnected(ctx context.Context, c *hubs.Connection, next func(context.Context) error) error {
	err := next(ctx)
	f.log.LogAttrs(ctx, slog.LevelInfo, "connected", who(c), slog.String("outcome", outcome(err)))
	return err
}

// OnInvocation implements hubs.Filter.
func (f *audit) OnInvocation(ctx context.Context, c *hubs.Connection, m *protocol.Message, next func(context.Context) error) error {
	began := time.Now()
	method, id := m.Target, m.InvocationID
	err := next(ctx)
	f.log.LogAttrs(ctx, slog.LevelInfo, "invoked", who(c), slog.String("method", method), slog.String("invocation", id),
		slog.String("outcome", outcome(err)), slog.Duration("duration", time.Since(began)))
	return err
}

// OnDisconnected implements hubs.Filter.
func (f *audit) OnDisconnected(ctx context.Context, c *hubs.Connection, cause error, next func(context.Context, error)) {
	next(ctx, cause)
	f.log.LogAttrs(ctx, slog.LevelInfo, "disconnected", who(c), slog.Bool("orderly", cause == nil), slog.Duration("open", time.Since(c.OpenedAt())))
}
