package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/protocol"
	sp "github.com/signalbox/signalbox/hubs/serviceprotocol"
	"github.com/signalbox/signalbox/hubs/serviceprotocol/strict"
	"github.com/signalbox/signalbox/tenants"
)

// serverJWT is a token as the SDK makes them: the endpoint's host without its port,
// nameid = the server's id.
func serverJWT(t *testing.T, method jwt.SigningMethod, d *tenants.Document, key int, aud, server string) string {
	t.Helper()
	token, err := jwt.NewWithClaims(method, jwt.MapClaims{
		"aud": aud, "nameid": server, "iss": "azure-signalr",
		"iat": time.Now().Unix(), "nbf": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString([]byte(d.Keys[key].Secret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// appServer is an app server's end of one server connection; what it gets passes the
// SDK's reader.
type appServer struct {
	t    *testing.T
	ws   *websocket.Conn
	conn net.Conn
	got  chan sp.Message
}

// dialServer opens a server connection without its handshake.
func (c *cluster) dialServer(edge int, d *tenants.Document, hub, token string) (*appServer, *http.Response) {
	c.t.Helper()
	ws, res, err := websocket.Dial(c.t.Context(), c.base(edge, d.Slug)+"/server/?hub="+hub+"&cid=00000000-0000-0000-0000-000000000000", &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + token}, "Asrs-User-Agent": {"Microsoft.Azure.SignalR/1.33.0"}},
	})
	if err != nil {
		if res == nil {
			c.t.Fatal(err)
		}
		return nil, res
	}
	a := &appServer{t: c.t, ws: ws, conn: websocket.NetConn(context.Background(), ws, websocket.MessageBinary), got: make(chan sp.Message, 10_000)}
	c.t.Cleanup(func() { ws.CloseNow() })
	go func() {
		defer close(a.got)
		reader := sp.NewReader(io.TeeReader(a.conn, new(strict.Tap)), 8<<20)
		for {
			m, err := reader.Next()
			if err != nil {
				return
			}
			if data, ok := m.(*sp.ConnectionData); ok {
				data.Payload = append([]byte(nil), data.Payload...)
			}
			if data, ok := m.(*sp.ClientCompletion); ok {
				data.Payload = append([]byte(nil), data.Payload...)
			}
			a.got <- m
		}
	}()
	return a, res
}

// server opens a server connection past its handshake.
func (c *cluster) server(edge int, d *tenants.Document, hub, id string, kind sp.ConnectionType) *appServer {
	c.t.Helper()
	token := serverJWT(c.t, jwt.SigningMethodHS256, d, 0, "http://localhost/t/"+d.Slug+"/server/?hub="+hub, id)
	a, res := c.dialServer(edge, d, hub, token)
	if a == nil {
		c.t.Fatalf("server connection refused with %d", res.StatusCode)
	}
	a.send(&sp.HandshakeRequest{Version: 1, ConnectionType: kind, MigrationLevel: sp.MigrationShutdownOnly})
	if r, ok := a.next().(*sp.HandshakeResponse); !ok || r.Error != "" {
		c.t.Fatalf("handshake answered with %+v", r)
	}
	return a
}

func (a *appServer) send(list ...sp.Message) {
	a.t.Helper()
	var b []byte
	for _, m := range list {
		b = sp.Append(b, m)
	}
	if _, err := a.conn.Write(b); err != nil {
		a.t.Errorf("app server writes: %v", err)
	}
}

// next returns the next message that is no keep-alive; nil at the end.
func (a *appServer) next() sp.Message {
	a.t.Helper()
	for {
		select {
		case m := <-a.got:
			if p, ok := m.(*sp.Ping); ok && len(p.Items) == 0 {
				continue
			}
			return m
		case <-time.After(patience):
			a.t.Fatal("the service says nothing")
		}
	}
}

// nextAs is next for a message of a type.
func nextAs[M sp.Message](a *appServer) M {
	a.t.Helper()
	got := a.next()
	m, ok := got.(M)
	if !ok {
		a.t.Fatalf("got %T %+v, want a %T", got, got, m)
	}
	return m
}

// ack sends a command and returns how it is acked.
func (a *appServer) ack(m sp.Message) sp.AckStatus {
	a.t.Helper()
	a.send(m)
	got := a.next()
	ack, ok := got.(*sp.Ack)
	if !ok {
		a.t.Fatalf("%T is answered with %+v", m, got)
	}
	return ack.Status
}

// invocation is target(argument) in both hub protocols.
func invocation(t *testing.T, id, target, argument string) []sp.Payload {
	t.Helper()
	raw, err := json.Marshal([]string{argument})
	if err != nil {
		t.Fatal(err)
	}
	m := protocol.Message{Type: protocol.Invocation, InvocationID: id, Target: target, Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: raw}}
	var list []sp.Payload
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		frame, err := p.Append(nil, &m)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, sp.Payload{Protocol: p.Name(), Data: frame})
	}
	return list
}

// packedClient is a client over a WebSocket without negotiation, that speaks
// MessagePack.
type packedClient struct {
	t    *testing.T
	ws   *websocket.Conn
	rest []byte // of what came together
}

func (c *cluster) connectPacked(edge int, d *tenants.Document, hub, user string) *packedClient {
	c.t.Helper()
	ws, _, err := websocket.Dial(c.t.Context(), c.base(edge, d.Slug)+"/client/?hub="+hub, &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + clientJWT(c.t, d, 0, hub, user)}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { ws.CloseNow() })
	k := &packedClient{t: c.t, ws: ws}
	k.write([]byte(`{"protocol":"messagepack","version":1}` + separator))
	if got := k.read(); string(got) != "{}"+separator {
		c.t.Fatalf("handshake answered with %q", got)
	}
	return k
}

func (k *packedClient) write(b []byte) {
	k.t.Helper()
	if err := k.ws.Write(k.t.Context(), websocket.MessageBinary, b); err != nil {
		k.t.Fatal(err)
	}
}

func (k *packedClient) read() []byte {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), patience)
	defer cancel()
	_, b, err := k.ws.Read(ctx)
	if err != nil {
		k.t.Fatal(err)
	}
	return b
}

// next returns the next message that is no ping.
func (k *packedClient) next() *protocol.Message {
	k.t.Helper()
	for {
		if len(k.rest) == 0 {
			k.rest = k.read()
		}
		var m protocol.Message
		n, err := protocol.NewMessagePack().Parse(k.rest, &m)
		if err != nil || n == 0 {
			k.t.Fatalf("frame %x: %v", k.rest, err)
		}
		k.rest = k.rest[n:]
		if m.Type != protocol.Ping {
			return &m
		}
	}
}

// want waits for an invocation of target with one text.
func (k *packedClient) want(target, argument string) {
	k.t.Helper()
	m := k.next()
	text, err := protocol.AppendJSON(nil, m.Arguments)
	if err != nil || m.Target != target || string(text) != fmt.Sprintf("[%q]", argument) {
		k.t.Fatalf("got %s%s, %v", m.Target, text, err)
	}
}

func TestServerTokens(t *testing.T) {
	t.Parallel()
	demo, other := document("demo", 1), document("other", 1)
	suspended := document("late", 1)
	suspended.Status = tenants.Suspended
	c := startCluster(t, demo, other, suspended)
	aud := func(slug, hub string) string { return "http://localhost/t/" + slug + "/server/?hub=" + hub }
	for name, r := range map[string]struct {
		d      *tenants.Document
		hub    string
		token  string
		status int
	}{
		"HS256":               {demo, "chat", serverJWT(t, jwt.SigningMethodHS256, demo, 0, aud("demo", "chat"), "app_1"), 101},
		"HS512_second_key":    {demo, "chat", serverJWT(t, jwt.SigningMethodHS512, demo, 1, aud("demo", "chat"), "app_1"), 101},
		"with_a_port":         {demo, "chat", serverJWT(t, jwt.SigningMethodHS256, demo, 0, "http://localhost:8888/t/demo/server/?hub=chat", "app_1"), 101},
		"application_prefix":  {demo, "shop_chat", serverJWT(t, jwt.SigningMethodHS256, demo, 0, aud("demo", "shop_chat"), "app_1"), 101},
		"hub_in_capitals":     {demo, "Chat", serverJWT(t, jwt.SigningMethodHS256, demo, 0, aud("demo", "chat"), "app_1"), 101},
		"for_another_hub":     {demo, "chat", serverJWT(t, jwt.SigningMethodHS256, demo, 0, aud("demo", "news"), "app_1"), 401},
		"of_another_tenant":   {demo, "chat", serverJWT(t, jwt.SigningMethodHS256, other, 0, aud("demo", "chat"), "app_1"), 401},
		"for_another_tenant":  {demo, "chat", serverJWT(t, jwt.SigningMethodHS256, demo, 0, aud("other", "chat"), "app_1"), 401},
		"for_clients":         {demo, "chat", clientJWT(t, demo, 0, "chat", "ann"), 403},
		"for_rest":            {demo, "chat", restJWT(t, demo), 403},
		"none":                {demo, "chat", "", 401},
		"the_key_itself":      {demo, "chat", demo.Keys[0].Secret, 401},
		"of_suspended_tenant": {suspended, "chat", serverJWT(t, jwt.SigningMethodHS256, suspended, 0, aud("late", "chat"), "app_1"), 403},
		"of_no_tenant":        {document("nobody", 1), "chat", serverJWT(t, jwt.SigningMethodHS256, demo, 0, aud("nobody", "chat"), "app_1"), 401},
		"bad_hub":             {demo, "a/b", serverJWT(t, jwt.SigningMethodHS256, demo, 0, aud("demo", "a/b"), "app_1"), 400},
		"two_hubs":            {demo, "chat&hub=news", serverJWT(t, jwt.SigningMethodHS256, demo, 0, aud("demo", "chat"), "app_1"), 400},
		"server_id_too_long":  {demo, "chat", serverJWT(t, jwt.SigningMethodHS256, demo, 0, aud("demo", "chat"), strings.Repeat("x", 300)), 401},
	} {
		if _, res := c.dialServer(0, r.d, r.hub, r.token); res.StatusCode != r.status {
			t.Errorf("%s: %d, want %d", name, res.StatusCode, r.status)
		}
	}
	// A token in the query is none: it would be in logs.
	token := serverJWT(t, jwt.SigningMethodHS256, demo, 0, aud("demo", "chat"), "app_1")
	if got := c.status(c.base(0, "demo") + "/server/?hub=chat&access_token=" + token); got != http.StatusUnauthorized {
		t.Errorf("with a token in the query: %d", got)
	}
	res, _ := c.do(http.MethodGet, c.base(0, "demo")+"/server?hub=chat", token, "", nil)
	if res.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("without an upgrade: %d", res.StatusCode)
	}
}

// A key that is taken back takes its server connections with it.
func TestServerConnectionsOfRevokedKey(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	a := c.server(0, demo, "chat", "app_1", sp.ConnectionDefault)
	second := serverJWT(t, jwt.SigningMethodHS256, demo, 1, "http://localhost/t/demo/server/?hub=chat", "app_1")
	b, _ := c.dialServer(1, demo, "chat", second)
	b.send(&sp.HandshakeRequest{Version: 1})
	b.next()
	after := document("demo", 2)
	after.Keys = after.Keys[1:]
	c.publish(after)
	if m := nextAs[*sp.ServiceError](a); m.Message != reasonRevoked {
		t.Errorf("told %+v", m)
	}
	if m := a.next(); m != nil {
		t.Errorf("goes on with %+v", m)
	}
	b.send(sp.ServersRequest())
	if m := b.next(); m == nil {
		t.Error("the other key's server connection ended too")
	}
	handler := document("demo", 3)
	handler.Keys = handler.Keys[1:]
	handler.Hubs = map[string]tenants.HubSettings{"chat": {Handler: tenants.HandlerUpstream}}
	c.publish(handler)
	if m := nextAs[*sp.ServiceError](b); m.Message != reasonHandler {
		t.Errorf("told %+v", m)
	}
}

// An app server on one edge, clients of both hub protocols on both edges.
func TestServerCommandsReachAllClients(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	a := c.server(1, demo, "chat", "app_1", sp.ConnectionWeak)
	ann := c.connect(0, demo, "chat", "ann")
	bob := c.connectPacked(1, demo, "chat", "bob")
	eve := c.connect(0, demo, "chat", "eve")
	c.eventually("all are connected", func() bool {
		a.send(sp.StatusRequest())
		p, _ := a.next().(*sp.Ping)
		st, _ := p.Status()
		return st.Active && st.Clients == 3
	})
	a.send(&sp.BroadcastData{Payloads: invocation(t, "", "say", "all")})
	ann.want("say", "all")
	bob.want("say", "all")
	eve.want("say", "all")

	a.send(&sp.MultiUserData{UserIDs: []string{"ann", "bob"}, Payloads: invocation(t, "", "say", "users")}, &sp.UserData{UserID: "eve", Payloads: invocation(t, "", "say", "user")})
	ann.want("say", "users")
	bob.want("say", "users")
	eve.want("say", "user")

	// An app that speaks one hub protocol reaches clients of the other.
	a.send(&sp.BroadcastData{Payloads: invocation(t, "", "say", "json alone")[:1]}, &sp.BroadcastData{Payloads: invocation(t, "", "say", "packed alone")[1:]})
	for _, text := range []string{"json alone", "packed alone"} {
		ann.want("say", text)
		bob.want("say", text)
		eve.want("say", text)
	}

	// Who is who is only known from listing a group.
	for _, user := range []string{"ann", "bob", "eve"} {
		if got := a.ack(&sp.UserJoinGroupWithAck{UserID: user, Group: "g", AckID: 1}); got != sp.AckOK {
			t.Errorf("%s joins: %d", user, got)
		}
	}
	a.send(&sp.GroupMemberQuery{Group: "g", AckID: 2, Max: 10})
	listed, ok := a.next().(*sp.Ack)
	if !ok || listed.Status != sp.AckOK {
		t.Fatalf("listed with %+v", listed)
	}
	members, next, err := sp.ParseGroupMembers(listed.Payload)
	if err != nil || len(members) != 3 || next != "" {
		t.Fatalf("members are %+v, then %q: %v", members, next, err)
	}
	ids := map[string]string{}
	for _, m := range members {
		ids[m.UserID] = m.ConnectionID
	}

	a.send(&sp.GroupBroadcastData{Group: "g", Excluded: []string{ids["eve"]}, ExcludedUsers: []string{"bob"}, Payloads: invocation(t, "", "say", "group")})
	ann.want("say", "group")
	a.send(&sp.MultiConnectionData{ConnectionIDs: []string{ids["bob"], ids["eve"]}, Payloads: invocation(t, "", "say", "connections")})
	bob.want("say", "connections")
	eve.want("say", "connections")

	const found, missing = sp.AckOK, sp.AckNotFound
	for i, x := range []struct {
		m    sp.Message
		want sp.AckStatus
	}{
		{&sp.JoinGroupWithAck{ConnectionID: ids["bob"], Group: "h", AckID: 3}, found},
		{&sp.JoinGroupWithAck{ConnectionID: "nobody", Group: "h", AckID: 3}, missing},
		{&sp.CheckGroupExistenceWithAck{Group: "h", AckID: 3}, found},
		{&sp.CheckGroupExistenceWithAck{Group: "i", AckID: 3}, missing},
		{&sp.CheckConnectionExistenceWithAck{ConnectionID: ids["bob"], AckID: 3}, found},
		{&sp.CheckConnectionExistenceWithAck{ConnectionID: "nobody", AckID: 3}, missing},
		{&sp.CheckUserExistenceWithAck{UserID: "bob", AckID: 3}, found},
		{&sp.CheckUserExistenceWithAck{UserID: "nobody", AckID: 3}, missing},
		{&sp.CheckUserInGroupWithAck{UserID: "bob", Group: "h", AckID: 3}, found},
		{&sp.CheckUserInGroupWithAck{UserID: "ann", Group: "h", AckID: 3}, missing},
		{&sp.LeaveGroupWithAck{ConnectionID: ids["bob"], Group: "h", AckID: 3}, found},
		{&sp.CheckGroupExistenceWithAck{Group: "h", AckID: 3}, missing},
		{&sp.LeaveGroupWithAck{ConnectionID: ids["bob"], AckID: 3}, found},
		{&sp.CheckUserInGroupWithAck{UserID: "bob", Group: "g", AckID: 3}, missing},
		{&sp.UserLeaveGroupWithAck{UserID: "ann", AckID: 3}, found},
		{&sp.CheckUserInGroupWithAck{UserID: "ann", Group: "g", AckID: 3}, missing},
		{&sp.CloseConnectionWithAck{ConnectionID: "nobody", AckID: 3}, missing},
	} {
		if got := a.ack(x.m); got != x.want {
			t.Errorf("%d: %T is acked with %d, want %d", i, x.m, got, x.want)
		}
	}
	a.send(&sp.CloseConnection{ConnectionID: ids["ann"], Error: "go away"})
	ann.wantClose("go away", false)
	if got := a.ack(&sp.CloseUserConnectionsWithAck{UserID: "eve", Reason: "you too", AckID: 4}); got != found {
		t.Errorf("acked with %d", got)
	}
	eve.wantClose("you too", false)
	if got := a.ack(&sp.CloseConnectionsWithAck{Reason: "all", AckID: 5}); got != found {
		t.Errorf("acked with %d", got)
	}
	if m := bob.next(); m.Type != protocol.Close || m.Error != "all" {
		t.Errorf("got %+v", m)
	}
}

// A server connection asks clients of both hub protocols, on both edges, for
// results.
func TestServerAsksClients(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	a := c.server(1, demo, "chat", "app_1", sp.ConnectionWeak)
	ann := c.connect(0, demo, "chat", "ann")
	bob := c.connectPacked(1, demo, "chat", "bob")
	ids := map[string]string{}
	for _, user := range []string{"ann", "bob"} {
		c.eventually("the user is there", func() bool { return a.ack(&sp.CheckUserExistenceWithAck{UserID: user, AckID: 1}) == sp.AckOK })
		a.ack(&sp.UserJoinGroupWithAck{UserID: user, Group: "g", AckID: 1})
	}
	a.send(&sp.GroupMemberQuery{Group: "g", AckID: 2})
	listed, _ := a.next().(*sp.Ack)
	members, _, err := sp.ParseGroupMembers(listed.Payload)
	if err != nil || len(members) != 2 {
		t.Fatalf("members are %+v, %v", members, err)
	}
	for _, m := range members {
		ids[m.UserID] = m.ConnectionID
	}
	ask := func(user, id string) {
		a.send(&sp.ClientInvocation{InvocationID: id, ConnectionID: ids[user], CallerServerID: "app_1", Payloads: invocation(t, id, "ask", "?")})
	}
	completed := func(id, hubProtocol string, p protocol.Protocol) *protocol.Message {
		t.Helper()
		got := a.next()
		m, ok := got.(*sp.ClientCompletion)
		if !ok || m.InvocationID != id || m.CallerServerID != "app_1" || m.Protocol != hubProtocol {
			t.Fatalf("got %+v", got)
		}
		var completion protocol.Message
		if n, err := p.Parse(m.Payload, &completion); err != nil || n != len(m.Payload) || completion.Type != protocol.Completion || completion.InvocationID != id {
			t.Fatalf("payload %q: %v", m.Payload, err)
		}
		return &completion
	}

	ask("ann", "inv-1")
	if f := ann.next(); f.Target != "ask" || f.InvocationID != "inv-1" {
		t.Fatalf("asked with %+v", f)
	}
	ann.write(`{"type":3,"invocationId":"inv-1","result":{"n":12345678901234567890}}`)
	if m := completed("inv-1", "json", protocol.NewJSON()); string(m.Result.Bytes) != `{"n":12345678901234567890}` {
		t.Errorf("result is %s", m.Result.Bytes)
	}
	a.send(&sp.ClientCompletion{InvocationID: "inv-1", ConnectionID: ids["ann"], CallerServerID: "app_1", Protocol: "json"}) // as SDKs do

	ask("ann", "inv-2")
	ann.next()
	ann.write(`{"type":3,"invocationId":"inv-2","error":"no idea"}`)
	if m := completed("inv-2", "json", protocol.NewJSON()); m.Error != "no idea" {
		t.Errorf("error is %q", m.Error)
	}

	ask("bob", "inv-3")
	if m := bob.next(); m.InvocationID != "inv-3" {
		t.Fatalf("asked with %+v", m)
	}
	answer, err := protocol.NewMessagePack().Append(nil, &protocol.Message{Type: protocol.Completion, InvocationID: "inv-3", Result: protocol.Raw{Encoding: protocol.MessagePack, Bytes: []byte{42}}})
	if err != nil {
		t.Fatal(err)
	}
	bob.write(answer)
	if m := completed("inv-3", "messagepack", protocol.NewMessagePack()); string(m.Result.Bytes) != "\x2a" {
		t.Errorf("result is %x", m.Result.Bytes)
	}

	failed := func(id, want string) {
		t.Helper()
		if m := nextAs[*sp.ErrorCompletion](a); m.InvocationID != id || !strings.Contains(m.Error, want) {
			t.Errorf("got %+v, want an error with %q", m, want)
		}
	}
	a.send(&sp.ClientInvocation{InvocationID: "inv-4", ConnectionID: "nobody", CallerServerID: "app_1", Payloads: invocation(t, "inv-4", "ask", "?")})
	failed("inv-4", "does not exist")
	a.send(&sp.ClientInvocation{InvocationID: "inv-5", ConnectionID: ids["ann"], CallerServerID: "app_1", Payloads: invocation(t, "another", "ask", "?")})
	failed("inv-5", "invalid_message")
	ask("ann", "inv-6")
	ann.next()
	ann.ws.CloseNow()
	failed("inv-6", "disconnected")
}

// The URL that an app server redirects its clients to: its own path, the query of
// the client's first request and an id, to which the client adds what it always
// does once more.
func TestRedirectedByAppServer(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	token := clientJWT(t, demo, 0, "chat", "ann")
	query := "?hub=chat&asrs.op=%2Fhubs%2Fchat&negotiateVersion=1&room=a%20b&asrs_request_id=FpSpBQAAAAA%3D&asrs_lang=en&asrs_ui_lang=de"
	res, body := c.do(http.MethodPost, c.base(0, "demo")+"/client/negotiate"+query+"&negotiateVersion=1&useStatefulReconnect=true", token, "", nil)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("negotiate: %d %s", res.StatusCode, body)
	}
	var n struct {
		NegotiateVersion     int
		ConnectionToken      string
		UseStatefulReconnect bool
	}
	if err := json.Unmarshal([]byte(body), &n); err != nil || n.NegotiateVersion != 1 || n.ConnectionToken == "" || !n.UseStatefulReconnect {
		t.Fatalf("negotiated %s, %v", body, err)
	}
	for name, id := range map[string]string{"negotiated": "&id=" + url.QueryEscape(n.ConnectionToken), "skipped": ""} {
		ws, _, err := websocket.Dial(t.Context(), c.base(1, "demo")+"/client/"+query+id, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer ws.CloseNow()
		if err := ws.Write(t.Context(), websocket.MessageText, []byte(`{"protocol":"json","version":1}`+separator)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := ws.Read(t.Context()); err != nil || string(got) != "{}"+separator {
			t.Errorf("%s: handshake answered with %q, %v", name, got, err)
		}
	}
	// Two hubs are one too many, wherever they come from.
	if res, _ := c.do(http.MethodPost, c.base(0, "demo")+"/client/negotiate"+query+"&hub=news", token, "", nil); res.StatusCode != http.StatusBadRequest {
		t.Errorf("with two hubs: %d", res.StatusCode)
	}
}

func pairingHub(d *tenants.Document, hub string) pairing.Hub {
	return pairing.Hub{Tenant: d.ID, Name: hub}
}

// A client of one app server is asked by another, on another edge: the answer goes
// to who asked, and the client's own app server sees neither.
func TestServerAsksClientOfAnother(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	own := c.server(0, demo, "chat", "app_1", sp.ConnectionDefault)
	c.eventually("the edge knows of the app server", func() bool {
		p, err := c.edges[1].hubs.presence.Presence(t.Context(), pairingHub(demo, "chat"))
		return err == nil && p.Now
	})
	asker := c.server(1, demo, "chat", "app_2", sp.ConnectionWeak)
	var clients map[string]string
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		clients = own.accept(1)
	}()
	ann := c.connect(1, demo, "chat", "ann")
	<-accepted
	for id := range clients {
		for _, a := range []*appServer{asker, own} { // it may ask its own clients, too
			a.send(&sp.ClientInvocation{InvocationID: "inv", ConnectionID: id, CallerServerID: "app", Payloads: invocation(t, "inv", "ask", "?")})
			if f := ann.next(); f.InvocationID != "inv" {
				t.Fatalf("asked with %+v", f)
			}
			ann.write(`{"type":3,"invocationId":"inv","result":"yes"}`)
			if m := nextAs[*sp.ClientCompletion](a); string(m.Payload) != `{"type":3,"invocationId":"inv","result":"yes"}`+separator {
				t.Fatalf("got %+v", m)
			}
		}
		// What it sends otherwise goes to its own app server as ever.
		ann.write(`{"type":3,"invocationId":"another","result":"no"}`)
		if m := nextAs[*sp.ConnectionData](own); string(m.Payload) != `{"type":3,"invocationId":"another","result":"no"}`+separator {
			t.Errorf("got %+v", m)
		}
		// A client that goes is told of to both.
		asker.send(&sp.ClientInvocation{InvocationID: "inv", ConnectionID: id, CallerServerID: "app_2", Payloads: invocation(t, "inv", "ask", "?")})
		ann.next()
		ann.ws.CloseNow()
		if m := nextAs[*sp.ErrorCompletion](asker); !strings.Contains(m.Error, "disconnected") {
			t.Errorf("got %+v", m)
		}
		if m := nextAs[*sp.CloseConnection](own); m.ConnectionID != id {
			t.Errorf("got %+v", m)
		}
	}
}

// A tenant with a host of its own, as unmodified SDKs need it: they drop a path, and
// the port in the audience.
func TestServerOfOwnHost(t *testing.T) {
	t.Parallel()
	acme := document("acme", 1)
	acme.Hosts = []string{"acme.example.test"}
	c := startCluster(t, acme)
	token := serverJWT(t, jwt.SigningMethodHS256, acme, 0, "https://acme.example.test/server/?hub=chat", "app_1")
	for host, want := range map[string]int{"acme.example.test": 101, "ACME.example.test:8443": 101, "other.example.test": 401} {
		ws, res, err := websocket.Dial(t.Context(), "http://"+c.edges[0].Addr()+"/server/?hub=chat", &websocket.DialOptions{
			Host: host, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
		})
		if res == nil || res.StatusCode != want {
			t.Errorf("%s: %+v, %v, want %d", host, res, err, want)
		}
		if err == nil {
			_ = ws.CloseNow()
		}
	}
}
