package appserver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// ackTimeout is how long the service may take to answer a command.
const ackTimeout = 10 * time.Second

// errAckTimeout: the service has not answered, or couldn't in time.
var errAckTimeout = errors.New("the service has not answered in time")

// acks are the commands that wait for the service's answer.
type acks struct {
	mu      sync.Mutex
	last    int32
	waiting map[int32]ack
}

type ack struct {
	link *link
	done chan error // gets one value
}

// begin makes an id for a command that goes over l.
func (s *acks) begin(l *link) (int32, chan error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == nil {
		s.waiting = make(map[int32]ack)
	}
	for taken := true; taken; _, taken = s.waiting[s.last] {
		s.last++
		s.last = max(s.last, 1) // over the largest number, and back
	}
	a := ack{l, make(chan error, 1)}
	s.waiting[s.last] = a
	return s.last, a.done
}

func (s *acks) end(id int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, id)
}

// settle takes the service's answer; one that nobody waits for is dropped.
func (s *acks) settle(m *serviceprotocol.Ack) {
	s.mu.Lock()
	a, ok := s.waiting[m.AckID]
	delete(s.waiting, m.AckID)
	s.mu.Unlock()
	if ok {
		a.done <- ackError(m)
	}
}

// lose ends what waits for answers over l.
func (s *acks) lose(l *link, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, a := range s.waiting {
		if a.link == l {
			a.done <- fmt.Errorf("%w: %w", hubs.ErrUnavailable, cause)
			delete(s.waiting, id)
		}
	}
}

// errNotFound: there is no such connection, group or user.
var errNotFound = errors.New("not found")

func ackError(m *serviceprotocol.Ack) error {
	switch m.Status {
	case serviceprotocol.AckOK:
		return nil
	case serviceprotocol.AckNotFound:
		return errNotFound
	case serviceprotocol.AckTimeout, serviceprotocol.AckInternalServerError:
		return errAckTimeout
	}
	return fmt.Errorf("the service refuses with status %d: %s", m.Status, m.Message)
}

// command sends what message returns for an ack id, and returns how many it
// matched: 0 or 1, as far as the service says.
func (a *App) command(ctx context.Context, l *link, message func(ackID int32) serviceprotocol.Message) (int, error) {
	id, done := a.acks.begin(l)
	defer a.acks.end(id)
	if err := l.send(ctx, message(id)); err != nil {
		return 0, err
	}
	timer := time.NewTimer(ackTimeout)
	defer timer.Stop()
	select {
	case err := <-done:
		if errors.Is(err, errNotFound) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		return 1, nil
	case <-timer.C:
		return 0, errAckTimeout
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}
