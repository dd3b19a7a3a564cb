package hubs_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// feed is the hub of the tests for streams, both ways.
type feed struct {
	*gate
	ended chan error // contexts that were cancelled
}

func (*feed) Count(_ context.Context, n int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
	}
}

func (*feed) Plain(n int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range n {
			if !yield(fmt.Sprint(i)) {
				return
			}
		}
	}
}

func (*feed) Channel(n int) (<-chan int, error) {
	c := make(chan int, n)
	for i := range n {
		c <- i
	}
	close(c)
	return c, nil
}

// Endless yields numbers until its context is done and says so.
func (f *feed) Endless(ctx context.Context) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := 0; yield(i, nil); i++ {
			if i == 2 {
				<-ctx.Done()
				f.ended <- context.Cause(ctx)
				yield(0, ctx.Err())
				return
			}
		}
	}
}

// Flood yields as fast as it is let.
func (f *feed) Flood(ctx context.Context) iter.Seq[string] {
	return func(yield func(string) bool) {
		n := 0
		for yield(strings.Repeat("x", 1000)) {
			n++
			if n == 1000 {
				f.begun <- "a thousand items"
			}
		}
		f.ended <- context.Cause(ctx)
	}
}

func (f *feed) Slow(ctx context.Context, name string) (iter.Seq[int], error) {
	if err := f.pass(ctx, name); err != nil {
		return nil, err
	}
	return func(yield func(int) bool) { yield(1) }, nil
}

func (*feed) FailFirst() (iter.Seq[int], error) { return nil, errors.New("m") }
func (*feed) Nil() iter.Seq[int]                { return nil }
func (*feed) Value() int                        { return 1 }

func (*feed) FailLater(kind string) iter.Seq2[float64, error] {
	return func(yield func(float64, error) bool) {
		_ = yield(1, nil) && yield(2, nil)
		switch kind {
		case "panic":
			panic("m")
		case "unsendable":
			yield(math.NaN(), nil)
		case "safe":
			yield(0, hubs.NewError("m"))
		default:
			yield(0, errors.New("m"))
		}
	}
}

func (*feed) Concat(_ context.Context, parts iter.Seq2[string, error], sep string) (string, error) {
	var all []string
	for p, err := range parts {
		if err != nil {
			return "", err
		}
		all = append(all, p)
	}
	return strings.Join(all, sep), nil
}

func (*feed) Zip(a <-chan int, b iter.Seq2[string, error], c <-chan int) string {
	text := ""
	for s := range b {
		text += s
	}
	for n := range a {
		text += fmt.Sprint(n)
	}
	for n := range c {
		text += fmt.Sprint(-n)
	}
	return text
}

func (*feed) Double(_ context.Context, numbers iter.Seq2[int, error]) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for n, err := range numbers {
			if !yield(2*n, err) {
				return
			}
		}
	}
}

func (*feed) First(_ context.Context, numbers iter.Seq2[int, error]) int {
	for n := range numbers {
		return n
	}
	return -1
}

func (f *feed) Drain(ctx context.Context, numbers <-chan int) error {
	n := 0
	for range numbers {
		n++
	}
	f.ended <- context.Cause(ctx)
	return context.Cause(ctx)
}

func (f *feed) Hold(ctx context.Context, numbers iter.Seq2[int, error]) (int, error) {
	if err := f.pass(ctx, "hold"); err != nil {
		return 0, err
	}
	n := 0
	for range numbers {
		n++
	}
	return n, nil
}

func newFeed(t *testing.T, o hubs.Options) (*hubs.Server, *feed) {
	f := &feed{gate: newGate(), ended: make(chan error, 20)}
	return registered(t, hubs.Config{Options: o}, f), f
}

const notStreaming = "An error occurred on the server while streaming results."

func TestStreams_to_the_client(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, p protocol.Protocol) {
		s, hub := newFeed(t, hubs.Options{})
		c := dial(t, s, p, "", "c1")

		t.Run("S-01 items in order, then the end", func(t *testing.T) {
			c.stream("1", "Count", 3)
			for i := range 3 {
				wantItem(c, "1", i)
			}
			if m := c.want(protocol.Completion, "1"); m.HasError || m.Result.Present() {
				t.Errorf("got %+v", m)
			}
			c.stream("2", "Plain", 2)
			wantItem(c, "2", "0")
			wantItem(c, "2", "1")
			c.wantVoid("2")
			c.stream("3", "Channel", 2)
			wantItem(c, "3", 0)
			wantItem(c, "3", 1)
			c.wantVoid("3")
		})
		t.Run("S-02 an empty stream", func(t *testing.T) {
			for _, name := range []string{"Count", "Plain", "Channel"} {
				c.stream("1", name, 0)
				c.wantVoid("1")
			}
		})
		t.Run("S-03 an error before streaming", func(t *testing.T) {
			c.stream("1", "FailFirst")
			c.wantError("1", fmt.Sprintf(generic, "FailFirst"))
		})
		t.Run("S-04 S-14 an error while streaming comes after the items", func(t *testing.T) {
			for kind, text := range map[string]string{"plain": notStreaming, "panic": notStreaming, "unsendable": notStreaming, "safe": notStreaming + " HubException: m"} {
				c.stream("1", "FailLater", kind)
				wantItem(c, "1", 1.0)
				wantItem(c, "1", 2.0)
				c.wantError("1", text)
			}
		})
		t.Run("S-05 the client cancels", func(t *testing.T) {
			c.stream("1", "Endless")
			for i := range 3 {
				wantItem(c, "1", i)
			}
			c.put(&protocol.Message{Type: protocol.CancelInvocation, InvocationID: "1"})
			c.wantVoid("1")
			if err := <-hub.ended; err == nil {
				t.Error("the context has no cause")
			}
			c.stream("1", "Count", 0)
			c.wantVoid("1")
		})
		t.Run("S-07 a cancel of nothing", func(t *testing.T) {
			c.put(&protocol.Message{Type: protocol.CancelInvocation, InvocationID: "nope"})
			c.invoke("1", "Value")
			wantResult(c, "1", 1)
		})
		t.Run("S-08 SEC-24 an id in use", func(t *testing.T) {
			c.stream("1", "Endless")
			for i := range 3 {
				wantItem(c, "1", i)
			}
			c.stream("1", "Count", 1)
			c.wantError("1", "Invocation ID '1' is already in use.")
			c.put(&protocol.Message{Type: protocol.CancelInvocation, InvocationID: "1"})
			c.wantVoid("1")
			<-hub.ended
		})
		t.Run("S-09 an invocation of a streaming method", func(t *testing.T) {
			c.invoke("1", "count", 1)
			c.wantError("1", "The client attempted to invoke the streaming 'count' method with a non-streaming invocation.")
		})
		t.Run("S-10 a stream of a plain method", func(t *testing.T) {
			c.stream("1", "value")
			c.wantError("1", "The client attempted to invoke the non-streaming 'value' method with a streaming invocation.")
		})
		t.Run("S-11 no stream", func(t *testing.T) {
			c.stream("1", "Nil")
			c.wantError("1", "The value returned by the streaming method 'Nil' is not a ChannelReader<> or IAsyncEnumerable<>.")
		})
		t.Run("S-12 I-12 streams are independent and block nobody", func(t *testing.T) {
			c.stream("a", "Endless")
			for i := range 3 {
				wantItem(c, "a", i)
			}
			c.stream("b", "Endless")
			for i := range 3 {
				wantItem(c, "b", i)
			}
			c.invoke("1", "Value")
			wantResult(c, "1", 1)
			c.put(&protocol.Message{Type: protocol.CancelInvocation, InvocationID: "a"})
			c.wantVoid("a")
			c.stream("2", "Count", 1)
			wantItem(c, "2", 0)
			c.wantVoid("2")
			c.put(&protocol.Message{Type: protocol.CancelInvocation, InvocationID: "b"})
			c.wantVoid("b")
			<-hub.ended
			<-hub.ended
		})
		t.Run("S-13 a thousand items", func(t *testing.T) {
			c.stream("1", "Count", 1000)
			for i := range 1000 {
				wantItem(c, "1", i)
			}
			c.wantVoid("1")
		})
		t.Run("ten at once", func(t *testing.T) {
			for i := range 10 {
				id := fmt.Sprint("s", i)
				c.stream(id, "Endless")
				for i := range 3 {
					wantItem(c, id, i)
				}
			}
			c.stream("eleven", "Count", 1)
			c.wantError("eleven", fmt.Sprintf(generic, "Count")+" HubException: At most 10 streams can be open at once.")
		})
		t.Run("S-06 the end of the connection cancels", func(t *testing.T) {
			c.Abort()
			for range 10 {
				select {
				case <-hub.ended:
				case <-time.After(wait):
					t.Fatal("not cancelled")
				}
			}
			_ = c.serveReturned()
		})
	})
}

func TestStreams_block_others_until_they_begin(t *testing.T) {
	t.Parallel()
	s, hub := newFeed(t, hubs.Options{})
	c := dial(t, s, protocol.NewJSON(), "", "c1")
	t.Run("I-12", func(t *testing.T) {
		c.stream("1", "Slow", "x")
		expect(t, hub.begun, "x")
		c.invoke("2", "Value")
		hub.release()
		// From when the stream begins the two run side by side.
		got := make(map[string][]protocol.Type)
		for range 3 {
			m := c.next()
			got[m.InvocationID] = append(got[m.InvocationID], m.Type)
		}
		want := map[string][]protocol.Type{"1": {protocol.StreamItem, protocol.Completion}, "2": {protocol.Completion}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestStreams_wait_for_a_client_that_does_not_read(t *testing.T) {
	t.Parallel()
	s, hub := newFeed(t, hubs.Options{})
	c := dial(t, s, protocol.NewJSON(), "", "c1")
	c.stall(true)
	c.stream("1", "Flood")
	select {
	case <-hub.begun:
		t.Error("the stream ran ahead of its client")
	case <-time.After(50 * time.Millisecond):
	}
	c.stall(false)
	expect(t, hub.begun, "a thousand items")
	c.Abort()
	if err := <-hub.ended; err == nil {
		t.Error("the context has no cause")
	}
	if err := c.serveReturned(); errors.Is(err, hubs.ErrSlowConsumer) {
		t.Error("a stream made its client a slow consumer")
	}
}

func TestStreams_from_the_client(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, p protocol.Protocol) {
		s, hub := newFeed(t, hubs.Options{})
		c := dial(t, s, p, "", "c1")

		t.Run("U-01 the method gets the items", func(t *testing.T) {
			c.upload("1", "Concat", []string{"s"}, "-")
			for _, v := range []string{"a", "b", "c"} {
				c.item("s", v)
			}
			c.complete("s")
			wantResult(c, "1", "a-b-c")
		})
		t.Run("U-02 a stream that ends with an error", func(t *testing.T) {
			c.upload("1", "Concat", []string{"s"}, "")
			c.item("s", "a")
			c.fail("s", "Something bad")
			c.wantError("1", fmt.Sprintf(generic, "Concat")+" HubException: Something bad")
			c.upload("2", "Drain", []string{"s"})
			c.fail("s", "Something bad")
			c.wantError("2", fmt.Sprintf(generic, "Drain")+" HubException: Something bad")
			<-hub.ended
		})
		t.Run("U-03 streams are matched by position", func(t *testing.T) {
			c.upload("1", "Zip", []string{"z", "y", "x"})
			c.item("x", 3)
			c.item("z", 1)
			c.item("y", "b")
			for _, id := range []string{"x", "z", "y"} {
				c.complete(id)
			}
			wantResult(c, "1", "b1-3")
		})
		t.Run("U-04 both ways at once", func(t *testing.T) {
			c.put(&protocol.Message{Type: protocol.StreamInvocation, InvocationID: "1", Target: "Double", Arguments: c.args(nil), StreamIDs: []string{"s"}})
			for i := range 5 {
				c.item("s", i)
				wantItem(c, "1", 2*i)
			}
			c.complete("s")
			c.wantVoid("1")
		})
		t.Run("U-05 an item of the wrong type fails its stream", func(t *testing.T) {
			c.upload("1", "Concat", []string{"s"}, "")
			c.item("s", []int{1})
			c.wantError("1", fmt.Sprintf(generic, "Concat")+" HubException: Failed to bind Stream message.")
			c.complete("s")
		})
		t.Run("U-06 what belongs to no stream is ignored", func(t *testing.T) {
			c.item("nope", 1)
			c.complete("nope")
			c.fail("nope", "x")
			c.invoke("1", "Value")
			wantResult(c, "1", 1)
		})
		t.Run("U-07 the number of streams must be right", func(t *testing.T) {
			c.upload("1", "Concat", []string{"a", "b"}, "")
			c.wantError("1", fmt.Sprintf(generic, "Concat")+" HubException: Client sent 2 stream(s), Hub method expects 1.")
			c.invoke("2", "Concat", "")
			c.wantError("2", fmt.Sprintf(generic, "Concat")+" HubException: Client sent 0 stream(s), Hub method expects 1.")
			c.upload("3", "Value", []string{"a"})
			c.wantError("3", fmt.Sprintf(generic, "Value")+" HubException: Client sent 1 stream(s), Hub method expects 0.")
		})
		t.Run("U-08 other calls are answered meanwhile", func(t *testing.T) {
			c.upload("1", "Concat", []string{"s"}, "")
			c.invoke("2", "Value")
			wantResult(c, "2", 1)
			c.complete("s")
			wantResult(c, "1", "")
		})
		t.Run("U-09 items after the answer are ignored", func(t *testing.T) {
			c.upload("1", "First", []string{"s"})
			c.item("s", 7)
			wantResult(c, "1", 7)
			for range 50 {
				c.item("s", 8)
			}
			c.complete("s")
			c.invoke("2", "Value")
			wantResult(c, "2", 1)
		})
		t.Run("U-10 many items", func(t *testing.T) {
			c.upload("1", "Concat", []string{"s"}, "")
			for range 500 {
				c.item("s", "x")
			}
			c.complete("s")
			wantResult(c, "1", strings.Repeat("x", 500))
		})
		t.Run("U-11 an empty stream", func(t *testing.T) {
			c.upload("1", "First", []string{"s"})
			c.complete("s")
			wantResult(c, "1", -1)
		})
		t.Run("SEC-24 ten at once", func(t *testing.T) {
			for i := range 10 {
				c.upload(fmt.Sprint("u", i), "First", []string{fmt.Sprint("o", i)})
			}
			c.upload("eleven", "First", []string{"s"})
			c.wantError("eleven", fmt.Sprintf(generic, "First")+" HubException: At most 10 upload streams can be open at once.")
			c.upload("twice", "Zip", []string{"a", "a", "b"})
			c.want(protocol.Completion, "twice")
			for i := range 10 {
				c.complete(fmt.Sprint("o", i))
				wantResult(c, fmt.Sprint("u", i), -1)
			}
			c.upload("twice", "Zip", []string{"a", "a", "b"})
			c.wantError("twice", fmt.Sprintf(generic, "Zip")+" HubException: Stream ID 'a' is already in use.")
		})
		t.Run("the end of the connection ends them", func(t *testing.T) {
			c.upload("1", "Drain", []string{"s"})
			c.invoke("2", "Value")
			wantResult(c, "2", 1)
			c.Abort()
			if err := <-hub.ended; err == nil {
				t.Error("the context has no cause")
			}
			_ = c.serveReturned()
		})
	})
}

func TestUploads_wait_for_the_method(t *testing.T) {
	t.Parallel()
	s, hub := newFeed(t, hubs.Options{StreamBufferCapacity: 4})
	c := dial(t, s, protocol.NewJSON(), "", "c1")
	t.Run("U-10 a full buffer stops the reading", func(t *testing.T) {
		c.upload("1", "Hold", []string{"s"})
		expect(t, hub.begun, "hold")
		for i := range 1000 {
			c.item("s", i)
		}
		c.complete("s")
		c.invoke("2", "Value")
		if n := len(c.unread()); n == 0 {
			t.Error("the server has read everything")
		}
		hub.release()
		for _, id := range []string{"1", "2"} {
			m := c.next()
			if m.HasError {
				t.Errorf("%s: %s", id, m.Error)
			}
		}
	})
}

// unread waits until the server stops reading and returns what it hasn't read.
func (c *peer) unread() string {
	last, since := -1, 0
	for since < 20 {
		time.Sleep(time.Millisecond)
		c.mu.Lock()
		n := len(c.in)
		c.mu.Unlock()
		if n == last {
			since++
		} else {
			last, since = n, 0
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.in)
}

// SEC-24: what a client opens is bounded, and ends when nothing comes of it.
func TestSEC_24_open_streams_and_invocations_are_bounded(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, p protocol.Protocol) {
		t.Run("an upload that nothing comes of fails", func(t *testing.T) {
			counted := new(meter)
			hub := &feed{gate: newGate(), ended: make(chan error, 20)}
			s := registered(t, hubs.Config{Meter: counted, Options: hubs.Options{
				UploadIdleTimeout: 50 * time.Millisecond, ClientTimeoutInterval: 50 * time.Millisecond, // how often is looked
			}}, hub)
			c := dial(t, s, p, "", "c1")
			const text = "The stream had no item for 50ms."
			c.upload("1", "Concat", []string{"s"}, "")
			c.item("s", "x")
			c.wantError("1", fmt.Sprintf(generic, "Concat")+" HubException: "+text)
			c.upload("2", "Drain", []string{"s"})
			if err := <-hub.ended; err == nil || err.Error() != text {
				t.Errorf("the method was told %v, want %q", err, text)
			}
			c.wantError("2", fmt.Sprintf(generic, "Drain")+" HubException: "+text)
			c.item("s", 1) // belongs to nothing now
			c.complete("s")
			c.invoke("3", "Value")
			wantResult(c, "3", 1)
			counted.get(func() {
				if counted.refused[hubs.RefusedIdleStream] != 2 {
					t.Errorf("counted %v", counted.refused)
				}
			})
		})
		t.Run("an upload has five minutes, and ten items wait", func(t *testing.T) {
			s, _ := newFeed(t, hubs.Options{})
			if o := s.Options(); o.UploadIdleTimeout != 5*time.Minute || o.StreamBufferCapacity != 10 {
				t.Errorf("it has %v, and %d wait", o.UploadIdleTimeout, o.StreamBufferCapacity)
			}
		})
		t.Run("an item for the stream of another client", func(t *testing.T) {
			s, _ := newFeed(t, hubs.Options{})
			c, foreign := dial(t, s, p, "", "c1"), dial(t, s, p, "", "c2")
			c.upload("1", "Concat", []string{"s"}, "")
			c.item("s", "mine")
			foreign.item("s", "foreign")
			foreign.complete("s")
			foreign.invoke("1", "Value")
			wantResult(foreign, "1", 1)
			c.item("s", "too")
			c.complete("s")
			wantResult(c, "1", "minetoo")
		})
		t.Run("more streams than there may be", func(t *testing.T) {
			s, _ := newFeed(t, hubs.Options{})
			c, neighbour := dial(t, s, p, "", "c1"), dial(t, s, p, "", "c2")
			ids := make([]string, 100)
			for i := range ids {
				ids[i] = fmt.Sprint("s", i)
			}
			c.upload("many", "Concat", ids, "")
			c.want(protocol.Close, "")
			neighbour.invoke("1", "Value")
			wantResult(neighbour, "1", 1)
		})
		t.Run("ten thousand invocations that don't end", func(t *testing.T) {
			s, hub := newFeed(t, hubs.Options{})
			c, neighbour := dial(t, s, p, "", "c1"), dial(t, s, p, "", "c2")
			for i := range 10_001 {
				c.stream(fmt.Sprint(i), "Slow", "slow")
			}
			expect(t, hub.begun, "slow")
			if n := len(c.unread()); n == 0 {
				t.Error("the server has taken in everything")
			}
			neighbour.invoke("1", "Value")
			wantResult(neighbour, "1", 1)
			conn, _ := s.Connection("c1")
			conn.Abort()
			_ = c.serveReturned()
		})
	})
}
