package backplane

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPublish_reaches_the_nodes_of_all_processes_in_one_order(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		a, b := process(t, url), process(t, url)
		nodeA, nodeB := newNode(), newNode()
		subscribe(t, a, nodeA)
		subscribe(t, b, nodeB)

		const publishers, each = 4, 2500
		var wg sync.WaitGroup
		for p := range publishers {
			r := []*Redis{a, b}[p%2]
			wg.Go(func() {
				// 16 at once, but begun in order, as the callers of one connection do.
				results := make(chan error, each)
				h := r.Hub(tenant, hub, Settings{})
				order := make(chan struct{}, 16)
				var mine sync.WaitGroup
				for i := range each {
					order <- struct{}{}
					if p%2 == 0 { // one after another
						_, err := h.Publish(t.Context(), say(fmt.Sprint(p), i+1), hubs.PublishOptions{Charge: 1})
						results <- err
						<-order
						continue
					}
					mine.Go(func() { // at once: no order among them is promised
						_, err := h.Publish(t.Context(), say(fmt.Sprint(p, "/", i), 1), hubs.PublishOptions{})
						results <- err
						<-order
					})
				}
				mine.Wait()
				for range each {
					if err := <-results; err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		gotA, gotB := nodeA.waitEntries(t, publishers*each), nodeB.waitEntries(t, publishers*each)
		inOrder(t, gotA)
		for i := range gotA {
			wa, ia := said(gotA[i])
			wb, ib := said(gotB[i])
			if wa != wb || ia != ib || gotA[i].Number != gotB[i].Number {
				t.Fatalf("entry %d differs: %s/%d, %s/%d", i, wa, ia, wb, ib)
			}
		}
		if len(gotA) != publishers*each || len(nodeA.lost())+len(nodeB.lost()) != 0 {
			t.Errorf("%d entries, losses %v %v", len(gotA), nodeA.lost(), nodeB.lost())
		}
	})
}

func TestPublish_with_the_same_idempotency_key(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		r := process(t, url)
		n := newNode()
		subscribe(t, r, n)
		h := r.Hub(tenant, hub, Settings{})
		key := hubs.PublishOptions{IdempotencyKey: "order-1", Charge: 1}

		first, err := h.Publish(t.Context(), say("a", 1), key)
		if err != nil || first.Duplicate {
			t.Fatalf("first: %+v, %v", first, err)
		}
		again, err := process(t, url).Hub(tenant, hub, Settings{}).Publish(t.Context(), say("a", 1), key)
		want := first
		want.Duplicate = true
		if err != nil || again != want {
			t.Errorf("again: %+v, %v; want %+v", again, err, want)
		}
		if _, err := h.Publish(t.Context(), say("a", 2), key); !errors.Is(err, hubs.ErrIdempotencyConflict) {
			t.Errorf("other body: %v", err)
		}
		// The same key is another one for another hub and another tenant.
		for _, other := range []hubs.Backplane{r.Hub(tenant, "other", Settings{}), r.Hub("01JCTENANT000000000000000B", hub, Settings{})} {
			if at, err := other.Publish(t.Context(), say("a", 2), key); err != nil || at.Duplicate || at.Number != 1 {
				t.Errorf("elsewhere: %+v, %v", at, err)
			}
		}
		publish(t, r, say("a", 3))
		if got := n.waitEntries(t, 2); len(got) != 2 {
			t.Errorf("%d entries were delivered", len(got))
		}
	})
}

func TestPublish_counts_what_is_accepted(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		type count struct {
			hub, epoch string
			minute     time.Time
			total      int64
		}
		var mu sync.Mutex
		var counts []count
		var charged int64
		r := process(t, newRedis(t), func(c *Config) {
			c.OnAccepted = func(a Accepted) {
				mu.Lock()
				defer mu.Unlock()
				counts = append(counts, count{a.Hub, a.Epoch, a.Minute, a.Total})
				charged += a.Charge
			}
		})
		h := r.Hub(tenant, hub, Settings{})
		var epoch string
		for i, charge := range []int{1, 3, 0, 2} {
			at, err := h.Publish(t.Context(), say("a", i), hubs.PublishOptions{Charge: charge, IdempotencyKey: fmt.Sprint(i)})
			if err != nil {
				t.Fatal(err)
			}
			epoch = at.Epoch
		}
		if _, err := h.Publish(t.Context(), say("a", 1), hubs.PublishOptions{Charge: 3, IdempotencyKey: "1"}); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		sum := make(map[time.Time]int64) // the test may cross a minute
		for _, c := range counts {
			if c.hub != hub || c.epoch != epoch || c.minute.Second() != 0 || time.Since(c.minute) > 2*time.Minute {
				t.Errorf("count %+v", c)
			}
			sum[c.minute] = max(sum[c.minute], c.total)
		}
		var total int64
		for _, v := range sum {
			total += v
		}
		if len(counts) != 3 || total != 6 {
			t.Errorf("counts %v: want 3 that come to 6", counts)
		}
	})
}

func TestCommand_sums_the_matches_of_all_processes(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		a, b := process(t, url), process(t, url)
		h := a.Hub(tenant, hub, Settings{})
		add := &hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{"c"}, Groups: []string{"g"}}
		if _, matched, err := h.Command(t.Context(), add, hubs.PublishOptions{}); matched != 0 || err != nil {
			t.Errorf("nobody there: %d, %v", matched, err)
		}
		if count, err := h.Ask(t.Context(), hubs.Query{Kind: hubs.CountConnections}); count != 0 || err != nil {
			t.Errorf("nobody to ask: %d, %v", count, err)
		}
		nodeA, nodeB := newNode(), newNode()
		nodeA.matched, nodeB.matched = 2, 40
		subscribe(t, a, nodeA)
		leaveB := subscribe(t, b, nodeB)
		if _, matched, err := h.Command(t.Context(), add, hubs.PublishOptions{}); matched != 42 || err != nil {
			t.Errorf("two there: %d, %v", matched, err)
		}
		if count, err := process(t, url).Hub(tenant, hub, Settings{}).Ask(t.Context(), hubs.Query{Kind: hubs.CountGroup, Name: "g"}); count != 42 || err != nil {
			t.Errorf("asked from elsewhere: %d, %v", count, err)
		}
		leaveB()
		if _, matched, err := h.Command(t.Context(), add, hubs.PublishOptions{}); matched != 2 || err != nil {
			t.Errorf("one left: %d, %v", matched, err)
		}
		if got := nodeB.waitEntries(t, 1); len(got) != 1 {
			t.Errorf("the node that left got %d entries", len(got))
		}
	})
}

func TestCommand_names_a_node_that_does_not_answer(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		a, b := process(t, url, func(c *Config) { c.AnswerPatience = shortPatience }), process(t, url)
		n := newNode()
		n.matched = 5
		subscribe(t, a, n)
		release := make(chan struct{})
		stuck := newNode()
		stuck.hook = func(*hubs.Entry) { <-release }
		subscribe(t, b, stuck)
		_, matched, err := a.Hub(tenant, hub, Settings{}).Command(t.Context(), &hubs.Entry{Kind: hubs.AddToGroup}, hubs.PublishOptions{})
		close(release)
		if matched != 5 || !errors.Is(err, hubs.ErrUnanswered) {
			t.Errorf("%d, %v", matched, err)
		}
	})
}

func TestUserGroups_are_remembered_with_their_end(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		r := process(t, url)
		h := r.Hub(tenant, hub, Settings{})
		change := func(k hubs.Kind, ttl int64, groups ...string) {
			t.Helper()
			if _, err := h.Publish(t.Context(), &hubs.Entry{Kind: k, Users: []string{"u"}, Groups: groups, TTLSeconds: ttl}, hubs.PublishOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		check := func(want ...string) {
			t.Helper()
			got, err := h.UserGroups(t.Context(), "u")
			var names []string
			for _, g := range got {
				names = append(names, g.Name)
			}
			if diff := cmp.Diff(want, names); diff != "" || err != nil {
				t.Errorf("groups (-want +got), %v:\n%s", err, diff)
			}
		}
		change(hubs.AddUserToGroup, -1, "always")
		change(hubs.AddUserToGroup, 0, "now")
		change(hubs.AddUserToGroup, 3600, "hour", "too")
		check("always", "hour", "too")
		if got, err := h.UserGroups(t.Context(), "u"); err != nil || got[1].Left <= 59*time.Minute || got[1].Left > time.Hour ||
			time.Until(got[1].Until).Abs() > 2*time.Hour {
			t.Errorf("what is left of an hour: %+v, %v", got, err)
		}
		change(hubs.RemoveUserFromGroup, 0, "too")
		check("always", "hour")
		client := newClient(t, url)
		if err := client.HSet(t.Context(), redisclient.Hub(tenant, hub).UserGroups("u"), "hour", 1).Err(); err != nil {
			t.Fatal(err)
		}
		check("always")
		for i := range userGroups + 5 {
			change(hubs.AddUserToGroup, 60, fmt.Sprintf("g%03d", i))
		}
		if got, _ := h.UserGroups(t.Context(), "u"); len(got) != userGroups || got[0].Name != "always" {
			t.Errorf("%d groups, first %q", len(got), got[0])
		}
		change(hubs.RemoveUserFromGroups, 0)
		check()
	})
}

func TestTwo_tenants_with_equal_hubs_never_meet(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		a, b := process(t, url), process(t, url)
		mine, theirs := newNode(), newNode()
		subscribe(t, a, mine)
		other := tenants.ID("01JCTENANT000000000000000B")
		if _, err := a.Hub(other, hub, Settings{}).Subscribe(t.Context(), theirs); err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			publish(t, b, say("mine", i+1))
			if _, err := b.Hub(other, hub, Settings{}).Publish(t.Context(), say("theirs", i+1), hubs.PublishOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		for name, n := range map[string]*node{"mine": mine, "theirs": theirs} {
			for _, e := range n.waitEntries(t, 50) {
				if who, _ := said(e); who != name {
					t.Fatalf("%s was delivered to the node of %s", who, name)
				}
			}
		}
	})
}

func TestSubscribe_gets_nothing_from_before(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		r := process(t, newRedis(t))
		publish(t, r, say("before", 1))
		n := newNode()
		leave := subscribe(t, r, n)
		publish(t, r, say("after", 1))
		got := n.waitEntries(t, 1)
		if who, _ := said(got[0]); len(got) != 1 || who != "after" {
			t.Errorf("%d entries, first from %s", len(got), who)
		}
		leave()
		publish(t, r, say("gone", 1))
		n2 := newNode()
		subscribe(t, r, n2)
		publish(t, r, say("back", 1))
		if who, _ := said(n2.waitEntries(t, 1)[0]); who != "back" {
			t.Errorf("the next node began with %s", who)
		}
		if len(n.waitEntries(t, 1)) != 1 {
			t.Error("a node that left got more")
		}
	})
}

func TestLeave_waits_for_the_call_under_way(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		r := process(t, newRedis(t))
		entered, release := make(chan struct{}), make(chan struct{})
		n := newNode()
		n.hook = func(*hubs.Entry) {
			close(entered)
			<-release
		}
		leave := subscribe(t, r, n)
		publish(t, r, say("a", 1))
		<-entered
		left := make(chan int)
		go func() {
			leave()
			n.mu.Lock()
			defer n.mu.Unlock()
			left <- len(n.entries)
		}()
		eventually(t, "node that left", func() bool { return r.Stats().Followed == 0 })
		select {
		case <-left:
			t.Error("leave returned during a call")
		default:
		}
		close(release)
		if got := <-left; got != 1 {
			t.Errorf("leave returned with %d of 1 calls done", got)
		}
	})
}

func TestNew_lists_every_problem(t *testing.T) {
	_, err := New(Config{EdgeRun: "a b", Doorbells: 65})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"Redis", "Logger", "EdgeRun", "Doorbells"} {
		if !containsText(err, want) {
			t.Errorf("%v doesn't name %s", err, want)
		}
	}
}

func TestList_is_never_silently_short(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		a, b := process(t, url, func(c *Config) { c.AnswerPatience = shortPatience }), process(t, url)
		n := newNode()
		n.list = func() hubs.Page { return hubs.Page{Items: []hubs.Listed{{Name: "c", Connections: 1}}} }
		subscribe(t, a, n)
		h, q := a.Hub(tenant, hub, Settings{}), hubs.ListQuery{Kind: hubs.ListConnections, Limit: 10}
		failing := newNode()
		failing.list = func() hubs.Page { panic("broken") }
		leave := subscribe(t, b, failing)
		if page, err := h.List(t.Context(), q); len(page.Items) > 0 || !errors.Is(err, hubs.ErrUnanswered) {
			t.Errorf("a node fails: %+v, %v", page, err)
		}
		leave()

		release := make(chan struct{})
		stuck := newNode()
		stuck.hook = func(*hubs.Entry) { <-release }
		subscribe(t, b, stuck)
		if _, err := h.Publish(t.Context(), &hubs.Entry{Kind: hubs.RemoveFromAllGroups}, hubs.PublishOptions{}); err != nil {
			t.Fatal(err)
		}
		page, err := h.List(t.Context(), q)
		close(release)
		if len(page.Items) > 0 || !errors.Is(err, hubs.ErrUnanswered) {
			t.Errorf("a node is stuck: %+v, %v", page, err)
		}
		stuck.waitEntries(t, 1)

		// An answer of an edge that knows of no lists is none.
		to, waiting := a.replies.ask(true)
		a.replies.count(to.id, b.run, 0, nil)
		if got := waiting.now().got; got != 0 {
			t.Errorf("%d answers are counted", got)
		}
		a.replies.forget(to)
		if page, err := h.List(t.Context(), q); len(page.Items) != 1 || err != nil {
			t.Errorf("all answer: %+v, %v", page, err)
		}

		// An edge whose doorbell is broken is known by its lease; a dead one has none.
		c := newClient(t, url)
		edges, lease := redisclient.Hub(tenant, hub).Edges(), redisclient.EdgeLease("deaf")
		if err := errors.Join(c.SAdd(t.Context(), edges, "deaf", "dead").Err(), c.HSet(t.Context(), lease, "addr", "-").Err()); err != nil {
			t.Fatal(err)
		}
		if page, err := h.List(t.Context(), q); len(page.Items) > 0 || !errors.Is(err, hubs.ErrUnanswered) {
			t.Errorf("an edge is deaf: %+v, %v", page, err)
		}
		if err := c.Del(t.Context(), lease).Err(); err != nil {
			t.Fatal(err)
		}
		if page, err := h.List(t.Context(), q); len(page.Items) != 1 || err != nil {
			t.Errorf("the deaf edge is dead: %+v, %v", page, err)
		}
		if left := c.SMembers(t.Context(), edges).Val(); slices.Contains(left, "dead") || slices.Contains(left, "deaf") {
			t.Errorf("edges %q", left)
		}
	})
}

func TestList_forgets_edges_that_leave(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		a, b := process(t, url), process(t, url)
		subscribe(t, a, newNode())
		leave := subscribe(t, b, newNode())
		c := newClient(t, url)
		edges := func() int64 { return c.SCard(t.Context(), redisclient.Hub(tenant, hub).Edges()).Val() }
		if n := edges(); n != 2 {
			t.Errorf("%d edges", n)
		}
		leave()
		eventually(t, "the edge has left", func() bool { return edges() == 1 })
		subscribe(t, b, newNode())
		if n := edges(); n != 2 {
			t.Errorf("%d edges", n)
		}
	})
}
