package upstream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/upstream"
	"github.com/signalbox/signalbox/tenants"
)

// failedText is the error of an invocation of send.
func failedText(text string) string {
	return "error: An unexpected error occurred invoking 'send' on the server. HubException: " + text
}

func say(contentType string, status int, body string) http.HandlerFunc {
	return answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func TestNative_signs_what_it_posts(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, p protocol.Protocol) {
		w := newWorld(t, tenants.UpstreamNative, say("application/json", 200, `{"said":"<hello>"}`))
		c := w.connect(p, "con1")
		w.event("connected")
		c.invoke("7", "send", `["<x>",2,null]`)
		a := w.next()
		m := a.message(t)
		if m.Type != "invocation" || m.ID != "con1.2" || m.Sequence != 2 || m.Hub != "chat" || m.ConnectionID != "con1" || m.UserID != "ann" ||
			m.InvocationID != "7" || m.Target != "send" || fmt.Sprint(m.Arguments) != "[<x> 2 <nil>]" || len(m.Claims) != 2 {
			t.Errorf("message %+v", m)
		}
		if a.header.Get("Webhook-Id") != "con1.2" {
			t.Errorf("webhook-id %q", a.header.Get("Webhook-Id"))
		}
		for _, s := range []string{secret, former} {
			verifier, err := standardwebhooks.NewWebhook(s)
			if err != nil {
				t.Fatal(err)
			}
			if err := verifier.Verify(a.body, a.header); err != nil {
				t.Errorf("verify: %v", err)
			}
			if err := verifier.Verify(append(a.body, ' '), a.header); err == nil {
				t.Error("another body verifies too")
			}
		}
		other, err := standardwebhooks.NewWebhook("whsec_" + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Verify(a.body, a.header); err == nil {
			t.Error("another secret verifies too")
		}
		if got := c.completion("7"); got != `{"said":"<hello>"}` {
			t.Errorf("completion %s", got)
		}
	})
}

func TestNative_answers(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, contentType, body string
		status                  int
		want                    string
	}{
		{"value", "application/json; charset=utf-8", " 42 ", 200, " 42 "},
		{"value without a type", "", "true", 201, "true"},
		{"nothing", "", "", 204, ""},
		{"empty", "text/plain", "", 200, ""},
		{"text", "text/plain", "hello", 200, failedText("The upstream's answer is not application/json.")},
		{"no JSON", "application/json", "{", 200, failedText("The upstream's answer is not one JSON value.")},
		{"two values", "application/json", "1 2", 200, failedText("The upstream's answer is not one JSON value.")},
		{"too deep", "application/json", strings.Repeat("[", 1000) + strings.Repeat("]", 1000), 200, failedText("The upstream's answer is not one JSON value.")},
		{"detail", "application/problem+json", `{"title":"Bad","detail":"The room\r\nis full."}`, 409, failedText("The room is full.")},
		{"title", "application/problem+json", `{"title":"Bad"}`, 400, failedText("Bad")},
		{"error", "application/json", `{"error":"no"}`, 422, failedText("no")},
		{"long error", "application/json", `{"error":"` + strings.Repeat("é", 600) + `"}`, 422, failedText(strings.Repeat("é", 500) + "…")},
		{"an error of 500 is not shown", "application/json", `{"error":"password is x"}`, 500, failedText("The upstream answered with status code 500.")},
		{"a page is not shown", "text/html", `<h1>`, 404, failedText("The upstream answered with status code 404.")},
		{"redirect", "", "", 301, failedText("The upstream answered with status code 301.")},
		{"too large", "application/json", `"` + strings.Repeat("x", 1<<20) + `"`, 200, failedText("The upstream's answer is larger than 1048576 bytes.")},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tenants.UpstreamNative, say(row.contentType, row.status, row.body))
			c := w.connect(protocol.NewJSON(), "con1")
			c.invoke("1", "send", `[]`)
			if got := c.completion("1"); strings.TrimSpace(got) != strings.TrimSpace(row.want) {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

// items reads stream items until the completion.
func (c *client) items(id string) (items []string, end string) {
	c.t.Helper()
	for {
		m := c.receive()
		if m.InvocationID != id {
			c.t.Fatalf("got %+v, want something of %s", m, id)
		}
		switch m.Type {
		case protocol.StreamItem:
			items = append(items, c.text(m.Item))
		case protocol.Completion:
			return items, m.Error
		default:
			c.t.Fatalf("got %+v", m)
		}
	}
}

const streamFailed = "An error occurred on the server while streaming results. HubException: "

func TestNative_streams(t *testing.T) {
	t.Parallel()
	const lines, events = "application/x-ndjson", "text/event-stream"
	for _, row := range []struct {
		name, contentType, body, items, end string
	}{
		{"lines", lines, "1\n\n{\"a\":2}\r\n\"x\"", `[1 {"a":2} "x"]`, ""},
		{"no lines", lines, "", "[]", ""},
		{"events", events, "\xef\xbb\xbf: hi\ndata: 1\n\nid: 7\ndata: {\ndata: \"a\":2}\n\nevent: item\ndata:3\r\n\r\ndata: lost", "[1 {\n\"a\":2} 3]", ""},
		{"event of an end", events, "data: 1\n\nevent: end\n\ndata: 2\n\n", "[1]", ""},
		{"event of an error", events, "data: 1\n\nevent: error\ndata: {\"detail\":\"full\"}\n\n", "[1]", streamFailed + "full"},
		{"event of an error in plain text", events, "event: error\ndata: too\ndata: bad\n\n", "[]", streamFailed + "too bad"},
		{"list", "application/json", "[1, {\"a\":2}]", `[1 {"a":2}]`, ""},
		{"no value", lines, "1\nx\n2\n", "[1]", streamFailed + "An item of the upstream's stream is not one JSON value."},
		{"long line", lines, "1\n\"" + strings.Repeat("x", 64<<10) + "\"\n", "[1]", streamFailed + "An item of the upstream's stream is larger than 65536 bytes."},
		{"long event", events, strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n", 70), "[]", streamFailed + "An item of the upstream's stream is larger than 65536 bytes."},
		{"no list", "application/json", "1", "[]", "An unexpected error occurred invoking 'send' on the server. HubException: The upstream's answer is no stream: application/x-ndjson, text/event-stream, or a JSON array."},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			both(t, func(t *testing.T, p protocol.Protocol) {
				w := newWorld(t, tenants.UpstreamNative, say(row.contentType, 200, row.body))
				c := w.connect(p, "con1")
				c.stream("s", "send", `[]`)
				items, end := c.items("s")
				if got := strings.ReplaceAll(fmt.Sprint(items), "\n", ""); got != strings.ReplaceAll(row.items, "\n", "") || end != row.end {
					t.Errorf("items %s, end %q; want %s, %q", got, end, row.items, row.end)
				}
				w.event("connected")
				if m := w.next().message(t); !m.Stream {
					t.Errorf("message %+v, want a stream", m)
				}
			})
		})
	}
}

func TestNative_stream_is_live_and_ends_with_the_client(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"cancel", "leave", "abort"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			ended := make(chan struct{})
			w := newWorld(t, tenants.UpstreamNative, answers(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/other") {
					w.Header().Set("Content-Type", "application/json")
					_, _ = io.WriteString(w, `"beside"`)
					return
				}
				w.Header().Set("Content-Type", "application/x-ndjson")
				_, _ = io.WriteString(w, "1\n")
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				close(ended)
			}))
			c := w.connect(protocol.NewJSON(), "con1")
			c.stream("s", "send", `[]`)
			if m := c.receive(); m.Type != protocol.StreamItem || c.text(m.Item) != "1" {
				t.Fatalf("got %+v", m)
			}
			c.invoke("1", "other", `[]`)
			if got := c.completion("1"); got != `"beside"` {
				t.Errorf("other invocation: %s", got)
			}
			switch how {
			case "cancel":
				c.send(&protocol.Message{Type: protocol.CancelInvocation, InvocationID: "s"})
				if got := c.completion("s"); got != "" {
					t.Errorf("completion %q", got)
				}
			case "leave":
				c.leave()
			case "abort":
				c.Abort()
			}
			select {
			case <-ended:
			case <-time.After(wait):
				t.Error("the upstream's request goes on")
			}
		})
	}
}

func TestNative_stream_that_breaks_off_is_an_error(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tenants.UpstreamNative, answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		_, _ = io.WriteString(w, "1\n")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	c := w.connect(protocol.NewJSON(), "con1")
	c.stream("s", "send", `[]`)
	if items, end := c.items("s"); len(items) != 1 || end != streamFailed+"The upstream's stream broke off." {
		t.Errorf("items %v, end %q", items, end)
	}
}

func TestNative_uploads_come_in_batches(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, p protocol.Protocol) {
		w := newWorld(t, tenants.UpstreamNative, answers(func(w http.ResponseWriter, r *http.Request) {
			var m message
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewDecoder(r.Body).Decode(&m)
			if m.Last {
				_, _ = io.WriteString(w, `"all"`)
				return
			}
			_, _ = io.WriteString(w, `"is not looked at"`)
		}))
		c := w.connect(p, "con1")
		c.send(&protocol.Message{Type: protocol.Invocation, InvocationID: "1", Target: "send", Arguments: jsonList(`["a"]`), StreamIDs: []string{"u", "v"}})
		const count = 500
		for i := range count {
			c.send(&protocol.Message{Type: protocol.StreamItem, InvocationID: "u", Item: jsonList(fmt.Sprint(i))})
		}
		c.send(&protocol.Message{Type: protocol.Completion, InvocationID: "u"})
		c.send(&protocol.Message{Type: protocol.StreamItem, InvocationID: "v", Item: jsonList(`"x"`)})
		c.send(&protocol.Message{Type: protocol.Completion, InvocationID: "v", Error: "broken", HasError: true})
		if got := c.completion("1"); got != `"all"` {
			t.Errorf("completion %s", got)
		}
		w.event("connected")
		if m := w.next().message(t); m.Type != "invocation" || fmt.Sprint(m.Uploads) != "[u v]" {
			t.Errorf("message %+v", m)
		}
		next, other, ended := 0, 0, ""
		for last := false; !last; {
			m := w.next().message(t)
			if m.Type != "items" || m.InvocationID != "1" || len(m.Items) > 101 {
				t.Fatalf("message %+v", m)
			}
			for _, i := range m.Items {
				if i.Upload == "v" {
					other++
				} else if fmt.Sprint(i.Item) != fmt.Sprint(next) {
					t.Fatalf("item %v, want %d", i, next)
				} else {
					next++
				}
			}
			for _, e := range m.Ended {
				ended += e.Upload + e.Error
			}
			last = m.Last
		}
		if next != count || other != 1 || ended != "uvbroken" {
			t.Errorf("%d and %d items, ended %s", next, other, ended)
		}
	})
}

func TestNative_upload_that_is_refused_ends(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tenants.UpstreamNative, say("application/problem+json", 403, `{"detail":"not you"}`))
	c := w.connect(protocol.NewJSON(), "con1")
	c.send(&protocol.Message{Type: protocol.Invocation, InvocationID: "1", Target: "send", Arguments: jsonList(`[]`), StreamIDs: []string{"u"}})
	if got := c.completion("1"); got != failedText("not you") {
		t.Errorf("got %s", got)
	}
	for range 200 { // nobody takes them: the connection goes on all the same
		c.send(&protocol.Message{Type: protocol.StreamItem, InvocationID: "u", Item: jsonList(`1`)})
	}
	c.invoke("2", "send", `[]`)
	c.completion("2")
}

func TestNative_events_are_told_again_until_they_are_taken(t *testing.T) {
	t.Parallel()
	failures := make(chan struct{}, 6)
	for range cap(failures) {
		failures <- struct{}{}
	}
	w := newWorld(t, tenants.UpstreamNative, func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-failures:
			w.WriteHeader(http.StatusInternalServerError)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
	c := w.connect(protocol.NewJSON(), "con1")
	for attempt := range 4 { // the first one and three more
		a := w.event("connected")
		if m := a.message(t); m.Type != "connected" || m.ID != "con1.1" || a.header.Get("Webhook-Id") != "con1.1" {
			t.Errorf("attempt %d: %+v", attempt, m)
		}
	}
	w.ledger.until(t, "the last attempt", func(l *ledger) bool { return len(l.deliveries) == 4 })
	if last := w.ledger.deliveries[3]; last.Outcome != tenants.Failed || last.Attempt != 4 || w.ledger.deliveries[0].Outcome != tenants.Retried {
		t.Errorf("deliveries %+v", w.ledger.deliveries)
	}
	c.leave()
	for range 3 {
		if m := w.event("disconnected").message(t); m.Type != "disconnected" || m.ID != "con1.2" {
			t.Errorf("message %+v", m)
		}
	}
	w.ledger.until(t, "success", func(l *ledger) bool {
		return len(l.deliveries) == 7 && l.deliveries[6].Outcome == tenants.Delivered
	})
}

func TestNative_upstream_may_refuse_a_connection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tenants.UpstreamNative, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"detail":"Not in this room."}`)
	})
	c := w.connect(protocol.NewJSON(), "con1")
	if m := c.receive(); m.Type != protocol.Close || m.Error != "Connection closed with an error. HubException: Not in this room." || m.AllowReconnect {
		t.Errorf("got %+v", m)
	}
}

func TestNative_signs_with_no_expired_secret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tenants.UpstreamNative, say("", 204, ""))
	w.mu.Lock()
	w.doc.WebhookSecrets[1].Expires = time.Now().Add(-time.Second).Unix()
	w.mu.Unlock()
	w.connect(protocol.NewJSON(), "con1")
	if got := w.event("connected").header.Get("Webhook-Signature"); len(strings.Fields(got)) != 1 {
		t.Errorf("signatures %q, want one", got)
	}
}

// What an edge that ends can't tell of presence another one tells: it is counted and
// logged as lost by nobody.
func TestPresence_that_another_edge_tells_is_not_lost(t *testing.T) {
	t.Parallel()
	failing := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
	w := newWorld(t, tenants.UpstreamNative, failing, setting{
		config: func(c *upstream.Config) { c.RetryAfter = []time.Duration{time.Hour} },
		up:     func(u *tenants.Upstream) { u.Rules[0].Category = tenants.CategoryPresence },
	})
	told := make(chan string, 10)
	news := func(id string) {
		w.gateway.Presence(w.document(), hubName, upstream.Presence{ID: id, Joined: true, Group: "g", UserID: "ann"}, func() { told <- id })
	}
	news("under way")
	if a := w.next(); a.message(t).ID != "under way" {
		t.Errorf("got %s", a.body)
	}
	w.ledger.until(t, "the attempt to be logged", func(l *ledger) bool { return len(l.deliveries) == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	if err := w.gateway.Close(ctx); err != nil { // the second attempt is the last one here
		t.Fatal(err)
	}
	news("later")
	if len(told) != 0 {
		t.Errorf("%s is said to be told", <-told)
	}
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	if w.ledger.refused["upstream_event_lost"] != 0 || len(w.ledger.deliveries) != 2 {
		t.Errorf("refused %v, deliveries %+v; want the two attempts alone", w.ledger.refused, w.ledger.deliveries)
	}
}
