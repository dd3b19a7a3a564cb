package serverlink

import (
	"context"
	"fmt"
	"sync"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
)

// sendWindow is how much of a client may be on its way to the app server. Up to
// a quarter of it is given back late, so that not every message needs an answer.
const sendWindow = 256 << 10

// session is a pairing as the client's edge has it.
type session struct {
	d    *dialed
	id   uint64
	lane *lane
	down pairing.Downstream
	told inbox[news]

	answered chan struct{} // closed when the other edge has answered, or never will
	over     chan struct{} // closed when the pairing is over
	after    positions     // of the reader

	mu       sync.Mutex
	serverID string
	refused  error         // with answered: why there is no pairing
	closed   bool          // over is closed
	deaf     bool          // the Downstream gets nothing more
	out      int           // what is sent and not consumed, in bytes with overhead
	room     chan struct{} // holds one: out went down
	pausing  chan error    // holds one: the answer to Pause

	// What has been delivered and not settled yet.
	batch    *sync.WaitGroup
	pieces   int
	settling bool
}

var _ pairing.Session = (*session)(nil)

// news is one thing that an app server says.
type news struct {
	kind    kind
	after   hubs.Position
	payload *[]byte
	text    string
	cause   error
}

func newSession(d *dialed, id uint64, ln *lane, down pairing.Downstream) *session {
	return &session{
		d: d, id: id, lane: ln, down: down, batch: new(sync.WaitGroup),
		answered: make(chan struct{}), over: make(chan struct{}), room: make(chan struct{}, 1), pausing: make(chan error, 1),
	}
}

// ServerID implements pairing.Session.
func (s *session) ServerID() string { return s.serverID }

// Send implements pairing.Session.
func (s *session) Send(ctx context.Context, payload []byte, t pairing.DataType) error {
	if len(payload) > maxMessage {
		return fmt.Errorf("message of %d bytes, the link takes %d", len(payload), maxMessage)
	}
	if err := s.reserve(ctx, len(payload)+overhead); err != nil {
		return err
	}
	var room [32]byte
	for {
		piece := payload[:min(len(payload), maxPayload)]
		payload = payload[len(piece):]
		if err := s.d.await(ctx, s.lane); err != nil {
			return s.failure(err)
		}
		s.d.put(s.lane, appendData(room[:0], s.id, t, len(payload) > 0, len(piece)), piece)
		if len(payload) == 0 {
			return nil
		}
	}
}

// reserve waits until n bytes more may be on their way.
func (s *session) reserve(ctx context.Context, n int) error {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return pairing.ErrEnded
		}
		if s.out+n <= sendWindow || s.out <= sendWindow/4 {
			s.out += n
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		select {
		case <-s.room:
		case <-s.over:
		case <-s.d.dead:
			return pairing.ErrEnded
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// failure is what a call of this session returns after err.
func (s *session) failure(err error) error {
	select {
	case <-s.over:
		return pairing.ErrEnded
	case <-s.d.dead:
		return fmt.Errorf("%w: %w", pairing.ErrEnded, err)
	default:
		return err
	}
}

// Hold implements pairing.Session.
func (s *session) Hold(on bool) {
	k := kindRelease
	if on {
		k = kindHold
	}
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if !closed {
		s.send(appendBare(nil, k, s.id))
	}
}

// Pause implements pairing.Session.
func (s *session) Pause(ctx context.Context) error {
	s.send(appendBare(nil, kindPause, s.id))
	select {
	case err := <-s.pausing:
		return err
	case <-s.over:
		select {
		case err := <-s.pausing:
			return err // it went right after its answer
		default:
			return pairing.ErrEnded
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// End implements pairing.Session.
func (s *session) End(reason, movedTo string) {
	s.mu.Lock()
	s.deaf = true
	s.mu.Unlock()
	if s.close() {
		s.send(appendEnd(nil, s.id, reason, movedTo))
	}
}

// send queues a frame without payload, whether there is room or not: a pairing
// has few of them.
func (s *session) send(frame []byte) { s.d.put(s.lane, frame, nil) }

// close ends the pairing on this side; it reports whether it was still on.
func (s *session) close() bool {
	s.mu.Lock()
	first := !s.closed
	if first {
		s.closed = true
		close(s.over)
	}
	s.mu.Unlock()
	if first {
		s.d.forget(s)
	}
	return first
}

// take handles a frame of the reader.
func (s *session) take(f frame) error {
	body := fields{rest: f.body}
	switch f.kind {
	case kindOpened:
		id := body.string()
		s.answer(id, nil)
	case kindRefused:
		r, text, err := decodeRefused(f.body)
		if err != nil {
			return err
		}
		s.close()
		s.answer("", r.err(text))
	case kindDeliver:
		at := s.after.read(&body)
		if body.err == nil {
			s.tell(news{kind: kindDeliver, after: at, payload: keep(body.rest)})
		}
	case kindClose:
		at := s.after.read(&body)
		s.tell(news{kind: kindClose, after: at, text: body.string()})
	case kindPaused, kindLost:
		s.tell(news{kind: f.kind, text: body.string()})
	case kindMigrate:
		s.tell(news{kind: kindMigrate})
	case kindProgress:
		consumed, _, err := decodeProgress(f.body)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.out = max(0, s.out-consumed)
		s.mu.Unlock()
		select {
		case s.room <- struct{}{}:
		default:
		}
	default: // of a later version
	}
	return body.err
}

// answer lets open return. It is called by the reader, or when that has ended.
func (s *session) answer(server string, refused error) {
	select {
	case <-s.answered:
	default:
		s.serverID, s.refused = server, refused
		close(s.answered)
	}
}

func (s *session) tell(n news) { s.told.push(&s.d.work, s.run, n) }

// run passes on what has come. It is the only one that calls the Downstream.
func (s *session) run() {
	consumed := 0
	for {
		list := s.told.take()
		if len(list) == 0 {
			break
		}
		for i := range list {
			n := &list[i]
			if n.kind == kindDeliver {
				consumed += len(*n.payload) + overhead
			}
			s.pass(n)
			release(n.payload)
			if consumed >= receiveWindow/4 {
				s.progress(consumed, 0)
				consumed = 0
			}
		}
	}
	if !s.settle(consumed) && consumed > 0 {
		s.progress(consumed, 0)
	}
}

// pass tells the Downstream one thing.
func (s *session) pass(n *news) {
	s.mu.Lock()
	deaf := s.deaf
	batch := s.batch
	if n.kind == kindDeliver {
		s.pieces++
		batch.Add(1) // for this piece until Deliver has returned
		defer batch.Done()
	}
	if n.kind == kindClose || n.kind == kindLost {
		s.deaf = true
	}
	s.mu.Unlock()
	if deaf {
		return
	}
	switch n.kind {
	case kindDeliver:
		s.down.Deliver(n.after, *n.payload, batch)
	case kindClose:
		s.close()
		s.down.Close(n.after, n.text)
	case kindMigrate:
		s.down.Migrate()
	case kindPaused:
		var err error
		if n.text != "" {
			err = fmt.Errorf("the app server's edge: %s", n.text)
		}
		select {
		case s.pausing <- err:
		default: // asked for twice
		}
	case kindLost:
		s.close()
		cause := n.cause
		if cause == nil {
			cause = fmt.Errorf("the app server's edge: %s", n.text)
		}
		s.down.Lost(cause)
	default:
	}
}

// settle tells the other edge when what has been delivered has its place. One
// goroutine at a time does, the others leave it to that; settle then returns
// false.
func (s *session) settle(consumed int) bool {
	for {
		s.mu.Lock()
		if s.pieces == 0 || s.settling {
			s.mu.Unlock()
			return false
		}
		s.settling = true
		batch, pieces := s.batch, s.pieces
		s.batch, s.pieces = new(sync.WaitGroup), 0
		s.mu.Unlock()

		batch.Wait()
		s.progress(consumed, pieces)

		s.mu.Lock()
		s.settling = false
		more := s.pieces > 0
		s.mu.Unlock()
		if !more {
			return true
		}
		consumed = 0
	}
}

func (s *session) progress(consumed, settled int) {
	var room [32]byte
	s.d.put(s.lane, appendProgress(room[:0], s.id, consumed, settled), nil)
}
