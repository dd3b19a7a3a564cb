package pairing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/protocol"
)

func TestClient_messages_have_their_types(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c, s := h.paired()
	for _, m := range []sent{
		{ping, pairing.DataOther},
		{invocation(1), pairing.DataInvocation},
		{"{\"type\":4,\"invocationId\":\"1\",\"target\":\"t\",\"arguments\":[]}\x1e", pairing.DataInvocation},
		{"{\"type\":2,\"invocationId\":\"1\",\"item\":1}\x1e", pairing.DataOther},
		{"{\"type\":3,\"invocationId\":\"1\"}\x1e", pairing.DataOther},
		{"{\"type\":5,\"invocationId\":\"1\"}\x1e", pairing.DataOther},
		{"{\"type\":77}\x1e", pairing.DataUnknown},
		{"{\"type\":7}\x1e", pairing.DataClose},
	} {
		c.send(m.payload)
		want(t, s.sent, m)
	}
	want(t, s.ended, [2]string{"", ""})
}

func TestClient_that_can_t_be_paired(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		err        error
		code, want string
	}{
		"no_server":   {pairing.ErrNoServer, pairing.CodeNoServer, "No app server is connected to hub 'chat'."},
		"server_away": {pairing.ErrServerAway, pairing.CodeServerAway, "The app server that this client belongs to is not connected."},
		"unknown":     {errors.New("dial 10.0.0.7: refused"), pairing.CodeUnreachable, "No app server could be reached."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.fleet.err = row.err
			c := h.connect(hubs.ConnectionInfo{ID: "c"})
			next(t, c.ended)
			if got := string(c.out); !strings.HasPrefix(got, "{\"error\":\""+row.code+": "+row.want) || strings.Contains(got, "10.0.0.7") {
				t.Errorf("got %q", got)
			}
			if h.count(row.code) != 1 {
				t.Errorf("refusals: %v", h.refused)
			}
		})
	}
}

func TestClient_whose_app_server_closes_it(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c, s := h.paired()
	s.deliver(t, show)
	s.d.Close(hubs.Position{}, "Go home.")
	s.deliver(t, show) // too late
	c.expect(show, "{\"type\":7,\"error\":\"Go home.\"}\x1e")
	next(t, c.ended)
	none(t, s.ended) // it knows
	if h.count(pairing.CodeServerLost) != 0 {
		t.Error("counted as lost")
	}
}

func TestClient_is_closed_behind_what_it_is_still_owed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c, s := h.paired()
	after, err := h.server.Backplane().Publish(t.Context(), &hubs.Entry{Kind: hubs.SendToGroups, Groups: []string{"none"}, Message: &hubs.Broadcast{Target: "t"}}, hubs.PublishOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.set(func() { s.sendErr = pairing.ErrEnded }) // it has forgotten the client
	after.Number += 2
	s.d.Close(after, "Go home.")
	c.send(invocation(1))
	for i := range 2 {
		entry := &hubs.Entry{Kind: hubs.SendToAll, Message: &hubs.Broadcast{Target: fmt.Sprint("t", i), Arguments: protocol.Raw{Bytes: []byte("[]")}}}
		if _, err := h.server.Backplane().Publish(t.Context(), entry, hubs.PublishOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	c.expect("{\"type\":1,\"target\":\"t0\",\"arguments\":[]}\x1e", "{\"type\":1,\"target\":\"t1\",\"arguments\":[]}\x1e", "{\"type\":7,\"error\":\"Go home.\"}\x1e")
}

func TestClient_whose_app_server_is_lost_may_come_back(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(c *socket, s *session){
		"as_it_is_told": func(_ *socket, s *session) { s.d.Lost(io.ErrUnexpectedEOF) },
		"by_a_message": func(c *socket, s *session) {
			s.set(func() { s.sendErr = pairing.ErrEnded })
			c.send(invocation(1))
		},
		"twice": func(_ *socket, s *session) { s.d.Lost(io.EOF); s.d.Lost(io.EOF) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			c, s := h.paired()
			lose(c, s)
			c.expect(goodbye)
			next(t, c.ended)
			if h.count(pairing.CodeServerLost) != 1 {
				t.Errorf("refusals: %v", h.refused)
			}
		})
	}
}

func TestClient_whose_app_server_is_lost_before_it_answers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.connect(hubs.ConnectionInfo{ID: "c"})
	next(t, h.fleet.opened).d.Lost(io.EOF)
	c.expect("{\"error\":\"app_server_lost: The app server behind this connection is gone. Connect again.\"}\x1e")
}

func TestClient_end_is_told_with_its_reason(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		end  func(h *house, c *socket)
		want string
	}{
		"orderly": {func(_ *house, c *socket) { c.end(io.EOF) }, ""},
		"lost":    {func(_ *house, c *socket) { c.end(errors.New("read 10.0.0.7: reset")) }, "the connection to the client is lost"},
		"closed_by_the_service": {func(h *house, _ *socket) {
			h.server.CloseWhere(func(*hubs.Connection) bool { return true }, "No.", false)
		}, "the connection was closed by the server"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			c, s := h.paired()
			row.end(h, c)
			want(t, s.ended, [2]string{row.want, ""})
		})
	}
}

func TestClient_moves_and_sees_nothing_of_it(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c, first := h.paired()
	for i := range 10 {
		c.send(invocation(i))
	}
	first.set(func() {
		first.onPause = func(context.Context) error {
			first.deliver(t, show) // its last words
			first.deliver(t, "{\"type\":1,\"tar")
			c.send(invocation(10))
			return nil
		}
	})
	first.d.Migrate()
	first.d.Migrate()
	second := next(t, h.fleet.opened)
	if second.client.MovedFrom != "server1" || second.client.ConnectionID != "c" || string(second.client.Handshake) != handshake {
		t.Errorf("moved as %+v", second.client)
	}
	want(t, first.ended, [2]string{"", "server2"})
	first.deliver(t, show) // is nobody's any more
	first.d.Lost(io.EOF)
	first.d.Migrate()
	second.deliver(t, show)
	c.expect(show, show)
	// Each message went to one of the two, in order.
	for i := range 11 {
		select {
		case m := <-first.sent:
			if m.payload != invocation(i) {
				t.Fatalf("got %v at %d", m, i)
			}
			continue
		default:
		}
		want(t, second.sent, sent{invocation(i), pairing.DataInvocation})
	}
	none(t, first.sent)
	c.end(io.EOF)
	want(t, second.ended, [2]string{"", ""})
	none(t, first.ended)
}

func TestClient_moves_again_and_again(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c, s := h.paired()
	for i := range 20 {
		s.d.Migrate()
		then := next(t, h.fleet.opened)
		if then.client.MovedFrom != s.id {
			t.Fatalf("moved from %q, want %q", then.client.MovedFrom, s.id)
		}
		want(t, s.ended, [2]string{"", then.id})
		s = then
		s.deliver(t, show)
		c.expect(show)
		c.send(invocation(i))
		want(t, s.sent, sent{invocation(i), pairing.DataInvocation})
	}
}

func TestClient_moves_before_its_handshake_is_answered(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.connect(hubs.ConnectionInfo{ID: "c"})
	first := next(t, h.fleet.opened)
	first.d.Migrate()
	second := next(t, h.fleet.opened)
	if second.client.MovedFrom != "" {
		t.Errorf("moved from %q: nobody would answer its handshake", second.client.MovedFrom)
	}
	second.deliver(t, answer)
	c.expect(answer)
}

func TestClient_that_nobody_takes_may_come_back(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(h *house, s *session){
		"no_other_server": func(h *house, _ *session) { h.fleet.err = pairing.ErrNoServer },
		"a_pause_that_fails": func(_ *house, s *session) {
			s.onPause = func(context.Context) error { return pairing.ErrEnded }
		},
		"a_pause_without_end": func(_ *house, s *session) {
			s.onPause = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			c, s := h.paired()
			prepare(h, s)
			s.d.Migrate()
			c.expect(goodbye)
			next(t, s.ended)
			next(t, c.ended)
			none(t, s.ended)
		})
	}
}

func TestClient_leaves_while_it_moves(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c, s := h.paired()
	s.set(func() {
		s.onPause = func(ctx context.Context) error { c.end(io.EOF); <-ctx.Done(); return ctx.Err() }
	})
	s.d.Migrate()
	next(t, c.ended)
	want(t, s.ended, [2]string{"", ""})
	if h.count(pairing.CodeServerLost) != 0 {
		t.Error("counted as lost")
	}
}

func TestClient_is_closed_by_the_app_server_that_it_leaves(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c, s := h.paired()
	s.set(func() {
		s.onPause = func(context.Context) error { s.d.Close(hubs.Position{}, "Go home."); return nil }
	})
	s.d.Migrate()
	c.expect("{\"type\":7,\"error\":\"Go home.\"}\x1e")
	next(t, c.ended)
	none(t, h.fleet.opened)
}

func TestClient_waits_while_its_app_server_is_behind(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c, s := h.paired()
	block := make(chan struct{})
	s.set(func() { s.block = block })
	c.send(invocation(1) + invocation(2))
	want(t, s.sent, sent{invocation(1), pairing.DataInvocation})
	s.deliver(t, show) // the other way goes on
	c.expect(show)
	none(t, s.sent)
	close(block)
	want(t, s.sent, sent{invocation(2), pairing.DataInvocation})

	// Even then the client can be moved in time, or is told.
	s.set(func() { s.block = make(chan struct{}) })
	c.send(invocation(3))
	want(t, s.sent, sent{invocation(3), pairing.DataInvocation})
	s.d.Migrate()
	c.expect(goodbye)
}
