package edge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/appserver"
	"github.com/signalbox/signalbox/tenants"
)

// wire passes the bytes of connections on to an address and keeps both directions.
type wire struct {
	net.Listener
	to   string
	mu   sync.Mutex
	seen bytes.Buffer
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l, to: to}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			go w.carry(from)
		}
	}()
	return w
}

func (w *wire) carry(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer to.Close()
	go func() {
		defer to.Close()
		_, _ = io.Copy(to, io.TeeReader(from, w))
	}()
	_, _ = io.Copy(from, io.TeeReader(to, w))
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen.Write(p)
}

func (w *wire) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen.String()
}

// known negotiates and connects ann over a WebSocket whose request has both tokens in
// its query, and returns the connection token, which only the client may know.
func (c *cluster) known(d *tenants.Document, hub string, header http.Header) (k *client, id, token string) {
	c.t.Helper()
	name, _, _ := strings.Cut(hub, "&")
	bearer := clientJWT(c.t, d, 0, name, "ann")
	_, body := c.do(http.MethodPost, c.base(0, d.Slug)+"/client/negotiate?negotiateVersion=1&hub="+hub, bearer, "", nil)
	var n struct{ ConnectionID, ConnectionToken string }
	if err := json.Unmarshal([]byte(body), &n); err != nil || len(n.ConnectionToken) < 22 || n.ConnectionToken == n.ConnectionID {
		c.t.Fatalf("negotiate: %s, %v", body, err)
	}
	at := c.base(0, d.Slug) + "/client/?hub=" + hub + "&access_token=" + bearer + "&id=" + url.QueryEscape(n.ConnectionToken)
	ws, _, err := websocket.Dial(c.t.Context(), at, &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		c.t.Fatal(err)
	}
	k = &client{t: c.t, ws: ws, frames: make(chan frame, 1000)}
	c.t.Cleanup(func() { ws.CloseNow() })
	k.write(`{"protocol":"json","version":1}`)
	go k.read()
	if f := k.next(); f.Error != "" || f.end != nil {
		c.t.Fatalf("handshake: %+v", f)
	}
	return k, n.ConnectionID, n.ConnectionToken
}

// holds fails the test unless text has the public id and nothing of the token.
func holds(t *testing.T, what, text, id, token string) {
	t.Helper()
	if !strings.Contains(text, id) {
		t.Errorf("%s: the id %s isn't in %q", what, id, text)
	}
	for _, secret := range []string{token, url.QueryEscape(token), token[:len(token)/2], token[len(token)/2:]} {
		if strings.Contains(text, secret) {
			t.Errorf("%s has the connection token %s: %q", what, token, text)
		}
	}
}

// SEC-10: the connection token is the client's own. App servers, upstreams and REST
// results name connections by their public ids.
func TestSEC_10_connection_tokens_are_told_to_nobody(t *testing.T) {
	t.Parallel()
	t.Run("app servers", func(t *testing.T) {
		t.Parallel()
		d := handled(1, tenants.HandlerAppServer)
		c := startEdges(t, 1, d)
		seen := make(chan hubs.ConnectionInfo, 10)
		w := newWire(t, c.edges[0].Addr())
		c.hubAt(w.Addr().String(), d, &watched{seen}, appserver.Options{})
		k, id, token := c.known(d, "chat", nil)
		<-seen
		k.write(`{"type":1,"invocationId":"1","target":"nothing","arguments":[]}`)
		k.next()
		holds(t, "what an app server exchanges", w.String(), id, token)
	})
	t.Run("upstreams", func(t *testing.T) {
		t.Parallel()
		asked := make(chan string, 100)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			dump, err := httputil.DumpRequest(r, true)
			asked <- fmt.Sprint(string(dump), err)
			if strings.HasPrefix(r.URL.Path, "/messages/") {
				_, _ = io.WriteString(w, `{"type":3,"invocationId":"1","result":"done"}`+separator)
			}
		}))
		t.Cleanup(s.Close)
		d := document("demo", 1)
		d.Hubs = map[string]tenants.HubSettings{"chat": {Upstream: &tenants.Upstream{Rules: []tenants.UpstreamRule{{URL: s.URL + "/{category}/{event}"}}}}}
		c := startEdges(t, 1, d)
		k, id, token := c.known(d, "chat", nil)
		holds(t, "the request of the connection", <-asked, id, token)
		k.write(`{"type":1,"invocationId":"1","target":"send","arguments":["x"]}`)
		holds(t, "the request of an invocation", <-asked, id, token)
		_ = k.ws.CloseNow()
		holds(t, "the request of the end", <-asked, id, token)
	})
	t.Run("REST results", func(t *testing.T) {
		t.Parallel()
		d := document("demo", 1)
		c := startEdges(t, 1, d)
		_, id, token := c.known(d, "chat", nil)
		key := d.Keys[0].Secret
		at := c.base(0, d.Slug) + "/api/hubs/chat"
		if res, body := c.do(http.MethodPut, at+"/groups/g/connections/"+id+"?api-version=2022-06-01", key, "", nil); res.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
		for _, path := range []string{"/connections", "/groups/g/connections", "/users/ann/connections"} {
			res, body := c.do(http.MethodGet, at+path+"?api-version=2022-06-01", key, "", nil)
			holds(t, "GET "+path, fmt.Sprint(res.Header, body), id, token)
		}
	})
}

// SEC-14: a client is who its token says, whatever its headers and query say.
func TestSEC_14_headers_name_no_user(t *testing.T) {
	t.Parallel()
	d := document("demo", 1)
	c := startEdges(t, 1, d)
	_, id, _ := c.known(d, "chat&userId=mallory&asrs.s.uid=mallory&nameid=mallory", http.Header{
		"X-User": {"mallory"}, "X-Asrs-User-Id": {"mallory"}, "X-Ms-Client-Principal-Name": {"mallory"}, "X-Forwarded-User": {"mallory"},
	})
	for user, want := range map[string]bool{"ann": true, "mallory": false} {
		res, body := c.do(http.MethodGet, c.base(0, d.Slug)+"/api/hubs/chat/users/"+user+"/connections", d.Keys[0].Secret, "", nil)
		if res.StatusCode >= 500 || strings.Contains(body, id) != want {
			t.Errorf("the connections of %s: %d %s; want %s there: %t", user, res.StatusCode, body, id, want)
		}
	}
}
