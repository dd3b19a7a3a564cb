package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/hubs/client"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// hub is a server that does what a test says after the WebSocket is open.
func hub(t testing.TB, negotiate http.HandlerFunc, serve func(ctx context.Context, ws *websocket.Conn)) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token" {
			http.Error(w, "who?", http.StatusUnauthorized)
			return
		}
		if strings.HasSuffix(r.URL.Path, "/negotiate") {
			negotiate(w, r)
			return
		}
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.CloseNow()
		serve(r.Context(), ws)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/client/?hub=chat"
}

func negotiated(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/client/negotiate" || r.URL.Query().Get("negotiateVersion") != "1" || r.URL.Query().Get("hub") != "chat" {
		http.Error(w, r.Method+" "+r.URL.String(), http.StatusBadRequest)
		return
	}
	_, _ = io.WriteString(w, `{"negotiateVersion":1,"connectionId":"id","connectionToken":"to/ken"}`)
}

// shakes reads the handshake and answers it, with what comes right behind it.
func shakes(t testing.TB, ctx context.Context, ws *websocket.Conn, behind string) {
	t.Helper()
	_, hello, err := ws.Read(ctx)
	if err != nil {
		t.Error(err)
		return
	}
	if _, n, err := protocol.ParseHandshakeRequest(hello); err != nil || n != len(hello) {
		t.Errorf("handshake %q: %v", hello, err)
	}
	if err := ws.Write(ctx, websocket.MessageText, []byte("{}\x1e"+behind)); err != nil {
		t.Error(err)
	}
}

func TestConn_reads_and_writes_messages_in_both_protocols(t *testing.T) {
	t.Parallel()
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		t.Run(p.Name(), func(t *testing.T) {
			t.Parallel()
			three := protocol.Message{Type: protocol.Invocation, Target: "say", Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: []byte(`["hello",3]`)}}
			frame, err := p.Append(nil, &three)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			url := hub(t, negotiated, func(ctx context.Context, ws *websocket.Conn) {
				defer close(ended)
				first := ""
				if p.TransferFormat() == protocol.Text {
					first = string(frame) // a message may share a frame with the answer
				}
				shakes(t, ctx, ws, first)
				kind := websocket.MessageText
				if p.TransferFormat() == protocol.Binary {
					kind = websocket.MessageBinary
				}
				if err := ws.Write(ctx, kind, append(append([]byte{}, frame...), frame...)); err != nil {
					t.Error(err)
				}
				got, data, err := ws.Read(ctx)
				var m protocol.Message
				if n, parseErr := p.Parse(data, &m); err != nil || got != kind || parseErr != nil || n != len(data) || m.Type != protocol.Ping {
					t.Errorf("the client sent %q: %v %v", data, err, parseErr)
				}
				if _, _, err := ws.Read(ctx); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
					t.Errorf("the client's goodbye is %v", err)
				}
			})
			k, err := client.Dial(t.Context(), client.Config{URL: url, Token: "token", Protocol: p})
			if err != nil {
				t.Fatal(err)
			}
			if k.ID() != "id" {
				t.Errorf("id is %q", k.ID())
			}
			want := 2
			if p.TransferFormat() == protocol.Text {
				want = 3
			}
			for range want {
				m, err := k.Next(t.Context())
				if err != nil || m.Type != protocol.Invocation || m.Target != "say" || m.ArgumentCount != 2 {
					t.Fatalf("message %+v: %v", m, err)
				}
			}
			if err := k.Send(t.Context(), &protocol.Message{Type: protocol.Ping}); err != nil {
				t.Fatal(err)
			}
			k.Close()
			<-ended
		})
	}
}

func TestDial_says_why_it_was_refused(t *testing.T) {
	t.Parallel()
	nothing := func(context.Context, *websocket.Conn) {}
	var refused *client.Refused
	full := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		http.Error(w, "connection_limit scope=tenant", http.StatusTooManyRequests)
	}
	_, err := client.Dial(t.Context(), client.Config{URL: hub(t, full, nothing), Token: "token"})
	if !errors.As(err, &refused) || refused.Status != http.StatusTooManyRequests || refused.RetryAfter != "7" || refused.Text != "connection_limit scope=tenant" {
		t.Errorf("full: %+v", err)
	}
	_, err = client.Dial(t.Context(), client.Config{URL: hub(t, negotiated, nothing), Token: "stolen", Direct: true})
	if !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized {
		t.Errorf("without negotiating: %v", err)
	}
	told := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"error":"no such version"}`) }
	if _, err = client.Dial(t.Context(), client.Config{URL: hub(t, told, nothing), Token: "token"}); err == nil || !strings.Contains(err.Error(), "no such version") {
		t.Errorf("told in the answer: %v", err)
	}
	var handshake *protocol.HandshakeError
	no := func(ctx context.Context, ws *websocket.Conn) {
		_, _, _ = ws.Read(ctx)
		_ = ws.Write(ctx, websocket.MessageText, []byte(`{"error":"not you"}`+"\x1e"))
	}
	if _, err = client.Dial(t.Context(), client.Config{URL: hub(t, negotiated, no), Token: "token"}); !errors.As(err, &handshake) || handshake.Message != "not you" {
		t.Errorf("at the handshake: %v", err)
	}
}

func TestNext_ends_with_the_status_of_the_service(t *testing.T) {
	t.Parallel()
	url := hub(t, negotiated, func(ctx context.Context, ws *websocket.Conn) {
		shakes(t, ctx, ws, "")
		_ = ws.Close(websocket.StatusPolicyViolation, "")
	})
	k, err := client.Dial(t.Context(), client.Config{URL: url, Token: "token"})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Abort()
	if _, err = k.Next(t.Context()); client.CloseStatus(err) != int(websocket.StatusPolicyViolation) {
		t.Errorf("ended with %v", err)
	}
	if client.CloseStatus(io.EOF) != 0 {
		t.Error("an error that says nothing of a status has one")
	}
}

// FuzzNext has a service send anything: a client ends, and never panics or hangs.
func FuzzNext(f *testing.F) {
	f.Add([]byte("{}\x1e"), []byte(`{"type":1,"target":"say","arguments":["hello"]}`+"\x1e"), false)
	f.Add([]byte("{}\x1e{\"type\":6}\x1e"), []byte("\x02\x91\x06"), true)
	f.Add([]byte(`{"error":"no"}`+"\x1e"), []byte{}, false)
	f.Add([]byte("{}\x1e"), []byte(`{"type":1,`), false)
	f.Add([]byte("{}\x1e"), []byte{0xff, 0xff, 0xff, 0xff, 0x7f}, true)
	f.Fuzz(func(t *testing.T, first, then []byte, binary bool) {
		p := protocol.NewJSON()
		if binary {
			p = protocol.NewMessagePack()
		}
		url := hub(t, negotiated, func(ctx context.Context, ws *websocket.Conn) {
			if _, _, err := ws.Read(ctx); err != nil {
				return
			}
			if ws.Write(ctx, websocket.MessageBinary, first) == nil && ws.Write(ctx, websocket.MessageBinary, then) == nil {
				_ = ws.Close(websocket.StatusNormalClosure, "")
			}
		})
		k, err := client.Dial(t.Context(), client.Config{URL: url, Token: "token", Protocol: p})
		if err != nil {
			return
		}
		defer k.Abort()
		for {
			m, err := k.Next(t.Context())
			if err != nil {
				return
			}
			_, _ = p.Append(nil, m)
		}
	})
}
