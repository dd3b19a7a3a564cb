package hubs_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// What is under way for a client when its edge drains is answered before it is
// asked to reconnect.
func TestDrain_answers_what_is_under_way(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, p protocol.Protocol) {
		s, _ := newLobby(t, hubs.Options{})
		// An invocation of the client that the server waits for counts as well.
		asking := dial(t, s, p, "", "asking")
		asking.invoke("1", "Ask", "")
		ask := asking.next()
		resting := dial(t, s, p, "", "resting")
		drained := make(chan error, 1)
		go func() { drained <- s.Drain(t.Context(), 0) }()
		resting.want(protocol.Close, "") // its turn has come, and so has the other's
		asking.put(&protocol.Message{Type: protocol.Completion, InvocationID: ask.InvocationID, Result: asking.raw("here")})
		wantResult(asking, "1", "here")
		if m := asking.want(protocol.Close, ""); !m.AllowReconnect {
			t.Error("closed without leave to reconnect")
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}

func TestDrain_ends_streams_in_order(t *testing.T) {
	t.Parallel()
	s, f := newFeed(t, hubs.Options{})
	c := dial(t, s, protocol.NewJSON(), "", "c")
	c.upload("1", "Hold", []string{"up"})
	c.item("up", 1)
	expect(t, f.begun, "hold")
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(t.Context(), 0) }()
	c.item("up", 2)
	c.complete("up")
	f.release()
	if m := c.next(); m.Type != protocol.Completion || m.HasError {
		t.Fatalf("got %+v, want the method's answer", m)
	}
	c.want(protocol.Close, "")
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

func TestDrain_waits_for_the_answers_of_hub_servers(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle})
	w := connect(t, s, "", "c")
	session := p.next(t)
	w.send(invoke1)
	expect(t, session.got, passed{protocol.Invocation, invoke1})
	resting := connect(t, s, "", "resting")
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(t.Context(), 0) }()
	goodbye := `{"type":7,"allowReconnect":true}` + rs
	resting.expect(goodbye)
	session.forward(result)
	w.expect(result, goodbye)
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// What filters answer, as the edge's $ methods are, is under way like what the hub does.
func TestDrain_answers_what_filters_are_about(t *testing.T) {
	t.Parallel()
	for _, parallel := range []int{1, 4} {
		t.Run(fmt.Sprintf("%d at a time", parallel), func(t *testing.T) {
			t.Parallel()
			begun, answer := make(chan string, 1), make(chan struct{})
			f := filter{onInvocation: func(_ context.Context, c *hubs.Connection, m *protocol.Message, _ func(context.Context) error) error {
				begun <- m.Target
				<-answer
				return c.Send(&protocol.Message{Type: protocol.Completion, InvocationID: m.InvocationID, Result: protocol.Raw{Encoding: protocol.JSON, Bytes: []byte("true")}})
			}}
			s := newServer(t, hubs.Config{Filters: []hubs.Filter{f}, Options: hubs.Options{MaximumParallelInvocationsPerClient: parallel}})
			asking, resting := connect(t, s, "", "asking"), connect(t, s, "", "resting")
			asking.send(invocation("1", "$ask"))
			expect(t, begun, "$ask")
			drained := make(chan error, 1)
			go func() { drained <- s.Drain(t.Context(), 0) }()
			goodbye := `{"type":7,"allowReconnect":true}` + rs
			resting.expect(goodbye) // its turn has come, and so has the other's
			close(answer)
			asking.expect(`{"type":3,"invocationId":"1","result":true}`+rs, goodbye)
			if err := <-drained; err != nil {
				t.Error(err)
			}
		})
	}
}
