package edge

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// slowly is a tenant whose connections may send 1 KiB a second, and burst at once.
func slowly(name string, burst int) *tenants.Document {
	return limited(name, func(l *tenants.Limits) { l.BytesPerSecond, l.ByteBurst = 1<<10, burst })
}

// A client that sends too much is first read more slowly, by which its calls are late and
// not refused; only what two seconds without reading don't make up for is refused. That is
// so over each transport, and holds up nobody else.
func TestBandwidth_delays_then_refuses(t *testing.T) {
	t.Parallel()
	const burst = 8 << 10
	d := slowly("slowly", burst)
	c := startEdges(t, 2, d)
	c.startFront()
	c.endsAtOnce()
	posts := func(w *wanderer) func(string) {
		return func(text string) {
			if status, got := w.call(http.MethodPost, text+separator); status != http.StatusOK {
				t.Errorf("post: %d %s", status, got)
			}
		}
	}
	for _, transport := range []string{"WebSockets", "ServerSentEvents", "LongPolling"} {
		var write func(string)
		var next func() frame
		switch token := clientJWT(t, d, 0, "chat", "ann"); transport {
		case "WebSockets":
			k := c.joined(0, d, "chat", token)
			write, next = k.write, k.next
		case "ServerSentEvents":
			w := c.streamingWith(d, "chat", token)
			write, next = posts(w), w.next
		default:
			w := c.pollingWith(d, "chat", token)
			write, next = posts(w), w.next
		}
		other := c.connect(0, d, "chat", "ben")
		// call has the client send one that nothing else refuses, of so many bytes.
		call := func(id string, size int) {
			text := fmt.Sprintf(`{"type":1,"invocationId":%q,"target":"$joinGroup","arguments":["room"]}`, id)
			write(text + strings.Repeat(" ", max(0, size-len(text))))
		}
		answered := func(id string) frame {
			t.Helper()
			f := next()
			if f.Type != 3 || f.InvocationID != id {
				t.Fatalf("%s: got %+v, want the completion of %s", transport, f, id)
			}
			return f
		}
		begin := time.Now()
		call("late", burst+1<<10)
		if f := answered("late"); f.Error != "" {
			t.Errorf("%s: a KiB more than may come at once is refused: %s", transport, f.Error)
		}
		if took := time.Since(begin); took < time.Second {
			t.Errorf("%s: a second's worth beyond the burst was read in %s", transport, took)
		}
		begin = time.Now()
		call("refused", 10<<10)
		other.done("$joinGroup", "room")
		got := line(t, "completion", answered("refused").Error)
		want := fault.Limit{Code: "bandwidth", Scope: "connection", Limit: "bytes_per_second", Max: 1 << 10, Burst: burst, Doc: fault.PagesURL + "bandwidth"}
		want.RequestID, want.RetryAfterMS = got.RequestID, got.RetryAfterMS
		if got.Limit != want {
			t.Errorf("%s: told %+v, want %+v", transport, got.Limit, want)
		}
		// What was waited for is made up for, so less than the 10 s of it are to come.
		if took := time.Since(begin); took < 2*time.Second || got.RetryAfterMS <= 0 || got.RetryAfterMS > 8_000 {
			t.Errorf("%s: refused after %s, and may come again in %d ms", transport, took, got.RetryAfterMS)
		}
	}
}

// What ends something isn't refused to a client that has sent too many bytes, nor what
// keeps its connection: pings and acknowledgements, leaving, and cancels.
func TestBandwidth_never_refuses_what_ends_something(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/feed" {
			w.Header().Set("Content-Type", "application/x-ndjson")
			_, _ = io.WriteString(w, "1\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			close(ended)
		}
	}))
	t.Cleanup(upstream.Close)
	d := slowly("ends", 1<<10)
	d.Hubs["chat"] = tenants.HubSettings{
		ClientPermissions: d.Hubs["chat"].ClientPermissions,
		Upstream: &tenants.Upstream{
			Mode: tenants.UpstreamNative, TimeoutSeconds: 30,
			Rules: []tenants.UpstreamRule{{URL: upstream.URL + "/{event}", Category: tenants.CategoryMessages}},
		},
	}
	c := startEdges(t, 1, d)
	k := c.stateful(0, d, "chat", "ann")
	k.write(`{"type":4,"invocationId":"s","target":"feed","arguments":[]}`)
	if f := k.next(); f.Type != 2 || string(f.Item) != "1" {
		t.Fatalf("the stream begins with %+v", f)
	}
	invoke := func(id, method string) string {
		return fmt.Sprintf(`{"type":1,"invocationId":%q,"target":%q,"arguments":["room"]}`, id, method)
	}
	k.write(strings.Join([]string{
		// Of more than is made up for in two seconds, so the client is ahead for all that follows.
		strings.Repeat(`{"type":6}`+separator+`{"type":8,"sequenceId":1}`+separator+`{"type":5,"invocationId":"none"}`+separator, 110) + invoke("refused", "$joinGroup") + strings.Repeat(" ", 3<<10),
		invoke("l", "$leaveGroup"), `{"type":5,"invocationId":"s"}`, invoke("refused as well", "$joinGroup"),
	}, separator))
	answers := make(map[string]string)
	for len(answers) < 4 {
		switch f := k.next(); f.Type {
		case 3:
			answers[f.InvocationID] = f.Error
		case 8: // an acknowledgement, once a second
		default:
			t.Fatalf("got %+v", f)
		}
	}
	for id, refused := range map[string]bool{"refused": true, "l": false, "s": false, "refused as well": true} {
		if got, ok := answers[id]; !ok || strings.Contains(got, " bandwidth scope=connection ") != refused || !refused && got != "" {
			t.Errorf("%s is answered by %q", id, got)
		}
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the upstream's request goes on")
	}
}
