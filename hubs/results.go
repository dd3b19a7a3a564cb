package hubs

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
)

// Why a client gave no answer. The errors that wrap them name the connection.
var (
	// ErrNoConnection: the connection doesn't exist.
	ErrNoConnection = errors.New("no such connection")
	// ErrDisconnected: the connection ended before the client answered.
	ErrDisconnected = errors.New("the connection ended")
	// ErrManyInvocations: the connection has as many invocations waiting for an
	// answer as it may have.
	ErrManyInvocations = fmt.Errorf("more than %d invocations of the client wait for an answer", pendingResults)
	// ErrAnswerLost: the client's answer is too large for the Backplane, or the
	// Backplane was away when it came.
	ErrAnswerLost = errors.New("the client's answer couldn't be carried to this node")
)

// The texts of ASP.NET Core (HubCallerClients, DefaultHubLifetimeManager,
// TypedClientBuilder).
var (
	errNotSingle  = &operationError{"InvokeAsync only works with Single clients."}
	errConnecting = &operationError{"Client results inside OnConnectedAsync Hub methods are not allowed."}
)

// operationError is what .NET calls an InvalidOperationException.
type operationError struct{ text string }

func (e *operationError) Error() string { return e.text }

// connectionError is an error about one connection, of a kind that can be told.
type connectionError struct {
	text string
	kind error
}

func (e *connectionError) Error() string { return e.text }
func (e *connectionError) Unwrap() error { return e.kind }

func missing(id string) error {
	return &connectionError{fmt.Sprintf("Connection '%s' does not exist.", id), ErrNoConnection}
}

func disconnected(id string) error {
	return &connectionError{fmt.Sprintf("Connection '%s' disconnected.", id), ErrDisconnected}
}

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

func (t Target) invoke(ctx context.Context, method string, args []any, into reflect.Value) error {
	if !t.single {
		return errNotSingle
	}
	caller, _ := ctx.Value(callKey{}).(*Call)
	if caller != nil && caller.connecting {
		return errConnecting
	}
	value := reflect.New(into.Type()).Elem()
	wait := newWait(func(a ClientAnswer) error {
		switch {
		case a.HasError:
			return NewError(a.Error)
		case a.Result.Present():
			if err := values.DecodeValue(a.Result, value); err != nil {
				return fmt.Errorf("Error trying to deserialize result to %s. %w", value.Type(), err)
			}
		}
		return nil
	})
	forget, err := t.hub.ask(ctx, question{
		connection: t.entry.Connections[0],
		frame: func(id string, p protocol.Protocol) ([]byte, error) {
			raw, err := values.Arguments(p.Encoding(), args...)
			if err != nil {
				return nil, err
			}
			m := protocol.Message{Type: protocol.Invocation, InvocationID: id, Target: method, Arguments: raw}
			return p.Append(make([]byte, 0, roomFor(&m)), &m)
		},
		message: func() (*Broadcast, error) {
			raw, err := values.Portable(args...)
			return &Broadcast{Target: method, Arguments: raw}, err
		},
	}, wait.pending(ctx))
	if err != nil {
		return err
	}
	defer forget()
	if caller != nil && caller.k != nil && caller.k.calls.give(caller.k) {
		// The answer may be behind invocations that wait for this slot.
		defer caller.k.calls.regain(caller.k)
	}
	if err := wait.over(ctx); err != nil {
		return err
	}
	into.Set(value)
	return nil
}

// answerWait waits for one answer.
type answerWait struct {
	done chan struct{} // closed when err and what take has stored are set
	take func(ClientAnswer) error
	err  error
}

func newWait(take func(ClientAnswer) error) *answerWait {
	return &answerWait{done: make(chan struct{}), take: take}
}

// pending returns what is to be settled.
func (w *answerWait) pending(ctx context.Context) *pendingResult {
	return &pendingResult{until: clock() + int64(patienceOf(ctx)), settle: func(a ClientAnswer, err error) {
		if w.err = err; err == nil {
			w.err = w.take(a)
		}
		close(w.done)
	}}
}

// over returns once the answer has been taken or ctx is done.
func (w *answerWait) over(ctx context.Context) error {
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// pendingResult waits for the answer of a client.
type pendingResult struct {
	// settle is called at most once, with an answer that borrows from the reader's
	// buffer or with an error.
	settle func(ClientAnswer, error)
	once   sync.Once
	until  int64 // clock() from which nobody waits any more
}

// fail ends the wait without an answer.
func (r *pendingResult) fail(err error) {
	r.once.Do(func() { r.settle(ClientAnswer{}, err) })
}

// take ends the wait with the client's answer; one that comes too late is dropped.
func (r *pendingResult) take(m *protocol.Message) {
	r.once.Do(func() {
		if clock() < r.until {
			r.settle(ClientAnswer{Result: m.Result, Error: m.Error, HasError: m.HasError}, nil)
		}
	})
}

// errTakenInvocation: two invocations of a connection must not have one id.
var errTakenInvocation = errors.New("an invocation with this id waits for an answer already")

// expect makes an answer awaited.
func (s *calls) expect(id string, r *pendingResult) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.results) >= pendingResults {
		s.dropExpired()
	}
	_, taken := s.results[id]
	switch {
	case s.ended:
		return disconnected(s.conn.ID())
	case taken:
		return errTakenInvocation
	case len(s.results) >= pendingResults:
		return ErrManyInvocations
	case s.results == nil:
		s.results = make(map[string]*pendingResult)
	}
	s.results[id] = r
	return nil
}

// dropExpired makes room of what other nodes no longer wait for. s.mu is held.
func (s *calls) dropExpired() {
	now := clock()
	for id, r := range s.results {
		if r.until <= now {
			delete(s.results, id)
		}
	}
}

func (s *calls) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.results, id)
}

// answered gives a Completion to who waits for it; it reports false when nobody
// does, and the message is the handler's. Every Completion of a client comes
// here first, whoever handles its messages.
func (c *Connection) answered(m *protocol.Message) bool {
	s := c.calls.Load()
	if s == nil {
		return false
	}
	s.mu.Lock()
	r := s.results[m.InvocationID]
	delete(s.results, m.InvocationID)
	again := false
	switch {
	case r != nil:
		s.lately[s.next] = m.InvocationID
		s.next = (s.next + 1) % answersKept
	case c.proxied != nil: // whose hub server might take it for the answer
		again = m.InvocationID != "" && slices.Contains(s.lately[:], m.InvocationID)
	}
	s.mu.Unlock()
	if r == nil {
		return again
	}
	r.take(m)
	return true
}
