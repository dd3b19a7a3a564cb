package backplanetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// historian returns b as one.
func historian(t *testing.T, b hubs.Backplane) hubs.Historian {
	t.Helper()
	h, ok := b.(hubs.Historian)
	if !ok {
		t.Fatalf("%T keeps no history", b)
	}
	return h
}

// mixed publishes count entries of several kinds and returns them as accepted.
func mixed(t *testing.T, b hubs.Backplane, count int) []*hubs.Entry {
	t.Helper()
	kinds := []hubs.Entry{
		{Kind: hubs.SendToAll}, {Kind: hubs.SendToGroups, Groups: []string{"a"}}, {Kind: hubs.SendToGroups, Groups: []string{"b", "a"}, Excluded: []string{"c1"}},
		{Kind: hubs.SendToUsers, Users: []string{"u1"}}, {Kind: hubs.SendToConnections, Connections: []string{"c1"}},
		{Kind: hubs.AddToGroup, Connections: []string{"c1"}, Groups: []string{"a"}}, {Kind: hubs.SendToGroups, Groups: []string{"b"}},
	}
	all := make([]*hubs.Entry, count)
	for i := range all {
		e := kinds[i%len(kinds)]
		if e.Kind <= hubs.SendToConnections {
			e.Message = &hubs.Broadcast{Target: "t", Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: fmt.Appendf(nil, "[%d]", i)}}
		}
		at := publish(t, b, &e, hubs.PublishOptions{})
		e.Epoch, e.Number = at.Epoch, at.Number
		all[i] = &e
	}
	return all
}

// read returns all pages of q.
func read(t *testing.T, b hubs.Backplane, q hubs.HistoryQuery) (numbers []uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	for pages := 0; ; pages++ {
		page, err := historian(t, b).History(ctx, q)
		if err != nil {
			t.Fatalf("history %+v: %v", q, err)
		}
		if len(page.Entries) > q.Limit || pages > 1000 {
			t.Fatalf("page %d has %d entries, the limit is %d", pages, len(page.Entries), q.Limit)
		}
		for _, e := range page.Entries {
			numbers = append(numbers, e.Number)
		}
		if !page.More {
			return numbers
		}
		if q.Newest {
			q.Before = &page.Next
		} else {
			q.After = &page.Next
		}
	}
}

// chosen is what read must return.
func chosen(all []*hubs.Entry, q hubs.HistoryQuery) (numbers []uint64) {
	for _, e := range all {
		if q.Select.Matches(e) && (q.After == nil || e.Number > q.After.Number) && (q.Before == nil || e.Number < q.Before.Number) {
			numbers = append(numbers, e.Number)
		}
	}
	if q.Newest {
		slices.Reverse(numbers)
	}
	return numbers
}

// A node that follows the hub, one that doesn't, and one that came late.
func historyIsWhatWasAccepted(t *testing.T, open Open) {
	b := open(t, 3)
	subscribe(t, b[0], newNode(0))
	all := mixed(t, b[0], 150)
	late := newNode(0)
	subscribe(t, b[2], late)
	all = append(all, mixed(t, b[1], 50)...)
	late.await(t, 50)
	selections := []hubs.Selection{
		{Every: true}, {All: true}, {Groups: []string{"a"}}, {Groups: []string{"a", "b"}, All: true}, {User: "u1"}, {Groups: []string{"none"}},
		{Groups: []string{"b"}, ExceptOwnID: "c1"},
	}
	for range 60 {
		q := hubs.HistoryQuery{Select: selections[rand.IntN(len(selections))], Limit: 1 + rand.IntN(40), Newest: rand.IntN(3) == 0, Accepted: true}
		if rand.IntN(2) == 0 {
			at := all[rand.IntN(len(all))].Position()
			q.After = &at
		}
		if rand.IntN(2) == 0 {
			at := all[rand.IntN(len(all))].Position()
			q.Before = &at
		}
		want := chosen(all, q)
		for i := range b {
			if got := read(t, b[i], q); !slices.Equal(got, want) {
				t.Fatalf("node %d: after %v, before %v, %+v: %v, want %v", i, q.After, q.Before, q, got, want)
			}
		}
	}
}

func historySince(t *testing.T, open Open) {
	b := open(t, 1)
	n := newNode(0)
	subscribe(t, b[0], n)
	mixed(t, b[0], 7)
	for edge := n.await(t, 7)[6].At; !time.Now().After(edge.Add(time.Millisecond)); {
		time.Sleep(time.Millisecond) // until the clock has moved on
	}
	mixed(t, b[0], 7)
	from := n.await(t, 14)[7].At
	q := hubs.HistoryQuery{Select: hubs.Selection{Every: true}, Since: from, Limit: 100}
	for _, newest := range []bool{false, true} {
		q.Newest = newest
		got := read(t, b[0], q)
		if len(got) != 6 || slices.Min(got) != 8 { // one of seven is no message
			t.Errorf("newest first %v: %v", newest, got)
		}
	}
}

func historyOfAnotherEpoch(t *testing.T, open Open) {
	b := open(t, 1)
	all := mixed(t, b[0], 3)
	at := all[0].Position()
	at.Epoch = "another"
	_, err := historian(t, b[0]).History(t.Context(), hubs.HistoryQuery{Select: hubs.Selection{Every: true}, After: &at, Limit: 10})
	var gone *hubs.HistoryGoneError
	if !errors.As(err, &gone) || gone.After != at || gone.To != (hubs.Position{Epoch: all[0].Epoch}) {
		t.Fatalf("%v, %+v", err, gone)
	}
	ahead := hubs.Position{Epoch: all[0].Epoch, Number: 9}
	_, err = historian(t, b[0]).History(t.Context(), hubs.HistoryQuery{Select: hubs.Selection{Every: true}, After: &ahead, Limit: 10})
	if !errors.As(err, &gone) {
		t.Errorf("a position that the hub hasn't reached: %v", err)
	}
	got := read(t, b[0], hubs.HistoryQuery{Select: hubs.Selection{Every: true}, After: &gone.To, Limit: 10})
	if len(got) != 0 {
		t.Errorf("after what is missing: %v", got)
	}
}
