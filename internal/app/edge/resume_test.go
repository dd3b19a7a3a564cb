package edge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/tenants"
)

// stateful is a client with stateful reconnect.
type stateful struct {
	*client
	c     *cluster
	d     *tenants.Document
	query string
	token string
}

func (c *cluster) stateful(edge int, d *tenants.Document, hub, user string) *stateful {
	c.t.Helper()
	token := clientJWT(c.t, d, 0, hub, user)
	res, body := c.do(http.MethodPost, c.base(edge, d.Slug)+"/client/negotiate?negotiateVersion=1&useStatefulReconnect=true&hub="+hub, token, "", nil)
	var n struct {
		ConnectionToken      string
		UseStatefulReconnect bool
	}
	if err := json.Unmarshal([]byte(body), &n); err != nil || !n.UseStatefulReconnect {
		c.t.Fatalf("negotiate: %d %s", res.StatusCode, body)
	}
	s := &stateful{c: c, d: d, query: "/client/?useStatefulReconnect=true&hub=" + hub + "&id=" + url.QueryEscape(n.ConnectionToken), token: token}
	s.open(edge)
	s.write(`{"protocol":"json","version":2}`)
	if f := s.next(); f.Type != 0 || f.Error != "" || f.end != nil {
		c.t.Fatalf("handshake: %+v", f)
	}
	return s
}

// open dials the client's connection, for the first time or again.
func (s *stateful) open(edge int) {
	s.c.t.Helper()
	ws, res, err := s.dial(edge, s.token)
	if err != nil {
		s.c.t.Fatalf("dial: %v, %v", res, err)
	}
	ws.SetReadLimit(1 << 20)
	s.c.t.Cleanup(func() { ws.CloseNow() })
	s.client = &client{t: s.c.t, ws: ws, frames: make(chan frame, 1000)}
	go s.read()
}

func (s *stateful) dial(edge int, token string) (*websocket.Conn, *http.Response, error) {
	return websocket.Dial(s.c.t.Context(), s.c.base(edge, s.d.Slug)+s.query, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
}

func TestStatefulReconnectOnEitherEdge(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	s := c.stateful(0, demo, "chat", "ann")
	next, sent := 0, 0
	send := func() {
		t.Helper()
		c.send(sent%2, demo, "chat", "news", strconv.Itoa(sent))
		sent++
	}
	for i := range 6 {
		send()
		s.want("news", strconv.Itoa(next))
		s.ws.CloseNow()
		send()
		s.open((i + 1) % 2)
		s.write(`{"type":9,"sequenceId":1}`)
		if f := s.next(); f.Type != 9 {
			t.Fatalf("got %+v, want a Sequence", f)
		}
		for n := range sent { // nothing has been acknowledged
			s.want("news", strconv.Itoa(n))
		}
		next = sent
	}
	s.write(fmt.Sprintf(`{"type":8,"sequenceId":%d}`, sent))
	send()
	s.want("news", strconv.Itoa(next))

	if _, res, err := s.dial(1, clientJWT(t, demo, 0, "chat", "bob")); err == nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("another user: %v, %v", res, err)
	}
	s.write(`{"type":7}`)
	for f := s.next(); f.end == nil; f = s.next() {
	}
	for edge := range 2 {
		c.eventually("the id is spent", func() bool {
			_, res, err := s.dial(edge, s.token)
			return err != nil && res != nil && res.StatusCode == http.StatusNotFound
		})
	}
	if logs := c.logs.String(); strings.Contains(logs, s.token) {
		t.Error("the token is in a log")
	}
}

func TestStatefulReconnectWhenTheOwnerIsGone(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	s := c.stateful(0, demo, "chat", "ann")
	if err := c.ends[0](); err != nil {
		t.Fatal(err)
	}
	if _, res, err := s.dial(1, s.token); err == nil || res.StatusCode != http.StatusNotFound {
		t.Errorf("answered %v, %v, want 404: the client starts anew", res, err)
	}
}

func TestStatefulReconnectNeedsTheTenantsLimits(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	demo.Limits.ResumeWindowSeconds = 0
	c := startCluster(t, demo)
	_, body := c.do(http.MethodPost, c.base(0, "demo")+"/client/negotiate?negotiateVersion=1&useStatefulReconnect=true&hub=chat", clientJWT(t, demo, 0, "chat", "ann"), "", nil)
	if strings.Contains(body, "useStatefulReconnect") {
		t.Errorf("negotiated %s", body)
	}
}
