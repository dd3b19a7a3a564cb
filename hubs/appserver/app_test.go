package appserver_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/appserver"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/serviceprotocol"
	"github.com/signalbox/signalbox/hubs/values"
)

// chat is the hub of the tests.
type chat struct {
	connected    chan *hubs.Call
	disconnected chan error
	release      chan struct{}
}

func newChat() *chat {
	return &chat{connected: make(chan *hubs.Call, 100), disconnected: make(chan error, 100), release: make(chan struct{})}
}

func (h *chat) OnConnected(ctx context.Context) error {
	h.connected <- hubs.FromContext(ctx)
	return nil
}

func (h *chat) OnDisconnected(_ context.Context, cause error) { h.disconnected <- cause }

func (*chat) Echo(text string) string { return text }

func (*chat) Refuse() error { return hubs.NewError("not today") }

func (*chat) Count(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

func (*chat) Sum(numbers iter.Seq2[int, error]) (int, error) {
	sum := 0
	for n, err := range numbers {
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func (*chat) Join(ctx context.Context, group string) error {
	return hubs.FromContext(ctx).Join(ctx, group)
}

func (*chat) Leave(ctx context.Context, group string) error {
	return hubs.FromContext(ctx).Leave(ctx, group)
}

func (*chat) Whisper(ctx context.Context, n int) error {
	call := hubs.FromContext(ctx)
	for i := range n {
		if err := call.Caller().Send(ctx, "direct", i); err != nil {
			return err
		}
		if err := call.Group("room").Send(ctx, "group", i); err != nil {
			return err
		}
	}
	return nil
}

func (*chat) Ask(ctx context.Context, connection string) (string, error) {
	call := hubs.FromContext(ctx)
	target := call.Caller()
	if connection != "" {
		target = call.Client(connection)
	}
	return hubs.Invoke[string](ctx, target, "question", 1)
}

func (h *chat) Slow(ctx context.Context) (string, error) {
	select {
	case <-h.release:
		return "done", nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (*chat) Forever(ctx context.Context) <-chan int {
	items := make(chan int, 1)
	items <- 1
	context.AfterFunc(ctx, func() { close(items) })
	return items
}

func TestConnect_makes_server_connections_with_a_token_for_the_hub(t *testing.T) {
	t.Parallel()
	s := newService(t)
	app := start(t, s, newHub(t, newChat(), hubs.Options{}), appserver.Options{ServerName: "box"})
	ids := map[string]bool{}
	for range 5 {
		p := s.connection()
		if diff := cmp.Diff(&serviceprotocol.HandshakeRequest{Version: 1, MigrationLevel: serviceprotocol.MigrationShutdownOnly}, p.hello); diff != "" {
			t.Error(diff)
		}
		if p.request.URL.Path != "/server/" || p.request.URL.Query().Get("hub") != "chat" {
			t.Errorf("connected to %s", p.request.URL)
		}
		ids[p.request.URL.Query().Get("cid")] = true
		if p.claims["aud"] != "http://127.0.0.1/server/?hub=chat" || p.claims["nameid"] != app.ID() || p.request.Header.Get("X-Asrs-Server-Id") != app.ID() {
			t.Errorf("claims %v, headers %v", p.claims, p.request.Header)
		}
	}
	if len(ids) != 5 || !strings.HasPrefix(app.ID(), "box_") {
		t.Errorf("connection ids %v, server id %s", ids, app.ID())
	}
	if err := app.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestConnect_tells_what_the_service_refuses(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.refuse = func(*peer) string { return "no such hub" }
	app := start(t, s, newHub(t, newChat(), hubs.Options{}), appserver.Options{Connections: 1})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for app.Ready(canceled()) == nil || !strings.Contains(app.Ready(canceled()).Error(), "no such hub") {
			if ctx.Err() != nil {
				return
			}
		}
		cancel()
	}()
	if err := app.Ready(ctx); err == nil || !strings.Contains(err.Error(), "no such hub") {
		t.Errorf("got %v", err)
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestConnect_refuses_what_can_not_work(t *testing.T) {
	t.Parallel()
	good := "Endpoint=https://a.example;AccessKey=k;Version=1.0;"
	for name, tt := range map[string]struct {
		text string
		opt  appserver.Options
		want string
	}{
		"no_endpoint":          {"AccessKey=k", appserver.Options{}, "Endpoint must be"},
		"no_url":               {"Endpoint=a.example;AccessKey=k", appserver.Options{}, "Endpoint must be"},
		"no_key":               {"Endpoint=https://a.example;Version=1.0", appserver.Options{}, "AccessKey is missing"},
		"twice":                {good + "accesskey=x", appserver.Options{}, "twice"},
		"version":              {"Endpoint=https://a.example;AccessKey=k;Version=2.0", appserver.Options{}, "Version"},
		"port":                 {good + "Port=70000", appserver.Options{}, "Port"},
		"identity":             {"Endpoint=https://a.example;AuthType=azure.msi", appserver.Options{}, "AuthType"},
		"negative_connections": {good, appserver.Options{Connections: -1}, "Options.Connections"},
		"migration":            {good, appserver.Options{Migration: 9}, "Options.Migration"},
		"application":          {good, appserver.Options{Application: "a b"}, "no hub of the name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := appserver.Connect(t.Context(), newHub(t, newChat(), hubs.Options{}), tt.text, tt.opt)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "=k") {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

func TestClient_is_served_like_one_of_a_router(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, proto protocol.Protocol) {
		hub := newChat()
		_, _, p := connect(t, newService(t), hub, appserver.Options{})
		c := p.opened("c", proto)
		c.invoke("1", "Echo", "hello")
		if got := completed[string](c, "1"); got != "hello" {
			t.Errorf("got %q", got)
		}
		c.invoke("2", "Refuse")
		if m := c.get(); m.InvocationID != "2" || !strings.Contains(m.Error, "not today") {
			t.Errorf("got %+v", m)
		}
		c.put(c.invocation(protocol.StreamInvocation, "3", "Count", 3))
		for i := range 3 {
			var n int
			if m := c.get(); m.Type != protocol.StreamItem || values.Decode(m.Item, &n) != nil || n != i {
				t.Errorf("got %+v", m)
			}
		}
		completed[any](c, "3")
		upload := c.invocation(protocol.Invocation, "4", "Sum")
		upload.StreamIDs = []string{"s"}
		c.put(upload,
			&protocol.Message{Type: protocol.StreamItem, InvocationID: "s", Item: c.raw(20)},
			&protocol.Message{Type: protocol.StreamItem, InvocationID: "s", Item: c.raw(22)},
			&protocol.Message{Type: protocol.Completion, InvocationID: "s"})
		if got := completed[int](c, "4"); got != 42 {
			t.Errorf("the sum is %d", got)
		}
		c.invoke("5", "Ask", "")
		question := c.get()
		if question.Target != "question" {
			t.Fatalf("got %+v", question)
		}
		c.put(&protocol.Message{Type: protocol.Completion, InvocationID: question.InvocationID, Result: c.raw("yes")})
		if got := completed[string](c, "5"); got != "yes" {
			t.Errorf("the client's answer is %q", got)
		}
		p.send(&serviceprotocol.CloseConnection{ConnectionID: "c"})
		if cause := receive(t, hub.disconnected); cause != nil {
			t.Errorf("OnDisconnected was told %v", cause)
		}
		p.opened("c", proto) // the id is free
		p.send(&serviceprotocol.CloseConnection{ConnectionID: "c", Error: "lost it"})
		if cause := receive(t, hub.disconnected); cause == nil || !strings.Contains(cause.Error(), "lost it") {
			t.Errorf("OnDisconnected was told %v", cause)
		}
	})
}

func TestClient_brings_what_the_service_knows_of_it(t *testing.T) {
	t.Parallel()
	hub := newChat()
	_, _, p := connect(t, newService(t), hub, appserver.Options{})
	p.opened("c", protocol.NewJSON(), func(m *serviceprotocol.OpenConnection) {
		m.Claims = []serviceprotocol.Claim{
			{Type: "asrs.s.uid", Value: "ann"}, {Type: "http://schemas.microsoft.com/ws/2008/06/identity/claims/role", Value: "admin"},
			{Type: "http://schemas.microsoft.com/ws/2008/06/identity/claims/role", Value: "owner"},
			{Type: "asrs.u.iss", Value: "own"}, {Type: "exp", Value: "1"}, {Type: "asrs.s.aut", Value: "x"}, {Type: "team", Value: "blue"},
		}
		m.Headers = []serviceprotocol.Header{
			{Name: "X-Forwarded-For", Values: []string{"10.1.2.3, 10.0.0.1"}}, {Name: "User-Agent", Values: []string{"a"}}, {Name: "Asrs-Instance-Id", Values: []string{"i"}},
		}
		m.Query = "?room=1&room=2"
	})
	info := receive(t, hub.connected).Connection().Info()
	want := hubs.ConnectionInfo{
		ID: "c", Principal: hubs.Principal{UserID: "ann", Claims: []hubs.Claim{{Type: "role", Value: "admin"}, {Type: "role", Value: "owner"}, {Type: "iss", Value: "own"}, {Type: "team", Value: "blue"}}},
		Query: map[string][]string{"room": {"1", "2"}}, Headers: map[string][]string{"User-Agent": {"a"}}, RemoteAddress: "10.1.2.3",
	}
	if diff := cmp.Diff(want, info); diff != "" {
		t.Error(diff)
	}
}

// Program order of one method: what goes to the caller directly and what goes to
// a group takes the same way.
func TestMethod_sends_in_its_order(t *testing.T) {
	t.Parallel()
	_, _, p := connect(t, newService(t), newChat(), appserver.Options{Connections: 1})
	c := p.opened("c", protocol.NewJSON())
	const rounds = 1000
	c.invoke("1", "Whisper", rounds)
	direct, group := 0, 0
	for group < rounds {
		switch m := p.next().(type) {
		case *serviceprotocol.ConnectionData:
			direct += strings.Count(string(m.Payload), `"direct"`)
			if direct != group+1 {
				t.Fatalf("%d messages to the caller came before %d to the group", direct, group)
			}
		case *serviceprotocol.GroupBroadcastData:
			if group++; direct != group {
				t.Fatalf("%d messages to the group came before %d to the caller", group, direct)
			}
		default:
			t.Fatalf("got %#v", m)
		}
	}
	completed[any](c, "1")
}

func TestTargets_become_messages_of_the_service(t *testing.T) {
	t.Parallel()
	_, server, p := connect(t, newService(t), newChat(), appserver.Options{})
	p.opened("here", protocol.NewMessagePack())
	all := server.Context()
	frame := func(proto protocol.Protocol) []byte {
		raw, err := values.Arguments(proto.Encoding(), "x")
		if err != nil {
			t.Fatal(err)
		}
		b, err := proto.Append(nil, &protocol.Message{Type: protocol.Invocation, Target: "show", Arguments: raw})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	messagePack := serviceprotocol.Payload{Protocol: "messagepack", Data: frame(protocol.NewMessagePack())}
	both := []serviceprotocol.Payload{{Protocol: "json", Data: frame(protocol.NewJSON())}, messagePack}
	for _, tt := range []struct {
		target hubs.Target
		want   serviceprotocol.Message
	}{
		{all.All(), &serviceprotocol.BroadcastData{Payloads: both}},
		{all.AllExcept("a", "b"), &serviceprotocol.BroadcastData{Excluded: []string{"a", "b"}, Payloads: both}},
		{all.Client("there"), &serviceprotocol.MultiConnectionData{ConnectionIDs: []string{"there"}, Payloads: both}},
		{all.Client("here"), &serviceprotocol.MultiConnectionData{ConnectionIDs: []string{"here"}, Payloads: []serviceprotocol.Payload{messagePack}}},
		{all.Clients("here", "there"), &serviceprotocol.MultiConnectionData{ConnectionIDs: []string{"here", "there"}, Payloads: both}},
		{all.Group("g"), &serviceprotocol.GroupBroadcastData{Group: "g", Payloads: both}},
		{all.GroupExcept("g", "a"), &serviceprotocol.GroupBroadcastData{Group: "g", Excluded: []string{"a"}, Payloads: both}},
		{all.Groups("g", "h"), &serviceprotocol.MultiGroupBroadcastData{Groups: []string{"g", "h"}, Payloads: both}},
		{all.User("u"), &serviceprotocol.UserData{UserID: "u", Payloads: both}},
		{all.Users("u", "v"), &serviceprotocol.MultiUserData{UserIDs: []string{"u", "v"}, Payloads: both}},
	} {
		if err := tt.target.Send(t.Context(), "show", "x"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, p.next()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestGroups_wait_for_the_answer_of_the_service(t *testing.T) {
	t.Parallel()
	_, server, p := connect(t, newService(t), newChat(), appserver.Options{})
	c := p.opened("c", protocol.NewJSON())
	c.invoke("1", "Join", "room")
	join := expect[*serviceprotocol.JoinGroupWithAck](p)
	if join.ConnectionID != "c" || join.Group != "room" {
		t.Errorf("got %+v", join)
	}
	p.send(&serviceprotocol.Ack{AckID: join.AckID + 1, Status: serviceprotocol.AckOK}) // of nothing
	p.send(&serviceprotocol.Ack{AckID: join.AckID, Status: serviceprotocol.AckOK})
	completed[any](c, "1")
	c.invoke("2", "Leave", "room")
	leave := expect[*serviceprotocol.LeaveGroupWithAck](p)
	p.send(&serviceprotocol.Ack{AckID: leave.AckID, Status: serviceprotocol.AckInternalServerError})
	if m := c.get(); m.InvocationID != "2" || !m.HasError {
		t.Errorf("got %+v", m)
	}

	bus := server.Backplane()
	command := func(e *hubs.Entry) <-chan string {
		done := make(chan string, 1)
		go func() {
			_, n, err := bus.Command(context.Background(), e, hubs.PublishOptions{})
			done <- fmt.Sprint(n, err)
		}()
		return done
	}
	for name, tt := range map[string]struct {
		entry hubs.Entry
		want  func(ack int32) serviceprotocol.Message
	}{
		"leave_all": {hubs.Entry{Kind: hubs.RemoveFromAllGroups, Connections: []string{"c"}}, func(n int32) serviceprotocol.Message {
			return &serviceprotocol.LeaveGroupWithAck{ConnectionID: "c", AckID: n}
		}},
		"user_join_for_a_time": {hubs.Entry{Kind: hubs.AddUserToGroup, Users: []string{"u"}, Groups: []string{"g"}, TTLSeconds: 60}, func(n int32) serviceprotocol.Message {
			return &serviceprotocol.UserJoinGroupWithAck{UserID: "u", Group: "g", AckID: n, TTL: 60, HasTTL: true}
		}},
		"user_join_for_ever": {hubs.Entry{Kind: hubs.AddUserToGroup, Users: []string{"u"}, Groups: []string{"g"}, TTLSeconds: -1}, func(n int32) serviceprotocol.Message {
			return &serviceprotocol.UserJoinGroupWithAck{UserID: "u", Group: "g", AckID: n}
		}},
		"user_leave": {hubs.Entry{Kind: hubs.RemoveUserFromGroup, Users: []string{"u"}, Groups: []string{"g"}}, func(n int32) serviceprotocol.Message {
			return &serviceprotocol.UserLeaveGroupWithAck{UserID: "u", Group: "g", AckID: n}
		}},
		"user_leave_all": {hubs.Entry{Kind: hubs.RemoveUserFromGroups, Users: []string{"u"}}, func(n int32) serviceprotocol.Message {
			return &serviceprotocol.UserLeaveGroupWithAck{UserID: "u", AckID: n}
		}},
		"close_all": {hubs.Entry{Kind: hubs.CloseConnections, Excluded: []string{"c"}, Reason: "bye"}, func(n int32) serviceprotocol.Message {
			return &serviceprotocol.CloseConnectionsWithAck{Reason: "bye", AckID: n, Excluded: []string{"c"}}
		}},
		"close_user": {hubs.Entry{Kind: hubs.CloseConnections, Users: []string{"u"}}, func(n int32) serviceprotocol.Message {
			return &serviceprotocol.CloseUserConnectionsWithAck{UserID: "u", AckID: n}
		}},
		"close_group": {hubs.Entry{Kind: hubs.CloseConnections, Groups: []string{"g"}}, func(n int32) serviceprotocol.Message {
			return &serviceprotocol.CloseGroupConnectionsWithAck{Group: "g", AckID: n}
		}},
	} {
		done := command(&tt.entry)
		got := p.next()
		ack := ackOf(t, got)
		if diff := cmp.Diff(tt.want(ack), got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		p.send(&serviceprotocol.Ack{AckID: ack, Status: serviceprotocol.AckOK})
		if got := receive(t, done); got != "1 <nil>" {
			t.Errorf("%s: %s", name, got)
		}
	}

	done := command(&hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{"nobody"}, Groups: []string{"g"}})
	p.send(&serviceprotocol.Ack{AckID: ackOf(t, p.next()), Status: serviceprotocol.AckNotFound})
	if got := receive(t, done); got != "0 <nil>" {
		t.Errorf("a join of nobody: %s", got)
	}
	done = command(&hubs.Entry{Kind: hubs.CloseConnections, Connections: []string{"there"}, Reason: "bye"})
	if diff := cmp.Diff(&serviceprotocol.CloseConnection{ConnectionID: "there", Error: "bye"}, expect[*serviceprotocol.CloseConnection](p)); diff != "" {
		t.Error(diff)
	}
	receive(t, done)
}

// ackOf returns the ack id of a command.
func ackOf(t *testing.T, m serviceprotocol.Message) int32 {
	t.Helper()
	switch m := m.(type) {
	case *serviceprotocol.JoinGroupWithAck:
		return m.AckID
	case *serviceprotocol.LeaveGroupWithAck:
		return m.AckID
	case *serviceprotocol.UserJoinGroupWithAck:
		return m.AckID
	case *serviceprotocol.UserLeaveGroupWithAck:
		return m.AckID
	case *serviceprotocol.CloseConnectionsWithAck:
		return m.AckID
	case *serviceprotocol.CloseUserConnectionsWithAck:
		return m.AckID
	case *serviceprotocol.CloseGroupConnectionsWithAck:
		return m.AckID
	case *serviceprotocol.CheckConnectionExistenceWithAck:
		return m.AckID
	case *serviceprotocol.CheckGroupExistenceWithAck:
		return m.AckID
	case *serviceprotocol.CheckUserExistenceWithAck:
		return m.AckID
	case *serviceprotocol.CheckUserInGroupWithAck:
		return m.AckID
	}
	t.Fatalf("%#v has no ack id", m)
	return 0
}

func TestExistence_is_asked_of_the_service(t *testing.T) {
	t.Parallel()
	_, server, p := connect(t, newService(t), newChat(), appserver.Options{})
	for kind, want := range map[hubs.QueryKind]serviceprotocol.Type{
		hubs.CountConnection: serviceprotocol.TypeCheckConnectionExistence, hubs.CountGroup: serviceprotocol.TypeCheckGroupExistenceWithAck,
		hubs.CountUser: serviceprotocol.TypeCheckUserExistenceWithAck, hubs.CountUserInGroup: serviceprotocol.TypeCheckUserInGroupWithAck,
	} {
		for status, matches := range map[serviceprotocol.AckStatus]int{serviceprotocol.AckOK: 1, serviceprotocol.AckNotFound: 0} {
			done := make(chan string, 1)
			go func() {
				n, err := server.Backplane().Ask(context.Background(), hubs.Query{Kind: kind, Name: "n", User: "u"})
				done <- fmt.Sprint(n, err)
			}()
			m := p.next()
			if m.Type() != want {
				t.Errorf("query %d asks with type %d", kind, m.Type())
			}
			p.send(&serviceprotocol.Ack{AckID: ackOf(t, m), Status: status})
			if got := receive(t, done); got != fmt.Sprint(matches, nil) {
				t.Errorf("query %d, status %d: %s", kind, status, got)
			}
		}
	}
}

// The service has no message for all that a hub may ask of its Backplane.
func TestExistence_of_what_the_service_can_not_tell_is_not_asked(t *testing.T) {
	t.Parallel()
	_, server, _ := connect(t, newService(t), newChat(), appserver.Options{})
	for _, kind := range []hubs.QueryKind{hubs.CountConnections, hubs.CountPresent} {
		_, err := server.Backplane().Ask(t.Context(), hubs.Query{Kind: kind})
		if err == nil || !strings.Contains(err.Error(), "not available behind the service") {
			t.Errorf("query %d: %v", kind, err)
		}
	}
}

func TestClientResults_come_from_clients_of_other_app_servers(t *testing.T) {
	t.Parallel()
	app, _, p := connect(t, newService(t), newChat(), appserver.Options{})
	c := p.opened("c", protocol.NewJSON())
	for name, tt := range map[string]struct {
		answer func(id string) serviceprotocol.Message
		want   string
	}{
		"answer": {func(id string) serviceprotocol.Message {
			frame, _ := protocol.NewMessagePack().Append(nil, &protocol.Message{Type: protocol.Completion, InvocationID: id, Result: protocol.Raw{Encoding: protocol.MessagePack, Bytes: []byte("\xa3yes")}})
			return &serviceprotocol.ClientCompletion{InvocationID: id, ConnectionID: "there", CallerServerID: app.ID(), Protocol: "messagepack", Payload: frame}
		}, "yes"},
		"error": {func(id string) serviceprotocol.Message {
			return &serviceprotocol.ErrorCompletion{InvocationID: id, ConnectionID: "there", CallerServerID: app.ID(), Error: "no time"}
		}, "no time"},
	} {
		c.invoke(name, "Ask", "there")
		m := expect[*serviceprotocol.ClientInvocation](p)
		if m.ConnectionID != "there" || m.CallerServerID != app.ID() || len(m.Payloads) != 2 || !strings.Contains(string(m.Payloads[0].Data), `"invocationId":"`+m.InvocationID+`"`) {
			t.Errorf("got %+v", m)
		}
		p.send(&serviceprotocol.ServiceMapping{InvocationID: m.InvocationID, ConnectionID: "there", InstanceID: "i"}, tt.answer(m.InvocationID))
		if m := c.get(); m.InvocationID != name || !strings.Contains(string(m.Result.Bytes)+m.Error, tt.want) {
			t.Errorf("%s: got %+v", name, m)
		}
	}
	c.invoke("lost", "Ask", "there")
	m := expect[*serviceprotocol.ClientInvocation](p)
	p.send(&serviceprotocol.ServiceMapping{InvocationID: m.InvocationID, ConnectionID: "there", InstanceID: "i"}, serviceprotocol.Offline("i"))
	if m := c.get(); m.InvocationID != "lost" || !m.HasError {
		t.Errorf("got %+v", m)
	}
}

func TestClientResults_go_to_other_app_servers(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, proto protocol.Protocol) {
		hub := newChat()
		_, _, p := connect(t, newService(t), hub, appserver.Options{})
		c := p.opened("c", proto)
		receive(t, hub.connected)
		ask := func(id, connection string) {
			p.send(&serviceprotocol.ClientInvocation{InvocationID: id, ConnectionID: connection, CallerServerID: "other"})
		}
		ask("q", "c")
		c.put(&protocol.Message{Type: protocol.Completion, InvocationID: "q", Result: c.raw(7)})
		m := expect[*serviceprotocol.ClientCompletion](p)
		var completion protocol.Message
		if _, err := proto.Parse(m.Payload, &completion); err != nil || m.InvocationID != "q" || m.CallerServerID != "other" || m.Protocol != proto.Name() || completion.InvocationID != "q" {
			t.Errorf("got %+v, %v", m, err)
		}
		ask("nobody", "x")
		if m := expect[*serviceprotocol.ErrorCompletion](p); m.InvocationID != "nobody" || m.CallerServerID != "other" {
			t.Errorf("got %+v", m)
		}
		ask("gone", "c")
		p.send(&serviceprotocol.CloseConnection{ConnectionID: "c"})
		if m := expect[*serviceprotocol.ErrorCompletion](p); m.InvocationID != "gone" {
			t.Errorf("got %+v", m)
		}
	})
}

func TestClient_that_sends_too_far_ahead_is_closed(t *testing.T) {
	t.Parallel()
	hub := newChat()
	defer close(hub.release)
	_, _, p := connect(t, newService(t), hub, appserver.Options{ClientBuffer: 64 << 10})
	c := p.opened("c", protocol.NewJSON())
	for range 101 {
		c.invoke("", "Slow")
	}
	text := strings.Repeat("x", 20<<10)
	for range 10 {
		c.invoke("", "Echo", text)
	}
	if m := expect[*serviceprotocol.CloseConnection](p); m.ConnectionID != "c" || m.Error == "" {
		t.Errorf("got %+v", m)
	}
	p.opened("d", protocol.NewJSON()) // others are served
}

func TestHub_closes_a_client(t *testing.T) {
	t.Parallel()
	hub := newChat()
	_, server, p := connect(t, newService(t), hub, appserver.Options{})
	c := p.opened("c", protocol.NewJSON())
	if err := server.Context().CloseConnection(t.Context(), "c", "enough", true); err != nil {
		t.Fatal(err)
	}
	if m := c.get(); m.Type != protocol.Close || m.Error != "enough" || !m.AllowReconnect {
		t.Errorf("got %+v", m)
	}
	if m := expect[*serviceprotocol.CloseConnection](p); m.ConnectionID != "c" {
		t.Errorf("got %+v", m)
	}
	if cause := receive(t, hub.disconnected); !errors.Is(cause, hubs.ErrClosedByServer) {
		t.Errorf("OnDisconnected was told %v", cause)
	}
}
