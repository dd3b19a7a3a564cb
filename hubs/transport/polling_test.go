package transport_test

import (
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// polling is a long polling connection with the handshake done.
func (s *site) polling(user string) (query, id string) {
	s.t.Helper()
	n := s.negotiate(user)
	query = "?id=" + n.ConnectionToken
	s.do("GET", "", query, "", as(user)).want(s.t, 200, "")
	s.do("POST", "", query, handshake, as(user)).want(s.t, 200, "")
	s.polls(query, as(user)).want(s.t, 200, "{}\x1e")
	return query, n.ConnectionID
}

// polls polls until something comes: the time of a poll may be over before.
func (s *site) polls(query string, h header) answer {
	s.t.Helper()
	for {
		if a := s.do("GET", "", query, "", h); a.status != 200 || a.body != "" {
			return a
		}
	}
}

// poll polls in the background.
func (s *site) poll(query string) <-chan answer {
	c := make(chan answer, 1)
	go func() { c <- s.do("GET", "", query, "", nil) }()
	return c
}

// answerOf waits for a poll in the background.
func answerOf(t *testing.T, c <-chan answer) answer {
	t.Helper()
	select {
	case a := <-c:
		return a
	case <-time.After(wait):
		t.Fatalf("no answer to the poll within %v", wait)
		return answer{}
	}
}

func TestLongPolling(t *testing.T) {
	t.Parallel()
	t.Run("T-23 the first poll is answered at once and empty", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		a := s.do("GET", "", "?id="+s.negotiate("").ConnectionToken, "", nil)
		a.want(t, 200, "")
		if a.header.Get("Content-Length") != "0" {
			t.Errorf("header is %v", a.header)
		}
	})
	t.Run("T-24 T-32 everything that waited comes in one body", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		query, _ := s.polling("")
		want := ""
		for range 100 {
			want += s.publish("x")
		}
		a := s.do("GET", "", query, "", nil)
		a.want(t, 200, want)
		if a.header.Get("Content-Type") != "application/octet-stream" || a.header.Get("Cache-Control") == "" {
			t.Errorf("header is %v", a.header)
		}
	})
	t.Run("an open poll is answered when something is sent", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		query, _ := s.polling("")
		for range 20 {
			c := s.poll(query)
			frame := s.publish("x")
			answerOf(t, c).want(t, 200, frame)
		}
	})
	t.Run("T-25 a poll without data is answered empty after the time-out", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, func(s *setup) { s.options.PollTimeout = 50 * time.Millisecond })
		query, _ := s.polling("")
		for range 3 {
			s.do("GET", "", query, "", nil).want(t, 200, "")
		}
		frame := s.publish("after")
		s.polls(query, nil).want(t, 200, frame)
	})
	t.Run("T-25 an endpoint may have less patience", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, func(s *setup) {
			s.options.PollTimeout = time.Hour
			s.endpoint.PollTimeout = 50 * time.Millisecond
		})
		query, _ := s.polling("")
		s.do("GET", "", query, "", nil).want(t, 200, "")
	})
	t.Run("T-26 SEC-13 a second poll ends the first with 204 and goes on", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		query, _ := s.polling("")
		one, two := s.poll(query), s.poll(query)
		var older answer
		newer := two
		select {
		case older = <-one:
		case older = <-two:
			newer = one
		case <-time.After(wait):
			t.Fatal("both polls stay open")
		}
		older.want(t, 204, "")
		frame := s.publish("to the newer")
		answerOf(t, newer).want(t, 200, frame)
	})
	t.Run("T-27 the server's end: Close message, 204, then 404", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		query, id := s.polling("")
		c := s.poll(query)
		s.entry(&hubs.Entry{Kind: hubs.CloseConnections, Connections: []string{id}, Reason: "bye"})
		answerOf(t, c).want(t, 200, "{\"type\":7,\"error\":\"bye\"}\x1e")
		s.do("GET", "", query, "", nil).want(t, 204, "")
		until(t, "404", func() bool { return s.do("GET", "", query, "", nil).status == 404 })
		s.do("POST", "", query, "x", nil).want(t, 404, "No Connection with that ID")
	})
	t.Run("T-28 DELETE ends the connection between polls", func(t *testing.T) {
		t.Parallel()
		r := newRecorder()
		s := newSite(t, func(s *setup) { s.config.Dispatcher = r })
		query, _ := s.polling("")
		s.publish("nobody fetches this")
		s.do("DELETE", "", query, "", nil).want(t, 202, "")
		if cause := <-r.disconnected; cause != nil {
			t.Errorf("OnDisconnected was told %v", cause)
		}
		until(t, "404", func() bool { return s.do("GET", "", query, "", nil).status == 404 })
	})
	t.Run("T-28 DELETE ends an open poll with 204", func(t *testing.T) {
		t.Parallel()
		r := newRecorder()
		s := newSite(t, func(s *setup) { s.config.Dispatcher = r })
		query, _ := s.polling("")
		c := s.poll(query)
		frame := s.publish("x")
		answerOf(t, c).want(t, 200, frame)
		c = s.poll(query)
		s.do("DELETE", "", query, "", nil).want(t, 202, "")
		if a := answerOf(t, c); a.status != 204 && a.status != 404 { // 404: DELETE was faster
			t.Errorf("the poll was answered %d", a.status)
		}
		if cause := <-r.disconnected; cause != nil {
			t.Errorf("OnDisconnected was told %v", cause)
		}
	})
	t.Run("T-29 no pings", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, func(s *setup) {
			s.config.Options.KeepAliveInterval = time.Millisecond
			s.options.PollTimeout = 300 * time.Millisecond
		})
		query, _ := s.polling("")
		s.do("GET", "", query, "", nil).want(t, 200, "")
	})
	t.Run("T-30 a client that polls no more is ended", func(t *testing.T) {
		t.Parallel()
		r := newRecorder()
		s := newSite(t, func(s *setup) {
			s.config.Dispatcher = r
		})
		query, _ := s.polling("") // which may take its time
		if err := s.hub.SetOptions(hubs.Options{ClientTimeoutInterval: 200 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		if cause := <-r.disconnected; cause == nil {
			t.Error("OnDisconnected was told of an orderly end")
		}
		until(t, "404", func() bool { return s.do("GET", "", query, "", nil).status == 404 })
	})
	t.Run("a client that was cut off is unknown, also while its end is on its way", func(t *testing.T) {
		t.Parallel()
		r := &slowToEnd{recorder: newRecorder(), ended: make(chan struct{})}
		s := newSite(t, func(s *setup) { s.config.Dispatcher = r })
		defer close(r.ended)
		query, id := s.polling("")
		c, ok := s.hub.Connection(id)
		if !ok {
			t.Fatal("there is no connection")
		}
		c.Abort()
		<-r.disconnected
		for range 2 {
			s.do("GET", "", query, "", nil).want(t, 404, "No Connection with that ID")
		}
	})
	t.Run("T-33 MessagePack is raw bytes both ways", func(t *testing.T) {
		t.Parallel()
		r := newRecorder()
		s := newSite(t, func(s *setup) { s.config.Dispatcher = r })
		n := s.negotiate("")
		query := "?id=" + n.ConnectionToken
		s.do("GET", "", query, "", nil).want(t, 200, "")
		s.do("POST", "", query, "{\"protocol\":\"messagepack\",\"version\":1}\x1e", nil).want(t, 200, "")
		s.do("GET", "", query, "", nil).want(t, 200, "{}\x1e")
		p := protocol.NewMessagePack()
		b, err := p.Append(nil, &protocol.Message{Type: protocol.Invocation, Target: "up", InvocationID: "1", Arguments: protocol.Raw{Encoding: protocol.MessagePack, Bytes: []byte{0x90}}})
		if err != nil {
			t.Fatal(err)
		}
		s.do("POST", "", query, string(b), nil).want(t, 200, "")
		if got := <-r.targets; got != "up" {
			t.Errorf("target is %q", got)
		}
		want, err := p.Append(nil, &protocol.Message{Type: protocol.Completion, InvocationID: "1"})
		if err != nil {
			t.Fatal(err)
		}
		s.do("GET", "", query, "", nil).want(t, 200, string(want))
	})
	t.Run("T-08 SEC-13 a WebSocket on a polling id is refused with 400", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, nil)
		query, _ := s.polling("")
		if _, resp, err := s.dial(query, nil); err == nil || resp.StatusCode != 400 {
			t.Errorf("dial: %v, %v", resp, err)
		}
	})
}
