package serverconn

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs/pairing"
	sp "github.com/signalbox/signalbox/hubs/serviceprotocol"
)

var errCannotPause = errors.New("the app server doesn't pause clients")

// clientFlow is whether an app server may send to one client. The SDK answers a
// Pause once it has sent what it was sending, and answers another one only after a
// Resume; a Resume that comes before the answer confuses it (PauseHandler).
type clientFlow struct {
	mu     sync.Mutex
	asked  bool // a Pause is out, without an answer
	holds  bool // the last Pause is answered
	wanted bool // the client is behind
	moves  bool // the app server is to be paused until the client has moved
	last   bool // the Pause that is out is the last one

	paused chan struct{} // closed when the last Pause is answered
}

// Hold implements pairing.Session.
func (s *session) Hold(on bool) {
	f := &s.flow
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wanted = on; f.moves || f.asked || on == f.holds || s.over.Load() || s.k.pauses.Load() == pausesNever {
		return
	}
	if on {
		s.askPause()
	} else {
		s.askResume()
	}
}

// Pause implements pairing.Session. It fails for app servers that don't know of
// pauses.
func (s *session) Pause(ctx context.Context) error {
	if s.over.Load() {
		return pairing.ErrEnded
	}
	if s.k.pauses.Load() == pausesNever {
		return errCannotPause
	}
	f := &s.flow
	f.mu.Lock()
	if !f.moves {
		f.moves = true
		if !f.asked {
			s.askLast()
		}
	}
	f.mu.Unlock()
	patience := time.NewTimer(s.k.pool.cfg.Timing.Pause)
	defer patience.Stop()
	select {
	case <-f.paused:
		return nil
	case <-s.done:
		select {
		case <-f.paused:
			return nil // it went right after its answer
		default:
			return pairing.ErrEnded
		}
	case <-ctx.Done():
		return fmt.Errorf("pause client: %w", context.Cause(ctx))
	case <-patience.C:
		// One that has never answered doesn't know the message: don't wait again.
		s.k.pauses.CompareAndSwap(pausesUnknown, pausesNever)
		return errCannotPause
	}
}

// pauseAnswered takes the app server's answer to a Pause.
func (s *session) pauseAnswered() {
	f := &s.flow
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.asked {
		return // of nothing
	}
	s.k.pauses.Store(pausesKnown)
	f.asked, f.holds = false, true
	switch {
	case f.last:
		f.last = false
		close(f.paused)
	case f.moves:
		s.askLast()
	case !f.wanted:
		s.askResume()
	}
}

// askLast asks for the Pause that lets the client move. An app server that holds
// the client back for another reason is told that this is a new one: Go hubs finish
// what runs for clients that move. f.mu is held.
func (s *session) askLast() {
	if s.flow.holds {
		s.askResume()
	}
	s.flow.last = true
	s.askPause()
}

// askPause sends a Pause. f.mu is held.
func (s *session) askPause() {
	s.flow.asked = true
	s.sendFlow(sp.FlowPause)
}

// askResume sends a Resume. f.mu is held.
func (s *session) askResume() {
	s.flow.holds = false
	s.sendFlow(sp.FlowResume)
}

func (s *session) sendFlow(o sp.FlowOperation) {
	s.k.out.force(&sp.ConnectionFlowControl{ConnectionID: s.id, Connection: sp.FlowClient, Operation: o})
}
