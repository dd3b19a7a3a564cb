package hubs_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// dialProxied connects a client with stateful reconnect whose hub server is p.
func dialProxied(t *testing.T, s *hubs.Server, p *proxy, proto protocol.Protocol) (*resumer, *session) {
	t.Helper()
	c := dialStateful(t, s, proto, "a")
	session := p.next(t)
	return c, session
}

// tell sends a push of number i by way of the hub server.
func (s *session) tell(t *testing.T, c *resumer, i int) {
	t.Helper()
	frame, err := c.proto.Append(nil, &protocol.Message{Type: protocol.Invocation, Target: "show", Arguments: c.args([]any{strconv.Itoa(i)})})
	if err != nil {
		t.Fatal(err)
	}
	s.conn.Forward(hubs.Position{}, frame)
}

func TestProxy_stateful_reconnect_ends_here(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, proto protocol.Protocol) {
		p := newProxy()
		s := newServer(t, hubs.Config{Handle: p.handle})
		c, session := dialProxied(t, s, p, proto)

		// What the hub server says and what is published are numbered together.
		for i := 1; i <= 10; i += 2 {
			session.tell(t, c, i)
			push(t, s, i+1, i+1)
		}
		c.wantShown(1, 10)
		c.number(protocol.Ack, 4)
		c.invoke("", "first")
		wantPassed(t, session, protocol.Invocation)
		c.cut()
		session.tell(t, c, 11)
		push(t, s, 12, 12)
		c.back()
		c.wantNumber(protocol.Sequence, 5)
		c.wantShown(5, 12)

		// The client's own messages reach the hub server once.
		c.number(protocol.Sequence, 1)
		c.invoke("", "first")
		c.invoke("", "second")
		if m := wantPassed(t, session, protocol.Invocation); proto.Name() == "json" && m != "{\"type\":1,\"target\":\"second\",\"arguments\":[]}\x1e" {
			t.Errorf("got %q", m)
		}
		c.number(protocol.Ack, 12)
		session.tell(t, c, 13)
		c.wantShown(13, 13)
	})
}

// wantPassed expects the next message, of this type, at the hub server.
func wantPassed(t *testing.T, s *session, typ protocol.Type) string {
	t.Helper()
	m := nextOf(t, s.got)
	if m.typ != typ {
		t.Fatalf("got %v, want type %d", m, typ)
	}
	return m.raw
}

func TestProxy_client_that_is_away_is_alive(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle})
	c, session := dialProxied(t, s, p, protocol.NewJSON())
	c.send(ping)
	wantPassed(t, session, protocol.Ping)
	c.cut()
	if got := wantPassed(t, session, protocol.Ping); got != ping {
		t.Errorf("got %q", got)
	}
	c.back()
	c.number(protocol.Sequence, 1)
	c.invoke("", "back")
	wantPassed(t, session, protocol.Invocation)
}

func TestProxy_pings_pass_messages_that_wait_for_an_Ack(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle, Options: hubs.Options{StatefulReconnectBufferSize: 60}})
	c, session := dialProxied(t, s, p, protocol.NewJSON())
	for i := 1; i <= 3; i++ {
		session.tell(t, c, i)
	}
	c.wantShown(1, 1)
	session.forward(ping)
	c.wire.expect(ping)
	for i := 2; i <= 3; i++ {
		c.number(protocol.Ack, int64(i-1))
		c.wantShown(i, i)
	}
}

func TestProxy_client_that_stays_away_is_lost(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle, Options: hubs.Options{StatefulReconnectWindow: 1}})
	c, session := dialProxied(t, s, p, protocol.NewJSON())
	c.cut()
	if session.wantClosed(t) == nil {
		t.Error("the session was told of an orderly end")
	}
	if c.serveReturned() == nil {
		t.Error("Serve returned no error")
	}
}

// nextOf waits for a value.
func nextOf[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(wait):
		t.Fatalf("nothing came within %v", wait)
		panic("unreachable")
	}
}
