package backplane

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
)

// choosy is a node that says what it has: connections, and the groups that they have
// been put into by entries.
type choosy struct {
	*node
	mu      sync.Mutex
	members map[string]bool
	joined  map[string]bool
	// looked is called when Joins has its answer, late comes when an entry is applied.
	looked func()
	late   string
}

func newChoosy() *choosy {
	n := &choosy{node: newNode(), members: make(map[string]bool), joined: make(map[string]bool)}
	n.node.hook = n.apply
	return n
}

func (n *choosy) apply(e *hubs.Entry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.late != "" {
		n.members[n.late] = true
	}
	for _, id := range e.Connections {
		for _, g := range e.Groups {
			if n.members[id] {
				n.members[g] = e.Kind == hubs.AddToGroup
				n.joined[g] = n.joined[g] || n.members[g]
			}
		}
	}
}

func (n *choosy) set(name string, is bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.members[name] = is
}

func (n *choosy) hasJoined(group string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.joined[group]
}

func (n *choosy) Members(f func(string) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, is := range n.members {
		if is && !f(name) {
			return
		}
	}
}

func (n *choosy) Joins(e *hubs.Entry) bool {
	n.mu.Lock()
	joins, looked := slices.ContainsFunc(e.Connections, func(id string) bool { return n.members[id] }), n.looked
	n.mu.Unlock()
	if looked != nil {
		looked()
	}
	return joins
}

func (n *choosy) Rests(string) {}

// come has a connection come to the node.
func (n *choosy) come(ctx context.Context, h *hubBackplane, connection string) error {
	release, err := h.Select(ctx, n, connection)
	if err != nil {
		return err
	}
	defer release()
	n.set(connection, true)
	return nil
}

// nameIn returns a name that is in a partition.
func nameIn(p Partitions, prefix string, partition int) string {
	for i := 0; ; i++ {
		if name := prefix + strconv.Itoa(i); p.of(name) == partition {
			return name
		}
	}
}

func groupMember(kind hubs.Kind, connection, group string) *hubs.Entry {
	return &hubs.Entry{Kind: kind, Connections: []string{connection}, Groups: []string{group}}
}

// An edge follows the first partition and those in which it has members: from before they
// are, until a while after they were.
func TestPartitions_are_followed_where_there_are_members(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := clusterRedis(t)
		set := partitions(1, 8)
		p := *set.Load()
		soon := func(c *Config) { c.SweepEvery = 50 * time.Millisecond }
		a, b := inPartitions(process(t, url, soon), set), inPartitions(process(t, url, soon), set)
		with, without := newChoosy(), newChoosy()
		for h, n := range map[*hubBackplane]*choosy{a: with, b: without} {
			if _, err := h.Subscribe(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
		connection, group := nameIn(p, "connection", 3), nameIn(p, "group", 5)
		if err := with.come(t.Context(), a, connection); err != nil {
			t.Fatal(err)
		}
		client := newClient(t, url)
		followers := func(partition int) int {
			return len(client.SMembers(t.Context(), redisclient.HubPartition(tenant, hub, p.name(partition)).Edges()).Val())
		}
		follow := func(what string, want ...int) {
			t.Helper()
			eventually(t, what, func() bool {
				for i, n := range want {
					if followers(i) != n {
						return false
					}
				}
				return true
			})
		}
		follow("edges of the connection's partition", 2, 0, 0, 1, 0, 0, 0, 0)

		sent := 0
		send := func() {
			t.Helper()
			sent++
			if _, err := b.Publish(t.Context(), groupEntry(group, sent), hubs.PublishOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		member := func(kind hubs.Kind) {
			t.Helper()
			if _, matched, err := b.Command(t.Context(), groupMember(kind, connection, group), hubs.PublishOptions{}); err != nil || matched != 1 {
				t.Fatalf("change of a member: %d, %v", matched, err)
			}
		}
		got := func() (some []int) {
			with.node.mu.Lock()
			defer with.node.mu.Unlock()
			for _, e := range with.entries {
				if e.Kind == hubs.SendToGroups {
					some = append(some, numbers([]*hubs.Entry{e})...)
				}
			}
			return some
		}
		send() // nobody is in the group
		for round := range 2 {
			member(hubs.AddToGroup)
			follow("edges of the group's partition", 2, 0, 0, 1, 0, 1, 0, 0)
			send()
			eventually(t, "message to the member", func() bool { return len(got()) == round+1 })
			member(hubs.RemoveFromGroup)
			follow("end of the group's partition", 2, 0, 0, 1, 0, 0, 0, 0)
			send()
		}
		if all := got(); !slices.Equal(all, []int{2, 4}) {
			t.Errorf("a member got %v", all)
		}

		// Others than the first are counted and listed by who follows them.
		member(hubs.AddToGroup)
		if n, err := b.Ask(t.Context(), hubs.Query{Kind: hubs.CountGroup, Name: group}); err != nil || n != with.matched {
			t.Errorf("members of the group: %d, %v", n, err)
		}
		if n, err := b.Ask(t.Context(), hubs.Query{Kind: hubs.CountConnections}); err != nil || n != with.matched+without.matched {
			t.Errorf("connections: %d, %v", n, err)
		}
		edges := redisclient.HubPartition(tenant, hub, p.name(5)).Edges()
		if err := client.SAdd(t.Context(), edges, "gone").Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := b.List(t.Context(), hubs.ListQuery{Kind: hubs.ListConnections, Group: group, Limit: 10}); err != nil {
			t.Errorf("list of the group: %v", err)
		}
		if is, err := client.SIsMember(t.Context(), edges, "gone").Result(); is || err != nil {
			t.Errorf("an edge that is gone is asked again: %v, %v", is, err)
		}
		without.node.mu.Lock()
		defer without.node.mu.Unlock()
		if len(without.entries) > 0 {
			t.Errorf("who has no members got %d entries", len(without.entries))
		}

		// What it has is followed after a change of the partitions.
		set.Store(&Partitions{Generation: 2, Count: 4})
		p = *set.Load()
		a.r.PartitionsChanged(tenant)
		b.r.PartitionsChanged(tenant)
		eventually(t, "partitions after the change", func() bool {
			for i := range p.Count {
				want := 0
				switch i {
				case 0:
					want = 2
				case p.of(connection), p.of(group):
					want = 1
				}
				if followers(i) != want {
					return false
				}
			}
			return true
		})
	})
}

// Who comes while it is put into a group gets what is sent to that once it is in it.
func TestPartitions_of_those_who_come_while_they_join(t *testing.T) {
	t.Parallel()
	url := clusterRedis(t)
	here, there := process(t, url), process(t, url)
	p := Partitions{Generation: 1, Count: 8}
	settings := func() Settings { return Settings{Partitions: p} }
	connection, group := nameIn(p, "connection", 3), nameIn(p, "group", 5)
	for name, comes := range map[string]func(t *testing.T, h *hubBackplane, n *choosy){
		"before": func(t *testing.T, h *hubBackplane, n *choosy) {
			if err := n.come(t.Context(), h, connection); err != nil {
				t.Error(err)
			}
		},
		"it is about to when that is looked at": func(t *testing.T, h *hubBackplane, n *choosy) {
			release, err := h.Select(t.Context(), n, connection)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(release)
			n.mu.Lock()
			defer n.mu.Unlock()
			n.late = connection
		},
		"it begins to when that has been looked at": func(t *testing.T, h *hubBackplane, n *choosy) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.looked = func() {
				if err := n.come(t.Context(), h, connection); err != nil {
					t.Error(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := here.HubWith(tenant, name, settings).(*hubBackplane)
			b := there.HubWith(tenant, name, settings).(*hubBackplane)
			n := newChoosy()
			leave, err := a.Subscribe(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			defer leave()
			comes(t, a, n)
			// For two, so that it is in the first partition, which everybody follows.
			e := &hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{connection, nameIn(p, "other", 4)}, Groups: []string{group}}
			if _, _, err := b.Command(t.Context(), e, hubs.PublishOptions{}); err != nil {
				t.Fatal(err)
			}
			if !n.hasJoined(group) {
				t.Fatal("it isn't in the group")
			}
			at, err := b.Publish(t.Context(), groupEntry(group, 1), hubs.PublishOptions{})
			if err != nil {
				t.Fatal(err)
			}
			n.wait(t, "message to the group", func(e []*hubs.Entry, _ []hubs.Gap) bool {
				return slices.ContainsFunc(e, func(e *hubs.Entry) bool { return e.Position() == at })
			})
		})
	}
}
