package hubs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

type profile struct {
	Name  string    `json:"name"`
	Born  time.Time `json:"born"`
	Photo []byte    `json:"photo"`
	Sizes []int32   `json:"sizes"`
	Big   uint64    `json:"big"`
}

// calc is the hub of the tests for invocations and errors.
type calc struct {
	*gate
	mu  sync.Mutex
	log []string
}

func (*calc) Echo(s string) string                           { return s }
func (*calc) Add(_ context.Context, a, b int) (int, error)   { return a + b, nil }
func (*calc) Nothing()                                       {}
func (*calc) Only(context.Context) error                     { return nil }
func (*calc) Profile(p profile) profile                      { return p }
func (*calc) Any(v any) any                                  { return v }
func (*calc) Sum(n []float64, by map[string]float64) float64 { return n[0] + by["x"] }
func (*calc) Old() string                                    { return "renamed" }
func (*calc) Secret() string                                 { return "hidden" }
func (*calc) String() string                                 { return "no hub method" }
func (*calc) OnConnected(context.Context) error              { return nil }
func (*calc) OnDisconnected(context.Context, error)          {}
func (*calc) Fail() error                                    { return errors.New("secret") }
func (*calc) FailSafely() (int, error)                       { return 0, fmt.Errorf("wrapped: %w", hubs.NewError("told")) }
func (*calc) Panic()                                         { panic("secret") }
func (*calc) Unsendable() float64                            { return math.NaN() }
func (*calc) Forbidden() error                               { return fmt.Errorf("policy: %w", hubs.ErrUnauthorized) }
func (c *calc) Wait(ctx context.Context, name string) error  { return c.pass(ctx, name) }
func (*calc) Abort(ctx context.Context)                      { hubs.FromContext(ctx).Abort() }
func (*calc) Raw(r protocol.Raw) protocol.Raw                { return r }
func (*calc) Large(n int) string                             { return strings.Repeat("x", n) }
func (*calc) Pushes(ctx context.Context, n int) error {
	call := hubs.FromContext(ctx)
	for i := range n {
		to := call.Caller()
		if i%2 == 1 {
			to = call.All()
		}
		if err := to.Send(ctx, "push", i); err != nil {
			return err
		}
	}
	return nil
}

func (c *calc) Note(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = append(c.log, s)
}

func newCalc(t *testing.T, o hubs.Options) (*hubs.Server, *calc) {
	c := &calc{gate: newGate()}
	return registered(t, hubs.Config{Options: o}, c, hubs.Rename("Old", "Renamed"), hubs.Hide("Secret")), c
}

const generic = "An unexpected error occurred invoking '%s' on the server."

func TestInvocations(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, p protocol.Protocol) {
		s, hub := newCalc(t, hubs.Options{})
		c := dial(t, s, p, "u", "c1")

		t.Run("I-01 the answer has the id of the invocation", func(t *testing.T) {
			for _, id := range []string{"1", "x/y", "ü"} {
				c.invoke(id, "Echo", "hi")
				wantResult(c, id, "hi")
			}
			c.invoke("2", "Add", 2, 3)
			wantResult(c, "2", 5)
		})
		t.Run("I-02 without an id there is no answer", func(t *testing.T) {
			c.invoke("", "Echo", "hi")
			c.invoke("", "NoSuchMethod")
			c.invoke("", "Fail")
			c.invoke("", "Echo", 1, 2)
			c.invoke("3", "Echo", "next")
			wantResult(c, "3", "next")
		})
		t.Run("I-03 a method without a value completes", func(t *testing.T) {
			c.invoke("4", "Nothing")
			c.wantVoid("4")
			c.invoke("5", "Only")
			c.wantVoid("5")
		})
		t.Run("I-04 names are found in any case", func(t *testing.T) {
			c.invoke("6", "eCHO", "hi")
			wantResult(c, "6", "hi")
		})
		t.Run("I-05 a renamed method has its new name only", func(t *testing.T) {
			c.invoke("7", "renamed")
			wantResult(c, "7", "renamed")
			c.invoke("8", "Old")
			c.wantError("8", "Failed to invoke 'Old' due to an error on the server. HubException: Method does not exist.")
		})
		t.Run("I-06 I-18 what is no hub method does not exist", func(t *testing.T) {
			for _, name := range []string{"nope", "OnConnected", "onDisconnected", "String", "Secret", "pass"} {
				c.invoke("9", name)
				c.wantError("9", "Failed to invoke '"+name+"' due to an error on the server. HubException: Method does not exist.")
			}
		})
		t.Run("I-07 the number of arguments must be right", func(t *testing.T) {
			c.invoke("10", "echo")
			c.wantError("10", "Failed to invoke 'echo' due to an error on the server.")
			c.invoke("10", "add", 1, 2, 3)
			c.wantError("10", "Failed to invoke 'add' due to an error on the server.")
		})
		t.Run("I-08 arguments must fit", func(t *testing.T) {
			c.invoke("11", "Add", "x", 2)
			c.wantError("11", "Failed to invoke 'Add' due to an error on the server.")
		})
		t.Run("I-09 values come through unchanged", func(t *testing.T) {
			for _, v := range []string{"", "grüß \"Gott\"\n\U0001F600", " "} {
				c.invoke("12", "Echo", v)
				wantResult(c, "12", v)
			}
			c.invoke("13", "Sum", []any{1, .5}, map[string]any{"x": 2, "y": nil})
			wantResult(c, "13", 3.0)
			c.invoke("14", "Any", nil)
			c.wantVoid("14")
			c.invoke("15", "Raw", []any{1, map[string]any{"a": nil}})
			if got := c.want(protocol.Completion, "15"); !bytes.Equal(got.Result.Bytes, c.raw([]any{1, map[string]any{"a": nil}}).Bytes) {
				t.Errorf("got %q", got.Result.Bytes)
			}
		})
		t.Run("I-10 bytes, dates and numbers of every width keep their type", func(t *testing.T) {
			sent := profile{Name: "n", Born: time.Date(2001, 2, 3, 4, 5, 6, 700, time.UTC), Photo: []byte{0, 255}, Sizes: []int32{math.MinInt32, 7}, Big: math.MaxUint64}
			c.invoke("16", "Profile", sent)
			got := read[profile](c, c.want(protocol.Completion, "16").Result)
			if !got.Born.Equal(sent.Born) || !bytes.Equal(got.Photo, sent.Photo) || got.Sizes[0] != sent.Sizes[0] || got.Big != sent.Big {
				t.Errorf("got %+v, want %+v", got, sent)
			}
		})
		t.Run("I-11 invocations of a client run in order", func(t *testing.T) {
			var want []string
			for i := range 300 {
				want = append(want, fmt.Sprint(i))
				c.invoke("", "Note", want[i])
			}
			c.invoke("17", "Nothing")
			c.wantVoid("17")
			hub.mu.Lock()
			defer hub.mu.Unlock()
			if strings.Join(hub.log, " ") != strings.Join(want, " ") {
				t.Errorf("ran in the order %v", hub.log)
			}
		})
		t.Run("I-13 a hundred at once get their own results", func(t *testing.T) {
			for i := range 100 {
				c.invoke(fmt.Sprint("n", i), "Add", i, 1)
			}
			for i := range 100 {
				wantResult(c, fmt.Sprint("n", i), i+1)
			}
		})
		t.Run("I-14 what a method sends comes before its completion", func(t *testing.T) {
			c.invoke("18", "Pushes", 50)
			for i := range 50 {
				wantPush(c, "push", i)
			}
			c.wantVoid("18")
		})
		t.Run("I-15 a large result comes whole", func(t *testing.T) {
			c.invoke("19", "Large", 200_000)
			wantResult(c, "19", strings.Repeat("x", 200_000))
		})
		t.Run("I-17 an unauthorized method", func(t *testing.T) {
			c.invoke("20", "forbidden")
			c.wantError("20", "Failed to invoke 'forbidden' because user is unauthorized")
		})
		t.Run("E-01 E-03 an error is not told and the connection lives", func(t *testing.T) {
			for _, name := range []string{"Fail", "Panic"} {
				c.invoke("21", name)
				c.wantError("21", fmt.Sprintf(generic, name))
			}
		})
		t.Run("E-02 an error that may be told", func(t *testing.T) {
			c.invoke("22", "FailSafely")
			c.wantError("22", fmt.Sprintf(generic, "FailSafely")+" HubException: told")
		})
		t.Run("E-14 a result that can't be sent", func(t *testing.T) {
			c.invoke("23", "Unsendable")
			c.wantError("23", fmt.Sprintf(generic, "Unsendable"))
		})
		t.Run("E-11 a method ends the connection", func(t *testing.T) {
			c.invoke("", "Abort")
			if m := c.next(); m == nil || m.Type != protocol.Close || m.HasError && m.Error != "" {
				t.Errorf("got %+v, want a Close without error", m)
			}
			if err := c.serveReturned(); !errors.Is(err, hubs.ErrClosedByServer) {
				t.Errorf("Serve returned %v", err)
			}
		})
	})
}

func TestInvocations_with_detailed_errors(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, p protocol.Protocol) {
		s, _ := newCalc(t, hubs.Options{EnableDetailedErrors: true})
		c := dial(t, s, p, "", "c1")
		for row, call := range map[string]struct {
			target string
			args   []any
			text   string
		}{
			"I-07 count": {"echo", nil, "Failed to invoke 'echo' due to an error on the server. InvalidDataException: Invocation provides 0 argument(s) but target expects 1."},
			"I-08 types": {"Add", []any{"x", 2}, "Failed to invoke 'Add' due to an error on the server. InvalidDataException: Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked."},
			"E-01 text":  {"Fail", nil, fmt.Sprintf(generic, "Fail") + " Exception: secret"},
			"E-01 panic": {"Panic", nil, fmt.Sprintf(generic, "Panic") + " Exception: the server failed"},
			"E-02 safe":  {"FailSafely", nil, fmt.Sprintf(generic, "FailSafely") + " HubException: told"},
		} {
			t.Run(row, func(t *testing.T) {
				c.invoke("1", call.target, call.args...)
				c.wantError("1", call.text)
			})
		}
		t.Run("M-07 arguments that are no array", func(t *testing.T) {
			if p.Encoding() == protocol.MessagePack {
				c.wire.send("\x0a\x95\x01\x80\xa11\xa3Add\x01")
				c.want(protocol.Completion, "1")
			}
			c.invoke("2", "Echo", "lives")
			wantResult(c, "2", "lives")
		})
	})
}

func TestInvocations_run_one_by_one_unless_more_are_allowed(t *testing.T) {
	t.Parallel()
	t.Run("I-11 the default is one", func(t *testing.T) {
		s, hub := newCalc(t, hubs.Options{})
		c := dial(t, s, protocol.NewJSON(), "", "c1")
		c.invoke("1", "Wait", "a")
		c.invoke("2", "Wait", "b")
		expect(t, hub.begun, "a")
		select {
		case name := <-hub.begun:
			t.Errorf("%s began while another ran", name)
		case <-time.After(20 * time.Millisecond):
		}
		hub.release()
		expect(t, hub.begun, "b")
		c.wantVoid("1")
		c.wantVoid("2")
	})
	t.Run("three of four run at once", func(t *testing.T) {
		s, hub := newCalc(t, hubs.Options{MaximumParallelInvocationsPerClient: 3})
		c := dial(t, s, protocol.NewJSON(), "", "c1")
		for i := range 4 {
			c.invoke(fmt.Sprint(i), "Wait", "x")
		}
		for range 3 {
			expect(t, hub.begun, "x")
		}
		select {
		case <-hub.begun:
			t.Error("a fourth began")
		case <-time.After(20 * time.Millisecond):
		}
		hub.release()
		for range 4 {
			if m := c.next(); m == nil || m.Type != protocol.Completion || m.HasError {
				t.Fatalf("got %+v", m)
			}
		}
	})
	t.Run("a full queue stops the reading, not the connection", func(t *testing.T) {
		s, hub := newCalc(t, hubs.Options{})
		c := dial(t, s, protocol.NewJSON(), "", "c1")
		c.invoke("", "Wait", "first")
		expect(t, hub.begun, "first")
		for i := range 500 {
			c.invoke(fmt.Sprint(i), "Echo", "x")
		}
		hub.release()
		for i := range 500 {
			wantResult(c, fmt.Sprint(i), "x")
		}
	})
}

func TestInvocations_of_a_connection_that_ends(t *testing.T) {
	t.Parallel()
	t.Run("a lost connection cancels them", func(t *testing.T) {
		s, hub := newCalc(t, hubs.Options{})
		c := dial(t, s, protocol.NewJSON(), "", "c1")
		c.invoke("1", "Wait", "a")
		c.invoke("2", "Wait", "never")
		expect(t, hub.begun, "a")
		c.Abort()
		if err := c.serveReturned(); err == nil {
			t.Error("Serve returned nil")
		}
		if len(hub.begun) > 0 {
			t.Errorf("%s began after the end", <-hub.begun)
		}
	})
	t.Run("what was sent just before an orderly end is done", func(t *testing.T) {
		s, hub := newCalc(t, hubs.Options{})
		c := dial(t, s, protocol.NewJSON(), "", "c1")
		for range 50 {
			c.invoke("", "Note", "x")
		}
		c.put(&protocol.Message{Type: protocol.Close})
		if err := c.serveReturned(); err != nil {
			t.Errorf("Serve returned %v", err)
		}
		if len(hub.log) != 50 {
			t.Errorf("%d of 50 were done", len(hub.log))
		}
	})
}
