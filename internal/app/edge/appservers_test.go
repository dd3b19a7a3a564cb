package edge

import (
	"context"
	"fmt"
	"iter"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/appserver"
	"github.com/signalbox/signalbox/tenants"
)

// desk is the hub of an app server.
type desk struct{ name string }

func (d *desk) Echo(_ context.Context, text string) string { return d.name + " " + text }

func (d *desk) Who(ctx context.Context) string {
	c := hubs.FromContext(ctx)
	return c.UserID() + " " + c.ConnectionID()
}

func (d *desk) Join(ctx context.Context, group string) error {
	return hubs.FromContext(ctx).Join(ctx, group)
}

// Tell sends to the caller, then to a group, then to the caller again.
func (d *desk) Tell(ctx context.Context, group, text string) error {
	c := hubs.FromContext(ctx)
	if err := c.Caller().Send(ctx, "first", text); err != nil {
		return err
	}
	if err := c.Group(group).Send(ctx, "news", text); err != nil {
		return err
	}
	return c.Caller().Send(ctx, "last", text)
}

func (d *desk) Ask(ctx context.Context, id string) (string, error) {
	return hubs.Invoke[string](ctx, hubs.FromContext(ctx).Client(id), "name")
}

func (d *desk) Count(_ context.Context, n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// app is an app server of a tenant whose edges have no other host than their own.
type app struct {
	*appserver.App
	end context.CancelFunc
}

// app connects an app server with a desk to an edge and waits until clients can be
// given to it.
func (c *cluster) app(edge int, d *tenants.Document, name string, o appserver.Options) *app {
	c.t.Helper()
	o.ServerName = name
	return c.hub(edge, d, &desk{name}, o)
}

// hub connects an app server with any hub.
func (c *cluster) hub(edge int, d *tenants.Document, of any, o appserver.Options) *app {
	c.t.Helper()
	return c.hubAt(c.edges[edge].Addr(), d, of, o)
}

// hubAt is hub by way of an address.
func (c *cluster) hubAt(address string, d *tenants.Document, of any, o appserver.Options) *app {
	c.t.Helper()
	hub, err := hubs.Register(of)
	if err != nil {
		c.t.Fatal(err)
	}
	server, err := hubs.NewServer(hubs.Config{Name: "chat", Dispatcher: hub})
	if err != nil {
		c.t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		c.t.Fatal(err)
	}
	o.Connections = 2
	ctx, end := context.WithCancel(context.Background())
	s, err := appserver.Connect(ctx, server, fmt.Sprintf("Endpoint=http://%s;Port=%s;AccessKey=%s;Version=1.0;", host, port, d.Keys[0].Secret), o)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		end()
		<-s.Done()
		_ = server.Close()
	})
	ready, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if err := s.Ready(ready); err != nil {
		c.t.Fatal(err)
	}
	return &app{s, end}
}

// called sends an invocation of chat and waits for its result.
func (k *client) called(method string, arguments ...string) string {
	k.t.Helper()
	k.write(fmt.Sprintf(`{"type":1,"invocationId":"1","target":%q,"arguments":[%s]}`, method, strings.Join(arguments, ",")))
	f := k.next()
	if f.Type != 3 || f.Error != "" {
		k.t.Fatalf("%s: got %+v", method, f)
	}
	return strings.Trim(string(f.Result), `"`)
}

// refusedWith expects a new client's handshake to fail with a text.
func (c *cluster) refusedWith(edge int, d *tenants.Document, text string) {
	c.t.Helper()
	_, _, err := c.dial(edge, edge, d, "chat", clientJWT(c.t, d, 0, "chat", "ann"))
	if err == nil || !strings.Contains(err.Error(), text) {
		c.t.Fatalf("got %v, want a handshake that fails with %q", err, text)
	}
}

// handled is the tenant demo whose hub chat has a handler.
func handled(revision int64, h tenants.Handler) *tenants.Document {
	d := document("demo", revision)
	d.Hubs = map[string]tenants.HubSettings{"chat": {Handler: h}}
	return d
}

func TestAppServer_serves_the_clients_of_every_edge(t *testing.T) {
	t.Parallel()
	d := handled(1, tenants.HandlerAppServer)
	c := startEdges(t, 3, d)
	c.app(1, d, "one", appserver.Options{})
	var all []*client
	for edge := range 3 {
		k := c.connect(edge, d, "chat", fmt.Sprint("user", edge))
		if got := k.called("Echo", `"é"`); got != "one é" {
			t.Errorf("edge %d: got %q", edge, got)
		}
		if got := k.called("Who"); !strings.HasPrefix(got, fmt.Sprint("user", edge, " ")) {
			t.Errorf("edge %d: got %q", edge, got)
		}
		k.called("Join", `"blue"`)
		all = append(all, k)
	}
	// The caller sees its direct messages and those of the group in the order of the
	// program, wherever the app server is.
	for i := range 20 {
		for edge, k := range all {
			text := fmt.Sprint(edge, ".", i)
			k.write(fmt.Sprintf(`{"type":1,"invocationId":"1","target":"Tell","arguments":["blue",%q]}`, text))
			k.want("first", text)
			k.want("news", text)
			k.want("last", text)
			if f := k.next(); f.Type != 3 || f.Error != "" {
				t.Fatalf("got %+v, want the completion", f)
			}
			for other, o := range all {
				if other != edge {
					o.want("news", text)
				}
			}
		}
	}

	// A client is asked through the app server of another.
	_, id, _ := strings.Cut(all[2].called("Who"), " ")
	all[0].write(fmt.Sprintf(`{"type":1,"invocationId":"1","target":"Ask","arguments":[%q]}`, id))
	f := all[2].next()
	if f.Type != 1 || f.Target != "name" || f.InvocationID == "" {
		t.Fatalf("got %+v, want a question", f)
	}
	all[2].write(fmt.Sprintf(`{"type":3,"invocationId":%q,"result":"Carl"}`, f.InvocationID))
	if f := all[0].next(); string(f.Result) != `"Carl"` {
		t.Errorf("got %+v, want the answer", f)
	}

	// Streams, and what the edge answers by itself.
	all[0].write(`{"type":4,"invocationId":"s","target":"Count","arguments":[3]}`)
	for range 3 {
		if f := all[0].next(); f.Type != 2 {
			t.Fatalf("got %+v, want an item", f)
		}
	}
	if f := all[0].next(); f.Type != 3 || f.Error != "" {
		t.Errorf("got %+v, want the end of the stream", f)
	}
	all[0].write(`{"type":1,"invocationId":"1","target":"$joinGroup","arguments":["red"]}`)
	if f := all[0].next(); f.Type != 3 || !strings.Contains(f.Error, "permission_denied") {
		t.Errorf("got %+v, want a refusal by the edge", f)
	}
}

func TestAppServer_takes_clients_over_that_nobody_handled(t *testing.T) {
	t.Parallel()
	d := document("demo", 1) // auto
	c := startCluster(t, d)
	k := c.connect(0, d, "chat", "ann")
	k.write(`{"type":1,"invocationId":"1","target":"Echo","arguments":["x"]}`)
	if f := k.next(); !strings.Contains(f.Error, "has no handler") {
		t.Fatalf("got %+v", f)
	}
	a := c.app(1, d, "one", appserver.Options{Migration: appserver.DropClients})
	k.wantClose("handler_changed", true)
	k = c.connect(0, d, "chat", "ann")
	if got := k.called("Echo", `"x"`); got != "one x" {
		t.Errorf("got %q", got)
	}
	// When it goes, nobody is served by halves.
	a.end()
	k.wantClose("", true)
	<-a.Done()
	for edge := range 2 {
		c.eventually("the app server is known to be gone", func() bool {
			k, _, err := c.dial(edge, edge, d, "chat", clientJWT(t, d, 0, "chat", "ann"))
			if err == nil {
				k.ws.CloseNow()
			}
			return err != nil && strings.Contains(err.Error(), "no_app_server")
		})
	}
}

func TestAppServer_that_isn_t_there_is_missed_or_not_by_the_setting(t *testing.T) {
	t.Parallel()
	d := handled(1, tenants.HandlerAppServer)
	c := startCluster(t, d)
	c.refusedWith(0, d, "no_app_server: No app server is connected to hub 'chat'.")
	a := c.app(0, d, "one", appserver.Options{})
	k := c.connect(1, d, "chat", "ann")
	if got := k.called("Echo", `"x"`); got != "one x" {
		t.Errorf("got %q", got)
	}
	// Another handler has its clients at once, and the app server is told.
	c.publish(handled(2, tenants.HandlerBroadcast))
	k.wantClose("", true)
	c.eventually("the setting is in force", func() bool {
		k := c.connect(1, d, "chat", "ann")
		k.write(`{"type":1,"invocationId":"1","target":"Echo","arguments":["x"]}`)
		return strings.Contains(k.next().Error, "has no handler")
	})
	// And back.
	broadcast := c.connect(0, d, "chat", "bob")
	c.publish(handled(3, tenants.HandlerAppServer))
	broadcast.wantClose("handler_changed", true)
	ready, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := a.Ready(ready); err != nil {
		t.Fatal(err)
	}
	c.eventually("the app server serves again", func() bool {
		k, _, err := c.dial(0, 0, d, "chat", clientJWT(t, d, 0, "chat", "ann"))
		return err == nil && k.called("Echo", `"x"`) == "one x"
	})
}

func TestAppServer_that_stops_has_its_clients_moved(t *testing.T) {
	t.Parallel()
	d := handled(1, tenants.HandlerAppServer)
	c := startEdges(t, 3, d)
	one := c.app(0, d, "one", appserver.Options{})
	var all []*client
	for edge := range 3 {
		for range 2 {
			k := c.connect(edge, d, "chat", "ann")
			k.called("Join", `"blue"`)
			all = append(all, k)
		}
	}
	c.app(1, d, "two", appserver.Options{})
	var calls atomic.Int64
	stop := make(chan struct{})
	sending := make(chan struct{})
	go func() { // messages to the group go on meanwhile
		defer close(sending)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				c.send(i%3, d, "chat", "tick", fmt.Sprint(i))
				calls.Add(1)
			}
		}
	}()
	shut, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := one.Shutdown(shut); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	c.eventually("some more messages", func() bool { n := calls.Load(); return n > 20 })
	close(stop)
	<-sending
	total := calls.Load()
	for _, k := range all {
		k.write(`{"type":1,"invocationId":"e","target":"Echo","arguments":["x"]}`)
		ticks, echoed := int64(0), false
		for ticks < total || !echoed {
			switch f := k.next(); {
			case f.Target == "tick" && string(f.Arguments) == fmt.Sprintf("[%q]", fmt.Sprint(ticks)):
				ticks++ // each once, in order
			case f.Type == 3 && string(f.Result) == `"two x"`:
				echoed = true
			default:
				t.Fatalf("got %+v after %d messages", f, ticks)
			}
		}
	}
	// They are still in their groups.
	all[0].write(`{"type":1,"invocationId":"1","target":"Tell","arguments":["blue","hello"]}`)
	for _, k := range all[1:] {
		k.want("news", "hello")
	}
}

func TestAppServer_of_an_edge_that_goes(t *testing.T) {
	t.Parallel()
	d := handled(1, tenants.HandlerAppServer)
	c := startEdges(t, 3, d)
	c.app(0, d, "one", appserver.Options{})
	k := c.connect(2, d, "chat", "ann")
	if got := k.called("Echo", `"x"`); got != "one x" {
		t.Errorf("got %q", got)
	}
	c.app(1, d, "two", appserver.Options{})
	if err := c.ends[0](); err != nil {
		t.Errorf("the edge ends: %v", err)
	}
	// Its clients have been moved before it went, or told.
	k.write(`{"type":1,"invocationId":"1","target":"Echo","arguments":["x"]}`)
	switch f := k.next(); {
	case f.Type == 3 && string(f.Result) == `"two x"`:
	case f.Type == 7 && f.AllowReconnect:
		t.Log("told to come back")
	default:
		t.Errorf("got %+v", f)
	}
	k = c.connect(2, d, "chat", "ann")
	if got := k.called("Echo", `"x"`); got != "two x" {
		t.Errorf("got %q", got)
	}
}

func TestAppServer_knows_nothing_of_stateful_reconnect(t *testing.T) {
	t.Parallel()
	d := handled(1, tenants.HandlerAppServer)
	c := startCluster(t, d)
	c.app(0, d, "one", appserver.Options{})
	s := c.stateful(1, d, "chat", "ann")
	s.called("Join", `"blue"`)
	for i := range 4 {
		text := fmt.Sprint(i)
		s.write(fmt.Sprintf(`{"type":1,"target":"Tell","arguments":["blue",%q]}`, text))
		s.want("first", text)
		s.ws.CloseNow()
		s.open(i % 2)
		s.write(fmt.Sprintf(`{"type":9,"sequenceId":%d}`, i+3))
		if f := s.next(); f.Type != 9 {
			t.Fatalf("got %+v, want a Sequence", f)
		}
		// All is numbered and sent again: the completion of Join, and three messages
		// of each Tell.
		if f := s.next(); f.Type != 3 {
			t.Fatalf("got %+v, want the completion of Join", f)
		}
		for n := range i + 1 {
			s.want("first", fmt.Sprint(n))
			s.want("news", fmt.Sprint(n))
			s.want("last", fmt.Sprint(n))
		}
	}
}

func TestAppServer_is_told_of_the_request(t *testing.T) {
	t.Parallel()
	d := handled(1, tenants.HandlerAppServer)
	c := startCluster(t, d)
	seen := make(chan hubs.ConnectionInfo, 10)
	c.hub(0, d, &watched{seen}, appserver.Options{})
	if _, _, err := c.dial(1, 1, d, "chat&room=blue", clientJWT(t, d, 0, "chat", "ann")); err != nil {
		t.Fatal(err)
	}
	info := <-seen
	if info.Principal.UserID != "ann" || info.Query["room"][0] != "blue" || len(info.Query["access_token"]) > 0 || len(info.Headers["Authorization"]) > 0 {
		t.Errorf("the app server was told %+v", info)
	}
	if got := http.Header(info.Headers).Get("User-Agent"); !strings.HasPrefix(got, "Go-http-client") {
		t.Errorf("user agent %q", got)
	}
}

// watched is a hub that tells who connects.
type watched struct{ seen chan hubs.ConnectionInfo }

func (w *watched) OnConnected(ctx context.Context) error {
	w.seen <- hubs.FromContext(ctx).Connection().Info()
	return nil
}
