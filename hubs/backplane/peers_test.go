package backplane

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/redisclient"
)

// edgeOf is an Ownership that answers the others, and how often it was asked.
type edgeOf struct {
	*Ownership
	asked atomic.Int64
	front atomic.Pointer[http.HandlerFunc] // in its place, when set
}

func newEdge(t *testing.T, c *redis.Client, run string) *edgeOf {
	t.Helper()
	e := new(edgeOf)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.asked.Add(1)
		if f := e.front.Load(); f != nil {
			(*f)(w, r)
			return
		}
		e.ServeOwner(w, r)
	}))
	e.Ownership = newOwnership(t, c, run, server.Listener.Addr().String())
	server.Start()
	t.Cleanup(server.Close)
	return e
}

// acquainted waits until the edges know each other.
func acquainted(t *testing.T, all ...*edgeOf) {
	t.Helper()
	for _, e := range all {
		eventually(t, "edges that know each other", func() bool {
			e.peers.mu.Lock()
			defer e.peers.mu.Unlock()
			return len(e.peers.known) == len(all)-1
		})
	}
}

// Each edge has its own way to Redis, which ends; a connection that was claimed
// before or after that is found by an edge that never heard of it.
func TestOwnership_asks_other_edges_without_Redis(t *testing.T) {
	p, url := newProxy(t, newRedis(t))
	a, b, c := newEdge(t, newClient(t, url), "a"), newEdge(t, newClient(t, url), "b"), newEdge(t, newClient(t, url), "c")
	acquainted(t, a, b, c)
	if _, err := a.Claim(t.Context(), scope, "before"); err != nil {
		t.Fatal(err)
	}
	p.refuse.Store(true)
	p.cut()
	if _, err := a.Claim(t.Context(), scope, "after"); !errors.Is(err, errUnsure) {
		t.Fatalf("claim without Redis: %v", err)
	}
	for _, id := range []string{"before", "after"} {
		if name := owner(t, b.Ownership, id); name != "a" {
			t.Errorf("owner of %s: %q, want a", id, name)
		}
	}
	// A second poll of another's connection: the claim isn't one.
	if _, err := c.Claim(t.Context(), scope, "after"); !errors.Is(err, errUnsure) {
		t.Errorf("claim of another's: %v", err)
	}
	if name := owner(t, c.Ownership, "after"); name != "a" {
		t.Errorf("owner of it: %q, want a", name)
	}
	if name := owner(t, b.Ownership, "after"); name != "a" {
		t.Errorf("owner of it, by the third: %q, want a", name)
	}
	// A first poll: nobody has it, and from now on this edge does.
	if _, err := c.Claim(t.Context(), scope, "first"); !errors.Is(err, errUnsure) {
		t.Errorf("claim without Redis: %v", err)
	}
	if _, err := c.Owner(t.Context(), scope, "first"); !errors.Is(err, errSpent) {
		t.Errorf("owner of what nobody has: %v, want spent", err)
	}
	if name := owner(t, b.Ownership, "first"); name != "c" {
		t.Errorf("owner of what was claimed then: %q, want c", name)
	}

	// What is known, and what nobody has, isn't asked for again.
	_ = owner(t, b.Ownership, "nobody's")
	asked := a.asked.Load()
	for range 5 {
		_, _ = owner(t, b.Ownership, "nobody's"), owner(t, b.Ownership, "after")
	}
	if n := a.asked.Load() - asked; n != 0 {
		t.Errorf("%d more questions, want none", n)
	}

	// An edge that doesn't answer may have it: that is not the end of a connection.
	broken := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	a.front.Store(&broken)
	if _, err := b.Owner(t.Context(), scope, "perhaps a's"); !errors.Is(err, errGone) {
		t.Errorf("with an edge that doesn't answer: %v, want gone", err)
	}

	p.refuse.Store(false)
	direct := newClient(t, url)
	for id, want := range map[string]string{"after": "a", "first": "c"} {
		eventually(t, "registered claim of "+id, func() bool {
			return direct.Get(background, redisclient.Hub(tenant, hub).Owner(id)).Val() == want
		})
	}
}

// A Redis that has lost everything doesn't make an edge forget those that haven't told
// it of themselves again.
func TestOwnership_knows_other_edges_when_Redis_is_empty(t *testing.T) {
	c := newClient(t, newRedis(t))
	a, b := newEdge(t, c, "a"), newEdge(t, c, "b")
	acquainted(t, a, b)
	for _, lost := range []bool{true, false} {
		if err := c.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if lost { // the answer that says so is lost, too, and the script is carried out again
			if err := noteEdge.Eval(t.Context(), c, []string{redisclient.Edges}, a.peers.member(), int(leaseLife.Seconds())).Err(); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "renewal", func() bool { return a.peers.renew(t.Context()) == nil })
		if a.peers.address("b") == "" {
			t.Errorf("the other edge is forgotten (answer lost: %t)", lost)
		}
	}
}

// Redis knows nothing of what was claimed while it was away until it is told.
func TestOwnership_doubts_Redis_after_an_outage(t *testing.T) {
	direct := newRedis(t)
	p, url := newProxy(t, direct)
	a, b := newEdge(t, newClient(t, url), "a"), newEdge(t, newClient(t, direct), "b")
	acquainted(t, a, b)
	p.refuse.Store(true)
	p.cut()
	if _, err := a.Claim(t.Context(), scope, "c1"); !errors.Is(err, errUnsure) {
		t.Fatalf("claim without Redis: %v", err)
	}
	if _, err := b.Owner(t.Context(), scope, "c1"); !errors.Is(err, errSpent) {
		t.Errorf("owner, with no reason for doubt: %v", err)
	}
	b.failed(errAway)
	b.mu.Lock()
	b.away = b.doubt.Add(-2 * doubtFor) // and it is back
	b.mu.Unlock()
	if name := owner(t, b.Ownership, "c1"); name != "a" {
		t.Errorf("owner %q, want a", name)
	}
}

// A tenant that asks for more and more connections makes no more than its share of
// questions.
func TestPeers_are_asked_within_a_tenants_rate(t *testing.T) {
	c := newClient(t, newRedis(t))
	a, b := newEdge(t, c, "a"), newEdge(t, c, "b")
	acquainted(t, a, b)
	refused := 0
	for range 2 * peersBurst {
		if _, err := b.peers.admit("hostile"); errors.Is(err, errPeers) {
			refused++
		}
	}
	if refused == 0 {
		t.Error("every question was let through")
	}
	if _, err := b.peers.admit("other"); err != nil {
		t.Errorf("another tenant: %v", err)
	}
}

func TestServeOwner_refuses_what_is_no_connection(t *testing.T) {
	a := newEdge(t, newClient(t, newRedis(t)), "a")
	for query, want := range map[string]int{"": 400, "scope=x&id=y": 400, "scope=t/h": 400, "scope=t/h&id=" + strings.Repeat("i", 200): 400, "scope=t/h&id=y": 404} {
		w := httptest.NewRecorder()
		a.ServeOwner(w, httptest.NewRequest(http.MethodGet, OwnerPath+"?"+query, nil))
		if w.Code != want {
			t.Errorf("%q: %d, want %d", query, w.Code, want)
		}
	}
}
