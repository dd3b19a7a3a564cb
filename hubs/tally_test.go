package hubs_test

import (
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// tallying is a meter that tells deliveries apart.
type tallying struct {
	meter

	mu     sync.Mutex
	counts map[string]int
}

type tallied struct {
	of   *tallying
	name string
}

func (t tallied) Add(n int) {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	t.of.counts[t.name] += n
}

func (m *tallying) TallyOf(e *hubs.Entry) hubs.Tally {
	if e == nil {
		return tallied{m, "of none"}
	}
	return tallied{m, fmt.Sprintf("of %v %s", e.Groups, e.Message.Target)}
}

func (m *tallying) TallyTo(c *hubs.Connection) hubs.Tally { return tallied{m, "to " + c.User()} }

func (m *tallying) told() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.counts)
}

func TestDeliveries_are_told_apart(t *testing.T) {
	t.Parallel()
	m := &tallying{counts: map[string]int{}}
	s := newServer(t, hubs.Config{Meter: m})
	ann, bob := connect(t, s, "ann", "A"), connect(t, s, "bob", "B")
	command(t, s, &hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{"A"}, Groups: []string{"blue"}})
	for range 2 {
		frame, _ := sendTo(t, s, hubs.Entry{Kind: hubs.SendToGroups, Groups: []string{"blue"}}, "x")
		ann.expect(frame)
	}
	frame, _ := sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, "y")
	ann.expect(frame)
	bob.expect(frame)
	b, _ := s.Connection("B")
	if err := b.Send(&protocol.Message{Type: protocol.Completion, InvocationID: "1"}); err != nil {
		t.Fatal(err)
	}
	bob.expect(`{"type":3,"invocationId":"1"}` + "\x1e")
	want := map[string]int{"of [blue] show": 2, "of [] show": 2, "of none": 1, "to ann": 3, "to bob": 2}
	until(t, "all are counted", func() bool { return maps.Equal(m.told(), want) })
	m.get(func() {
		if m.messages != 5 {
			t.Errorf("%d messages are counted", m.messages)
		}
	})
}
