package edge

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/appserver"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// hostile is a hub that would serve the service's own methods.
type hostile struct{}

func (hostile) Join(string) string { return "hacked" }

func (hostile) Echo(text string) string { return text }

// calls keeps what a hub is called with.
type calls struct {
	hubs.PassFilter
	mu   sync.Mutex
	seen []string
}

func (h *calls) OnInvocation(ctx context.Context, _ *hubs.Connection, m *protocol.Message, next func(context.Context) error) error {
	h.mu.Lock()
	h.seen = append(h.seen, m.Target)
	h.mu.Unlock()
	return next(ctx)
}

// A Go hub behind the service never sees a name that begins with $, not even one
// that it has a method for; with its client on another edge, too.
func TestNoHubSeesClientMethods(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	demo.Hubs = map[string]tenants.HubSettings{"chat": {Handler: tenants.HandlerAppServer}}
	c := startCluster(t, demo)
	hub := new(calls)
	dispatcher, err := hubs.Register(hostile{}, hubs.Rename("Join", "$joinGroup"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := hubs.NewServer(hubs.Config{Name: "chat", Dispatcher: dispatcher, Filters: []hubs.Filter{hub}})
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(c.edges[0].Addr())
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	app, err := appserver.Connect(ctx, server, fmt.Sprintf("Endpoint=http://%s;Port=%s;AccessKey=%s;Version=1.0;", host, port, demo.Keys[0].Secret), appserver.Options{Connections: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		end()
		<-app.Done()
		_ = server.Close()
	})
	ready, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := app.Ready(ready); err != nil {
		t.Fatal(err)
	}
	for edge := range c.edges {
		k := c.with(edge, demo, mintClient(t, demo, accesstoken.ClientOptions{UserID: "ann", Permissions: []string{"joinGroup:room"}}).Token)
		if got := k.called("Echo", `"hello"`); !strings.Contains(got, "hello") {
			t.Fatalf("the hub answers %s", got)
		}
		if f := k.done("$joinGroup", "room"); f.Result != nil {
			t.Errorf("$joinGroup was answered with %s", f.Result)
		}
		k.done("$JOINGROUP", "room")
		k.refused("permission_denied", "$joinGroup", "elsewhere")
		for _, unknown := range []string{"$", "$nothing", "$$joinGroup", "$joinGroup ", "$ä"} {
			k.refused("unknown_method", unknown, "room")
		}
		k.write(`{"type":1,"target":"$joinGroup","arguments":["room"]}`) // nobody waits for it
		k.write(`{"type":4,"invocationId":"2","target":"$joinGroup","arguments":["room"]}`)
		if f := k.next(); f.InvocationID != "2" || !strings.Contains(f.Error, "invalid_argument") {
			t.Errorf("a stream of it: %+v", f)
		}
		if got := k.called("Echo", `"again"`); !strings.Contains(got, "again") {
			t.Fatalf("the hub answers %s", got)
		}
	}
	hub.mu.Lock()
	defer hub.mu.Unlock()
	for _, name := range hub.seen {
		if strings.HasPrefix(name, "$") {
			t.Errorf("the hub was called with %q", name)
		}
	}
	if want := 2 * len(c.edges); len(hub.seen) != want {
		t.Errorf("the hub was called with %q, want %d calls", hub.seen, want)
	}
}
