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

// listening is the transport of a client that is written to.
type listening struct {
	absent
	written chan string
}

func (l *listening) Write(b []byte) error {
	l.written <- string(b)
	return nil
}

func TestPings(t *testing.T) {
	t.Parallel()
	t.Run("K-02 other messages put the ping off", func(t *testing.T) {
		t.Parallel()
		s, err := NewServer(Config{Name: "chat", Options: Options{KeepAliveInterval: time.Second}})
		if err != nil {
			t.Fatal(err)
		}
		l := &listening{written: make(chan string, 10)}
		c := &Connection{server: s, transport: l, proto: protocol.NewJSON()}
		c.open.Store(true)
		now := clock()
		for range 5 { // a message each 900 ms
			c.lastWrite.Store(now)
			now += int64(900 * time.Millisecond)
			if left := c.check(now); left != 100*time.Millisecond {
				t.Errorf("the next check is in %v, want 100 ms", left)
			}
		}
		c.check(now + int64(100*time.Millisecond))
		if got := <-l.written; got != `{"type":6}`+"\x1e" {
			t.Errorf("wrote %q", got)
		}
		if len(l.written) > 0 {
			t.Errorf("and also %q", <-l.written)
		}
	})
}

func TestAck_comes_when_it_is_due(t *testing.T) {
	t.Parallel()
	s, err := NewServer(Config{Name: "chat"})
	if err != nil {
		t.Fatal(err)
	}
	l := &listening{written: make(chan string, 10)}
	c := &Connection{server: s, transport: l, proto: protocol.NewJSON(), resume: newResumption()}
	c.open.Store(true)
	now := clock()
	c.lastWrite.Store(now)
	c.resume.on, c.resume.ackAt = true, now // it has just come back
	c.resume.received.Store(7)
	now += int64(900 * time.Millisecond)
	if left := c.check(now); left != 100*time.Millisecond {
		t.Errorf("the next check is in %v, want 100 ms", left)
	}
	if len(l.written) > 0 {
		t.Errorf("wrote %q too early", <-l.written)
	}
	now += int64(100 * time.Millisecond)
	if left := c.check(now); left != acknowledgeEvery {
		t.Errorf("the next check is in %v, want %v", left, acknowledgeEvery)
	}
	if got := <-l.written; got != `{"type":8,"sequenceId":7}`+"\x1e" {
		t.Errorf("wrote %q", got)
	}
}
