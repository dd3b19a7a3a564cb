package upstream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/tenants"
)

// The bounds of one connection.
const (
	// queuedCalls and queuedBytes may wait for their turn; then nothing more is
	// read from the client.
	queuedCalls = 16
	queuedBytes = 1 << 20
	// leaveGrace is how long what was sent before an orderly leave is still posted.
	leaveGrace = 5 * time.Second
)

// session is one connection that an upstream serves. The reader puts calls into
// the queue; one goroutine posts them, in order, and is there only while there
// is something to post, or several do where the hub's settings have calls run in
// parallel. A stream leaves the queue once it has begun.
type session struct {
	d      *Dispatcher
	c      *hubs.Connection
	ctx    context.Context // of all calls
	cancel context.CancelFunc
	// posted numbers the messages of the native mode.
	posted atomic.Uint64

	mu      sync.Mutex
	queue   []*call
	bytes   int
	running int                      // goroutines that post
	open    sync.WaitGroup           // calls that have left the queue, and the goroutine
	room    chan struct{}            // the reader waits for a place in queue
	streams map[string]*call         // by invocation id
	uploads map[string]*clientStream // by stream id
}

// call is one invocation.
type call struct {
	s       *session
	m       *protocol.Message // a copy
	ctx     context.Context
	cancel  context.CancelFunc
	refusal string // what is wrong with it
	code    string // of the refusal
	uploads *uploads
}

func newSession(d *Dispatcher, c *hubs.Connection) *session {
	s := &session{d: d, c: c}
	// What a client sent before it left is posted after its context has ended.
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(c.Context()))
	return s
}

// accept queues an invocation from the reader. Its streams are open from now on.
func (s *session) accept(ctx context.Context, m *protocol.Message) {
	k := &call{s: s, m: m.Clone()}
	k.ctx, k.cancel = context.WithCancel(s.ctx)
	s.mu.Lock()
	k.refusal, k.code = s.begin(k)
	size := len(m.Arguments.Bytes)
	for len(s.queue) > 0 && (len(s.queue) >= queuedCalls || s.bytes+size > queuedBytes) {
		if s.room == nil {
			s.room = make(chan struct{})
		}
		room := s.room
		s.mu.Unlock()
		s.c.Pause(func() {
			select {
			case <-room:
			case <-ctx.Done():
			}
		})
		s.mu.Lock()
		if ctx.Err() != nil {
			break // the reader finds out why
		}
	}
	s.queue = append(s.queue, k)
	s.bytes += size
	if s.running < s.parallel() {
		s.running++
		s.open.Add(1)
		go s.run()
	}
	s.mu.Unlock()
}

// parallel is how many calls of the connection run at once.
func (s *session) parallel() int {
	doc := s.d.document()
	return max(1, min(doc.Hubs[s.d.hub].ParallelCalls, doc.LimitsAt(time.Now()).MaxParallelCalls))
}

// manyStreams returns why n streams are too many; "" = they aren't.
func (s *session) manyStreams(n int) string {
	most := s.c.Server().Options().MaximumOpenStreams
	if n <= most {
		return ""
	}
	row, _ := tenants.Row("max_open_streams")
	refusal := row.RefusalAt(most, 0, 0)
	refusal.RequestID = s.c.ID()
	return refusal.String()
}

// begin opens the streams of k, or says why it can't, and by which code that is
// counted. s.mu is held.
func (s *session) begin(k *call) (refusal, code string) {
	if k.m.Type == protocol.StreamInvocation {
		if s.streams[k.m.InvocationID] != nil {
			return "Invocation ID '" + k.m.InvocationID + "' is already in use.", codeUnsupported
		}
		if many := s.manyStreams(len(s.streams) + 1); many != "" {
			return many, hubs.RefusedStreams
		}
	}
	if many := s.manyStreams(len(s.uploads) + len(k.m.StreamIDs)); many != "" {
		return many, hubs.RefusedStreams
	}
	for i, id := range k.m.StreamIDs {
		for _, other := range k.m.StreamIDs[:i] {
			if other == id {
				return "Stream ID '" + id + "' is already in use.", codeUnsupported
			}
		}
		if s.uploads[id] != nil {
			return "Stream ID '" + id + "' is already in use.", codeUnsupported
		}
	}
	if k.m.Type == protocol.StreamInvocation {
		if s.streams == nil {
			s.streams = make(map[string]*call)
		}
		s.streams[k.m.InvocationID] = k
	}
	if len(k.m.StreamIDs) > 0 {
		k.uploads = newUploads(k.m.StreamIDs)
		if s.uploads == nil {
			s.uploads = make(map[string]*clientStream)
		}
		for _, id := range k.m.StreamIDs {
			s.uploads[id] = &clientStream{id: id, of: k.uploads}
		}
	}
	return "", ""
}

// busy reports whether the client waits for something of its upstream.
func (s *session) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running > 0 || len(s.queue) > 0 || len(s.streams) > 0 || len(s.uploads) > 0
}

// run posts what is queued, one call after the other; others may do so beside it.
func (s *session) run() {
	defer s.open.Done()
	for {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.running--
			s.mu.Unlock()
			return
		}
		k := s.queue[0]
		s.queue = s.queue[1:]
		s.bytes -= len(k.m.Arguments.Bytes)
		if s.room != nil {
			close(s.room)
			s.room = nil
		}
		s.mu.Unlock()
		k.post()
	}
}

// post sends the call to its upstream and answers it.
func (k *call) post() {
	s := k.s
	n := s.d.now()
	switch {
	case k.ctx.Err() != nil: // cancelled before its turn
		k.complete("")
	case k.refusal != "":
		s.d.refuse(k.code)
		k.complete(k.refusal)
	case n.upstream.Mode == tenants.UpstreamNative:
		k.postNative(&n)
		return
	default:
		k.postAzure(&n)
	}
	k.release()
}

// complete answers the call without a result: with an error unless text is "".
func (k *call) complete(text string) {
	k.close()
	if k.m.InvocationID == "" {
		return
	}
	// It has nothing that can't be encoded.
	_ = k.s.c.Send(&protocol.Message{Type: protocol.Completion, InvocationID: k.m.InvocationID, Error: text, HasError: text != ""})
}

// notify tells of a limit that refused the call, where nobody waits for its answer.
func (k *call) notify(f *failure) {
	if f != nil && f.limit != nil && k.s.d.g.notify != nil {
		k.s.d.g.notify(k.s.c, k.m, *f.limit)
	}
}

// result answers the call with a value.
func (k *call) result(v protocol.Raw) error {
	k.close()
	if k.m.InvocationID == "" {
		return nil
	}
	return k.s.c.Send(&protocol.Message{Type: protocol.Completion, InvocationID: k.m.InvocationID, Result: v})
}

// positionPatience is how long an answer waits for what it has to follow.
const positionPatience = 2 * time.Second

// send posts p for the call. The answer is there once the client has been sent
// what it follows.
func (k *call) send(p *post) (*answer, *failure) {
	t := k.s.d.tenant
	a, f := t.send(k.ctx, p)
	if a == nil || a.after.Number == 0 {
		return a, f
	}
	ctx, cancel := context.WithTimeoutCause(k.ctx, positionPatience, errNotReached)
	defer cancel()
	err := k.s.c.Server().AwaitApplied(ctx, a.after)
	if err == nil {
		return a, f
	}
	if a.stream != nil {
		_ = a.stream.Close() // nobody reads it
	}
	if !errors.Is(err, errNotReached) {
		return nil, &failure{code: codeCancelled, cause: err}
	}
	k.s.d.refuse(codePosition)
	return nil, &failure{code: codePosition, status: a.status, cause: err}
}

var errNotReached = errors.New("the position was not reached in time")

// close makes the ids of the call's streams free for others: a client may use
// them again once it has the completion.
func (k *call) close() {
	s := k.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[k.m.InvocationID] == k {
		delete(s.streams, k.m.InvocationID)
	}
	if k.uploads == nil {
		return
	}
	for _, id := range k.m.StreamIDs {
		if u := s.uploads[id]; u != nil && u.of == k.uploads {
			delete(s.uploads, id)
		}
	}
}

// release ends everything of the call.
func (k *call) release() {
	k.close()
	k.uploads.abandon()
	k.cancel()
}

// detach runs the rest of the call beside those that follow it.
func (k *call) detach(rest func()) {
	k.s.open.Add(1) // by the goroutine, which counts itself
	go func() {
		defer k.s.open.Done()
		defer k.release()
		rest()
	}()
}

// cancelCall ends a stream at the client's wish.
func (s *session) cancelCall(id string) {
	s.mu.Lock()
	k := s.streams[id]
	s.mu.Unlock()
	if k != nil {
		k.cancel()
	}
}

// end waits until nothing of the connection is under way. After an orderly leave
// what was queued gets a while, otherwise everything ends at once.
func (s *session) end(cause error) {
	s.mu.Lock()
	for _, k := range s.streams {
		k.cancel()
	}
	for _, u := range s.uploads {
		u.of.end(u.id, "The client has left.")
	}
	if cause != nil {
		s.queue, s.bytes = nil, 0
	}
	s.mu.Unlock()
	grace := time.AfterFunc(leaveGrace, s.cancel)
	if cause != nil {
		s.cancel()
	}
	s.open.Wait()
	grace.Stop()
	s.cancel()
}

// refuse counts what wasn't posted at all.
func (d *Dispatcher) refuse(code string) { d.g.refused(d.tenant.id, d.hub, code) }
