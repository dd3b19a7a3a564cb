package hubs_test

import (
	"context"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

type badHub struct{}

func (badHub) Variadic(...string)                                 {}
func (badHub) LateContext(int, context.Context)                   {} //nolint:revive // that is what is refused
func (badHub) Func(func())                                        {}
func (badHub) SendChannel(chan<- int)                             {}
func (badHub) Interface(error)                                    {}
func (badHub) Duration(time.Duration)                             {}
func (badHub) PlainSequence(iter.Seq[int])                        {}
func (badHub) TwoValues() (int, string)                           { return 0, "" }
func (badHub) ThreeResults() (int, string, error)                 { return 0, "", nil }
func (badHub) ReturnsFunc() func()                                { return nil }
func (badHub) Nested(struct{ Deep []map[string]chan int })        {}
func (badHub) OnConnected()                                       {}
func (badHub) OnDisconnected(context.Context)                     {}
func (badHub) Upload(context.Context, iter.Seq2[chan int, error]) {}
func (badHub) Same()                                              {}
func (badHub) SAME()                                              {}
func (badHub) Good(context.Context, int) error                    { return nil }

type pointerHub struct{ *sync.Mutex }

func (pointerHub) Value()    {}
func (*pointerHub) Pointer() {}

func TestRegister_says_what_is_wrong(t *testing.T) {
	t.Parallel()
	_, err := hubs.Register(badHub{}, hubs.Rename("Missing", "m"), hubs.Rename("Good", ""))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"hubs_test.badHub",
		"an option names method Missing, which doesn't exist",
		"method Variadic: it takes a variable number of arguments",
		"method LateContext: parameter 2: context.Context must come first",
		"method Func: parameter 1: func() can't be read from a message",
		"method SendChannel: parameter 1: chan<- int can't be read",
		"method Interface: parameter 1: error is an interface",
		"method Duration: parameter 1: time.Duration has no agreed form",
		"method PlainSequence: parameter 1: an upload can fail: take iter.Seq2[int, error]",
		"method TwoValues: it returns 2 values",
		"method ThreeResults: it returns 2 values besides the error",
		"method ReturnsFunc: func() can't be sent",
		"field Deep",
		"method OnConnected: it must be func(context.Context) error",
		"method OnDisconnected: it must be func(context.Context, error)",
		"method Upload: parameter 2: chan int can't be read",
		"clients can't tell it from SAME",
		"method Good: Rename needs a name",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not said: %s", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
	for want, hub := range map[string]any{
		"the hub is nil": nil, "pointer receivers": pointerHub{}, "no exported methods": &struct{}{}, "*pointerHub is nil": (*pointerHub)(nil),
	} {
		if _, err := hubs.Register(hub); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestRegister_leaves_out_what_embedding_brings(t *testing.T) {
	t.Parallel()
	s := registered(t, hubs.Config{}, &pointerHub{&sync.Mutex{}})
	c := dial(t, s, protocol.NewJSON(), "", "c1")
	for _, name := range []string{"Lock", "Unlock", "TryLock"} {
		c.invoke("1", name)
		c.wantError("1", "Failed to invoke '"+name+"' due to an error on the server. HubException: Method does not exist.")
	}
	for _, name := range []string{"value", "pointer"} {
		c.invoke("1", name)
		c.wantVoid("1")
	}
}

func TestFromContext_needs_a_hub_method(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	hubs.FromContext(t.Context())
}

// callTracer is a filter that notes when it is passed.
type callTracer struct {
	name string
	log  *[]string
	mu   *sync.Mutex
}

func (f callTracer) note(s string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*f.log = append(*f.log, f.name+" "+s)
}

func (f callTracer) OnConnected(ctx context.Context, c *hubs.Connection, next func(context.Context) error) error {
	f.note("connected " + c.ID())
	return next(ctx)
}

func (f callTracer) OnInvocation(ctx context.Context, c *hubs.Connection, m *protocol.Message, next func(context.Context) error) error {
	call := hubs.FromContext(ctx)
	text := "invocation " + call.Method() + " of " + call.UserID()
	for _, a := range call.Arguments() {
		text += " " + a.(string)
	}
	f.note(text)
	err := next(ctx)
	if err != nil {
		f.note("error " + err.Error())
	}
	if err != nil && f.name == "replaces" {
		return hubs.NewError("replaced")
	}
	return err
}

func (f callTracer) OnDisconnected(ctx context.Context, _ *hubs.Connection, cause error, next func(context.Context, error)) {
	f.note("disconnected")
	next(ctx, cause)
}

func TestFilters_are_ordered(t *testing.T) {
	t.Parallel()
	var log []string
	var mu sync.Mutex
	trace := func(name string) hubs.Filter { return callTracer{name, &log, &mu} }
	s := registered(t, hubs.Config{Filters: []hubs.Filter{trace("server")}}, &calc{gate: newGate()},
		hubs.Use(trace("replaces"), trace("hub")), hubs.UseOn("Echo", trace("method")))
	c := dial(t, s, protocol.NewJSON(), "ann", "c1")
	c.invoke("1", "ECHO", "hi")
	wantResult(c, "1", "hi")
	c.invoke("2", "fail")
	c.wantError("2", "An unexpected error occurred invoking 'fail' on the server. HubException: replaced")
	c.invoke("3", "nope")
	c.wantError("3", "Failed to invoke 'nope' due to an error on the server. HubException: Method does not exist.")
	c.hangUp()
	if err := c.serveReturned(); err != nil {
		t.Error(err)
	}
	want := []string{
		"server connected c1", "replaces connected c1", "hub connected c1",
		"server invocation Echo of ann", "replaces invocation Echo of ann hi", "hub invocation Echo of ann hi", "method invocation Echo of ann hi",
		"server invocation Fail of ann", "replaces invocation Fail of ann", "hub invocation Fail of ann", "hub error secret", "replaces error secret", "server error replaced",
		"server invocation nope of ann", "server error the method does not exist",
		"server disconnected", "replaces disconnected", "hub disconnected",
	}
	if !slices.Equal(log, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(log, "\n"), strings.Join(want, "\n"))
	}
}

// twice calls next two times.
type twice struct{ hubs.PassFilter }

func (twice) OnInvocation(ctx context.Context, _ *hubs.Connection, _ *protocol.Message, next func(context.Context) error) error {
	if err := next(ctx); err != nil {
		return err
	}
	return next(ctx)
}

// stops answers without calling next, or panics.
type stops struct{ hubs.PassFilter }

func (stops) OnInvocation(_ context.Context, _ *hubs.Connection, m *protocol.Message, _ func(context.Context) error) error {
	if m.Target == "Panic" {
		panic("in a filter")
	}
	return nil
}

func TestFilters_can_not_break_an_invocation(t *testing.T) {
	t.Parallel()
	for name, option := range map[string]hubs.RegisterOption{"of the hub": hubs.Use(twice{}), "of a method": hubs.UseOn("Echo", twice{})} {
		t.Run("a method runs once: "+name, func(t *testing.T) {
			s := registered(t, hubs.Config{}, &calc{gate: newGate()}, option)
			c := dial(t, s, protocol.NewJSON(), "", "c1")
			c.invoke("1", "Echo", "x")
			c.wantError("1", "An unexpected error occurred invoking 'Echo' on the server.")
		})
	}
	for name, s := range map[string]*hubs.Server{
		"of the server": registered(t, hubs.Config{Filters: []hubs.Filter{stops{}}}, &calc{gate: newGate()}),
		"of the hub":    registered(t, hubs.Config{}, &calc{gate: newGate()}, hubs.Use(stops{})),
	} {
		t.Run("one that stops or panics: "+name, func(t *testing.T) {
			c := dial(t, s, protocol.NewJSON(), "", "c1")
			c.invoke("1", "Echo", "x")
			c.wantVoid("1")
			c.invoke("2", "Panic")
			c.wantError("2", "An unexpected error occurred invoking 'Panic' on the server.")
		})
	}
}
