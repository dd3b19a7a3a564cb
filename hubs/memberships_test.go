package hubs_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/signalbox/signalbox/hubs"
)

// purse is a hubs.Memberships with a number of them.
type purse struct{ left atomic.Int64 }

func newPurse(n int64) *purse {
	p := new(purse)
	p.left.Store(n)
	return p
}

func (p *purse) Join() error {
	if p.left.Add(-1) < 0 {
		p.left.Add(1)
		return hubs.NewError("there are no more")
	}
	return nil
}

func (p *purse) Leave(n int) { p.left.Add(int64(n)) }

// SEC-27: the groups of all connections are bounded together, and what is left
// again is free again, in whatever way it was left.
func TestSEC_27_groups_of_all_connections_are_bounded(t *testing.T) {
	t.Parallel()
	shared, counted := newPurse(10), new(meter)
	a := newServer(t, hubs.Config{Memberships: shared, Meter: counted})
	b := newServer(t, hubs.Config{Memberships: shared, Options: hubs.Options{MaximumGroups: 3}})
	greedy := connect(t, a, "ann", "greedy")
	connect(t, b, "", "other")
	ctx := t.Context()
	refused := 0
	for i := range 1000 {
		err := a.Context().AddToGroup(ctx, "greedy", fmt.Sprint("g", i))
		var shown *hubs.Error
		if errors.As(err, &shown) && shown.Error() == "there are no more" {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if c, _ := a.Connection("greedy"); refused != 990 || len(c.Groups()) != 10 || c.CanJoin() == nil {
		t.Errorf("%d refused, in %d groups", refused, len(c.Groups()))
	}
	counted.get(func() {
		if counted.refused[hubs.RefusedMemberships] != 990 || counted.refused[hubs.RefusedGroups] != 0 {
			t.Errorf("counted %v", counted.refused)
		}
	})
	if err := b.Context().AddToGroup(ctx, "other", "g"); err == nil {
		t.Error("another hub's connection joined")
	}
	if err := a.Context().AddToGroup(ctx, "greedy", "g1"); err != nil {
		t.Errorf("it is in the group already: %v", err)
	}
	if err := a.Context().RemoveFromGroup(ctx, "greedy", "g1"); err != nil {
		t.Fatal(err)
	}
	if err := b.Context().AddToGroup(ctx, "other", "g"); err != nil {
		t.Errorf("one was left: %v", err)
	}
	command(t, a, &hubs.Entry{Kind: hubs.RemoveFromAllGroups, Connections: []string{"greedy"}})
	if n := shared.left.Load(); n != 9 {
		t.Errorf("%d are free, want 9", n)
	}
	for i := range 5 {
		err := b.Context().AddToGroup(ctx, "other", fmt.Sprint("g", i))
		if want := i >= 2; (err != nil) != want {
			t.Errorf("group %d of a connection that may be in 3: %v", i+2, err)
		}
	}
	// Those of a user count for each connection, and end with it.
	command(t, a, &hubs.Entry{Kind: hubs.AddUserToGroup, Users: []string{"ann"}, Groups: []string{"x", "y"}, TTLSeconds: -1})
	second := connect(t, a, "ann", "second")
	if n := shared.left.Load(); n != 3 {
		t.Errorf("%d are free, want 3", n)
	}
	second.hangUp()
	greedy.hangUp()
	until(t, "those of the connections that ended to be free", func() bool { return shared.left.Load() == 7 })
}
