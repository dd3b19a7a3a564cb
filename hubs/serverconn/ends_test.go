package serverconn_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/serverconn"
	sp "github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// Clients of a server connection that drops are lost at once, and no others.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil)
	a := s.connect("one", sp.ConnectionDefault, 0)
	var lost []*down
	var sessions []pairing.Session
	for i := range 20 {
		session, d := s.open(a, client(fmt.Sprint("c", i)))
		lost, sessions = append(lost, d), append(sessions, session)
	}
	b := s.connect("two", sp.ConnectionDefault, 0)
	keeps := client("keeps")
	keeps.Sticky, keeps.Server = pairing.Required, "two"
	kept, d := s.open(b, keeps)

	_ = a.ws.CloseNow()
	for i, gone := range lost {
		gone.expect("lost")
		if err := sessions[i].Send(t.Context(), []byte("x"), pairing.DataOther); !errors.Is(err, pairing.ErrEnded) {
			t.Errorf("sent to a server connection that is gone: %v", err)
		}
		sessions[i].End("late", "")
	}
	if err := kept.Send(t.Context(), []byte("on"), pairing.DataOther); err != nil {
		t.Error(err)
	}
	if m := await[*sp.ConnectionData](b); string(m.Payload) != "on" {
		t.Errorf("got %+v", m)
	}
	select {
	case e := <-d.events:
		t.Errorf("the other app server's client is told %q", e)
	default:
	}
	if s.servers() != 1 {
		t.Errorf("%d server connections are left", s.servers())
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	finished := func(a *app) {
		t.Helper()
		if p := await[*sp.Ping](a); !p.ShutdownFinished() {
			t.Errorf("answered with %+v", p)
		}
	}
	t.Run("drop", func(t *testing.T) {
		s := newStand(t, nil)
		a := s.connect("one", sp.ConnectionDefault, 0)
		_, d := s.open(a, client("c1"))
		a.send(sp.Shutdown(sp.ShutdownDrop))
		d.expect("lost")
		if m := await[*sp.CloseConnection](a); m.ConnectionID != "c1" {
			t.Errorf("closed %+v", m)
		}
		finished(a)
		if _, err := s.pool.Open(t.Context(), client("c2"), newDown(t)); !errors.Is(err, pairing.ErrNoServer) {
			t.Errorf("a client after the shutdown: %v", err)
		}
		a.send(sp.Shutdown(sp.ShutdownDrop)) // as SDKs do until they are answered
		finished(a)
	})
	t.Run("migrate", func(t *testing.T) {
		s := newStand(t, nil)
		a := s.connect("one", sp.ConnectionDefault, sp.MigrationShutdownOnly)
		var downs []*down
		var sessions []pairing.Session
		for i := range 120 {
			session, d := s.open(a, client(fmt.Sprint("c", i)))
			downs, sessions = append(downs, d), append(sessions, session)
		}
		b := s.connect("two", sp.ConnectionDefault, sp.MigrationShutdownOnly)
		a.send(sp.Shutdown(sp.ShutdownMigrate))
		finished(a)
		for _, d := range downs {
			d.expect("migrate")
		}
		a.send(sp.Shutdown(sp.ShutdownMigrate))
		finished(a)

		// Pause: what the app server sends before its answer comes first.
		paused := make(chan error, 1)
		go func() { paused <- sessions[7].Pause(context.Background()) }()
		if m := await[*sp.ConnectionFlowControl](a); m.ConnectionID != "c7" || m.Connection != sp.FlowClient || m.Operation != sp.FlowPause {
			t.Errorf("asked for %+v", m)
		}
		a.send(
			&sp.ConnectionData{ConnectionID: "c7", Payload: []byte("last")},
			&sp.ConnectionFlowControl{ConnectionID: "c7", Connection: sp.FlowClient, Operation: sp.FlowPauseAck},
		)
		if err := <-paused; err != nil {
			t.Fatal(err)
		}
		select {
		case e := <-downs[7].events:
			if e != "data last" {
				t.Errorf("before the pause came %q", e)
			}
		default:
			t.Error("the pause overtook the last bytes")
		}
		moved := client("c7")
		moved.MovedFrom = sessions[7].ServerID()
		session, err := s.pool.Open(t.Context(), moved, downs[7])
		if err != nil || session.ServerID() != "two" {
			t.Fatalf("moved to %v, %v", session, err)
		}
		if o := await[*sp.OpenConnection](b); header(o.Headers, sp.HeaderMigrateFrom) != "one" {
			t.Errorf("headers are %+v", o.Headers)
		}
		sessions[7].End("", "two")
		if m := await[*sp.CloseConnection](a); m.ConnectionID != "c7" || header(m.Headers, sp.HeaderMigrateTo) != "two" {
			t.Errorf("closed with %+v", m)
		}
	})
	t.Run("migrate_without_leave_to", func(t *testing.T) {
		s := newStand(t, nil)
		a := s.connect("one", sp.ConnectionDefault, sp.MigrationOff)
		_, d := s.open(a, client("c1"))
		a.send(sp.Shutdown(sp.ShutdownMigrate))
		d.expect("lost")
	})
	t.Run("wait", func(t *testing.T) {
		s := newStand(t, nil)
		a := s.connect("one", sp.ConnectionDefault, 0)
		_, d := s.open(a, client("c1"))
		a.send(sp.Shutdown(sp.ShutdownWait))
		finished(a)
		a.send(&sp.ConnectionData{ConnectionID: "c1", Payload: []byte("still")})
		d.expect("data still")
	})
}

func header(list []sp.Header, name string) string {
	for _, h := range list {
		if h.Name == name && len(h.Values) == 1 {
			return h.Values[0]
		}
	}
	return ""
}

// An app server of an older SDK doesn't know of pauses: only the first client waits
// for it to answer.
func TestPauseUnknown(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil, timing(func(t *serverconn.Timing) { t.Pause = 30 * time.Millisecond }))
	a := s.connect("one", sp.ConnectionDefault, sp.MigrationShutdownOnly)
	one, _ := s.open(a, client("c1"))
	two, _ := s.open(a, client("c2"))
	if err := one.Pause(t.Context()); err == nil || errors.Is(err, pairing.ErrEnded) {
		t.Errorf("paused: %v", err)
	}
	await[*sp.ConnectionFlowControl](a)
	if err := two.Pause(t.Context()); err == nil {
		t.Error("paused without an answer")
	}
	a.send(sp.ServersRequest())
	if m := a.next(); m.Type() != sp.TypePing {
		t.Errorf("the second client was asked for too: %+v", m)
	}
}

// An app server that doesn't read holds up its own clients and nobody else, until it
// is cut.
func TestStalled(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil, timing(func(t *serverconn.Timing) { t.Stalled = 500 * time.Millisecond }))
	a := s.connect("one", sp.ConnectionDefault, 0)
	session, d := s.open(a, client("c1"))
	b := s.connect("two", sp.ConnectionDefault, 0)
	c2 := client("c2")
	c2.Sticky, c2.Server = pairing.Required, "two"
	other, _ := s.open(b, c2)
	const crowd = 200
	for i := range crowd {
		c := client(fmt.Sprint("crowd", i))
		c.Sticky, c.Server = pairing.Required, "two"
		s.open(b, c)
	}
	at := 0

	a.paused.Store(true)
	defer close(a.resume)
	blocked := make(chan error, 1)
	go func() {
		chunk := make([]byte, 256<<10)
		for {
			if err := session.Send(context.Background(), chunk, pairing.DataInvocation); err != nil {
				blocked <- err
				return
			}
		}
	}()
	// A Send with a context that ends is let go.
	s.eventually("the client's sends wait", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		return session.Send(ctx, []byte("x"), pairing.DataOther) != nil
	})
	for range 100 {
		if err := other.Send(t.Context(), []byte("on"), pairing.DataOther); err != nil {
			t.Fatal(err)
		}
		await[*sp.ConnectionData](b)
	}
	// New clients go to the one that reads, although it has more of them, as soon as
	// the socket takes in nothing either.
	s.eventually("a new client goes to the one that reads", func() bool {
		at++
		got, err := s.pool.Open(t.Context(), client(fmt.Sprint("new", at)), newDown(t))
		return err == nil && got.ServerID() == "two"
	})
	if at >= crowd {
		t.Errorf("%d clients went to the one that doesn't read", at-1)
	}
	d.expect("lost")
	if err := <-blocked; !errors.Is(err, pairing.ErrEnded) {
		t.Errorf("the waiting client: %v", err)
	}
	s.eventually("it is counted", func() bool { return s.refusals("slow_consumer") == 1 })
}

func TestSilent(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil, timing(func(t *serverconn.Timing) { t.Silent = 3 * time.Second }))
	a := s.connect("one", sp.ConnectionDefault, 0)
	_, d := s.open(a, client("c1"))
	d.expect("lost")
	a.end()
	s.eventually("it is counted", func() bool { return s.refusals("server_timeout") == 1 })
}

func TestBrokenStreams(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil)
	for name, c := range map[string]struct{ bytes, want string }{
		"garbage":          {"c1c1c1c1c1c1", ""},
		"not_an_array":     {"01 05", "MessagePack"},
		"empty_message":    {"00", "MessagePack"},
		"nested":           {"03 91 91 91", "integer"},
		"wrong_type":       {"04 92 0a c0 c0", ""},
		"long_list":        {"0a 94 0a ddffffffff a0 80 80", ""},
		"long_text":        {"0a 94 06 dbffffffff a0 80 80", ""},
		"length_too_large": {"ffffffff07 00", "longer than"},
		"length_endless":   {"ffffffffffff", "length"},
		"second_handshake": {"08 97010100a00080c2", "second handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.connect("one", sp.ConnectionDefault, 0)
			_, d := s.open(a, client("c1"))
			a.raw(unhex(t, c.bytes))
			m := await[*sp.ServiceError](a)
			if !strings.HasPrefix(m.Message, "protocol_error: ") || !strings.Contains(m.Message, c.want) {
				t.Errorf("told %q", m.Message)
			}
			a.end()
			d.expect("lost")
		})
	}
	if got := s.refusals("protocol_error"); got != 10 {
		t.Errorf("counted %d", got)
	}
	t.Run("text", func(t *testing.T) {
		a := s.connect("one", sp.ConnectionDefault, 0)
		_, d := s.open(a, client("c1"))
		if err := a.ws.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		d.expect("lost")
		a.end()
	})
}

func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil, func(c *serverconn.Config) { c.MaxConnections = 2 })
	one := s.connect("one", sp.ConnectionDefault, 0)
	s.connect("one", sp.ConnectionWeak, 0)
	third := s.dial("one")
	third.send(&sp.HandshakeRequest{Version: 1})
	if m := await[*sp.HandshakeResponse](third); !strings.HasPrefix(m.Error, "server_connections: ") || !strings.Contains(m.Error, "2 server connections") {
		t.Errorf("answered with %+v", m)
	}
	third.end()
	if s.refusals("server_connections") != 1 {
		t.Errorf("counted %v", s.refused)
	}
	// Another tenant has its own.
	s.admit(func(a *serverconn.Admission) { a.Hub.Tenant = "01JCTENANT000000000000000B" })
	s.connect("two", sp.ConnectionWeak, 0)
	s.admit(func(a *serverconn.Admission) { a.Hub = chat })
	_ = one.ws.CloseNow()
	s.eventually("there is room again", func() bool {
		a := s.dial("one")
		a.send(&sp.HandshakeRequest{Version: 1, ConnectionType: sp.ConnectionWeak})
		return await[*sp.HandshakeResponse](a).Error == ""
	})
}

func TestClosedWhere(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil)
	a := s.connect("one", sp.ConnectionDefault, 0)
	_, d := s.open(a, client("c1"))
	s.admit(func(a *serverconn.Admission) { a.Credential.KeyID = "key-2" })
	b := s.connect("two", sp.ConnectionDefault, 0)
	if !s.pool.InUse(chat.Tenant) || s.pool.InUse("another") {
		t.Error("who has server connections isn't known")
	}
	if n := s.pool.CloseWhere(func(a *serverconn.Admission, weak bool) bool { return a.Credential.KeyID == "key-1" && !weak }, "The key was revoked."); n != 1 {
		t.Errorf("%d are closed", n)
	}
	if m := await[*sp.ServiceError](a); m.Message != "The key was revoked." {
		t.Errorf("told %q", m.Message)
	}
	a.end()
	d.expect("lost")
	b.send(sp.ServersRequest())
	await[*sp.Ping](b)
}

func TestDrain(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil)
	a := s.connect("one", sp.ConnectionDefault, sp.MigrationShutdownOnly)
	_, d := s.open(a, client("c1"))
	s.pool.Drain()
	if m := await[*sp.ConnectionFlowControl](a); m.Connection != sp.FlowServer || m.Operation != sp.FlowOffline {
		t.Errorf("told %+v", m)
	}
	if _, err := s.pool.Open(t.Context(), client("c2"), newDown(t)); !errors.Is(err, pairing.ErrNoServer) {
		t.Errorf("a client of a draining edge: %v", err)
	}
	a.send(&sp.ConnectionData{ConnectionID: "c1", Payload: []byte("still")})
	d.expect("data still")
	s.pool.Close()
	d.expect("lost")
	a.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes < 3 {
		t.Errorf("%d changes are told", s.changes)
	}
}
