package serverlink

import (
	"context"
	"fmt"
	"sync"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
)

// How far a client's edge may be behind with what an app server says to one
// client, in bytes with overhead.
const (
	// receiveWindow is when the app server is asked to stop sending to the client; it
	// goes on at a quarter of it.
	receiveWindow = 1 << 20
	// receiveMost is when the client is given up: an app server that doesn't stop has
	// filled what Connection.Forward of its edge takes, too.
	receiveMost = hubs.MaxBacklog
)

// The reasons to hold an app server back.
const (
	holdForEdge  = 1 << iota // the client's edge asks for it
	holdForRoute             // the way to that edge is full
)

// hosted is a pairing as the app server's edge has it: it passes on what the
// client's edge asks for, and is the Downstream of the app server.
type hosted struct {
	l      *hostLink
	id     uint64
	lane   *lane
	orders inbox[order]
	ctx    context.Context // the pairing's
	cancel context.CancelCauseFunc
	pauses context.Context // ends with an order to end, too
	leave  context.CancelFunc

	// Of the goroutine of orders.
	session  pairing.Session // nil until the app server has the client
	message  []byte          // the pieces of a message that have come
	consumed int             // not reported yet, in bytes with overhead

	mu        sync.Mutex
	opened    bool     // the other edge knows that there is a pairing
	farewell  []byte   // the last frame, when it came before opened
	mute      bool     // nothing more is delivered
	migrating bool     // the client's edge has been asked to move the client
	over      bool     // the pairing has ended
	out       int      // what the client's edge hasn't consumed, in bytes with overhead
	flights   []flight // what it hasn't settled, oldest first
	holds     uint8    // why the app server is held back

	holding sync.Mutex // one change of holds after the other

	after positions // of what the app server says
}

var _ pairing.Downstream = (*hosted)(nil)

// order is one thing that the client's edge wants.
type order struct {
	kind            kind
	client          *pairing.Client
	data            pairing.DataType
	more            bool
	payload         *[]byte
	reason, movedTo string
}

// flight is one Deliver on its way.
type flight struct {
	pieces  int
	settled *sync.WaitGroup
}

func newHosted(l *hostLink, id uint64, ln *lane) *hosted {
	s := &hosted{l: l, id: id, lane: ln}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.pauses, s.leave = context.WithCancel(s.ctx)
	return s
}

func (s *hosted) order(o order) { s.orders.push(&s.l.work, s.run, o) }

// take handles a frame of the reader.
func (s *hosted) take(f frame) error {
	switch f.kind {
	case kindData:
		t, more, payload, err := decodeData(f.body)
		if err != nil {
			return err
		}
		s.order(order{kind: kindData, data: t, more: more, payload: keep(payload)})
	case kindPause:
		s.order(order{kind: kindPause})
	case kindEnd:
		reason, movedTo, err := decodeEnd(f.body)
		if err != nil {
			return err
		}
		s.leave()
		s.order(order{kind: kindEnd, reason: reason, movedTo: movedTo})
	case kindProgress:
		consumed, settled, err := decodeProgress(f.body)
		if err != nil {
			return err
		}
		s.progress(consumed, settled)
	case kindHold:
		s.hold(holdForEdge, true)
	case kindRelease:
		s.hold(holdForEdge, false)
	default: // of a later version
	}
	return nil
}

// hold adds or takes away a reason to hold the app server back.
func (s *hosted) hold(reason uint8, on bool) {
	s.mu.Lock()
	before := s.holds
	if on {
		s.holds |= reason
	} else {
		s.holds &^= reason
	}
	changed := (before == 0) != (s.holds == 0)
	s.mu.Unlock()
	if changed {
		s.passHold()
	}
}

// passHold tells the app server what counts now, once it has the client.
func (s *hosted) passHold() {
	s.holding.Lock()
	defer s.holding.Unlock()
	s.mu.Lock()
	on, known := s.holds != 0, s.opened && !s.over
	s.mu.Unlock()
	if known {
		s.session.Hold(on) // which only queues
	}
}

// run carries orders out until there are none.
func (s *hosted) run() {
	for {
		list := s.orders.take()
		if len(list) == 0 {
			return
		}
		for i := range list {
			s.carryOut(&list[i])
			release(list[i].payload)
		}
	}
}

func (s *hosted) carryOut(o *order) {
	switch o.kind {
	case kindOpen:
		s.open(o.client)
	case kindData:
		s.data(o)
	case kindPause:
		s.pause()
	case kindEnd:
		if s.finish() && s.session != nil {
			s.session.End(o.reason, o.movedTo)
		}
	default:
	}
}

// open pairs the client with a server connection of this edge.
func (s *hosted) open(c *pairing.Client) {
	err := pairing.ErrNoServer
	if !s.l.host.refuses() {
		s.session, err = s.l.host.local.Open(s.ctx, c, s)
	}
	if err != nil {
		s.session = nil
		s.finish()
		s.put(appendRefused(nil, s.id, refusalOf(err), err.Error()))
		return
	}
	s.put(appendText(nil, kindOpened, s.id, s.session.ServerID()))
	s.mu.Lock()
	s.opened = true
	farewell, mute, held := s.farewell, s.mute, s.holds != 0
	s.mu.Unlock()
	if held {
		s.passHold()
	}
	if farewell != nil {
		s.put(farewell)
		if !mute {
			s.finish()
		}
		return
	}
	if s.l.host.refuses() {
		s.Migrate() // the drain has begun in between and may not have seen it
	}
}

// data passes a message of the client on, once all of it is there.
func (s *hosted) data(o *order) {
	n := len(*o.payload)
	message := *o.payload
	if o.more || len(s.message) > 0 {
		if len(s.message)+n > maxMessage {
			s.l.cut(fmt.Errorf("%w: message of more than %d bytes", errFrame, maxMessage))
			return
		}
		s.message = append(s.message, message...)
		if o.more {
			return
		}
		message, s.message = s.message, s.message[:0]
		if cap(s.message) > 2*maxPayload {
			s.message = nil // long messages are rare
		}
	}
	if s.session == nil || s.isOver() {
		return
	}
	// A server connection that is gone says so to the Downstream.
	_ = s.session.Send(s.ctx, message, o.data)
	if s.consumed += len(message) + overhead; s.consumed >= sendWindow/4 {
		var room [32]byte
		s.put(appendProgress(room[:0], s.id, s.consumed, 0))
		s.consumed = 0
	}
}

// pause asks the app server to finish. What it still says is queued before the
// answer.
func (s *hosted) pause() {
	if s.session == nil || s.isOver() {
		return
	}
	text := ""
	if err := s.session.Pause(s.pauses); err != nil {
		text = err.Error()
	}
	s.put(appendText(nil, kindPaused, s.id, text))
}

func (s *hosted) put(frame []byte) { s.l.put(s.lane, frame, nil) }

func (s *hosted) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

// finish ends the pairing on this side: nothing is in flight any more. It
// reports whether the pairing was still on.
func (s *hosted) finish() bool {
	s.mu.Lock()
	first := !s.over
	s.over = true
	flights := s.flights
	s.flights = nil
	s.mu.Unlock()
	for _, f := range flights {
		f.settled.Done()
	}
	if first {
		s.l.forget(s)
	}
	s.cancel(pairing.ErrEnded)
	return first
}

// progress notes how far the client's edge is.
func (s *hosted) progress(consumed, settled int) {
	if s.land(consumed, settled) {
		s.hold(holdForRoute, false)
	}
}

// land takes off what has arrived and reports whether the way is free again.
func (s *hosted) land(consumed, settled int) (free bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = max(0, s.out-consumed)
	free = s.holds&holdForRoute != 0 && s.out <= receiveWindow/4
	for settled > 0 && len(s.flights) > 0 {
		f := &s.flights[0]
		if f.pieces > settled {
			f.pieces -= settled
			return free
		}
		settled -= f.pieces
		f.settled.Done()
		s.flights[0] = flight{}
		s.flights = s.flights[1:]
	}
	return free
}

// Deliver implements pairing.Downstream. When the tenant's queue on the link is
// full, it waits for room, as the app server then has to.
func (s *hosted) Deliver(after hubs.Position, payload []byte, settled *sync.WaitGroup) {
	if len(payload) == 0 {
		return
	}
	settled.Add(1)
	s.mu.Lock()
	if s.over || s.mute {
		s.mu.Unlock()
		settled.Done()
		return
	}
	pieces := (len(payload) + maxPayload - 1) / maxPayload
	cost := len(payload) + pieces*overhead
	if s.out > 0 && s.out+cost > receiveMost {
		s.mu.Unlock()
		settled.Done()
		s.overrun()
		return
	}
	s.out += cost
	s.flights = append(s.flights, flight{pieces, settled})
	full := s.out > receiveWindow && s.holds&holdForRoute == 0
	s.mu.Unlock()
	if full {
		s.hold(holdForRoute, true)
	}

	var room [64]byte
	for len(payload) > 0 {
		piece := payload[:min(len(payload), maxPayload)]
		payload = payload[len(piece):]
		if s.l.await(s.ctx, s.lane) != nil {
			return // the end of the pairing settles it
		}
		s.l.put(s.lane, appendDeliver(room[:0], s.id, &s.after, after, len(piece)), piece)
	}
}

// overrun gives up a client whose edge is too far behind.
func (s *hosted) overrun() {
	s.mu.Lock()
	first := !s.mute && !s.over
	s.mute = true
	s.mu.Unlock()
	if !first {
		return
	}
	s.l.host.stats.overrun.Add(1)
	const reason = "The client is too far behind."
	s.part(appendText(nil, kindLost, s.id, reason))
	s.order(order{kind: kindEnd, reason: reason})
}

// Close implements pairing.Downstream.
func (s *hosted) Close(after hubs.Position, reason string) {
	s.part(appendClose(nil, s.id, &s.after, after, reason))
}

// Lost implements pairing.Downstream.
func (s *hosted) Lost(cause error) {
	s.part(appendText(nil, kindLost, s.id, cause.Error()))
}

// Migrate implements pairing.Downstream. Edges that drain ask for it, too.
func (s *hosted) Migrate() {
	s.mu.Lock()
	first := !s.migrating && !s.over
	s.migrating = true
	s.mu.Unlock()
	if first {
		s.put(appendBare(nil, kindMigrate, s.id))
	}
}

// part sends the last frame of the pairing, which the other edge mustn't get
// before it knows that there is one.
func (s *hosted) part(frame []byte) {
	s.mu.Lock()
	now := s.opened && !s.over
	if !s.opened && s.farewell == nil {
		s.farewell = frame
	}
	mute := s.mute
	s.mu.Unlock()
	if !now {
		return
	}
	s.put(frame)
	if !mute { // else the app server is yet to be told
		s.finish()
	}
}
