package edge

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// anyEdge is the number of no edge: requests go to the front.
const anyEdge = -1

// front is a balancer that knows nothing of connections: every request goes to
// the next edge, those of one client too.
type front struct {
	url string

	mu      sync.Mutex
	proxies []*httputil.ReverseProxy
	up      []int // the edges that are served
	turn    int
	last    int // the edge that the latest request went to
}

// startFront makes anyEdge usable.
func (c *cluster) startFront() {
	c.t.Helper()
	f := &front{}
	for i, e := range c.edges {
		f.proxies = append(f.proxies, httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: e.Addr()}))
		f.up = append(f.up, i)
	}
	s := httptest.NewServer(f)
	c.t.Cleanup(s.CloseClientConnections) // before the edges end
	c.t.Cleanup(s.Close)
	f.url, c.front = s.URL, f
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.turn++
	f.last = f.up[f.turn%len(f.up)]
	p := f.proxies[f.last]
	f.mu.Unlock()
	p.ServeHTTP(w, r)
}

// latest returns the edge that the latest request went to.
func (f *front) latest() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// without takes an edge out.
func (f *front) without(edge int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, e := range f.up {
		if e == edge {
			f.up = append(f.up[:i:i], f.up[i+1:]...)
			return
		}
	}
}

// wanderer is a client without a WebSocket whose requests go to any edge.
type wanderer struct {
	c           *cluster
	id          string // the public one
	path, token string
	text        string // what has come and wasn't read
	more        func() string
}

// negotiated is a wanderer that has no transport yet.
func (c *cluster) negotiated(d *tenants.Document, hub, token string) *wanderer {
	c.t.Helper()
	w := &wanderer{c: c, token: token}
	res, body := c.do(http.MethodPost, c.base(anyEdge, d.Slug)+"/client/negotiate?negotiateVersion=1&hub="+hub, w.token, "", nil)
	var n struct{ ConnectionID, ConnectionToken string }
	if err := json.Unmarshal([]byte(body), &n); err != nil || n.ConnectionToken == "" {
		c.t.Fatalf("negotiate: %d %s", res.StatusCode, body)
	}
	w.id, w.path = n.ConnectionID, "/t/"+d.Slug+"/client/?hub="+hub+"&id="+url.QueryEscape(n.ConnectionToken)
	return w
}

// call sends one request through the front.
func (w *wanderer) call(method, body string) (int, string) {
	w.c.t.Helper()
	res, got := w.c.do(method, w.c.front.url+w.path, w.token, body, nil)
	return res.StatusCode, got
}

// polling connects by long polling and returns the edge that owns it.
func (c *cluster) polling(d *tenants.Document, hub, user string) (w *wanderer, owner int) {
	c.t.Helper()
	w = c.negotiated(d, hub, clientJWT(c.t, d, 0, hub, user))
	return w, w.poll()
}

// pollingWith is polling with a token.
func (c *cluster) pollingWith(d *tenants.Document, hub, token string) *wanderer {
	c.t.Helper()
	w := c.negotiated(d, hub, token)
	w.poll()
	return w
}

// poll makes the first poll, and returns the edge that owns the connection.
func (w *wanderer) poll() (owner int) {
	c := w.c
	c.t.Helper()
	w.more = func() string {
		status, got := w.call(http.MethodGet, "")
		if status != http.StatusOK {
			c.t.Fatalf("poll: %d %s", status, got)
		}
		return got
	}
	w.text = w.more()
	owner = c.front.latest()
	w.handshake()
	return owner
}

// streaming connects by Server-Sent Events.
func (c *cluster) streaming(d *tenants.Document, hub, user string) *wanderer {
	c.t.Helper()
	return c.streamingWith(d, hub, clientJWT(c.t, d, 0, hub, user))
}

// streamingWith is streaming with a token.
func (c *cluster) streamingWith(d *tenants.Document, hub, token string) *wanderer {
	c.t.Helper()
	w := c.negotiated(d, hub, token)
	ctx, cancel := context.WithCancel(c.t.Context())
	c.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.front.url+w.path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+w.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		c.t.Fatalf("events: %d", res.StatusCode)
	}
	in := bufio.NewReader(res.Body)
	w.more = func() string {
		timer := time.AfterFunc(patience, cancel)
		defer timer.Stop()
		line, err := in.ReadString('\n')
		if err != nil {
			c.t.Fatalf("events: %v", err)
		}
		data, _ := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "data: ")
		return strings.TrimPrefix(data, ":")
	}
	w.handshake()
	return w
}

func (w *wanderer) handshake() {
	w.c.t.Helper()
	if status, got := w.call(http.MethodPost, `{"protocol":"json","version":1}`+separator); status != http.StatusOK {
		w.c.t.Fatalf("post: %d %s", status, got)
	}
	if f := w.next(); f.Type != 0 || f.Error != "" {
		w.c.t.Fatalf("handshake: %+v", f)
	}
}

// next returns the next message that is no ping.
func (w *wanderer) next() frame {
	w.c.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		record, rest, whole := strings.Cut(w.text, separator)
		if !whole {
			if time.Now().After(deadline) {
				w.c.t.Fatalf("no message came, only %q", w.text)
			}
			w.text += w.more()
			continue
		}
		w.text = rest
		var f frame
		if err := json.Unmarshal([]byte(record), &f); err != nil {
			w.c.t.Fatalf("%q: %v", record, err)
		}
		if f.Type != 6 {
			return f
		}
	}
}

// want waits for an invocation of target with one text.
func (w *wanderer) want(target, argument string) {
	w.c.t.Helper()
	if f := w.next(); f.Type != 1 || f.Target != target || string(f.Arguments) != fmt.Sprintf("[%q]", argument) {
		w.c.t.Fatalf("got %+v, want %s(%q)", f, target, argument)
	}
}

func TestOrderBehindARoundRobinFront(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startEdges(t, 3, demo)
	c.startFront()
	clients := map[string]*wanderer{}
	for i := range 3 { // the front's turn gives them different owners
		name := strconv.Itoa(i)
		clients["polling"+name], _ = c.polling(demo, "chat", "p"+name)
		clients["events"+name] = c.streaming(demo, "chat", "s"+name)
	}
	const pushes = 30
	for i := range pushes {
		c.send(i%3, demo, "chat", "news", strconv.Itoa(i))
	}
	for i := range pushes {
		for _, w := range clients {
			w.want("news", strconv.Itoa(i))
		}
	}
	for name, w := range clients { // to one only, through an edge that may not be its owner
		status, body := w.call(http.MethodPost, "{\"type\":6}"+separator)
		if status != http.StatusOK {
			t.Errorf("%s: a post is answered %d %s", name, status, body)
		}
		c.send(anyEdge, demo, "chat/connections/"+w.id, "yours", name)
		w.want("yours", name)
	}
}

func TestOwnerOfAPollingConnectionDies(t *testing.T) {
	t.Parallel()
	for name, killed := range map[string]bool{"in order": false, "with its claims left in Redis": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			demo := document("demo", 1)
			c := startEdges(t, 3, demo)
			c.startFront()
			w, owner := c.polling(demo, "chat", "ann")
			c.send(anyEdge, demo, "chat", "news", "before")
			w.want("news", "before")

			claim, lease := redisclient.Hub(demo.ID, "chat").Owner(w.id), redisclient.EdgeLease(c.edges[owner].run)
			run, err := c.redis.Get(t.Context(), claim).Result()
			if err != nil || run != c.edges[owner].run {
				t.Fatalf("owned by %q, %v; want %q", run, err, c.edges[owner].run)
			}
			address, err := c.redis.HGet(t.Context(), lease, "addr").Result()
			if err != nil {
				t.Fatal(err)
			}
			c.front.without(owner)
			c.forces[owner]()
			_ = c.ends[owner]() // complains that it had to hurry
			if killed {         // it had no time to give back what it held
				if err := c.redis.Set(t.Context(), claim, run, time.Hour).Err(); err != nil {
					t.Fatal(err)
				}
				if err := c.redis.HSet(t.Context(), lease, "addr", address).Err(); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // once on each of the others
				if status, body := w.call(http.MethodGet, ""); status != http.StatusNotFound || !strings.Contains(body, "No Connection with that ID") {
					t.Errorf("polled edge %d: %d %s", c.front.latest(), status, body)
				}
			}
			again, _ := c.polling(demo, "chat", "ann")
			c.send(anyEdge, demo, "chat", "news", "after")
			again.want("news", "after")
		})
	}
}

func TestStatefulReconnectBehindARoundRobinFront(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startEdges(t, 3, demo)
	c.startFront()
	s := c.stateful(anyEdge, demo, "chat", "ann")
	owner, relayed, next, sent := c.front.latest(), 0, 0, 0
	send := func() {
		t.Helper()
		c.send(sent%3, demo, "chat", "news", strconv.Itoa(sent))
		sent++
	}
	for range 4 {
		send()
		s.want("news", strconv.Itoa(next))
		s.ws.CloseNow()
		for range 3 { // through each edge while the client is away
			send()
		}
		s.open(anyEdge)
		if c.front.latest() != owner {
			relayed++
		}
		s.write(`{"type":9,"sequenceId":1}`)
		if f := s.next(); f.Type != 9 {
			t.Fatalf("got %+v, want a Sequence", f)
		}
		for n := range sent { // nothing has been acknowledged
			s.want("news", strconv.Itoa(n))
		}
		next = sent
	}
	if relayed == 0 {
		t.Error("the client always came back to its owner")
	}
}
