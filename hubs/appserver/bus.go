package appserver

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// bus is the hubs.Backplane behind which the service is: entries become its
// messages. It has no positions; order is that of one server connection.
type bus struct {
	app *App

	nodes     sync.Mutex // held while Nodes are called, too
	listeners []*listener

	mu        sync.Mutex
	questions map[string]*question // by invocation id
}

type listener struct{ hubs.Node }

var _ hubs.Backplane = (*bus)(nil)

// errUnsupported: the service has no message for it.
var errUnsupported = errors.New("not available behind the service")

// Subscribe implements hubs.Backplane. Nodes get the answers of clients, and
// what concerns clients of this app server alone.
func (b *bus) Subscribe(_ context.Context, n hubs.Node) (leave func(), err error) {
	own := &listener{n}
	b.nodes.Lock()
	defer b.nodes.Unlock()
	b.listeners = append(b.listeners, own)
	return func() {
		b.nodes.Lock()
		defer b.nodes.Unlock()
		for i, l := range b.listeners {
			if l == own {
				b.listeners = append(b.listeners[:i:i], b.listeners[i+1:]...)
				return
			}
		}
	}, nil
}

// apply gives an entry to the nodes of this process.
func (b *bus) apply(e *hubs.Entry) (matched int) {
	b.nodes.Lock()
	defer b.nodes.Unlock()
	for _, l := range b.listeners {
		matched += l.Apply(e)
	}
	return matched
}

// UserGroups implements hubs.Backplane: the service keeps them.
func (b *bus) UserGroups(context.Context, string) ([]hubs.UserGroup, error) { return nil, nil }

// Publish implements hubs.Backplane.
func (b *bus) Publish(ctx context.Context, e *hubs.Entry, o hubs.PublishOptions) (hubs.Position, error) {
	p, _, err := b.Command(ctx, e, o)
	return p, err
}

// Command implements hubs.Backplane. A send matches nothing that is known.
func (b *bus) Command(ctx context.Context, e *hubs.Entry, o hubs.PublishOptions) (hubs.Position, int, error) {
	if e.Kind == hubs.ClientResult {
		return hubs.Position{}, b.apply(e), nil // the asker is here
	}
	l, err := b.route(ctx, e, o)
	if err != nil {
		return hubs.Position{}, 0, err
	}
	var matched int
	switch e.Kind {
	case hubs.SendToAll, hubs.SendToGroups, hubs.SendToUsers, hubs.SendToConnections:
		err = b.send(ctx, l, e)
	case hubs.InvokeConnection:
		matched, err = b.ask(ctx, l, e)
	case hubs.CloseConnections:
		matched, err = b.close(ctx, l, e)
	default:
		matched, err = b.group(ctx, l, e)
	}
	return hubs.Position{}, matched, err
}

// route finds the server connection for an entry: that of the client whose
// method publishes, behind what the method has sent to its caller; else that of
// the one client it is for; else always the same.
func (b *bus) route(ctx context.Context, e *hubs.Entry, o hubs.PublishOptions) (*link, error) {
	if o.Origin != nil {
		if err := o.Origin.AwaitWritten(ctx); err != nil {
			return nil, err
		}
		if l, ok := b.app.linkOf(o.Origin.ID()); ok && l.usable() {
			return l, nil
		}
	}
	return b.app.primary()
}

// send sends the message of an entry.
func (b *bus) send(ctx context.Context, l *link, e *hubs.Entry) error {
	if e.Message == nil {
		return nil
	}
	var protocols []protocol.Protocol
	if e.Kind == hubs.SendToConnections && len(e.Connections) == 1 {
		if c, here := b.app.hub.Connection(e.Connections[0]); here {
			protocols = []protocol.Protocol{c.Protocol()}
		}
	}
	payloads, err := payloadsOf(e.Message, protocols...)
	if err != nil {
		return err
	}
	switch e.Kind {
	case hubs.SendToAll:
		return l.send(ctx, &serviceprotocol.BroadcastData{Excluded: e.Excluded, Payloads: payloads})
	case hubs.SendToGroups:
		if len(e.Groups) == 1 {
			return l.send(ctx, &serviceprotocol.GroupBroadcastData{Group: e.Groups[0], Excluded: e.Excluded, ExcludedUsers: e.ExcludedUsers, Payloads: payloads})
		}
		if len(e.Excluded)+len(e.ExcludedUsers) > 0 {
			return fmt.Errorf("send to several groups except some connections: %w", errUnsupported)
		}
		return l.send(ctx, &serviceprotocol.MultiGroupBroadcastData{Groups: e.Groups, Payloads: payloads})
	case hubs.SendToUsers:
		if len(e.Users) == 1 {
			return l.send(ctx, &serviceprotocol.UserData{UserID: e.Users[0], Payloads: payloads})
		}
		return l.send(ctx, &serviceprotocol.MultiUserData{UserIDs: e.Users, Payloads: payloads})
	default:
		return l.send(ctx, &serviceprotocol.MultiConnectionData{ConnectionIDs: e.Connections, Payloads: payloads})
	}
}

// payloadsOf frames a message in the given protocols, or in all.
func payloadsOf(m *hubs.Broadcast, protocols ...protocol.Protocol) ([]serviceprotocol.Payload, error) {
	if len(protocols) == 0 {
		protocols = []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()}
	}
	payloads := make([]serviceprotocol.Payload, 0, len(protocols))
	for _, p := range protocols {
		frame, err := m.Frame(p)
		if err != nil {
			return nil, err
		}
		payloads = append(payloads, serviceprotocol.Payload{Protocol: p.Name(), Data: frame})
	}
	return payloads, nil
}

// group changes memberships and waits for the service's answer.
func (b *bus) group(ctx context.Context, l *link, e *hubs.Entry) (matched int, err error) {
	names := e.Groups
	if e.Kind == hubs.RemoveFromAllGroups || e.Kind == hubs.RemoveUserFromGroups {
		names = []string{""} // which is all
	}
	for _, id := range append(append([]string(nil), e.Connections...), e.Users...) {
		for _, name := range names {
			message, err := groupMessage(e, id, name)
			if err != nil {
				return matched, err
			}
			n, err := b.app.command(ctx, l, message)
			if err != nil {
				return matched, err
			}
			matched += n
		}
	}
	return matched, nil
}

// groupMessage makes the message of one membership.
func groupMessage(e *hubs.Entry, id, group string) (func(int32) serviceprotocol.Message, error) {
	var message func(ackID int32) serviceprotocol.Message
	switch e.Kind {
	case hubs.AddToGroup:
		if e.Conflate != nil {
			return nil, fmt.Errorf("conflation from behind the service: %w", errUnsupported)
		}
		message = func(n int32) serviceprotocol.Message {
			return &serviceprotocol.JoinGroupWithAck{ConnectionID: id, Group: group, AckID: n}
		}
	case hubs.RemoveFromGroup, hubs.RemoveFromAllGroups:
		message = func(n int32) serviceprotocol.Message {
			return &serviceprotocol.LeaveGroupWithAck{ConnectionID: id, Group: group, AckID: n}
		}
	case hubs.AddUserToGroup:
		message = func(n int32) serviceprotocol.Message {
			m := &serviceprotocol.UserJoinGroupWithAck{UserID: id, Group: group, AckID: n}
			if e.TTLSeconds >= 0 {
				m.HasTTL, m.TTL = true, int32(min(e.TTLSeconds, 1<<31-1))
			}
			return m
		}
	case hubs.RemoveUserFromGroup, hubs.RemoveUserFromGroups:
		message = func(n int32) serviceprotocol.Message {
			return &serviceprotocol.UserLeaveGroupWithAck{UserID: id, Group: group, AckID: n}
		}
	default:
		return nil, fmt.Errorf("entry of kind %d: %w", e.Kind, errUnsupported)
	}
	return message, nil
}

// close ends clients: of this app server directly, by the service's hand else.
func (b *bus) close(ctx context.Context, l *link, e *hubs.Entry) (matched int, err error) {
	commands := []func(int32) serviceprotocol.Message{}
	switch {
	case len(e.Connections) > 0:
		own := *e
		own.Connections = nil
		for _, id := range e.Connections {
			if _, here := b.app.linkOf(id); here {
				own.Connections = append(own.Connections, id)
				continue
			}
			if err := l.send(ctx, &serviceprotocol.CloseConnection{ConnectionID: id, Error: e.Reason}); err != nil {
				return matched, err
			}
			matched++
		}
		if len(own.Connections) > 0 {
			matched += b.apply(&own)
		}
		return matched, nil
	case len(e.Users) > 0:
		for _, user := range e.Users {
			commands = append(commands, func(n int32) serviceprotocol.Message {
				return &serviceprotocol.CloseUserConnectionsWithAck{UserID: user, Reason: e.Reason, AckID: n, Excluded: e.Excluded}
			})
		}
	case len(e.Groups) > 0:
		for _, group := range e.Groups {
			commands = append(commands, func(n int32) serviceprotocol.Message {
				return &serviceprotocol.CloseGroupConnectionsWithAck{Group: group, Reason: e.Reason, AckID: n, Excluded: e.Excluded}
			})
		}
	default:
		commands = append(commands, func(n int32) serviceprotocol.Message {
			return &serviceprotocol.CloseConnectionsWithAck{Reason: e.Reason, AckID: n, Excluded: e.Excluded}
		})
	}
	for _, command := range commands {
		n, err := b.app.command(ctx, l, command)
		if err != nil {
			return matched, err
		}
		matched += n
	}
	return matched, nil
}

// Ask implements hubs.Backplane: the service tells whether there is one, not how
// many.
func (b *bus) Ask(ctx context.Context, q hubs.Query) (int, error) {
	var question func(ackID int32) serviceprotocol.Message
	switch q.Kind {
	case hubs.CountConnection:
		question = func(n int32) serviceprotocol.Message {
			return &serviceprotocol.CheckConnectionExistenceWithAck{ConnectionID: q.Name, AckID: n}
		}
	case hubs.CountGroup:
		question = func(n int32) serviceprotocol.Message {
			return &serviceprotocol.CheckGroupExistenceWithAck{Group: q.Name, AckID: n}
		}
	case hubs.CountUser:
		question = func(n int32) serviceprotocol.Message {
			return &serviceprotocol.CheckUserExistenceWithAck{UserID: q.Name, AckID: n}
		}
	case hubs.CountUserInGroup:
		question = func(n int32) serviceprotocol.Message {
			return &serviceprotocol.CheckUserInGroupWithAck{UserID: q.User, Group: q.Name, AckID: n}
		}
	default:
		return 0, fmt.Errorf("question of kind %d: %w", q.Kind, errUnsupported)
	}
	l, err := b.app.primary()
	if err != nil {
		return 0, err
	}
	return b.app.command(ctx, l, question)
}

// List implements hubs.Backplane.
func (b *bus) List(context.Context, hubs.ListQuery) (hubs.Page, error) {
	return hubs.Page{}, fmt.Errorf("list: %w", errUnsupported)
}
