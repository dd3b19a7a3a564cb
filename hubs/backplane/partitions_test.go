package backplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/internal/redisclient"
)

// inPartitions has the hub's backplane of a process with settings that may change.
func inPartitions(r *Redis, p *atomic.Pointer[Partitions]) *hubBackplane {
	h := r.HubWith(tenant, hub, func() Settings { return Settings{Partitions: *p.Load()} })
	return h.(*hubBackplane)
}

func partitions(generation, count int) *atomic.Pointer[Partitions] {
	p := new(atomic.Pointer[Partitions])
	p.Store(&Partitions{Generation: generation, Count: count})
	return p
}

// mixed is a message for all, a group, several groups, a user or a connection by turns.
func mixed(who string, i int) *hubs.Entry {
	e := say(who, i)
	name := strconv.Itoa(i / 5 % 7)
	switch i % 5 {
	case 0:
		e.Kind, e.Groups = hubs.SendToGroups, []string{"group" + name}
	case 1:
		e.Kind, e.Groups = hubs.SendToGroups, []string{"group" + name, "group1", "group2"}
	case 2:
		e.Kind, e.Users = hubs.SendToUsers, []string{"user" + name}
	case 3:
		e.Kind, e.Connections = hubs.SendToConnections, []string{"connection" + name}
	}
	return e
}

// orderedInEach checks that the entries of each epoch follow one another, and that what a
// publisher has sent in each of them is in its order.
func orderedInEach(t *testing.T, entries []*hubs.Entry) {
	t.Helper()
	type from struct{ epoch, who string }
	number, last := make(map[string]uint64), make(map[from]int)
	for _, e := range entries {
		if n, known := number[e.Epoch]; known && e.Number != n+1 {
			t.Fatalf("number %d of %s follows %d", e.Number, e.Epoch, n)
		}
		number[e.Epoch] = e.Number
		who, i := said(e)
		if i <= last[from{e.Epoch, who}] {
			t.Fatalf("%s said %d after %d in %s", who, i, last[from{e.Epoch, who}], e.Epoch)
		}
		last[from{e.Epoch, who}] = i
	}
}

func TestPartitions_each_keep_one_order_on_all_nodes(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		const publishers, each = 3, 20
		url := clusterRedis(t)
		var nodes []*node
		var all []*hubBackplane
		for n := range 3 {
			h := inPartitions(process(t, url), partitions(1, 4))
			nodes, all = append(nodes, newNode()), append(all, h)
			if _, err := h.Subscribe(t.Context(), nodes[n]); err != nil {
				t.Fatal(err)
			}
		}
		var work sync.WaitGroup
		for n, h := range all {
			for p := range publishers {
				work.Go(func() {
					for i := 1; i <= each; i++ {
						if _, err := h.Publish(background, mixed(fmt.Sprint(n, "/", p), i), hubs.PublishOptions{Charge: 1}); err != nil {
							t.Errorf("publish: %v", err)
							return
						}
					}
				})
			}
		}
		work.Wait()
		var first map[hubs.Position]string
		for n, node := range nodes {
			entries := node.waitEntries(t, 3*publishers*each)
			orderedInEach(t, entries)
			got := make(map[hubs.Position]string)
			epochs := make(map[string]bool)
			for _, e := range entries {
				who, i := said(e)
				got[e.Position()] = fmt.Sprint(who, " ", i)
				epochs[e.Epoch] = true
			}
			if len(epochs) != 4 || len(got) != 3*publishers*each || len(entries) != len(got) {
				t.Errorf("node %d got %d entries of %d epochs", n, len(got), len(epochs))
			}
			if first == nil {
				first = got
			}
			for at, what := range got {
				if first[at] != what {
					t.Errorf("at %v node %d has %q, the first %q", at, n, what, first[at])
				}
			}
		}
	})
}

// sawOrWasTold is what a node got of the hub: entries, and gaps that it was told of.
type sawOrWasTold struct {
	seen map[hubs.Position]int
	gaps []hubs.Gap
}

// covers reports whether a gap says that the entry at a position is missing.
func covers(g hubs.Gap, at hubs.Position) bool {
	generation := func(p hubs.Position) (n int) {
		for _, part := range p.Partitions() {
			n = max(n, generationOf(part.Epoch))
		}
		return n
	}
	from, to, of := generation(g.Last), generation(g.Next), generationOf(at.Epoch)
	if of > from && of < to {
		return true
	}
	for _, part := range g.Last.Partitions() {
		if part.Epoch == at.Epoch {
			return at.Number > part.Number
		}
	}
	for _, part := range g.Next.Partitions() {
		if part.Epoch == at.Epoch {
			return at.Number <= part.Number
		}
	}
	return of == from // a partition that had had no entry where it was left
}

func generationOf(epoch string) int {
	_, part, _ := strings.Cut(epoch, ".")
	generation, _, _ := strings.Cut(part, ".")
	n, _ := strconv.Atoi(generation) // "" is the first
	return n
}

// While several publish, the hub goes from one stream to four and to two. Whatever was
// accepted reaches each node once, or is in a gap that the node is told of.
func TestPartitions_that_change_under_load_lose_nothing_in_silence(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := clusterRedis(t)
		var nodes []*node
		var settings []*atomic.Pointer[Partitions]
		var processes []*Redis
		var work sync.WaitGroup
		stop := make(chan struct{})
		var mu sync.Mutex
		accepted := make(map[hubs.Position]string)
		for range 3 {
			r := process(t, url)
			set := partitions(0, 0)
			h := inPartitions(r, set)
			node := newNode()
			if _, err := h.Subscribe(t.Context(), node); err != nil {
				t.Fatal(err)
			}
			nodes, settings, processes = append(nodes, node), append(settings, set), append(processes, r)
		}
		progress := make([][2]atomic.Int32, 3) // entries accepted of the generation that is in force
		for n, r := range processes {
			h := inPartitions(r, settings[n])
			work.Go(func() {
				for i := 1; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					at, err := h.Publish(background, mixed(fmt.Sprint(n, "/0"), i), hubs.PublishOptions{Charge: 1})
					if err != nil {
						if !errors.Is(err, hubs.ErrUnavailable) {
							t.Errorf("publish: %v", err)
						}
						continue
					}
					mu.Lock()
					accepted[at] = fmt.Sprint(n, "/0 ", i)
					mu.Unlock()
					if g := generationOf(at.Epoch); g < 2 {
						progress[n][g].Add(1)
					}
				}
			})
		}
		defer work.Wait()
		stopOnce := sync.OnceFunc(func() { close(stop) })
		defer stopOnce()
		for g, to := range []Partitions{{1, 4}, {2, 2}} {
			for n := range 3 {
				eventually(t, "publishes of generation "+strconv.Itoa(g), func() bool { return progress[n][g].Load() > 20 })
			}
			for n := range 3 { // one hears of it after the other
				settings[n].Store(&to)
				processes[n].PartitionsChanged(tenant)
			}
		}
		for n, node := range nodes {
			node.wait(t, fmt.Sprintf("end of node %d in the last generation", n), func(_ []*hubs.Entry, gaps []hubs.Gap) bool {
				return len(gaps) > 0 && generationOf(gaps[len(gaps)-1].Next.Partitions()[0].Epoch) == 2
			})
		}
		stopOnce()
		work.Wait()
		end := say("end", 1)
		last, err := inPartitions(processes[0], settings[0]).Publish(t.Context(), end, hubs.PublishOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for n, node := range nodes {
			node.wait(t, "last message", func(e []*hubs.Entry, _ []hubs.Gap) bool {
				return slices.ContainsFunc(e, func(e *hubs.Entry) bool { return e.Position() == last })
			})
			saw := sawOrWasTold{seen: make(map[hubs.Position]int), gaps: node.lost()}
			missing := func() (some []hubs.Position) {
				node.mu.Lock()
				defer node.mu.Unlock()
				clear(saw.seen)
				for _, e := range node.entries {
					saw.seen[e.Position()]++
				}
				for at := range accepted {
					if saw.seen[at] == 0 && !slices.ContainsFunc(saw.gaps, func(g hubs.Gap) bool { return covers(g, at) }) {
						some = append(some, at)
					}
				}
				return some
			}
			eventually(t, fmt.Sprintf("all of node %d; missing %v, gaps %v", n, missing(), saw.gaps), func() bool { return len(missing()) == 0 })
			for at, times := range saw.seen {
				if times != 1 {
					t.Errorf("node %d got %v %d times", n, at, times)
				}
			}
			node.mu.Lock()
			entries := slices.Clone(node.entries)
			node.mu.Unlock()
			orderedInEach(t, entries)
			if len(saw.gaps) > 2 {
				t.Errorf("node %d was told of %d gaps: %v", n, len(saw.gaps), saw.gaps)
			}
		}

		// Whoever hasn't heard of a change is refused, and nothing is left outside of what
		// a deleted tenant is purged by.
		late, cancel := context.WithTimeout(t.Context(), shortPatience)
		defer cancel()
		for _, before := range []*atomic.Pointer[Partitions]{partitions(0, 0), partitions(1, 4)} {
			if _, err := inPartitions(processes[1], before).Publish(late, say("late", 1), hubs.PublishOptions{}); !errors.Is(err, hubs.ErrUnavailable) || errors.Is(err, hubs.ErrOutcomeUnknown) {
				t.Errorf("a publish to partitions that were replaced: %v", err)
			}
		}
		client := newClient(t, url)
		all, own := client.Keys(t.Context(), "*"+string(tenant)+"*").Val(), client.Keys(t.Context(), redisclient.OfTenant(tenant)).Val()
		slices.Sort(all)
		slices.Sort(own)
		if len(own) == 0 || !slices.Equal(all, own) {
			t.Errorf("keys of the tenant %q, of which are found %q", all, own)
		}
	})
}

func groupEntry(group string, i int) *hubs.Entry {
	return &hubs.Entry{Kind: hubs.SendToGroups, Groups: []string{group}, Message: &hubs.Broadcast{
		Target: "say", Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: fmt.Appendf(nil, `["one",%d]`, i)},
	}}
}

func numbers(entries []*hubs.Entry) (some []int) {
	for _, e := range entries {
		_, i := said(e)
		some = append(some, i)
	}
	return some
}

// The history of all partitions has each message once, whatever the pages and wherever a
// reader goes on.
func TestPartitions_have_one_history(t *testing.T) {
	t.Parallel()
	const count = 30
	url := clusterRedis(t)
	r := process(t, url)
	h := inPartitions(r, partitions(3, 4))
	followed := inPartitions(process(t, url), partitions(3, 4))
	if _, err := followed.Subscribe(t.Context(), newNode()); err != nil {
		t.Fatal(err)
	}
	empty, err := h.History(t.Context(), hubs.HistoryQuery{Select: hubs.Selection{Every: true}, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	var sent []hubs.Position
	for i := range count {
		at, err := h.Publish(t.Context(), mixed("one", i), hubs.PublishOptions{})
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, at)
	}
	everything := make([]int, count)
	for i := range everything {
		everything[i] = i
	}
	some := func(h hubs.Historian, q hubs.HistoryQuery) (got []int, at []hubs.Position) {
		t.Helper()
		q.Accepted = true
		if q.Limit == 0 {
			q.Limit = 7
		}
		_, err := hubs.EachPage(t.Context(), h, q, func(page *hubs.HistoryPage) bool {
			if len(page.Entries) > q.Limit {
				t.Errorf("a page of %d", len(page.Entries))
			}
			got = append(got, numbers(page.Entries)...)
			for i := range page.Entries {
				at = append(at, page.PositionOf(i))
			}
			return true
		})
		if err != nil {
			t.Fatalf("history of %+v: %v", q, err)
		}
		return got, at
	}
	same := func(what string, got, want []int) {
		t.Helper()
		got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	every := hubs.Selection{Every: true}
	for _, from := range []*hubBackplane{h, followed} {
		got, at := some(from, hubs.HistoryQuery{Select: every})
		same("all", got, everything)
		same("behind where there was nothing", first(some(from, hubs.HistoryQuery{Select: every, After: &empty.Next})), everything)
		for i := 0; i < len(got); i += 4 {
			same("behind one that was read", first(some(from, hubs.HistoryQuery{Select: every, After: &at[i], Limit: 100})), got[i+1:])
			same("before one that was read", first(some(from, hubs.HistoryQuery{Select: every, Before: &at[i], Limit: 100})), got[:i])
		}
		same("newest first", first(some(from, hubs.HistoryQuery{Select: every, Newest: true})), everything)

		// A group has what was sent to it alone and what was sent to it among others.
		for _, group := range []string{"group1", "group2", "group4"} {
			var want []int
			for i := range count {
				if slices.Contains(mixed("one", i).Groups, group) {
					want = append(want, i)
				}
			}
			got, at := some(from, hubs.HistoryQuery{Select: hubs.Selection{Groups: []string{group}}})
			same(group, got, want)
			for i := 0; i < len(got); i += 2 {
				same("behind one of "+group, first(some(from, hubs.HistoryQuery{Select: hubs.Selection{Groups: []string{group}}, After: &at[i]})), got[i+1:])
			}
		}
		// Behind the position that a publish is answered with is all that came behind it.
		for i := 0; i < count; i += 3 {
			at := sent[i]
			got := first(some(from, hubs.HistoryQuery{Select: every, After: &at, Limit: 100}))
			for _, later := range everything[i+1:] {
				if !slices.Contains(got, later) {
					t.Fatalf("behind %d is no %d: %v", i, later, got)
				}
			}
			if slices.Contains(got, i) {
				t.Errorf("%d is behind itself", i)
			}
		}
	}

	// What is gone from one of them is told, also to those who had seen nothing of it.
	client := newClient(t, url)
	part := Partitions{Generation: 3, Count: 4}.of("group3")
	_, at := some(h, hubs.HistoryQuery{Select: every})
	client.XTrimMaxLen(t.Context(), redisclient.HubPartition(tenant, hub, Partitions{Generation: 3}.name(part)).Stream(), 1)
	other := hubs.Position{Epoch: "0123456789abcdef", Number: 7} // of when it was one stream
	for what, after := range map[string]hubs.Position{"where there was nothing": empty.Next, "the first": at[0], "another generation": other} {
		_, err := h.History(t.Context(), hubs.HistoryQuery{Select: every, After: &after, Limit: 1000})
		var gone *hubs.HistoryGoneError
		if !errors.As(err, &gone) {
			t.Errorf("behind %s: %v", what, err)
			continue
		}
		rest := first(some(h, hubs.HistoryQuery{Select: every, After: &gone.To, Limit: 100}))
		kept := first(some(h, hubs.HistoryQuery{Select: every, Limit: 100}))
		if what != "the first" {
			same("behind what is gone behind "+what, rest, kept)
		} else if len(rest) != len(kept) && len(rest) != len(kept)-1 {
			t.Errorf("behind what is gone: %v of %v", rest, kept)
		}
	}
}

func first[A, B any](a A, _ B) A { return a }

// What the hub remembers of users and of keys outlives changes.
func TestPartitions_that_change_remember_keys_and_the_groups_of_users(t *testing.T) {
	t.Parallel()
	set, url := partitions(0, 0), clusterRedis(t)
	h := inPartitions(process(t, url), set)
	var accepted []hubs.Position
	for generation, count := range []int{0, 4, 1} {
		set.Store(&Partitions{Generation: generation, Count: count})
		if _, err := h.Publish(t.Context(), &hubs.Entry{Kind: hubs.AddUserToGroup, Users: []string{"u"}, Groups: []string{fmt.Sprint("g", generation)}, TTLSeconds: -1}, hubs.PublishOptions{}); err != nil {
			t.Fatal(err)
		}
		groups, err := h.UserGroups(t.Context(), "u")
		if err != nil || len(groups) != generation+1 {
			t.Fatalf("groups in generation %d: %v, %v", generation, groups, err)
		}
		o := hubs.PublishOptions{IdempotencyKey: "once" + fmt.Sprint(generation)}
		for again := range 2 {
			at, err := h.Publish(t.Context(), groupEntry("g", generation), o)
			if err != nil || at.Duplicate != (again > 0) {
				t.Errorf("publish %d with a key: %v, %v", again, at, err)
			}
			accepted = append(accepted, at)
		}
		if generation > 0 { // also of what was accepted before the change
			o.IdempotencyKey = "once" + fmt.Sprint(generation-1)
			before := accepted[2*generation-2]
			before.Duplicate = true
			if at, err := h.Publish(t.Context(), groupEntry("g", generation-1), o); err != nil || at != before {
				t.Errorf("repeat of what was accepted as %v: %v, %v", before, at, err)
			}
			if _, err := h.Publish(t.Context(), groupEntry("g", 99), o); !errors.Is(err, hubs.ErrIdempotencyConflict) {
				t.Errorf("another body with the key of before: %v", err)
			}
		}
	}
	// A key that was claimed for a partition that has not accepted it is free for others, but
	// not for who doesn't know of them.
	late := inPartitions(process(t, url), partitions(2, 1))
	e, o := groupEntry("g", 7), hubs.PublishOptions{IdempotencyKey: "claimed"}
	if known, err := h.claim(t.Context(), e, o.IdempotencyKey, h.settings()); known != nil || err != nil {
		t.Fatalf("claim: %v, %v", known, err)
	}
	set.Store(&Partitions{Generation: 3, Count: 4})
	for again := range 2 {
		if at, err := h.Publish(t.Context(), e, o); err != nil || at.Duplicate != (again > 0) || generationOf(at.Epoch) != 3 {
			t.Errorf("publish %d of what was claimed before: %v, %v", again, at, err)
		}
	}
	given, cancel := context.WithTimeout(t.Context(), shortPatience)
	defer cancel()
	if _, err := late.claim(given, e, o.IdempotencyKey, late.settings()); !errors.Is(err, errSealed) {
		t.Errorf("a claim for partitions before: %v", err)
	}
	if _, err := h.Publish(t.Context(), &hubs.Entry{Kind: hubs.RemoveUserFromGroups, Users: []string{"u"}}, hubs.PublishOptions{}); err != nil {
		t.Fatal(err)
	}
	if groups, err := h.UserGroups(t.Context(), "u"); err != nil || len(groups) > 0 {
		t.Errorf("groups left: %v, %v", groups, err)
	}
}
