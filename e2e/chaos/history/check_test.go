package history

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// world is a small good history that each test spoils in one way: two publishers,
// two clients of one tenant in one group.
func world() *History {
	at := func(s int) time.Time { return time.Unix(1_000_000+int64(s), 0) }
	h := &History{}
	for n := range 6 {
		for _, p := range []string{"p", "q"} {
			h.Messages = append(h.Messages, Message{ID: ID{"a", p, n + 1}, Group: "g", Began: at(10 + n), Outcome: Accepted})
		}
	}
	for _, name := range []string{"ann", "bob"} {
		l := &Life{Client: name, Tenant: "a", Groups: []string{"g"}, Began: at(0), Ended: at(100)}
		for _, m := range h.Messages {
			l.Receipts = append(l.Receipts, Receipt{ID: m.ID, Group: "g", At: m.Began})
		}
		h.Lives = append(h.Lives, l)
	}
	return h
}

// without is the life without its receipt i.
func without(l *Life, i int) { l.Receipts = slices.Delete(slices.Clone(l.Receipts), i, i+1) }

func TestCheck_a_good_history_passes(t *testing.T) {
	t.Parallel()
	if found := Check(world()); found != nil {
		t.Fatalf("got %v", found)
	}
}

func TestCheck_finds_what_is_wrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(*History)
		want  Invariant
	}{
		"lost in a life that lasted": {func(h *History) { without(h.Lives[0], 11) }, NoSilentLoss},
		"skipped in a life that was closed later, seen by the publisher's numbers": {func(h *History) {
			h.Lives[0].Ending = Closed
			without(h.Lives[0], 4)
		}, NoSilentLoss},
		"skipped in a life that broke, seen by what another client got": {func(h *History) {
			h.Lives[0].Ending = Broken
			// The last of p, then one of q that both got.
			without(h.Lives[0], 10)
		}, NoSilentLoss},
		"twice in one life":           {func(h *History) { h.Lives[1].Receipts = append(h.Lives[1].Receipts, h.Lives[1].Receipts[3]) }, NoDuplicate},
		"a publisher's messages swap": {func(h *History) { r := h.Lives[0].Receipts; r[0], r[2] = r[2], r[0] }, Order},
		"two clients see two orders":  {func(h *History) { r := h.Lives[0].Receipts; r[0], r[1] = r[1], r[0] }, Order},
		"nobody published it": {func(h *History) {
			h.Lives[0].Receipts = append(h.Lives[0].Receipts, Receipt{ID: ID{"a", "p", 99}, Group: "g"})
		}, NoPhantom},
		"it went to another group": {func(h *History) { h.Lives[0].Receipts[0].Group = "other" }, NoPhantom},
		"a group that the client isn't in": {func(h *History) {
			h.Lives[0].Groups = []string{"other"}
		}, Isolation},
		"another tenant's message": {func(h *History) {
			h.Messages = append(h.Messages, Message{ID: ID{"b", "p", 1}, Group: "g", Outcome: Accepted})
			h.Lives[0].Receipts = append(h.Lives[0].Receipts, Receipt{ID: ID{"b", "p", 1}, Group: "g"})
		}, Isolation},
		"refused and delivered": {func(h *History) { h.Messages[5].Outcome = Refused }, Honesty},
		"two messages of one number": {func(h *History) {
			h.Messages = append(h.Messages, h.Messages[0])
		}, NoPhantom},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := world()
			c.spoil(h)
			found := Check(h)
			if !slices.ContainsFunc(found, func(v Violation) bool { return v.Invariant == c.want }) {
				t.Fatalf("got %v, want a violation of %s", found, c.want)
			}
		})
	}
}

func TestCheck_what_a_client_knows_is_no_loss(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*History){
		"the end of a life that was closed": func(h *History) {
			h.Lives[0].Ending, h.Lives[0].Receipts = Closed, h.Lives[0].Receipts[:4]
		},
		"what was published before the life began": func(h *History) {
			h.Lives[0].Began, h.Lives[0].Receipts = h.Messages[4].Began.Add(1), h.Lives[0].Receipts[6:]
		},
		"an unknown outcome, delivered to one": func(h *History) {
			h.Messages[3].Outcome = Unknown
			without(h.Lives[0], 3)
		},
		"an unknown outcome behind its successor": func(h *History) {
			h.Messages[0].Outcome = Unknown
			for _, l := range h.Lives {
				l.Receipts = append(slices.Clone(l.Receipts[1:]), l.Receipts[0])
			}
		},
		"published after the client left": func(h *History) {
			h.Lives[0].Ended, h.Lives[0].Receipts = h.Messages[4].Began, h.Lives[0].Receipts[:4]
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := world()
			spoil(h)
			if found := Check(h); found != nil {
				t.Fatalf("got %v", found)
			}
		})
	}
}

func TestCheck_tells_few_of_many(t *testing.T) {
	t.Parallel()
	h := world()
	h.Lives[0].Receipts = nil
	found := Check(h)
	if len(found) != enough+1 || !strings.Contains(found[enough].Text, "7 more") {
		t.Fatalf("got %v", found)
	}
}

// After a fork what clients had may come again, in another order: lives of before and
// after are held against their own kind alone.
func TestCheck_of_a_history_that_forked(t *testing.T) {
	t.Parallel()
	forked := func() *History {
		h := world()
		h.Fork = time.Unix(1_000_000+101, 0)
		for _, l := range h.Lives[:2] {
			l.Ending = Closed
			without(l, 11) // was lost with the end of the first history
			again := *l
			again.Began, again.Ended, again.Ending = h.Fork.Add(time.Second), h.Fork.Add(time.Minute), Open
			again.Receipts = []Receipt{{ID: ID{"a", "q", 6}, Group: "g"}, {ID: ID{"a", "p", 6}, Group: "g"}}
			h.Lives = append(h.Lives, &again)
		}
		return h
	}
	if found := Check(forked()); found != nil {
		t.Errorf("got %v", found)
	}
	h := forked()
	h.Lives[3].Receipts[0], h.Lives[3].Receipts[1] = h.Lives[3].Receipts[1], h.Lives[3].Receipts[0]
	if found := Check(h); len(found) == 0 || found[0].Invariant != Order {
		t.Errorf("two orders after the fork: got %v", found)
	}
	h = forked()
	h.Fork = time.Time{}
	if found := Check(h); len(found) == 0 {
		t.Error("without a fork the same history passes")
	}
}
