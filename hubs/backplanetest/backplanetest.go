// Package backplanetest is the suite that every hubs.Backplane passes. It knows
// backplanes only by the interface: an implementation calls Run from a test of
// its own.
package backplanetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// Open returns n backplanes of one fresh hub, each as another node would have
// it; with an in-process backplane they may be one and the same. Whatever has
// to be closed is left to t.Cleanup.
type Open func(t *testing.T, n int) []hubs.Backplane

// wait bounds every wait for something that must happen.
const wait = 10 * time.Second

// Run runs the suite on backplanes made by open.
func Run(t *testing.T, open Open) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Open)
	}{
		{"an entry reaches every node once with all its fields", entryReachesEveryNode},
		{"numbers are contiguous from 1 within one epoch", numbersAreContiguous},
		{"every node sees one order across all kinds", oneOrderAcrossKinds},
		{"concurrent publishers are seen in one order", oneOrderOfConcurrentPublishers},
		{"what is published after Subscribe returned is applied", subscribeBeforePublish},
		{"what was published before Subscribe is not applied", nothingFromBefore},
		{"a node is told where it begins", toldWhereItBegins},
		{"no call is made after leave returned", nothingAfterLeave},
		{"a node that left can subscribe again", subscribeAgain},
		{"a command returns the sum of the matches", commandSums},
		{"a command without any node matches nothing", commandWithoutNodes},
		{"a query returns the sum of the answers", askSums},
		{"a query without any node counts nothing", askWithoutNodes},
		{"a list merges the parts of all nodes in order", listMerges},
		{"a list ends where a node's part does", listEndsWithAPart},
		{"a list without any node is empty", listWithoutNodes},
		{"a list that makes no sense is refused", listRefused},
		{"connections, users and groups of three nodes are listed page by page", listsOfServers},
		{"a command is applied in order with messages", commandKeepsOrder},
		{"a repeat with the same idempotency key is answered with the first position", idempotentPublish},
		{"an idempotency key with another entry is refused", idempotencyConflict},
		{"an idempotency key makes concurrent repeats one entry", idempotentRace},
		{"stored groups of a user are returned until removed", storedGroups},
		{"groups with TTL 0 are not stored", storedGroupsNow},
		{"stored groups of a user are removed one by one and all at once", storedGroupsRemoved},
		{"a done context publishes nothing", doneContext},
		{"entries that are begun before others are answered keep their order", begunKeepsOrder},
		{"what a hub method sends and returns is seen in its order", methodKeepsOrder},
		{"history is what was accepted, page by page", historyIsWhatWasAccepted},
		{"history since a time", historySince},
		{"history after what is not kept is refused with what is missing", historyOfAnotherEpoch},
		{"a client of another node answers", clientOfAnotherNodeAnswers},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open) })
	}
}

// node is a hubs.Node that records what it is asked.
type node struct {
	matches int       // returned by Apply and Answer
	page    hubs.Page // returned by List

	mu      sync.Mutex
	entries []*hubs.Entry
	queries []hubs.Query
	lists   []hubs.ListQuery
	gaps    []hubs.Gap
	began   []hubs.Position
	inApply bool
	overlap bool
	changed chan struct{}
}

func newNode(matches int) *node { return &node{matches: matches, changed: make(chan struct{}, 1)} }

func (n *node) Apply(e *hubs.Entry) int {
	n.mu.Lock()
	n.overlap = n.overlap || n.inApply
	n.inApply = true
	n.mu.Unlock()

	n.mu.Lock()
	defer n.mu.Unlock()
	n.inApply = false
	n.entries = append(n.entries, e)
	n.notify()
	return n.matches
}

func (n *node) Answer(q hubs.Query) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.queries = append(n.queries, q)
	return n.matches
}

func (n *node) List(q hubs.ListQuery) hubs.Page {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lists = append(n.lists, q)
	return n.page
}

func (n *node) Lost(g hubs.Gap) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gaps = append(n.gaps, g)
	n.notify()
}

func (n *node) Begins(at hubs.Position) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.began = append(n.began, at)
}

func (n *node) notify() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

func (n *node) seen() []*hubs.Entry {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.entries)
}

// await waits until the node has applied count entries and returns them.
func (n *node) await(t *testing.T, count int) []*hubs.Entry {
	t.Helper()
	deadline := time.After(wait)
	for {
		got := n.seen()
		if len(got) >= count {
			n.check(t)
			return got
		}
		select {
		case <-n.changed:
		case <-deadline:
			t.Fatalf("the node has applied %d of %d entries after %v", len(got), count, wait)
		}
	}
}

// check fails the test when the contract of Node was broken.
func (n *node) check(t *testing.T) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.overlap {
		t.Error("Apply was called by two goroutines at once")
	}
	if len(n.gaps) > 0 {
		t.Errorf("entries were lost: %+v", n.gaps)
	}
}

func subscribe(t *testing.T, b hubs.Backplane, n *node) (leave func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	leave, err := b.Subscribe(ctx, n)
	if err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	once := sync.OnceFunc(leave)
	t.Cleanup(once)
	return once
}

func publish(t *testing.T, b hubs.Backplane, e *hubs.Entry, o hubs.PublishOptions) hubs.Position {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	p, err := b.Publish(ctx, e, o)
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	return p
}

func command(t *testing.T, b hubs.Backplane, e *hubs.Entry) (hubs.Position, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	p, n, err := b.Command(ctx, e, hubs.PublishOptions{})
	if err != nil {
		t.Fatalf("command: %v", err)
	}
	return p, n
}

// text returns a message to everybody whose one argument is s.
func text(s string) *hubs.Entry {
	return &hubs.Entry{Kind: hubs.SendToAll, Message: &hubs.Broadcast{
		Target:    "show",
		Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: fmt.Appendf(nil, "[%q]", s)},
	}}
}

// textOf is the JSON frame of an entry's message, by which tests compare.
func textOf(t *testing.T, e *hubs.Entry) string {
	t.Helper()
	if e.Message == nil {
		return ""
	}
	f, err := e.Message.Frame(protocol.NewJSON())
	if err != nil {
		t.Fatalf("frame of entry %d: %v", e.Number, err)
	}
	return string(f)
}

// errorIs fails the test unless err wraps target.
func errorIs(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("error is %v, want one that wraps %q", err, target)
	}
}
