package hubs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	ping := `{"type":6}` + rs
	t.Run("K-01 a ping after silence, and again", func(t *testing.T) {
		t.Parallel()
		w := connect(t, newServer(t, hubs.Config{Options: hubs.Options{KeepAliveInterval: 100 * time.Millisecond}}), "", "")
		w.expect(ping, ping, ping)
	})
	t.Run("K-03 client pings are accepted and not answered", func(t *testing.T) {
		t.Parallel()
		w := connect(t, newServer(t, hubs.Config{}), "", "")
		w.send(ping + ping + invocation("1", "M"))
		if got, _ := w.read(); !strings.HasPrefix(got, `{"type":3`) {
			t.Errorf("got %q", got)
		}
	})
	t.Run("K-04 a client that never pings is not timed out", func(t *testing.T) {
		t.Parallel()
		w := connect(t, newServer(t, hubs.Config{Options: hubs.Options{
			KeepAliveInterval: 400 * time.Millisecond, ClientTimeoutInterval: 100 * time.Millisecond,
		}}), "", "")
		w.expect(ping, ping)
	})
	t.Run("K-05 a client that pinged and fell silent is ended", func(t *testing.T) {
		t.Parallel()
		m := &meter{}
		w := connect(t, newServer(t, hubs.Config{Meter: m, Options: hubs.Options{
			ClientTimeoutInterval: 150 * time.Millisecond, EnableDetailedErrors: true,
		}}), "", "")
		w.send(ping)
		w.expect(`{"type":7,"error":"Connection closed with an error. OperationCanceledException: Client hasn't sent a message/ping ` +
			`within the configured ClientTimeoutInterval.","allowReconnect":true}` + rs)
		if err := w.expectEnd(); !errors.Is(err, hubs.ErrClientTimeout) {
			t.Errorf("Serve returned %v", err)
		}
		m.get(func() {
			if m.refused[hubs.RefusedTimeout] != 1 {
				t.Errorf("refused %v", m.refused)
			}
		})
	})
	t.Run("the end of the authentication is the end of the connection when the hub asks for it", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, hubs.Config{Options: hubs.Options{CloseOnAuthenticationExpiration: true}})
		who := hubs.Principal{UserID: "ann", Expires: time.Now().Add(200 * time.Millisecond)}
		w := serveInfo(t, s, hubs.ConnectionInfo{Principal: who})
		w.send(handshake)
		w.expect("{}\x1e", `{"type":7,"allowReconnect":true}`+rs)
		if err := w.expectEnd(); !errors.Is(err, hubs.ErrAuthenticationExpired) || time.Now().Before(who.Expires) {
			t.Errorf("Serve returned %v", err)
		}
		forever := connect(t, s, "bob", "") // whose authentication has no end
		keeps := newServer(t, hubs.Config{})
		who.Expires = time.Now().Add(-time.Hour)
		stays := serveInfo(t, keeps, hubs.ConnectionInfo{Principal: who})
		stays.send(handshake + invocation("1", "M"))
		stays.expect("{}\x1e")
		for _, w := range []*wire{forever, stays} {
			w.send(invocation("2", "M"))
			if got, _ := w.read(); !strings.HasPrefix(got, `{"type":3`) {
				t.Errorf("got %q", got)
			}
		}
	})
	t.Run("K-06 any message counts as life", func(t *testing.T) {
		t.Parallel()
		const timeout, step = 2 * time.Second, 150 * time.Millisecond
		s := newServer(t, hubs.Config{Options: hubs.Options{ClientTimeoutInterval: timeout}})
		for range 5 {
			w := connect(t, s, "", "")
			w.send(ping)
			stoodStill := false
			for silent, began := 0, time.Now(); silent < 16 && !stoodStill; silent++ { // longer than the time-out in all
				time.Sleep(step) // the very subject: silence shorter than the time-out
				w.send(invocation("1", "M"))
				got, ok := w.read()
				stoodStill = time.Since(began) > timeout/2 // then the machine made it longer
				if began = time.Now(); !stoodStill && (!ok || !strings.HasPrefix(got, `{"type":3`)) {
					t.Fatalf("got %q", got)
				}
			}
			if !stoodStill {
				return
			}
		}
		t.Skip("the machine stood still for a second, five times")
	})
}

func TestSlowConsumer(t *testing.T) {
	t.Parallel()
	t.Run("F-17 too many messages wait", func(t *testing.T) {
		t.Parallel()
		m := &meter{}
		s := newServer(t, hubs.Config{Meter: m, Options: hubs.Options{OutboundMessages: 10}})
		slow, quick := connect(t, s, "", "slow"), connect(t, s, "", "quick")
		slow.stall(true)
		var frames []string
		for i := range 20 {
			f, matched := sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, string(rune('a'+i)))
			frames = append(frames, f)
			if matched < 1 {
				t.Errorf("message %d matched %d", i, matched)
			}
			quick.expect(f)
		}
		slow.stall(false)
		// What it gets is a beginning of what was sent, then the reason.
		for i := 0; ; i++ {
			got, ok := slow.read()
			if strings.HasPrefix(got, `{"type":7,"error":"Connection closed: the client reads too slowly`) && strings.Contains(got, `"allowReconnect":true`) {
				break
			}
			if !ok || got != frames[i] {
				t.Fatalf("message %d is %q", i, got)
			}
		}
		if err := slow.expectEnd(); !errors.Is(err, hubs.ErrSlowConsumer) {
			t.Errorf("Serve returned %v", err)
		}
		m.get(func() {
			if m.refused[hubs.RefusedSlowConsumer] != 1 {
				t.Errorf("refused %v", m.refused)
			}
		})
	})
	t.Run("F-17 too many bytes wait; one message larger than the queue passes", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, hubs.Config{Options: hubs.Options{OutboundBytes: 1000}})
		w := connect(t, s, "", "")
		frame, _ := sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, strings.Repeat("x", 5000))
		w.expect(frame)
		w.stall(true)
		for range 5 {
			sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, strings.Repeat("x", 300))
		}
		w.stall(false)
		if err := w.serveReturned(); !errors.Is(err, hubs.ErrSlowConsumer) {
			t.Errorf("Serve returned %v", err)
		}
	})
	t.Run("50 stalled of 1,000 clients hold nobody up", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, hubs.Config{})
		const clients, stalled = 1000, 50
		var all []*wire
		for range clients {
			all = append(all, connect(t, s, "", ""))
		}
		for _, w := range all[:stalled] {
			w.stall(true)
		}
		for i := range 20 {
			frame, matched := sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, string(rune('a'+i)))
			if matched != clients {
				t.Fatalf("message %d matched %d", i, matched)
			}
			for _, w := range all[stalled:] {
				w.expect(frame)
			}
		}
		for _, w := range all[:stalled] {
			w.stall(false)
		}
		for i := range 20 {
			_, frame := message(string(rune('a' + i)))
			for _, w := range all[:stalled] {
				w.expect(frame)
			}
		}
	})
	t.Run("what has queued up leaves in few writes", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, hubs.Config{})
		w := connect(t, s, "", "")
		w.stall(true)
		var want []string
		for i := range 600 {
			f, _ := sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, string(rune('a'+i%26)))
			want = append(want, f)
		}
		w.stall(false)
		w.expect(want...)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.writes > 20 {
			t.Errorf("600 messages took %d writes", w.writes)
		}
	})
}

func TestEnding(t *testing.T) {
	t.Parallel()
	t.Run("Drain asks every client to reconnect and refuses new ones", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, hubs.Config{})
		early := serve(t, s, "", "")
		var all []*wire
		for range 10 {
			all = append(all, connect(t, s, "", ""))
		}
		drained := make(chan error, 1)
		go func() { drained <- s.Drain(t.Context(), 50*time.Millisecond) }()
		for _, w := range all {
			w.expect(`{"type":7,"allowReconnect":true}` + rs)
			_ = w.expectEnd()
		}
		_ = early.expectEnd()
		if err := <-drained; err != nil {
			t.Errorf("Drain returned %v", err)
		}
		late := serve(t, s, "", "")
		if err := late.expectEnd(); !errors.Is(err, hubs.ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	t.Run("Drain gives up with its context", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, hubs.Config{})
		w := connect(t, s, "", "")
		w.stall(true)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := s.Drain(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain returned %v", err)
		}
	})
	t.Run("CloseWhere closes those that match", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, hubs.Config{})
		ada, bob := connect(t, s, "ada", ""), connect(t, s, "bob", "")
		n := s.CloseWhere(func(c *hubs.Connection) bool { return c.User() == "ada" }, "key revoked", false)
		if n != 1 {
			t.Errorf("closed %d", n)
		}
		ada.expect(`{"type":7,"error":"key revoked"}` + rs)
		_ = ada.expectEnd()
		frame, _ := sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, "x")
		bob.expect(frame)
	})
	t.Run("lost entries close all that were connected, who get nothing more", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, hubs.Config{})
		all := []*wire{connect(t, s, "", ""), connect(t, s, "", "")}
		s.Lost(hubs.Gap{Reason: "trimmed", From: 3, To: 7})
		after, _ := sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, "after the gap")
		fresh := connect(t, s, "", "")
		for _, w := range all {
			w.expect(`{"type":7,"allowReconnect":true}` + rs)
			_ = w.expectEnd()
		}
		_ = after
		frame, _ := sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, "x")
		fresh.expect(frame)
	})
	t.Run("a server's Close doesn't wait for a stalled client", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, hubs.Config{})
		w := connect(t, s, "", "")
		w.stall(true)
		sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, "x")
		if err := s.Close(); err != nil {
			t.Errorf("Close returned %v", err)
		}
		if err := w.serveReturned(); !errors.Is(err, hubs.ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	t.Run("the end of the context ends the connection", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, hubs.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		w := newWire(t)
		go func() { w.ended <- s.Serve(ctx, hubs.ConnectionInfo{}, w) }()
		w.send(handshake)
		w.expect("{}" + rs)
		cancel()
		if err := w.expectEnd(); !errors.Is(err, context.Canceled) {
			t.Errorf("Serve returned %v", err)
		}
	})
	t.Run("the connection's context ends with a slow consumer whose method waits", func(t *testing.T) {
		t.Parallel()
		inside := make(chan struct{})
		s := newServer(t, hubs.Config{Options: hubs.Options{OutboundMessages: 1}, Dispatcher: handler{
			message: func(ctx context.Context, _ *hubs.Connection, _ *protocol.Message) error {
				close(inside)
				<-ctx.Done()
				return context.Cause(ctx)
			},
		}})
		w := connect(t, s, "", "")
		w.send(invocation("", "M"))
		<-inside
		w.stall(true)
		for range 4 {
			sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, "x")
		}
		w.stall(false)
		if err := w.serveReturned(); !errors.Is(err, hubs.ErrSlowConsumer) {
			t.Errorf("Serve returned %v", err)
		}
	})
}

// bus is a Backplane that counts subscriptions and can refuse them.
type bus struct {
	*hubs.MemoryBackplane
	mu         sync.Mutex
	err        error
	joined     int
	subscribed int
}

func (b *bus) Subscribe(ctx context.Context, n hubs.Node) (func(), error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return nil, b.err
	}
	leave, err := b.MemoryBackplane.Subscribe(ctx, n)
	if err != nil {
		return nil, err
	}
	b.joined++
	b.subscribed++
	return func() {
		leave()
		b.mu.Lock()
		defer b.mu.Unlock()
		b.subscribed--
	}, nil
}

func (b *bus) counts() (joined, subscribed int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.joined, b.subscribed
}

func TestSubscription(t *testing.T) {
	t.Parallel()
	t.Run("D4 the first connection subscribes once, the last one leaves after the linger", func(t *testing.T) {
		t.Parallel()
		b := &bus{MemoryBackplane: hubs.NewMemoryBackplane()}
		s := newServer(t, hubs.Config{Backplane: b, Linger: 20 * time.Millisecond})
		if s.IdleFor() <= 0 {
			t.Error("a new server isn't idle")
		}
		for round := 1; round <= 2; round++ {
			one, two := connect(t, s, "", ""), connect(t, s, "", "")
			if joined, now := b.counts(); joined != round || now != 1 || s.Connections() != 2 || s.IdleFor() != 0 {
				t.Errorf("subscribed %d times, %d now, %d connections", joined, now, s.Connections())
			}
			for _, w := range []*wire{one, two} {
				w.hangUp()
				_ = w.serveReturned()
			}
			until(t, "leaving", func() bool { _, now := b.counts(); return now == 0 })
		}
	})
	t.Run("D4 what is published when the handshake is answered is delivered", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, hubs.Config{Linger: time.Millisecond})
		for range 50 {
			w := connect(t, s, "ada", "")
			frame, _ := sendTo(t, s, hubs.Entry{Kind: hubs.SendToUsers, Users: []string{"ada"}}, "x")
			w.expect(frame)
			w.hangUp()
			_ = w.serveReturned()
		}
	})
	t.Run("without the backplane the handshake fails", func(t *testing.T) {
		t.Parallel()
		b := &bus{MemoryBackplane: hubs.NewMemoryBackplane(), err: hubs.ErrUnavailable}
		s := newServer(t, hubs.Config{Backplane: b})
		w := serve(t, s, "", "")
		w.send(handshake)
		w.expect(`{"error":"An unexpected error occurred during connection handshake."}` + rs)
		if err := w.expectEnd(); err == nil {
			t.Error("Serve returned nil")
		}
		if s.Connections() != 0 {
			t.Errorf("%d connections", s.Connections())
		}
	})
}

// groupBus tells the groups of a user only after letting the test act.
type groupBus struct {
	*hubs.MemoryBackplane
	act func()
}

func (b *groupBus) UserGroups(context.Context, string) ([]hubs.UserGroup, error) {
	b.act()
	return []hubs.UserGroup{{Name: "kept"}, {Name: "left"}}, nil
}

func TestStoredGroupsRemovedWhileReading(t *testing.T) {
	t.Parallel()
	b := &groupBus{MemoryBackplane: hubs.NewMemoryBackplane()}
	s := newServer(t, hubs.Config{Backplane: b})
	b.act = func() {
		command(t, s, &hubs.Entry{Kind: hubs.RemoveUserFromGroup, Users: []string{"ada"}, Groups: []string{"left"}})
		// It is sent after the handshake's answer.
		sendTo(t, s, hubs.Entry{Kind: hubs.SendToUsers, Users: []string{"ada"}}, "early")
	}
	w := connect(t, s, "ada", "c")
	_, early := message("early")
	w.expect(early)
	if c, _ := s.Connection("c"); len(c.Groups()) != 1 || c.Groups()[0] != "kept" {
		t.Errorf("groups are %q, want kept", c.Groups())
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	_, err := hubs.NewServer(hubs.Config{Linger: -1, Options: hubs.Options{KeepAliveInterval: -1, MaximumReceiveMessageSize: -1}})
	for _, field := range []string{"Linger", "KeepAliveInterval", "MaximumReceiveMessageSize"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("the error doesn't name %s: %v", field, err)
		}
	}
	s := newServer(t, hubs.Config{})
	want := hubs.Options{
		KeepAliveInterval: 15 * time.Second, ClientTimeoutInterval: 30 * time.Second, HandshakeTimeout: 15 * time.Second,
		MaximumReceiveMessageSize: 32768, MaximumParallelInvocationsPerClient: 1, StreamBufferCapacity: 10, MaximumMessagesPerFrame: 1000,
		OutboundMessages: 1000, OutboundBytes: 1 << 20, MaximumGroups: 1000, MaximumOpenStreams: 10,
		StatefulReconnectBufferSize: 100_000, StatefulReconnectWindow: 30 * time.Second, UploadIdleTimeout: 5 * time.Minute,
	}
	if s.Options() != want {
		t.Errorf("defaults are %+v", s.Options())
	}
	if err := s.SetOptions(hubs.Options{KeepAliveInterval: time.Second}); err != nil || s.Options().KeepAliveInterval != time.Second {
		t.Errorf("options are %+v, %v", s.Options(), err)
	}
	if err := s.SetOptions(hubs.Options{MaximumGroups: -1}); err == nil {
		t.Error("a bad option was taken")
	}
}

// awayBus can't tell the groups of a user until it is back.
type awayBus struct {
	hubs.Backplane
	back   atomic.Bool
	groups []hubs.UserGroup
}

func (b *awayBus) UserGroups(context.Context, string) ([]hubs.UserGroup, error) {
	if !b.back.Load() {
		return nil, fmt.Errorf("read groups: %w", hubs.ErrUnavailable)
	}
	return b.groups, nil
}

// TestConnect_while_the_backplane_is_away: a client with a user is served, and asked
// to connect again when its user turns out to be in groups.
func TestConnect_while_the_backplane_is_away(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		groups []hubs.UserGroup
		stays  bool
	}{
		"user without groups": {nil, true},
		"user in a group":     {[]hubs.UserGroup{{Name: "blue"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus := &awayBus{Backplane: hubs.NewMemoryBackplane(), groups: c.groups}
			s := newServer(t, hubs.Config{Backplane: bus})
			w := connect(t, s, "ann", "c1")
			frame, _ := sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, "hello")
			w.expect(frame)
			bus.back.Store(true)
			if !c.stays {
				if text, ok := w.read(); !ok || !strings.Contains(text, `"allowReconnect":true`) {
					t.Errorf("got %q, want to be asked to reconnect", text)
				}
				return
			}
			w.hangUp()
		})
	}
}
