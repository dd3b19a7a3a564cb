package upstream_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/upstream"
	"github.com/signalbox/signalbox/tenants"
)

// answersWith answers every invocation with the same bytes, read as HTTP.
type answersWith struct{ answer atomic.Pointer[[]byte] }

func (a *answersWith) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	if r.Header.Get("X-Asrs-Category") == "connections" || bytes.Contains([]byte(r.URL.Path), []byte("/connections/")) {
		return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody}, nil
	}
	return http.ReadResponse(bufio.NewReader(bytes.NewReader(*a.answer.Load())), r)
}

// unlogged keeps no deliveries.
type unlogged struct{}

func (unlogged) Record(tenants.ID, tenants.Delivery) {}

// FuzzUpstreamResponse holds that whatever an upstream answers, the client gets one
// completion of its call and no other frame but items of its stream, in its own hub
// protocol, and that an answer costs no more memory than its bound allows.
func FuzzUpstreamResponse(f *testing.F) {
	head := func(kind string) string { return "HTTP/1.1 200 OK\r\nContent-Type: " + kind + "\r\n" }
	for _, s := range []string{
		head("application/json") + "Content-Length: 2\r\n\r\n42",
		head("application/json") + "\r\n{\"type\":3,\"invocationId\":\"1\",\"result\":42}\x1e",
		head("application/json") + "\r\n{\"type\":3,\"invocationId\":\"1\",\"error\":\"no\"}\x1e{\"type\":7}\x1e",
		head("application/json") + "\r\n{\"type\":7}\x1e",
		head("application/x-msgpack") + "\r\n\x07\x95\x03\x80\xa11\x03\x2a",
		head("application/x-msgpack") + "\r\n\xff\xff\xff\xff\x07\x95\x03",
		head("application/json") + "\r\n\x08\x95\x03\x80\xa11\x03\xdf\xff\xff\xff\xff",
		head("application/x-ndjson") + "\r\n1\n\"two\"\n\n[3]\n",
		head("application/x-ndjson") + "Transfer-Encoding: chunked\r\n\r\n2\r\n1\n\r\n0\r\n\r\n",
		head("application/x-ndjson") + "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFF\r\n1",
		head("text/event-stream") + "\r\n\xef\xbb\xbfdata: 1\n\n: hello\nevent: end\n\n",
		head("text/event-stream") + "\r\nevent: error\ndata: {\"detail\":\"no\"}\n\n",
		head("application/json") + "Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08",
		head("application/json") + "Content-Length: 9223372036854775807\r\n\r\n1",
		head("application/json") + "X-Signalbox-Position: next\r\n\r\n1",
		"HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 404 Not Found\r\nContent-Type: application/problem+json\r\n\r\n{\"detail\":\"gone\"}",
		"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "", "x",
	} {
		for _, native := range []bool{false, true} {
			f.Add([]byte(s), native, false, false)
			f.Add([]byte(s), native, true, native)
		}
	}
	// One world of each mode for all executions: they differ in the answer, and in the
	// upstream's host, so that none is left alone for the failures of another.
	transport := new(answersWith)
	worlds := make(map[bool]*world)
	for native, mode := range map[bool]tenants.UpstreamMode{false: tenants.UpstreamAzure, true: tenants.UpstreamNative} {
		worlds[native] = newWorld(f, mode, func(http.ResponseWriter, *http.Request) {}, setting{config: func(c *upstream.Config) { c.Transport, c.Log = transport, unlogged{} }})
	}
	executions := 0
	f.Fuzz(func(t *testing.T, answer []byte, native, binary, streams bool) {
		p := protocol.NewJSON()
		if binary {
			p = protocol.NewMessagePack()
		}
		executions++
		transport.answer.Store(&answer)
		w := worlds[native]
		w.toHost(fmt.Sprintf("upstream%d.example", executions))
		c := (&world{t: t, server: w.server}).connect(p, fmt.Sprint("con", executions))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		kind := protocol.Invocation
		if streams {
			kind = protocol.StreamInvocation
		}
		c.send(&protocol.Message{Type: kind, InvocationID: "1", Target: "send", Arguments: jsonList("[]")})
		for {
			m := c.receive()
			if m.InvocationID != "1" || m.Type != protocol.Completion && (!streams || m.Type != protocol.StreamItem) {
				t.Fatalf("the client got %+v", m)
			}
			if m.Type == protocol.Completion {
				break
			}
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20+64*uint64(len(answer)) {
			t.Errorf("an answer of %d bytes cost %d", len(answer), used)
		}
		// The connection is as good as before.
		c.send(&protocol.Message{Type: protocol.Ping})
		if c.closed {
			t.Error("the connection was closed")
		}
	})
}

// toHost gives the hub an upstream of the same mode at another host.
func (w *world) toHost(host string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	u := *w.doc.Hubs[hubName].Upstream
	u.Rules = []tenants.UpstreamRule{{URL: "https://" + host + "/{hub}/{category}/{event}"}}
	w.doc.Hubs = map[string]tenants.HubSettings{hubName: {Upstream: &u}}
}
