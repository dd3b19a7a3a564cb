package pairing_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
)

// much is more than may wait for a client before its app server is asked to stop.
var much = strings.Repeat(invocation(1), 12_000)

func TestClient_that_is_behind_holds_its_app_server(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c, s := h.paired()
	for range 2 {
		c.stall(true)
		s.deliver(t, much)
		want(t, s.holds, true)
		s.deliver(t, show) // held once
		c.stall(false)
		want(t, s.holds, false)
		c.expectAll(much + show)
	}
	none(t, s.holds)
	if n := h.count(pairing.CodeServerLost); n != 0 {
		t.Errorf("%d clients are lost", n)
	}
}

func TestClient_that_takes_nothing_is_closed_after_a_while(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *pairing.Config) { c.SlowAfter = 100 * time.Millisecond })
	c, s := h.paired()
	conn, ok := h.server.Connection("c")
	if !ok {
		t.Fatal("no connection")
	}
	c.stall(true)
	s.deliver(t, much)
	want(t, s.holds, true)
	<-conn.Context().Done()
	c.stall(false)
	end := next(t, s.ended)
	if end[0] != hubs.ErrSlowConsumer.Error() || end[1] != "" {
		t.Errorf("the app server is told %q", end)
	}
	if err := next(t, c.ended); !errors.Is(err, hubs.ErrSlowConsumer) {
		t.Errorf("closed with %v", err)
	}
	none(t, s.holds)
}

func TestClient_that_is_behind_moves(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c, from := h.paired()
	c.stall(true)
	from.deliver(t, much)
	want(t, from.holds, true)
	from.d.Migrate()
	next(t, from.paused)
	to := next(t, h.fleet.opened)
	next(t, from.ended)
	to.deliver(t, show) // too much waits still
	want(t, to.holds, true)
	c.stall(false)
	want(t, to.holds, false)
	c.expectAll(much + show)
}

func TestClient_that_stalls_holds_up_no_other(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	slow, s := h.paired()
	slow.stall(true)
	quick := h.connect(hubs.ConnectionInfo{ID: "quick"})
	q := next(t, h.fleet.opened)
	q.deliver(t, answer)
	quick.expect(answer)
	var settled sync.WaitGroup
	for range 8 { // it doesn't stop: all of it has its place at once
		s.d.Deliver(hubs.Position{}, []byte(much), &settled)
		settled.Wait()
		q.deliver(t, show)
		quick.expect(show)
	}
	want(t, s.holds, true)
	none(t, q.holds)
	slow.stall(false)
	slow.expectAll(strings.Repeat(much, 8))
}

func TestClient_that_moves_waits_for_what_it_has_called(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c, from := h.paired()
	call := "{\"type\":1,\"invocationId\":\"1\",\"target\":\"say\",\"arguments\":[]}\x1e"
	stream := "{\"type\":4,\"invocationId\":\"2\",\"target\":\"count\",\"arguments\":[]}\x1e"
	other := "{\"type\":1,\"invocationId\":\"3\",\"target\":\"say\",\"arguments\":[]}\x1e"
	result := "{\"type\":3,\"invocationId\":\"1\"}\x1e"
	c.send(call + stream)
	want(t, from.sent, sent{call, pairing.DataInvocation})
	want(t, from.sent, sent{stream, pairing.DataInvocation})
	from.set(func() {
		from.onPause = func(context.Context) error {
			if n := len(from.answers); n == 0 {
				t.Error("paused before the answer")
			}
			return nil
		}
	})
	from.answers = make(chan struct{}, 1)
	from.d.Migrate()
	from.answers <- struct{}{}
	from.deliver(t, result)
	c.expect(result)
	next(t, from.paused)
	to := next(t, h.fleet.opened)
	// The stream will never have an end of its own.
	c.expect("{\"type\":3,\"invocationId\":\"2\",\"error\":\"app_server_moved: The app server that had this call is gone. Call again.\"}\x1e")
	c.send(other)
	want(t, to.sent, sent{other, pairing.DataInvocation})
}

func TestClient_that_moves_does_not_wait_long(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c, from := h.paired()
	call := "{\"type\":1,\"invocationId\":\"1\",\"target\":\"say\",\"arguments\":[]}\x1e"
	c.send(call)
	want(t, from.sent, sent{call, pairing.DataInvocation})
	from.d.Migrate()
	next(t, from.paused)
	next(t, h.fleet.opened)
	c.expect("{\"type\":3,\"invocationId\":\"1\",\"error\":\"app_server_moved: The app server that had this call is gone. Call again.\"}\x1e")
	from.deliver(t, "{\"type\":3,\"invocationId\":\"1\"}\x1e") // too late
	c.send(ping)
	none(t, c.ended)
}
