package hubs

import (
	"context"
	"errors"
	"reflect"
	"runtime"
	"testing"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// A stream that the timer ends while an item comes, or while one waits for room,
// ends behind it: the reader survives.
func TestUploads_may_end_while_an_item_comes(t *testing.T) {
	t.Parallel()
	for round := range 200 {
		ctx, cancel := context.WithCancelCause(context.Background())
		k := &call{Context: ctx, cancel: cancel, Call: Call{conn: &Connection{}}}
		u := newUpload(k, &uploadType{kind: sequenceErrors, elem: reflect.TypeFor[int]()}, 1)
		idle := errors.New("idle")
		reader := make(chan struct{})
		go func() {
			defer close(reader)
			for range 3 {
				u.item(protocol.Raw{Encoding: protocol.JSON, Bytes: []byte("1")})
			}
		}()
		for round%2 == 0 && !k.conn.unread.Load() { // every other time it waits for room
			runtime.Gosched()
		}
		u.fail(idle)
		for {
			if _, more := u.items.Recv(); !more {
				break
			}
		}
		<-reader
		if err := u.failure(); !errors.Is(err, idle) {
			t.Fatalf("it failed with %v", err)
		}
		cancel(nil)
	}
}
