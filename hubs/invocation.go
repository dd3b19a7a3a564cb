package hubs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// answerPatience is how long an answer is waited for at most, in a Context
// without a nearer deadline too.
const answerPatience = 10 * time.Minute

// ClientInvocation is an invocation that one client of a hub is to answer.
type ClientInvocation struct {
	Connection string // id
	// ID is the invocation's id: no two of a connection may have the same at a
	// time. Empty = one is made, which Frames can't know.
	ID string
	// Message is what is invoked. Its Frames, if there are any, are invocations
	// with the ID; clients of other hub protocols need Target and Arguments.
	Message *Broadcast
	// After, with a Server's Context, is what a client of this node gets before
	// the invocation.
	After Position
	// Charge is how many accepted messages the invocation is metered as when it is
	// published, which it is unless the client is connected to the Context's Server.
	Charge int
	// Asked, when set, is called once the invocation has its place in the hub's
	// order, or when it is clear that it won't have one.
	Asked func()
}

// ClientAnswer is what a client answered.
type ClientAnswer struct {
	// Result is in the encoding of the client's hub protocol; it isn't Present
	// when the client's method has no result.
	Result   protocol.Raw
	Error    string // when HasError
	HasError bool
}

// InvokeConnection invokes a method of one client, on whatever node it is and
// whoever handles its messages, and returns its answer: the raw form of Invoke.
// A Completion with the invocation's id never reaches the client's handler.
//
// Errors: ErrNoConnection, ErrDisconnected, ErrManyInvocations, ErrAnswerLost,
// those of a Backplane, and the cause of ctx. It ends after 10 minutes at the
// latest; the client isn't told when it ends.
func (h Context) InvokeConnection(ctx context.Context, v ClientInvocation) (ClientAnswer, error) {
	asked := sync.OnceFunc(func() {
		if v.Asked != nil {
			v.Asked()
		}
	})
	defer asked()
	if v.Message == nil || v.Message.Target == "" && len(v.Message.Frames) == 0 {
		return ClientAnswer{}, errors.New("invoke a client: there is no message")
	}
	if v.ID == "" && len(v.Message.Frames) > 0 {
		return ClientAnswer{}, errors.New("invoke a client: frames need the invocation's id")
	}
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	var answer ClientAnswer
	wait := newWait(func(a ClientAnswer) error {
		a.Result = a.Result.Clone()
		answer = a
		return nil
	})
	forget, err := h.ask(ctx, question{
		connection: v.Connection, id: v.ID, after: v.After, charge: v.Charge,
		frame:   func(id string, p protocol.Protocol) ([]byte, error) { return invocationFrame(v.Message, id, p) },
		message: func() (*Broadcast, error) { return v.Message, nil },
	}, wait.pending(ctx))
	if err != nil {
		return ClientAnswer{}, err
	}
	defer forget()
	asked()
	if err := wait.over(ctx); err != nil {
		return ClientAnswer{}, err
	}
	return answer, nil
}

// patienceOf is how long an answer is waited for.
func patienceOf(ctx context.Context) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return min(time.Until(end), answerPatience)
	}
	return answerPatience
}

// invocationFrame returns the invocation of a client in p.
func invocationFrame(m *Broadcast, id string, p protocol.Protocol) ([]byte, error) {
	if f, ready := m.Frames[p.Name()]; ready {
		return f, nil
	}
	if m.Target == "" {
		return nil, fmt.Errorf("the invocation has no frame for hub protocol %q", p.Name())
	}
	return p.Append(nil, &protocol.Message{Type: protocol.Invocation, InvocationID: id, Target: m.Target, Arguments: m.Arguments})
}

// question is an invocation on its way to a client of this node, as a frame, or
// of another, as a message.
type question struct {
	connection, id string
	after          Position
	charge         int
	frame          func(id string, p protocol.Protocol) ([]byte, error)
	message        func() (*Broadcast, error)
}

// ask puts q to its connection. forget ends the wait.
func (h Context) ask(ctx context.Context, q question, r *pendingResult) (forget func(), err error) {
	if err := CheckConnectionID(q.connection); err != nil {
		return nil, err
	}
	if q.id == "" {
		q.id = h.asker.newID()
	}
	if h.server != nil {
		if c, here := h.server.Connection(q.connection); here {
			return h.askHere(ctx, c, q, r)
		}
	}
	return h.askRemote(ctx, q, r)
}

// askHere asks a connection of this node.
func (h Context) askHere(ctx context.Context, c *Connection, q question, r *pendingResult) (forget func(), err error) {
	frame, err := q.frame(q.id, c.proto)
	if err != nil {
		return nil, err
	}
	if h.origin != nil && h.origin != c {
		c.follow(h.origin.followed())
	}
	if q.after.Number > 0 {
		c.follow(q.after)
	}
	own := c.callsOf()
	if err := own.expect(q.id, r); err != nil {
		return nil, err
	}
	forget = func() { own.forget(q.id) }
	switch err := c.awaitHalf(ctx); {
	case errors.Is(err, errEnded):
		return forget, nil // which r is told
	case err != nil:
		forget()
		return nil, err
	}
	c.SendAfter(c.followed(), frame, true)
	return forget, nil
}
