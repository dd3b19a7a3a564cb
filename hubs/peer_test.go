package hubs_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
)

// peer is a client that speaks either hub protocol over a wire.
type peer struct {
	*wire
	proto protocol.Protocol
}

// dial connects a client.
func dial(t *testing.T, s *hubs.Server, p protocol.Protocol, user, id string) *peer {
	t.Helper()
	c := &peer{wire: serve(t, s, user, id), proto: p}
	c.wire.send(fmt.Sprintf("{\"protocol\":%q,\"version\":1}\x1e", p.Name()))
	c.wire.expect("{}\x1e")
	return c
}

// bothProtocols runs a test for each hub protocol.
func bothProtocols(t *testing.T, test func(t *testing.T, p protocol.Protocol)) {
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		t.Run(p.Name(), func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

// registered returns a Server of a hub.
func registered(t *testing.T, cfg hubs.Config, hub any, options ...hubs.RegisterOption) *hubs.Server {
	t.Helper()
	d, err := hubs.Register(hub, options...)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Dispatcher = d
	return newServer(t, cfg)
}

func (c *peer) put(m *protocol.Message) {
	c.t.Helper()
	frame, err := c.proto.Append(nil, m)
	if err != nil {
		c.t.Fatal(err)
	}
	c.wire.send(string(frame))
}

func (c *peer) args(args []any) protocol.Raw {
	c.t.Helper()
	raw, err := values.Arguments(c.proto.Encoding(), args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return raw
}

func (c *peer) raw(v any) protocol.Raw {
	c.t.Helper()
	raw, err := values.Encode(c.proto.Encoding(), v)
	if err != nil {
		c.t.Fatal(err)
	}
	return raw
}

// invoke sends an invocation; without an id it wants no answer.
func (c *peer) invoke(id, target string, args ...any) {
	c.t.Helper()
	c.put(&protocol.Message{Type: protocol.Invocation, InvocationID: id, Target: target, Arguments: c.args(args)})
}

// stream sends a stream invocation.
func (c *peer) stream(id, target string, args ...any) {
	c.t.Helper()
	c.put(&protocol.Message{Type: protocol.StreamInvocation, InvocationID: id, Target: target, Arguments: c.args(args)})
}

// upload sends an invocation with upload streams.
func (c *peer) upload(id, target string, streams []string, args ...any) {
	c.t.Helper()
	c.put(&protocol.Message{Type: protocol.Invocation, InvocationID: id, Target: target, Arguments: c.args(args), StreamIDs: streams})
}

func (c *peer) item(stream string, v any) {
	c.t.Helper()
	c.put(&protocol.Message{Type: protocol.StreamItem, InvocationID: stream, Item: c.raw(v)})
}

func (c *peer) complete(id string) {
	c.t.Helper()
	c.put(&protocol.Message{Type: protocol.Completion, InvocationID: id})
}

func (c *peer) fail(id, text string) {
	c.t.Helper()
	c.put(&protocol.Message{Type: protocol.Completion, InvocationID: id, Error: text, HasError: true})
}

// next returns the next message that is no ping; nil at the end.
func (c *peer) next() *protocol.Message {
	c.t.Helper()
	timer := time.AfterFunc(wait, func() {
		c.t.Errorf("nothing came within %v", wait)
		c.Abort()
	})
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		var m protocol.Message
		n, err := c.proto.Parse(c.out, &m)
		if err != nil {
			c.t.Fatalf("the server sent %q: %v", c.out, err)
		}
		if n > 0 {
			own := m.Clone()
			c.out = c.out[n:]
			if own.Type != protocol.Ping {
				return own
			}
			continue
		}
		if c.outEnd {
			return nil
		}
		c.cond.Wait()
	}
}

// want returns the next message that is no Ack, which comes when it is due. It must
// be of this type and for this id.
func (c *peer) want(typ protocol.Type, id string) *protocol.Message {
	c.t.Helper()
	m := c.next()
	for m != nil && m.Type == protocol.Ack {
		m = c.next()
	}
	if m == nil {
		c.t.Fatalf("the connection ended, want a message of type %d for %q", typ, id)
	}
	if m.Type != typ || m.InvocationID != id {
		c.t.Fatalf("got type %d for %q (error %q), want type %d for %q", m.Type, m.InvocationID, m.Error, typ, id)
	}
	return m
}

// wantError expects a completion with this error.
func (c *peer) wantError(id, text string) {
	c.t.Helper()
	if m := c.want(protocol.Completion, id); !m.HasError || m.Error != text {
		c.t.Fatalf("got error %q, result %q, want error %q", m.Error, m.Result.Bytes, text)
	}
}

// wantResult expects a completion with this result.
func wantResult[T comparable](c *peer, id string, want T) {
	c.t.Helper()
	m := c.want(protocol.Completion, id)
	if m.HasError {
		c.t.Fatalf("got error %q, want %v", m.Error, want)
	}
	if got := read[T](c, m.Result); got != want {
		c.t.Fatalf("got %v, want %v", got, want)
	}
}

// wantVoid expects a completion without error or a value.
func (c *peer) wantVoid(id string) {
	c.t.Helper()
	if m := c.want(protocol.Completion, id); m.HasError || (m.Result.Present() && read[any](c, m.Result) != nil) {
		c.t.Fatalf("got error %q, result %q, want neither", m.Error, m.Result.Bytes)
	}
}

// wantItem expects a stream item.
func wantItem[T comparable](c *peer, id string, want T) {
	c.t.Helper()
	if got := read[T](c, c.want(protocol.StreamItem, id).Item); got != want {
		c.t.Fatalf("got %v, want %v", got, want)
	}
}

// wantPush expects an invocation of the client with one argument.
func wantPush[T comparable](c *peer, target string, want T) {
	c.t.Helper()
	m := c.want(protocol.Invocation, "")
	var got []T
	if err := values.Decode(m.Arguments, &got); err != nil {
		c.t.Fatal(err)
	}
	if m.Target != target || len(got) != 1 || got[0] != want {
		c.t.Fatalf("got %s(%v), want %s(%v)", m.Target, got, target, want)
	}
}

func read[T any](c *peer, raw protocol.Raw) T {
	c.t.Helper()
	var v T
	if err := values.Decode(raw, &v); err != nil {
		c.t.Fatalf("%q: %v", raw.Bytes, err)
	}
	return v
}

// gate lets a test hold hub methods and see that they have begun.
type gate struct {
	begun chan string
	open  chan struct{}
	once  sync.Once
}

func newGate() *gate { return &gate{begun: make(chan string, 100), open: make(chan struct{})} }

func (g *gate) pass(ctx context.Context, name string) error {
	g.begun <- name
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *gate) release() { g.once.Do(func() { close(g.open) }) }

// expect waits for a value.
func expect[T comparable](t *testing.T, from <-chan T, want T) {
	t.Helper()
	select {
	case got := <-from:
		if got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	case <-time.After(wait):
		t.Fatalf("%v didn't come within %v", want, wait)
	}
}
