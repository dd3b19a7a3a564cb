package serverconn_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/serverconn"
	sp "github.com/signalbox/signalbox/hubs/serviceprotocol"
	"github.com/signalbox/signalbox/tenants"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// exchange sends bytes on a fresh socket and returns the first bytes that come
// back.
func (s *stand) exchange(b []byte) []byte {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, res, err := websocket.Dial(ctx, s.url, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if res.Body != nil {
		res.Body.Close()
	}
	defer ws.CloseNow()
	if err := ws.Write(ctx, websocket.MessageBinary, b); err != nil {
		s.t.Fatal(err)
	}
	_, answer, err := ws.Read(ctx)
	if err != nil {
		s.t.Fatalf("no answer: %v", err)
	}
	return answer
}

// Every form of the handshake request that an SDK has sent, byte by byte.
func TestHandshake(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil)
	for name, request := range map[string]string{
		"today":                   "08 97010100a00080c2",
		"with_stateful_reconnect": "08 97010100a00080c3",
		"of_march_2024":           "07 96010100a00080",
		"without_extensions":      "06 95010100a000",
		"without_migration":       "05 94010100a0",
		"oldest":                  "03 920101",
		"weak":                    "07 96010102a00080",
		"on_demand":               "0a 96010101a36162630080",
		"split_prefix":            "8800 97010100a00080c2",
	} {
		t.Run(name, func(t *testing.T) {
			got := s.exchange(unhex(t, request))
			// 94 02 a0 80 and the connection's id: no error.
			if len(got) < 6 || int(got[0]) != len(got)-1 || !bytes.HasPrefix(got[1:], unhex(t, "9402a080")) {
				t.Errorf("answered %x", got)
			}
		})
	}
}

func TestHandshakeRefused(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil)
	for name, c := range map[string]struct {
		request string
		handler tenants.Handler
		want    string
	}{
		"another_version":     {request: "08 97010200a00080c2", want: "Version mismatch"},
		"unknown_type":        {request: "08 97010107a00080c2", want: "connection type"},
		"negative_type":       {request: "08 970101ffa00080c2", want: "connection type"},
		"unknown_migration":   {request: "08 97010100a00980c2", want: "migration level"},
		"something_else":      {request: "02 9103", want: "first message"},
		"garbage":             {request: "03 c1c1c1", want: "MessagePack"},
		"upstream_hub":        {request: "08 97010100a00080c2", handler: tenants.HandlerUpstream, want: `"app_server"`},
		"broadcast_hub":       {request: "08 97010101a00080c2", handler: tenants.HandlerBroadcast, want: `"app_server"`},
		"length_of_six_bytes": {request: "ffffffffff01", want: "length"},
		"four_gigabytes":      {request: "ffffffff0f 94", want: "length"},
		"too_long":            {request: "80808001 94", want: "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			s.admit(func(a *serverconn.Admission) { a.Handler = c.handler })
			got := s.exchange(unhex(t, c.request))
			m, err := sp.NewReader(bytes.NewReader(got), 1<<20).Next()
			r, ok := m.(*sp.HandshakeResponse)
			if err != nil || !ok || !strings.Contains(r.Error, c.want) {
				t.Errorf("answered %+v (%v), want an error with %q", m, err, c.want)
			}
		})
	}
	if s.refusals("handshake_failed")+s.refusals("no_app_servers") < 11 {
		t.Errorf("refusals are counted as %v", s.refused)
	}
	// Weak connections send only: every hub has them.
	s.admit(func(a *serverconn.Admission) { a.Handler = tenants.HandlerUpstream })
	s.connect("app-1", sp.ConnectionWeak, 0)
}

func TestHandshakeThatNeverComes(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil, timing(func(t *serverconn.Timing) { t.Handshake = 50 * time.Millisecond }))
	a := s.dial("app-1")
	a.end()
	if _, more := <-a.got; more {
		t.Error("something was said before the handshake request")
	}
	s.eventually("it is counted", func() bool { return s.refusals("handshake_failed") == 1 })
}

// The bytes of a client's life, against the vectors of the SDK.
func TestClientAtTheWire(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, res, err := websocket.Dial(ctx, s.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.Body != nil {
		res.Body.Close()
	}
	defer ws.CloseNow()
	conn := websocket.NetConn(ctx, ws, websocket.MessageBinary)
	expect := func(what, want string) {
		t.Helper()
		b := unhex(t, want)
		b = append([]byte{byte(len(b))}, b...) // all are short
		got := make([]byte, len(b))
		if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%s is\n%x, want\n%x (%v)", what, got, b, err)
		}
	}
	write := func(b string) {
		t.Helper()
		// In crumbs: frames mean nothing.
		body := unhex(t, b)
		for _, c := range append([]byte{byte(len(body))}, body...) {
			if _, err := conn.Write([]byte{c}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("97010101a00080c2")
	head := make([]byte, 5)
	if _, err := io.ReadFull(conn, head); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, int(head[0])-4)); err != nil {
		t.Fatal(err)
	}
	s.eventually("it takes clients", func() bool { return s.servers() == 1 })

	d := newDown(t)
	c := &pairing.Client{
		Hub: chat, ConnectionID: "conn2", Protocol: "json", Handshake: []byte("{}\x1e"), Query: "?k=v",
		Claims: []hubs.Claim{{Type: "a", Value: "1"}, {Type: "a", Value: "2"}},
		Headers: map[string][]string{
			"Via": {"x", "y"}, "Asrs-Migrate-From": {"forged"}, "ASRS-Is-Diagnostic-Client": {"true"}, "asrs-instance-id": {"forged"},
		},
		MovedFrom: "old",
	}
	session, err := s.pool.Open(ctx, c, d)
	if err != nil {
		t.Fatal(err)
	}
	expect("OpenConnection", "96 04 a5"+hex.EncodeToString([]byte("conn2"))+
		"82 a161 a131 a161 a132"+ // both claims of one name
		"83 a3"+hex.EncodeToString([]byte("Via"))+"92 a178 a179"+
		"b0"+hex.EncodeToString([]byte("Asrs-Instance-Id"))+"91 a6"+hex.EncodeToString([]byte("edge-1"))+
		"b1"+hex.EncodeToString([]byte("Asrs-Migrate-From"))+"91 a3"+hex.EncodeToString([]byte("old"))+
		"a4"+hex.EncodeToString([]byte("?k=v"))+
		"81 03 a4"+hex.EncodeToString([]byte("json")))
	expect("the handshake request", "9406a5636f6e6e32c4037b7d1e810501")
	if err := session.Send(ctx, []byte{1, 2, 3}, pairing.DataInvocation); err != nil {
		t.Fatal(err)
	}
	expect("ConnectionData", "9406a5636f6e6e32c403010203810502")
	if err := session.Send(ctx, []byte{4}, pairing.DataUnknown); err != nil {
		t.Fatal(err)
	}
	expect("ConnectionData without a type", "9406a5636f6e6e32c4010480")
	write("9406a5636f6e6e32c403414243 80")
	d.expect("data ABC")
	// Extensions that are not known, or don't belong here, are passed over.
	write("9406a5636f6e6e32c40141 8463a178 2907 06c3 01cd04d2 c0")
	d.expect("data A")
	session.End("bye", "new")
	expect("CloseConnection", "95 05 a5636f6e6e32 a3627965 81 af"+hex.EncodeToString([]byte("Asrs-Migrate-To"))+"91 a3"+hex.EncodeToString([]byte("new"))+"80")
	if err := session.Send(ctx, []byte{4}, pairing.DataUnknown); !errors.Is(err, pairing.ErrEnded) {
		t.Errorf("sent after the end: %v", err)
	}
	// What comes for it now is late.
	write("9406a5636f6e6e32c403414243 80")

	c.ConnectionID, c.MovedFrom = "conn4", ""
	d = newDown(t)
	if _, err := s.pool.Open(ctx, c, d); err != nil {
		t.Fatal(err)
	}
	write("9505a5636f6e6e34ae4572726f72206d6573736167652e8080")
	d.expect("close Error message.")
}

func TestPicking(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil)
	try := func(c *pairing.Client) (string, error) {
		session, err := s.pool.Open(t.Context(), c, newDown(t))
		if err != nil {
			return "", err
		}
		return session.ServerID(), nil
	}
	n := 0
	next := func(sticky pairing.Sticky, server string) *pairing.Client {
		n++
		c := client("c" + string(rune('a'+n)))
		c.Sticky, c.Server = sticky, server
		return c
	}
	if _, err := try(next(pairing.Anywhere, "")); !errors.Is(err, pairing.ErrNoServer) {
		t.Fatalf("without app servers: %v", err)
	}
	s.connect("weak", sp.ConnectionWeak, 0)
	if _, err := try(next(pairing.Preferred, "weak")); !errors.Is(err, pairing.ErrNoServer) {
		t.Fatalf("with a weak connection: %v", err)
	}
	one := s.connect("one", sp.ConnectionDefault, 0)
	s.connect("two", sp.ConnectionOnDemand, 0)
	got := map[string]int{}
	for range 10 {
		server, err := try(next(pairing.Anywhere, ""))
		if err != nil {
			t.Fatal(err)
		}
		got[server]++
	}
	if got["one"] != 5 || got["two"] != 5 {
		t.Errorf("ten clients went to %v", got)
	}
	for range 3 {
		if server, err := try(next(pairing.Preferred, "one")); err != nil || server != "one" {
			t.Errorf("a client that prefers one went to %q, %v", server, err)
		}
	}
	if server, err := try(next(pairing.Required, "two")); err != nil || server != "two" {
		t.Errorf("a client that requires two went to %q, %v", server, err)
	}
	if server, err := try(next(pairing.Preferred, "gone")); err != nil || server != "two" {
		t.Errorf("a client that prefers another went to %q, %v", server, err)
	}
	if _, err := try(next(pairing.Required, "gone")); !errors.Is(err, pairing.ErrServerAway) {
		t.Errorf("a client that requires another: %v", err)
	}
	moved := next(pairing.Anywhere, "")
	moved.MovedFrom = "two"
	if server, err := try(moved); err != nil || server != "one" {
		t.Errorf("a client that moves away from two went to %q, %v", server, err)
	}
	one.send(sp.Shutdown(sp.ShutdownWait))
	s.eventually("one takes no clients", func() bool { return s.servers() == 1 })
	if server, err := try(next(pairing.Preferred, "one")); err != nil || server != "two" {
		t.Errorf("with one about to go, its client went to %q, %v", server, err)
	}
	other := next(pairing.Anywhere, "")
	other.Hub.Tenant = "01JCTENANT000000000000000B"
	if _, err := try(other); !errors.Is(err, pairing.ErrNoServer) {
		t.Errorf("a client of another tenant: %v", err)
	}
}
