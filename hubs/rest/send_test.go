package rest

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

func TestSend_answers_with_a_position(t *testing.T) {
	s := newService(t)
	w := s.do(request("POST", "/api/v1/hubs/Chat", hello))
	token := w.Header().Get("X-Signalbox-Position")
	p, err := s.OpenPosition(tenant, "chat", token)
	if w.Code != http.StatusAccepted || err != nil || p.Number != 1 || p.Epoch != s.last(t, "chat").Epoch {
		t.Fatalf("status %d, position %+v, %v", w.Code, p, err)
	}
	if again := s.SealPosition(tenant, "chat", p); again != token {
		t.Error("one position has two tokens")
	}
	first := "A"
	if token[:1] == first {
		first = "B"
	}
	for name, open := range map[string]func() (hubs.Position, error){
		"other hub":    func() (hubs.Position, error) { return s.OpenPosition(tenant, "chat2", token) },
		"other tenant": func() (hubs.Position, error) { return s.OpenPosition("01JCTENANT000000000000000B", "chat", token) },
		"changed":      func() (hubs.Position, error) { return s.OpenPosition(tenant, "chat", first+token[1:]) },
		"cut":          func() (hubs.Position, error) { return s.OpenPosition(tenant, "chat", token[:20]) },
		"empty":        func() (hubs.Position, error) { return s.OpenPosition(tenant, "chat", "") },
	} {
		if p, err := open(); !errors.Is(err, ErrPosition) || p != (hubs.Position{}) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if strings.Contains(token, p.Epoch) {
		t.Error("the token can be read")
	}
}

func TestSend_repeated_with_its_key(t *testing.T) {
	s := newService(t)
	first := s.do(request("POST", "/api/hubs/chat/:send", hello, "Idempotency-Key", "k 1"))
	again := s.do(request("POST", "/api/v1/hubs/chat", hello, "Idempotency-Key", "k 1"))
	if again.Code != 202 || again.Header().Get(positionHeader) != first.Header().Get(positionHeader) ||
		again.Header().Get("Idempotent-Replay") != "true" || first.Header().Get("Idempotent-Replay") != "" {
		t.Errorf("first %v, again %d %v", first.Header(), again.Code, again.Header())
	}
	if s.count("chat") != 1 {
		t.Errorf("%d entries", s.count("chat"))
	}
	refused(t, s.do(request("POST", "/api/hubs/chat/:send", `{"target":"other"}`, "Idempotency-Key", "k 1")), "POST", 409, "idempotency_conflict", "")
	if w := s.do(request("POST", "/api/hubs/chat2/:send", `{"target":"other"}`, "Idempotency-Key", "k 1")); w.Code != 202 {
		t.Errorf("other hub: %d", w.Code)
	}
}

func TestSend_takes_any_casing_and_no_arguments(t *testing.T) {
	for _, body := range []string{
		`{"Target":"say","Arguments":["hello",1]}`, `{"ARGUMENTS":["hello",1],"TARGET":"say"}`, "\n" + `{ "target" : "\u0073ay" , "arguments":["hello",1] }` + "\n",
	} {
		s := newService(t)
		if w := s.do(request("POST", "/api/v1/hubs/chat", body, "Content-Type", `application/json; charset="UTF-8"`)); w.Code != 202 {
			t.Fatalf("%s: %d %s", body, w.Code, w.Body)
		}
		if m := s.last(t, "chat").Message; m.Target != "say" || string(m.Arguments.Bytes) != `["hello",1]` {
			t.Errorf("%s: %+v", body, m)
		}
	}
	for _, body := range []string{`{"target":"say"}`, `{"target":"say","arguments":null}`, `{"target":"say","arguments":[]}`} {
		s := newService(t)
		if w := s.do(request("POST", "/api/v1/hubs/chat", body)); w.Code != 202 || string(s.last(t, "chat").Message.Arguments.Bytes) != "[]" {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
}

func TestSend_keeps_numbers_as_they_are(t *testing.T) {
	s := newService(t)
	s.do(request("POST", "/api/v1/hubs/chat", `{"target":"say","arguments":[12345678901234567890.123]}`))
	if got := string(s.last(t, "chat").Message.Arguments.Bytes); got != "[12345678901234567890.123]" {
		t.Errorf("arguments %s", got)
	}
}

func TestSend_leaves_out_the_excluded(t *testing.T) {
	s := newService(t)
	for _, path := range []string{"/api/v1/hubs/chat", "/api/hubs/chat/:send", "/api/v1/hubs/chat/groups/g", "/api/hubs/chat/groups/g/:send"} {
		s.do(request("POST", path+"?excluded=a&x=1&excluded=b%2Fc", hello))
		if got := strings.Join(s.last(t, "chat").Excluded, " "); got != "a b/c" {
			t.Errorf("%s: excluded %q", path, got)
		}
	}
	refused(t, s.do(request("POST", "/api/v1/hubs/chat?"+strings.Repeat("excluded=a&", maxExcluded+1), hello)), "POST", 400, "invalid", "excluded")
}

func TestSend_to_names_that_need_encoding(t *testing.T) {
	s := newService(t)
	for encoded, want := range map[string]string{
		"a%2Fb": "a/b", "a%25b": "a%b", "a%20b": "a b", "gr%C3%BCn": "grün", "%3Asend": ":send", "a+b": "a+b", "a%252Fb": "a%2Fb", "..": "..", ":x": ":x",
	} {
		r := request("POST", "http://edge/api/hubs/chat/groups/x/:send", hello)
		r.URL.Path, r.URL.RawPath = "/api/hubs/chat/groups/"+want+"/:send", "/api/hubs/chat/groups/"+encoded+"/:send"
		if w := s.do(r); w.Code != 202 {
			t.Errorf("%s: %d %s", encoded, w.Code, w.Body)
			continue
		}
		if got := s.last(t, "chat").Groups[0]; got != want {
			t.Errorf("%s is group %q, want %q", encoded, got, want)
		}
	}
	// Longest names, counted in characters.
	if w := s.do(request("POST", "/api/v1/hubs/chat/groups/"+strings.Repeat("%C3%BC", hubs.MaxGroupName), hello)); w.Code != 202 {
		t.Errorf("a group of %d characters: %d", hubs.MaxGroupName, w.Code)
	}
	refused(t, s.do(request("POST", "/api/v1/hubs/chat/users/"+strings.Repeat("u", hubs.MaxUserID+1), hello)), "POST", 400, "invalid", "user")
	// SEC-27: the rule of hubs.CheckGroup.
	for _, bad := range []string{"%00", "a%0Ab", "%C2%85", "%FF", "%20", strings.Repeat("g", hubs.MaxGroupName+1)} {
		refused(t, s.do(request("POST", "/api/v1/hubs/chat/groups/"+bad, hello)), "POST "+bad, 400, "invalid", "group")
	}
}

func TestHub_of_an_application(t *testing.T) {
	s := newService(t)
	if w := s.do(request("POST", "/api/hubs/Chat/:send?application=Shop&api-version=2024-12-01", hello)); w.Code != 202 || s.count("shop_chat") != 1 {
		t.Errorf("%d, entries %v", w.Code, s.entries)
	}
}

func TestSend_is_metered_by_size(t *testing.T) {
	for size, want := range map[int]int{0: 1, 1: 1, 64 << 10: 1, 64<<10 + 1: 2, 1 << 20: 16} {
		if got := charge(size); got != want {
			t.Errorf("%d bytes are %d messages, want %d", size, got, want)
		}
	}
	s := newService(t)
	s.do(request("POST", "/api/v1/hubs/chat", hello))
	s.do(request("PUT", "/api/v1/hubs/chat/groups/g/users/u", ""))
	s.do(request("GET", "/api/v1/hubs/chat/users/u", ""))
	if len(s.admitted) != 3 || s.admitted[0] != 1 || s.admitted[1] != 0 || s.admitted[2] != 0 {
		t.Errorf("admitted %v", s.admitted)
	}
}

func frames(t *testing.T, ready map[string][]byte) string {
	t.Helper()
	b := msgp.AppendMapHeader(nil, uint32(len(ready)))
	for name, f := range ready {
		b = msgp.AppendBytes(msgp.AppendString(b, name), f)
	}
	return string(b)
}

func invocation(t *testing.T, p protocol.Protocol, m protocol.Message) []byte {
	t.Helper()
	m.Type = protocol.Invocation
	b, err := p.Append(nil, &m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSend_of_ready_frames(t *testing.T) {
	s := newService(t)
	m := protocol.Message{Target: "say", Arguments: protocol.Raw{Bytes: []byte(`["hello"]`)}}
	text, binary := invocation(t, protocol.NewJSON(), m), invocation(t, protocol.NewMessagePack(), m)
	octets := []string{"Content-Type", "application/octet-stream"}
	for name, ready := range map[string]map[string][]byte{
		"both":        {"json": text, "messagepack": binary},
		"json":        {"JSON": text},
		"messagepack": {"messagepack": binary, "blazorpack": {1, 2, 3}},
	} {
		if w := s.do(request("POST", "/api/v1/hubs/chat", frames(t, ready), octets...)); w.Code != 202 {
			t.Fatalf("%s: %d %s", name, w.Code, w.Body)
		}
		got := s.last(t, "chat").Message
		for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
			frame, err := got.Frame(p)
			if err != nil {
				t.Fatalf("%s: no frame for %s: %v", name, p.Name(), err)
			}
			if want := invocation(t, p, m); string(frame) != string(want) {
				t.Errorf("%s: %s frame %q, want %q", name, p.Name(), frame, want)
			}
		}
	}
	asking := m
	asking.InvocationID = "1"
	for name, body := range map[string]string{
		"an answer is wanted":    frames(t, map[string][]byte{"json": invocation(t, protocol.NewJSON(), asking)}),
		"two frames in one":      frames(t, map[string][]byte{"json": append(append([]byte{}, text...), text...)}),
		"one frame twice":        "\x82" + frames(t, map[string][]byte{"json": text})[1:] + frames(t, map[string][]byte{"Json": text})[1:],
		"more after":             frames(t, map[string][]byte{"json": text}) + "\x00",
		"the other's notation":   frames(t, map[string][]byte{"messagepack": text}),
		"a name that is no text": "\x81\x01\xc4\x00",
	} {
		w := s.do(request("POST", "/api/v1/hubs/chat", body, octets...))
		if refused(t, w, "POST", 400, "invalid", "body"); t.Failed() {
			t.Fatal(name)
		}
	}
	large := m
	large.Arguments.Bytes = []byte(`["` + strings.Repeat("x", maxMessage) + `"]`)
	w := s.do(request("POST", "/api/v1/hubs/chat", frames(t, map[string][]byte{"json": invocation(t, protocol.NewJSON(), large)}), octets...))
	refused(t, w, "POST", 413, "message_too_large", "")
}

func TestClose_with_reason_and_exceptions(t *testing.T) {
	s := newService(t)
	s.do(request("DELETE", "/api/v1/hubs/chat/connections/c?reason=go%20away", ""))
	if e := s.last(t, "chat"); e.Reason != "go away" || e.AllowReconnect {
		t.Errorf("entry %+v", e)
	}
	s.do(request("POST", "/api/hubs/chat/groups/g/:closeConnections?reason=x&excluded=a&excluded=b", ""))
	if e := s.last(t, "chat"); e.Reason != "x" || len(e.Excluded) != 2 {
		t.Errorf("entry %+v", e)
	}
	refused(t, s.do(request("POST", "/api/hubs/chat/:closeConnections?reason="+strings.Repeat("x", maxReason+1), "")), "POST", 400, "invalid", "reason")
}

func TestUser_in_group_for_a_time(t *testing.T) {
	s := newService(t)
	for query, want := range map[string]int64{"": -1, "?ttl=0": 0, "?ttl=60": 60, "?ttl=31536000": 31536000} {
		s.do(request("PUT", "/api/hubs/chat/users/u/groups/g"+query, ""))
		if got := s.last(t, "chat").TTLSeconds; got != want {
			t.Errorf("%q: ttl %d, want %d", query, got, want)
		}
	}
	for _, bad := range []string{"", "-1", "1.5", "x", "31536001", "99999999999999999999"} {
		refused(t, s.do(request("PUT", "/api/hubs/chat/users/u/groups/g?ttl="+bad, "")), "PUT", 400, "invalid", "ttl")
	}
}

// SEC-27: a hub that remembers as much of its users as it may says so.
func TestUser_in_one_group_too_many_SEC_27(t *testing.T) {
	s := newService(t)
	s.broken = &hubs.UserGroupLimitError{Limit: 16 << 20}
	w := s.do(request("PUT", "/api/hubs/chat/users/u/groups/g", ""))
	refused(t, w, "PUT", 429, "user_group_limit", "")
	if !strings.Contains(w.Body.String(), "16 MiB") {
		t.Errorf("the limit isn't told: %s", w.Body)
	}
}

// Whatever is sent, the answer is no 5xx and has the documented form.
func FuzzRESTRouter(f *testing.F) {
	for _, r := range routes() {
		f.Add(r.method, r.path, "api-version=2022-06-01", "application/json", []byte(r.body()), "")
	}
	f.Add("POST", "/api/hubs/%2f/:send", "excluded=&ttl=x", "application/octet-stream", []byte("\x81\xa4json\xc4\x00"), "key")
	f.Add("PUT", "/api/v1/hubs/a/groups/%", "%", "", []byte{0xdd}, "\x00")
	f.Add("", "//", "", "x", []byte(nil), "")
	f.Fuzz(func(t *testing.T, method, path, query, media string, body []byte, key string) {
		s := newService(t)
		r := httptest.NewRequest("POST", "/", strings.NewReader(string(body)))
		r.Method = method
		r.URL.Path, r.URL.RawPath, r.URL.RawQuery = path, path, query
		r.Header = http.Header{"Authorization": {"x"}, "Content-Type": {media}}
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
		w := s.do(r)
		switch {
		case w.Code >= 500:
			t.Errorf("%s %q?%q: %d %s", method, path, query, w.Code, w.Body)
		case w.Code >= 400 && w.Header().Get("x-ms-error-code") == "":
			t.Errorf("%s %q: %d without a code", method, path, w.Code)
		}
	})
}

func TestSend_with_an_acknowledgement(t *testing.T) {
	s := newService(t)
	for query, want := range map[string]string{"": "stream", "?ack=stream": "stream"} {
		w := s.do(request("POST", "/api/hubs/chat/:send"+query, hello))
		if w.Code != 202 || w.Header().Get(ackHeader) != want || !strings.Contains(w.Body.String(), `"ack":"`+want+`"`) || w.Header().Get(positionHeader) == "" {
			t.Errorf("%s: %d %v %s", query, w.Code, w.Header(), w.Body)
		}
	}
	w := s.do(request("POST", "/api/hubs/chat/:send?ack=none", hello))
	if w.Code != 202 || w.Header().Get(ackHeader) != "none" || w.Header().Get(positionHeader) != "" || strings.Contains(w.Body.String(), "position") {
		t.Errorf("none: %d %v %s", w.Code, w.Header(), w.Body)
	}
	refused(t, s.do(request("POST", "/api/hubs/chat/:send?ack=both", hello)), "POST", 400, "invalid", "ack")
	refused(t, s.do(request("POST", "/api/hubs/chat/:send?ack=replicated", hello)), "POST", 503, "not_replicated", "")
	s.broken = fmt.Errorf("%w: %w", hubs.ErrNotReplicated, hubs.ErrOutcomeUnknown)
	w = s.do(request("POST", "/api/v1/hubs/chat?ack=replicated", hello))
	if refused(t, w, "POST", 503, "not_replicated", ""); !strings.Contains(w.Body.String(), "unknown") || w.Header().Get("Retry-After") == "" {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
	s.broken = nil
	w = s.do(request("POST", "/api/hubs/chat/:batch?ack=none", `{"messages":[{"target":"t"}]}`))
	if w.Code != 200 || !strings.Contains(w.Body.String(), `{"status":202,"ack":"none"}`) {
		t.Errorf("batch: %d %s", w.Code, w.Body)
	}
}

func TestMessages_refuses_what_makes_no_sense(t *testing.T) {
	s := newService(t)
	for query, target := range map[string]string{
		"after=made-up": "after", "before=x": "before", "limit=0": "limit", "limit=1001": "limit", "since=yesterday": "since",
		"order=up": "order", "group=": "group",
	} {
		refused(t, s.do(request("GET", "/api/hubs/chat/messages?"+query, "")), "GET", 400, "invalid", target)
	}
	first := s.do(request("POST", "/api/hubs/chat/:send", hello))
	refused(t, s.do(request("GET", "/api/hubs/chat/messages?since=2030-01-01T00:00:00Z&after="+first.Header().Get(positionHeader), "")), "GET", 400, "invalid", "since")
	elsewhere := s.SealPosition(tenant, "other", hubs.Position{Epoch: "e", Number: 1})
	refused(t, s.do(request("GET", "/api/hubs/chat/messages?after="+elsewhere, "")), "GET", 400, "invalid", "after")
	gone := s.SealPosition(tenant, "chat", hubs.Position{Epoch: "e", Number: 1})
	refused(t, s.do(request("GET", "/api/hubs/chat/messages?after="+gone, "")), "GET", 410, "history_gone", "")
	if w := s.do(request("GET", "/api/hubs/chat/messages?order=desc", "")); w.Code != 200 || !strings.Contains(w.Body.String(), `"target":"say"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
