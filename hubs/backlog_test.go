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

// numbered is a push of number i, padded by a text.
func numbered(i int, padding string) string {
	return fmt.Sprintf("{\"type\":1,\"target\":\"show\",\"arguments\":[%d,%q]}\x1e", i, padding)
}

// expectPieces expects texts that may be joined and waits for all of them.
func (w *wire) expectPieces(want string) {
	w.t.Helper()
	for len(want) > 0 {
		got, ok := w.read()
		if !ok || !strings.HasPrefix(want, got) {
			w.t.Fatalf("got %.200q (%v), want %.200q", got, ok, want)
		}
		want = want[len(got):]
	}
}

// untilBacklog waits until a client's backlog is as it should be.
func untilBacklog(t *testing.T, session *session, what string, ok func(bytes int) bool) {
	t.Helper()
	until(t, what, func() bool { return ok(session.conn.Backlog()) })
}

func TestBacklog_thousands_of_messages_wait_for_a_client_that_stalls(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle})
	w := connect(t, s, "u", "c")
	session := p.next(t)
	w.stall(true)
	var want strings.Builder
	for i := range 10_000 {
		session.forward(numbered(i, ""))
		want.WriteString(numbered(i, ""))
		if i == 5_000 { // its place among them is kept
			frame, matched := sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, "between")
			if matched != 1 {
				t.Fatalf("matched %d", matched)
			}
			want.WriteString(frame)
		}
	}
	if got := session.conn.Backlog(); got < 10_000*len(numbered(0, "")) {
		t.Errorf("the backlog is %d bytes", got)
	}
	w.stall(false)
	w.expectPieces(want.String())
	untilBacklog(t, session, "nothing waits any more", func(bytes int) bool { return bytes == 0 })
}

func TestBacklog_fills_no_queue(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle, Options: hubs.Options{OutboundMessages: 10}})
	w := connect(t, s, "u", "c")
	session := p.next(t)
	w.stall(true)
	for i := range 100 {
		session.forward(numbered(i, ""))
	}
	for i := range 10 {
		sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, fmt.Sprint(i))
	}
	if session.conn.Context().Err() != nil {
		t.Fatal("ten entries are as many as may wait")
	}
	for i := range 10 { // the writer may have taken some of those before
		sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, fmt.Sprint(i))
	}
	w.stall(false)
	if err := session.wantClosed(t); !errors.Is(err, hubs.ErrSlowConsumer) {
		t.Errorf("closed with %v", err)
	}
}

func TestBacklog_of_one_client_is_bounded(t *testing.T) {
	t.Parallel()
	m := &meter{}
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle, Meter: m})
	w := connect(t, s, "u", "c")
	session := p.next(t)
	w.stall(true)
	long := numbered(0, strings.Repeat("x", 1<<20))
	for i := 0; session.conn.Context().Err() == nil; i++ {
		if i > hubs.MaxBacklog>>20+1 {
			t.Fatalf("the backlog is %d bytes", session.conn.Backlog())
		}
		session.forward(long)
	}
	w.stall(false)
	if err := session.wantClosed(t); !errors.Is(err, hubs.ErrSlowConsumer) {
		t.Errorf("closed with %v", err)
	}
	m.get(func() {
		if m.refused[hubs.RefusedSlowConsumer] != 1 || m.refused[hubs.RefusedProtocol] != 0 {
			t.Errorf("refusals: %v", m.refused)
		}
	})
	_ = w.serveReturned() // which gives back what still waited
	session.forward(show) // and nothing more is kept
	if got := session.conn.Backlog(); got != 0 {
		t.Errorf("the backlog of a connection that has ended is %d bytes", got)
	}
}

func TestBacklog_of_all_clients_is_bounded_and_the_greedy_pay_for_it(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle})
	modest := connect(t, s, "u", "modest")
	modestSession := p.next(t)
	modest.stall(true)
	long := numbered(0, strings.Repeat("x", 1<<20))
	const greedy = 6
	wires, sessions := make([]*wire, greedy), make([]*session, greedy)
	for i := range wires {
		wires[i] = connect(t, s, "u", fmt.Sprint("greedy", i))
		sessions[i] = p.next(t)
		wires[i].stall(true)
		for range 12 {
			sessions[i].forward(long)
		}
	}
	closed := 0
	for _, session := range sessions {
		if session.conn.Context().Err() != nil {
			closed++
		}
	}
	if closed != 1 {
		t.Errorf("%d of %d greedy clients are closed, want the last one", closed, greedy)
	}
	modestSession.forward(show)
	modest.stall(false)
	modest.expect(show)
	for _, w := range wires {
		w.stall(false)
	}
}

func TestBacklog_beginning_of_a_message_counts(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle})
	half := "{\"type\":1,\"target\":\"show\",\"arguments\":[\"" + strings.Repeat("x", 15<<20)
	var last *session
	for i := range 5 { // 75 MiB
		_ = connect(t, s, "u", fmt.Sprint(i))
		last = p.next(t)
		last.forward(half)
	}
	if err := last.wantClosed(t); !errors.Is(err, hubs.ErrSlowConsumer) {
		t.Errorf("closed with %v", err)
	}
}

func TestAwaitBacklog(t *testing.T) {
	t.Parallel()
	const patience = 200 * time.Millisecond
	start := func(t *testing.T) (*wire, *session) {
		t.Helper()
		p := newProxy()
		s := newServer(t, hubs.Config{Handle: p.handle})
		w := connect(t, s, "u", "c")
		w.stall(true)
		session := p.next(t)
		for i := range 100 {
			session.forward(numbered(i, ""))
		}
		return w, session
	}
	await := func(session *session, most int, patience time.Duration) <-chan error {
		done := make(chan error, 1)
		go func() { done <- session.conn.AwaitBacklog(context.Background(), most, patience) }()
		return done
	}
	t.Run("returns_when_the_client_has_taken_enough", func(t *testing.T) {
		t.Parallel()
		w, session := start(t)
		done := await(session, 100, time.Minute)
		w.stall(false)
		if err := nextOf(t, done); err != nil {
			t.Error(err)
		}
	})
	t.Run("closes_who_takes_nothing", func(t *testing.T) {
		t.Parallel()
		w, session := start(t)
		if err := nextOf(t, await(session, 100, patience)); !errors.Is(err, hubs.ErrSlowConsumer) {
			t.Errorf("got %v", err)
		}
		w.stall(false)
		if err := session.wantClosed(t); !errors.Is(err, hubs.ErrSlowConsumer) {
			t.Errorf("closed with %v", err)
		}
	})
	t.Run("closes_who_takes_a_little_again_and_again", func(t *testing.T) {
		t.Parallel()
		w, session := start(t)
		for i := range 200 {
			session.forward(numbered(i, strings.Repeat("x", 15<<10)))
		}
		done := await(session, 100, patience)
		sip := time.NewTicker(patience / 2)
		defer sip.Stop()
		for sips := 0; ; sips++ {
			select {
			case err := <-done:
				if !errors.Is(err, hubs.ErrSlowConsumer) { // before the first sip when the machine stood still
					t.Errorf("got %v after %d sips", err, sips)
				}
				w.stall(false)
				return
			case <-sip.C:
				w.letOne()
			}
			if sips == 100 { // half of what waits: nothing will end it
				t.Fatal("it is still there")
			}
		}
	})
	t.Run("ends_with_the_connection", func(t *testing.T) {
		t.Parallel()
		w, session := start(t)
		done := await(session, 100, time.Minute)
		session.conn.Abort()
		if nextOf(t, done) == nil {
			t.Error("no error")
		}
		w.stall(false)
	})
	t.Run("ends_with_its_context", func(t *testing.T) {
		t.Parallel()
		w, session := start(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := session.conn.AwaitBacklog(ctx, 100, time.Minute); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		w.stall(false)
	})
}

func TestBacklog_waits_for_a_client_that_is_away(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, proto protocol.Protocol) {
		p := newProxy()
		s := newServer(t, hubs.Config{Handle: p.handle})
		c, session := dialProxied(t, s, p, proto)
		c.cut()
		until(t, "the cut is noticed", session.conn.Away)
		for i := 1; i <= 3_000; i++ {
			session.tell(t, c, i)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := session.conn.AwaitBacklog(ctx, 0, time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		c.back()
		c.number(protocol.Sequence, 1)
		c.wantNumber(protocol.Sequence, 1)
		for i := 1; i <= 3_000; i++ {
			c.wantShown(i, i)
			if i%500 == 0 {
				c.number(protocol.Ack, int64(i))
			}
		}
		untilBacklog(t, session, "nothing waits any more", func(bytes int) bool { return bytes == 0 })
	})
}

func TestBacklog_messages_that_wait_for_an_entry(t *testing.T) {
	t.Parallel()
	p := newProxy()
	s := newServer(t, hubs.Config{Handle: p.handle, Options: hubs.Options{OutboundMessages: 10}})
	w := connect(t, s, "u", "c")
	session := p.next(t)
	at, err := s.Backplane().Publish(context.Background(), &hubs.Entry{Kind: hubs.SendToUsers, Users: []string{"nobody"}}, hubs.PublishOptions{})
	if err != nil {
		t.Fatal(err)
	}
	at.Number++ // which is still to come
	var want strings.Builder
	for i := range 1_000 {
		session.conn.Forward(at, []byte(numbered(i, "")))
		want.WriteString(numbered(i, ""))
	}
	frame, _ := sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, "first")
	w.expectPieces(frame + want.String())
}
