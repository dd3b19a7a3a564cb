package appserver

import (
	"errors"
	"io"
	"strings"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// answersFor is how long an invocation of a client may wait for its answer.
const answersFor = 10 * time.Minute

// receive does what one message of the service asks. It must not block.
func (l *link) receive(m serviceprotocol.Message) {
	a := l.app
	switch m := m.(type) {
	case *serviceprotocol.Ping:
		l.receivePing(m)
	case *serviceprotocol.OpenConnection:
		a.open(l, m)
	case *serviceprotocol.CloseConnection:
		if c := a.client(l, m.ConnectionID); c != nil {
			c.closed(endOf(m))
		}
	case *serviceprotocol.ConnectionData:
		if c := a.client(l, m.ConnectionID); c != nil {
			c.feed(m.Payload)
		}
	case *serviceprotocol.ConnectionFlowControl:
		l.receiveFlow(m)
	case *serviceprotocol.Ack:
		a.acks.settle(m)
	case *serviceprotocol.ServiceError:
		a.log.Warn("the service reports an error", "hub", a.hubKey, "error", m.Message)
		l.setOffline()
	case *serviceprotocol.ServiceEvent:
		a.log.Warn("the service reports an event", "hub", a.hubKey, "object", int(m.Object), "id", m.ID, "kind", int(m.Kind), "message", m.Message)
	case *serviceprotocol.ClientInvocation:
		l.expect(m)
	case *serviceprotocol.ClientCompletion:
		a.completed(m)
	case *serviceprotocol.ErrorCompletion:
		a.failed(m)
	case *serviceprotocol.ServiceMapping:
		a.mapped(m)
	case *serviceprotocol.ConnectionReconnect, *serviceprotocol.UpdateConnectionClaims, *serviceprotocol.AccessKeyResponse, *serviceprotocol.Unknown:
		// Nothing of it concerns a hub: resending is between client and service.
	}
}

// endOf is what the end of a client is to the hub.
func endOf(m *serviceprotocol.CloseConnection) error {
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, serviceprotocol.HeaderMigrateTo) {
			return hubs.ErrMoved
		}
	}
	if m.Error != "" {
		return errors.New(m.Error)
	}
	return io.EOF
}

func (l *link) receivePing(m *serviceprotocol.Ping) {
	a := l.app
	if _, echo := m.Echo(); echo {
		l.post(m)
	}
	if target, ok := m.Target(); ok && target != "" {
		a.connectOnDemand(target)
	}
	if instance, ok := m.Offline(); ok {
		a.instanceGone(instance)
	}
	if m.ShutdownFinished() {
		l.mu.Lock()
		defer l.mu.Unlock()
		select {
		case <-l.finished:
		default:
			close(l.finished)
		}
	}
}

func (l *link) receiveFlow(m *serviceprotocol.ConnectionFlowControl) {
	switch {
	case m.Connection == serviceprotocol.FlowServer && m.Operation == serviceprotocol.FlowOffline:
		l.setOffline()
	case m.Connection != serviceprotocol.FlowClient:
	case m.Operation == serviceprotocol.FlowPause:
		if c := l.app.client(l, m.ConnectionID); c != nil {
			c.pause(l.movesClients())
		}
	case m.Operation == serviceprotocol.FlowResume:
		if c := l.app.client(l, m.ConnectionID); c != nil {
			c.resume(l.movesClients())
		}
	}
}

// movesClients reports whether a client that the service pauses is about to move:
// this app server goes, or the service's end of the connection does. Else the client
// is behind.
func (l *link) movesClients() bool {
	return l.app.stopping() && l.app.opt.Migration == MigrateClients || !l.usable()
}

// expect waits for the answer to an invocation that another app server has sent
// to a client of this one.
func (l *link) expect(m *serviceprotocol.ClientInvocation) {
	refuse := func(text string) {
		l.post(&serviceprotocol.ErrorCompletion{InvocationID: m.InvocationID, ConnectionID: m.ConnectionID, CallerServerID: m.CallerServerID, Error: text})
	}
	c, ok := l.app.hub.Connection(m.ConnectionID)
	if !ok {
		refuse(hubs.ErrNoConnection.Error())
		return
	}
	p := c.Protocol()
	err := c.ExpectAnswer(m.InvocationID, answersFor, func(answer hubs.ClientAnswer, err error) {
		if err != nil {
			refuse(err.Error())
			return
		}
		frame, err := p.Append(nil, &protocol.Message{
			Type: protocol.Completion, InvocationID: m.InvocationID, Result: answer.Result, Error: answer.Error, HasError: answer.HasError,
		})
		if err != nil {
			refuse(hubs.ErrAnswerLost.Error())
			return
		}
		l.post(&serviceprotocol.ClientCompletion{
			InvocationID: m.InvocationID, ConnectionID: m.ConnectionID, CallerServerID: m.CallerServerID, Protocol: p.Name(), Payload: frame,
		})
	})
	if err != nil {
		refuse(err.Error())
	}
}
