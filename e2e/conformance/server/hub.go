package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// Hub has a method for every behaviour of the catalogue that needs one.
type Hub struct {
	// outside reaches the clients as background work does.
	outside hubs.Context

	mu       sync.Mutex
	journals map[string]chan string
}

func newHub() *Hub { return &Hub{journals: make(map[string]chan string)} }

// journal keeps what happened until a test awaits it.
func (h *Hub) journal(name string) chan string {
	h.mu.Lock()
	defer h.mu.Unlock()
	j := h.journals[name]
	if j == nil {
		j = make(chan string, 100)
		h.journals[name] = j
	}
	return j
}

// Await returns the next thing that happened under this name.
func (h *Hub) Await(ctx context.Context, name string) (string, error) {
	select {
	case s := <-h.journal(name):
		return s, nil
	case <-time.After(10 * time.Second):
		return "", hubs.Errorf("nothing happened under %s", name)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// OnConnected fails when the client asks for it.
func (h *Hub) OnConnected(ctx context.Context) error {
	call := hubs.FromContext(ctx)
	switch first(call.Connection().Info().Query["connected"]) {
	case "fails":
		return errors.New("not today")
	case "asks":
		_, err := hubs.Invoke[string](ctx, call.Caller(), "question")
		return err
	case "greets":
		return call.Caller().Send(ctx, "greeting", "hello")
	}
	return nil
}

// OnDisconnected tells the journal that the client named.
func (h *Hub) OnDisconnected(ctx context.Context, cause error) {
	if name := first(hubs.FromContext(ctx).Connection().Info().Query["watch"]); name != "" {
		h.journal(name) <- fmt.Sprintf("disconnected: %v", cause)
	}
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

// Echo returns its argument as it came.
func (*Hub) Echo(v protocol.Raw) protocol.Raw { return v }

// Profile is a value of many types.
type Profile struct {
	Name  string         `json:"name"`
	Born  time.Time      `json:"born"`
	Photo []byte         `json:"photo"`
	Sizes []int32        `json:"sizes"`
	Tags  map[string]any `json:"tags"`
}

// Typed returns a struct that was decoded and is encoded again.
func (*Hub) Typed(p Profile) Profile { return p }

// Add takes two integers.
func (*Hub) Add(a, b int) int { return a + b }

// Nothing returns nothing.
func (*Hub) Nothing() {}

// Old is known as Renamed.
func (*Hub) Old() string { return "renamed" }

// Secret is hidden.
func (*Hub) Secret() string { return "secret" }

// String makes the hub a fmt.Stringer; clients can't call it.
func (*Hub) String() string { return "hub" }

// Large returns n bytes of text.
func (*Hub) Large(n int) string { return strings.Repeat("0123456789", n/10) }

// Fail returns an error that stays on the server.
func (*Hub) Fail() error { return errors.New("secret") }

// FailSafely returns an error that the client may see.
func (*Hub) FailSafely() error { return hubs.NewError("told") }

// Panic panics.
func (*Hub) Panic() { panic("secret") }

// Unsendable returns what no protocol can write.
func (*Hub) Unsendable() float64 { return math.Inf(1) }

// Unsendables are what no protocol can write.
func (*Hub) Unsendables() any { return func() {} }

// Forbidden refuses everybody.
func (*Hub) Forbidden() error { return hubs.ErrUnauthorized }

// Enter says that it runs and waits for the answer under the same name.
func (h *Hub) Enter(ctx context.Context, name string) (string, error) {
	h.journal(name + " begun") <- name
	return h.Await(ctx, name)
}

// Tell puts something into a journal.
func (h *Hub) Tell(name, what string) { h.journal(name) <- what }

// Abort ends the caller's connection.
func (*Hub) Abort(ctx context.Context) { hubs.FromContext(ctx).Abort() }

// Close ends a connection with a Close message.
func (*Hub) Close(ctx context.Context, reason string, allowReconnect bool) {
	hubs.FromContext(ctx).Connection().Close(reason, allowReconnect)
}

// Identity is what the hub knows of a client.
type Identity struct {
	ID        string              `json:"id"`
	User      string              `json:"user"`
	Transport string              `json:"transport"`
	Protocol  string              `json:"protocol"`
	Query     map[string][]string `json:"query"`
	Headers   map[string][]string `json:"headers"`
}

// WhoAmI says who the caller is.
func (*Hub) WhoAmI(ctx context.Context) Identity {
	c := hubs.FromContext(ctx).Connection()
	i := c.Info()
	return Identity{c.ID(), c.User(), string(c.Transport()), c.Protocol().Name(), i.Query, i.Headers}
}

// Pushes sends n numbers to the caller and then returns n.
func (*Hub) Pushes(ctx context.Context, n int) (int, error) {
	caller := hubs.FromContext(ctx).Caller()
	for i := range n {
		if err := caller.Send(ctx, "push", i); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// Join puts the caller into a group.
func (*Hub) Join(ctx context.Context, group string) error {
	return hubs.FromContext(ctx).Join(ctx, group)
}

// Leave takes the caller out of a group.
func (*Hub) Leave(ctx context.Context, group string) error {
	return hubs.FromContext(ctx).Leave(ctx, group)
}

// Send sends one value to a target that is given by its kind and names.
func (*Hub) Send(ctx context.Context, kind string, names []string, method string, v protocol.Raw) error {
	to, err := target(hubs.FromContext(ctx), kind, names)
	if err != nil {
		return err
	}
	return to.Send(ctx, method, v)
}

func target(call *hubs.Call, kind string, names []string) (hubs.Target, error) {
	all := map[string]func() hubs.Target{
		"all":           call.All,
		"allExcept":     func() hubs.Target { return call.AllExcept(names...) },
		"caller":        call.Caller,
		"others":        call.Others,
		"client":        func() hubs.Target { return call.Client(names[0]) },
		"clients":       func() hubs.Target { return call.Clients(names...) },
		"group":         func() hubs.Target { return call.Group(names[0]) },
		"groups":        func() hubs.Target { return call.Groups(names...) },
		"groupExcept":   func() hubs.Target { return call.GroupExcept(names[0], names[1:]...) },
		"othersInGroup": func() hubs.Target { return call.OthersInGroup(names[0]) },
		"user":          func() hubs.Target { return call.User(names[0]) },
		"users":         func() hubs.Target { return call.Users(names...) },
	}
	f, ok := all[kind]
	if !ok {
		return hubs.Target{}, hubs.Errorf("no such kind of target: %s", kind)
	}
	return f(), nil
}
