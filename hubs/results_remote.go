package hubs

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
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

// kindOf turns an answer into a kind and an argument.
func kindOf(a ClientAnswer) (string, protocol.Raw) {
	switch {
	case a.HasError:
		text, err := values.Encode(protocol.JSON, a.Error)
		if err != nil {
			return answerLost, protocol.Raw{}
		}
		return answerError, text
	case a.Result.Present():
		return answerValue, a.Result
	}
	return answerVoid, protocol.Raw{}
}

// asker puts questions to clients of other nodes and takes their answers, which
// come as entries: it is a Node without connections, and part of the hub while
// it waits for any.
type asker struct {
	backplane func() Backplane
	run       string // begins the ids of invocations
	called    atomic.Uint64

	// joining is held while asking and leave change and the hub is joined or left;
	// it is a channel so that waiting obeys a context.
	joining chan struct{}
	asking  int
	leave   func()

	mu      sync.Mutex
	waiting map[string]awaited // by invocation id
}

type awaited struct {
	*pendingResult
	connection string
}

var _ Selective = (*asker)(nil)

func newAsker(b func() Backplane) *asker {
	return &asker{backplane: b, run: rand.Text()[:10], joining: make(chan struct{}, 1), waiting: make(map[string]awaited)}
}

// newID returns the id of an invocation; no other node has the same.
func (a *asker) newID() string { return a.run + strconv.FormatUint(a.called.Add(1), 36) }

// enter joins the hub unless it is joined.
func (a *asker) enter(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, subscribeTimeout)
	defer cancel()
	select {
	case a.joining <- struct{}{}:
		defer func() { <-a.joining }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if a.asking == 0 {
		leave, err := a.backplane().Subscribe(ctx, a)
		if err != nil {
			return err
		}
		a.leave = leave
	}
	a.asking++
	return nil
}

// exit leaves the hub when nobody waits any more.
func (a *asker) exit() {
	a.joining <- struct{}{}
	defer func() { <-a.joining }()
	if a.asking--; a.asking == 0 {
		a.leave()
		a.leave = nil
	}
}

func (a *asker) add(id string, r awaited) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, taken := a.waiting[id]; taken {
		return errTakenInvocation
	}
	a.waiting[id] = r
	return nil
}

func (a *asker) remove(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, id)
}

// askRemote asks a connection of another node.
func (h Context) askRemote(ctx context.Context, q question, r *pendingResult) (forget func(), err error) {
	m, err := q.message()
	if err != nil {
		return nil, err
	}
	a := h.asker
	if err := a.enter(ctx); err != nil {
		return nil, err
	}
	if err := a.add(q.id, awaited{r, q.connection}); err != nil {
		a.exit()
		return nil, err
	}
	forget = func() {
		a.remove(q.id)
		a.exit()
	}
	at, matched, err := h.backplane().Command(ctx, &Entry{
		Kind: InvokeConnection, Connections: []string{q.connection}, Reason: q.id, Message: m,
		TTLSeconds: int64((patienceOf(ctx) + time.Second - 1) / time.Second),
	}, PublishOptions{Charge: q.charge, Origin: h.origin})
	h.note(at, err)
	switch {
	case errors.Is(err, ErrUnanswered) && matched > 0:
		err = nil // a connection is in one place, and that place has answered
	case err != nil:
	case matched == 0:
		err = missing(q.connection)
	}
	if err == nil && matched > 1 {
		err = ErrManyInvocations
	}
	if err != nil {
		forget()
		return nil, err
	}
	return forget, nil
}

// Apply gives an answer to who waits for it here. It implements Node.
func (a *asker) Apply(e *Entry) (matched int) {
	if e.Kind != ClientResult || len(e.Connections) != 1 || e.Message == nil {
		return 0
	}
	a.mu.Lock()
	r, ok := a.waiting[e.Reason]
	a.mu.Unlock()
	if !ok || r.connection != e.Connections[0] {
		return 0
	}
	value, present := first(e.Message.Arguments)
	r.once.Do(func() {
		switch {
		case e.Message.Target == answerVoid:
			r.settle(ClientAnswer{}, nil)
		case e.Message.Target == answerValue && present:
			r.settle(ClientAnswer{Result: value}, nil)
		case e.Message.Target == answerError && present:
			var text string
			err := values.Decode(value, &text)
			r.settle(ClientAnswer{Error: text, HasError: true}, err)
		case e.Message.Target == answerGone:
			r.settle(ClientAnswer{}, disconnected(r.connection))
		default:
			r.settle(ClientAnswer{}, ErrAnswerLost)
		}
	})
	return 1
}

// Answer has no connections to count. It implements Node.
func (*asker) Answer(Query) int { return 0 }

// List has no connections to list. It implements Node.
func (*asker) List(ListQuery) Page { return Page{} }

// Begins implements Node.
func (*asker) Begins(Position) {}

// Members implements Selective: answers are where all nodes get them.
func (*asker) Members(func(string) bool) {}

// Joins implements Selective.
func (*asker) Joins(*Entry) bool { return false }

// Rests implements Selective.
func (*asker) Rests(string) {}

// Lost ends all waits: answers may be among what is lost. It implements Node.
func (a *asker) Lost(Gap) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.waiting {
		r.fail(ErrAnswerLost)
	}
}

func first(arguments protocol.Raw) (protocol.Raw, bool) {
	all := slices.Collect(protocol.Elements(arguments))
	if len(all) == 0 {
		return protocol.Raw{}, false
	}
	return all[0], true
}

// askNamed puts another node's question to a connection of this one.
func (s *Server) askNamed(e *Entry) (matched int) {
	if len(e.Connections) != 1 || e.Message == nil {
		return 0
	}
	c := s.store.find(e.Connections[0])
	if c == nil || c.isEnding() {
		return 0
	}
	invocation := e.Reason
	frame, err := invocationFrame(e.Message, invocation, c.proto)
	if err != nil {
		s.log.Error("invocation of a client can't be encoded", "hub", s.name, "connection", c.ID(), "error", err)
		return 0
	}
	patience := answerPatience
	if e.TTLSeconds > 0 {
		patience = min(time.Duration(min(e.TTLSeconds, 3600))*time.Second, answerPatience)
	}
	r := &pendingResult{until: clock() + int64(patience), settle: func(a ClientAnswer, err error) {
		if err != nil {
			c.forward(invocation, answerGone, protocol.Raw{})
			return
		}
		kind, value := kindOf(a)
		c.forward(invocation, kind, value)
	}}
	switch err := c.callsOf().expect(invocation, r); {
	case errors.Is(err, ErrManyInvocations):
		return 2
	case err != nil:
		return 0
	}
	if c.enqueue(queued{frame: frame, units: Units(len(frame)), tally: s.tally(e)}) {
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
		_, err := s.Backplane().Publish(ctx, e, PublishOptions{})
		if err != nil && kind == answerValue {
			s.log.Warn("answer of a client can't be published", "hub", s.name, "connection", c.ID(), "error", err)
			e.Message = &Broadcast{Target: answerLost, Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: []byte("[]")}}
			_, err = s.Backplane().Publish(ctx, e, PublishOptions{})
		}
		if err != nil {
			s.log.Warn("end of a client's answer can't be published", "hub", s.name, "connection", c.ID(), "error", err)
		}
	})
}
