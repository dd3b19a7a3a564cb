package serverconn_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/serverconn"
	sp "github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// Every message by which an app server asks for something of the hub, what the hub
// then does, and the ack.
func TestCommands(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil)
	n := s.node()
	p := payloads(t, "say", "hello")
	const ok, missing = sp.AckOK, sp.AckNotFound
	for _, c := range []struct {
		name    string
		message sp.Message
		want    hubs.Entry
		// The ack with one match and with none; 0 = there is none.
		matched, unmatched sp.AckStatus
	}{
		{"send_to_connections", &sp.MultiConnectionData{ConnectionIDs: []string{"c1", "c2"}, Payloads: p, TracingID: 7}, hubs.Entry{Kind: hubs.SendToConnections, Connections: []string{"c1", "c2"}}, 0, 0},
		{"send_to_user", &sp.UserData{UserID: "ann", Payloads: p}, hubs.Entry{Kind: hubs.SendToUsers, Users: []string{"ann"}}, 0, 0},
		{"send_to_users", &sp.MultiUserData{UserIDs: []string{"ann", "bob"}, Payloads: p}, hubs.Entry{Kind: hubs.SendToUsers, Users: []string{"ann", "bob"}}, 0, 0},
		{"broadcast", &sp.BroadcastData{Excluded: []string{"c9"}, Payloads: p}, hubs.Entry{Kind: hubs.SendToAll, Excluded: []string{"c9"}}, 0, 0},
		{"send_to_group", &sp.GroupBroadcastData{Group: "g", Excluded: []string{"c9"}, ExcludedUsers: []string{"eve"}, CallerUserID: "ann", Payloads: p}, hubs.Entry{Kind: hubs.SendToGroups, Groups: []string{"g"}, Excluded: []string{"c9"}, ExcludedUsers: []string{"eve"}}, 0, 0},
		{"send_to_groups", &sp.MultiGroupBroadcastData{Groups: []string{"g", "h"}, Payloads: p}, hubs.Entry{Kind: hubs.SendToGroups, Groups: []string{"g", "h"}}, 0, 0},
		{"join", &sp.JoinGroup{ConnectionID: "c1", Group: "g"}, hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{"c1"}, Groups: []string{"g"}}, 0, 0},
		{"leave", &sp.LeaveGroup{ConnectionID: "c1", Group: "g"}, hubs.Entry{Kind: hubs.RemoveFromGroup, Connections: []string{"c1"}, Groups: []string{"g"}}, 0, 0},
		{"join_with_ack", &sp.JoinGroupWithAck{ConnectionID: "c1", Group: "g", AckID: 1}, hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{"c1"}, Groups: []string{"g"}}, ok, missing},
		{"leave_with_ack", &sp.LeaveGroupWithAck{ConnectionID: "c1", Group: "g", AckID: 1}, hubs.Entry{Kind: hubs.RemoveFromGroup, Connections: []string{"c1"}, Groups: []string{"g"}}, ok, missing},
		{"leave_all_with_ack", &sp.LeaveGroupWithAck{ConnectionID: "c1", AckID: 1}, hubs.Entry{Kind: hubs.RemoveFromAllGroups, Connections: []string{"c1"}}, ok, missing},
		{"user_join", &sp.UserJoinGroup{UserID: "ann", Group: "g"}, hubs.Entry{Kind: hubs.AddUserToGroup, Users: []string{"ann"}, Groups: []string{"g"}, TTLSeconds: -1}, 0, 0},
		{"user_join_with_ttl", &sp.UserJoinGroup{UserID: "ann", Group: "g", HasTTL: true, TTL: 666}, hubs.Entry{Kind: hubs.AddUserToGroup, Users: []string{"ann"}, Groups: []string{"g"}, TTLSeconds: 666}, 0, 0},
		{"user_leave", &sp.UserLeaveGroup{UserID: "ann", Group: "g"}, hubs.Entry{Kind: hubs.RemoveUserFromGroup, Users: []string{"ann"}, Groups: []string{"g"}}, 0, 0},
		{"user_join_with_ack", &sp.UserJoinGroupWithAck{UserID: "ann", Group: "g", AckID: 1}, hubs.Entry{Kind: hubs.AddUserToGroup, Users: []string{"ann"}, Groups: []string{"g"}, TTLSeconds: -1}, ok, ok},
		{"user_join_of_those_here", &sp.UserJoinGroupWithAck{UserID: "ann", Group: "g", AckID: 1, HasTTL: true}, hubs.Entry{Kind: hubs.AddUserToGroup, Users: []string{"ann"}, Groups: []string{"g"}}, ok, missing},
		{"user_leave_with_ack", &sp.UserLeaveGroupWithAck{UserID: "ann", Group: "g", AckID: 1}, hubs.Entry{Kind: hubs.RemoveUserFromGroup, Users: []string{"ann"}, Groups: []string{"g"}}, ok, ok},
		{"user_leave_all", &sp.UserLeaveGroupWithAck{UserID: "ann", AckID: 1}, hubs.Entry{Kind: hubs.RemoveUserFromGroups, Users: []string{"ann"}}, ok, ok},
		{"close_of_another_server's_client", &sp.CloseConnection{ConnectionID: "c1", Error: "why"}, hubs.Entry{Kind: hubs.CloseConnections, Connections: []string{"c1"}, Reason: "why"}, 0, 0},
		{"close", &sp.CloseConnectionWithAck{ConnectionID: "c1", Reason: "why", AckID: 1}, hubs.Entry{Kind: hubs.CloseConnections, Connections: []string{"c1"}, Reason: "why"}, ok, missing},
		{"close_all", &sp.CloseConnectionsWithAck{Reason: "why", Excluded: []string{"c9"}, AckID: 1}, hubs.Entry{Kind: hubs.CloseConnections, Excluded: []string{"c9"}, Reason: "why"}, ok, ok},
		{"close_user", &sp.CloseUserConnectionsWithAck{UserID: "ann", Excluded: []string{"c9"}, AckID: 1}, hubs.Entry{Kind: hubs.CloseConnections, Users: []string{"ann"}, Excluded: []string{"c9"}}, ok, ok},
		{"close_group", &sp.CloseGroupConnectionsWithAck{Group: "g", AckID: 1}, hubs.Entry{Kind: hubs.CloseConnections, Groups: []string{"g"}}, ok, ok},
		{"exists_connection", &sp.CheckConnectionExistenceWithAck{ConnectionID: "c1", AckID: 1}, hubs.Entry{}, ok, missing},
		{"exists_user", &sp.CheckUserExistenceWithAck{UserID: "ann", AckID: 1}, hubs.Entry{}, ok, missing},
		{"exists_group", &sp.CheckGroupExistenceWithAck{Group: "g", AckID: 1}, hubs.Entry{}, ok, missing},
		{"exists_user_in_group", &sp.CheckUserInGroupWithAck{UserID: "ann", Group: "g", AckID: 1}, hubs.Entry{}, ok, missing},
	} {
		// Commands may come on any kind of server connection.
		for kind, matches := range map[sp.ConnectionType]int64{sp.ConnectionDefault: 1, sp.ConnectionWeak: 0} {
			t.Run(fmt.Sprint(c.name, " ", matches), func(t *testing.T) {
				a := s.connect("app-1", kind, 0)
				n.matches.Store(matches)
				a.send(c.message)
				if c.want.Kind != 0 {
					got := *n.next(t)
					if c.want.Kind <= hubs.SendToConnections {
						if f := got.Message.Frames; string(f["json"]) != string(p[0].Data) || string(f["messagepack"]) != string(p[1].Data) {
							t.Errorf("frames are %q", f)
						}
					}
					got.Epoch, got.Number, got.At, got.Message = "", 0, time.Time{}, nil
					if !reflect.DeepEqual(got, c.want) {
						t.Errorf("entry is %+v, want %+v", got, c.want)
					}
				}
				want := c.matched
				if matches == 0 {
					want = c.unmatched
				}
				if want == 0 {
					a.send(sp.ServersRequest()) // what is answered next: there is no ack before it
					if m := a.next(); m.Type() != sp.TypePing {
						t.Errorf("answered with %+v", m)
					}
				} else if m := await[*sp.Ack](a); m.AckID != 1 || m.Status != want {
					t.Errorf("acked with %+v, want status %d", m, want)
				}
			})
		}
	}
}

func TestMembersOfGroup(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil)
	s.node()
	a := s.connect("app-1", sp.ConnectionWeak, 0)
	a.send(&sp.GroupMemberQuery{Group: "g", AckID: 9, Max: 2})
	m := await[*sp.Ack](a)
	members, next, err := sp.ParseGroupMembers(m.Payload)
	if err != nil || m.Status != sp.AckOK || m.AckID != 9 {
		t.Fatalf("acked with %+v, %v", m, err)
	}
	if len(members) != 2 || members[0] != (sp.GroupMember{ConnectionID: "c1", UserID: "ann"}) || members[1].ConnectionID != "c2" || next != "c2" {
		t.Errorf("members are %+v, then %q", members, next)
	}
}

// What can't be carried out is told, and the connection goes on.
func TestRefused(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil)
	long := strings.Repeat("x", 2000)
	good := payloads(t, "say", "hello")
	framed := func(json string) []sp.Payload { return []sp.Payload{{Protocol: "json", Data: []byte(json)}} }
	for name, c := range map[string]struct {
		message sp.Message
		code    string
	}{
		"group_is_blank":         {&sp.GroupBroadcastData{Group: " ", Payloads: good}, "invalid_name"},
		"group_is_long":          {&sp.JoinGroup{ConnectionID: "c", Group: long}, "invalid_name"},
		"user_is_empty":          {&sp.UserData{Payloads: good}, "invalid_name"},
		"excluded_is_long":       {&sp.BroadcastData{Excluded: []string{long}, Payloads: good}, "invalid_name"},
		"ttl_is_long":            {&sp.UserJoinGroup{UserID: "u", Group: "g", HasTTL: true, TTL: 1<<31 - 1}, "invalid_name"},
		"no_payload":             {&sp.BroadcastData{}, "invalid_message"},
		"no_known_payload":       {&sp.BroadcastData{Payloads: []sp.Payload{{Protocol: "blazorpack", Data: []byte("x")}}}, "invalid_message"},
		"payload_is_garbage":     {&sp.BroadcastData{Payloads: framed("{\x1e")}, "invalid_message"},
		"payload_is_a_part":      {&sp.BroadcastData{Payloads: framed(`{"type":1,"target":"a","arguments":[]}`)}, "invalid_message"},
		"payload_is_two":         {&sp.BroadcastData{Payloads: framed(strings.Repeat(`{"type":1,"target":"a","arguments":[]}`+"\x1e", 2))}, "invalid_message"},
		"payload_closes":         {&sp.BroadcastData{Payloads: framed(`{"type":7}` + "\x1e")}, "invalid_message"},
		"payload_wants_answer":   {&sp.BroadcastData{Payloads: framed(`{"type":1,"invocationId":"1","target":"a","arguments":[]}` + "\x1e")}, "invalid_message"},
		"payload_is_long":        {&sp.BroadcastData{Payloads: framed(`{"type":1,"target":"a","arguments":["` + strings.Repeat("x", 33<<10) + `"]}` + "\x1e")}, "message_too_large"},
		"filter":                 {&sp.BroadcastData{Payloads: good, Filter: "userId eq 'a'"}, "filter_unsupported"},
		"refresh":                {&sp.RefreshAuth{ConnectionToken: "t"}, "unsupported"},
		"ack_refresh":            {&sp.RefreshAuth{ConnectionToken: "t", AckID: 3}, "unsupported"},
		"ack_join_blank":         {&sp.JoinGroupWithAck{ConnectionID: "c", AckID: 3}, "invalid_name"},
		"ack_exists_blank":       {&sp.CheckUserExistenceWithAck{AckID: 3}, "invalid_name"},
		"ack_claims_unsupported": {&sp.GetConnectionClaims{ConnectionToken: "t", AckID: 3}, "unsupported"},
		"ack_members_blank":      {&sp.GroupMemberQuery{AckID: 3, Max: 5}, "invalid_name"},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.connect("app-1", sp.ConnectionWeak, 0)
			before := s.refusals(c.code)
			a.send(c.message)
			var text string
			if strings.HasPrefix(name, "ack") {
				m := await[*sp.Ack](a)
				if m.AckID != 3 || m.Status != sp.AckInternalServerError {
					t.Errorf("acked with %+v", m)
				}
				text = m.Message
			} else {
				m := await[*sp.ServiceEvent](a)
				if m.Object != sp.EventServerConnection || m.Kind != sp.EventInvalid {
					t.Errorf("event is %+v", m)
				}
				text = m.Message
			}
			if !strings.Contains(text, c.code+": ") || s.refusals(c.code) == before {
				t.Errorf("told %q, counted %d", text, s.refusals(c.code)-before)
			}
			a.send(sp.ServersRequest())
			await[*sp.Ping](a)
		})
	}
}

func TestAccessKeyOfEntra(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil)
	a := s.connect("app-1", sp.ConnectionWeak, 0)
	a.send(&sp.AccessKeyRequest{Token: "t", KeyID: "k"})
	if m := await[*sp.AccessKeyResponse](a); m.ErrorType == "" || !strings.Contains(m.ErrorMessage, "AccessKey") || m.AccessKey != "" {
		t.Errorf("answered with %+v", m)
	}
}

// What only the service sends, and types to come, say nothing.
func TestIgnored(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil)
	n := s.node()
	a := s.connect("app-1", sp.ConnectionDefault, 0)
	for _, m := range []sp.Message{
		&sp.HandshakeResponse{}, &sp.OpenConnection{ConnectionID: "c"}, &sp.Ack{AckID: 1, Status: 1}, &sp.ServiceError{Message: "x"},
		&sp.ServiceEvent{}, &sp.ServiceMapping{}, &sp.ConnectionReconnect{ConnectionID: "c"}, &sp.UpdateConnectionClaims{ConnectionID: "c"},
		&sp.ClientCompletion{InvocationID: "i", ConnectionID: "c", CallerServerID: "s", Protocol: "json"},
		&sp.ErrorCompletion{InvocationID: "i", ConnectionID: "c", CallerServerID: "s", Error: "e"},
		&sp.ConnectionData{ConnectionID: "nobody", Payload: []byte("x")},
		&sp.ConnectionFlowControl{ConnectionID: "nobody", Connection: sp.FlowClient, Operation: sp.FlowPauseAck},
		&sp.MultiUserData{Payloads: payloads(t, "a", "b")}, &sp.MultiGroupBroadcastData{}, &sp.MultiConnectionData{},
		sp.Echo("what"), sp.ClientCounts(1, 2), sp.Trace(true),
	} {
		a.send(m)
	}
	a.raw([]byte{3, 0x92, 0x63, 0x01}) // type 99
	a.raw([]byte{5, 0x92, 0xcd, 0x7f, 0xff, 0x01})
	a.send(&sp.BroadcastData{Payloads: payloads(t, "a", "b")})
	if e := n.next(t); e.Kind != hubs.SendToAll {
		t.Errorf("first entry is %+v", e)
	}
	a.send(sp.ServersRequest())
	if p, ok := a.next().(*sp.Ping); !ok {
		t.Errorf("answered with %+v", p)
	}
}

func TestPings(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil, timing(func(t *serverconn.Timing) { t.Ping = 5 * time.Millisecond }), func(c *serverconn.Config) {
		c.Servers = func(_ pairing.Hub) []string { return []string{"app-9", "app-1", "a;b"} }
	})
	n := s.node()
	n.matches.Store(3)
	a := s.connect("app-1", sp.ConnectionDefault, 0)
	s.connect("app-2", sp.ConnectionWeak, 0)

	for keepAlives, echoed := 0, false; keepAlives < 3 || !echoed; {
		select {
		case m := <-a.got:
			p, ok := m.(*sp.Ping)
			if !ok {
				t.Fatalf("got %+v", m)
			}
			if _, isEcho := p.Echo(); isEcho {
				a.send(p)
				echoed = true
			} else {
				keepAlives++
			}
		case <-time.After(patience):
			t.Fatal("no keep-alive")
		}
	}
	answer := func(m sp.Message, ok func(*sp.Ping) bool) *sp.Ping {
		t.Helper()
		a.send(m)
		for {
			if p := await[*sp.Ping](a); ok(p) {
				return p
			}
		}
	}
	isStatus := func(p *sp.Ping) bool { _, ok := p.Status(); return ok }
	p := answer(sp.StatusRequest(), isStatus)
	if st, _ := p.Status(); !st.Active || st.Clients != 3 || st.Servers != 2 || st.Capacity != 100 {
		t.Errorf("status is %+v", st)
	}
	n.matches.Store(0)
	p = answer(&sp.Ping{Items: []string{"status", "", "clientcount", "5"}}, isStatus)
	if st, _ := p.Status(); st.Active || st.Clients != 0 {
		t.Errorf("status without clients is %+v", st)
	}
	isServers := func(p *sp.Ping) bool { _, _, _, ok := p.Servers(); return ok }
	first, ids, _, _ := answer(sp.ServersRequest(), isServers).Servers()
	second, _, _, _ := answer(sp.ServersRequest(), isServers).Servers()
	if strings.Join(ids, " ") != "app-1 app-2 app-9" || second <= first {
		t.Errorf("servers are %v at %d, then at %d", ids, first, second)
	}
}

// Over its rate, an app server is slowed: nothing is lost, and it is counted.
func TestSlowed(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil)
	n := s.node()
	asked := make(chan int, 100)
	turns := make(chan time.Duration, 100)
	s.admit(func(a *serverconn.Admission) {
		a.Admit = func(_ context.Context, _ []string, messages int) (time.Duration, error) {
			asked <- messages
			return <-turns, nil
		}
	})
	a := s.connect("app-1", sp.ConnectionWeak, 0)
	a.send(&sp.BroadcastData{Payloads: payloads(t, "a", "1")}, &sp.JoinGroup{ConnectionID: "c", Group: "g"})
	for range 3 {
		if got := <-asked; got != 1 {
			t.Errorf("%d messages are asked for", got)
		}
		select {
		case e := <-n.entries:
			t.Fatalf("published without leave: %+v", e)
		default:
		}
		turns <- time.Millisecond
	}
	<-asked
	turns <- 0
	if e := n.next(t); e.Kind != hubs.SendToAll {
		t.Errorf("entry is %+v", e)
	}
	if got := <-asked; got != 0 {
		t.Errorf("a join asks for %d messages", got)
	}
	turns <- 0
	if e := n.next(t); e.Kind != hubs.AddToGroup {
		t.Errorf("entry is %+v", e)
	}
	if got := s.refusals("server_slowed"); got != 1 {
		t.Errorf("counted as slowed: %d, want 1", got)
	}
}
