package hubs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// lobby is the hub of the tests for targets and client results.
type lobby struct {
	*gate
	results   chan string
	connected func(ctx context.Context) error
	left      chan error
}

func (r *lobby) OnConnected(ctx context.Context) error {
	if r.connected == nil {
		return nil
	}
	return r.connected(ctx)
}

func (r *lobby) OnDisconnected(ctx context.Context, cause error) {
	if r.left != nil {
		_ = hubs.FromContext(ctx).Others().Send(ctx, "left", hubs.FromContext(ctx).UserID())
		r.left <- cause
	}
}

// Send sends text to the target that how names.
func (*lobby) Send(ctx context.Context, how string, names []string, text string) error {
	c := hubs.FromContext(ctx)
	to := map[string]func() hubs.Target{
		"all": c.All, "others": c.Others, "caller": c.Caller,
		"allexcept":     func() hubs.Target { return c.AllExcept(names...) },
		"client":        func() hubs.Target { return c.Client(names[0]) },
		"clients":       func() hubs.Target { return c.Clients(names...) },
		"group":         func() hubs.Target { return c.Group(names[0]) },
		"groups":        func() hubs.Target { return c.Groups(names...) },
		"groupexcept":   func() hubs.Target { return c.GroupExcept(names[0], names[1:]...) },
		"othersingroup": func() hubs.Target { return c.OthersInGroup(names[0]) },
		"user":          func() hubs.Target { return c.User(names[0]) },
		"users":         func() hubs.Target { return c.Users(names...) },
	}[how]
	return to().Send(ctx, "show", text)
}

func (*lobby) Join(ctx context.Context, group string) error {
	return hubs.FromContext(ctx).Join(ctx, group)
}

func (*lobby) Leave(ctx context.Context, group string) error {
	return hubs.FromContext(ctx).Leave(ctx, group)
}

func (*lobby) Ask(ctx context.Context, id string) (string, error) {
	c := hubs.FromContext(ctx)
	to := c.Caller()
	if id != "" {
		to = c.Client(id)
	}
	return hubs.Invoke[string](ctx, to, "ask", 1)
}

func (*lobby) AskAll(ctx context.Context) (int, error) {
	return hubs.Invoke[int](ctx, hubs.FromContext(ctx).All(), "ask")
}

func (*lobby) Ping() string { return "pong" }

func (*lobby) Remember(ctx context.Context, v int) any {
	c := hubs.FromContext(ctx)
	was := c.Value("key")
	c.SetValue("key", v)
	return was
}

func newLobby(t *testing.T, o hubs.Options) (*hubs.Server, *lobby) {
	r := &lobby{gate: newGate(), results: make(chan string, 10)}
	return registered(t, hubs.Config{Options: o}, r), r
}

func TestTargets(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, p protocol.Protocol) {
		s, _ := newLobby(t, hubs.Options{})
		clients := map[string]*peer{}
		for id, user := range map[string]string{"a": "ann", "b": "bob", "b2": "bob", "d": ""} {
			proto := p
			if id == "b2" { // P-07: one of them speaks the other protocol
				proto = map[string]protocol.Protocol{"json": protocol.NewMessagePack(), "messagepack": protocol.NewJSON()}[p.Name()]
			}
			clients[id] = dial(t, s, proto, user, id)
		}
		groups := map[string][]string{"g": {"a", "b"}, "h": {"b", "d"}, "G": {"d"}}
		for g, ids := range groups {
			for _, id := range ids {
				for range 2 { // G-02: joining twice is joining once
					clients[id].invoke("j", "Join", g)
					clients[id].wantVoid("j")
				}
			}
		}
		outside := s.Context()
		for _, c := range []struct {
			name, how string
			names     []string
			want      string
			outside   func() hubs.Target
		}{
			{"P-04 all", "all", nil, "a b b2 d", outside.All},
			{"P-04 others", "others", nil, "b b2 d", nil},
			{"P-04 caller", "caller", nil, "a", nil},
			{"P-04 all except", "allexcept", []string{"a", "d", "x"}, "b b2", func() hubs.Target { return outside.AllExcept("a", "d", "x") }},
			{"P-05 client", "client", []string{"d"}, "d", func() hubs.Target { return outside.Client("d") }},
			{"P-05 unknown client", "client", []string{"x"}, "", func() hubs.Target { return outside.Client("x") }},
			{"P-05 clients", "clients", []string{"x", "a", "b2", "a"}, "a b2", func() hubs.Target { return outside.Clients("x", "a", "b2", "a") }},
			{"P-05 no clients", "clients", nil, "", func() hubs.Target { return outside.Clients() }},
			{"P-06 user", "user", []string{"bob"}, "b b2", func() hubs.Target { return outside.User("bob") }},
			{"P-06 users", "users", []string{"ann", "bob", "x"}, "a b b2", func() hubs.Target { return outside.Users("ann", "bob", "x") }},
			{"G-01 group", "group", []string{"g"}, "a b", func() hubs.Target { return outside.Group("g") }},
			{"G-04 groups once each", "groups", []string{"g", "h"}, "a b d", func() hubs.Target { return outside.Groups("g", "h") }},
			{"G-04 group except", "groupexcept", []string{"h", "d"}, "b", func() hubs.Target { return outside.GroupExcept("h", "d") }},
			{"G-04 others in group", "othersingroup", []string{"g"}, "b", nil},
			{"G-05 names differ by case", "group", []string{"G"}, "d", func() hubs.Target { return outside.Group("G") }},
		} {
			t.Run(c.name, func(t *testing.T) {
				check := func(text string) {
					t.Helper()
					// What comes after it shows what didn't come.
					if err := outside.All().Send(t.Context(), "mark"); err != nil {
						t.Fatal(err)
					}
					for id, client := range clients {
						if has(c.want, id) {
							wantPush(client, "show", text)
						}
						if m := client.want(protocol.Invocation, ""); m.Target != "mark" { // P-02: no id
							t.Errorf("%s got %s", id, m.Target)
						}
					}
				}
				clients["a"].invoke("", "Send", c.how, c.names, c.name)
				clients["a"].invoke("s", "Ping")
				// The answer comes after what the method sent, and what others
				// sent may stand before it.
				var pushed *protocol.Message
				for m := clients["a"].next(); m.Type != protocol.Completion; m = clients["a"].next() {
					pushed = m
				}
				if (pushed != nil) != has(c.want, "a") {
					t.Errorf("the caller got %+v", pushed)
				}
				saved := c.want
				c.want = strings.TrimPrefix(strings.TrimPrefix(c.want, "a"), " ")
				check(c.name)
				c.want = saved
				if c.outside != nil {
					if err := c.outside().Send(t.Context(), "show", "out"); err != nil {
						t.Fatal(err)
					}
					check("out")
				}
			})
		}
		t.Run("G-01 G-03 leaving, also when not in", func(t *testing.T) {
			for range 2 {
				clients["a"].invoke("l", "Leave", "g")
				clients["a"].wantVoid("l")
			}
			clients["a"].invoke("", "Send", "group", []string{"g"}, "to b")
			clients["a"].invoke("1", "Ping")
			wantResult(clients["a"], "1", "pong")
			wantPush(clients["b"], "show", "to b")
		})
		t.Run("G-06 membership ends with the connection", func(t *testing.T) {
			clients["b"].Abort()
			_ = clients["b"].serveReturned()
			again := dial(t, s, p, "bob", "b")
			if err := outside.Groups("g", "h").Send(t.Context(), "show", "nobody but d"); err != nil {
				t.Fatal(err)
			}
			again.invoke("1", "Ping")
			wantResult(again, "1", "pong")
		})
		t.Run("outside of the hub", func(t *testing.T) {
			a := clients["a"]
			if err := errors.Join(outside.AddToGroup(t.Context(), "a", "z"), outside.Group("z").Send(t.Context(), "show", "z"),
				outside.RemoveFromGroup(t.Context(), "a", "z"), outside.Group("z").Send(t.Context(), "show", "not"),
				outside.AddToGroup(t.Context(), "nobody", "z")); err != nil {
				t.Fatal(err)
			}
			wantPush(a, "show", "z")
			if outside.Group("").Send(t.Context(), "show") == nil || outside.AddToGroup(t.Context(), "a", "") == nil || outside.All().Send(t.Context(), "show", make(chan int)) == nil {
				t.Error("no error for what can't be sent")
			}
			if err := outside.CloseConnection(t.Context(), "a", "bye", true); err != nil {
				t.Fatal(err)
			}
			if m := a.next(); m.Type != protocol.Close || m.Error != "bye" || !m.AllowReconnect {
				t.Errorf("got %+v", m)
			}
		})
	})
}

func has(names, name string) bool {
	for n := range strings.FieldsSeq(names) {
		if n == name {
			return true
		}
	}
	return false
}

func TestPushes_come_once_and_in_order(t *testing.T) {
	t.Parallel()
	s, _ := newLobby(t, hubs.Options{})
	c := dial(t, s, protocol.NewMessagePack(), "", "c1")
	t.Run("P-08", func(t *testing.T) {
		for i := range 500 {
			if err := s.Context().All().Send(t.Context(), "n", i); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 500 {
			wantPush(c, "n", i)
		}
	})
}

func TestGroups_have_a_limit(t *testing.T) {
	t.Parallel()
	s, _ := newLobby(t, hubs.Options{MaximumGroups: 1})
	c := dial(t, s, protocol.NewJSON(), "", "c1")
	c.invoke("1", "Join", "a")
	c.wantVoid("1")
	c.invoke("2", "Join", "b")
	c.wantError("2", fmt.Sprintf(generic, "Join")+" HubException: A connection can be in at most 1 groups.")
}

func TestClient_results(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, p protocol.Protocol) {
		s, _ := newLobby(t, hubs.Options{EnableDetailedErrors: true})
		c := dial(t, s, p, "", "c1")
		other := dial(t, s, p, "", "c2")
		head := fmt.Sprintf(generic, "Ask")

		// asked expects the server's invocation and returns its id.
		asked := func(c *peer) string {
			t.Helper()
			m := c.next()
			if m == nil || m.Type != protocol.Invocation || m.InvocationID == "" || m.Target != "ask" {
				t.Fatalf("got %+v", m)
			}
			return m.InvocationID
		}
		t.Run("C-01 the client's answer", func(t *testing.T) {
			c.invoke("1", "Ask", "")
			c.put(&protocol.Message{Type: protocol.Completion, InvocationID: asked(c), Result: c.raw("yes")})
			wantResult(c, "1", "yes")
		})
		t.Run("C-02 C-03 the client's error", func(t *testing.T) {
			for _, text := range []string{"Error: from callback", "Client didn't provide a result."} {
				c.invoke("1", "Ask", "")
				c.fail(asked(c), text)
				c.wantError("1", head+" HubException: "+text)
			}
		})
		t.Run("C-04 other calls are answered meanwhile", func(t *testing.T) {
			c.invoke("1", "Ask", "")
			id := asked(c)
			for i := range 300 {
				c.invoke(fmt.Sprint("p", i), "Ping")
				wantResult(c, fmt.Sprint("p", i), "pong")
			}
			c.put(&protocol.Message{Type: protocol.Completion, InvocationID: id, Result: c.raw("late")})
			wantResult(c, "1", "late")
		})
		t.Run("C-05 from outside and of another client", func(t *testing.T) {
			go func() {
				other.put(&protocol.Message{Type: protocol.Completion, InvocationID: asked(other), Result: other.raw(7)})
			}()
			if n, err := hubs.Invoke[int](t.Context(), s.Context().Client("c2"), "ask"); n != 7 || err != nil {
				t.Errorf("got %d, %v", n, err)
			}
			c.invoke("1", "Ask", "c2")
			other.put(&protocol.Message{Type: protocol.Completion, InvocationID: asked(other), Result: other.raw("c2's")})
			wantResult(c, "1", "c2's")
		})
		t.Run("C-06 an unknown connection", func(t *testing.T) {
			c.invoke("1", "Ask", "nobody")
			c.wantError("1", head+" Exception: Connection 'nobody' does not exist.")
		})
		t.Run("C-08 answers of others and too late are ignored", func(t *testing.T) {
			c.invoke("1", "Ask", "")
			id := asked(c)
			other.put(&protocol.Message{Type: protocol.Completion, InvocationID: id, Result: other.raw("forged")})
			other.invoke("2", "Ping")
			wantResult(other, "2", "pong")
			for _, v := range []string{"true", "again"} {
				c.put(&protocol.Message{Type: protocol.Completion, InvocationID: id, Result: c.raw(v)})
			}
			wantResult(c, "1", "true")
		})
		t.Run("C-09 only single clients", func(t *testing.T) {
			c.invoke("1", "AskAll")
			c.wantError("1", fmt.Sprintf(generic, "AskAll")+" InvalidOperationException: InvokeAsync only works with Single clients.")
		})
		t.Run("C-11 an answer of the wrong type", func(t *testing.T) {
			c.invoke("1", "Ask", "")
			c.put(&protocol.Message{Type: protocol.Completion, InvocationID: asked(c), Result: c.raw([]int{1})})
			if m := c.want(protocol.Completion, "1"); !strings.HasPrefix(m.Error, head+" Exception: Error trying to deserialize result to string. ") {
				t.Errorf("got %q", m.Error)
			}
		})
		t.Run("a cancelled wait", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				asked(other)
				cancel()
			}()
			if _, err := hubs.Invoke[int](ctx, s.Context().Client("c2"), "ask"); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
		t.Run("at most a hundred wait", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			failed := make(chan error, 101)
			for range 101 {
				go func() {
					_, err := hubs.Invoke[int](ctx, s.Context().Client("c2"), "ask")
					failed <- err
				}()
			}
			for range 100 {
				asked(other)
			}
			if err := <-failed; err == nil || errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			cancel()
			for range 100 {
				<-failed
			}
		})
		t.Run("C-07 the connection ends meanwhile", func(t *testing.T) {
			c.invoke("1", "Ask", "c2")
			asked(other)
			other.Abort()
			c.wantError("1", head+" Exception: Connection 'c2' disconnected.")
		})
	})
}

func TestLifecycle_of_a_hub(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, p protocol.Protocol) {
		t.Run("C-10 no client results in OnConnected", func(t *testing.T) {
			s, hub := newLobby(t, hubs.Options{EnableDetailedErrors: true})
			hub.connected = func(ctx context.Context) error {
				_, err := hubs.Invoke[int](ctx, hubs.FromContext(ctx).Caller(), "ask")
				return err
			}
			c := dial(t, s, p, "", "c1")
			if m := c.next(); m.Type != protocol.Close || m.Error != "Connection closed with an error. InvalidOperationException: Client results inside OnConnectedAsync Hub methods are not allowed." {
				t.Errorf("got %+v", m)
			}
		})
		t.Run("E-08 OnConnected fails", func(t *testing.T) {
			s, hub := newLobby(t, hubs.Options{})
			hub.connected = func(context.Context) error { return errors.New("secret") }
			c := dial(t, s, p, "", "c1")
			if m := c.next(); m.Type != protocol.Close || m.Error != "Connection closed with an error." {
				t.Errorf("got %+v", m)
			}
		})
		t.Run("greeting, values and leaving", func(t *testing.T) {
			s, hub := newLobby(t, hubs.Options{})
			hub.left = make(chan error, 10)
			hub.connected = func(ctx context.Context) error {
				c := hubs.FromContext(ctx)
				return errors.Join(c.Join(ctx, "all"), c.Caller().Send(ctx, "hello", c.UserID()), c.Group("all").Send(ctx, "joined", c.ConnectionID()))
			}
			a := dial(t, s, p, "ann", "a")
			wantPush(a, "hello", "ann")
			wantPush(a, "joined", "a")
			b := dial(t, s, p, "bob", "b")
			wantPush(a, "joined", "b")
			b.invoke("1", "Remember", 5)
			wantPush(b, "hello", "bob")
			wantPush(b, "joined", "b")
			b.wantVoid("1")
			b.invoke("2", "Remember", 6)
			wantResult(b, "2", 5)
			b.hangUp()
			wantPush(a, "left", "bob")
			if cause := <-hub.left; cause != nil {
				t.Errorf("left because of %v", cause)
			}
			a.Abort()
			select {
			case cause := <-hub.left:
				if cause == nil {
					t.Error("a lost connection has no cause")
				}
			case <-time.After(wait):
				t.Error("OnDisconnected wasn't called")
			}
		})
	})
}
