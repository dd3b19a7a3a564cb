package backplanetest

import (
	"context"
	"strconv"
	"testing"

	"github.com/signalbox/signalbox/hubs"
)

// begunKeepsOrder begins entries without waiting for outcomes, among them
// commands, whose outcomes several goroutines may ask for.
func begunKeepsOrder(t *testing.T, open Open) {
	const count = 200
	b := open(t, 2)
	n := newNode(2)
	subscribe(t, b[1], n)
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	begun := make([]hubs.Begun, count)
	for i := range begun {
		e, command := text(strconv.Itoa(i)), i%10 == 3
		if command {
			e = &hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{strconv.Itoa(i)}, Groups: []string{"g"}}
		}
		var err error
		if begun[i], err = hubs.Begin(ctx, b[0], e, hubs.PublishOptions{}, command); err != nil {
			t.Fatalf("begin %d: %v", i, err)
		}
	}
	var last uint64
	for i, x := range begun {
		if i%10 == 3 {
			go func() { _, _ = x.Accepted(ctx) }()
			if matched, err := x.Matched(ctx); err != nil || matched != 2 {
				t.Errorf("command %d matched %d, %v, want 2", i, matched, err)
			}
		}
		at, err := x.Accepted(ctx)
		if err != nil || at.Number <= last {
			t.Fatalf("entry %d is at %d after %d: %v", i, at.Number, last, err)
		}
		last = at.Number
	}
	for i, e := range n.await(t, count) {
		switch {
		case i%10 == 3 && e.Connections[0] != strconv.Itoa(i):
			t.Errorf("entry %d is about %q", i, e.Connections)
		case i%10 != 3 && textOf(t, e) != textOf(t, text(strconv.Itoa(i))):
			t.Errorf("entry %d is %s", i, textOf(t, e))
		}
	}
}
