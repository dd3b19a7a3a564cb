package transport_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/hubs"
)

const handshake2 = "{\"protocol\":\"json\",\"version\":2}\x1e"

func sequence(n int) string { return fmt.Sprintf("{\"type\":9,\"sequenceId\":%d}\x1e", n) }
func ack(n int) string      { return fmt.Sprintf("{\"type\":8,\"sequenceId\":%d}\x1e", n) }

func invocation(target string) string {
	return fmt.Sprintf("{\"type\":1,\"target\":%q,\"arguments\":[]}\x1e", target)
}

func stateful(s *setup) { s.endpoint.StatefulReconnect = true }

// resumable connects a client that may come back; query opens its connection again.
func (s *site) resumable(user string) (ws *socket, query, id string) {
	s.t.Helper()
	a := s.do("POST", "/negotiate", "?negotiateVersion=1&useStatefulReconnect=true", "", as(user))
	if !strings.Contains(a.body, `"useStatefulReconnect":true`) {
		s.t.Fatalf("negotiate: %d %s", a.status, a.body)
	}
	n := parse[negotiation](s.t, a.body)
	query = "?id=" + n.ConnectionToken
	ws = s.redial(query, user)
	ws.send(handshake2)
	ws.expect("{}\x1e")
	return ws, query, n.ConnectionID
}

// redial opens a WebSocket that must be accepted.
func (s *site) redial(query, user string) *socket {
	s.t.Helper()
	ws, resp, err := s.dial(query, as(user))
	if err != nil {
		s.t.Fatalf("dial: %v, %v", resp, err)
	}
	return ws
}

// refused dials until the answer is this status.
func (s *site) refused(query, user string, status int) {
	s.t.Helper()
	until(s.t, fmt.Sprintf("an answer of %d", status), func() bool {
		ws, resp, err := s.dial(query, as(user))
		if err == nil {
			_ = ws.conn.CloseNow()
		}
		return err != nil && resp != nil && resp.StatusCode == status
	})
}

func (ws *socket) cut() { _ = ws.conn.CloseNow() }

func TestStatefulReconnect(t *testing.T) {
	t.Parallel()
	t.Run("N-11 N-12 it is negotiated when the client asks and the endpoint allows it", func(t *testing.T) {
		t.Parallel()
		on, off := newSite(t, stateful), newSite(t, nil)
		polling := newSite(t, func(s *setup) { stateful(s); s.endpoint.Transports = []hubs.TransportKind{hubs.LongPolling} })
		for _, c := range []struct {
			site  *site
			query string
			want  bool
		}{
			{on, "&useStatefulReconnect=true", true}, {on, "&UseStatefulReconnect=True", true},
			{on, "&useStatefulReconnect=false", false}, {on, "&useStatefulReconnect=x", false}, {on, "", false},
			{off, "&useStatefulReconnect=true", false}, {polling, "&useStatefulReconnect=true", false},
		} {
			a := c.site.do("POST", "/negotiate", "?negotiateVersion=1"+c.query, "", nil)
			if strings.Contains(a.body, `"useStatefulReconnect":true`) != c.want || strings.Contains(a.body, "useStatefulReconnect") != c.want {
				t.Errorf("%q was answered %s", c.query, a.body)
			}
		}
	})
	t.Run("R-04 R-05 R-06 a client whose socket is lost goes on with another and no handshake", func(t *testing.T) {
		t.Parallel()
		r := newRecorder()
		s := newSite(t, func(s *setup) { stateful(s); s.config.Dispatcher = r })
		ws, query, _ := s.resumable("ada")
		first := s.publish("first")
		ws.expect(first)
		ws.cut()
		second := s.publish("second")
		ws = s.redial(query, "ada")
		ws.send(invocation("lost") + sequence(1) + invocation("a"))
		ws.expect(sequence(1), first, second, s.publish("third"))
		if got := <-r.targets; got != "a" {
			t.Errorf("got %q", got)
		}
		ws.send(ack(3) + invocation("b"))
		if got := <-r.targets; got != "b" {
			t.Errorf("got %q", got)
		}
		select {
		case err := <-r.disconnected:
			t.Errorf("disconnected: %v", err)
		default:
		}
	})
	t.Run("R-12 a new socket ends the one that stands", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, stateful)
		old, query, _ := s.resumable("ada")
		for range 5 {
			ws := s.redial(query, "ada")
			if got, err := old.read(); err == nil {
				t.Fatalf("the old socket got %q, want its end", got)
			}
			ws.expect(sequence(1))
			old = ws
		}
		old.expect(s.publish("on the last one"))
	})
	t.Run("R-13 Close or status 1000 spends the id, no status doesn't", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, stateful)
		ws, query, _ := s.resumable("ada")
		_ = ws.conn.Close(websocket.StatusNormalClosure, "")
		s.refused(query, "ada", 404)

		ws, query, _ = s.resumable("ada")
		ws.send("{\"type\":7}\x1e")
		ws.expectClosed(websocket.StatusNormalClosure)
		s.refused(query, "ada", 404)

		for _, status := range []websocket.StatusCode{websocket.StatusNoStatusRcvd, websocket.StatusGoingAway} {
			ws, query, _ = s.resumable("ada")
			_ = ws.conn.Close(status, "")
			ws = s.redial(query, "ada")
			ws.expect(sequence(1))
		}
	})
	t.Run("R-14 the id is unknown when the window is over", func(t *testing.T) {
		t.Parallel()
		r := newRecorder()
		s := newSite(t, func(s *setup) {
			stateful(s)
			s.config.Dispatcher = r
			s.config.Options.StatefulReconnectWindow = 50 * time.Millisecond
		})
		ws, query, _ := s.resumable("ada")
		ws.cut()
		select {
		case err := <-r.disconnected:
			if err == nil {
				t.Error("disconnected without a cause")
			}
		case <-time.After(wait):
			t.Fatal("not disconnected")
		}
		s.refused(query, "ada", 404)
		if len(r.disconnected) != 0 {
			t.Error("disconnected twice")
		}
	})
	t.Run("R-16 without negotiation the id of a lost socket is spent", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, stateful)
		n := s.negotiate("ada")
		ws := s.redial("?id="+n.ConnectionToken, "ada")
		ws.send(handshake2)
		ws.expect("{}\x1e")
		ws.cut()
		s.refused("?id="+n.ConnectionToken, "ada", 404)
	})
	t.Run("a client that chose version 1 can't come back", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, stateful)
		n := parse[negotiation](t, s.do("POST", "/negotiate", "?negotiateVersion=1&useStatefulReconnect=true", "", as("ada")).body)
		ws := s.redial("?id="+n.ConnectionToken, "ada")
		ws.send(handshake)
		ws.expect("{}\x1e")
		s.refused("?id="+n.ConnectionToken, "ada", 409)
		ws.expect(s.publish("undisturbed"))
		ws.cut()
		s.refused("?id="+n.ConnectionToken, "ada", 404)
	})
	t.Run("SEC-12 another user gets 403, another hub 404, nobody 401, and the client notices nothing", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, stateful)
		other := newSite(t, func(s *setup) { stateful(s); s.endpoint.Scope = "tenant/other" })
		ws, query, _ := s.resumable("ada")
		s.refused(query, "bob", 403)
		s.refused(query, "", 403)
		s.refused(query, "nobody", 401)
		other.refused(query, "ada", 404)
		ws.expect(s.publish("undisturbed"))
	})
	t.Run("other requests for the id are refused as for any WebSocket", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, stateful)
		ws, query, _ := s.resumable("ada")
		s.do("POST", "", query, "x", as("ada")).want(t, 405, "POST requests are not allowed for WebSocket connections.")
		s.do("GET", "", query, "", as("ada")).want(t, 400, "Cannot change transports mid-connection")
		s.do("DELETE", "", query, "", as("ada")).want(t, 400, "Cannot terminate this connection using the DELETE endpoint.")
		ws.expect(s.publish("undisturbed"))
	})
	t.Run("an admission is held until the connection ends", func(t *testing.T) {
		t.Parallel()
		done := make(chan struct{}, 10)
		admitted := make(chan struct{}, 10)
		s := newSite(t, func(s *setup) {
			stateful(s)
			s.endpoint.Admit = counting(admitted, done)
		})
		ws, query, _ := s.resumable("ada")
		for range 3 {
			ws.cut()
			ws = s.redial(query, "ada")
			ws.expect(sequence(1))
		}
		if len(admitted) != 1 || len(done) != 0 {
			t.Errorf("admitted %d times, ended %d times", len(admitted), len(done))
		}
		_ = ws.conn.Close(websocket.StatusNormalClosure, "")
		s.refused(query, "ada", 404)
		<-done // right behind the id
		if len(done) != 0 {
			t.Error("ended twice")
		}
	})
	t.Run("a client comes back to any node while its owner lives", func(t *testing.T) {
		t.Parallel()
		nodes, all := newNodes(t, 3)
		ws, query, id := nodes[0].resumable("ada")
		var frames []string
		for i := range 8 {
			ws.cut()
			frames = append(frames, nodes[i%2].publish(fmt.Sprint("while away ", i)))
			ws = nodes[i%3].redial(query, "ada")
			ws.expect(sequence(1))
			ws.expect(frames...)
			if _, ok := nodes[0].hub.Connection(id); !ok {
				t.Fatal("its owner doesn't have it any more")
			}
			nodes[(i+1)%3].refused(query, "bob", 403)
		}
		// The socket that stands is on another node than the one that takes over.
		next := nodes[2].redial(query, "ada")
		if got, err := ws.read(); err == nil {
			t.Fatalf("the old socket got %q, want its end", got)
		}
		next.cut()
		all.mu.Lock()
		delete(all.nodes, "a")
		all.mu.Unlock()
		nodes[1].refused(query, "ada", 404)
	})
}
