package transport_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// connectedStream is an event stream with the handshake done.
func (s *site) connectedStream(user string) (st *stream, query, id string) {
	s.t.Helper()
	n := s.negotiate(user)
	query = "?id=" + n.ConnectionToken
	st = s.events(query, as(user))
	s.do("POST", "", query, handshake, as(user)).want(s.t, 200, "")
	st.expect("{}\x1e")
	return st, query, n.ConnectionID
}

func TestServerSentEvents(t *testing.T) {
	t.Parallel()
	t.Run("T-16 headers and the first byte come at once", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		st := s.events("?id="+s.negotiate("").ConnectionToken, nil)
		h := st.resp.Header
		if st.resp.StatusCode != 200 || h.Get("Content-Type") != "text/event-stream" ||
			!strings.HasPrefix(h.Get("Cache-Control"), "no-cache") || h.Get("X-Accel-Buffering") != "no" {
			t.Errorf("answered %d %v", st.resp.StatusCode, h)
		}
		if b, err := st.in.ReadByte(); err != nil || b != ':' {
			t.Errorf("first byte is %q, %v", b, err)
		}
	})
	t.Run("T-17 pushes are events", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		st, _, _ := s.connectedStream("ada")
		st.expect(s.publish("one"))
		st.expect(s.publish("two"))
	})
	t.Run("T-17 SEC-29 no line break in a payload ends the event", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		st, _, _ := s.connectedStream("")
		for _, text := range []string{"a\nb", "a\r\nb", "a\rb", "a\n\ndata: b", "a\u2028b", "\n", "a\n"} {
			frame := []byte(`{"type":1,"target":"t","arguments":[` + text + "]}\x1e")
			s.entry(&hubs.Entry{Kind: hubs.SendToAll, Message: &hubs.Broadcast{Frames: map[string][]byte{"json": frame}}})
			st.expect(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(frame)))
		}
	})
	t.Run("SEC-29 targets, arguments and errors of any text are one event each, and say what they said", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		st, _, id := s.connectedStream("")
		said := func() (m struct {
			Target, Error string
			Arguments     []string
		}) {
			t.Helper()
			event, err := st.next()
			text, ended := strings.CutSuffix(event, "\x1e")
			if err != nil || !ended || json.Unmarshal([]byte(text), &m) != nil {
				t.Fatalf("the event is %q, %v", event, err)
			}
			return m
		}
		texts := []string{"a\rb", "a\nb", "a\r\nb", "a\n\ndata: {\"type\":7}\x1e\n\n", "a\u2028b\u2029c", "\r\nevent: close\r\nid: 1\r\nretry: 0", ":a", "\x00"}
		for _, text := range texts {
			argument, err := json.Marshal([]string{text})
			if err != nil {
				t.Fatal(err)
			}
			s.entry(&hubs.Entry{Kind: hubs.SendToAll, Message: &hubs.Broadcast{Target: text, Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: argument}}})
			if m := said(); m.Target != text || len(m.Arguments) != 1 || m.Arguments[0] != text {
				t.Errorf("%q comes as %+v", text, m)
			}
		}
		reason := strings.Join(texts[:6], "")
		s.entry(&hubs.Entry{Kind: hubs.CloseConnections, Connections: []string{id}, Reason: reason})
		if m := said(); m.Error != reason {
			t.Errorf("the reason %q comes as %q", reason, m.Error)
		}
	})
	t.Run("T-18 a very large message comes whole in one event", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		st, _, _ := s.connectedStream("")
		st.expect(s.publish(strings.Repeat("x", 900_000)))
	})
	t.Run("T-05 SEC-13 second stream on an active connection is refused with 409", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		st, query, _ := s.connectedStream("")
		s.do("GET", "", query, "", header{"Accept": "text/event-stream"}).want(t, 409, "")
		st.expect(s.publish("still here"))
	})
	t.Run("T-07 SEC-13 DELETE is refused with 400", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		_, query, _ := s.connectedStream("")
		s.do("DELETE", "", query, "", nil).want(t, 400, "Cannot terminate this connection using the DELETE endpoint.")
	})
	t.Run("T-09 turned off", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, func(s *setup) { s.endpoint.Transports = []hubs.TransportKind{hubs.LongPolling} })
		s.do("GET", "", "?id="+s.negotiate("").ConnectionToken, "", header{"Accept": "text/event-stream"}).
			want(t, 404, "ServerSentEvents transport not supported by this end point type")
	})
	t.Run("T-22 a dropped stream ends the connection and spends its id", func(t *testing.T) {
		t.Parallel()
		r := newRecorder()
		s := newSite(t, func(s *setup) { s.config.Dispatcher = r })
		st, query, _ := s.connectedStream("")
		st.close()
		if cause := <-r.disconnected; cause == nil {
			t.Error("OnDisconnected was told of an orderly end")
		}
		until(t, "404 for the spent id", func() bool { return s.do("POST", "", query, "x", nil).status == 404 })
		s.do("GET", "", query, "", header{"Accept": "text/event-stream"}).want(t, 404, "No Connection with that ID")
	})
	t.Run("H-04 SEC-29 MessagePack is refused, and negotiate offers texts alone", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		n := s.negotiate("")
		for _, offer := range n.AvailableTransports {
			if offer.Transport == "ServerSentEvents" && !slices.Equal(offer.TransferFormats, []string{"Text"}) {
				t.Errorf("offered %v", offer)
			}
		}
		query := "?id=" + n.ConnectionToken
		st := s.events(query, nil)
		s.do("POST", "", query, "{\"protocol\":\"messagepack\",\"version\":1}\x1e", nil)
		st.expect(`{"error":"Cannot use the 'messagepack' protocol on the current transport. The transport does not support 'Binary' transfer format."}` + "\x1e")
		if _, err := st.next(); !errors.Is(err, io.EOF) {
			t.Errorf("the stream goes on: %v", err)
		}
	})
	t.Run("E-09 the server's Close message comes before the end", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		st, _, id := s.connectedStream("")
		s.entry(&hubs.Entry{Kind: hubs.CloseConnections, Connections: []string{id}, Reason: "bye", AllowReconnect: true})
		st.expect("{\"type\":7,\"error\":\"bye\",\"allowReconnect\":true}\x1e")
		if _, err := st.next(); !errors.Is(err, io.EOF) {
			t.Errorf("the stream goes on: %v", err)
		}
	})
}

func TestPost(t *testing.T) {
	t.Parallel()
	invocation := func(i int) string { return fmt.Sprintf("{\"type\":1,\"target\":\"m%d\",\"arguments\":[]}\x1e", i) }
	t.Run("T-31 one message in several bodies and several in one", func(t *testing.T) {
		t.Parallel()
		r := newRecorder()
		s := newSite(t, func(s *setup) { s.config.Dispatcher = r })
		_, query, _ := s.connectedStream("")
		whole := invocation(1) + invocation(2) + invocation(3)
		for _, part := range []string{whole[:5], whole[5:50], whole[50:], ""} {
			s.do("POST", "", query, part, nil).want(t, 200, "")
		}
		for i := 1; i <= 3; i++ {
			if got := <-r.targets; got != fmt.Sprintf("m%d", i) {
				t.Errorf("message %d is %q", i, got)
			}
		}
	})
	t.Run("T-31 parallel bodies don't mix", func(t *testing.T) {
		t.Parallel()
		r := newRecorder()
		s := newSite(t, func(s *setup) { s.config.Dispatcher = r })
		_, query, _ := s.connectedStream("")
		done := make(chan answer, 4)
		const each = 50
		for range 4 {
			go func() {
				var body strings.Builder
				for i := range each {
					body.WriteString(invocation(i))
				}
				done <- s.do("POST", "", query, body.String(), nil)
			}()
		}
		for range 4 {
			(<-done).want(t, 200, "")
		}
		for range 4 {
			for i := range each {
				if got := <-r.targets; got != fmt.Sprintf("m%d", i) {
					t.Fatalf("message %d is %q", i, got)
				}
			}
		}
	})
	t.Run("T-20 a body that is cut off is answered 400 and leaves nothing behind", func(t *testing.T) {
		t.Parallel()
		r := newRecorder()
		s := newSite(t, func(s *setup) { s.config.Dispatcher = r })
		_, query, _ := s.connectedStream("")
		if status := s.cutPost(query, invocation(1)+"{\"type\"", 500); status != 400 {
			t.Errorf("answered %d", status)
		}
		s.do("POST", "", query, invocation(2), nil).want(t, 200, "")
		if got := <-r.targets; got != "m2" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("a body above the bound is answered 413", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, func(s *setup) { s.options.MaxBodyBytes = 100 })
		_, query, _ := s.connectedStream("")
		if a := s.do("POST", "", query, strings.Repeat(" ", 101), nil); a.status != http.StatusRequestEntityTooLarge {
			t.Errorf("answered %d", a.status)
		}
	})
	t.Run("E-05 a message above the limit closes the connection", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, func(s *setup) { s.config.Options.EnableDetailedErrors = true })
		st, query, _ := s.connectedStream("")
		s.do("POST", "", query, "{\"type\":1,\"target\":\""+strings.Repeat("x", 200_000), nil)
		st.expect("{\"type\":7,\"error\":\"Connection closed with an error. InvalidDataException: The maximum message size of 32768B was exceeded. " +
			"The message size can be configured in AddHubOptions.\"}\x1e")
	})
	t.Run("E-06 many small messages above the limit in one body are fine", func(t *testing.T) {
		t.Parallel()
		r := newRecorder()
		s := newSite(t, func(s *setup) { s.config.Dispatcher = r })
		_, query, _ := s.connectedStream("")
		s.do("POST", "", query, strings.Repeat(invocation(1), 900), nil).want(t, 200, "")
		for range 900 {
			<-r.targets
		}
	})
}
