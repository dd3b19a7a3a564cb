package hubs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// diff is a $presence message.
type diff struct {
	Group                  string
	Joins, Updates, Leaves []shown
	Count                  int
	Reset                  bool
}

type shown struct {
	ConnectionID, UserID string
	State                any
}

func (d diff) String() string {
	list := func(members []shown) string {
		var all []string
		for _, m := range members {
			all = append(all, fmt.Sprint(m.ConnectionID, "=", m.State))
		}
		return strings.Join(all, " ")
	}
	return fmt.Sprintf("+[%s] ~[%s] -[%s] %d", list(d.Joins), list(d.Updates), list(d.Leaves), d.Count)
}

// wantDiff waits for the next change that a watcher is told of.
func (c *peer) wantDiff(want string) {
	c.t.Helper()
	m := c.want(protocol.Invocation, "")
	raw := protocol.AppendElements(nil, m.Arguments)
	if m.Target != "$presence" || len(raw) != 1 {
		c.t.Fatalf("got %+v, want a change", m)
	}
	text, err := protocol.AppendJSON(nil, raw[0])
	if err != nil {
		c.t.Fatal(err)
	}
	var d diff
	if err := json.Unmarshal(text, &d); err != nil {
		c.t.Fatal(err)
	}
	if d.String() != want {
		c.t.Fatalf("told %v, want %s", d, want)
	}
}

// enter makes a connection present as the edge does.
func enter(t *testing.T, s *hubs.Server, id, group, state string) {
	t.Helper()
	c, ok := s.Connection(id)
	if !ok {
		t.Fatalf("no connection %s", id)
	}
	e, settle := c.AnnouncePresence(group, []byte(state))
	if e == nil {
		t.Fatalf("%s is not in %s", id, group)
	}
	defer settle()
	if _, err := s.Backplane().Publish(t.Context(), e, hubs.PublishOptions{}); err != nil {
		t.Fatal(err)
	}
}

// watch makes a connection a watcher and returns the members of its snapshot.
func watch(t *testing.T, s *hubs.Server, id, group string) string {
	t.Helper()
	c, _ := s.Connection(id)
	var members []shown
	if err := c.WatchPresence(t.Context(), group, func(text []byte, _ int) error { return json.Unmarshal(text, &members) }); err != nil {
		t.Fatal(err)
	}
	return diff{Joins: members}.String()
}

func join(t *testing.T, s *hubs.Server, group string, ids ...string) {
	t.Helper()
	if got := command(t, s, &hubs.Entry{Kind: hubs.AddToGroup, Connections: ids, Groups: []string{group}}); got != len(ids) {
		t.Fatalf("%d of %d joined", got, len(ids))
	}
}

func present(t *testing.T, s *hubs.Server, group string) int {
	t.Helper()
	n, err := s.Backplane().Ask(t.Context(), hubs.Query{Kind: hubs.CountPresent, Name: group})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestPresence_on_two_nodes(t *testing.T) {
	t.Parallel()
	bothProtocols(t, func(t *testing.T, p protocol.Protocol) {
		b := hubs.NewMemoryBackplane()
		one, two := newServer(t, hubs.Config{Backplane: b}), newServer(t, hubs.Config{Backplane: b})
		watcher := dial(t, one, p, "", "w")
		ann, bob, ben := dial(t, one, p, "ann", "a"), dial(t, two, p, "bob", "b1"), dial(t, two, p, "bob", "b2")
		join(t, one, "g", "a", "b1", "b2")
		enter(t, one, "a", "g", `"here"`)
		enter(t, two, "b1", "g", `{"x":1}`)
		if got := watch(t, one, "w", "g"); got != "+[a=here b1=map[x:1]] ~[] -[] 0" {
			t.Errorf("snapshot %s", got)
		}
		enter(t, two, "b2", "g", "null")
		watcher.wantDiff("+[b2=<nil>] ~[] -[] 3")
		enter(t, one, "a", "g", `"busy"`)
		watcher.wantDiff("+[] ~[a=busy] -[] 3")
		// A second watcher gets what the first has seen, from this node's copy.
		if got := watch(t, one, "a", "g"); got != "+[a=busy b1=map[x:1] b2=<nil>] ~[] -[] 0" {
			t.Errorf("snapshot %s", got)
		}
		if n := present(t, one, "g"); n != 3 {
			t.Errorf("%d are present, want 3", n)
		}
		page, err := b.List(t.Context(), hubs.ListQuery{Kind: hubs.ListPresentUser, Group: "g", Limit: 10})
		if err != nil || len(page.Items) != 2 || page.Items[1].Name != "bob" || page.Items[1].Connections != 2 {
			t.Errorf("users %+v, %v", page.Items, err)
		}

		// Who leaves the group, or is gone, isn't present.
		command(t, two, &hubs.Entry{Kind: hubs.RemoveFromGroup, Connections: []string{"b1"}, Groups: []string{"g"}})
		watcher.wantDiff("+[] ~[] -[b1=<nil>] 2")
		ann.wantDiff("+[] ~[] -[b1=<nil>] 2")
		ben.hangUp()
		watcher.wantDiff("+[] ~[] -[b2=<nil>] 1")
		ann.wantDiff("+[] ~[] -[b2=<nil>] 1")
		ann.hangUp()
		watcher.wantDiff("+[] ~[] -[a=<nil>] 0")
		until(t, "nobody is present", func() bool { return present(t, two, "g") == 0 && present(t, two, "") == 0 })
		if c, _ := two.Connection("b1"); c.Present("g") {
			t.Error("a connection that left the group is present in it")
		} else if e, _ := c.AnnouncePresence("g", nil); e != nil {
			t.Error("a connection can be present in a group that it isn't in")
		}
		_ = bob
	})
}

func TestPresence_ends_by_token(t *testing.T) {
	t.Parallel()
	b := hubs.NewMemoryBackplane()
	s := newServer(t, hubs.Config{Backplane: b})
	w := dial(t, s, protocol.NewJSON(), "", "w")
	dial(t, s, protocol.NewJSON(), "", "a")
	join(t, s, "g", "a")
	watch(t, s, "w", "g")
	enter(t, s, "a", "g", "1")
	w.wantDiff("+[a=1] ~[] -[] 1")
	page, err := b.List(t.Context(), hubs.ListQuery{Kind: hubs.ListPresent, Group: "g", Limit: 10})
	if err != nil || len(page.Items) != 1 {
		t.Fatalf("%+v, %v", page, err)
	}
	token := page.Items[0].Token
	// An end of something else ends nothing.
	end := &hubs.Entry{Kind: hubs.PresenceGone, Connections: []string{"a"}, Groups: []string{"g"}, Reason: token + "0"}
	command(t, s, end)
	// Other nodes took this one for dead: it says that its member lives.
	prefix, _, _ := strings.Cut(token, ".")
	end.Reason = prefix + ".*"
	command(t, s, end)
	w.wantDiff("+[] ~[] -[a=<nil>] 0")
	w.wantDiff("+[a=1] ~[] -[] 1")
	// The end that comes twice, late, changes nothing.
	end.Reason = token
	command(t, s, end)
	enter(t, s, "a", "g", "2")
	w.wantDiff("+[] ~[a=2] -[] 1")
	// A backend says it, and takes it away.
	command(t, s, &hubs.Entry{Kind: hubs.PresenceWish, Connections: []string{"a"}, Groups: []string{"g"}, Message: &hubs.Broadcast{Arguments: protocol.Raw{Bytes: []byte("3")}}})
	w.wantDiff("+[] ~[a=3] -[] 1")
	command(t, s, &hubs.Entry{Kind: hubs.PresenceWish, Connections: []string{"a"}, Groups: []string{"g"}})
	w.wantDiff("+[] ~[] -[a=<nil>] 0")
}

// Above 200 members changes are gathered.
func TestPresence_of_many_is_told_in_batches(t *testing.T) {
	t.Parallel()
	b := hubs.NewMemoryBackplane()
	s := newServer(t, hubs.Config{Backplane: b})
	w := dial(t, s, protocol.NewJSON(), "", "w")
	watch(t, s, "w", "g")
	const crowd = 300
	for i := range crowd { // members of a node that isn't here
		if _, err := b.Publish(t.Context(), &hubs.Entry{
			Kind: hubs.PresenceSet, Connections: []string{fmt.Sprintf("c%03d", i)}, Groups: []string{"g"}, Reason: "far.1",
			Message: &hubs.Broadcast{Arguments: protocol.Raw{Bytes: []byte("0")}},
		}, hubs.PublishOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 200 {
		w.wantDiff(fmt.Sprintf("+[c%03d=0] ~[] -[] %d", i, i+1))
	}
	var rest []string
	for i := 200; i < crowd; i++ {
		rest = append(rest, fmt.Sprintf("c%03d=0", i))
	}
	w.wantDiff(fmt.Sprintf("+[%s] ~[] -[] %d", strings.Join(rest, " "), crowd))
	// Who comes and goes in between is not told of; one end for all of a dead node.
	command(t, s, &hubs.Entry{Kind: hubs.PresenceSet, Connections: []string{"short"}, Groups: []string{"g"}, Reason: "far.2", Message: &hubs.Broadcast{}})
	command(t, s, &hubs.Entry{Kind: hubs.PresenceGone, Connections: []string{"short", "c000"}, Groups: []string{"g"}, Reason: "far.*"})
	w.wantDiff("+[] ~[] -[c000=<nil>] 299")
}

// mute is a Backplane that is away for what nobody waits for: each such publish lasts
// as long as its context.
type mute struct {
	*hubs.MemoryBackplane
	begun chan struct{}
}

func (m *mute) Publish(ctx context.Context, e *hubs.Entry, o hubs.PublishOptions) (hubs.Position, error) {
	if e.Kind != hubs.PresenceGone {
		return m.MemoryBackplane.Publish(ctx, e, o)
	}
	m.begun <- struct{}{}
	<-ctx.Done()
	return hubs.Position{}, fmt.Errorf("%w: %w", hubs.ErrUnavailable, ctx.Err())
}

// When a process has to end, no hub waits for a Backplane that is away: neither for a
// publish under way nor for its repeat.
func TestPresence_ends_with_the_process(t *testing.T) {
	t.Parallel()
	var servers []*hubs.Server
	for range 3 {
		b := &mute{hubs.NewMemoryBackplane(), make(chan struct{}, 1)}
		s := newServer(t, hubs.Config{Backplane: b})
		s.WaitForPresence(time.Hour)
		w := connect(t, s, "", "c")
		join(t, s, "g", "c")
		enter(t, s, "c", "g", "1")
		w.hangUp()
		<-b.begun
		until(t, "the client is gone", func() bool { return s.Connections() == 0 })
		if s.IdleFor() != 0 {
			t.Error("a hub is idle that has the end of a presence to publish")
		}
		servers = append(servers, s)
	}
	ended, forced := context.WithCancel(t.Context())
	forced()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := hubs.Drain(ended, 0, servers...); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("drain: %v", err)
		}
		for _, s := range servers {
			if err := s.CloseBy(ended); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(wait):
		t.Fatal("hubs wait for the Backplane that is away")
	}
}

// A crowd that comes and goes is told in pieces that fit a client's queue, each member
// once.
func TestPresence_of_a_crowd_is_told_in_pieces(t *testing.T) {
	t.Parallel()
	const members, most = 400, 160 << 10
	s := newServer(t, hubs.Config{})
	watcher := dial(t, s, protocol.NewJSON(), "", "w")
	watch(t, s, "w", "g")
	var all []*wire
	var ids []string
	for n := range members {
		ids = append(ids, fmt.Sprintf("c%03d", n))
		all = append(all, connect(t, s, "", ids[n]))
	}
	join(t, s, "g", ids...)
	state := `"` + strings.Repeat("x", 1000) + `"`
	for _, id := range ids {
		enter(t, s, id, "g", state)
	}
	if n := present(t, s, "g"); n != members {
		t.Errorf("%d are present", n)
	}
	told := func(what string, list func(diff) []shown) {
		t.Helper()
		seen := make(map[string]bool)
		for len(seen) < members {
			m := watcher.want(protocol.Invocation, "")
			if len(m.Arguments.Bytes) > most {
				t.Errorf("told %d bytes at once", len(m.Arguments.Bytes))
			}
			var d []diff
			if err := json.Unmarshal(m.Arguments.Bytes, &d); err != nil || len(d) != 1 {
				t.Fatalf("told %.200s: %v", m.Arguments.Bytes, err)
			}
			for _, member := range list(d[0]) {
				if seen[member.ConnectionID] {
					t.Errorf("%s has %s twice", member.ConnectionID, what)
				}
				seen[member.ConnectionID] = true
			}
		}
	}
	told("come", func(d diff) []shown { return d.Joins })
	for _, w := range all {
		w.hangUp()
	}
	told("left", func(d diff) []shown { return d.Leaves })
	until(t, "nobody is present", func() bool { return present(t, s, "g") == 0 })
}

// BenchmarkPresence has a crowd enter a group that one of it watches, asking each time
// how many there are, as an edge does, and leave it.
func BenchmarkPresence(b *testing.B) {
	for _, members := range []int{1000, 10_000} {
		b.Run(fmt.Sprint("members=", members), func(b *testing.B) {
			a := newAudience(b, protocol.NewJSON(), members)
			e := &hubs.Entry{Kind: hubs.AddToGroup, Groups: []string{"g"}}
			var all []*hubs.Connection
			a.server.Each(func(c *hubs.Connection) {
				e.Connections = append(e.Connections, c.ID())
				all = append(all, c)
			})
			a.server.Apply(e)
			bus := a.server.Backplane()
			if err := all[0].WatchPresence(b.Context(), "g", func([]byte, int) error { return nil }); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				for _, c := range all {
					if _, err := bus.Ask(b.Context(), hubs.Query{Kind: hubs.CountPresent, Name: "g"}); err != nil {
						b.Fatal(err)
					}
					e, settle := c.AnnouncePresence("g", []byte(`{"name":"somebody"}`))
					if _, err := bus.Publish(b.Context(), e, hubs.PublishOptions{}); err != nil {
						b.Fatal(err)
					}
					settle()
				}
				for _, c := range all {
					if _, err := bus.Publish(b.Context(), c.ClearPresence("g"), hubs.PublishOptions{}); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*members), "ns/member")
		})
	}
}
