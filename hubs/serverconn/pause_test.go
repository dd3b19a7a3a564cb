package serverconn_test

import (
	"context"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/serverconn"
	sp "github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// wantFlow expects the service to say this of a client next.
func (a *app) wantFlow(id string, o sp.FlowOperation) {
	a.t.Helper()
	if m := await[*sp.ConnectionFlowControl](a); m.ConnectionID != id || m.Connection != sp.FlowClient || m.Operation != o {
		a.t.Fatalf("got %+v, want operation %d", m, o)
	}
}

// pauseAck is an app server's answer to a pause.
func pauseAck(id string) *sp.ConnectionFlowControl {
	return &sp.ConnectionFlowControl{ConnectionID: id, Connection: sp.FlowClient, Operation: sp.FlowPauseAck}
}

// held is a server connection with client c, whose app server is held back.
func held(t *testing.T) (*app, pairing.Session, *down) {
	t.Helper()
	s := newStand(t, nil)
	a := s.connect("one", sp.ConnectionDefault, sp.MigrationShutdownOnly)
	session, d := s.open(a, client("c"))
	session.Hold(true)
	session.Hold(true)
	a.wantFlow("c", sp.FlowPause)
	return a, session, d
}

// sync waits until the service has read all that the app server has sent.
func (a *app) sync() {
	a.t.Helper()
	a.send(&sp.CheckGroupExistenceWithAck{Group: "nobody", AckID: 77})
	if m := await[*sp.Ack](a); m.AckID != 77 {
		a.t.Fatalf("got %+v", m)
	}
}

func TestHold_pauses_and_lets_go_on(t *testing.T) {
	t.Parallel()
	a, session, _ := held(t)
	a.send(pauseAck("c"), pauseAck("c"))
	a.sync()
	session.Hold(false)
	session.Hold(false)
	a.wantFlow("c", sp.FlowResume)
	session.Hold(true)
	a.wantFlow("c", sp.FlowPause)
	a.send(pauseAck("c"))
	a.sync()
	session.End("", "")
	session.Hold(false) // means nothing any more
	await[*sp.CloseConnection](a)
	a.sync()
}

func TestHold_that_is_over_before_its_answer_lets_go_on_after_it(t *testing.T) {
	t.Parallel()
	a, session, _ := held(t)
	session.Hold(false)
	a.sync() // the SDK must not be told to go on before it has answered
	a.send(pauseAck("c"))
	a.wantFlow("c", sp.FlowResume)
}

func TestPause_of_a_client_that_is_held(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]bool{"answered": true, "not_answered": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, session, d := held(t)
			if before {
				a.send(pauseAck("c"))
				a.sync()
			}
			paused := make(chan error, 1)
			go func() { paused <- session.Pause(context.Background()) }()
			if !before {
				a.send(&sp.ConnectionData{ConnectionID: "c", Payload: []byte("rest")}, pauseAck("c"))
				d.expect("data rest")
			}
			// Another pause, so that hubs which finish what runs know of it.
			a.wantFlow("c", sp.FlowResume)
			a.wantFlow("c", sp.FlowPause)
			session.Hold(false) // changes nothing any more
			session.Hold(true)
			select {
			case err := <-paused:
				t.Fatalf("paused before the answer: %v", err)
			default:
			}
			a.send(pauseAck("c"))
			if err := <-paused; err != nil {
				t.Error(err)
			}
			if err := session.Pause(t.Context()); err != nil {
				t.Errorf("once more: %v", err)
			}
			a.sync()
		})
	}
}

func TestServer_connections_go_by_the_app_servers_names(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		cid  string
		same bool
	}{"its_own": {"3c8d23f2-8a34-4b5a-9a3b-6c1f1f6f3a11", true}, "none": {"", false}, "one_too_long": {strings.Repeat("x", 300), false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStand(t, nil)
			s.admit(func(a *serverconn.Admission) { a.ConnectionID = row.cid })
			a := s.connect("one", sp.ConnectionDefault, sp.MigrationOff)
			s.pool.Drain()
			// The SDK passes over what names another connection.
			m := await[*sp.ConnectionFlowControl](a)
			if m.Connection != sp.FlowServer || m.Operation != sp.FlowOffline || m.ConnectionID == "" || (m.ConnectionID == row.cid) != row.same {
				t.Errorf("got %+v", m)
			}
		})
	}
}
