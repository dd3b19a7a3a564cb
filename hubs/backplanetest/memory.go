package backplanetest

import (
	"slices"
	"sync"
	"testing"

	"github.com/signalbox/signalbox/hubs"
)

func idempotentPublish(t *testing.T, open Open) {
	b := open(t, 2)
	n := newNode(1)
	subscribe(t, b[0], n)
	o := hubs.PublishOptions{IdempotencyKey: "order-17", Charge: 1}
	first := publish(t, b[0], text("once"), o)
	again := publish(t, b[1], text("once"), o)
	if first.Duplicate || !again.Duplicate || first.Number != again.Number || first.Epoch != again.Epoch {
		t.Errorf("positions are %+v and %+v", first, again)
	}
	other := publish(t, b[0], text("once"), hubs.PublishOptions{IdempotencyKey: "order-18"})
	if other.Duplicate || other.Number != first.Number+1 {
		t.Errorf("position with another key is %+v", other)
	}
	n.await(t, 2)
}

func idempotencyConflict(t *testing.T, open Open) {
	b := open(t, 1)
	n := newNode(1)
	subscribe(t, b[0], n)
	o := hubs.PublishOptions{IdempotencyKey: "k"}
	publish(t, b[0], text("one"), o)
	_, err := b[0].Publish(t.Context(), text("two"), o)
	errorIs(t, err, hubs.ErrIdempotencyConflict)
	publish(t, b[0], text("three"), hubs.PublishOptions{})
	if got := n.await(t, 2); textOf(t, got[1]) != textOf(t, text("three")) {
		t.Errorf("the refused entry was applied: %q", textOf(t, got[1]))
	}
}

func idempotentRace(t *testing.T, open Open) {
	b := open(t, 2)
	n := newNode(1)
	subscribe(t, b[0], n)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var fresh int
	for i := range 10 {
		wg.Go(func() {
			p, err := b[i%2].Publish(t.Context(), text("once"), hubs.PublishOptions{IdempotencyKey: "k"})
			if err != nil {
				t.Errorf("publish: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if !p.Duplicate {
				fresh++
			}
		})
	}
	wg.Wait()
	if fresh != 1 {
		t.Errorf("%d of 10 publishes were the first, want 1", fresh)
	}
	if last := publish(t, b[0], text("last"), hubs.PublishOptions{}); last.Number != 2 {
		t.Errorf("the next entry has number %d, want 2", last.Number)
	}
}

// groupsOf reads a user's stored groups, sorted.
func groupsOf(t *testing.T, b hubs.Backplane, user string) []string {
	t.Helper()
	g, err := b.UserGroups(t.Context(), user)
	if err != nil {
		t.Fatalf("user groups: %v", err)
	}
	var names []string
	for _, one := range g {
		names = append(names, one.Name)
	}
	return names
}

func wantGroups(t *testing.T, b hubs.Backplane, user string, want ...string) {
	t.Helper()
	if got := groupsOf(t, b, user); !slices.Equal(got, want) {
		t.Errorf("groups of %q are %q, want %q", user, got, want)
	}
}

func storedGroups(t *testing.T, open Open) {
	b := open(t, 2)
	wantGroups(t, b[0], "nobody")
	command(t, b[0], &hubs.Entry{Kind: hubs.AddUserToGroup, Users: []string{"u"}, Groups: []string{"b"}, TTLSeconds: -1})
	command(t, b[1], &hubs.Entry{Kind: hubs.AddUserToGroup, Users: []string{"u"}, Groups: []string{"a"}, TTLSeconds: 600})
	wantGroups(t, b[0], "u", "a", "b")
	wantGroups(t, b[1], "u", "a", "b")
	wantGroups(t, b[1], "U")
}

func storedGroupsNow(t *testing.T, open Open) {
	b := open(t, 1)
	command(t, b[0], &hubs.Entry{Kind: hubs.AddUserToGroup, Users: []string{"u"}, Groups: []string{"g"}, TTLSeconds: 0})
	wantGroups(t, b[0], "u")
}

func storedGroupsRemoved(t *testing.T, open Open) {
	b := open(t, 1)
	for _, g := range []string{"a", "b", "c"} {
		command(t, b[0], &hubs.Entry{Kind: hubs.AddUserToGroup, Users: []string{"u"}, Groups: []string{g}, TTLSeconds: -1})
	}
	command(t, b[0], &hubs.Entry{Kind: hubs.RemoveUserFromGroup, Users: []string{"u"}, Groups: []string{"b"}})
	wantGroups(t, b[0], "u", "a", "c")
	command(t, b[0], &hubs.Entry{Kind: hubs.RemoveUserFromGroups, Users: []string{"u"}})
	wantGroups(t, b[0], "u")
}
