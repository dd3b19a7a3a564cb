package hubs_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
)

// resumer is a client with stateful reconnect.
type resumer struct {
	*peer
	s  *hubs.Server
	id string
}

// dialStateful connects a client that has negotiated stateful reconnect.
func dialStateful(t *testing.T, s *hubs.Server, p protocol.Protocol, id string) *resumer {
	t.Helper()
	w := newWire(t)
	go func() {
		w.ended <- s.Serve(context.Background(), hubs.ConnectionInfo{ID: id, StatefulReconnect: true}, w)
	}()
	w.send(fmt.Sprintf("{\"protocol\":%q,\"version\":2}\x1e", p.Name()))
	w.expect("{}\x1e")
	return &resumer{&peer{wire: w, proto: p}, s, id}
}

// cut loses the socket.
func (c *resumer) cut() { c.Abort() }

// back attaches another socket; nothing is said on it yet.
func (c *resumer) back() {
	c.t.Helper()
	w := newWire(c.t)
	w.ended = c.ended
	if err := c.s.Resume(c.id, w); err != nil {
		c.t.Fatalf("resume: %v", err)
	}
	c.peer = &peer{wire: w, proto: c.proto}
}

func (c *resumer) number(typ protocol.Type, n int64) {
	c.t.Helper()
	c.put(&protocol.Message{Type: typ, SequenceID: n})
}

// wantNumber expects an Ack or Sequence message.
func (c *resumer) wantNumber(typ protocol.Type, n int64) {
	c.t.Helper()
	m := c.next()
	if m == nil || m.Type != typ || m.SequenceID != n {
		c.t.Fatalf("got %+v, want type %d with number %d", m, typ, n)
	}
}

// wantAcks expects an Ack of this number. Another may come before it, when it was due
// while the messages were handled.
func (c *resumer) wantAcks(n int64) {
	c.t.Helper()
	for before := int64(-1); before < n; {
		m := c.next()
		if m == nil || m.Type != protocol.Ack || m.SequenceID <= before || m.SequenceID > n {
			c.t.Fatalf("got %+v behind an Ack of %d, want one of %d", m, before, n)
		}
		before = m.SequenceID
	}
}

// wantShown expects pushes of these numbers, in order.
func (c *resumer) wantShown(from, to int) {
	c.t.Helper()
	for i := from; i <= to; i++ {
		m := c.next()
		for m != nil && m.Type == protocol.Ack {
			m = c.next()
		}
		var got []string
		if m == nil || m.Type != protocol.Invocation || values.Decode(m.Arguments, &got) != nil || got[0] != strconv.Itoa(i) {
			c.t.Fatalf("got %+v %v, want push %d", m, got, i)
		}
	}
}

// arrived waits until all that was sent has been read.
func (c *resumer) arrived(n *notes) {
	c.t.Helper()
	c.invoke("", "mark")
	timeout := time.After(wait)
	for {
		select {
		case target := <-n.targets:
			if target == "mark" {
				return
			}
		case <-timeout:
			c.t.Fatalf("the mark didn't arrive within %v", wait)
		}
	}
}

func push(t *testing.T, s *hubs.Server, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, strconv.Itoa(i))
	}
}

// notes is a Dispatcher that notes what it gets.
type notes struct {
	targets chan string
	ended   chan error
	hold    *gate
}

func newNotes() *notes {
	return &notes{targets: make(chan string, 10_000), ended: make(chan error, 10), hold: newGate()}
}

func (*notes) Connected(context.Context, *hubs.Connection) error { return nil }
func (n *notes) Message(ctx context.Context, c *hubs.Connection, m *protocol.Message) error {
	n.targets <- m.Target
	if m.Target == "hold" {
		if err := n.hold.pass(ctx, "hold"); err != nil {
			return err
		}
	}
	if m.InvocationID == "" || m.Type != protocol.Invocation {
		return nil
	}
	return c.Send(&protocol.Message{Type: protocol.Completion, InvocationID: m.InvocationID})
}
func (n *notes) Disconnected(_ context.Context, _ *hubs.Connection, err error) { n.ended <- err }

func TestStatefulReconnect(t *testing.T) {
	t.Parallel()
	both := func(name string, test func(t *testing.T, p protocol.Protocol)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothProtocols(t, test)
		})
	}

	both("R-01 R-16 without version 2, or without negotiation, a lost socket is the end", func(t *testing.T, p protocol.Protocol) {
		n := newNotes()
		s := newServer(t, hubs.Config{Dispatcher: n})
		for _, c := range []struct {
			version  int
			stateful bool
		}{{1, true}, {2, false}, {1, false}} {
			w := newWire(t)
			go func() {
				w.ended <- s.Serve(context.Background(), hubs.ConnectionInfo{ID: "a", StatefulReconnect: c.stateful}, w)
			}()
			w.send(fmt.Sprintf("{\"protocol\":%q,\"version\":%d}\x1e", p.Name(), c.version))
			w.expect("{}\x1e")
			if s.Resumable("a") || !errors.Is(s.Resume("a", newWire(t)), hubs.ErrNotResumable) {
				t.Errorf("%+v: can be resumed", c)
			}
			w.Abort()
			if err := w.serveReturned(); !errors.Is(err, errAborted) {
				t.Errorf("%+v: Serve returned %v", c, err)
			}
		}
		if err := s.Resume("nobody", newWire(t)); !errors.Is(err, hubs.ErrNotResumable) {
			t.Errorf("resume: %v", err)
		}
	})

	both("R-02 R-05 R-06 unacknowledged messages are sent again after a Sequence, numbered from 1 without pings", func(t *testing.T, p protocol.Protocol) {
		n := newNotes()
		s := newServer(t, hubs.Config{Dispatcher: n, Options: hubs.Options{KeepAliveInterval: 60 * time.Millisecond}})
		c := dialStateful(t, s, p, "a")
		push(t, s, 1, 5)
		c.wantShown(1, 5)
		until(t, "pings", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(c.out) > 0 })
		c.number(protocol.Ack, 2)
		c.put(&protocol.Message{Type: protocol.Ping})
		c.arrived(n)
		c.cut()
		c.back()
		c.wantNumber(protocol.Sequence, 3)
		c.wantShown(3, 5)
		push(t, s, 6, 6)
		c.wantShown(6, 6)
		c.number(protocol.Sequence, 1)
		c.number(protocol.Ack, 6)
		c.invoke("", "again")
		c.arrived(n)
		c.cut()
		c.back()
		c.wantNumber(protocol.Sequence, 7)
		push(t, s, 7, 7)
		c.wantShown(7, 7)
	})

	both("R-03 an Ack names the highest number, and is sent when something new has come in", func(t *testing.T, p protocol.Protocol) {
		n := newNotes()
		s := newServer(t, hubs.Config{Dispatcher: n})
		c := dialStateful(t, s, p, "a")
		begun := time.Now()
		c.together(func() {
			for range 3 {
				c.invoke("", "x")
				c.put(&protocol.Message{Type: protocol.Ping})
			}
		})
		c.wantAcks(3)
		c.together(func() {
			c.put(&protocol.Message{Type: protocol.CancelInvocation, InvocationID: "9"})
			c.item("9", 1)
			c.complete("9")
			c.stream("8", "y")
		})
		c.wantAcks(7)
		if time.Since(begun) < time.Second {
			t.Error("two Acks within one second")
		}
	})

	both("R-07 R-08 duplicates are dropped, and what comes before the Sequence is ignored", func(t *testing.T, p protocol.Protocol) {
		n, m := newNotes(), &meter{}
		s := newServer(t, hubs.Config{Dispatcher: n, Meter: m})
		c := dialStateful(t, s, p, "a")
		c.invoke("", "1")
		c.invoke("", "2")
		expect(t, n.targets, "1")
		expect(t, n.targets, "2")
		var before int
		m.get(func() { before = m.bytesRead })
		c.cut()
		c.back()
		c.invoke("", "lost")
		c.number(protocol.Sequence, 1)
		c.invoke("", "1")
		c.invoke("", "2")
		c.invoke("", "3")
		expect(t, n.targets, "3")
		frame, err := p.Append(nil, &protocol.Message{Type: protocol.Invocation, Target: "3", Arguments: c.args(nil)})
		if err != nil {
			t.Fatal(err)
		}
		m.get(func() {
			if m.bytesRead-before != len(frame) {
				t.Errorf("%d bytes metered for a message of %d and its duplicates", m.bytesRead-before, len(frame))
			}
		})
	})

	both("R-09 a Sequence above what was received ends the connection", func(t *testing.T, p protocol.Protocol) {
		for _, number := range []int64{3, 1 << 62, 0, -1} {
			s := newServer(t, hubs.Config{Dispatcher: newNotes(), Options: hubs.Options{EnableDetailedErrors: true}})
			c := dialStateful(t, s, p, "a")
			c.invoke("1", "x")
			c.want(protocol.Completion, "1")
			c.cut()
			c.back()
			c.number(protocol.Sequence, number)
			text := "Sequence ID greater than amount of messages we've received."
			if number < 1 {
				text = "Sequence ID is less than 1."
			}
			c.wantNumber(protocol.Sequence, 1)
			c.want(protocol.Completion, "1")
			if got := c.want(protocol.Close, ""); got.Error != "Connection closed with an error. InvalidOperationException: "+text {
				t.Errorf("closed with %q", got.Error)
			}
		}
	})

	both("R-10 R-11 a full buffer holds messages back, not pings, also over a reconnect", func(t *testing.T, p protocol.Protocol) {
		m := &meter{}
		size := func(text string) int {
			b, _ := message(text)
			f, err := b.Frame(p)
			if err != nil {
				t.Fatal(err)
			}
			return len(f)
		}
		s := newServer(t, hubs.Config{Meter: m, Options: hubs.Options{StatefulReconnectBufferSize: 3*size("1") + 1, KeepAliveInterval: 60 * time.Millisecond}})
		c := dialStateful(t, s, p, "a")
		push(t, s, 1, 7)
		c.wantShown(1, 3)
		quiet := func() { // pings go on and nothing else comes
			t.Helper()
			for range 3 {
				c.mu.Lock()
				c.out = nil
				c.mu.Unlock()
				until(t, "a ping", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(c.out) > 0 })
				var got protocol.Message
				c.mu.Lock()
				_, err := p.Parse(c.out, &got)
				c.mu.Unlock()
				if err != nil || got.Type != protocol.Ping {
					t.Fatalf("got %+v, %v, want a ping", got, err)
				}
			}
		}
		quiet()
		c.number(protocol.Ack, 1)
		c.wantShown(4, 4)
		quiet()
		c.cut()
		c.back()
		c.number(protocol.Sequence, 1)
		c.wantNumber(protocol.Sequence, 2)
		c.wantShown(2, 4)
		c.number(protocol.Ack, 4)
		c.wantShown(5, 7)
		want := 0
		for i := 1; i <= 7; i++ {
			want += size(strconv.Itoa(i))
		}
		m.get(func() {
			if m.messages != 7 || m.bytes != want {
				t.Errorf("metered %d messages and %d bytes, want 7 and %d: resends don't count", m.messages, m.bytes, want)
			}
		})
	})

	both("R-12 a new socket ends the old one and takes over", func(t *testing.T, p protocol.Protocol) {
		n := newNotes()
		s := newServer(t, hubs.Config{Dispatcher: n})
		c := dialStateful(t, s, p, "a")
		old := c.peer
		for i := range 5 {
			c.back()
			until(t, "the old socket's end", func() bool { old.mu.Lock(); defer old.mu.Unlock(); return old.outEnd })
			c.wantNumber(protocol.Sequence, 1)
			c.number(protocol.Sequence, int64(i+1))
			c.invoke("", strconv.Itoa(i))
			expect(t, n.targets, strconv.Itoa(i))
			old = c.peer
		}
		push(t, s, 1, 1)
		c.wantShown(1, 1)
	})

	both("R-13 the id of a client that has left is spent", func(t *testing.T, p protocol.Protocol) {
		n := newNotes()
		s := newServer(t, hubs.Config{Dispatcher: n})
		for _, leave := range []func(*resumer){
			func(c *resumer) { c.put(&protocol.Message{Type: protocol.Close}) },
			func(c *resumer) { c.hangUp() },
		} {
			c := dialStateful(t, s, p, "a")
			leave(c)
			if err := c.serveReturned(); err != nil {
				t.Errorf("Serve returned %v", err)
			}
			expect(t, n.ended, nil)
			if err := s.Resume("a", newWire(t)); !errors.Is(err, hubs.ErrNotResumable) {
				t.Errorf("resume: %v", err)
			}
		}
	})

	both("R-14 a client that stays away is disconnected once", func(t *testing.T, p protocol.Protocol) {
		n, m := newNotes(), &meter{}
		s := newServer(t, hubs.Config{Dispatcher: n, Meter: m, Options: hubs.Options{StatefulReconnectWindow: 100 * time.Millisecond}})
		c := dialStateful(t, s, p, "a")
		c.cut()
		if err := c.serveReturned(); !errors.Is(err, errAborted) {
			t.Errorf("Serve returned %v", err)
		}
		if s.Resumable("a") {
			t.Error("it can still be resumed")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if len(n.ended) != 1 || m.closed != 1 {
			t.Errorf("disconnected %d times, metered %d times", len(n.ended), m.closed)
		}
	})

	both("R-15 R-18 groups, calls and what is sent meanwhile wait for the client", func(t *testing.T, p protocol.Protocol) {
		n := newNotes()
		s := newServer(t, hubs.Config{Dispatcher: n})
		c := dialStateful(t, s, p, "a")
		command(t, s, &hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{"a"}, Groups: []string{"g"}})
		c.invoke("7", "hold")
		expect(t, n.hold.begun, "hold")
		c.cut()
		n.hold.release()
		until(t, "the loss", func() bool { return s.Resumable("a") })
		for i := 1; i <= 3; i++ {
			if _, matched := sendTo(t, s, hubs.Entry{Kind: hubs.SendToGroups, Groups: []string{"g"}}, strconv.Itoa(i)); matched != 1 {
				t.Errorf("%d connections in the group", matched)
			}
		}
		c.back()
		c.wantNumber(protocol.Sequence, 1)
		got := map[string]int{}
		for range 4 {
			m := c.next()
			for m.Type == protocol.Ack {
				m = c.next()
			}
			got[m.Target+m.InvocationID]++
		}
		if got["show"] != 3 || got["7"] != 1 {
			t.Errorf("got %v", got)
		}
		if len(n.ended) != 0 {
			t.Error("disconnected")
		}
	})

	both("R-19 SEC-25 an Ack for a number not sent ends the connection", func(t *testing.T, p protocol.Protocol) {
		s := newServer(t, hubs.Config{Options: hubs.Options{EnableDetailedErrors: true}})
		c := dialStateful(t, s, p, "a")
		push(t, s, 1, 2)
		c.wantShown(1, 2)
		for _, fine := range []int64{0, -5, 1, 1, 2, 1, 2} {
			c.number(protocol.Ack, fine)
		}
		push(t, s, 3, 3)
		c.wantShown(3, 3)
		c.number(protocol.Ack, 4)
		if got := c.want(protocol.Close, ""); got.Error != "Connection closed with an error. InvalidOperationException: Ack ID greater than amount of messages we've sent." {
			t.Errorf("closed with %q", got.Error)
		}
	})

	both("SEC-25 a flood of Acks or Sequences ends the connection, for good", func(t *testing.T, p protocol.Protocol) {
		for kind, number := range map[protocol.Type]int64{protocol.Ack: 0, protocol.Sequence: 1} {
			m := &meter{}
			s := newServer(t, hubs.Config{Meter: m})
			c := dialStateful(t, s, p, "a")
			for range 2000 {
				c.number(kind, number)
			}
			if got := c.want(protocol.Close, ""); !strings.HasPrefix(got.Error, "message_flood: more than 50 messages without content a second") || got.AllowReconnect {
				t.Errorf("closed with %q, %t", got.Error, got.AllowReconnect)
			}
			if err := c.serveReturned(); err == nil {
				t.Error("Serve returned no error")
			}
			if c.ending != hubs.EndPolicy {
				t.Errorf("the socket is closed with %v", c.ending)
			}
			m.get(func() {
				if m.refused[hubs.RefusedFlood] != 1 {
					t.Errorf("counted %v", m.refused)
				}
			})
		}
	})

	both("a client that is away too long for its queue is closed as a slow one", func(t *testing.T, p protocol.Protocol) {
		n, m := newNotes(), &meter{}
		s := newServer(t, hubs.Config{Dispatcher: n, Meter: m, Options: hubs.Options{OutboundMessages: 5}})
		c := dialStateful(t, s, p, "a")
		c.cut()
		push(t, s, 1, 20)
		if err := c.serveReturned(); !errors.Is(err, hubs.ErrSlowConsumer) {
			t.Errorf("Serve returned %v", err)
		}
	})

	both("a silent client's socket is given up, and the client may come back", func(t *testing.T, p protocol.Protocol) {
		s := newServer(t, hubs.Config{Options: hubs.Options{ClientTimeoutInterval: 100 * time.Millisecond, StatefulReconnectWindow: time.Minute}})
		c := dialStateful(t, s, p, "a")
		c.put(&protocol.Message{Type: protocol.Ping})
		until(t, "the socket's end", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.outEnd })
		push(t, s, 1, 1)
		c.back()
		c.wantNumber(protocol.Sequence, 1)
		c.wantShown(1, 1)
	})

	both("a client cut off in a replay is never sent a Sequence beyond what it had", func(t *testing.T, p protocol.Protocol) {
		n := newNotes()
		s := newServer(t, hubs.Config{Dispatcher: n})
		c := dialStateful(t, s, p, "a")
		push(t, s, 1, 10)
		c.wantShown(1, 10)
		c.cut()
		c.back()
		c.number(protocol.Sequence, 1)
		c.wantNumber(protocol.Sequence, 1)
		c.wantShown(1, 4)
		c.number(protocol.Ack, 10) // it remembers 10, but its count on this socket is 4
		c.arrived(n)
		c.cut()
		c.back()
		c.number(protocol.Sequence, 2)
		c.wantNumber(protocol.Sequence, 1)
		c.wantShown(1, 10)
		push(t, s, 11, 11)
		c.wantShown(11, 11)
		c.number(protocol.Ack, 11)
		c.arrived(n)
		c.cut()
		c.back()
		c.wantNumber(protocol.Sequence, 12)
	})

	t.Run("R-17 in MessagePack, Ack and Sequence are arrays of type and number", func(t *testing.T) {
		t.Parallel()
		n := newNotes()
		s := newServer(t, hubs.Config{Dispatcher: n})
		c := dialStateful(t, s, protocol.NewMessagePack(), "a")
		push(t, s, 1, 2)
		c.wantShown(1, 2)
		c.wire.send("\x03\x92\x08\x01") // Ack 1
		c.arrived(n)
		c.cut()
		c.back()
		c.wire.send("\x03\x92\x09\x01") // Sequence 1
		until(t, "the Sequence", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(c.out) >= 4 })
		c.mu.Lock()
		got := string(c.out[:4])
		c.mu.Unlock()
		if got != "\x03\x92\x09\x02" {
			t.Errorf("got % x, want Sequence 2", got)
		}
		c.wantNumber(protocol.Sequence, 2)
		c.wantShown(2, 2)
		c.wantNumber(protocol.Ack, 1)
	})

	t.Run("closing and draining don't wait for clients that are away", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, hubs.Config{})
		c := dialStateful(t, s, protocol.NewJSON(), "a")
		c.cut()
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		if err := s.Drain(ctx, 0); err != nil {
			t.Fatal(err)
		}
	})
}
