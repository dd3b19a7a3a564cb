package hubs_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/hubs"
)

// room is a hub with four clients: a1 and a2 of user ada, b1 of bob, n1 of nobody.
type room struct {
	t       *testing.T
	s       *hubs.Server
	clients map[string]*wire
}

func newRoom(t *testing.T, cfg hubs.Config) *room {
	r := &room{t: t, s: newServer(t, cfg), clients: map[string]*wire{}}
	for id, user := range map[string]string{"a1": "ada", "a2": "ada", "b1": "bob", "n1": ""} {
		r.clients[id] = connect(t, r.s, user, id)
	}
	return r
}

// get checks who gets an entry's message: first by what it matched, then by a
// second message to all, before which nobody has got anything else.
func (r *room) get(e hubs.Entry, who ...string) {
	r.t.Helper()
	frame, matched := sendTo(r.t, r.s, e, "it")
	if matched != len(who) {
		r.t.Errorf("matched %d, want %d", matched, len(who))
	}
	end, _ := sendTo(r.t, r.s, hubs.Entry{Kind: hubs.SendToAll}, "end")
	for id, w := range r.clients {
		for _, name := range who {
			if name == id {
				w.expect(frame)
			}
		}
		if got, _ := w.read(); got != end {
			r.t.Errorf("%s got %q", id, got)
		}
	}
}

func (r *room) do(want int, e hubs.Entry) {
	r.t.Helper()
	if got := command(r.t, r.s, &e); got != want {
		r.t.Errorf("kind %d matched %d, want %d", e.Kind, got, want)
	}
}

func (r *room) count(want int, q hubs.Query) {
	r.t.Helper()
	if got, err := r.s.Backplane().Ask(r.t.Context(), q); err != nil || got != want {
		r.t.Errorf("query %+v is answered %d, %v; want %d", q, got, err, want)
	}
}

func TestEntries(t *testing.T) {
	t.Parallel()
	list := func(s ...string) []string { return s }
	t.Run("P-04 to all, and to all except some", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, hubs.Config{})
		r.get(hubs.Entry{Kind: hubs.SendToAll}, "a1", "a2", "b1", "n1")
		r.get(hubs.Entry{Kind: hubs.SendToAll, Excluded: list("a2", "n1", "gone")}, "a1", "b1")
		var many []string
		for i := range 100 {
			many = append(many, fmt.Sprint(i)) // nobody here
		}
		r.get(hubs.Entry{Kind: hubs.SendToAll, Excluded: slices.Concat(many, list("a2")), ExcludedUsers: slices.Concat(many, list("bob"))}, "a1", "n1")
	})
	t.Run("P-05 to connections; unknown ids are ignored", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, hubs.Config{})
		r.get(hubs.Entry{Kind: hubs.SendToConnections, Connections: list("a1", "gone", "b1", "a1")}, "a1", "b1")
		r.get(hubs.Entry{Kind: hubs.SendToConnections, Connections: list("gone")})
	})
	t.Run("P-06 to users; the empty user is nobody", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, hubs.Config{})
		r.get(hubs.Entry{Kind: hubs.SendToUsers, Users: list("ada")}, "a1", "a2")
		r.get(hubs.Entry{Kind: hubs.SendToUsers, Users: list("ada", "bob", "ada", "eve"), Excluded: list("a2")}, "a1", "b1")
		r.get(hubs.Entry{Kind: hubs.SendToUsers, Users: list("")})
	})
	t.Run("G-01 G-02 G-03 join twice, send, leave, leave again", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, hubs.Config{})
		r.do(1, hubs.Entry{Kind: hubs.AddToGroup, Connections: list("a1"), Groups: list("g")})
		r.do(2, hubs.Entry{Kind: hubs.AddToGroup, Connections: list("a1", "b1", "gone"), Groups: list("g")})
		r.get(hubs.Entry{Kind: hubs.SendToGroups, Groups: list("g")}, "a1", "b1")
		r.do(1, hubs.Entry{Kind: hubs.RemoveFromGroup, Connections: list("a1"), Groups: list("g")})
		r.do(1, hubs.Entry{Kind: hubs.RemoveFromGroup, Connections: list("a1"), Groups: list("g")})
		r.get(hubs.Entry{Kind: hubs.SendToGroups, Groups: list("g")}, "b1")
	})
	t.Run("G-04 groups with exceptions; one copy for members of several", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, hubs.Config{})
		r.do(4, hubs.Entry{Kind: hubs.AddToGroup, Connections: list("a1", "a2", "b1", "n1"), Groups: list("g", "h")})
		r.get(hubs.Entry{Kind: hubs.SendToGroups, Groups: list("g", "h")}, "a1", "a2", "b1", "n1")
		r.get(hubs.Entry{Kind: hubs.SendToGroups, Groups: list("g"), Excluded: list("n1"), ExcludedUsers: list("ada")}, "b1")
	})
	t.Run("G-05 group names are exact", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, hubs.Config{})
		r.do(1, hubs.Entry{Kind: hubs.AddToGroup, Connections: list("a1"), Groups: list("Group")})
		r.get(hubs.Entry{Kind: hubs.SendToGroups, Groups: list("group")})
	})
	t.Run("G-06 membership ends with the connection", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, hubs.Config{})
		r.do(1, hubs.Entry{Kind: hubs.AddToGroup, Connections: list("a1"), Groups: list("g")})
		r.clients["a1"].hangUp()
		if err := r.clients["a1"].expectEnd(); err != nil {
			t.Errorf("Serve returned %v", err)
		}
		r.clients["a1"] = connect(t, r.s, "ada", "a1")
		r.get(hubs.Entry{Kind: hubs.SendToGroups, Groups: list("g")})
		r.count(0, hubs.Query{Kind: hubs.CountGroup, Name: "g"})
	})
	t.Run("users join and leave groups with all their connections", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, hubs.Config{})
		r.do(2, hubs.Entry{Kind: hubs.AddUserToGroup, Users: list("ada"), Groups: list("g", "h")})
		r.get(hubs.Entry{Kind: hubs.SendToGroups, Groups: list("h")}, "a1", "a2")
		r.do(2, hubs.Entry{Kind: hubs.RemoveUserFromGroup, Users: list("ada"), Groups: list("h")})
		r.get(hubs.Entry{Kind: hubs.SendToGroups, Groups: list("h")})
		r.get(hubs.Entry{Kind: hubs.SendToGroups, Groups: list("g")}, "a1", "a2")
		r.do(2, hubs.Entry{Kind: hubs.RemoveUserFromGroups, Users: list("ada")})
		r.get(hubs.Entry{Kind: hubs.SendToGroups, Groups: list("g")})
	})
	t.Run("a connection leaves all its groups", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, hubs.Config{})
		r.do(1, hubs.Entry{Kind: hubs.AddToGroup, Connections: list("a1"), Groups: list("g", "h")})
		r.do(1, hubs.Entry{Kind: hubs.RemoveFromAllGroups, Connections: list("a1", "gone")})
		r.get(hubs.Entry{Kind: hubs.SendToGroups, Groups: list("g", "h")})
	})
	t.Run("later connections of a user join its stored groups, until removed", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, hubs.Config{})
		r.do(0, hubs.Entry{Kind: hubs.AddUserToGroup, Users: list("eve"), Groups: list("kept"), TTLSeconds: -1})
		r.do(0, hubs.Entry{Kind: hubs.AddUserToGroup, Users: list("eve"), Groups: list("now"), TTLSeconds: 0})
		r.clients["e1"] = connect(t, r.s, "eve", "e1")
		r.get(hubs.Entry{Kind: hubs.SendToGroups, Groups: list("kept", "now")}, "e1")
		r.get(hubs.Entry{Kind: hubs.SendToGroups, Groups: list("now")})
		r.do(1, hubs.Entry{Kind: hubs.RemoveUserFromGroup, Users: list("eve"), Groups: list("kept")})
		r.clients["e2"] = connect(t, r.s, "eve", "e2")
		r.get(hubs.Entry{Kind: hubs.SendToGroups, Groups: list("kept")})
	})
	t.Run("a connection joins no more groups than allowed", func(t *testing.T) {
		t.Parallel()
		m := &meter{}
		r := newRoom(t, hubs.Config{Options: hubs.Options{MaximumGroups: 2}, Meter: m})
		r.do(0, hubs.Entry{Kind: hubs.AddToGroup, Connections: list("a1"), Groups: list("g", "h", "i")})
		r.get(hubs.Entry{Kind: hubs.SendToGroups, Groups: list("h")}, "a1")
		r.get(hubs.Entry{Kind: hubs.SendToGroups, Groups: list("i")})
		m.get(func() {
			if m.refused[hubs.RefusedGroups] != 1 {
				t.Errorf("refused %v", m.refused)
			}
		})
	})
	t.Run("queries count", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, hubs.Config{})
		r.do(2, hubs.Entry{Kind: hubs.AddToGroup, Connections: list("a1", "b1"), Groups: list("g")})
		r.count(4, hubs.Query{Kind: hubs.CountConnections})
		r.count(1, hubs.Query{Kind: hubs.CountConnection, Name: "a1"})
		r.count(0, hubs.Query{Kind: hubs.CountConnection, Name: "A1"})
		r.count(2, hubs.Query{Kind: hubs.CountGroup, Name: "g"})
		r.count(2, hubs.Query{Kind: hubs.CountUser, Name: "ada"})
		r.count(0, hubs.Query{Kind: hubs.CountUser, Name: ""})
		r.count(1, hubs.Query{Kind: hubs.CountUserInGroup, Name: "g", User: "ada"})
		r.count(0, hubs.Query{Kind: hubs.CountUserInGroup, Name: "h", User: "ada"})
	})
	t.Run("E-09 E-10 connections are closed with reason and reconnect flag", func(t *testing.T) {
		t.Parallel()
		for _, c := range []struct {
			entry hubs.Entry
			frame string
			who   string
		}{
			{hubs.Entry{Connections: list("a1")}, `{"type":7}`, "a1"},
			{hubs.Entry{Connections: list("a1", "a2"), Excluded: list("a2"), Reason: "why"}, `{"type":7,"error":"why"}`, "a1"},
			{hubs.Entry{Users: list("ada"), AllowReconnect: true}, `{"type":7,"allowReconnect":true}`, "a1 a2"},
			{hubs.Entry{Groups: list("g")}, `{"type":7}`, "b1"},
			{hubs.Entry{Excluded: list("n1"), ExcludedUsers: list("bob")}, `{"type":7}`, "a1 a2"},
			{hubs.Entry{}, `{"type":7}`, "a1 a2 b1 n1"},
		} {
			r := newRoom(t, hubs.Config{})
			r.do(1, hubs.Entry{Kind: hubs.AddToGroup, Connections: list("b1"), Groups: list("g")})
			c.entry.Kind = hubs.CloseConnections
			who := strings.Fields(c.who)
			r.do(len(who), c.entry)
			for _, id := range who {
				r.clients[id].expect(c.frame + "\x1e")
				_ = r.clients[id].expectEnd()
				delete(r.clients, id)
			}
			r.do(0, hubs.Entry{Kind: hubs.CloseConnections, Connections: who})
			var rest []string
			for id := range r.clients {
				rest = append(rest, id)
			}
			r.get(hubs.Entry{Kind: hubs.SendToAll}, rest...)
		}
	})
	t.Run("P-07 clients of both protocols get their own frames", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, hubs.Config{})
		json := connect(t, s, "", "")
		pack := serve(t, s, "", "")
		pack.send("{\"protocol\":\"messagepack\",\"version\":1}\x1e")
		pack.expect("{}\x1e")
		frame := "{\"json\":1}\x1e"
		command(t, s, &hubs.Entry{Kind: hubs.SendToAll, Message: &hubs.Broadcast{Frames: map[string][]byte{"json": []byte(frame), "messagepack": []byte("pack\x1e")}}})
		json.expect(frame)
		pack.expect("pack\x1e")
	})
	t.Run("P-08 500 pushes once each and in order", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, hubs.Config{})
		var want []string
		for i := range 500 {
			f, _ := sendTo(t, r.s, hubs.Entry{Kind: hubs.SendToAll}, fmt.Sprint(i))
			want = append(want, f)
		}
		for _, w := range r.clients {
			w.expect(want...)
		}
	})
	t.Run("an entry of a kind from the future is skipped", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, hubs.Config{})
		r.do(0, hubs.Entry{Kind: 200})
		r.get(hubs.Entry{Kind: hubs.SendToAll}, "a1", "a2", "b1", "n1")
	})
}
