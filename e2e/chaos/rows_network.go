package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/signalbox/signalbox/e2e/chaos/history"
	"github.com/signalbox/signalbox/hubs/protocol"
)

var edgeIsolated = &row{
	id: "F-14", fault: "one edge alone loses Redis",
	setting:  setting{sticky: true},
	injected: "what one edge sends to Redis and gets from it is swallowed without a reset, for 60 s; the others are well",
	expected: "the edge notices within 5 s; publishes through it are refused with 503, not accepted; it takes no new clients after 10 s; its clients are told to go elsewhere within 40 s",
	run: func(t *trial) error {
		if err := t.warm(); err != nil {
			return err
		}
		victims := t.load.on(0)
		if err := t.w.edgeRedis[0].silence(); err != nil {
			return err
		}
		// A publish on the edge itself, again and again, without the balancer.
		a := t.w.tenant(tenantA)
		var mu sync.Mutex
		var probing sync.WaitGroup
		defer probing.Wait()
		noticed, accepted, tries := time.Duration(-1), 0, 0
		unready := time.Duration(-1)
		moved := time.Duration(-1)
		for time.Since(t.began) < 60*time.Second {
			probing.Go(func() {
				sent := time.Now()
				outcome, _ := t.w.rest(0, a).publish("nobody", []byte(`{}`))
				mu.Lock()
				defer mu.Unlock()
				tries++
				if outcome == history.Accepted {
					accepted++
				}
				if noticed < 0 && outcome == history.Refused && time.Since(sent) < 500*time.Millisecond {
					noticed = sent.Sub(t.began)
				}
			})
			if unready < 0 && !t.w.edges[0].ready(t) {
				unready = time.Since(t.began)
			}
			if left := len(t.load.on(0)); moved < 0 && left == 0 {
				moved = time.Since(t.began)
			}
			if err := t.pass(250 * time.Millisecond); err != nil {
				return err
			}
		}
		probing.Wait()
		t.w.edgeRedis[0].clean()
		mended := time.Now()
		if err := t.tail(); err != nil {
			return err
		}
		ready := t.w.edges[0].ready(t)
		if err := t.conclude(); err != nil {
			return err
		}
		t.noDisconnects("disconnects on the other edges", func(l *history.Life) bool { return l.Edge != "edge 1" })
		t.bounded("it is noticed: publishes are refused at once", noticed, 5*time.Second)
		t.check(accepted <= 1, "publishes through the edge that it accepted", fmt.Sprintf("%d of %d", accepted, tries), "≤ 1, in the first moment")
		t.bounded("the edge is no longer ready", unready, 12*time.Second)
		t.bounded(fmt.Sprintf("all of its %d clients are elsewhere", len(victims)), moved, 40*time.Second)
		t.check(ready, "the edge is ready again afterwards", fmt.Sprint(ready), "true")
		t.resumes("deliveries flow as before", mended, 3*time.Second)
		return nil
	},
}

// bounded is within for what may never have happened.
func (t *trial) bounded(what string, took, limit time.Duration) {
	if took < 0 {
		t.plainly(false, what, "never", "≤ "+short(limit))
		return
	}
	t.within(what, took, limit)
}

// hook is an upstream of this program that keeps what was posted to it.
type hook struct {
	url      string
	server   *http.Server
	mu       sync.Mutex
	ended    map[string]int // disconnected events by connection
	began    map[string]int
	messages int
}

func newHook() (*hook, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a bind on loopback does not block
	if err != nil {
		return nil, err
	}
	h := &hook{url: "http://" + listener.Addr().String(), ended: make(map[string]int), began: make(map[string]int)}
	h.server = &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		h.mu.Lock()
		switch id := r.Header.Get("X-ASRS-Connection-Id"); r.Header.Get("X-ASRS-Event") {
		case "connected":
			h.began[id]++
		case "disconnected":
			h.ended[id]++
		default:
			h.messages++
		}
		h.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	})}
	go h.server.Serve(listener) //nolint:errcheck // it ends with close
	return h, nil
}

// counts are how many connections began and ended, and how many did so twice.
func (h *hook) counts() (began, ended, twice int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, n := range h.ended {
		if n > 1 || h.began[id] > 1 {
			twice++
		}
	}
	return len(h.began), len(h.ended), twice
}

var halfOpen = &row{
	id: "F-15", fault: "a client's connection is half open",
	setting:  setting{sticky: true},
	injected: "of 12 clients of one edge (all transports) half lose what they send, half what they get, without a reset, for 40 s; their hub has an upstream",
	expected: "the service ends those that it doesn't hear after the client timeout (30 s), clients give up a silent service after 30 s; each end is told to the upstream once",
	run: func(t *trial) error {
		h, err := newHook()
		if err != nil {
			return err
		}
		defer h.server.Close() //nolint:errcheck // it is done
		if err := t.w.patchHub(t, tenantB, fmt.Sprintf(`{"upstream":{"mode":"azure","rules":[{"url":%q,"category":"connections"}]}}`, h.url+"/{event}")); err != nil {
			return err
		}
		if err := t.pass(2 * time.Second); err != nil { // a change is in force within one
			return err
		}
		// Two routes, one for each direction, since a route spoils all that is on it.
		deaf, err := t.w.routes.add("deaf clients", portOf(t.w.edgeAddrs[0]))
		if err != nil {
			return err
		}
		var specials []*client
		for i := range 12 {
			c, err := t.load.newClient(t.w.tenant(tenantB), 200+i)
			if err != nil {
				return err
			}
			c.edge, c.roam = 0, false
			via := t.w.edgePublic[0].listen
			c.name = fmt.Sprintf("mute-%d", i)
			if i%2 == 1 {
				via, c.name = deaf.listen, fmt.Sprintf("deaf-%d", i)
			}
			c.transport = [...]string{webSockets, webSockets, serverEvents, serverEvents, webSockets, webSockets}[i%6]
			if c.transport == serverEvents {
				c.proto = protocol.NewJSON()
			}
			c.base = func(int) string { return "http://" + via + "/t/" + c.tenant.slug }
			specials = append(specials, c)
			t.load.clients = append(t.load.clients, c)
		}
		if err := t.warm(); err != nil {
			return err
		}
		// A client that has never pinged has no time-out, as in ASP.NET Core.
		if err := t.pass(pingEvery + time.Second); err != nil {
			return err
		}
		t.began = time.Now()
		if err := t.w.edgePublic[0].blackHole("upstream"); err != nil {
			return err
		}
		if err := deaf.blackHole("downstream"); err != nil {
			return err
		}
		if err := t.pass(40 * time.Second); err != nil {
			return err
		}
		t.w.edgePublic[0].clean()
		deaf.clean()
		if err := t.load.awaitConnected(t, 30*time.Second); err != nil {
			return err
		}
		if err := t.tail(); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		special := func(l *history.Life) bool {
			return strings.HasPrefix(l.Client, "mute-") || strings.HasPrefix(l.Client, "deaf-")
		}
		t.noDisconnects("disconnects of other clients", func(l *history.Life) bool { return !special(l) })
		first, last, n := time.Hour, time.Duration(0), 0
		seen := make(map[string]bool)
		for _, l := range t.load.history.Lives {
			if special(l) && l.Ended.After(t.began) && !seen[l.Client] && l.Ending != history.Open {
				seen[l.Client] = true
				n++
				first, last = min(first, l.Ended.Sub(t.began)), max(last, l.Ended.Sub(t.began))
			}
		}
		t.check(n == len(specials), "connections that were ended", fmt.Sprintf("%d of %d", n, len(specials)), "all")
		t.check(first > 15*time.Second, "the first of them", short(first), "not before the client timeout, less what was on its way")
		t.within("the last of them", last, 33*time.Second)
		if err := await(t, 20*time.Second, "the upstream to be told of every end", func() bool { began, ended, _ := h.counts(); return began == ended }); err != nil {
			began, ended, _ := h.counts()
			t.check(false, "connections that the upstream knows of", fmt.Sprintf("%d began, %d ended", began, ended), "equal")
		}
		began, ended, twice := h.counts()
		t.check(twice == 0 && began > 0, "events for the upstream", fmt.Sprintf("%d began, %d ended, %d told twice", began, ended, twice), "each once")
		return nil
	},
}

// stopped is F-24 for one length of the stop.
func (t *trial) stopEdge(i int, d time.Duration) (stopped, continued time.Time, err error) {
	stopped = time.Now()
	if err := t.w.edges[i].signal(syscall.SIGSTOP); err != nil {
		return stopped, stopped, err
	}
	err = t.pass(d)
	if err := t.w.edges[i].signal(syscall.SIGCONT); err != nil {
		return stopped, stopped, err
	}
	return stopped, time.Now(), err
}

var edgeStopped = &row{
	id: "F-24", fault: "an edge is starved of its processor",
	setting:  setting{sticky: true},
	injected: "one edge is stopped (SIGSTOP) for 20 s, another for 45 s",
	expected: "after 20 s at least 99 % of its connections go on; after 45 s its clients are elsewhere, and it has cleaned up within 5 s: no ghost is counted",
	run: func(t *trial) error {
		if err := t.warm(); err != nil {
			return err
		}
		shortly := len(t.load.on(0))
		stopped, continued, err := t.stopEdge(0, 20*time.Second)
		if err != nil {
			return err
		}
		if err := t.pass(max(t.phase(0.5), 5*time.Second)); err != nil {
			return err
		}
		middle := time.Now()
		_, again, err := t.stopEdge(1, 45*time.Second)
		if err != nil {
			return err
		}
		counted := func() (connections, clients int) {
			for _, c := range t.load.clients {
				if c.connected.Load() {
					clients++
				}
			}
			for _, p := range t.load.senders {
				if p.client != nil && p.client.connected.Load() {
					clients++
				}
			}
			return int(t.edgesSum(metricConnections)), clients
		}
		ghosts, kinds := time.Duration(-1), ""
		if await(t, 30*time.Second, "", func() bool {
			n, clients := counted()
			if n != clients && time.Since(again) > 3*time.Second && kinds == "" {
				kinds = fmt.Sprintf("%d by their count, %d by the clients'", n, clients)
				if m, err := t.w.edges[1].scrape(t); err == nil {
					for _, transport := range []string{"web_sockets", "server_sent_events", "long_polling"} {
						kinds += fmt.Sprintf(", %.0f %s on the edge", m.sum(metricConnections, transport), transport)
					}
				}
			}
			return n == clients
		}) == nil {
			ghosts = time.Since(again)
		}
		if kinds != "" {
			t.note("connections 3 s after the second stop", kinds)
		}
		if err := t.tail(); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		lost, sample := t.load.ends(stopped, middle, func(l *history.Life) bool { return l.Edge == "edge 1" })
		t.check(lost*100 <= shortly, "connections of the first edge that ended", fmt.Sprintf("%d of %d (%s)", lost, shortly, sample), "≤ 1 %")
		others, sample := t.load.ends(stopped, time.Now(), func(l *history.Life) bool { return l.Edge == "edge 3" })
		t.zero("disconnects on the third edge", others, sample)
		t.resumes("deliveries go on after the first stop", continued, 5*time.Second)
		t.bounded("the edges count the clients that there are, after the second", ghosts, 5*time.Second)
		return nil
	},
}
