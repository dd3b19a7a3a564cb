package appserver_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/appserver"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/serviceprotocol"
	"github.com/signalbox/signalbox/hubs/values"
)

func pause(id string) *serviceprotocol.ConnectionFlowControl {
	return flow(id, serviceprotocol.FlowClient, serviceprotocol.FlowPause)
}

func flow(id string, c serviceprotocol.FlowConnection, o serviceprotocol.FlowOperation) *serviceprotocol.ConnectionFlowControl {
	return &serviceprotocol.ConnectionFlowControl{ConnectionID: id, Connection: c, Operation: o}
}

func TestPings_are_answered(t *testing.T) {
	t.Parallel()
	s := newService(t)
	_, _, p := connect(t, s, newChat(), appserver.Options{MaxConnections: 2})
	p.send(&serviceprotocol.Ping{Items: []string{"echo", "42"}})
	if diff := cmp.Diff(serviceprotocol.Echo("42"), expect[*serviceprotocol.Ping](p)); diff != "" {
		t.Error(diff)
	}
	p.send(serviceprotocol.Target("instance"))
	q := s.connection()
	if q.hello.ConnectionType != serviceprotocol.ConnectionOnDemand || q.hello.Target != "instance" || q.request.URL.Query().Get("target") != "instance" {
		t.Errorf("got %+v of %s", q.hello, q.request.URL)
	}
	q.opened("c", protocol.NewJSON()).invoke("1", "Echo", "x")
	p.send(serviceprotocol.Target("another"), serviceprotocol.Echo("after"))
	expect[*serviceprotocol.Ping](p)
	select {
	case <-s.joined:
		t.Error("there are more connections than Options.MaxConnections")
	default:
	}
}

func TestConnection_says_by_itself_that_it_lives(t *testing.T) {
	t.Parallel()
	_, _, p := connect(t, newService(t), newChat(), appserver.Options{})
	p.opened("c", protocol.NewJSON())
	ping, ok := receive(t, p.messages).(*serviceprotocol.Ping)
	if !ok || !cmp.Equal(ping, serviceprotocol.ClientCounts(1, 1)) {
		t.Errorf("got %+v", ping)
	}
}

func TestConnection_that_is_lost_is_made_again(t *testing.T) {
	t.Parallel()
	s := newService(t)
	hub := newChat()
	app, server, p := connect(t, s, hub, appserver.Options{})
	c := p.opened("c", protocol.NewJSON())
	c.invoke("1", "Join", "room")
	expect[*serviceprotocol.JoinGroupWithAck](p)
	_ = p.ws.CloseNow()
	if cause := receive(t, hub.disconnected); cause == nil {
		t.Error("OnDisconnected was told that the client left")
	}
	if err := server.Context().All().Send(t.Context(), "x"); !errors.Is(err, hubs.ErrUnavailable) {
		t.Errorf("a send without a server connection: %v", err)
	}
	again := s.connection()
	if err := app.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := again.opened("d", protocol.NewJSON())
	d.invoke("1", "Echo", "hello")
	if got := completed[string](d, "1"); got != "hello" {
		t.Errorf("got %q", got)
	}
}

func TestInstance_that_dies_takes_its_clients_along(t *testing.T) {
	t.Parallel()
	hub := newChat()
	_, _, p := connect(t, newService(t), hub, appserver.Options{})
	on := func(instance string) func(*serviceprotocol.OpenConnection) {
		return func(m *serviceprotocol.OpenConnection) {
			m.Headers = []serviceprotocol.Header{{Name: serviceprotocol.HeaderInstanceID, Values: []string{instance}}}
		}
	}
	p.opened("a", protocol.NewJSON(), on("one"))
	b := p.opened("b", protocol.NewJSON(), on("two"))
	p.send(serviceprotocol.Offline("one"))
	if cause := receive(t, hub.disconnected); cause == nil {
		t.Error("OnDisconnected was told that the client left")
	}
	b.invoke("1", "Echo", "here")
	if got := completed[string](b, "1"); got != "here" {
		t.Errorf("got %q", got)
	}
	p.send(serviceprotocol.Offline(""))
	receive(t, hub.disconnected)
}

func TestConnection_that_is_offline_is_sent_over_no_more(t *testing.T) {
	t.Parallel()
	s := newService(t)
	server := newHub(t, newChat(), hubs.Options{})
	app := start(t, s, server, appserver.Options{Connections: 2})
	p, q := s.connection(), s.connection()
	if err := app.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := p.opened("c", protocol.NewJSON())
	d := q.opened("d", protocol.NewJSON())
	p.send(flow("p", serviceprotocol.FlowServer, serviceprotocol.FlowOffline))
	c.invoke("1", "Echo", "x") // what its clients get goes on
	if got := completed[string](c, "1"); got != "x" {
		t.Errorf("got %q", got)
	}
	c.invoke("2", "Join", "room")
	join := expect[*serviceprotocol.JoinGroupWithAck](q)
	q.send(&serviceprotocol.Ack{AckID: join.AckID, Status: serviceprotocol.AckOK})
	completed[any](c, "2")
	q.send(&serviceprotocol.ServiceError{Message: "Maximum message count limit reached: 100000"})
	d.invoke("3", "Echo", "y")
	if got := completed[string](d, "3"); got != "y" {
		t.Errorf("got %q", got)
	}
	if err := server.Context().All().Send(t.Context(), "x"); !errors.Is(err, hubs.ErrUnavailable) {
		t.Errorf("a send over nothing: %v", err)
	}
}

func TestShutdown_lets_clients_move(t *testing.T) {
	t.Parallel()
	hub := newChat()
	s := newService(t)
	app, _, p := connect(t, s, hub, appserver.Options{})
	c := p.opened("c", protocol.NewJSON())
	c.put(c.invocation(protocol.StreamInvocation, "stream", "Forever"))
	c.invoke("slow", "Slow")
	c.invoke("next", "Slow") // waits for its turn
	if m := c.get(); m.Type != protocol.StreamItem {
		t.Fatalf("got %+v", m)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- app.Shutdown(context.Background()) }()
	if mode, ok := expect[*serviceprotocol.Ping](p).Shutdown(); !ok || mode != serviceprotocol.ShutdownMigrate {
		t.Fatalf("the shutdown is of mode %d", mode)
	}
	p.send(serviceprotocol.ShutdownFinished(), pause("c"), pause("c"))
	if m := c.get(); m.InvocationID != "stream" || !strings.Contains(m.Error, "moved to another server") {
		t.Errorf("the stream ends with %+v", m)
	}
	hub.release <- struct{}{}
	hub.release <- struct{}{}
	for _, id := range []string{"slow", "next"} {
		if got := completed[string](c, id); got != "done" {
			t.Errorf("got %q", got)
		}
	}
	if diff := cmp.Diff(flow("c", serviceprotocol.FlowClient, serviceprotocol.FlowPauseAck), expect[*serviceprotocol.ConnectionFlowControl](p)); diff != "" {
		t.Error(diff)
	}
	p.send(&serviceprotocol.CloseConnection{ConnectionID: "c", Headers: []serviceprotocol.Header{{Name: serviceprotocol.HeaderMigrateTo, Values: []string{"other"}}}})
	if cause := receive(t, hub.disconnected); !errors.Is(cause, hubs.ErrMoved) {
		t.Errorf("OnDisconnected was told %v", cause)
	}
	if err := receive(t, stopped); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	receive(t, app.Done())
	receive(t, p.gone)
	for len(p.messages) > 0 {
		if ping, ok := (<-p.messages).(*serviceprotocol.Ping); !ok {
			t.Errorf("after all that came %+v", ping)
		}
	}
	if err := app.Shutdown(t.Context()); err != nil {
		t.Errorf("a second shutdown: %v", err)
	}
}

func TestMovedClient_comes_without_a_second_answer_to_its_handshake(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, proto protocol.Protocol) {
		hub := newChat()
		_, _, p := connect(t, newService(t), hub, appserver.Options{})
		c := p.open("c", proto, func(m *serviceprotocol.OpenConnection) {
			m.Headers = []serviceprotocol.Header{{Name: serviceprotocol.HeaderMigrateFrom, Values: []string{"other"}}}
		})
		receive(t, hub.connected)
		c.invoke("1", "Echo", "here")
		if got := completed[string](c, "1"); got != "here" {
			t.Errorf("got %q", got)
		}
	})
}

func TestPause_holds_a_client_that_is_behind(t *testing.T) {
	t.Parallel()
	_, _, p := connect(t, newService(t), newChat(), appserver.Options{})
	c := p.opened("c", protocol.NewJSON())
	pausing := pause("c")
	p.send(pausing, pausing) // and one answer
	expect[*serviceprotocol.ConnectionFlowControl](p)
	c.put(c.invocation(protocol.StreamInvocation, "1", "Count", 2_000))
	other := p.opened("other", protocol.NewJSON())
	other.invoke("2", "Echo", "here") // nobody else waits
	if got := completed[string](other, "2"); got != "here" {
		t.Errorf("got %q", got)
	}
	p.send(flow("c", serviceprotocol.FlowClient, serviceprotocol.FlowResume))
	for i := range 2_000 {
		var got int
		if m := c.get(); m.Type != protocol.StreamItem || values.Decode(m.Item, &got) != nil || got != i {
			t.Fatalf("got %+v, want item %d", m, i)
		}
	}
	if m := c.get(); m.Type != protocol.Completion || m.HasError {
		t.Errorf("got %+v", m)
	}
}

func TestPause_that_holds_ends_with_the_client(t *testing.T) {
	t.Parallel()
	hub := newChat()
	_, _, p := connect(t, newService(t), hub, appserver.Options{})
	c := p.opened("c", protocol.NewJSON())
	p.send(pause("c"))
	expect[*serviceprotocol.ConnectionFlowControl](p)
	c.put(c.invocation(protocol.StreamInvocation, "1", "Count", 2_000))
	p.send(&serviceprotocol.CloseConnection{ConnectionID: "c", Error: "gone"})
	if cause := receive(t, hub.disconnected); cause == nil || !strings.Contains(cause.Error(), "gone") {
		t.Errorf("OnDisconnected was told %v", cause)
	}
}

func TestPause_before_a_connection_goes_moves_the_client(t *testing.T) {
	t.Parallel()
	hub := newChat()
	_, _, p := connect(t, newService(t), hub, appserver.Options{})
	p.opened("c", protocol.NewJSON())
	p.send(flow("any", serviceprotocol.FlowServer, serviceprotocol.FlowOffline), pause("c"))
	expect[*serviceprotocol.ConnectionFlowControl](p)
	// It was for another reason, and is for this one now: the answer is the same.
	p.send(flow("c", serviceprotocol.FlowClient, serviceprotocol.FlowResume), pause("c"))
	expect[*serviceprotocol.ConnectionFlowControl](p)
	p.send(&serviceprotocol.CloseConnection{ConnectionID: "c", Headers: []serviceprotocol.Header{{Name: serviceprotocol.HeaderMigrateTo, Values: []string{"other"}}}})
	if cause := receive(t, hub.disconnected); !errors.Is(cause, hubs.ErrMoved) {
		t.Errorf("OnDisconnected was told %v", cause)
	}
}

func TestShutdown_asks_clients_to_reconnect_that_do_not_move(t *testing.T) {
	t.Parallel()
	for name, migration := range map[string]appserver.Migration{"migrate": appserver.MigrateClients, "drop": appserver.DropClients, "await": appserver.AwaitClients} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			server := newHub(t, newChat(), hubs.Options{})
			ctx, cancel := context.WithCancel(context.Background())
			app, err := appserver.Connect(ctx, server, s.connectionString(), appserver.Options{Connections: 1, Migration: migration, ShutdownTimeout: 50 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			p := s.connection()
			c := p.opened("c", protocol.NewJSON())
			cancel() // the end of the context is a shutdown
			if migration != appserver.DropClients {
				want := map[appserver.Migration]serviceprotocol.ShutdownMode{appserver.MigrateClients: serviceprotocol.ShutdownMigrate, appserver.AwaitClients: serviceprotocol.ShutdownWait}
				if mode, ok := expect[*serviceprotocol.Ping](p).Shutdown(); !ok || mode != want[migration] {
					t.Errorf("the shutdown is of mode %d", mode)
				}
			}
			if m := c.get(); m.Type != protocol.Close || !m.AllowReconnect {
				t.Errorf("got %+v", m)
			}
			expect[*serviceprotocol.CloseConnection](p)
			receive(t, app.Done())
			if err := app.Ready(context.Background()); !errors.Is(err, hubs.ErrServerClosed) {
				t.Errorf("ready: %v", err)
			}
		})
	}
}
