package edge

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/tenants"
)

func TestCallGate_counts_what_is_under_way(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	var refused []string
	short := false
	g := &callGate{
		underWay: &calls, limits: func() *tenants.Limits { return &tenants.Limits{MessagesPerSecond: 40} },
		short: func() bool { return short }, refused: func(code string) { refused = append(refused, code) },
	}
	// Each call is made while those before it are under way.
	depth, echo := 0, &protocol.Message{Target: "echo"}
	var call func(context.Context) error
	call = func(ctx context.Context) error {
		depth++
		return g.OnInvocation(ctx, nil, echo, call)
	}
	err := call(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), codeCalls+": 266 ") || depth != 267 {
		t.Errorf("after %d calls: %v", depth, err)
	}
	if calls.Load() != 0 {
		t.Errorf("%d calls are still counted", calls.Load())
	}
	done := func(context.Context) error { return nil }
	if err := g.OnInvocation(t.Context(), nil, echo, done); err != nil {
		t.Errorf("when none is under way: %v", err)
	}
	short = true
	if err := g.OnInvocation(t.Context(), nil, echo, done); err == nil || err.Error() != textMemory {
		t.Errorf("without memory: %v", err)
	}
	if err := g.OnInvocation(t.Context(), nil, &protocol.Message{Target: "$LeaveGroup"}, done); err != nil {
		t.Errorf("leaving without memory: %v", err)
	}
	if want := []string{codeCalls, codeMemory}; !slices.Equal(refused, want) {
		t.Errorf("counted %v, want %v", refused, want)
	}
}

// An edge that is short of memory says so to everybody who wants more of it, keeps
// whom it has, and serves again afterwards.
func TestMemory_that_is_short_is_told(t *testing.T) {
	t.Parallel()
	d := document("demo", 1)
	c := startEdges(t, 1, d)
	k := c.connect(0, d, "chat", "ann")
	high := &c.edges[0].hubs.pressure.high
	high.Store(true)
	send := func() (*http.Response, string) {
		return c.do(http.MethodPost, c.base(0, d.Slug)+"/api/v1/hubs/chat", d.Keys[0].Secret, `{"target":"x","arguments":["y"]}`, nil)
	}
	if res, answer := send(); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(answer, codeMemory) || res.Header.Get("Retry-After") == "" {
		t.Errorf("a publish is answered %d %s", res.StatusCode, answer)
	}
	if _, res, err := c.dial(0, 0, d, "chat", clientJWT(t, d, 0, "chat", "bob")); err == nil || res == nil || res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("a client is answered %v, %v", res, err)
	}
	k.write(`{"type":1,"invocationId":"1","target":"$joinGroup","arguments":["g"]}`)
	if f := k.next(); !strings.Contains(f.Error, codeMemory) {
		t.Errorf("a call is answered %+v", f)
	}
	high.Store(false)
	if res, answer := send(); res.StatusCode != http.StatusAccepted {
		t.Errorf("with memory a publish is answered %d %s", res.StatusCode, answer)
	}
	k.want("x", "y")
}

// Of the tenant for which most is waiting the clients that are furthest behind are
// cut off, and nobody else.
func TestMemory_is_freed_where_most_is_waiting(t *testing.T) {
	t.Parallel()
	loud, calm := document("loud", 1), document("calm", 1)
	c := startEdges(t, 1, loud, calm)
	c.startFront()
	g := c.edges[0].hubs
	if freed := g.relieve(1 << 20); freed != 0 {
		t.Errorf("%d bytes were freed where nothing waits", freed)
	}
	near, far := c.connect(0, loud, "chat", "near"), c.connect(0, calm, "chat", "far")
	behind, _ := c.polling(loud, "chat", "behind") // it doesn't poll again
	text := strings.Repeat("x", 30<<10)
	waiting := func() int { return g.of(loud.ID)["chat"].server.Waiting() }
	for waiting() <= 256<<10 { // one after the other: who has too much to wait for is closed
		before := waiting()
		c.do(http.MethodPost, c.base(0, loud.Slug)+"/api/v1/hubs/chat/users/behind", loud.Keys[0].Secret, `{"target":"x","arguments":["`+text+`"]}`, nil)
		c.eventually("more to wait", func() bool { return waiting() > before })
	}
	if freed := g.relieve(1); freed < 128<<10 {
		t.Errorf("%d bytes were freed", freed)
	}
	if status, _ := behind.call(http.MethodGet, ""); status != http.StatusNotFound {
		t.Errorf("who was cut off is answered %d", status)
	}
	c.send(0, loud, "chat", "say", "near")
	near.want("say", "near")
	c.send(0, calm, "chat", "say", "far")
	far.want("say", "far")
}

// A message that many are still to get is held once: a tenant with a crowd that is a
// little behind isn't cut off for another who really has the memory.
func TestMemory_is_freed_where_it_is_held(t *testing.T) {
	t.Parallel()
	const crowd, size = 12, 14 << 10 // as frames that are kept in a second form
	many, one := document("many", 1), document("one", 1)
	c := startEdges(t, 1, many, one)
	c.startFront()
	g := c.edges[0].hubs
	var behind []*wanderer
	for n := range crowd {
		p, _ := c.polling(many, "chat", "user"+strconv.Itoa(n)) // they don't poll again
		behind = append(behind, p)
	}
	alone, _ := c.polling(one, "chat", "alone")
	text := strings.Repeat("x", size)
	send := func(d *tenants.Document, path string) {
		t.Helper()
		if res, body := c.do(http.MethodPost, c.base(0, d.Slug)+"/api/v1/hubs/chat"+path, d.Keys[0].Secret, `{"target":"x","arguments":["`+text+`"]}`, nil); res.StatusCode != http.StatusAccepted {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
	}
	waiting := func(d *tenants.Document) int { return g.of(d.ID)["chat"].server.Waiting() }
	c.eventually("messages wait for the crowd", func() bool {
		send(many, "")
		return waiting(many) > 3*size
	})
	c.eventually("more waits for one, less than the crowd would have by itself each", func() bool {
		send(one, "/users/alone")
		return waiting(one) > 2*waiting(many)
	})
	if waiting(one) > crowd*waiting(many) {
		t.Fatalf("%d and %d bytes wait", waiting(one), waiting(many))
	}
	if freed := g.relieve(1); freed <= 2*3*size {
		t.Errorf("%d bytes were freed", freed)
	}
	if status, _ := alone.call(http.MethodGet, ""); status != http.StatusNotFound {
		t.Errorf("who has most is answered %d", status)
	}
	for _, p := range behind {
		if status, body := p.call(http.MethodGet, ""); status != http.StatusOK || !strings.Contains(body, text) {
			t.Errorf("of the crowd one is answered %d with %d bytes", status, len(body))
		}
	}
}
