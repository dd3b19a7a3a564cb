package hubs

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
)

// Invoke calls a method of one client and returns its answer. target must be
// the caller or Context.Client. It ends with ctx; the client isn't told.
//
// An error of the client comes back as an *Error with its text. Other errors
// say that the connection doesn't exist or has ended, or that the answer is no T.
// It can't be used in OnConnected, before which nothing is read from a client.
func Invoke[T any](ctx context.Context, target Target, method string, args ...any) (T, error) {
	var result T
	err := target.invoke(ctx, method, args, reflect.ValueOf(&result).Elem())
	return result, err
}

// The texts of ASP.NET Core (HubCallerClients, DefaultHubLifetimeManager,
// TypedClientBuilder).
var (
	errNotSingle  = &operationError{"InvokeAsync only works with Single clients."}
	errConnecting = &operationError{"Client results inside OnConnectedAsync Hub methods are not allowed."}
	errManyCalls  = fmt.Errorf("more than %d invocations of the client wait for an answer", pendingResults)
	errNoServer   = errors.New("client results need a Context of a Server of a registered hub")
)

// operationError is what .NET calls an InvalidOperationException.
type operationError struct{ text string }

func (e *operationError) Error() string { return e.text }

func missing(id string) error      { return fmt.Errorf("Connection '%s' does not exist.", id) }
func disconnected(id string) error { return fmt.Errorf("Connection '%s' disconnected.", id) }

// pendingResult waits for the answer of a client.
type pendingResult struct {
	done chan struct{} // closed when err or the value is set
	once sync.Once
	into reflect.Value
	err  error
}

func (r *pendingResult) fail(err error) {
	r.once.Do(func() {
		r.err = err
		close(r.done)
	})
}

func (t Target) invoke(ctx context.Context, method string, args []any, into reflect.Value) error {
	if !t.single {
		return errNotSingle
	}
	caller, _ := ctx.Value(callKey{}).(*Call)
	if caller != nil && caller.connecting {
		return errConnecting
	}
	s := t.hub.server
	if s == nil {
		return errNoServer
	}
	if _, ok := s.chain.dispatcher.(*methods); !ok {
		return errNoServer
	}
	id := t.entry.Connections[0]
	c, here := s.Connection(id)
	if !here {
		return missing(id)
	}
	if t.hub.origin != nil && t.hub.origin != c {
		c.follow(t.hub.origin.followed())
	}
	own := c.callsOf()
	name := s.run + strconv.FormatUint(s.called.Add(1), 36)
	r := &pendingResult{done: make(chan struct{}), into: reflect.New(into.Type()).Elem()}
	if err := own.expect(name, r); err != nil {
		return err
	}
	defer own.forget(name)
	if err := c.sendInvocation(ctx, &protocol.Message{Type: protocol.Invocation, InvocationID: name, Target: method}, args); err != nil {
		return err
	}
	if caller != nil && caller.k != nil {
		// The answer may be behind invocations that wait for this slot.
		k := caller.k
		if k.calls.give(k) {
			defer k.calls.regain(k)
		}
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if r.err == nil {
		into.Set(r.into)
	}
	return r.err
}

// expect makes an answer awaited.
func (s *calls) expect(id string, r *pendingResult) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return disconnected(s.conn.ID())
	case len(s.results) >= pendingResults:
		return errManyCalls
	case s.results == nil:
		s.results = make(map[string]*pendingResult)
	}
	s.results[id] = r
	return nil
}

func (s *calls) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.results, id)
}

// answer hands a Completion to who waits for it; it reports false when nobody does.
func (s *calls) answer(m *protocol.Message) bool {
	s.mu.Lock()
	r := s.results[m.InvocationID]
	delete(s.results, m.InvocationID)
	s.mu.Unlock()
	if r == nil {
		return false
	}
	r.once.Do(func() {
		defer close(r.done)
		switch {
		case m.HasError:
			r.err = NewError(m.Error)
		case m.Result.Present():
			if err := values.DecodeValue(m.Result, r.into); err != nil {
				r.err = fmt.Errorf("Error trying to deserialize result to %s. %w", r.into.Type(), err)
			}
		}
	})
	return true
}
