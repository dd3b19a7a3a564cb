package hubs

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
)

// A client of another node is asked by an InvokeConnection entry, whose answer
// comes back as a ClientResult entry. Both go through the hub's order, so the
// question follows what was published before it. Only the node that has the
// connection forwards, and only for questions that it has put to that very
// connection: a client can't answer for another.

// The kinds of a ClientResult, in its Message.Target. Its one argument is the
// value or the error's text.
const (
	answerValue = "value"
	answerVoid  = "void"
	answerError = "error"
	answerGone  = "gone" // the connection ended
	answerLost  = "lost" // there is an answer that can't be carried
)

// answerOf turns the client's completion into a kind and an argument.
func answerOf(m *protocol.Message) (string, protocol.Raw) {
	switch {
	case m.HasError:
		text, err := values.Encode(protocol.JSON, m.Error)
		if err != nil {
			return answerLost, protocol.Raw{}
		}
		return answerError, text
	case m.Result.Present():
		return answerValue, m.Result
	}
	return answerVoid, protocol.Raw{}
}

// remoteResults are the answers that a Server awaits from clients of other nodes.
type remoteResults struct {
	mu      sync.Mutex
	waiting map[string]remoteResult // by invocation id
}

type remoteResult struct {
	*pendingResult
	connection string
}

func (w *remoteResults) add(invocation string, r remoteResult) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == nil {
		w.waiting = make(map[string]remoteResult)
	}
	w.waiting[invocation] = r
}

func (w *remoteResults) remove(invocation string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting, invocation)
}

// askRemote asks a connection of another node. forget ends the wait.
func (t Target) askRemote(ctx context.Context, invocation, method string, args []any, r *pendingResult) (forget func(), err error) {
	s, id := t.hub.server, t.entry.Connections[0]
	if id == "" {
		return nil, errNoName
	}
	raw, err := values.Portable(args...)
	if err != nil {
		return nil, err
	}
	// The answer comes as an entry, also to a node without connections.
	if err := s.subscribe(ctx); err != nil {
		return nil, err
	}
	s.remote.add(invocation, remoteResult{r, id})
	matched, err := t.hub.command(ctx, &Entry{
		Kind: InvokeConnection, Connections: []string{id}, Reason: invocation,
		Message: &Broadcast{Target: method, Arguments: raw},
	})
	switch {
	case err != nil:
	case matched == 0:
		err = missing(id)
	case matched > 1:
		err = errManyCalls
	}
	if err != nil {
		s.remote.remove(invocation)
		return nil, err
	}
	return func() { s.remote.remove(invocation) }, nil
}

// askNamed puts another node's question to a connection of this one.
func (s *Server) askNamed(e *Entry) (matched int) {
	if len(e.Connections) != 1 || e.Message == nil {
		return 0
	}
	c := s.store.find(e.Connections[0])
	if _, ok := s.chain.dispatcher.(*methods); !ok || c == nil || c.isEnding() {
		return 0
	}
	invocation := e.Reason
	frame, err := c.proto.Append(nil, &protocol.Message{Type: protocol.Invocation, InvocationID: invocation, Target: e.Message.Target, Arguments: e.Message.Arguments})
	if err != nil {
		s.log.Error("invocation of a client can't be encoded", "hub", s.name, "connection", c.ID(), "error", err)
		return 0
	}
	r := &pendingResult{forward: func(kind string, value protocol.Raw) { c.forward(invocation, kind, value) }}
	if err := c.callsOf().expect(invocation, r); err != nil {
		if err == errManyCalls { //nolint:errorlint // it is returned as it is
			return 2
		}
		return 0
	}
	if c.enqueue(queued{frame: frame, units: Units(len(frame))}) {
		writers.schedule(c)
	}
	return 1
}

// forwardWithin bounds the way of an answer into the Backplane.
const forwardWithin = 5 * time.Second

// forward publishes the client's answer. The reader calls it.
func (c *Connection) forward(invocation, kind string, value protocol.Raw) {
	arguments := []protocol.Raw{}
	if value.Present() {
		arguments = append(arguments, value)
	}
	raw, err := protocol.NewArguments(value.Encoding, arguments...)
	if err != nil {
		kind, raw = answerLost, protocol.Raw{Encoding: protocol.JSON, Bytes: []byte("[]")}
	}
	s := c.server
	c.invocations.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), forwardWithin)
		defer cancel()
		e := &Entry{Kind: ClientResult, Connections: []string{c.ID()}, Reason: invocation, Message: &Broadcast{Target: kind, Arguments: raw}}
		_, err := s.backplane.Publish(ctx, e, PublishOptions{})
		if err != nil && kind == answerValue {
			s.log.Warn("answer of a client can't be published", "hub", s.name, "connection", c.ID(), "error", err)
			e.Message = &Broadcast{Target: answerLost, Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: []byte("[]")}}
			_, err = s.backplane.Publish(ctx, e, PublishOptions{})
		}
		if err != nil {
			s.log.Warn("end of a client's answer can't be published", "hub", s.name, "connection", c.ID(), "error", err)
		}
	})
}

// takeResult gives an answer to who waits for it here.
func (s *Server) takeResult(e *Entry) (matched int) {
	if len(e.Connections) != 1 || e.Message == nil {
		return 0
	}
	s.remote.mu.Lock()
	r, ok := s.remote.waiting[e.Reason]
	s.remote.mu.Unlock()
	if !ok || r.connection != e.Connections[0] {
		return 0
	}
	value, present := first(e.Message.Arguments)
	r.once.Do(func() {
		defer close(r.done)
		switch {
		case e.Message.Target == answerVoid:
		case e.Message.Target == answerValue && present:
			r.decode(value)
		case e.Message.Target == answerError && present:
			var text string
			if r.err = values.Decode(value, &text); r.err == nil {
				r.err = NewError(text)
			}
		case e.Message.Target == answerGone:
			r.err = disconnected(r.connection)
		default:
			r.err = errAnswerLost
		}
	})
	return 1
}

func first(arguments protocol.Raw) (protocol.Raw, bool) {
	all := slices.Collect(protocol.Elements(arguments))
	if len(all) == 0 {
		return protocol.Raw{}, false
	}
	return all[0], true
}
