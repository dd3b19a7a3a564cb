package hubs

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// absent is the transport of a client that never answers.
type absent struct{ aborted chan struct{} }

func (*absent) Kind() TransportKind               { return LongPolling }
func (*absent) SetFormat(protocol.TransferFormat) {}
func (*absent) Wait() error                       { return io.EOF }
func (*absent) Read([]byte) (int, error)          { return 0, io.EOF }
func (*absent) Write([]byte) error                { return nil }
func (*absent) Close(Ending)                      {}
func (*absent) Ready() bool                       { return false }
func (*absent) OnReady(func())                    {}
func (*absent) Lapsed(time.Duration) bool         { return false }
func (a *absent) Abort()                          { close(a.aborted) }

func TestAnEndThatNobodyFetchesIsAborted(t *testing.T) {
	t.Parallel()
	s, err := NewServer(Config{Name: "chat"})
	if err != nil {
		t.Fatal(err)
	}
	a := &absent{aborted: make(chan struct{})}
	c := &Connection{server: s, transport: a, intermittent: a, proto: protocol.NewJSON()}
	c.out.done = make(chan struct{})
	c.ctx, c.cancel = context.WithCancelCause(t.Context())
	c.open.Store(true)

	c.Close("bye", false)
	began := c.out.since
	if left := c.check(began + int64(closeWithin/4)); left != closeWithin*3/4 {
		t.Errorf("the next check is in %v, want %v", left, closeWithin*3/4)
	}
	select {
	case <-a.aborted:
		t.Fatal("aborted too early")
	default:
	}
	c.check(began + int64(closeWithin))
	select {
	case <-a.aborted:
	default:
		t.Error("not aborted")
	}
	if !errors.Is(c.endedBy(), ErrClosedByServer) || c.ctx.Err() == nil {
		t.Errorf("ended by %v", c.endedBy())
	}
}
