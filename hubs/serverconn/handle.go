package serverconn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
	sp "github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// handle carries out one message of the app server. An error ends the connection.
// Types that aren't known, and those that only the service sends, say nothing.
func (k *connection) handle(m sp.Message) error {
	if err := k.ctx.Err(); err != nil {
		return context.Cause(k.ctx)
	}
	switch m := m.(type) {
	case *sp.Ping:
		return k.pinged(m)
	case *sp.ConnectionData:
		return k.deliver(m)
	case *sp.CloseConnection:
		return k.closeClient(m)
	case *sp.ConnectionFlowControl:
		k.flowControl(m)
		return nil

	case *sp.MultiConnectionData:
		return k.send(m, &hubs.Entry{Kind: hubs.SendToConnections, Connections: m.ConnectionIDs}, m.Payloads, m.Filter)
	case *sp.UserData:
		return k.send(m, &hubs.Entry{Kind: hubs.SendToUsers, Users: []string{m.UserID}}, m.Payloads, m.Filter)
	case *sp.MultiUserData:
		return k.send(m, &hubs.Entry{Kind: hubs.SendToUsers, Users: m.UserIDs}, m.Payloads, m.Filter)
	case *sp.BroadcastData:
		return k.send(m, &hubs.Entry{Kind: hubs.SendToAll, Excluded: m.Excluded}, m.Payloads, m.Filter)
	case *sp.GroupBroadcastData:
		return k.send(m, &hubs.Entry{
			Kind: hubs.SendToGroups, Groups: []string{m.Group}, Excluded: m.Excluded, ExcludedUsers: m.ExcludedUsers,
		}, m.Payloads, m.Filter)
	case *sp.MultiGroupBroadcastData:
		return k.send(m, &hubs.Entry{Kind: hubs.SendToGroups, Groups: m.Groups}, m.Payloads, m.Filter)

	case *sp.JoinGroup:
		return k.change(m, join(m.ConnectionID, m.Group), nil)
	case *sp.JoinGroupWithAck:
		return k.change(m, join(m.ConnectionID, m.Group), &ack{id: m.AckID, oneOrMore: true})
	case *sp.LeaveGroup:
		return k.change(m, leave(m.ConnectionID, m.Group), nil)
	case *sp.LeaveGroupWithAck:
		return k.change(m, leave(m.ConnectionID, m.Group), &ack{id: m.AckID, oneOrMore: true})
	case *sp.UserJoinGroup:
		return k.change(m, joinUser(m.UserID, m.Group, m.HasTTL, m.TTL), nil)
	case *sp.UserJoinGroupWithAck:
		// One that counts only for connections that exist needs one.
		return k.change(m, joinUser(m.UserID, m.Group, m.HasTTL, m.TTL), &ack{id: m.AckID, oneOrMore: m.HasTTL && m.TTL == 0})
	case *sp.UserLeaveGroup:
		return k.change(m, leaveUser(m.UserID, m.Group), nil)
	case *sp.UserLeaveGroupWithAck:
		return k.change(m, leaveUser(m.UserID, m.Group), &ack{id: m.AckID})

	case *sp.CloseConnectionWithAck:
		return k.change(m, &hubs.Entry{Kind: hubs.CloseConnections, Connections: []string{m.ConnectionID}, Reason: m.Reason}, &ack{id: m.AckID, oneOrMore: true})
	case *sp.CloseConnectionsWithAck:
		return k.change(m, &hubs.Entry{Kind: hubs.CloseConnections, Excluded: m.Excluded, Reason: m.Reason}, &ack{id: m.AckID})
	case *sp.CloseUserConnectionsWithAck:
		return k.change(m, &hubs.Entry{Kind: hubs.CloseConnections, Users: []string{m.UserID}, Excluded: m.Excluded, Reason: m.Reason}, &ack{id: m.AckID})
	case *sp.CloseGroupConnectionsWithAck:
		return k.change(m, &hubs.Entry{Kind: hubs.CloseConnections, Groups: []string{m.Group}, Excluded: m.Excluded, Reason: m.Reason}, &ack{id: m.AckID})

	case *sp.CheckConnectionExistenceWithAck:
		return k.ask(m, hubs.Query{Kind: hubs.CountConnection, Name: m.ConnectionID}, m.AckID, checkNames(hubs.CheckConnectionID, m.ConnectionID))
	case *sp.CheckUserExistenceWithAck:
		return k.ask(m, hubs.Query{Kind: hubs.CountUser, Name: m.UserID}, m.AckID, checkNames(hubs.CheckUser, m.UserID))
	case *sp.CheckGroupExistenceWithAck:
		return k.ask(m, hubs.Query{Kind: hubs.CountGroup, Name: m.Group}, m.AckID, checkNames(hubs.CheckGroup, m.Group))
	case *sp.CheckUserInGroupWithAck:
		return k.ask(m, hubs.Query{Kind: hubs.CountUserInGroup, Name: m.Group, User: m.UserID}, m.AckID,
			errors.Join(checkNames(hubs.CheckUser, m.UserID), checkNames(hubs.CheckGroup, m.Group)))
	case *sp.GroupMemberQuery:
		return k.listGroup(m)

	case *sp.ClientInvocation:
		return k.invoke(m)
	case *sp.AccessKeyRequest:
		k.refuse(m, nil, refuse(codeUnsupported, "%s", noEntra))
		k.out.force(&sp.AccessKeyResponse{KeyID: m.KeyID, ErrorType: codeUnsupported, ErrorMessage: noEntra})
	case *sp.GetConnectionClaims:
		k.refuse(m, &ack{id: m.AckID}, refuse(codeUnsupported, "the claims of a connection can't be asked for"))
	case *sp.RefreshAuth:
		var a *ack // none when it isn't known which
		if m.AckID != 0 {
			a = &ack{id: m.AckID}
		}
		k.refuse(m, a, refuse(codeUnsupported, "a connection's token can't be refreshed over a server connection"))
	case *sp.HandshakeRequest:
		return &sp.Error{Message: "a second handshake request"}
	}
	return nil
}

const noEntra = "Microsoft Entra ID is not supported: use a connection string with an AccessKey."

// deliver gives bytes to one of this connection's clients. Those for a client that
// has gone come too late.
func (k *connection) deliver(m *sp.ConnectionData) error {
	s := k.session(m.ConnectionID)
	if s == nil {
		return nil
	}
	return k.flow.following(k.ctx, func(at hubs.Position, settled *sync.WaitGroup) {
		s.tell(func(d pairing.Downstream) { d.Deliver(s.after(at), m.Payload, settled) })
	})
}

// closeClient ends a client: one of this connection's, or any of the hub.
func (k *connection) closeClient(m *sp.CloseConnection) error {
	reason := cutText(m.Error, maxReason)
	s := k.session(m.ConnectionID)
	if s == nil {
		return k.change(m, &hubs.Entry{Kind: hubs.CloseConnections, Connections: []string{m.ConnectionID}, Reason: reason}, nil)
	}
	return k.flow.following(k.ctx, func(at hubs.Position, _ *sync.WaitGroup) {
		s.calls.Lock()
		defer s.calls.Unlock()
		if after := s.after(at); s.end() {
			s.down.Close(after, reason)
		}
	})
}

// flowControl takes the answer to a pause: all that came before it has been given
// to the Downstream.
func (k *connection) flowControl(m *sp.ConnectionFlowControl) {
	if m.Connection != sp.FlowClient || m.Operation != sp.FlowPauseAck {
		return
	}
	if s := k.session(m.ConnectionID); s != nil {
		s.pauseAnswered()
	}
}

func join(connection, group string) *hubs.Entry {
	return &hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{connection}, Groups: []string{group}}
}

func leave(connection, group string) *hubs.Entry {
	if group == "" {
		return &hubs.Entry{Kind: hubs.RemoveFromAllGroups, Connections: []string{connection}}
	}
	return &hubs.Entry{Kind: hubs.RemoveFromGroup, Connections: []string{connection}, Groups: []string{group}}
}

func joinUser(user, group string, limited bool, ttl int32) *hubs.Entry {
	e := &hubs.Entry{Kind: hubs.AddUserToGroup, Users: []string{user}, Groups: []string{group}, TTLSeconds: -1}
	if limited {
		e.TTLSeconds = int64(max(ttl, 0))
	}
	return e
}

func leaveUser(user, group string) *hubs.Entry {
	if group == "" {
		return &hubs.Entry{Kind: hubs.RemoveUserFromGroups, Users: []string{user}}
	}
	return &hubs.Entry{Kind: hubs.RemoveUserFromGroup, Users: []string{user}, Groups: []string{group}}
}

// checkEntry applies the rules of names to what an entry says.
func checkEntry(e *hubs.Entry) error {
	if err := errors.Join(
		checkNames(hubs.CheckGroup, e.Groups...),
		checkNames(hubs.CheckUser, e.Users...), checkNames(hubs.CheckUser, e.ExcludedUsers...),
		checkNames(hubs.CheckConnectionID, e.Connections...), checkNames(hubs.CheckConnectionID, e.Excluded...),
	); err != nil {
		return err
	}
	if e.TTLSeconds > maxTTL {
		return refuse(codeName, "the ttl is too long: 0 to %d seconds", maxTTL)
	}
	return nil
}

// nobody reports whether a send is to none.
func nobody(e *hubs.Entry) bool {
	switch e.Kind {
	case hubs.SendToConnections:
		return len(e.Connections) == 0
	case hubs.SendToUsers:
		return len(e.Users) == 0
	case hubs.SendToGroups:
		return len(e.Groups) == 0
	}
	return false
}

// send publishes a message to clients of the hub.
func (k *connection) send(m sp.Message, e *hubs.Entry, payloads []sp.Payload, filter string) error {
	if nobody(e) {
		return nil
	}
	err := checkEntry(e)
	if err == nil && filter != "" {
		err = refuse(codeFilter, "subscriber filters are not supported")
	}
	size := 0
	if err == nil {
		e.Message, size, err = broadcast(payloads, "", k.admission.Limits().MaxMessageBytes, &k.scratch)
	}
	if err != nil {
		k.refuse(m, nil, err)
		return nil
	}
	total := 0
	for _, f := range e.Message.Frames {
		total += len(f)
	}
	return k.publish(m, &item{entry: e, options: hubs.PublishOptions{Charge: hubs.Units(size)}, about: about(m), size: total})
}

// publish begins an entry when the tenant's rate allows it.
func (k *connection) publish(m sp.Message, i *item) error {
	if ok, err := k.admit(m, nil, groupsOf(i.entry), i.options.Charge); !ok {
		return err
	}
	return k.flow.begin(k.ctx, i)
}

// groupsOf are the groups that an entry sends to.
func groupsOf(e *hubs.Entry) []string {
	if e.Kind != hubs.SendToGroups {
		return nil
	}
	return e.Groups
}

// admit waits until the tenant's rate allows messages, or one request when there
// are none. It reports false when it never will, or err ends the connection.
func (k *connection) admit(m sp.Message, a *ack, groups []string, messages int) (bool, error) {
	for slowed := false; ; slowed = true {
		wait, err := k.admission.Admit(k.ctx, groups, messages)
		switch {
		case k.ctx.Err() != nil:
			return false, context.Cause(k.ctx)
		case err != nil:
			code, text := codeRate, strings.TrimPrefix(err.Error(), codeRate+" ")
			if first, rest, coded := strings.Cut(text, ": "); coded && !strings.Contains(first, " ") {
				code, text = first, rest
			}
			k.refuse(m, a, &refusal{code, text})
			return false, nil
		case wait <= 0:
			return true, nil
		}
		if !slowed {
			k.admission.Refused(codeSlowed)
		}
		select {
		case <-time.After(wait):
		case <-k.ctx.Done():
			return false, context.Cause(k.ctx)
		}
	}
}

// ack is the answer that a command asks for.
type ack struct {
	id int32
	// oneOrMore: the answer is NotFound unless something was concerned.
	oneOrMore bool
}

// change publishes an entry that sends nothing. With an ack its effect is waited
// for, beside the reader.
func (k *connection) change(m sp.Message, e *hubs.Entry, a *ack) error {
	e.Reason = cutText(e.Reason, maxReason)
	if err := checkEntry(e); err != nil {
		k.refuse(m, a, err)
		return nil
	}
	if ok, err := k.admit(m, a, nil, 0); !ok {
		return err
	}
	i := &item{entry: e, about: about(m), command: a != nil, size: 1 << 10}
	if err := k.flow.begin(k.ctx, i); err != nil || a == nil {
		return err
	}
	return k.await(func(ctx context.Context) {
		matched, err := 0, i.accepted(context.WithoutCancel(ctx))
		if err == nil {
			matched, err = i.begun.Matched(ctx)
		} else if i.begun != nil {
			_, _ = i.begun.Matched(ctx) // which has nothing to wait for
		}
		k.answer(m, a, matched, err)
	})
}

// answer acks a command or question.
func (k *connection) answer(m sp.Message, a *ack, matched int, err error) {
	switch {
	case matched > 0 || err == nil && !a.oneOrMore:
		// A connection is in one place: who doesn't answer hasn't got it.
		k.out.force(&sp.Ack{AckID: a.id, Status: sp.AckOK})
	case err == nil:
		k.out.force(&sp.Ack{AckID: a.id, Status: sp.AckNotFound, Message: "There is no such connection, user or group."})
	case errors.Is(err, hubs.ErrUnanswered), errors.Is(err, hubs.ErrOutcomeUnknown):
		k.admission.Refused(codeUnknown)
		k.out.force(&sp.Ack{AckID: a.id, Status: sp.AckTimeout, Message: "Not every node has answered in time."})
	default:
		k.refuse(m, a, outcomeText(err))
	}
}

// ask counts, after all that was published before.
func (k *connection) ask(m sp.Message, q hubs.Query, id int32, problem error) error {
	a := &ack{id: id, oneOrMore: true}
	if problem != nil {
		k.refuse(m, a, problem)
		return nil
	}
	if ok, err := k.admit(m, a, nil, 0); !ok {
		return err
	}
	if _, err := k.flow.position(k.ctx); err != nil {
		return err
	}
	return k.await(func(ctx context.Context) {
		n, err := k.admission.Backplane().Ask(ctx, q)
		k.answer(m, a, n, err)
	})
}

// gaveUp is told of entries that were not published, or perhaps not.
func (k *connection) gaveUp(i *item, err error) {
	r := outcomeText(err)
	k.admission.Refused(r.code)
	k.event(i.about, r)
	k.log.Warn("entry of an app server not published", "type", i.about, "error", err)
}

// refuse tells the app server that a message isn't carried out: in its ack, else
// by an event.
func (k *connection) refuse(m sp.Message, a *ack, err error) {
	var r *refusal
	if !errors.As(err, &r) {
		r = refuse(codeUnavailable, "%s", err)
	}
	k.admission.Refused(r.code)
	if a != nil {
		k.out.force(&sp.Ack{AckID: a.id, Status: sp.AckInternalServerError, Message: r.Error()})
		return
	}
	k.event(about(m), r)
}

// event tells the app server of a message that isn't carried out, once in a while.
func (k *connection) event(about string, r *refusal) {
	n, ok := k.events.take(time.Now())
	if !ok {
		return
	}
	text := about + " was not carried out: " + r.Error()
	if n > 0 {
		text += fmt.Sprintf(" (and %d more like it)", n)
	}
	kind := sp.EventInvalid
	if r.code == codeUnavailable || r.code == codeUnknown {
		kind = sp.EventBufferFull
	}
	k.out.force(&sp.ServiceEvent{Object: sp.EventServerConnection, ID: k.id, Kind: kind, Message: text})
}

// about names a message for the app server's log.
func about(m sp.Message) string { return fmt.Sprintf("message of type %d", m.Type()) }

// eventLimit lets one event pass per second.
type eventLimit struct {
	mu      sync.Mutex
	last    time.Time
	skipped int
}

// take reports whether an event may be sent now, and how many were not before it.
func (l *eventLimit) take(now time.Time) (skipped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.last) < time.Second {
		l.skipped++
		return 0, false
	}
	skipped, l.skipped, l.last = l.skipped, 0, now
	return skipped, true
}
