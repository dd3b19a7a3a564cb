package appserver

import (
	"context"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// question is an invocation of another app server's client that waits for its
// answer.
type question struct {
	connection string
	link       *link
	instance   string // service instance that has the client, once it is known
	forget     func() bool
}

// maxQuestions bounds the invocations of clients that wait for an answer.
const maxQuestions = 10_000

// ask invokes a client. One of this app server answers like any other of its
// messages; for another the service brings the answer.
func (b *bus) ask(ctx context.Context, l *link, e *hubs.Entry) (matched int, err error) {
	if len(e.Connections) != 1 || e.Message == nil {
		return 0, nil
	}
	id := e.Connections[0]
	if _, here := b.app.linkOf(id); here {
		return b.apply(e), nil
	}
	payloads, err := invocationPayloads(e)
	if err != nil {
		return 0, err
	}
	b.mu.Lock()
	if b.questions == nil {
		b.questions = make(map[string]*question)
	}
	full := len(b.questions) >= maxQuestions
	if !full {
		// Nobody waits any more when ctx is done.
		forget := context.AfterFunc(ctx, func() { b.take(e.Reason) })
		b.questions[e.Reason] = &question{connection: id, link: l, forget: forget}
	}
	b.mu.Unlock()
	if full {
		return 2, nil // which says that there are too many
	}
	err = l.send(ctx, &serviceprotocol.ClientInvocation{
		InvocationID: e.Reason, ConnectionID: id, CallerServerID: b.app.serverID, Payloads: payloads,
	})
	if err != nil {
		b.take(e.Reason)
		return 0, err
	}
	return 1, nil
}

// invocationPayloads frames the invocation of a client in every protocol.
func invocationPayloads(e *hubs.Entry) ([]serviceprotocol.Payload, error) {
	if len(e.Message.Frames) > 0 {
		return payloadsOf(e.Message)
	}
	var payloads []serviceprotocol.Payload
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		frame, err := p.Append(nil, &protocol.Message{
			Type: protocol.Invocation, InvocationID: e.Reason, Target: e.Message.Target, Arguments: e.Message.Arguments,
		})
		if err != nil {
			return nil, err
		}
		payloads = append(payloads, serviceprotocol.Payload{Protocol: p.Name(), Data: frame})
	}
	return payloads, nil
}

// take removes a question.
func (b *bus) take(id string) *question {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.questions[id]
	if q != nil {
		delete(b.questions, id)
		q.forget()
	}
	return q
}

// settle gives the answer to who asked.
func (b *bus) settle(id string, a hubs.ClientAnswer, err error) {
	if q := b.take(id); q != nil {
		b.apply(hubs.AnswerEntry(q.connection, id, a, err))
	}
}

// lose ends the questions whose answers can't come.
func (b *bus) lose(gone func(*question) bool) {
	b.mu.Lock()
	lost := map[string]*question{}
	for id, q := range b.questions {
		if gone(q) {
			lost[id] = q
			delete(b.questions, id)
			q.forget()
		}
	}
	b.mu.Unlock()
	for id, q := range lost {
		b.apply(hubs.AnswerEntry(q.connection, id, hubs.ClientAnswer{}, hubs.ErrAnswerLost))
	}
}

// completed takes a client's answer. For a client of this app server, which has
// answered already, the payload is empty.
func (a *App) completed(m *serviceprotocol.ClientCompletion) {
	p, known := protocol.ByName(m.Protocol)
	if len(m.Payload) == 0 || !known {
		return
	}
	var completion protocol.Message
	if n, err := p.Parse(m.Payload, &completion); err != nil || n == 0 || completion.Type != protocol.Completion {
		a.bus.settle(m.InvocationID, hubs.ClientAnswer{}, hubs.ErrAnswerLost)
		return
	}
	a.bus.settle(m.InvocationID, hubs.ClientAnswer{Result: completion.Result, Error: completion.Error, HasError: completion.HasError}, nil)
}

// failed takes the reason why there is no answer.
func (a *App) failed(m *serviceprotocol.ErrorCompletion) {
	a.bus.settle(m.InvocationID, hubs.ClientAnswer{Error: m.Error, HasError: true}, nil)
}

// mapped notes which service instance has a client that is asked.
func (a *App) mapped(m *serviceprotocol.ServiceMapping) {
	a.bus.mu.Lock()
	defer a.bus.mu.Unlock()
	if q := a.bus.questions[m.InvocationID]; q != nil {
		q.instance = m.InstanceID
	}
}
