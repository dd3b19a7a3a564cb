package transport_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/transport"
)

// panicky is a Dispatcher that fails on every message.
type panicky struct{}

func (panicky) Connected(context.Context, *hubs.Connection) error { return nil }
func (panicky) Message(context.Context, *hubs.Connection, *protocol.Message) error {
	panic("secret of the server")
}
func (panicky) Disconnected(context.Context, *hubs.Connection, error) {}

func admitNobody(context.Context, string) (func(), error) {
	return nil, &transport.Error{Status: http.StatusTooManyRequests, Text: "Connection count reaches limit.", Header: http.Header{"Retry-After": {"5"}}}
}

// counting is an Endpoint.Admit that tells of admissions and their ends.
func counting(admitted, done chan<- struct{}) func(context.Context, string) (func(), error) {
	return func(context.Context, string) (func(), error) {
		admitted <- struct{}{}
		return func() { done <- struct{}{} }, nil
	}
}

// recorder is a Dispatcher that tells of targets and ends.
type recorder struct {
	targets      chan string
	disconnected chan error
}

func newRecorder() *recorder {
	return &recorder{targets: make(chan string, 1000), disconnected: make(chan error, 100)}
}

func (*recorder) Connected(context.Context, *hubs.Connection) error { return nil }

func (r *recorder) Message(_ context.Context, c *hubs.Connection, m *protocol.Message) error {
	r.targets <- m.Target
	if m.InvocationID == "" {
		return nil
	}
	return c.Send(&protocol.Message{Type: protocol.Completion, InvocationID: m.InvocationID})
}

func (r *recorder) Disconnected(_ context.Context, _ *hubs.Connection, cause error) {
	r.disconnected <- cause
}

// slowToEnd is a recorder for which a connection's end lasts until ended is closed.
type slowToEnd struct {
	*recorder
	ended chan struct{}
}

func (r *slowToEnd) Disconnected(ctx context.Context, c *hubs.Connection, cause error) {
	r.recorder.Disconnected(ctx, c, cause)
	<-r.ended
}

// refusalMeter is a Meter that counts what was refused, by code.
type refusalMeter struct {
	mu       sync.Mutex
	codes    map[string]int
	received atomic.Int64
}

func (*refusalMeter) ConnectionOpened(*hubs.Connection)                {}
func (*refusalMeter) ConnectionClosed(*hubs.Connection, time.Duration) {}
func (*refusalMeter) Delivered(int, int)                               {}

func (r *refusalMeter) Received(n int) { r.received.Add(int64(n)) }

func (r *refusalMeter) Refused(code string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.codes == nil {
		r.codes = make(map[string]int)
	}
	r.codes[code]++
}

// request is Options.Refused.
func (r *refusalMeter) request(_ *http.Request, code string) { r.Refused(code) }

func (r *refusalMeter) of(code string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.codes[code]
}

func (r *refusalMeter) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprint(r.codes)
}
