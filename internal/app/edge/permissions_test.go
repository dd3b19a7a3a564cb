package edge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// mintClient mints a token for hub chat.
func mintClient(t *testing.T, d *tenants.Document, o accesstoken.ClientOptions) accesstoken.Minted {
	t.Helper()
	o.Hub = "chat"
	m, err := accesstoken.MintClient(d.Keys[0], "http://localhost/t/"+d.Slug, o, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// with connects to hub chat with a token.
func (c *cluster) with(edge int, d *tenants.Document, token string) *client {
	c.t.Helper()
	return c.joined(edge, d, "chat", token)
}

// call invokes a method and returns the completion, which must be the next frame.
func (k *client) call(method string, arguments ...any) frame {
	k.t.Helper()
	all, err := json.Marshal(append([]any{}, arguments...))
	if err != nil {
		k.t.Fatal(err)
	}
	k.write(fmt.Sprintf(`{"type":1,"invocationId":"1","target":%q,"arguments":%s}`, method, all))
	f := k.next()
	if f.Type != 3 || f.InvocationID != "1" {
		k.t.Fatalf("%s: got %+v, want its completion", method, f)
	}
	return f
}

// refused waits for the refusal of a call by a code.
func (k *client) refused(code, method string, arguments ...any) {
	k.t.Helper()
	if f := k.call(method, arguments...); !strings.Contains(f.Error, "HubException: "+code) {
		k.t.Fatalf("%s%v: got %q, want %s", method, arguments, f.Error, code)
	}
}

func (k *client) done(method string, arguments ...any) frame {
	k.t.Helper()
	f := k.call(method, arguments...)
	if f.Error != "" {
		k.t.Fatalf("%s%v: %s", method, arguments, f.Error)
	}
	return f
}

// wantMessage waits for a message that a client sent.
func (k *client) wantMessage(target, text, group, user string) {
	k.t.Helper()
	f := k.next()
	var arguments []json.RawMessage
	var sender struct{ Group, UserID, ConnectionID string }
	if f.Type != 1 || f.Target != target || json.Unmarshal(f.Arguments, &arguments) != nil || len(arguments) != 2 || string(arguments[0]) != fmt.Sprintf("%q", text) ||
		json.Unmarshal(arguments[1], &sender) != nil || sender.Group != group || sender.UserID != user || sender.ConnectionID == "" {
		k.t.Fatalf("got %+v, want %s(%q) to %s by %s", f, target, text, group, user)
	}
}

func TestClientsWithoutABackend(t *testing.T) {
	t.Parallel()
	demo, other := document("demo", 1), document("other", 1)
	demo.Hubs = map[string]tenants.HubSettings{"chat": {ClientPermissions: []string{"joinGroup:open-*", "joinGroup:user-{user}"}}}
	c := startEdges(t, 3, demo, other)
	token := mintClient(t, demo, accesstoken.ClientOptions{UserID: "ann", Groups: []string{"lobby"}, Permissions: []string{
		"joinGroup:room-*", "leaveGroup", "sendToGroup:room-*", "webpubsub.sendToGroup.lobby",
	}}).Token
	ann := c.with(0, demo, token)
	bob := c.with(1, demo, mintClient(t, demo, accesstoken.ClientOptions{UserID: "bob", Groups: []string{"lobby", "room-1"}}).Token)
	stranger := c.with(2, other, mintClient(t, other, accesstoken.ClientOptions{UserID: "ann", Groups: []string{"lobby", "room-1"}}).Token)

	// Groups of the token are joined when the connection begins.
	c.sendToGroup(2, demo, "lobby", "hello")
	ann.want("news", "hello")
	bob.want("news", "hello")

	if f := ann.done("$sendToGroup", "room-1", "message", []any{"first"}); len(f.Result) < 20 || f.Result[0] != '"' {
		t.Fatalf("the result is %s, want a position", f.Result)
	}
	bob.wantMessage("message", "first", "room-1", "ann")
	ann.done("$joinGroup", "room-1")
	ann.write(`{"type":1,"target":"$SENDTOGROUP","arguments":["room-1","message",["echoed"]]}`)
	ann.wantMessage("message", "echoed", "room-1", "ann")
	bob.wantMessage("message", "echoed", "room-1", "ann")
	ann.done("$sendToGroup", "room-1", "message", []any{"not to me"}, map[string]any{"noEcho": true})
	bob.wantMessage("message", "not to me", "room-1", "ann")
	ann.done("$sendToGroup", "lobby", "message", []any{"role"}, map[string]any{"noEcho": true})
	bob.wantMessage("message", "role", "lobby", "ann")
	ann.done("$leaveGroup", "room-1")
	c.sendToGroup(1, demo, "room-1", "ann has left")
	bob.want("news", "ann has left")

	// What the hub permits to everybody.
	ann.done("$joinGroup", "open-1")
	ann.done("$joinGroup", "user-ann")
	bob.done("$joinGroup", "open-1")
	for _, row := range []struct {
		who       *client
		code      string
		method    string
		arguments []any
	}{
		{ann, "permission_denied", "$joinGroup", []any{"user-bob"}},
		{ann, "permission_denied", "$joinGroup", []any{"secret"}},
		{ann, "permission_denied", "$sendToGroup", []any{"open-1", "message", []any{}}},
		{bob, "permission_denied", "$sendToGroup", []any{"room-1", "message", []any{}}},
		{bob, "permission_denied", "$leaveGroup", []any{"room-1"}},
		{bob, "permission_denied", "$joinGroup", []any{"room-2"}},
		{ann, "unknown_method", "$joinEverything", nil},
		{ann, "unknown_method", "$", nil},
		{ann, "permission_denied", "$readPresence", []any{"room-1"}},
		{ann, "invalid_argument", "$joinGroup", nil},
		{ann, "invalid_argument", "$joinGroup", []any{"room-1", "room-2"}},
		{ann, "invalid_argument", "$joinGroup", []any{7}},
		{ann, "invalid_argument", "$joinGroup", []any{nil}},
		{ann, "invalid_argument", "$joinGroup", []any{" "}},
		{ann, "invalid_argument", "$joinGroup", []any{"room-" + strings.Repeat("x", 1020)}},
		{ann, "invalid_argument", "$sendToGroup", []any{"room-1"}},
		{ann, "invalid_argument", "$sendToGroup", []any{"room-1", "$message", []any{}}},
		{ann, "invalid_argument", "$sendToGroup", []any{"room-1", "message", "text"}},
		{ann, "invalid_argument", "$sendToGroup", []any{"room-1", "message", make([]int, 64)}},
		{ann, "invalid_argument", "$sendToGroup", []any{"room-1", "message", []any{}, "noEcho"}},
		{ann, "invalid_argument", "$refreshToken", []any{""}},
		{ann, "invalid_token", "$refreshToken", []any{"x.y.z"}},
	} {
		row.who.refused(row.code, row.method, row.arguments...)
	}
	ann.write(`{"type":4,"invocationId":"9","target":"$joinGroup","arguments":["room-1"]}`)
	if f := ann.next(); f.Type != 3 || !strings.Contains(f.Error, "invalid_argument") {
		t.Fatalf("a stream of it: %+v", f)
	}
	for i := range 6 { // besides lobby, open-1 and user-ann; the limit is 10
		ann.done("$joinGroup", fmt.Sprintf("room-%d", i))
	}
	ann.done("$joinGroup", "room-9")
	ann.refused("too_many_groups", "$joinGroup", "room-10")

	// The other tenant has heard of nothing.
	c.sendToGroup(0, other, "lobby", "ours")
	stranger.want("news", "ours")
	// What the hub permits changes for connections that are there.
	changed := document("demo", 2)
	changed.Hubs = map[string]tenants.HubSettings{"chat": {ClientPermissions: []string{"joinGroup:secret"}}}
	c.publish(changed)
	c.eventually("the new settings are in force", func() bool { return bob.call("$joinGroup", "secret").Error == "" })
	bob.refused("permission_denied", "$joinGroup", "open-2")
}

func (c *cluster) sendToGroup(edge int, d *tenants.Document, group, text string) {
	c.t.Helper()
	res, body := c.do(http.MethodPost, c.base(edge, d.Slug)+"/api/v1/hubs/chat/groups/"+group, d.Keys[0].Secret,
		fmt.Sprintf(`{"target":"news","arguments":[%q]}`, text), nil)
	if res.StatusCode != http.StatusAccepted {
		c.t.Fatalf("send: %d %s", res.StatusCode, body)
	}
}

// What clients do by themselves is limited and counted like what others publish.
func TestClientMethodsAreLimited(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	demo.Limits.MessagesPerSecond, demo.Limits.MessageBurst = 1, 5
	c := startCluster(t, demo)
	k := c.with(0, demo, mintClient(t, demo, accesstoken.ClientOptions{Permissions: []string{"joinGroup"}}).Token)
	c.eventually("the limit refuses a join", func() bool {
		return strings.Contains(k.call("$joinGroup", "g").Error, "rate_limited")
	})
}

func TestRefreshOfAToken(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	first := mintClient(t, demo, accesstoken.ClientOptions{UserID: "ann", Life: 7 * time.Second, CloseOnExpiry: true})
	stays, goes := c.with(0, demo, first.Token), c.with(1, demo, first.Token)
	stays.refused("permission_denied", "$joinGroup", "room")
	stays.refused("wrong_user", "$refreshToken", mintClient(t, demo, accesstoken.ClientOptions{UserID: "bob"}).Token)
	stays.refused("wrong_user", "$refreshToken", mintClient(t, demo, accesstoken.ClientOptions{}).Token)
	stays.refused("invalid_token", "$refreshToken", restJWT(t, demo))
	stays.refused("invalid_token", "$refreshToken", clientJWT(t, demo, 0, "other", "ann"))
	second := mintClient(t, demo, accesstoken.ClientOptions{UserID: "ann", Life: time.Hour, CloseOnExpiry: true, Permissions: []string{"joinGroup"}})
	if f := stays.done("$refreshToken", second.Token); !strings.Contains(string(f.Result), second.ExpiresAt.UTC().Format(time.RFC3339)) {
		t.Fatalf("got %s, want the end at %s", f.Result, second.ExpiresAt)
	}
	stays.done("$joinGroup", "room")
	goes.wantClose("", true) // its token has run out, and with it that of stays
	c.sendToGroup(1, demo, "room", "still here")
	stays.want("news", "still here")
	// Permissions are replaced, not added to.
	third := mintClient(t, demo, accesstoken.ClientOptions{UserID: "ann", Permissions: []string{"leaveGroup"}})
	if f := stays.done("$refreshToken", third.Token); string(f.Result) != "{}" {
		t.Fatalf("got %s, want no end", f.Result)
	}
	stays.refused("permission_denied", "$joinGroup", "room-2")
	stays.done("$leaveGroup", "room")
}

// TestClientMethods_without_Redis: a client is told whether a repeat could do a
// thing twice.
func TestClientMethods_without_Redis(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	ann := c.with(0, demo, mintClient(t, demo, accesstoken.ClientOptions{UserID: "ann", Permissions: []string{"sendToGroup"}}).Token)
	ann.done("$sendToGroup", "room", "message", []any{"x"})
	c.stopRedis()
	c.eventually("the bus is known to be away", func() bool { return c.edges[0].bus.Stats().Unavailable })
	if f := ann.call("$sendToGroup", "room", "message", []any{"x"}); !strings.Contains(f.Error, "bus_unavailable: ") || !strings.Contains(f.Error, "nothing was carried out") {
		t.Errorf("got %+v", f)
	}
}
