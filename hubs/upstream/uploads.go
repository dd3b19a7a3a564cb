package upstream

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/tenants"
)

// The bounds of what clients stream to an upstream.
const (
	// batchItems and batchBytes bound one request, and what waits for the next:
	// then nothing more is read from the client.
	batchItems = 100
	batchBytes = 256 << 10
)

// uploadItem is one item of a client's stream.
type uploadItem struct {
	Upload string          `json:"upload"`
	Item   json.RawMessage `json:"item"`
}

// uploadEnd is the end of a client's stream.
type uploadEnd struct {
	Upload string `json:"upload"`
	Error  string `json:"error,omitempty"`
}

// clientStream is one stream of a client that is open.
type clientStream struct {
	id string
	of *uploads
}

// uploads are the streams that a call takes from its client, together.
type uploads struct {
	mu    sync.Mutex
	open  map[string]bool
	items []uploadItem
	bytes int
	ended []uploadEnd
	gone  bool          // nobody takes any more
	more  chan struct{} // something to take, capacity 1
	room  chan struct{} // the reader waits; nil while it doesn't
}

func newUploads(ids []string) *uploads {
	u := &uploads{open: make(map[string]bool, len(ids)), more: make(chan struct{}, 1)}
	for _, id := range ids {
		u.open[id] = true
	}
	return u
}

// item takes an item from the reader, which waits while too much does.
func (s *session) item(ctx context.Context, m *protocol.Message) {
	s.mu.Lock()
	u := s.uploads[m.InvocationID]
	s.mu.Unlock()
	if u == nil {
		return // of nothing that is open
	}
	value, err := protocol.AppendJSON(nil, m.Item)
	if err != nil {
		u.of.end(u.id, "An item has no form in JSON.")
		return
	}
	for {
		room := u.of.put(uploadItem{u.id, value})
		if room == nil {
			return
		}
		s.c.Pause(func() {
			select {
			case <-room:
			case <-ctx.Done():
			}
		})
		if ctx.Err() != nil {
			return
		}
	}
}

// put adds an item; while there is no room it returns a channel that is closed
// when there may be.
func (u *uploads) put(i uploadItem) (room chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.gone || !u.open[i.Upload] {
		return nil
	}
	if len(u.items) > 0 && (len(u.items) >= batchItems || u.bytes+len(i.Item) > batchBytes) {
		if u.room == nil {
			u.room = make(chan struct{})
		}
		return u.room
	}
	u.items = append(u.items, i)
	u.bytes += len(i.Item)
	u.signal()
	return nil
}

// end notes the end of a stream.
func (u *uploads) end(id, text string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.open[id] {
		return
	}
	delete(u.open, id)
	u.ended = append(u.ended, uploadEnd{id, text})
	u.signal()
}

// signal says that there is something to take. u.mu is held.
func (u *uploads) signal() {
	select {
	case u.more <- struct{}{}:
	default:
	}
}

// endUpload ends a stream as the client says.
func (s *session) endUpload(m *protocol.Message) {
	s.mu.Lock()
	u := s.uploads[m.InvocationID]
	s.mu.Unlock()
	if u == nil {
		return
	}
	text := ""
	if m.HasError {
		if text = shown(m.Error); text == "" {
			text = "The client ended the stream with an error."
		}
	}
	u.of.end(u.id, text)
}

// abandon lets the reader go on: nobody takes any more. u may be nil.
func (u *uploads) abandon() {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.gone, u.items, u.bytes = true, nil, 0
	u.wake()
}

// wake lets the reader go on. u.mu is held.
func (u *uploads) wake() {
	if u.room != nil {
		close(u.room)
		u.room = nil
	}
}

// take waits for something and takes all there is; last says that nothing more
// comes.
func (u *uploads) take(ctx context.Context) (items []uploadItem, ended []uploadEnd, last bool, err error) {
	select {
	case <-u.more:
	case <-ctx.Done():
		return nil, nil, false, context.Cause(ctx)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	items, ended, last = u.items, u.ended, len(u.open) == 0
	u.items, u.bytes, u.ended = nil, 0, nil
	u.wake()
	return items, ended, last, nil
}

// forward posts what the client streams, batch after batch, to the call's URL.
// The answer to the last one is that of the call.
func (k *call) forward(n *now) {
	s := k.s
	for {
		items, ended, last, err := k.uploads.take(k.ctx)
		if err != nil {
			k.fail(nil, &failure{code: codeCancelled})
			return
		}
		target, ok := s.d.target(n, tenants.CategoryMessages, k.m.Target)
		if !ok {
			s.d.refuse(codeNoRule)
			k.complete(hubs.InvocationError(k.m.Target, hubs.NewError("No rule of the hub's upstream is for this message."), false))
			return
		}
		p, err := s.nativePost(n, tenants.CategoryMessages, k.m.Target, target, message{
			Type: typeItems, Target: k.m.Target, InvocationID: k.m.InvocationID, Stream: k.m.Type == protocol.StreamInvocation,
			Items: items, Ended: ended, Last: last,
		})
		if err != nil {
			k.invalid("The items have no form in JSON.")
			return
		}
		if last {
			k.asksForAnswer(p)
		}
		a, f := k.send(p)
		switch {
		case last && f == nil && a.stream != nil:
			k.copyStream(a)
			return
		case last:
			k.answer(a, f)
			return
		case f != nil || !a.ok():
			k.fail(a, f)
			return
		}
	}
}
