package hubs

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs/internal/grown"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// The bounds of what one connection may have open.
const (
	// queuedCalls is how many invocations wait for their turn before the
	// connection is no longer read.
	queuedCalls = 100
	// pendingResults is how many invocations of the client may wait for an answer.
	pendingResults = 100
	// leaveGrace is how long invocations of a client that left in the orderly way
	// may go on before their contexts are cancelled: it may have sent them just
	// before.
	leaveGrace = 5 * time.Second
	// moveGrace is the same for a client that moves: it waits for its next server.
	moveGrace = time.Second
)

// calls is what is open between the server and one client: invocations of a
// registered hub that run or wait, streams both ways, and answers that the server
// waits for, whoever handles the client's messages. It exists from the first of those on.
//
// The reader brings messages in; every invocation has a goroutine of its own.
// At most Options.MaximumParallelInvocationsPerClient invocations hold a slot.
// One that waits for the client holds none, or the reader might wait for it and
// it for the reader: a method with upload streams never does, a stream only
// until its method has returned, and an invocation of the client gives the slot
// back while it waits.
type calls struct {
	conn   *Connection
	ctx    context.Context // of all calls
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	queue   []*call
	running int             // slots in use
	resume  []chan struct{} // those that had given their slot back
	room    chan struct{}   // the reader waits for a place in queue
	idle    chan struct{}   // endCalls waits for queue and slots to be empty
	streams map[string]*call
	uploads map[string]*upload
	results map[string]*pendingResult
	lately  [answersKept]string // questions that were answered last, from place next on
	next    int
	ended   bool
}

// answersKept is how many answered questions are remembered, so that a client that
// answers one twice is heard once.
const answersKept = 8

// callsOf returns the connection's calls, made if there are none.
func (c *Connection) callsOf() *calls {
	if s := c.calls.Load(); s != nil {
		return s
	}
	s := &calls{conn: c}
	s.ctx, s.cancel = context.WithCancelCause(c.ctx)
	if !c.calls.CompareAndSwap(nil, s) {
		s.cancel(nil)
		return c.calls.Load()
	}
	return s
}

// enter queues a call behind those before it and waits for a place. Only the
// reader calls it.
func (s *calls) enter(k *call) {
	s.mu.Lock()
	for len(s.queue) >= queuedCalls {
		s.room = make(chan struct{})
		room := s.room
		s.mu.Unlock()
		s.conn.reading(false)
		select {
		case <-room:
		case <-s.conn.ctx.Done():
		}
		s.conn.reading(true)
		if s.conn.ctx.Err() != nil {
			k.release()
			return
		}
		s.mu.Lock()
	}
	s.queue = append(s.queue, k)
	s.schedule()
	s.mu.Unlock()
}

// reading tells the keep-alive whether the client is read from: one that isn't
// can't be silent.
func (c *Connection) reading(on bool) {
	if on {
		c.lastRead.Store(clock())
	}
	c.unread.Store(!on)
}

// Pause calls wait, during which the client's silence doesn't count, since nobody
// reads from it. It is for Dispatchers that must wait in Message.
func (c *Connection) Pause(wait func()) {
	c.reading(false)
	defer c.reading(true)
	wait()
}

// schedule starts what may run now. s.mu is held.
func (s *calls) schedule() {
	slots := s.conn.server.options.Load().MaximumParallelInvocationsPerClient
	for len(s.resume) > 0 && s.running < slots {
		close(s.resume[0])
		s.resume = s.resume[1:]
		s.running++
	}
	n := 0
	for _, k := range s.queue {
		if !k.free {
			if s.running >= slots {
				break
			}
			s.running++
			k.slot = true
		}
		n++
		s.conn.invocations.Add(1)
		s.conn.invoking.Add(1)
		grown.Go(k.run)
	}
	if n > 0 {
		rest := copy(s.queue, s.queue[n:])
		clear(s.queue[rest:])
		s.queue = s.queue[:rest]
		if s.room != nil {
			close(s.room)
			s.room = nil
		}
	}
	if s.idle != nil && s.running == 0 && len(s.queue) == 0 {
		close(s.idle)
		s.idle = nil
	}
}

// give gives k's slot back; it reports false when k has none.
func (s *calls) give(k *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !k.slot {
		return false
	}
	k.slot = false
	s.running--
	s.schedule()
	return true
}

// regain waits for a slot again after give.
func (s *calls) regain(k *call) {
	s.mu.Lock()
	turn := make(chan struct{})
	s.resume = append(s.resume, turn)
	s.schedule()
	s.mu.Unlock()
	<-turn // slots are freed by others that end, whose contexts end with the connection
	s.mu.Lock()
	k.slot = true
	s.mu.Unlock()
}

// message handles what belongs to something open: items, ends and answers. It
// reports false for what belongs to nothing, which is ignored.
func (s *calls) message(m *protocol.Message) bool {
	switch m.Type {
	case protocol.StreamItem:
		if u := s.upload(m.InvocationID); u != nil {
			u.item(m.Item)
			return true
		}
	case protocol.Completion:
		if u := s.upload(m.InvocationID); u != nil {
			s.forgetUpload(m.InvocationID)
			u.complete(m)
			return true
		}
	case protocol.CancelInvocation:
		s.mu.Lock()
		k := s.streams[m.InvocationID]
		s.mu.Unlock()
		if k != nil {
			k.cancel(errCanceledByClient)
			return true
		}
	}
	return false
}

// endCalls ends everything that the connection has open; err is why the
// connection ends. The reader calls it when it has read its last message.
func (c *Connection) endCalls(err error) {
	if c.calls.CompareAndSwap(nil, &calls{conn: c, ended: true}) {
		return
	}
	s := c.calls.Load()
	s.mu.Lock()
	s.ended = true
	results, uploads, streams := s.results, s.uploads, s.streams
	s.results, s.uploads, s.streams = nil, nil, nil
	var idle chan struct{}
	moved := errors.Is(err, ErrMoved)
	if (err == nil || moved) && s.running+len(s.queue) > 0 {
		idle = make(chan struct{})
		s.idle = idle
	}
	s.mu.Unlock()

	gone := disconnected(c.ID())
	for _, r := range results {
		r.fail(gone)
	}
	for _, u := range uploads {
		u.fail(gone)
	}
	for _, k := range streams {
		if moved {
			k.cancel(ErrMoved)
		}
		k.cancel(context.Canceled)
	}
	if idle != nil {
		grace := leaveGrace
		if moved {
			grace = moveGrace
		}
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-idle:
		case <-timer.C:
		case <-c.ctx.Done():
		}
	}
	s.mu.Lock()
	dropped := s.queue
	s.queue = nil
	s.mu.Unlock()
	for _, k := range dropped {
		if moved {
			k.answer(ErrMoved)
		}
		k.release()
	}
	if err == nil {
		err = context.Canceled
	}
	s.cancel(err)
}
