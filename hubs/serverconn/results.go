package serverconn

import (
	"context"
	"errors"
	"sync"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	sp "github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// A client's result goes from the client's edge straight to the app server that
// asked, whichever app server the client is paired with: its Completion is taken
// out of what that one gets. So nothing is passed on to it, and nobody needs to be
// told which node has the client.

// maxInvocations is how many results one server connection may wait for.
const maxInvocations = 1000

// invoke asks a client for an answer, in the order of the flow.
func (k *connection) invoke(m *sp.ClientInvocation) error {
	err := errors.Join(
		checkNames(hubs.CheckConnectionID, m.ConnectionID),
		checkText("invocation id", m.InvocationID, maxInvocation),
		checkText("caller's server id", m.CallerServerID, maxServer),
	)
	var message *hubs.Broadcast
	var size int
	if err == nil {
		message, size, err = broadcast(m.Payloads, m.InvocationID, k.admission.Limits().MaxMessageBytes, &k.scratch)
	}
	if err == nil && k.results.Add(1) > maxInvocations {
		k.results.Add(-1)
		err = refuse(codeInvocations, "%d invocations of clients wait for an answer on this server connection", maxInvocations)
	}
	if err != nil {
		k.completeError(m, err)
		return nil
	}
	done := func() { k.results.Add(-1) }
	spellOut(message, &k.scratch)
	if ok, err := k.admit(m, nil, nil, hubs.Units(size)); !ok {
		done()
		k.completeError(m, errors.New("the tenant may send no messages"))
		return err
	}
	if err := k.flow.settled(k.ctx); err != nil {
		done()
		return err
	}
	after, err := k.flow.position(k.ctx)
	if err != nil {
		done()
		return err
	}
	asked := make(chan struct{})
	k.work.Go(func() {
		defer done()
		answer, err := hubs.NewContext(k.admission.Backplane()).InvokeConnection(k.ctx, hubs.ClientInvocation{
			Connection: m.ConnectionID, ID: m.InvocationID, Message: message, After: after, Charge: hubs.Units(size),
			Asked: sync.OnceFunc(func() { close(asked) }),
		})
		k.complete(m, answer, err)
	})
	select {
	case <-asked: // what is published now comes behind the question
		return nil
	case <-k.ctx.Done():
		return context.Cause(k.ctx)
	}
}

// complete passes an answer on to the app server.
func (k *connection) complete(m *sp.ClientInvocation, answer hubs.ClientAnswer, err error) {
	if err != nil {
		k.completeError(m, err)
		return
	}
	p := resultProtocol(m.Payloads, answer.Result)
	frame, err := p.Append(nil, &protocol.Message{
		Type: protocol.Completion, InvocationID: m.InvocationID, Result: answer.Result, Error: answer.Error, HasError: answer.HasError,
	})
	if err != nil {
		k.completeError(m, errors.New("the client's answer can't be transcoded"))
		return
	}
	k.out.force(&sp.ClientCompletion{
		InvocationID: m.InvocationID, ConnectionID: m.ConnectionID, CallerServerID: m.CallerServerID, Protocol: p.Name(), Payload: frame,
	})
}

// resultProtocol is the hub protocol of the answer's notation when the app server
// knows it, else one that it does know.
func resultProtocol(payloads []sp.Payload, result protocol.Raw) protocol.Protocol {
	var first protocol.Protocol
	for _, payload := range payloads {
		p, ok := protocol.ByName(payload.Protocol)
		if !ok {
			continue
		}
		if result.Present() && p.Encoding() == result.Encoding {
			return p
		}
		if first == nil {
			first = p
		}
	}
	return first
}

// completeError tells the app server why there is no answer.
func (k *connection) completeError(m *sp.ClientInvocation, err error) {
	if k.ctx.Err() != nil {
		return
	}
	text := "The client could not be asked."
	var r *refusal
	switch {
	case errors.As(err, &r):
		text = r.Error()
		k.admission.Refused(r.code)
	case errors.Is(err, hubs.ErrNoConnection):
		text = "Connection '" + m.ConnectionID + "' does not exist."
	case errors.Is(err, hubs.ErrDisconnected):
		text = "Connection '" + m.ConnectionID + "' disconnected."
	case errors.Is(err, hubs.ErrManyInvocations):
		text = codeInvocations + ": too many invocations of the client wait for an answer."
		k.admission.Refused(codeInvocations)
	case errors.Is(err, hubs.ErrAnswerLost):
		text = "The client's answer could not be carried to this app server."
	case errors.Is(err, context.DeadlineExceeded):
		text = "The client has not answered within 10 minutes."
	default:
		k.log.Warn("client not asked", "error", err)
		k.admission.Refused(codeUnavailable)
	}
	k.out.force(&sp.ErrorCompletion{
		InvocationID: m.InvocationID, ConnectionID: m.ConnectionID, CallerServerID: m.CallerServerID, Error: text,
	})
}
