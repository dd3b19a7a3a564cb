package hubs

import (
	"context"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
)

// uploadType is a method's parameter for a client's stream.
type uploadType struct {
	kind streamKind
	typ  reflect.Type
	elem reflect.Type
}

// upload is a client's stream that is open. The reader fills it, one method
// takes from it.
type upload struct {
	call  *call
	typ   *uploadType
	items reflect.Value // chan T; see end for who closes it
	gone  chan struct{} // closed when nobody takes any more
	last  atomic.Int64  // clock() of the last item

	mu     sync.Mutex
	closed bool  // items is, or will be when the reader has stopped waiting
	full   bool  // the reader waits for room in items
	err    error // why it ended early; set before items is closed
	left   sync.Once
}

func newUpload(k *call, t *uploadType, capacity int) *upload {
	u := &upload{call: k, typ: t, items: reflect.MakeChan(reflect.ChanOf(reflect.BothDir, t.elem), capacity), gone: make(chan struct{})}
	u.last.Store(clock())
	return u
}

// upload returns the open stream with this id, or nil.
func (s *calls) upload(id string) *upload {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.uploads[id]
}

func (s *calls) forgetUpload(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uploads, id)
}

// checkUploads fails the uploads without an item for too long and returns when to
// look again. While the client isn't read from, its streams can't be idle.
func (c *Connection) checkUploads(now int64, timeout time.Duration) time.Duration {
	s := c.calls.Load()
	if s == nil || c.unread.Load() {
		return maxCheck
	}
	next := maxCheck
	var idle []*upload
	s.mu.Lock()
	for id, u := range s.uploads {
		left := timeout - time.Duration(now-u.last.Load())
		if left > 0 {
			next = min(next, left)
			continue
		}
		delete(s.uploads, id)
		idle = append(idle, u)
	}
	s.mu.Unlock()
	for _, u := range idle {
		c.server.meter.Refused(RefusedIdleStream)
		u.fail(Errorf("The stream had no item for %v.", timeout))
	}
	return next
}

// item brings one item. While the buffer is full it waits, and nothing more is
// read from the client.
func (u *upload) item(raw protocol.Raw) {
	u.last.Store(clock())
	v := reflect.New(u.typ.elem).Elem()
	if err := values.DecodeValue(raw, v); err != nil {
		detailed := u.call.conn.server.options.Load().EnableDetailedErrors
		u.fail(NewError(withDetail("Failed to bind Stream message.", invalidData("%w", err), detailed)))
		return
	}
	u.mu.Lock()
	if u.closed || u.items.TrySend(v) {
		u.mu.Unlock()
		return
	}
	u.full = true
	u.mu.Unlock()
	u.call.conn.reading(false)
	defer u.call.conn.reading(true)
	reflect.Select([]reflect.SelectCase{
		{Dir: reflect.SelectSend, Chan: u.items, Send: v},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(u.gone)},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(u.call.Done())},
	})
	u.mu.Lock()
	defer u.mu.Unlock()
	u.full = false
	if u.closed {
		u.items.Close()
	}
}

// complete ends the stream as the client says.
func (u *upload) complete(m *protocol.Message) {
	if m.HasError {
		u.fail(NewError(m.Error))
		return
	}
	u.end(nil)
}

// fail ends the stream early.
func (u *upload) fail(err error) { u.end(err) }

// end closes items, or leaves that to the reader while it waits for room: the
// timer may find a stream idle whose next item has just come.
func (u *upload) end(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return
	}
	u.closed, u.err = true, err
	if err != nil && u.typ.kind == channel {
		u.call.cancel(err) // a channel can't tell
	}
	if !u.full {
		u.items.Close()
	}
}

// abandon lets the reader go on: nobody takes from the stream any more.
func (u *upload) abandon() { u.left.Do(func() { close(u.gone) }) }

// failure is why the stream ended early; nil when it didn't.
func (u *upload) failure() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// parameter is what the method gets.
func (u *upload) parameter(ctx context.Context) reflect.Value {
	if u.typ.kind == channel {
		return u.items.Convert(u.typ.typ)
	}
	return reflect.MakeFunc(u.typ.typ, func(args []reflect.Value) []reflect.Value {
		u.each(ctx, args[0])
		return nil
	})
}

var noError = reflect.Zero(errorType)

// each is the sequence of the items.
func (u *upload) each(ctx context.Context, yield reflect.Value) {
	cases := []reflect.SelectCase{
		{Dir: reflect.SelectRecv, Chan: u.items},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())},
	}
	end := func(err error) {
		yield.Call([]reflect.Value{reflect.Zero(u.typ.elem), reflect.ValueOf(&err).Elem()})
	}
	for {
		i, v, ok := reflect.Select(cases)
		switch {
		case i == 1:
			u.abandon()
			end(context.Cause(ctx))
			return
		case !ok:
			if err := u.failure(); err != nil {
				end(err)
			}
			return
		case !yield.Call([]reflect.Value{v, noError})[0].Bool():
			u.abandon()
			return
		}
	}
}
