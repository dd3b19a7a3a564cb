package transport_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

func TestWebSockets(t *testing.T) {
	t.Parallel()
	t.Run("H-01 the handshake is answered before anything else", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		ws, id := s.connected("ada")
		if _, ok := s.hub.Connection(id); !ok {
			t.Errorf("the hub has no connection with the negotiated id %q", id)
		}
		ws.expect(s.publish("hi"))
	})
	t.Run("T-03 an unknown id is refused with 404 before the upgrade", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		_, resp, err := s.dial("?id=nope", nil)
		if err == nil || resp.StatusCode != http.StatusNotFound {
			t.Errorf("dial: %v, %v", resp, err)
		}
	})
	t.Run("T-05 SEC-13 second WebSocket on an active connection is refused with 409", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		n := s.negotiate("")
		first, _, err := s.dial("?id="+n.ConnectionToken, nil)
		if err != nil {
			t.Fatal(err)
		}
		first.send(handshake)
		first.expect("{}\x1e")
		_, resp, err := s.dial("?id="+n.ConnectionToken, nil)
		if err == nil || resp.StatusCode != http.StatusConflict {
			t.Errorf("the second got %v, %v", resp, err)
		}
		first.expect(s.publish("still here"))
	})
	t.Run("T-06 SEC-13 POST to a WebSocket connection is refused with 405", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		n := s.negotiate("")
		if _, _, err := s.dial("?id="+n.ConnectionToken, nil); err != nil {
			t.Fatal(err)
		}
		s.do("POST", "", "?id="+n.ConnectionToken, "x", nil).want(t, 405, "POST requests are not allowed for WebSocket connections.")
	})
	t.Run("T-07 SEC-13 DELETE of a WebSocket connection is refused with 400", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		n := s.negotiate("")
		if _, _, err := s.dial("?id="+n.ConnectionToken, nil); err != nil {
			t.Fatal(err)
		}
		s.do("DELETE", "", "?id="+n.ConnectionToken, "", nil).want(t, 400, "Cannot terminate this connection using the DELETE endpoint.")
	})
	t.Run("T-08 SEC-13 another transport on the same id is refused with 400", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		n := s.negotiate("")
		if _, _, err := s.dial("?id="+n.ConnectionToken, nil); err != nil {
			t.Fatal(err)
		}
		s.do("GET", "", "?id="+n.ConnectionToken, "", nil).want(t, 400, "Cannot change transports mid-connection")
		s.do("GET", "", "?id="+n.ConnectionToken, "", header{"Accept": "text/event-stream"}).want(t, 400, "Cannot change transports mid-connection")
	})
	t.Run("T-10 a WebSocket without id is a new connection", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		ws, _, err := s.dial("", nil)
		if err != nil {
			t.Fatal(err)
		}
		ws.send(handshake)
		ws.expect("{}\x1e")
		ws.expect(s.publish("hi"))
	})
	t.Run("T-10 a WebSocket without id is refused where negotiation is required", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, func(s *setup) { s.endpoint.RequireNegotiation = true })
		_, resp, err := s.dial("", nil)
		if err == nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("dial: %v, %v", resp, err)
		}
	})
	t.Run("T-11 SEC-13 the id of an ended connection is unknown", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		n := s.negotiate("")
		ws, _, err := s.dial("?id="+n.ConnectionToken, nil)
		if err != nil {
			t.Fatal(err)
		}
		ws.send(handshake)
		ws.expect("{}\x1e")
		if err := ws.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Errorf("T-13 close handshake: %v", err)
		}
		until(t, "end of the connection", func() bool { return s.hub.IdleFor() > 0 })
		_, resp, err := s.dial("?id="+n.ConnectionToken, nil)
		if err == nil || resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusConflict {
			t.Errorf("dial: %v, %v", resp, err)
		}
		until(t, "404 for the spent id", func() bool {
			return s.do("GET", "", "?id="+n.ConnectionToken, "", nil).status == http.StatusNotFound
		})
	})
	t.Run("T-12 frames are text for JSON and binary for MessagePack", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		for name, kind := range map[string]websocket.MessageType{"json": websocket.MessageText, "messagepack": websocket.MessageBinary} {
			ws, _ := s.open("")
			ws.send(`{"protocol":"` + name + "\",\"version\":1}\x1e")
			typ, b, err := ws.conn.Read(t.Context())
			if err != nil || typ != kind || string(b) != "{}\x1e" {
				t.Fatalf("%s: the handshake is answered with %v %q, %v", name, typ, b, err)
			}
			m, _ := message("both")
			s.entry(&hubs.Entry{Kind: hubs.SendToAll, Message: m})
			p, _ := protocol.ByName(name)
			want, err := m.Frame(p)
			if err != nil {
				t.Fatal(err)
			}
			typ, b, err = ws.conn.Read(t.Context())
			if err != nil || typ != kind || string(b) != string(want) {
				t.Errorf("%s: the push is %v %q, %v; want %q", name, typ, b, err, want)
			}
		}
	})
	t.Run("T-14 a failing application closes with 1011", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, func(s *setup) { s.config.Dispatcher = panicky{} })
		ws, _ := s.connected("")
		ws.send("{\"type\":1,\"target\":\"x\",\"arguments\":[]}\x1e")
		ws.expect("{\"type\":7,\"error\":\"Connection closed with an error.\"}\x1e")
		ws.expectClosed(websocket.StatusInternalError)
	})
	t.Run("E-09 the server ends with a Close message and 1000", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		ws, id := s.connected("")
		s.entry(&hubs.Entry{Kind: hubs.CloseConnections, Connections: []string{id}})
		ws.expect("{\"type\":7}\x1e")
		ws.expectClosed(websocket.StatusNormalClosure)
	})
	t.Run("SEC-20 a message in more than 1,024 crumbs closes with 1008", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		ws, _ := s.connected("")
		w, err := ws.conn.Writer(t.Context(), websocket.MessageText)
		if err != nil {
			t.Fatal(err)
		}
		for range 2000 {
			if _, err := w.Write([]byte(" ")); err != nil {
				break
			}
		}
		ws.expectClosed(websocket.StatusPolicyViolation)
	})
	t.Run("a large message leaves whole", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		ws, _ := s.connected("")
		ws.expect(s.publish(strings.Repeat("x", 300_000)))
	})
	t.Run("T-09 WebSockets turned off are refused with 404", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, func(s *setup) { s.endpoint.Transports = []hubs.TransportKind{hubs.LongPolling} })
		n := s.negotiate("")
		for _, q := range []string{"", "?id=" + n.ConnectionToken} {
			_, resp, err := s.dial(q, nil)
			if err == nil || resp.StatusCode != http.StatusNotFound {
				t.Errorf("dial %q: %v, %v", q, resp, err)
			}
		}
	})
	t.Run("an endpoint that admits nobody answers with its own status", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, func(s *setup) {
			s.endpoint.Admit = admitNobody
		})
		n := s.negotiate("")
		a := s.do("GET", "", "?id="+n.ConnectionToken, "", header{"Accept": "text/event-stream"})
		a.want(t, 429, "Connection count reaches limit.")
		if a.header.Get("Retry-After") != "5" {
			t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
		}
		_, resp, err := s.dial("", nil)
		if err == nil || resp.StatusCode != http.StatusTooManyRequests {
			t.Errorf("dial: %v, %v", resp, err)
		}
	})
}
