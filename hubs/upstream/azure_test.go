package upstream_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/tenants"
)

var discard = slog.New(slog.DiscardHandler)

func signed(key, id string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(id))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// answers handles events with 204 and messages with f.
func answers(f http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/connections/") {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		f(w, r)
	}
}

func both(t *testing.T, test func(t *testing.T, p protocol.Protocol)) {
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		t.Run(p.Name(), func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

func TestAzure_posts_what_functions_expect(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, p protocol.Protocol) {
		w := newWorld(t, tenants.UpstreamAzure, answers(func(w http.ResponseWriter, _ *http.Request) {
			frame, _ := p.Append(nil, &protocol.Message{Type: protocol.Completion, InvocationID: "7", Result: jsonList(`{"a":1}`)})
			_, _ = w.Write(frame)
		}))
		c := w.connect(p, "con1")

		connected := w.event("connected")
		if string(connected.body) != `{"type":10}` || connected.header.Get("Content-Type") != "application/json" {
			t.Errorf("connected: %s as %s", connected.body, connected.header.Get("Content-Type"))
		}
		for name, want := range map[string]string{
			"X-ASRS-Connection-Id": "con1", "X-ASRS-Hub": "chat", "X-ASRS-Category": "connections", "X-ASRS-Event": "connected",
			"X-ASRS-User-Id": "ann", "X-ASRS-User-Claims": "role: admin,nameid: ann", "X-ASRS-Client-Query": "?room=a+b",
			"X-ASRS-Signature": signed(primary, "con1") + "," + signed(secondary, "con1"),
		} {
			if got := connected.header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}

		c.invoke("7", "send all/ü", `["x",2]`)
		invocation := w.next()
		if invocation.path != "/chat/messages/send%20all%2F%C3%BC" {
			t.Errorf("posted to %s", invocation.path)
		}
		if got := invocation.header.Get("X-ASRS-Event"); got != "send all/ü" {
			t.Errorf("event is %q", got)
		}
		want, contentType := `{"type":1,"invocationId":"7","target":"send all/ü","arguments":["x",2]}`, "application/json"
		if p.Name() == "messagepack" {
			want, contentType = "\x96\x01\x80\xa17\xabsend all/ü\x92\xa1x\x02\x90", "application/x-msgpack"
		}
		if string(invocation.body) != want || invocation.header.Get("Content-Type") != contentType {
			t.Errorf("invocation: %q as %s, want %q", invocation.body, invocation.header.Get("Content-Type"), want)
		}
		if got := c.completion("7"); got != `{"a":1}` {
			t.Errorf("completion %s", got)
		}

		c.leave()
		if got := w.event("disconnected"); string(got.body) != `{"Type":11}` {
			t.Errorf("disconnected: %s", got.body)
		}
	})
}

func TestAzure_answers(t *testing.T) {
	t.Parallel()
	frame := "{\"type\":3,\"invocationId\":\"1\",\"result\":42,\"extra\":true}\x1e"
	notACompletion := "error: Invocation failed, the response is not one Completion of this invocation in the client's hub protocol."
	for _, row := range []struct {
		name, body string
		status     int
		want       string
		refused    string
	}{
		{"ready frame", frame, 200, "42", ""},
		{"error in a frame", "{\"type\":3,\"invocationId\":\"1\",\"error\":\"no\"}\x1e", 200, "error: no", ""},
		{"nothing", "", 200, "", ""},
		{"no content", "", 204, "", ""},
		{"not found", "no such function", 404, "error: Invocation failed, status code 404", "upstream_status"},
		{"server error", "stack trace", 500, "error: Invocation failed, status code 500", "upstream_status"},
		{"redirect", "", 302, "error: Invocation failed, status code 302", "upstream_status"},
		{"frame of another invocation", strings.Replace(frame, `"1"`, `"2"`, 1), 200, notACompletion, "upstream_response_invalid"},
		{"two frames", frame + frame, 200, notACompletion, "upstream_response_invalid"},
		{"half a frame", frame[:len(frame)-1], 200, notACompletion, "upstream_response_invalid"},
		{"another message", "{\"type\":7}\x1e", 200, notACompletion, "upstream_response_invalid"},
		{"no frame at all", "<html>", 200, notACompletion, "upstream_response_invalid"},
		{"too large", strings.Repeat("x", 1<<20+1), 200, "error: Invocation failed, response too large.", "upstream_response_too_large"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tenants.UpstreamAzure, answers(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "http://127.0.0.1:1/")
				w.WriteHeader(row.status)
				_, _ = io.WriteString(w, row.body)
			}))
			c := w.connect(protocol.NewJSON(), "con1")
			c.invoke("1", "send", `[]`)
			if got := c.completion("1"); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
			w.ledger.until(t, "the delivery", func(l *ledger) bool { return len(l.deliveries) == 2 })
			if row.refused != "" && w.ledger.refused[row.refused] != 1 || row.refused == "" && len(w.ledger.refused) > 0 {
				t.Errorf("refused %v, want one %s", w.ledger.refused, row.refused)
			}
		})
	}
}

func TestAzure_answers_nothing_to_who_does_not_wait(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tenants.UpstreamAzure, answers(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/last") {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = io.WriteString(w, "{\"type\":3,\"invocationId\":\"9\"}\x1e")
	}))
	c := w.connect(protocol.NewJSON(), "con1")
	c.invoke("", "send", `[]`)
	c.invoke("1", "last", `[]`)
	if got := c.completion("1"); got != "" {
		t.Errorf("completion %q", got)
	}
}

func TestAzure_needs_a_rule_that_matches(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tenants.UpstreamAzure, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, setting{up: func(u *tenants.Upstream) {
		u.Rules = []tenants.UpstreamRule{
			{URL: u.Rules[0].URL + "/first", Category: "messages", Event: "a, b"},
			{URL: u.Rules[0].URL + "/second", Hub: "other"},
			{URL: u.Rules[0].URL + "/third", Event: "b,c"},
		}
	}})
	c := w.connect(protocol.NewJSON(), "con1") // and no rule for connected
	for id, want := range map[string]string{"a": "/chat/messages/a/first", "b": "/chat/messages/b/first", "c": "/chat/messages/c/third"} {
		c.invoke(id, id, `[]`)
		if got := w.next().path; got != want {
			t.Errorf("%s posted to %s, want %s", id, got, want)
		}
		c.completion(id)
	}
	for _, target := range []string{"A", "d", "..", "."} {
		c.invoke("1", target, `[]`)
		if got := c.completion("1"); got != "error: Invocation failed, no upstream rule is for this message." {
			t.Errorf("%s: %s", target, got)
		}
	}
	c.stream("s", "a", `[]`)
	if got := c.completion("s"); got != "error: Streams need the native mode of the hub's upstream." {
		t.Errorf("stream: %s", got)
	}
	if got := w.ledger.refused["upstream_no_rule"]; got != 4 {
		t.Errorf("%d refusals counted, want 4", got)
	}
}

func TestMessages_of_a_connection_arrive_in_order(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	w := newWorld(t, tenants.UpstreamAzure, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/connected") {
			<-held // messages wait for it
		}
		w.WriteHeader(http.StatusNoContent)
	})
	c := w.connect(protocol.NewJSON(), "con1")
	const count = 60 // more than wait in the queue
	for range count {
		c.invoke("1", "send", `[]`)
	}
	w.event("connected")
	if n := len(w.arrived); n != 0 {
		t.Fatalf("%d messages arrived before the connected event was answered", n)
	}
	close(held)
	for range count {
		c.completion("1")
	}
	c.leave()
	for range count {
		if got := w.next().path; got != "/chat/messages/send" {
			t.Fatalf("got %s", got)
		}
	}
	w.event("disconnected")
}
