package backplanetest

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

func entryReachesEveryNode(t *testing.T, open Open) {
	b := open(t, 2)
	a, z := newNode(1), newNode(1)
	subscribe(t, b[0], a)
	subscribe(t, b[1], z)
	sent := []*hubs.Entry{
		{
			Kind: hubs.SendToGroups, Groups: []string{"g", "grün"}, Excluded: []string{"c1"}, ExcludedUsers: []string{"u1"},
			Message: &hubs.Broadcast{Target: "t", Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: []byte(`[1,null,"é"]`)}},
		},
		{
			Kind: hubs.SendToUsers, Users: []string{"u1", "u2"},
			Message: &hubs.Broadcast{Target: "t", Arguments: protocol.Raw{Encoding: protocol.MessagePack, Bytes: []byte{0x92, 0x01, 0xc0}}},
		},
		{
			Kind: hubs.SendToConnections, Connections: []string{"c1", "c2"},
			Message: &hubs.Broadcast{Frames: map[string][]byte{"json": []byte("{\"type\":6}\x1e"), "messagepack": {0x02, 0x91, 0x06}}},
		},
		{Kind: hubs.AddUserToGroup, Users: []string{"u"}, Groups: []string{"g"}, TTLSeconds: -1},
		{Kind: hubs.CloseConnections, Groups: []string{"g"}, Reason: "why", AllowReconnect: true},
	}
	for _, e := range sent {
		publish(t, b[0], e, hubs.PublishOptions{Charge: 1})
	}
	for _, n := range []*node{a, z} {
		got := n.await(t, len(sent))
		for i, e := range sent {
			want, have := *e, *got[i]
			if textJSON(t, e) != textJSON(t, got[i]) {
				t.Errorf("message of entry %d is %q, want %q", i, textJSON(t, got[i]), textJSON(t, e))
			}
			want.Message, have.Message = nil, nil
			if have.At.IsZero() || i > 0 && have.At.Before(got[i-1].At) || !have.At.Equal(a.await(t, len(sent))[i].At) {
				t.Errorf("entry %d is accepted at %v: want a time that doesn't go back and is the same for all nodes", i, have.At)
			}
			have.Epoch, have.Number, have.At = "", 0, time.Time{}
			if !reflect.DeepEqual(want, have) {
				t.Errorf("entry %d is %+v, want %+v", i, have, want)
			}
		}
		if len(got) != len(sent) {
			t.Errorf("the node applied %d entries, want %d", len(got), len(sent))
		}
	}
}

// textJSON is textOf for both hub protocols.
func textJSON(t *testing.T, e *hubs.Entry) string {
	t.Helper()
	if e.Message == nil {
		return ""
	}
	f, err := e.Message.Frame(protocol.NewMessagePack())
	if err != nil {
		t.Fatalf("frame: %v", err)
	}
	return textOf(t, e) + string(f)
}

func numbersAreContiguous(t *testing.T, open Open) {
	b := open(t, 2)
	n := newNode(1)
	subscribe(t, b[1], n)
	const count = 20
	var epoch string
	for i := range count {
		p := publish(t, b[i%2], text(fmt.Sprint(i)), hubs.PublishOptions{})
		if p.Number != uint64(i+1) || p.Epoch == "" || p.Duplicate || (i > 0 && p.Epoch != epoch) {
			t.Fatalf("position %d is %+v after epoch %q", i, p, epoch)
		}
		epoch = p.Epoch
	}
	for i, e := range n.await(t, count) {
		if e.Number != uint64(i+1) || e.Epoch != epoch {
			t.Errorf("entry %d has number %d of epoch %q", i, e.Number, e.Epoch)
		}
	}
}

func oneOrderAcrossKinds(t *testing.T, open Open) {
	b := open(t, 2)
	a, z := newNode(1), newNode(1)
	subscribe(t, b[0], a)
	subscribe(t, b[1], z)
	kinds := []hubs.Kind{
		hubs.SendToAll, hubs.AddToGroup, hubs.SendToGroups, hubs.RemoveFromGroup, hubs.SendToUsers,
		hubs.AddUserToGroup, hubs.SendToConnections, hubs.RemoveUserFromGroup, hubs.CloseConnections,
	}
	const rounds = 10
	for i := range rounds * len(kinds) {
		e := text(fmt.Sprint(i))
		e.Kind = kinds[i%len(kinds)]
		e.Groups, e.Users, e.Connections = []string{"g"}, []string{"u"}, []string{"c"}
		publish(t, b[i%2], e, hubs.PublishOptions{})
	}
	for _, n := range []*node{a, z} {
		for i, e := range n.await(t, rounds*len(kinds)) {
			if e.Kind != kinds[i%len(kinds)] || e.Number != uint64(i+1) {
				t.Fatalf("entry %d has kind %d and number %d, want kind %d", i, e.Kind, e.Number, kinds[i%len(kinds)])
			}
		}
	}
}

func oneOrderOfConcurrentPublishers(t *testing.T, open Open) {
	b := open(t, 2)
	a, z := newNode(1), newNode(1)
	subscribe(t, b[0], a)
	subscribe(t, b[1], z)
	const publishers, each = 4, 25
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				if _, err := b[p%2].Publish(t.Context(), text(fmt.Sprintf("%d-%d", p, i)), hubs.PublishOptions{}); err != nil {
					t.Errorf("publish: %v", err)
				}
			}
		})
	}
	wg.Wait()
	first, second := a.await(t, publishers*each), z.await(t, publishers*each)
	next := make(map[byte]int)
	for i := range first {
		one, two := textOf(t, first[i]), textOf(t, second[i])
		if one != two || first[i].Number != uint64(i+1) {
			t.Fatalf("entry %d is %q (number %d) on one node and %q on the other", i, one, first[i].Number, two)
		}
		var p byte
		var k int
		for _, probe := range []byte("0123") {
			if _, err := fmt.Sscanf(one[indexOf(one, `["`):], `["`+string(probe)+`-%d"]`, &k); err == nil {
				p = probe
			}
		}
		if k != next[p] {
			t.Fatalf("publisher %c: message %d came when %d was due", p, k, next[p])
		}
		next[p]++
	}
}

func indexOf(s, sub string) int {
	for i := range len(s) - len(sub) {
		if s[i:i+len(sub)] == sub {
			return i
		}
	}
	return 0
}

func commandKeepsOrder(t *testing.T, open Open) {
	b := open(t, 2)
	n := newNode(1)
	subscribe(t, b[1], n)
	for i := range 10 {
		if i%2 == 0 {
			publish(t, b[0], text(fmt.Sprint(i)), hubs.PublishOptions{})
			continue
		}
		p, _ := command(t, b[0], &hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{"c"}, Groups: []string{"g"}})
		got := n.seen()
		if len(got) < i+1 || got[i].Number != p.Number {
			t.Fatalf("command %d was answered before the node had applied it", i)
		}
	}
}

func doneContext(t *testing.T, open Open) {
	b := open(t, 1)
	n := newNode(1)
	subscribe(t, b[0], n)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b[0].Publish(ctx, text("never"), hubs.PublishOptions{}); err == nil {
		t.Error("a publish with a done context succeeded")
	}
	publish(t, b[0], text("after"), hubs.PublishOptions{})
	if got := n.await(t, 1); textOf(t, got[0]) != textOf(t, text("after")) {
		t.Errorf("the node applied %q", textOf(t, got[0]))
	}
}
