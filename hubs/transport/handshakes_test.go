package transport_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// SEC-19: what a client says first, or doesn't.
func TestSEC_19_first_frames(t *testing.T) {
	t.Parallel()
	t.Run("fifty messages in the handshake's frame are handled in order", func(t *testing.T) {
		t.Parallel()
		r := newRecorder()
		s := newSite(t, func(s *setup) { s.config.Dispatcher = r })
		ws, _ := s.open("")
		text := handshake
		for i := range 50 {
			text += call(fmt.Sprint("m", i))
		}
		ws.send(text)
		ws.expect("{}\x1e")
		for i := range 50 {
			if got := <-r.targets; got != fmt.Sprint("m", i) {
				t.Fatalf("message %d is %q", i, got)
			}
		}
		ws.expect(s.publish("still here"))
	})
	const sealed = "{\"type\":7,\"error\":\"Connection closed with an error.\"}\x1e"
	padded := func(n int) string {
		const around = `{"protocol":"json","version":1,"x":""}` + "\x1e"
		return strings.Replace(around, `""`, `"`+strings.Repeat("x", n-len(around))+`"`, 1)
	}
	t.Run("4,096 bytes are a handshake", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		ws, _ := s.open("")
		ws.send(padded(4096))
		ws.expect("{}\x1e")
		ws.expect(s.publish("welcome"))
	})
	for name, row := range map[string]struct{ first, last string }{
		"a second handshake":         {handshake + handshake, sealed},
		"a second one, later":        {handshake + ping + handshake, sealed},
		"binary garbage":             {"\x00\xff\xfe\x81\x1e\x00\x01", "{\"error\":\"An unexpected error occurred during connection handshake.\"}\x1e"},
		"no separator in 5 KB":       {strings.Repeat("x", 5000), "{\"error\":\"Handshake was canceled.\"}\x1e"},
		"a handshake of 5 KB":        {padded(5000), "{\"error\":\"Handshake was canceled.\"}\x1e"},
		"one byte more than 4 KiB":   {padded(4097), "{\"error\":\"Handshake was canceled.\"}\x1e"},
		"a protocol of nobody":       {"{\"protocol\":\"x\",\"version\":1}\x1e", "{\"error\":\"The protocol 'x' is not supported.\"}\x1e"},
		"version 99":                 {"{\"protocol\":\"json\",\"version\":99}\x1e", "{\"error\":\"The server does not support version 99 of the 'json' protocol.\"}\x1e"},
		"an invocation, unannounced": {call("a"), "{\"error\":\"An unexpected error occurred during connection handshake.\"}\x1e"},
	} {
		t.Run(""+name+" ends the connection, not its neighbour", func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil)
			neighbour, _ := s.connected("")
			ws, _ := s.open("")
			if err := ws.conn.Write(t.Context(), websocket.MessageBinary, []byte(row.first)); err != nil {
				t.Fatal(err)
			}
			var last string
			for {
				record, err := ws.read()
				if err != nil {
					break
				}
				last = record
			}
			if last != row.last {
				t.Errorf("the last word is %q, want %q", last, row.last)
			}
			neighbour.expect(s.publish("still here"))
		})
	}
}

// SEC-19: a client that doesn't come to the end of its handshake is closed when its
// time is over, whichever transport it has and however busy it seems.
func TestSEC_19_handshakes_that_do_not_come(t *testing.T) {
	t.Parallel()
	const refusal = "{\"error\":\"Handshake was canceled.\"}\x1e"
	t.Run("a client has 15 s unless it is told otherwise", func(t *testing.T) {
		t.Parallel()
		if d := newSite(t, nil).hub.Options().HandshakeTimeout; d != 15*time.Second {
			t.Errorf("it has %v", d)
		}
	})
	short := func(t *testing.T) *site {
		return newSite(t, func(s *setup) { s.config.Options.HandshakeTimeout = 200 * time.Millisecond })
	}
	gone := func(t *testing.T, s *site, neighbour *site) {
		until(t, "the end of the connection", func() bool { return s.hub.Connections() == 0 })
		ws, _ := neighbour.connected("")
		ws.expect(neighbour.publish("still here"))
	}
	t.Run("one that says nothing, by WebSocket", func(t *testing.T) {
		t.Parallel()
		s := short(t)
		ws, _ := s.open("")
		ws.expect(refusal)
		ws.expectClosed(websocket.StatusNormalClosure)
		gone(t, s, newSite(t, nil))
	})
	t.Run("one that sends byte by byte, by WebSocket", func(t *testing.T) {
		t.Parallel()
		s := short(t)
		ws, _ := s.open("")
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() {
			for b := byte('{'); ws.conn.Write(ctx, websocket.MessageText, []byte{b}) == nil; b = ' ' {
				select {
				case <-time.After(20 * time.Millisecond): // 4 KiB would take more than a minute
				case <-ctx.Done():
				}
			}
		}()
		ws.expect(refusal)
		ws.expectClosed(websocket.StatusNormalClosure)
		gone(t, s, newSite(t, nil))
	})
	t.Run("one that says nothing, by Server-Sent Events", func(t *testing.T) {
		t.Parallel()
		s := short(t)
		events := s.events("?id="+s.negotiate("").ConnectionToken, nil)
		events.expect(refusal)
		if got, err := events.next(); err == nil {
			t.Errorf("got %q after the refusal", got)
		}
		gone(t, s, newSite(t, nil))
	})
	t.Run("one that says nothing, by long polling", func(t *testing.T) {
		t.Parallel()
		s := short(t)
		query := "?id=" + s.negotiate("").ConnectionToken
		s.do("GET", "", query, "", nil).want(t, 200, "")
		s.do("GET", "", query, "", nil).want(t, 200, refusal)
		until(t, "the id to be spent", func() bool { return s.do("GET", "", query, "", nil).status == 404 })
		gone(t, s, newSite(t, nil))
	})
}
