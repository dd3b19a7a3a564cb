package backplanetest

import (
	"testing"

	"github.com/signalbox/signalbox/hubs"
)

func subscribeBeforePublish(t *testing.T, open Open) {
	b := open(t, 2)
	for range 20 {
		n := newNode(1)
		leave := subscribe(t, b[1], n)
		publish(t, b[0], text("x"), hubs.PublishOptions{})
		n.await(t, 1)
		leave()
	}
}

func nothingFromBefore(t *testing.T, open Open) {
	b := open(t, 2)
	for range 5 {
		publish(t, b[0], text("before"), hubs.PublishOptions{})
	}
	n := newNode(1)
	subscribe(t, b[1], n)
	publish(t, b[0], text("after"), hubs.PublishOptions{})
	if got := n.await(t, 1); textOf(t, got[0]) != textOf(t, text("after")) || got[0].Number != 6 {
		t.Errorf("the first entry is %q with number %d", textOf(t, got[0]), got[0].Number)
	}
}

func toldWhereItBegins(t *testing.T, open Open) {
	b := open(t, 2)
	began := func(n *node) hubs.Position {
		t.Helper()
		n.mu.Lock()
		defer n.mu.Unlock()
		if len(n.began) != 1 {
			t.Fatalf("told %d times where it begins", len(n.began))
		}
		return n.began[0]
	}
	first := newNode(1)
	leave := subscribe(t, b[0], first)
	if at := began(first); at.Number != 0 {
		t.Errorf("in a new hub a node begins behind %+v", at)
	}
	last := publish(t, b[1], text("1"), hubs.PublishOptions{})
	first.await(t, 1)
	// One that comes to others of its process, and one that is the first there.
	for _, n := range []struct {
		node *node
		at   hubs.Backplane
	}{{newNode(1), b[0]}, {newNode(1), b[1]}} {
		subscribe(t, n.at, n.node)
		if at := began(n.node); at != last {
			t.Errorf("a node begins behind %+v, want %+v", at, last)
		}
	}
	leave()
	last = publish(t, b[1], text("2"), hubs.PublishOptions{})
	again := newNode(1)
	subscribe(t, b[1], again)
	publish(t, b[0], text("3"), hubs.PublishOptions{})
	again.mu.Lock()
	at := again.began[0]
	again.mu.Unlock()
	if got := again.await(t, 1); got[0].Number != at.Number+1 || at.Epoch != last.Epoch {
		t.Errorf("behind %+v comes %d of %s", at, got[0].Number, got[0].Epoch)
	}
}

func nothingAfterLeave(t *testing.T, open Open) {
	b := open(t, 2)
	stays, leaves := newNode(1), newNode(1)
	subscribe(t, b[0], stays)
	leave := subscribe(t, b[1], leaves)
	publish(t, b[0], text("1"), hubs.PublishOptions{})
	stays.await(t, 1)
	leaves.await(t, 1)
	leave()
	publish(t, b[0], text("2"), hubs.PublishOptions{})
	stays.await(t, 2)
	if _, n := command(t, b[0], &hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{"c"}, Groups: []string{"g"}}); n != 1 {
		t.Errorf("the command matched %d, want 1", n)
	}
	if got := len(leaves.seen()); got != 1 {
		t.Errorf("the node that left applied %d entries, want 1", got)
	}
}

func subscribeAgain(t *testing.T, open Open) {
	b := open(t, 1)
	n := newNode(1)
	leave := subscribe(t, b[0], n)
	publish(t, b[0], text("1"), hubs.PublishOptions{})
	n.await(t, 1)
	leave()
	publish(t, b[0], text("2"), hubs.PublishOptions{})
	subscribe(t, b[0], n)
	publish(t, b[0], text("3"), hubs.PublishOptions{})
	if got := n.await(t, 2); got[1].Number != 3 {
		t.Errorf("the entry after the second subscription has number %d, want 3", got[1].Number)
	}
}

func commandSums(t *testing.T, open Open) {
	b := open(t, 2)
	subscribe(t, b[0], newNode(2))
	subscribe(t, b[1], newNode(3))
	for i := range 2 {
		p, n := command(t, b[i], &hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{"c"}, Groups: []string{"g"}})
		if n != 5 || p.Number != uint64(i+1) {
			t.Errorf("command %d matched %d at %+v, want 5", i, n, p)
		}
	}
}

func commandWithoutNodes(t *testing.T, open Open) {
	b := open(t, 1)
	if p, n := command(t, b[0], &hubs.Entry{Kind: hubs.CloseConnections, Connections: []string{"c"}}); n != 0 || p.Number != 1 {
		t.Errorf("the command matched %d at %+v", n, p)
	}
}

func askSums(t *testing.T, open Open) {
	b := open(t, 2)
	nodes := []*node{newNode(2), newNode(3)}
	subscribe(t, b[0], nodes[0])
	subscribe(t, b[1], nodes[1])
	q := hubs.Query{Kind: hubs.CountUserInGroup, Name: "g", User: "u"}
	for i := range b {
		n, err := b[i].Ask(t.Context(), q)
		if err != nil || n != 5 {
			t.Errorf("node %d was answered %d, %v; want 5", i, n, err)
		}
	}
	for i, n := range nodes {
		n.mu.Lock()
		if len(n.queries) != 2 || n.queries[0] != q {
			t.Errorf("node %d was asked %+v, want %+v twice", i, n.queries, q)
		}
		n.mu.Unlock()
	}
}

func askWithoutNodes(t *testing.T, open Open) {
	b := open(t, 1)
	if n, err := b[0].Ask(t.Context(), hubs.Query{Kind: hubs.CountConnections}); n != 0 || err != nil {
		t.Errorf("the answer is %d, %v", n, err)
	}
}
