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
// The client may be connected to another node of the hub; an answer of it that is
// larger than the Backplane's entries is an error.
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
	errAnswerLost = errors.New("the client's answer couldn't be carried to this node")
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

	// forward, when set, is for who waits on another node; the rest isn't used.
	forward func(kind string, value protocol.Raw)
}

// fail ends the wait since the client is gone.
func (r *pendingResult) fail(err error) {
	r.once.Do(func() {
		if r.forward != nil {
			r.forward(answerGone, protocol.Raw{})
			return
		}
		r.err = err
		close(r.done)
	})
}

// take ends the wait with the client's answer.
func (r *pendingResult) take(m *protocol.Message) {
	r.once.Do(func() {
		if r.forward != nil {
			r.forward(answerOf(m))
			return
		}
		defer close(r.done)
		switch {
		case m.HasError:
			r.err = NewError(m.Error)
		case m.Result.Present():
			r.decode(m.Result)
		}
	})
}

func (r *pendingResult) decode(value protocol.Raw) {
	if err := values.DecodeValue(value, r.into); err != nil {
		r.err = fmt.Errorf("Error trying to deserialize result to %s. %w", r.into.Type(), err)
	}
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
	invocation := s.run + strconv.FormatUint(s.called.Add(1), 36)
	r := &pendingResult{done: make(chan struct{}), into: reflect.New(into.Type()).Elem()}
	ask := t.askHere
	if _, here := s.Connection(t.entry.Connections[0]); !here {
		ask = t.askRemote
	}
	forget, err := ask(ctx, invocation, method, args, r)
	if err != nil {
		return err
	}
	defer forget()
	if caller != nil && caller.k != nil && caller.k.calls.give(caller.k) {
		// The answer may be behind invocations that wait for this slot.
		defer caller.k.calls.regain(caller.k)
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

// askHere asks a connection of this node. forget ends the wait.
func (t Target) askHere(ctx context.Context, invocation, method string, args []any, r *pendingResult) (forget func(), err error) {
	id := t.entry.Connections[0]
	c, here := t.hub.server.Connection(id)
	if !here {
		return nil, missing(id)
	}
	if t.hub.origin != nil && t.hub.origin != c {
		c.follow(t.hub.origin.followed())
	}
	own := c.callsOf()
	if err := own.expect(invocation, r); err != nil {
		return nil, err
	}
	forget = func() { own.forget(invocation) }
	m := protocol.Message{Type: protocol.Invocation, InvocationID: invocation, Target: method}
	if err := c.sendInvocation(ctx, &m, args); err != nil {
		forget()
		return nil, err
	}
	return forget, nil
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
	r.take(m)
	return true
}
