package backplanetest

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// stepper is a hub whose method talks to its caller and to a group by turns,
// and returns last.
type stepper struct{}

func (stepper) Join(ctx context.Context) error { return hubs.FromContext(ctx).Join(ctx, "g") }

func (stepper) Step(ctx context.Context, from int) (int, error) {
	c := hubs.FromContext(ctx)
	for i, to := range []hubs.Target{c.Caller(), c.Group("g"), c.Caller(), c.Group("g")} {
		if err := to.Send(ctx, "n", from+i); err != nil {
			return 0, err
		}
	}
	return from + 4, nil
}

// methodKeepsOrder: direct messages to the caller don't overtake entries of the
// same method, nor the reverse; and a client in the group elsewhere sees its part.
func methodKeepsOrder(t *testing.T, open Open) {
	b := open(t, 2)
	caller, listener := dial(t, serverOf(t, b[0]), "caller"), dial(t, serverOf(t, b[1]), "listener")
	for _, c := range []*client{caller, listener} {
		c.invoke("j", "Join", "")
		c.expect(`{"type":3,"invocationId":"j","result":null}`)
	}
	const steps = 200
	for i := range steps {
		caller.invoke("s", "Step", fmt.Sprint(5*i))
	}
	for i := range steps {
		for k := range 4 {
			caller.expect(fmt.Sprintf(`{"type":1,"target":"n","arguments":[%d]}`, 5*i+k))
		}
		caller.expect(fmt.Sprintf(`{"type":3,"invocationId":"s","result":%d}`, 5*i+4))
		listener.expect(fmt.Sprintf(`{"type":1,"target":"n","arguments":[%d]}`, 5*i+1))
		listener.expect(fmt.Sprintf(`{"type":1,"target":"n","arguments":[%d]}`, 5*i+3))
	}
}

// clientOfAnotherNodeAnswers: a node can ask a client that another one has.
func clientOfAnotherNodeAnswers(t *testing.T, open Open) {
	b := open(t, 2)
	near, far := serverOf(t, b[0]), dial(t, serverOf(t, b[1]), "far")
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := hubs.Invoke[string](t.Context(), near.Context().Client("far"), "ask", 1)
		got <- answer{text, err}
	}()
	var m protocol.Message
	record := far.next()
	if _, err := protocol.NewJSON().Parse([]byte(record+"\x1e"), &m); err != nil || m.Type != protocol.Invocation || m.InvocationID == "" {
		t.Fatalf("the client got %s", record)
	}
	far.send(fmt.Sprintf(`{"type":3,"invocationId":%q,"result":"yes"}`, m.InvocationID))
	select {
	case a := <-got:
		if a.text != "yes" || a.err != nil {
			t.Errorf("got %q, %v", a.text, a.err)
		}
	case <-time.After(wait):
		t.Fatalf("no answer within %v", wait)
	}
	if _, err := hubs.Invoke[string](t.Context(), near.Context().Client("nobody"), "ask"); err == nil || err.Error() != "Connection 'nobody' does not exist." {
		t.Errorf("asking nobody: %v", err)
	}
}

func serverOf(t *testing.T, b hubs.Backplane) *hubs.Server {
	t.Helper()
	d, err := hubs.Register(stepper{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := hubs.NewServer(hubs.Config{Name: "chat", Dispatcher: d, Backplane: b})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// client is a hubs.Transport in memory, with the client's end in its methods.
type client struct {
	t     *testing.T
	ended chan struct{}

	mu      sync.Mutex
	changed *sync.Cond
	in, out []byte
	over    bool
}

func dial(t *testing.T, s *hubs.Server, id string) *client { return dialAs(t, s, id, "") }

func dialAs(t *testing.T, s *hubs.Server, id, user string) *client {
	t.Helper()
	c := &client{t: t, ended: make(chan struct{})}
	c.changed = sync.NewCond(&c.mu)
	go func() {
		defer close(c.ended)
		_ = s.Serve(context.Background(), hubs.ConnectionInfo{ID: id, Principal: hubs.Principal{UserID: user}}, c) // ends with the server
	}()
	t.Cleanup(func() {
		c.Abort()
		<-c.ended
	})
	c.send(`{"protocol":"json","version":1}`)
	c.expect("{}")
	return c
}

func (*client) Kind() hubs.TransportKind          { return hubs.WebSockets }
func (*client) SetFormat(protocol.TransferFormat) {}
func (c *client) Close(hubs.Ending)               { c.Abort() }

func (c *client) Abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.changed.Broadcast()
}

func (c *client) Wait() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.in) == 0 && !c.over {
		c.changed.Wait()
	}
	if len(c.in) == 0 {
		return io.ErrClosedPipe
	}
	return nil
}

func (c *client) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *client) Write(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return io.ErrClosedPipe
	}
	c.out = append(c.out, p...)
	c.changed.Broadcast()
	return nil
}

func (c *client) send(record string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in = append(append(c.in, record...), 0x1e)
	c.changed.Broadcast()
}

func (c *client) invoke(id, method, argument string) {
	c.send(fmt.Sprintf(`{"type":1,"invocationId":%q,"target":%q,"arguments":[%s]}`, id, method, argument))
}

// next returns the next record, without its end.
func (c *client) next() string {
	c.t.Helper()
	timer := time.AfterFunc(wait, c.Abort)
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for i, b := range c.out {
			if b == 0x1e {
				record := string(c.out[:i])
				c.out = c.out[i+1:]
				return record
			}
		}
		if c.over {
			c.t.Fatalf("nothing came within %v", wait)
		}
		c.changed.Wait()
	}
}

func (c *client) expect(want string) {
	c.t.Helper()
	if got := c.next(); got != want {
		c.t.Fatalf("got %s, want %s", got, want)
	}
}
