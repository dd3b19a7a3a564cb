package hubs_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

func TestHandshake(t *testing.T) {
	t.Parallel()
	const rs = "\x1e"
	refusals := []struct {
		name, request, answer, detailed string
	}{
		{"H-02 an unknown protocol", `{"protocol":"x","version":1}`, `The protocol 'x' is not supported.`, ""},
		{"H-03 an unknown version", `{"protocol":"json","version":9001}`, `The server does not support version 9001 of the 'json' protocol.`, ""},
		{
			"H-07 not JSON", `nonsense`, `An unexpected error occurred during connection handshake.`,
			`An unexpected error occurred during connection handshake. InvalidDataException: `,
		},
		{
			"H-07 the version is no number", `{"protocol":"json","version":"1"}`, `An unexpected error occurred during connection handshake.`,
			`An unexpected error occurred during connection handshake. InvalidDataException: `,
		},
		{
			"H-08 another hub message", `{"type":6}`, `An unexpected error occurred during connection handshake.`,
			`An unexpected error occurred during connection handshake. InvalidDataException: Missing required property 'protocol'.`,
		},
		{"H-10 SEC-19 longer than 4 KiB", `{"protocol":"json","version":1,"x":"` + strings.Repeat("x", 5000) + `"}`, `Handshake was canceled.`, ""},
	}
	for _, r := range refusals {
		t.Run(r.name+" is refused with its text", func(t *testing.T) {
			t.Parallel()
			w := serve(t, newServer(t, hubs.Config{}), "", "")
			w.send(r.request + rs)
			w.expect(`{"error":"` + r.answer + `"}` + rs)
			if err := w.expectEnd(); !errors.Is(err, hubs.ErrHandshake) {
				t.Errorf("Serve returned %v", err)
			}
		})
		if r.detailed == "" {
			continue
		}
		t.Run(r.name+" is refused in detail", func(t *testing.T) {
			t.Parallel()
			w := serve(t, newServer(t, hubs.Config{Options: hubs.Options{EnableDetailedErrors: true}}), "", "")
			w.send(r.request + rs)
			if got, _ := w.read(); !strings.HasPrefix(got, `{"error":"`+r.detailed) {
				t.Errorf("got %q", got)
			}
		})
	}
	accepted := []struct {
		name  string
		parts []string
	}{
		{"H-01 in one piece", []string{handshake}},
		{"H-05 in pieces", []string{handshake[:3], handshake[3:20], handshake[20:]}},
		{"H-11 with unknown properties", []string{`{"x":[1,{"y":2}],"version":1,"protocol":"json","minorVersion":0}` + rs}},
		{"H-13 in version 2", []string{`{"protocol":"json","version":2}` + rs}},
		{"H-12 of MessagePack, answered in JSON", []string{`{"protocol":"messagepack","version":1}` + rs}},
	}
	for _, a := range accepted {
		t.Run(a.name+" is accepted", func(t *testing.T) {
			t.Parallel()
			w := serve(t, newServer(t, hubs.Config{}), "", "")
			for _, p := range a.parts {
				w.send(p)
			}
			w.expect("{}" + rs)
		})
	}
	t.Run("H-06 an invocation in the same payload is handled", func(t *testing.T) {
		t.Parallel()
		w := serve(t, newServer(t, hubs.Config{}), "", "")
		w.send(handshake + `{"type":1,"invocationId":"7","target":"x","arguments":[]}` + rs)
		w.expect("{}" + rs)
		if got, _ := w.read(); !strings.Contains(got, `"invocationId":"7"`) {
			t.Errorf("got %q", got)
		}
	})
	t.Run("H-09 none within the time-out", func(t *testing.T) {
		t.Parallel()
		w := serve(t, newServer(t, hubs.Config{Options: hubs.Options{HandshakeTimeout: 100 * time.Millisecond}}), "", "")
		w.expect(`{"error":"Handshake was canceled."}` + rs)
		if err := w.expectEnd(); !errors.Is(err, hubs.ErrHandshake) {
			t.Errorf("Serve returned %v", err)
		}
	})
	t.Run("H-09 none within the connection's own time-out", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, hubs.Config{Options: hubs.Options{HandshakeTimeout: time.Hour}})
		w := serveInfo(t, s, hubs.ConnectionInfo{HandshakeTimeout: 100 * time.Millisecond})
		w.expect(`{"error":"Handshake was canceled."}` + rs)
		if err := w.expectEnd(); !errors.Is(err, hubs.ErrHandshake) {
			t.Errorf("Serve returned %v", err)
		}
	})
	t.Run("H-09 a client that sends one byte after the other has no more time", func(t *testing.T) {
		t.Parallel()
		w := serve(t, newServer(t, hubs.Config{Options: hubs.Options{HandshakeTimeout: 200 * time.Millisecond}}), "", "")
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
					w.send(" ")
				}
			}
		}()
		w.expect(`{"error":"Handshake was canceled."}` + rs)
	})
	t.Run("H-14 a partial handshake, then the end, is closed quietly", func(t *testing.T) {
		t.Parallel()
		w := serve(t, newServer(t, hubs.Config{}), "", "")
		w.send(handshake[:10])
		w.hangUp()
		if err := w.expectEnd(); err == nil {
			t.Error("Serve returned nil")
		}
	})
	t.Run("a second connection with the same id is refused", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, hubs.Config{})
		first := connect(t, s, "", "same")
		second := serve(t, s, "", "same")
		second.send(handshake)
		second.expect(`{"error":"An unexpected error occurred during connection handshake."}` + rs)
		_ = second.expectEnd()
		frame, n := sendTo(t, s, hubs.Entry{Kind: hubs.SendToConnections, Connections: []string{"same"}}, "x")
		if n != 1 {
			t.Errorf("matched %d", n)
		}
		first.expect(frame)
	})
}
