package hubs

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"strings"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
)

// methods is the Dispatcher of a registered hub.
type methods struct {
	hub          any
	connecter    Connecter
	disconnecter Disconnecter
	filters      []Filter
	byName       map[string]*method // as they are spelt, and in lower case
}

var _ Dispatcher = (*methods)(nil)

// find returns the method with this name in any case, or nil.
func (d *methods) find(name string) *method {
	if m := d.byName[name]; m != nil {
		return m
	}
	return d.byName[strings.ToLower(name)]
}

// Connected implements Dispatcher.
func (d *methods) Connected(ctx context.Context, c *Connection) error {
	k := d.newCall(c)
	k.connecting = true
	return chain{d.filters, lifecycle{d}}.connected(&lifecycleContext{ctx, &k}, c)
}

// Disconnected implements Dispatcher.
func (d *methods) Disconnected(ctx context.Context, c *Connection, cause error) {
	k := d.newCall(c)
	chain{d.filters, lifecycle{d}}.disconnected(&lifecycleContext{ctx, &k}, c, cause)
}

// Message implements Dispatcher; invocations come through accept instead.
func (d *methods) Message(_ context.Context, c *Connection, m *protocol.Message) error {
	switch m.Type {
	case protocol.Invocation, protocol.StreamInvocation:
		d.accept(c, m)
	default:
		if s := c.calls.Load(); s == nil || !s.message(m) {
			return c.Stray(m)
		}
	}
	return nil
}

// lifecycle is the end of the chain of a hub's own filters.
type lifecycle struct{ d *methods }

func (l lifecycle) Connected(ctx context.Context, _ *Connection) error {
	if l.d.connecter == nil {
		return nil
	}
	return l.d.connecter.OnConnected(ctx)
}

func (l lifecycle) Disconnected(ctx context.Context, _ *Connection, cause error) {
	if l.d.disconnecter != nil {
		l.d.disconnecter.OnDisconnected(ctx, cause)
	}
}

// Message is the end of an invocation's filters: the call itself.
func (l lifecycle) Message(ctx context.Context, _ *Connection, _ *protocol.Message) error {
	return FromContext(ctx).k.call(ctx)
}

// call is one invocation on its way. It is the context of the method, too.
type call struct {
	context.Context
	Call
	calls   *calls
	cancel  context.CancelCauseFunc // of a stream or a call with uploads
	m       protocol.Message        // a copy; raw values are in buf
	buf     *[]byte
	method  *method
	frame   *frame
	uploads []*upload
	refusal error // what the reader found wrong
	free    bool  // holds no slot
	slot    bool  // holds one; guarded by calls.mu
	stream  reflect.Value
	result  reflect.Value
}

// Value is the context's.
func (k *call) Value(key any) any {
	if key == (callKey{}) {
		return &k.Call
	}
	return k.Context.Value(key)
}

// accept takes an invocation from the reader: streams are open from now on.
func (d *methods) accept(c *Connection, m *protocol.Message) {
	s := c.callsOf()
	k := &call{Context: s.ctx, calls: s, m: *m, method: d.find(m.Target)}
	k.Call = d.newCall(c)
	k.Call.k = k
	k.Call.method, k.invocation = m.Target, m.InvocationID
	if k.method != nil {
		k.Call.method = k.method.name
	}
	k.m.StreamIDs = append([]string(nil), m.StreamIDs...)
	k.m.Headers = append([]protocol.Header(nil), m.Headers...)
	k.buf = getBuffer(len(m.Arguments.Bytes))
	*k.buf = append(*k.buf, m.Arguments.Bytes...)
	k.m.Arguments.Bytes = *k.buf

	switch {
	case m.BindingError != "":
		k.refusal = &bindingError{m.BindingError}
	case k.method == nil:
		k.refusal = errNoMethod
	case k.method.stream == noStream && m.Type == protocol.StreamInvocation:
		k.refusal = exactErrorf("The client attempted to invoke the non-streaming '%s' method with a streaming invocation.", m.Target)
	case k.method.stream != noStream && m.Type == protocol.Invocation:
		k.refusal = exactErrorf("The client attempted to invoke the streaming '%s' method with a non-streaming invocation.", m.Target)
	case len(m.StreamIDs) != len(k.method.uploads):
		k.refusal = Errorf("Client sent %d stream(s), Hub method expects %d.", len(m.StreamIDs), len(k.method.uploads))
	default:
		k.refusal = s.open(k)
	}
	s.enter(k)
}

// open opens the streams of k.
func (s *calls) open(k *call) error {
	if len(k.method.uploads) == 0 && k.method.stream == noStream {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	streaming := k.method.stream != noStream
	most := s.conn.server.options.Load().MaximumOpenStreams
	switch {
	case streaming && s.streams[k.m.InvocationID] != nil:
		return exactErrorf("Invocation ID '%s' is already in use.", k.m.InvocationID)
	case streaming && len(s.streams) >= most:
		return manyStreams(most, "streams")
	case len(s.uploads)+len(k.m.StreamIDs) > most:
		return manyStreams(most, "upload streams")
	}
	for i, id := range k.m.StreamIDs {
		if s.uploads[id] != nil || contains(k.m.StreamIDs[:i], id) {
			return Errorf("Stream ID '%s' is already in use.", id)
		}
	}
	k.Context, k.cancel = context.WithCancelCause(s.ctx)
	if streaming {
		if s.streams == nil {
			s.streams = make(map[string]*call)
		}
		s.streams[k.m.InvocationID] = k
	}
	for i, id := range k.m.StreamIDs {
		u := newUpload(k, k.method.uploads[i], s.conn.server.options.Load().StreamBufferCapacity)
		k.uploads = append(k.uploads, u)
		if s.uploads == nil {
			s.uploads = make(map[string]*upload)
		}
		s.uploads[id] = u
		k.free = true
	}
	return nil
}

func contains(ids []string, id string) bool {
	for _, s := range ids {
		if s == id {
			return true
		}
	}
	return false
}

// release gives back what k has borrowed and closes its streams.
func (k *call) release() {
	if k.cancel != nil {
		s := k.calls
		s.mu.Lock()
		if s.streams[k.m.InvocationID] == k {
			delete(s.streams, k.m.InvocationID)
		}
		for i, u := range k.uploads {
			if s.uploads[k.m.StreamIDs[i]] == u {
				delete(s.uploads, k.m.StreamIDs[i])
			}
		}
		s.mu.Unlock()
		for _, u := range k.uploads {
			u.abandon()
		}
		k.cancel(context.Canceled)
	}
	if k.frame != nil {
		k.method.release(k.frame)
		k.frame = nil
	}
	if k.buf != nil {
		k.m.Arguments.Bytes = nil
		putBuffer(k.buf)
		k.buf = nil
	}
}

// run runs the invocation to its end, on a goroutine of its own.
func (k *call) run() {
	s := k.calls
	defer s.conn.invocations.Done()
	defer s.conn.invoking.Add(-1)
	defer func() {
		if p := recover(); p != nil {
			k.answer(k.panicked(p))
		}
		k.release()
		s.mu.Lock()
		if k.slot {
			k.slot = false
			s.running--
		}
		s.schedule()
		s.mu.Unlock()
	}()
	err := k.invoke()
	if err == nil && k.stream.IsValid() {
		s.give(k)
		err = k.copyStream()
		k.finish(err)
		return
	}
	k.answer(err)
}

// panicked logs a panic and returns what stands for it.
func (k *call) panicked(p any) error {
	k.conn.server.log.Error("panic in a hub method", "hub", k.conn.server.name, "connection", k.conn.ID(), "method", k.m.Target,
		"invocation", k.m.InvocationID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return errPanic
}

// invoke runs the filters of the Server and the method.
func (k *call) invoke() error {
	filters := k.conn.server.chain.filters
	if len(filters) == 0 {
		return k.bind(k)
	}
	return chain{filters, binder{}}.invocation(k, k.conn, &k.m)
}

// binder stands at the end of the Server's filters.
type binder struct{ lifecycle }

func (binder) Message(ctx context.Context, _ *Connection, _ *protocol.Message) error {
	return FromContext(ctx).k.bind(ctx)
}

// bind decodes the arguments and goes on with the hub's own filters.
func (k *call) bind(ctx context.Context) error {
	if k.refusal != nil {
		return k.refusal
	}
	if k.frame != nil {
		return errTwice
	}
	k.frame = k.method.frames.Get().(*frame)
	if err := k.frame.decode(k.method, k.m.Arguments, k.m.ArgumentCount); err != nil {
		return err
	}
	if len(k.method.filters) == 0 {
		return k.call(ctx)
	}
	k.arguments = k.frame.arguments(k.method)
	return chain{k.method.filters, lifecycle{}}.invocation(ctx, k.conn, &k.m)
}

// errTwice: a filter called next again.
var errTwice = errors.New("a filter called next twice")

// call calls the method.
func (k *call) call(ctx context.Context) error {
	m := k.method
	if k.result.IsValid() || k.stream.IsValid() {
		return errTwice
	}
	upload := 0
	for i, p := range m.parameters {
		switch p.kind {
		case contextParameter:
			k.frame.parameter(i).Set(reflect.ValueOf(ctx))
		case uploadParameter:
			k.frame.parameter(i).Set(k.uploads[upload].parameter(ctx))
			upload++
		}
	}
	out := m.fn.Call(k.frame.in)
	if m.fails {
		if err, failed := out[len(out)-1].Interface().(error); failed {
			return err
		}
	}
	switch {
	case m.stream != noStream && out[0].IsNil():
		return exactErrorf("The value returned by the streaming method '%s' is not a ChannelReader<> or IAsyncEnumerable<>.", k.m.Target)
	case m.stream != noStream:
		k.stream = out[0]
	case m.returns != nil:
		k.result = out[0]
	}
	return nil
}

// answer completes the invocation with its result or the error.
func (k *call) answer(err error) {
	c := k.conn
	if err != nil {
		k.report(err)
	}
	if k.m.InvocationID == "" {
		return
	}
	m := k.outgoing(protocol.Completion)
	if err == nil {
		buf := getBuffer(256)
		defer putBuffer(buf)
		var v any
		if k.result.IsValid() {
			v = k.result.Interface()
		}
		if *buf, err = values.Append(*buf, c.proto.Encoding(), v); err == nil {
			m.Result = protocol.Raw{Encoding: c.proto.Encoding(), Bytes: *buf}
			err = c.sendFollowing(m)
			m.Result = protocol.Raw{}
		}
		if err == nil {
			return
		}
		k.report(err)
	}
	m.Error, m.HasError = k.text(err), true
	_ = c.sendFollowing(m) // has nothing that can't be encoded
}

// outgoing returns an empty message for the caller. It is the invocation's own,
// which nothing but its id and target is needed of by then.
func (k *call) outgoing(t protocol.Type) *protocol.Message {
	k.m = protocol.Message{Type: t, InvocationID: k.m.InvocationID, Target: k.m.Target, StreamIDs: k.m.StreamIDs}
	return &k.m
}

// report counts and logs an error that the client isn't told about.
func (k *call) report(err error) {
	var safe *Error
	if errors.As(err, &safe) {
		return
	}
	s := k.conn.server
	s.meter.Refused(RefusedInvocation)
	var binding *bindingError
	var exact *exactError
	switch {
	case errors.Is(err, errPanic), errors.Is(err, ErrUnauthorized), errors.As(err, &binding), errors.As(err, &exact), k.Err() != nil:
		s.log.Debug("invocation refused", "hub", s.name, "connection", k.conn.ID(), "method", k.m.Target, "invocation", k.m.InvocationID, "error", err)
	default:
		s.log.Error("hub method failed", "hub", s.name, "connection", k.conn.ID(), "method", k.m.Target, "invocation", k.m.InvocationID, "error", err)
	}
}

// text is what the caller is told (DefaultHubDispatcher of ASP.NET Core).
func (k *call) text(err error) string {
	detailed := k.conn.server.options.Load().EnableDetailedErrors
	head := "Failed to invoke '" + k.m.Target + "' due to an error on the server."
	var binding *bindingError
	var exact *exactError
	switch {
	case errors.As(err, &exact):
		return exact.text
	case errors.Is(err, ErrMoved), errors.Is(context.Cause(k), ErrMoved) && errors.Is(err, context.Canceled):
		return textMoved
	case errors.Is(err, errNoMethod):
		return head + " HubException: Method does not exist."
	case errors.Is(err, ErrUnauthorized):
		return "Failed to invoke '" + k.m.Target + "' because user is unauthorized"
	case errors.As(err, &binding):
		return withDetail(head, invalidData("%s", binding.text), detailed)
	}
	return InvocationError(k.m.Target, err, detailed)
}

// ErrUnauthorized makes a filter's or method's refusal the one that clients know
// for a user who may not call the method.
var ErrUnauthorized = errors.New("the user is unauthorized")

var errNoMethod = errors.New("the method does not exist")

// exactError is answered in exactly these words.
type exactError struct{ text string }

func (e *exactError) Error() string { return e.text }

func exactErrorf(format string, args ...any) error {
	return &exactError{fmt.Sprintf(format, args...)}
}
