package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/internal/fault"
)

// asked is a node whose one client, c, gets invocations and answers as the test
// says.
type asked struct {
	node
	bus    hubs.Backplane
	wg     sync.WaitGroup
	seen   chan *hubs.Entry
	answer func(e *hubs.Entry) *hubs.Entry
}

func (n *asked) Apply(e *hubs.Entry) int {
	if e.Kind != hubs.InvokeConnection || e.Connections[0] != "c" {
		return 0
	}
	n.seen <- e
	answer := n.answer(e)
	if answer == nil {
		return 1
	}
	answer.Kind, answer.Connections, answer.Reason = hubs.ClientResult, e.Connections, e.Reason
	n.wg.Go(func() { _, _ = n.bus.Publish(context.Background(), answer, hubs.PublishOptions{}) })
	return 1
}

func (n *asked) Answer(hubs.Query) int            { return 0 }
func (n *asked) List(hubs.ListQuery) hubs.Page    { return hubs.Page{} }
func (n *asked) Lost(hubs.Gap)                    {}
func (n *asked) Begins(hubs.Position)             {}
func result(kind string, raw ...byte) *hubs.Entry { return encoded(protocol.JSON, kind, raw) }
func encoded(e protocol.Encoding, kind string, raw []byte) *hubs.Entry {
	return &hubs.Entry{Message: &hubs.Broadcast{Target: kind, Arguments: protocol.Raw{Encoding: e, Bytes: raw}}}
}

// clientOf puts an asked node into the hub chat.
func clientOf(t *testing.T, s *service, answer func(*hubs.Entry) *hubs.Entry) *asked {
	t.Helper()
	bus := hubs.NewMemoryBackplane()
	n := &asked{node: node{s: s, hub: "chat"}, bus: bus, seen: make(chan *hubs.Entry, 10), answer: answer}
	leave, err := bus.Subscribe(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		leave()
		n.wg.Wait()
	})
	s.hubs["chat"] = &backplane{Backplane: bus, s: s}
	return n
}

const invokeC = "/api/hubs/chat/connections/c/:invoke"

func TestInvoke_answers_with_the_clients_result(t *testing.T) {
	s := newService(t)
	value := "[{\"a\":1}]"
	n := clientOf(t, s, func(*hubs.Entry) *hubs.Entry { return result("value", []byte(value)...) })
	for name, test := range map[string]struct {
		answer *hubs.Entry
		status int
		body   string
	}{
		"a value":       {result("value", []byte(`[{"a":1}]`)...), 200, `{"result":{"a":1}}`},
		"in MsgPack":    {encoded(protocol.MessagePack, "value", []byte("\x91\x81\xa1a\x01")), 200, `{"result":{"a":1}}`},
		"null":          {result("value", []byte(`[null]`)...), 200, `{"result":null}`},
		"nothing":       {result("void", []byte(`[]`)...), 200, `{}`},
		"an error":      {result("error", []byte(`["Error: no"]`)...), 400, "client_error"},
		"gone":          {result("gone", []byte(`[]`)...), 404, "Warning.Connection.NotExisted"},
		"lost":          {result("lost", []byte(`[]`)...), 502, "answer_lost"},
		"anything else": {result("?", []byte(`[]`)...), 502, "answer_lost"},
	} {
		n.answer = func(*hubs.Entry) *hubs.Entry { return test.answer }
		w := s.do(request("POST", invokeC, hello))
		e := <-n.seen
		if e.Message.Target != "say" || string(e.Message.Arguments.Bytes) != `["hello",1]` || e.TTLSeconds != 10 {
			t.Errorf("%s: asked %+v for %d s", name, e.Message, e.TTLSeconds)
		}
		if test.status != 200 {
			refused(t, w, "POST", test.status, test.body, "")
		} else if w.Code != 200 || w.Body.String() != test.body || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if len(s.refusals) > 0 {
		t.Errorf("counted as refused: %q", s.refusals)
	}
	refused(t, s.do(request("POST", "/api/hubs/chat/connections/nobody/:invoke", hello)), "POST", 404, "Warning.Connection.NotExisted", "")
	for _, timeout := range []string{"0", "101", "x", ""} {
		refused(t, s.do(request("POST", invokeC+"?timeout="+timeout, hello)), "POST", 400, "invalid", "timeout")
	}
	refused(t, s.do(request("POST", invokeC, hello, "Content-Type", "text/plain")), "POST", 415, "unsupported_media_type", "")
}

// The rows of the routes matrix that :invoke shares with every other route.
func TestInvoke_is_a_route_like_others(t *testing.T) {
	s := newService(t)
	r := request("POST", invokeC, hello)
	r.Header.Del("Authorization")
	refused(t, s.do(r), "POST", 401, "unauthenticated", "")
	for path, name := range map[string]string{
		"/api/hubs/%20/connections/c/:invoke": "hub", "/api/hubs/chat/connections/%20/:invoke": "connection",
		invokeC + "?api-version=1": "api-version", invokeC + "?application=1": "application",
	} {
		refused(t, s.do(request("POST", path, hello)), "POST", 400, "invalid", name)
	}
	refused(t, s.do(request("POST", invokeC, "{")), "POST", 400, "invalid", "body")
	refused(t, s.do(request("POST", invokeC, `{"target":"a","arguments":["`+strings.Repeat("x", maxMessage)+`"]}`)), "POST", 413, "message_too_large", "")
	refused(t, s.do(request("POST", invokeC, strings.Repeat(" ", testLimits.MaxRequestBytes+1))), "POST", 413, "body_too_large", "")
	refused(t, s.do(request("GET", invokeC, "")), "GET", 405, "method_not_allowed", "")
	s.refuse = &LimitError{Limit: fault.Limit{Code: "rate_limited", Limit: "messages_per_second", Max: 10, Burst: 10, RetryAfterMS: 1000}, Window: time.Second, Text: "Too many."}
	refused(t, s.do(request("POST", invokeC, hello)), "POST", 429, "rate_limited", "messages_per_second")
	s.refuse = nil
	s.broken = hubs.ErrUnavailable
	refused(t, s.do(request("POST", invokeC, hello)), "POST", 503, "bus_unavailable", "")
	s.broken = errors.New("secret")
	refused(t, s.do(request("POST", invokeC, hello)), "POST", 500, "internal", "")
}

func TestInvoke_gives_up_in_time(t *testing.T) {
	s := newService(t)
	n := clientOf(t, s, func(*hubs.Entry) *hubs.Entry { return nil })
	w := s.do(request("POST", invokeC+"?timeout=1", hello))
	refused(t, w, "POST", 504, "answer_timeout", "")
	if e := <-n.seen; e.TTLSeconds != 1 {
		t.Errorf("the client's node was told to wait %d s", e.TTLSeconds)
	}
	if len(s.waits.hubs) != 0 || len(s.waits.tenants) != 0 {
		t.Errorf("something still waits: %+v", &s.waits)
	}
}

func TestInvoke_bounds_what_waits(t *testing.T) {
	s := newService(t)
	s.waits.tenants[tenant] = invocationsAtOnce
	clientOf(t, s, func(*hubs.Entry) *hubs.Entry { return nil })
	w := s.do(request("POST", invokeC, hello))
	refused(t, w, "POST", 429, "too_many_invocations", "invocations_at_once")
	if w.Header().Get("Retry-After") != "1" || len(s.refusals) != 1 || s.refusals[0] != "chat too_many_invocations" {
		t.Errorf("headers %v, refusals %q", w.Header(), s.refusals)
	}
}

// The SDK of Azure sends ready frames and wants the client's Completion.
func TestInvoke_in_frames(t *testing.T) {
	s := newService(t)
	n := clientOf(t, s, nil)
	frames, err := framesOf(&protocol.Message{Type: protocol.Invocation, Target: "say", Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: []byte(`["hello",1]`)}})
	if err != nil {
		t.Fatal(err)
	}
	packed := msgp.AppendMapHeader(nil, 2)
	for name, f := range frames {
		packed = msgp.AppendBytes(msgp.AppendString(packed, name), f)
	}
	body := string(packed)
	for _, answer := range []*hubs.Entry{
		result("value", []byte(`["yes"]`)...), encoded(protocol.MessagePack, "value", []byte("\x91\xa3yes")),
		result("error", []byte(`["no"]`)...), result("void", []byte(`[]`)...),
	} {
		n.answer = func(*hubs.Entry) *hubs.Entry { return answer }
		for _, r := range []*http.Request{
			request("POST", invokeC, body, "Content-Type", "application/octet-stream"),
			request("POST", invokeC, hello, "Accept", "application/octet-stream"),
		} {
			w := s.do(r)
			p, known := protocol.ByName(w.Header().Get("X-Protocol"))
			var m protocol.Message
			if !known || w.Code != 200 || w.Header().Get("Content-Type") != "application/octet-stream" {
				t.Fatalf("%d %v %q", w.Code, w.Header(), w.Body)
			}
			<-n.seen
			if read, err := p.Parse(w.Body.Bytes(), &m); err != nil || read != w.Body.Len() || m.Type != protocol.Completion ||
				m.HasError != (answer.Message.Target == "error") || m.Result.Present() != (answer.Message.Target == "value") {
				t.Errorf("%q: %+v, %v", w.Body, m, err)
			}
		}
	}
}

func TestStreams_send_items_and_ends(t *testing.T) {
	s := newService(t)
	const stream = "/api/hubs/chat/connections/c/streams/s"
	frame := func(e *hubs.Entry) string { return string(e.Message.Frames["json"]) }
	for _, test := range []struct {
		path, body, media string
		want              []string
	}{
		{stream + "/:send", `{"a":1}`, "application/json", []string{`{"type":2,"invocationId":"s","item":{"a":1}}`}},
		{stream + "/:send?completed=false", ` null `, "application/json", []string{`{"type":2,"invocationId":"s","item":null}`}},
		{stream + "/:send", "\x81\xa1a\x01", "application/x-msgpack", []string{`{"type":2,"invocationId":"s","item":{"a":1}}`}},
		{stream + "/:send", frames(t, map[string][]byte{"json": []byte("{\"type\":2,\"invocationId\":\"s\",\"item\":[1]}\x1e")}), "application/octet-stream", []string{`{"type":2,"invocationId":"s","item":[1]}`}},
		{stream + "/:send", frames(t, map[string][]byte{"messagepack": []byte("\x07\x94\x02\x80\xa1s\x91\x01"), "blazorpack": {1}}), "application/octet-stream", []string{`{"type":2,"invocationId":"s","item":[1]}`}},
		{stream + "/:send?completed=true", `1`, "application/json", []string{`{"type":2,"invocationId":"s","item":1}`, `{"type":3,"invocationId":"s"}`}},
		{stream + "/:complete", ``, "", []string{`{"type":3,"invocationId":"s"}`}},
		{stream + "/:complete?reason=over", ``, "", []string{`{"type":3,"invocationId":"s","error":"over"}`}},
		{stream + "/:complete?error=over", ``, "", []string{`{"type":3,"invocationId":"s","error":"over"}`}},
	} {
		before := s.count("chat")
		w := s.do(request("POST", test.path, test.body, "Content-Type", test.media))
		if w.Code != 202 {
			t.Fatalf("%s: %d %s", test.path, w.Code, w.Body)
		}
		var got []string
		for _, e := range s.entries["chat"][before:] {
			got = append(got, strings.TrimSuffix(frame(e), "\x1e"))
			if e.Kind != hubs.SendToConnections || e.Connections[0] != "c" || len(e.Message.Frames) != 2 {
				t.Errorf("%s: %+v", test.path, e)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%s: %q, want %q", test.path, got, test.want)
		}
	}
	refused(t, s.do(request("POST", stream+"/:send?completed=x", `1`)), "POST", 400, "invalid", "completed")
	for _, bad := range []string{"", "{", "1 2", "nothing"} {
		r := httptest.NewRequest("POST", stream+"/:send", strings.NewReader(bad))
		r.Header.Set("Authorization", "Bearer token")
		r.Header.Set("Content-Type", "application/json")
		refused(t, s.do(r), "POST", 400, "invalid", "body")
	}
	for _, bad := range []string{"", "x", "\x80", "\x81\xa4json\xc4\x0b{\"type\":6}\x1e", "\x81\xa4json\xc4\x01\x1e", "\x81\xaablazorpack\xc4\x01\x00"} {
		refused(t, s.do(request("POST", stream+"/:send", bad, "Content-Type", "application/octet-stream")), "POST", 400, "invalid", "body")
	}
	refused(t, s.do(request("POST", stream+"/:send", `1`, "Content-Type", "text/plain")), "POST", 415, "unsupported_media_type", "")
	refused(t, s.do(request("POST", stream+"/:send", `"`+strings.Repeat("x", maxMessage)+`"`)), "POST", 413, "message_too_large", "")
	refused(t, s.do(request("POST", stream+"/:complete?error="+strings.Repeat("x", 1025), "")), "POST", 400, "invalid", "error")
	refused(t, s.do(request("POST", stream+"/:complete?reason="+strings.Repeat("x", 1025), "")), "POST", 400, "invalid", "reason")
}

func TestGenerateToken(t *testing.T) {
	s := newService(t)
	for query, want := range map[string]string{
		"":                               "chat--1h0m0s",
		"?userId=ann&minutesToExpire=90": "chat-ann-1h30m0s",
	} {
		w := s.do(request("POST", "/api/hubs/Chat/:generateToken"+query, ""))
		var answer struct{ Token string }
		if err := json.Unmarshal(w.Body.Bytes(), &answer); w.Code != 200 || err != nil || answer.Token != want {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
	for name, values := range map[string][]string{"minutesToExpire": {"0", "-1", "1441", "x"}, "userId": {"%20", strings.Repeat("x", 257)}} {
		for _, v := range values {
			refused(t, s.do(request("POST", "/api/hubs/chat/:generateToken?"+name+"="+v, "")), "POST", 400, "invalid", name)
		}
	}
}

func TestAccessKey_is_not_given_out(t *testing.T) {
	s := newService(t)
	for _, path := range []string{"/api/auth/accessKey?api-version=2024-12-01", "/api/v1/auth/accessKey"} {
		refused(t, s.do(request("GET", path, "")), "GET", 501, "not_supported", "")
	}
	r := request("GET", "/api/auth/accessKey", "")
	r.Header.Del("Authorization")
	refused(t, s.do(r), "GET", 401, "unauthenticated", "")
}

// TestSends_take_MessagePack reads the same message in MessagePack.
func TestSends_take_MessagePack(t *testing.T) {
	s := newService(t)
	for _, body := range []string{"\x82\xa6Target\xa3say\xa9ARGUMENTS\x92\xa5hello\x01", "\x82\xa9arguments\x92\xa5hello\x01\xa6target\xa3say"} {
		if w := s.do(request("POST", "/api/hubs/chat/:send", body, "Content-Type", "application/x-msgpack")); w.Code != 202 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		m := s.last(t, "chat").Message
		if text, err := protocol.AppendJSON(nil, m.Arguments); m.Target != "say" || string(text) != `["hello",1]` || err != nil {
			t.Errorf("%q %s %v", m.Target, text, err)
		}
	}
	w := s.do(request("POST", "/api/hubs/chat/:send", "\x82\xa6target\xa3say\xa9arguments\xc0", "Content-Type", "application/x-msgpack"))
	if _, err := io.ReadAll(w.Body); w.Code != 202 || err != nil || string(s.last(t, "chat").Message.Arguments.Bytes) != "[]" {
		t.Errorf("nil arguments: %d", w.Code)
	}
}
