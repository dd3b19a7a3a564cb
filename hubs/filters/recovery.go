package filters

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// ErrPanic is what a panic becomes for the filters outside of Recover. The text
// of the panic is in the log.
var ErrPanic = errors.New("panic")

// Recover turns panics of inner filters and of the hub into ErrPanic and logs
// them with their stack. A registered hub survives panics without it; this
// filter lets outer filters see them as errors, also when a client connects.
func Recover(log *slog.Logger) hubs.Filter { return &recovery{log: log} }

type recovery struct{ log *slog.Logger }

func (f *recovery) recover(c *hubs.Connection, method string, err *error) {
	p := recover()
	if p == nil {
		return
	}
	f.log.Error("panic in a hub", "hub", c.Hub(), "connection", c.ID(), "method", method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	*err = ErrPanic
}

// OnConnected implements hubs.Filter.
func (f *recovery) OnConnected(ctx context.Context, c *hubs.Connection, next func(context.Context) error) (err error) {
	defer f.recover(c, "OnConnected", &err)
	return next(ctx)
}

// OnInvocation implements hubs.Filter.
func (f *recovery) OnInvocation(ctx context.Context, c *hubs.Connection, m *protocol.Message, next func(context.Context) error) (err error) {
	defer f.recover(c, m.Target, &err)
	return next(ctx)
}

// OnDisconnected implements hubs.Filter.
func (f *recovery) OnDisconnected(ctx context.Context, c *hubs.Connection, cause error, next func(context.Context, error)) {
	var err error
	defer f.recover(c, "OnDisconnected", &err)
	next(ctx, cause)
}
