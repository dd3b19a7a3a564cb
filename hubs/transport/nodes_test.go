package transport_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/transport"
)

// shared is the Ownership of several nodes in one process.
type shared struct {
	mu     sync.Mutex
	owners map[string]string // "" = spent
	nodes  map[string]*transport.Handler
	// relaying, when set, gets the method of each request that is relayed.
	relaying chan<- string
}

// owned is shared as one node has it.
type owned struct {
	*shared
	name string
}

func (o owned) Claim(_ context.Context, scope, id string) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	owner, taken := o.owners[scope+id]
	switch {
	case !taken:
		o.owners[scope+id] = o.name
		return "", nil
	case owner == "":
		return "", transport.ErrSpent
	}
	return owner, nil
}

func (o owned) Owner(_ context.Context, scope, id string) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if owner := o.owners[scope+id]; owner != "" {
		return owner, nil
	}
	return "", transport.ErrSpent
}

func (o owned) Release(_ context.Context, scope, id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.owners[scope+id] = ""
}

func (o owned) Relay(w http.ResponseWriter, r *http.Request, owner string) error {
	o.mu.Lock()
	h, relaying := o.nodes[owner], o.relaying
	o.mu.Unlock()
	if relaying != nil {
		relaying <- r.Method
	}
	if h == nil {
		return transport.ErrOwnerGone
	}
	h.ServeRelayed(w, r)
	return nil
}

// newNodes returns nodes that share a backplane, a key and their ownership.
func newNodes(t *testing.T, count int) ([]*site, *shared) {
	t.Helper()
	bus := hubs.NewMemoryBackplane()
	all := &shared{owners: map[string]string{}, nodes: map[string]*transport.Handler{}}
	sites := make([]*site, count)
	for i := range sites {
		name := string(rune('a' + i))
		sites[i] = newSite(t, func(s *setup) {
			s.config.Backplane = bus
			s.endpoint.StatefulReconnect = true
			s.options.TokenKey = make([]byte, 32)
			s.options.Ownership = owned{all, name}
		})
		all.nodes[name] = sites[i].handler
	}
	return sites, all
}

// unsure is owned without anybody who could be asked.
type unsure struct{ owned }

func (o unsure) Claim(context.Context, string, string) (string, error) {
	return "", transport.ErrUnsure
}

func (o unsure) Owner(context.Context, string, string) (string, error) {
	return "", transport.ErrOwnerGone
}

// alone is owned while the store of claims is away and the other nodes say that
// a connection isn't theirs.
type alone struct{ unsure }

func (o alone) Owner(context.Context, string, string) (string, error) {
	return "", transport.ErrSpent
}

func TestTwoNodes(t *testing.T) {
	t.Parallel()
	t.Run("where nobody can tell whose a connection is, no poll begins another", func(t *testing.T) {
		t.Parallel()
		_, all := newNodes(t, 1)
		s := newSite(t, func(s *setup) { s.options.Ownership = unsure{owned{all, "b"}} })
		got := s.do("GET", "", "?id="+s.negotiate("ada").ConnectionToken, "", as("ada"))
		got.want(t, 503, "")
		if got.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		if s.hub.Connections() != 0 {
			t.Errorf("%d connections", s.hub.Connections())
		}
		st := s.events("?id="+s.negotiate("ada").ConnectionToken, as("ada")) // asked for once
		st.close()
	})
	t.Run("a poll begins a connection that every other node says isn't its own", func(t *testing.T) {
		t.Parallel()
		_, all := newNodes(t, 1)
		s := newSite(t, func(s *setup) { s.options.Ownership = alone{unsure{owned{all, "b"}}} })
		query := "?id=" + s.negotiate("ada").ConnectionToken
		s.do("GET", "", query, "", as("ada")).want(t, 200, "")
		s.do("POST", "", query, handshake, as("ada")).want(t, 200, "")
		s.do("GET", "", query, "", as("ada")).want(t, 200, "{}\x1e")
		s.do("DELETE", "", query, "", as("ada")).want(t, 202, "")
	})
	t.Run("long polling works when every request goes to the other node", func(t *testing.T) {
		t.Parallel()
		nodes, _ := newNodes(t, 2)
		turn := 0
		do := func(method, path, query, body string) answer {
			turn++
			return nodes[turn%2].do(method, path, query, body, as("ada"))
		}
		query := "?id=" + nodes[0].negotiate("ada").ConnectionToken
		do("GET", "", query, "").want(t, 200, "")
		do("POST", "", query, handshake).want(t, 200, "")
		do("GET", "", query, "").want(t, 200, "{}\x1e")
		for i := range 6 {
			frame := nodes[i%2].publish("x")
			do("GET", "", query, "").want(t, 200, frame)
		}
		do("DELETE", "", query, "").want(t, 202, "")
		until(t, "404 on both nodes", func() bool { return do("GET", "", query, "").status == 404 && do("POST", "", query, "x").status == 404 })
	})
	t.Run("a post reaches the owner while the same node relays a poll", func(t *testing.T) {
		t.Parallel()
		nodes, all := newNodes(t, 2)
		query := "?id=" + nodes[0].negotiate("ada").ConnectionToken
		nodes[0].do("GET", "", query, "", as("ada")).want(t, 200, "")
		relaying := make(chan string, 2)
		all.mu.Lock()
		all.relaying = relaying
		all.mu.Unlock()
		polled := make(chan answer, 1)
		go func() { polled <- nodes[1].do("GET", "", query, "", as("ada")) }()
		if method := <-relaying; method != "GET" {
			t.Fatalf("%s was relayed first", method)
		}
		nodes[1].do("POST", "", query, handshake, as("ada")).want(t, 200, "")
		(<-polled).want(t, 200, "{}\x1e")
	})
	t.Run("posts of an event stream work on both nodes", func(t *testing.T) {
		t.Parallel()
		nodes, _ := newNodes(t, 2)
		query := "?id=" + nodes[1].negotiate("ada").ConnectionToken
		st := nodes[0].events(query, as("ada"))
		nodes[1].do("POST", "", query, handshake[:10], as("ada")).want(t, 200, "")
		nodes[0].do("POST", "", query, handshake[10:], as("ada")).want(t, 200, "")
		st.expect("{}\x1e")
		st.expect(nodes[1].publish("from the other node"))
		nodes[1].do("POST", "", query, "x", as("bob")).want(t, 403, "This connection belongs to another user.")
	})
	t.Run("T-05 a second WebSocket on the other node is refused with 409", func(t *testing.T) {
		t.Parallel()
		nodes, _ := newNodes(t, 2)
		query := "?id=" + nodes[0].negotiate("ada").ConnectionToken
		ws, _, err := nodes[0].dial(query, as("ada"))
		if err != nil {
			t.Fatal(err)
		}
		ws.send(handshake)
		ws.expect("{}\x1e")
		if _, resp, err := nodes[1].dial(query, as("ada")); err == nil || resp.StatusCode != 409 {
			t.Errorf("dial: %v, %v", resp, err)
		}
		nodes[1].do("POST", "", query, "x", as("ada")).want(t, 405, "POST requests are not allowed for WebSocket connections.")
		nodes[1].do("GET", "", query, "", as("ada")).want(t, 400, "Cannot change transports mid-connection")
		ws.expect(nodes[1].publish("still here"))
	})
	t.Run("a lost owner is answered 404", func(t *testing.T) {
		t.Parallel()
		nodes, all := newNodes(t, 2)
		query, _ := nodes[0].polling("")
		all.mu.Lock()
		delete(all.nodes, "a")
		all.mu.Unlock()
		for _, m := range []string{"GET", "POST", "DELETE"} {
			nodes[1].do(m, "", query, "", nil).want(t, 404, "No Connection with that ID")
		}
	})
	t.Run("a node that is told it owns what it doesn't serve answers 404", func(t *testing.T) {
		t.Parallel()
		nodes, all := newNodes(t, 1)
		n := nodes[0].negotiate("")
		all.mu.Lock()
		all.owners["tenant/chat"+n.ConnectionID] = "a"
		all.mu.Unlock()
		for _, m := range []string{"GET", "POST", "DELETE"} {
			nodes[0].do(m, "", "?id="+n.ConnectionToken, "", nil).want(t, 404, "No Connection with that ID")
		}
	})
	t.Run("a relayed request is never relayed again", func(t *testing.T) {
		t.Parallel()
		nodes, _ := newNodes(t, 2)
		query, _ := nodes[0].polling("")
		for _, m := range []string{"GET", "POST", "DELETE"} {
			w := httptest.NewRecorder()
			nodes[1].handler.ServeRelayed(w, httptest.NewRequestWithContext(t.Context(), m, "/client"+query, nil))
			if w.Code != 404 {
				t.Errorf("%s: answered %d", m, w.Code)
			}
		}
	})
	t.Run("groups, users and connections are reached on both nodes", func(t *testing.T) {
		t.Parallel()
		nodes, _ := newNodes(t, 2)
		ada, adaID := nodes[0].connected("ada")
		bob, bobID := nodes[1].connected("bob")
		send := func(from int, kind hubs.Kind, change func(*hubs.Entry)) string {
			m, frame := message("x")
			e := &hubs.Entry{Kind: kind, Message: m}
			change(e)
			nodes[from].entry(e)
			return frame
		}
		nodes[0].entry(&hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{adaID, bobID}, Groups: []string{"g"}})
		for from := range 2 {
			frame := send(from, hubs.SendToGroups, func(e *hubs.Entry) { e.Groups = []string{"g"} })
			ada.expect(frame)
			bob.expect(frame)
			bob.expect(send(from, hubs.SendToUsers, func(e *hubs.Entry) { e.Users = []string{"bob"} }))
			ada.expect(send(from, hubs.SendToConnections, func(e *hubs.Entry) { e.Connections = []string{adaID} }))
			bob.expect(send(from, hubs.SendToAll, func(e *hubs.Entry) { e.Excluded = []string{adaID} }))
		}
		for i := range 2 {
			n, err := nodes[i].hub.Backplane().Ask(t.Context(), hubs.Query{Kind: hubs.CountGroup, Name: "g"})
			if err != nil || n != 2 {
				t.Errorf("node %d counts %d, %v", i, n, err)
			}
		}
	})
}
