package edge

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// TestDrain ends an edge whose clients use every transport while messages are
// published, through itself too.
func TestDrain(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startEdgesWith(t, 3, func(cfg *Config) { cfg.DrainGrace, cfg.DrainOver = 3*time.Second, 5*time.Second }, demo)
	c.startFront() // the times are such that a machine may stand still for two seconds
	w, owner := c.polling(demo, "chat", "ann")
	var sockets []*client
	for range 20 {
		sockets = append(sockets, c.connect(owner, demo, "chat", "bob"))
	}
	negotiate := func() *http.Response {
		res, _ := c.do(http.MethodPost, c.base(owner, "demo")+"/client/negotiate?negotiateVersion=1&hub=chat", clientJWT(t, demo, 0, "chat", "eve"), "", nil)
		return res
	}
	ended := make(chan error, 1)
	admin := "http://" + c.edges[owner].AdminAddr() + "/readyz"
	go func() { ended <- c.ends[owner]() }()
	c.eventually("it isn't ready any more", func() bool { return c.status(admin) == http.StatusServiceUnavailable })
	if res := negotiate(); res.StatusCode != http.StatusOK || !res.Close {
		t.Errorf("in its grace the edge answers %d, closing %t; want 200 as the last on the socket", res.StatusCode, res.Close)
	}
	c.front.without(owner)
	c.eventually("it takes no more connections", func() bool { return negotiate().StatusCode == http.StatusServiceUnavailable })
	if res := negotiate(); res.Header.Get("Retry-After") != "1" || res.Header.Get(HeaderDraining) == "" {
		t.Errorf("refused with %v", res.Header)
	}

	// Backends go on, and those of its clients whose turn hasn't come.
	sent := 0
	for range 10 {
		c.send(owner, demo, "chat", "news", strconv.Itoa(sent))
		sent++
	}
	closed := func(f frame) bool {
		if f.Type == 7 && !f.AllowReconnect || f.Error != "" {
			t.Errorf("ended with %+v", f)
		}
		return f.Type == 7
	}
	for next := 0; ; next++ {
		if status, body := w.call(http.MethodPost, "{\"type\":6}"+separator); status != http.StatusOK && status != http.StatusNotFound {
			t.Errorf("post to a polled connection of a draining edge: %d %s", status, body)
		}
		f := w.next()
		if closed(f) {
			break
		}
		if f.Target != "news" || string(f.Arguments) != `["`+strconv.Itoa(next)+`"]` {
			t.Fatalf("got %+v, want message %d", f, next)
		}
	}
	for _, s := range sockets {
		for next := 0; ; next++ {
			f := s.next()
			if closed(f) {
				break
			}
			if f.Target != "news" || string(f.Arguments) != `["`+strconv.Itoa(next)+`"]` {
				t.Fatalf("got %+v, want message %d", f, next)
			}
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("the edge ended with %v", err)
	}
	if !strings.Contains(c.logs.String(), `"clean":true`) {
		t.Error("the edge didn't end cleanly")
	}
}

// TestDrain_without_Redis ends an edge on which many hubs still have to tell the others
// who isn't present any more, and can't: the second signal ends it nevertheless.
func TestDrain_without_Redis(t *testing.T) {
	t.Parallel()
	const hubs = 30 // one after another with 5 s each would take too long
	demo := document("demo", 1)
	demo.Limits.MaxHubs = hubs
	c := startEdgesWith(t, 1, func(cfg *Config) { cfg.DrainGrace, cfg.DrainOver = time.Millisecond, time.Millisecond }, demo)
	var all []*client
	for n := range hubs {
		hub := "hub" + strconv.Itoa(n)
		m, err := accesstoken.MintClient(demo.Keys[0], "http://localhost/t/demo",
			accesstoken.ClientOptions{Hub: hub, UserID: "ann", Groups: []string{"g"}, Permissions: []string{"joinGroup"}}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		k, _, err := c.dial(0, 0, demo, hub, m.Token)
		if err != nil {
			t.Fatal(err)
		}
		k.done("$setPresence", "g", "here")
		all = append(all, k)
	}
	c.stopRedis()
	for _, k := range all {
		if err := k.ws.CloseNow(); err != nil {
			t.Error(err)
		}
	}
	c.eventually("the clients are gone", func() bool {
		left := 0
		for _, s := range c.edges[0].hubs.hubServers() {
			left += s.Connections()
		}
		return left == 0
	})
	ended := make(chan error, 1)
	c.forces[0]()
	go func() { ended <- c.ends[0]() }()
	select {
	case <-ended:
	case <-time.After(6 * patience):
		t.Error("the edge waits for a Redis that is away")
	}
}
