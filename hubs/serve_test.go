package hubs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

const rs = "\x1e"

func invocation(id, target string) string {
	if id != "" {
		id = `"invocationId":"` + id + `",`
	}
	return `{"type":1,` + id + `"target":"` + target + `","arguments":[]}` + rs
}

// handler is a Dispatcher made of functions, any of which may be nil.
type handler struct {
	connected    func(context.Context, *hubs.Connection) error
	message      func(context.Context, *hubs.Connection, *protocol.Message) error
	disconnected func(context.Context, *hubs.Connection, error)
}

func (h handler) Connected(ctx context.Context, c *hubs.Connection) error {
	if h.connected == nil {
		return nil
	}
	return h.connected(ctx, c)
}

func (h handler) Message(ctx context.Context, c *hubs.Connection, m *protocol.Message) error {
	if h.message == nil {
		return nil
	}
	return h.message(ctx, c, m)
}

func (h handler) Disconnected(ctx context.Context, c *hubs.Connection, cause error) {
	if h.disconnected != nil {
		h.disconnected(ctx, c, cause)
	}
}

func TestBroadcastOnly(t *testing.T) {
	t.Parallel()
	const text = ` on the server. HubException: Hub 'chat' has no handler for invocations. Connect an app server, set an upstream URL, or publish over the REST API.`
	m := &meter{}
	s := newServer(t, hubs.Config{Meter: m})
	w := connect(t, s, "", "")
	w.send(invocation("1", "Go"))
	w.expect(`{"type":3,"invocationId":"1","error":"An unexpected error occurred invoking 'Go'` + text + `"}` + rs)
	w.send(`{"type":4,"invocationId":"2","target":"Flow","arguments":[]}` + rs)
	w.expect(`{"type":3,"invocationId":"2","error":"An unexpected error occurred invoking 'Flow'` + text + `"}` + rs)

	// I-02: nothing is said to one that doesn't wait; unknown types and what
	// belongs to no invocation are ignored (E-15, S-07, U-06, C-08).
	w.send(invocation("", "Go"))
	for _, ignored := range []string{
		`{"type":99,"x":1}`, `{"type":2,"invocationId":"x","item":1}`, `{"type":3,"invocationId":"x","result":1}`,
		`{"type":5,"invocationId":"x"}`, `{"type":8,"sequenceId":7}`, `{"type":9,"sequenceId":7}`, `{"type":6}`,
	} {
		w.send(ignored + rs)
	}
	w.send(invocation("3", "Go"))
	if got, _ := w.read(); !strings.HasPrefix(got, `{"type":3,"invocationId":"3"`) {
		t.Errorf("got %q", got)
	}
	m.get(func() {
		if m.refused[hubs.RefusedNoHandler] != 4 || m.messages != 0 {
			t.Errorf("refused %v, delivered %d", m.refused, m.messages)
		}
	})
}

func TestErrors(t *testing.T) {
	t.Parallel()
	fails := func(err error) hubs.Dispatcher {
		return handler{message: func(context.Context, *hubs.Connection, *protocol.Message) error { return err }}
	}
	detailed := hubs.Options{EnableDetailedErrors: true}
	completions := []struct {
		name string
		opt  hubs.Options
		err  error
		text string
	}{
		{"E-01 the text of an error stays on the server", hubs.Options{}, errors.New("secret"), "An unexpected error occurred invoking 'M' on the server."},
		{"E-01 detailed errors show it", detailed, errors.New("m"), "An unexpected error occurred invoking 'M' on the server. Exception: m"},
		{
			"E-02 an Error always shows its text", hubs.Options{}, fmt.Errorf("wrapped: %w", hubs.NewError("m")),
			"An unexpected error occurred invoking 'M' on the server. HubException: m",
		},
	}
	for _, c := range completions {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, hubs.Config{Dispatcher: fails(c.err), Options: c.opt})
			w := connect(t, s, "", "")
			w.send(invocation("", "M") + invocation("1", "M"))
			w.expect(`{"type":3,"invocationId":"1","error":"` + c.text + `"}` + rs)
			// E-03: the connection is usable.
			w.send(invocation("2", "M"))
			w.expect(`{"type":3,"invocationId":"2","error":"` + c.text + `"}` + rs)
		})
	}
	closes := []struct {
		name, send, detail string
	}{
		{"E-04 a missing property", `{"type":1,"arguments":[]}` + rs, "Missing required property 'target'."},
		{"E-04 malformed JSON", `{"type":1,` + rs, "Error reading JSON."},
		{"E-13 a completion with result and error", `{"type":3,"invocationId":"1","result":1,"error":"x"}` + rs, "The 'error' and 'result' properties are mutually exclusive."},
		{
			"E-05 a message above the limit", `{"type":1,"target":"` + strings.Repeat("x", 40_000),
			"The maximum message size of 32768B was exceeded. The message size can be configured in AddHubOptions.",
		},
	}
	for _, c := range closes {
		t.Run(c.name+" closes the connection", func(t *testing.T) {
			t.Parallel()
			w := connect(t, newServer(t, hubs.Config{}), "", "")
			w.send(c.send)
			w.expect(`{"type":7,"error":"Connection closed with an error."}` + rs)
			if err := w.expectEnd(); err == nil {
				t.Error("Serve returned nil")
			}
		})
		t.Run(c.name+" closes the connection in detail", func(t *testing.T) {
			t.Parallel()
			w := connect(t, newServer(t, hubs.Config{Options: detailed}), "", "")
			w.send(invocation("1", "M") + c.send) // SEC-23: what came before is handled
			if got, _ := w.read(); !strings.HasPrefix(got, `{"type":3,"invocationId":"1"`) {
				t.Errorf("got %q", got)
			}
			w.expect(`{"type":7,"error":"Connection closed with an error. InvalidDataException: ` + c.detail + `"}` + rs)
		})
	}
	t.Run("E-06 the limit is per message", func(t *testing.T) {
		t.Parallel()
		w := connect(t, newServer(t, hubs.Config{Options: hubs.Options{MaximumReceiveMessageSize: 100}}), "", "")
		w.send(strings.Repeat(invocation("", "M"), 1000) + invocation("1", "M"))
		if got, _ := w.read(); !strings.HasPrefix(got, `{"type":3,"invocationId":"1"`) {
			t.Errorf("got %q", got)
		}
	})
	t.Run("E-07 a partial message, then the end", func(t *testing.T) {
		t.Parallel()
		w := connect(t, newServer(t, hubs.Config{Options: detailed}), "", "")
		w.send(`{"type":1,`)
		w.hangUp()
		w.expect(`{"type":7,"error":"Connection closed with an error. InvalidDataException: Connection terminated while reading a message."}` + rs)
	})
	t.Run("E-08 OnConnected fails", func(t *testing.T) {
		t.Parallel()
		for err, text := range map[error]string{
			errors.New("secret"):                  "Connection closed with an error.",
			hubs.NewError("your plan allows 2"):   "Connection closed with an error. HubException: your plan allows 2",
			errors.Join(hubs.Errorf("no %d", 17)): "Connection closed with an error. HubException: no 17",
		} {
			ended := make(chan error, 1)
			w := connect(t, newServer(t, hubs.Config{Dispatcher: handler{
				connected:    func(context.Context, *hubs.Connection) error { return err },
				disconnected: func(_ context.Context, _ *hubs.Connection, cause error) { ended <- cause },
			}}), "", "")
			w.expect(`{"type":7,"error":"` + text + `"}` + rs)
			if got := w.expectEnd(); !errors.Is(got, err) || !errors.Is(<-ended, err) {
				t.Errorf("Serve returned %v", got)
			}
		}
	})
	t.Run("E-11 a dispatcher that aborts", func(t *testing.T) {
		t.Parallel()
		w := connect(t, newServer(t, hubs.Config{Dispatcher: handler{message: func(_ context.Context, c *hubs.Connection, _ *protocol.Message) error {
			c.Abort()
			return nil
		}}}), "", "")
		w.send(invocation("1", "M"))
		if err := w.expectEnd(); !errors.Is(err, hubs.ErrClosedByServer) {
			t.Errorf("Serve returned %v", err)
		}
	})
	t.Run("E-12 a Close message from the client ends in order", func(t *testing.T) {
		t.Parallel()
		ended := make(chan error, 1)
		w := connect(t, newServer(t, hubs.Config{Dispatcher: handler{
			disconnected: func(_ context.Context, _ *hubs.Connection, cause error) { ended <- cause },
		}}), "", "")
		w.send(`{"type":7}` + rs)
		if err := w.expectEnd(); err != nil {
			t.Errorf("Serve returned %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("OnDisconnected was told %v", err)
		}
	})
	t.Run("T-14 a panic ends its connection alone, without its text", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, hubs.Config{Options: detailed, Dispatcher: handler{message: func(context.Context, *hubs.Connection, *protocol.Message) error {
			panic("secret")
		}}})
		other := connect(t, s, "", "")
		w := connect(t, s, "", "")
		w.send(invocation("1", "M"))
		w.expect(`{"type":7,"error":"Connection closed with an error."}` + rs)
		_ = w.expectEnd()
		if w.ending != hubs.EndFailed {
			t.Errorf("the transport was closed with %d", w.ending)
		}
		frame, _ := sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, "x")
		other.expect(frame)
	})
}

// tracer is a Filter that notes the order of calls.
type tracer struct {
	hubs.PassFilter
	name string
	mu   *sync.Mutex
	log  *[]string
}

func (f tracer) note(s string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*f.log = append(*f.log, f.name+" "+s)
}

func (f tracer) OnConnected(ctx context.Context, _ *hubs.Connection, next func(context.Context) error) error {
	f.note("before connected")
	defer f.note("after connected")
	return next(ctx)
}

func (f tracer) OnInvocation(ctx context.Context, _ *hubs.Connection, m *protocol.Message, next func(context.Context) error) error {
	if m.Target == "refused by "+f.name {
		return hubs.NewError("limit reached")
	}
	f.note("before " + m.Target)
	defer f.note("after " + m.Target)
	return next(ctx)
}

func (f tracer) OnDisconnected(ctx context.Context, _ *hubs.Connection, cause error, next func(context.Context, error)) {
	f.note("before disconnected")
	next(ctx, cause)
	f.note("after disconnected")
}

func TestFilters(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var log []string
	outer, inner := tracer{name: "outer", mu: &mu, log: &log}, tracer{name: "inner", mu: &mu, log: &log}
	core := tracer{name: "core", mu: &mu, log: &log}
	m := &meter{}
	s := newServer(t, hubs.Config{Meter: m, Filters: []hubs.Filter{outer, hubs.PassFilter{}, inner}, Dispatcher: handler{
		connected:    func(context.Context, *hubs.Connection) error { core.note("connected"); return nil },
		disconnected: func(context.Context, *hubs.Connection, error) { core.note("disconnected") },
		message: func(_ context.Context, c *hubs.Connection, m *protocol.Message) error {
			core.note(m.Target)
			return c.Send(&protocol.Message{Type: protocol.Completion, InvocationID: m.InvocationID})
		},
	}})
	w := connect(t, s, "", "")
	w.send(invocation("1", "M"))
	w.expect(`{"type":3,"invocationId":"1"}` + rs)
	w.send(invocation("2", "refused by inner"))
	w.expect(`{"type":3,"invocationId":"2","error":"An unexpected error occurred invoking 'refused by inner' on the server. HubException: limit reached"}` + rs)
	w.hangUp()
	if err := w.serveReturned(); err != nil {
		t.Errorf("Serve returned %v", err)
	}
	want := []string{
		"outer before connected", "inner before connected", "core connected", "inner after connected", "outer after connected",
		"outer before M", "inner before M", "core M", "inner after M", "outer after M",
		"outer before refused by inner", "outer after refused by inner",
		"outer before disconnected", "inner before disconnected", "core disconnected", "inner after disconnected", "outer after disconnected",
	}
	if !slices.Equal(log, want) {
		t.Errorf("calls were\n%s\nwant\n%s", strings.Join(log, "\n"), strings.Join(want, "\n"))
	}
	if len(m.refused) != 0 {
		t.Errorf("refused %v: a filter's own refusal is the filter's to count", m.refused)
	}
}

func TestMeter(t *testing.T) {
	t.Parallel()
	m := &meter{}
	s := newServer(t, hubs.Config{Meter: m})
	one, two := connect(t, s, "", ""), connect(t, s, "", "")
	small, _ := sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, "x")
	big, _ := sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, strings.Repeat("x", 64<<10))
	for _, w := range []*wire{one, two} {
		w.expect(small, big)
		w.hangUp()
		_ = w.serveReturned()
	}
	m.get(func() {
		if m.opened != 2 || m.closed != 2 || m.messages != 2*3 || m.bytes != 2*(len(small)+len(big)) || m.bytesRead != 2*len(handshake) {
			t.Errorf("metered %+v", m)
		}
	})
	for size, want := range map[int]int{0: 1, 1: 1, 65536: 1, 65537: 2, 131072: 2, 131073: 3} {
		if got := hubs.Units(size); got != want {
			t.Errorf("%d bytes count as %d, want %d", size, got, want)
		}
	}
}

func TestInvocationOrder(t *testing.T) {
	t.Parallel()
	answer := func(c *hubs.Connection, id string) error {
		return c.Send(&protocol.Message{Type: protocol.Completion, InvocationID: id})
	}
	completion := func(id string) string { return `{"type":3,"invocationId":"` + id + `"}` + rs }
	t.Run("I-11 invocations of one client run in order", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, hubs.Config{Dispatcher: handler{message: func(_ context.Context, c *hubs.Connection, m *protocol.Message) error {
			return answer(c, m.InvocationID)
		}}})
		w := connect(t, s, "", "")
		for i := range 100 {
			w.send(invocation(fmt.Sprint(i), "M"))
		}
		for i := range 100 {
			w.expect(completion(fmt.Sprint(i)))
		}
	})
	t.Run("as many as allowed run at once, the rest wait", func(t *testing.T) {
		t.Parallel()
		started, finish := make(chan string, 10), make(chan struct{})
		s := newServer(t, hubs.Config{Options: hubs.Options{MaximumParallelInvocationsPerClient: 2}, Dispatcher: handler{
			message: func(_ context.Context, c *hubs.Connection, m *protocol.Message) error {
				started <- m.InvocationID
				<-finish
				return answer(c, m.InvocationID)
			},
		}})
		w := connect(t, s, "", "")
		w.send(invocation("1", "M") + invocation("2", "M") + invocation("3", "M"))
		got := map[string]bool{<-started: true, <-started: true}
		if !got["1"] || !got["2"] {
			t.Errorf("started %v", got)
		}
		select {
		case id := <-started:
			t.Errorf("%s was started too", id)
		default:
		}
		finish <- struct{}{}
		if id := <-started; id != "3" {
			t.Errorf("%s was started third", id)
		}
		close(finish)
		for range 3 {
			if frame, ok := w.read(); !ok || !strings.HasPrefix(frame, `{"type":3`) {
				t.Errorf("got %q", frame)
			}
		}
	})
	t.Run("OnDisconnected comes after the last invocation", func(t *testing.T) {
		t.Parallel()
		started, finish, over := make(chan struct{}), make(chan struct{}), make(chan bool, 1)
		var finished bool
		s := newServer(t, hubs.Config{Options: hubs.Options{MaximumParallelInvocationsPerClient: 2}, Dispatcher: handler{
			message: func(context.Context, *hubs.Connection, *protocol.Message) error {
				close(started)
				<-finish
				finished = true
				return nil
			},
			disconnected: func(context.Context, *hubs.Connection, error) { over <- finished },
		}})
		w := connect(t, s, "", "")
		w.send(invocation("1", "M"))
		<-started
		w.hangUp()
		close(finish)
		if !<-over {
			t.Error("OnDisconnected came first")
		}
	})
	t.Run("M-07 arguments that can't be bound fail the invocation alone", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, hubs.Config{})
		w := serve(t, s, "", "c")
		w.send("{\"protocol\":\"messagepack\",\"version\":1}" + rs)
		w.expect("{}" + rs)
		p := protocol.NewMessagePack()
		// [1, {}, "7", "M"]: the arguments are missing.
		w.send("\x07\x94\x01\x80\xa17\xa1M")
		want, err := p.Append(nil, &protocol.Message{
			Type: protocol.Completion, InvocationID: "7", HasError: true,
			Error: "Failed to invoke 'M' due to an error on the server.",
		})
		if err != nil {
			t.Fatal(err)
		}
		until(t, "the completion", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return strings.HasPrefix(string(w.out), string(want))
		})
		if s.Connections() != 1 {
			t.Error("the connection has ended")
		}
	})
}
