package hubs_test

import (
	"context"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

// timed applies entries with times of the test's choice.
type timed struct {
	t    *testing.T
	s    *hubs.Server
	base time.Time
}

func newTimed(t *testing.T, b hubs.Backplane) timed {
	return timed{t: t, s: newServer(t, hubs.Config{Backplane: b}), base: time.Now()}
}

// apply carries e out as accepted so many seconds after the test's begin.
func (x timed) apply(seconds float64, e hubs.Entry) int {
	e.At = x.base.Add(time.Duration(seconds * float64(time.Second)))
	return x.s.Apply(&e)
}

func (x timed) add(seconds float64, ttl int64) {
	x.t.Helper()
	e := hubs.Entry{Kind: hubs.AddUserToGroup, Users: []string{"ada"}, Groups: []string{"g"}, TTLSeconds: ttl}
	if matched := x.apply(seconds, e); matched != 1 {
		x.t.Errorf("adding the user matched %d connections, want 1", matched)
	}
}

// want sends to the group and checks whether the only connection gets it.
func (x timed) want(seconds float64, member bool) {
	x.t.Helper()
	b, _ := message("it")
	matched := x.apply(seconds, hubs.Entry{Kind: hubs.SendToGroups, Groups: []string{"g"}, Message: b})
	if (matched == 1) != member {
		x.t.Errorf("after %v s a message to the group reaches %d connections, member = %v", seconds, matched, member)
	}
}

func TestMembershipsOfAUserEndInTheHubsOrder(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T) timed {
		t.Parallel()
		x := newTimed(t, nil)
		connect(t, x.s, "ada", "c")
		return x
	}
	t.Run("at the end of the time", func(t *testing.T) {
		x := begin(t)
		x.add(0, 60)
		x.want(59.9, true)
		x.want(60, false)
		if c, _ := x.s.Connection("c"); len(c.Groups()) != 0 {
			t.Errorf("groups are %q", c.Groups())
		}
	})
	t.Run("by the time of the entries, however late they are applied", func(t *testing.T) {
		x := begin(t)
		x.add(-3600, 60)
		x.want(-3541, true)
		x.want(-3540, false)
	})
	t.Run("a newer time counts", func(t *testing.T) {
		x := begin(t)
		x.add(0, 60)
		x.add(30, 60)
		x.want(60, true)
		x.add(70, 5)
		x.want(75, false)
		x.add(80, 60)
		x.add(81, -1)
		x.want(1e6, true)
		x.add(1e6, 1)
		x.want(1e6+1, false)
	})
	t.Run("what a connection joined by itself stays", func(t *testing.T) {
		x := begin(t)
		x.add(0, 60)
		x.apply(1, hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{"c"}, Groups: []string{"g"}})
		x.add(2, 5)
		x.want(100, true)
	})
	t.Run("no time makes it last for the connections that exist", func(t *testing.T) {
		x := begin(t)
		x.add(0, 60)
		x.add(1, 0)
		x.want(1e6, true)
	})
	t.Run("leaving and joining again forgets the time", func(t *testing.T) {
		x := begin(t)
		x.add(0, 60)
		x.apply(1, hubs.Entry{Kind: hubs.RemoveUserFromGroup, Users: []string{"ada"}, Groups: []string{"g"}})
		x.want(2, false)
		x.apply(3, hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{"c"}, Groups: []string{"g"}})
		x.want(60, true)
		x.apply(61, hubs.Entry{Kind: hubs.RemoveUserFromGroups, Users: []string{"ada"}})
		x.want(62, false)
	})
}

// storedBus tells what a user's stored groups are.
type storedBus struct {
	*hubs.MemoryBackplane
	stored []hubs.UserGroup
}

func (b *storedBus) UserGroups(context.Context, string) ([]hubs.UserGroup, error) {
	return b.stored, nil
}

func TestLaterConnectionsGetWhatIsLeftOfTheTime(t *testing.T) {
	t.Parallel()
	b := &storedBus{MemoryBackplane: hubs.NewMemoryBackplane()}
	x := newTimed(t, b)
	b.stored = []hubs.UserGroup{{Name: "g", Until: x.base.Add(20 * time.Second), Left: 20 * time.Second}, {Name: "always"}}
	connect(t, x.s, "ada", "c")
	x.want(19, true)
	x.want(20, false)
	if c, _ := x.s.Connection("c"); len(c.Groups()) != 1 || c.Groups()[0] != "always" {
		t.Errorf("groups are %q, want always", c.Groups())
	}
}

// Where nothing is published, queries end memberships.
func TestQueriesSeeTheEndOfMemberships(t *testing.T) {
	t.Parallel()
	r := newRoom(t, hubs.Config{})
	r.do(2, hubs.Entry{Kind: hubs.AddUserToGroup, Users: []string{"ada"}, Groups: []string{"g"}, TTLSeconds: 1})
	r.count(2, hubs.Query{Kind: hubs.CountGroup, Name: "g"})
	deadline := time.Now().Add(10 * time.Second)
	for {
		n, err := r.s.Backplane().Ask(t.Context(), hubs.Query{Kind: hubs.CountUserInGroup, Name: "g", User: "ada"})
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are still in the group", n)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
