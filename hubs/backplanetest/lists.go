package backplanetest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signalbox/signalbox/hubs"
)

func list(t *testing.T, b hubs.Backplane, q hubs.ListQuery) hubs.Page {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	p, err := b.List(ctx, q)
	if err != nil {
		t.Fatalf("list %+v: %v", q, err)
	}
	return p
}

// allPages follows a list to its end and returns what it lists.
func allPages(t *testing.T, b hubs.Backplane, q hubs.ListQuery) []hubs.Listed {
	t.Helper()
	var all []hubs.Listed
	for range 1000 {
		p := list(t, b, q)
		if len(p.Items) > q.Limit {
			t.Fatalf("a page of %d has %d items", q.Limit, len(p.Items))
		}
		all = append(all, p.Items...)
		if !p.More {
			return all
		}
		q.After = p.Items[len(p.Items)-1].Name
	}
	t.Fatal("the list doesn't end")
	return nil
}

func listMerges(t *testing.T, open Open) {
	b := open(t, 2)
	nodes := []*node{newNode(1), newNode(1)}
	nodes[0].page = hubs.Page{Items: []hubs.Listed{{Name: "a", Connections: 1}, {Name: "c", Connections: 2}}}
	nodes[1].page = hubs.Page{Items: []hubs.Listed{{Name: "b", Connections: 3}, {Name: "c", Connections: 4}, {Name: "ü", Connections: 1}}}
	subscribe(t, b[0], nodes[0])
	subscribe(t, b[1], nodes[1])
	q := hubs.ListQuery{Kind: hubs.ListUsers, Group: "g", User: "u", Connection: "c", After: "A", Limit: 3, Hashed: true}
	for i := range b {
		want := hubs.Page{Items: []hubs.Listed{{Name: "a", Connections: 1}, {Name: "b", Connections: 3}, {Name: "c", Connections: 6}}, More: true}
		if diff := cmp.Diff(want, list(t, b[i], q)); diff != "" {
			t.Errorf("the page (-want +got):\n%s", diff)
		}
	}
	for _, n := range nodes {
		n.mu.Lock()
		if diff := cmp.Diff([]hubs.ListQuery{q, q}, n.lists); diff != "" {
			t.Errorf("the node was asked (-want +got):\n%s", diff)
		}
		n.mu.Unlock()
	}
}

func listEndsWithAPart(t *testing.T, open Open) {
	b := open(t, 2)
	nodes := []*node{newNode(1), newNode(1)}
	// What the first node has behind b isn't known.
	nodes[0].page = hubs.Page{Items: []hubs.Listed{{Name: "b", Connections: 1}}, More: true}
	nodes[1].page = hubs.Page{Items: []hubs.Listed{{Name: "a", User: "u", Connections: 1}, {Name: "c", Connections: 1}}}
	subscribe(t, b[0], nodes[0])
	subscribe(t, b[1], nodes[1])
	want := hubs.Page{Items: []hubs.Listed{{Name: "a", User: "u", Connections: 1}, {Name: "b", Connections: 1}}, More: true}
	if diff := cmp.Diff(want, list(t, b[0], hubs.ListQuery{Kind: hubs.ListConnections, Limit: 10})); diff != "" {
		t.Errorf("the page (-want +got):\n%s", diff)
	}
}

func listWithoutNodes(t *testing.T, open Open) {
	b := open(t, 1)
	if p := list(t, b[0], hubs.ListQuery{Kind: hubs.ListConnections, Limit: 1}); len(p.Items) > 0 || p.More {
		t.Errorf("the page is %+v", p)
	}
}

func listRefused(t *testing.T, open Open) {
	b := open(t, 1)
	subscribe(t, b[0], newNode(1))
	for _, q := range []hubs.ListQuery{
		{Limit: 1}, {Kind: 99, Limit: 1}, {Kind: hubs.ListUsers}, {Kind: hubs.ListUsers, Limit: -1},
		{Kind: hubs.ListUsers, Limit: hubs.MaxListed + 1}, {Kind: hubs.ListUsers, Hashed: true, Limit: hubs.MaxListedHashes + 1},
	} {
		if p, err := b[0].List(t.Context(), q); err == nil {
			t.Errorf("%+v is answered with %+v", q, p)
		}
	}
}

// listsOfServers spreads connections over three nodes and lists them in all ways.
func listsOfServers(t *testing.T, open Open) {
	b := open(t, 3)
	var servers []*hubs.Server
	for i := range b {
		servers = append(servers, serverOf(t, b[i]))
	}
	const connections, users, groups = 60, 7, 5
	want := map[hubs.ListQuery]map[string]int{}
	expect := func(q hubs.ListQuery, name string) {
		if want[q] == nil {
			want[q] = map[string]int{}
		}
		want[q][name]++
	}
	for i := range connections {
		id, user, group := fmt.Sprintf("c%02d", i), fmt.Sprint("u", i%users), fmt.Sprint("g", i%groups)
		c := dialAs(t, servers[i%3], id, user)
		c.invoke("j", "Join", "")
		c.expect(`{"type":3,"invocationId":"j","result":null}`)
		if _, matched := command(t, b[(i+1)%3], &hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{id}, Groups: []string{group}}); matched != 1 {
			t.Fatalf("%s doesn't join %s", id, group)
		}
		for _, g := range []string{"", "g", group} {
			for _, u := range []string{"", user} {
				expect(hubs.ListQuery{Kind: hubs.ListConnections, Group: g, User: u}, id)
			}
			expect(hubs.ListQuery{Kind: hubs.ListUsers, Group: g}, user)
		}
		for _, g := range []string{"g", group} {
			expect(hubs.ListQuery{Kind: hubs.ListGroups}, g)
			expect(hubs.ListQuery{Kind: hubs.ListGroups, User: user}, g)
			expect(hubs.ListQuery{Kind: hubs.ListGroups, Connection: id}, g)
		}
	}
	for i, q := range []hubs.ListQuery{
		{Kind: hubs.ListConnections, Group: "nobody's"}, {Kind: hubs.ListUsers, Group: "nobody's"},
		{Kind: hubs.ListGroups, User: "nobody"}, {Kind: hubs.ListGroups, Connection: "nobody"},
	} {
		want[q] = map[string]int{}
		if n, err := hubs.CountListed(t.Context(), b[i%3], q); n != 0 || err != nil {
			t.Errorf("count of %+v: %d, %v", q, n, err)
		}
	}
	for q, names := range want {
		for _, limit := range []int{7, hubs.MaxListed} {
			paged := q
			paged.Limit = limit
			got := map[string]int{}
			var order []string
			for _, item := range allPages(t, b[limit%3], paged) {
				got[item.Name] += item.Connections
				order = append(order, item.Name)
				if q.Kind == hubs.ListConnections && (item.User == "" || q.User != "" && item.User != q.User) {
					t.Errorf("%+v: %+v", q, item)
				}
			}
			if diff := cmp.Diff(names, got); diff != "" {
				t.Errorf("%+v by %d (-want +got):\n%s", q, limit, diff)
			}
			if !slices.IsSorted(order) || len(order) != len(names) {
				t.Errorf("%+v by %d: the order is %q", q, limit, order)
			}
		}
		if n, err := hubs.CountListed(t.Context(), b[0], q); n != len(names) || err != nil {
			t.Errorf("count of %+v: %d, %v; want %d", q, n, err, len(names))
		}
	}
}
