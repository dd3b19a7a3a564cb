package hubs_test

import (
	"context"
	"sync"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// keeper is a Backplane whose first read of the history comes when a test wants it
// to, and whose nodes may be behind.
type keeper struct {
	*hubs.MemoryBackplane
	read func() // before the first read
	once sync.Once

	mu     sync.Mutex
	behind bool
	node   hubs.Node
	late   []*hubs.Entry
}

func (k *keeper) History(ctx context.Context, q hubs.HistoryQuery) (hubs.HistoryPage, error) {
	k.once.Do(k.read)
	return k.MemoryBackplane.History(ctx, q)
}

func (k *keeper) Subscribe(ctx context.Context, n hubs.Node) (func(), error) {
	k.node = n
	return k.MemoryBackplane.Subscribe(ctx, lateNode{n, k})
}

// lateNode applies what comes while its keeper is behind later.
type lateNode struct {
	hubs.Node
	k *keeper
}

func (n lateNode) Apply(e *hubs.Entry) int {
	n.k.mu.Lock()
	defer n.k.mu.Unlock()
	if n.k.behind {
		n.k.late = append(n.k.late, e)
		return 0
	}
	return n.Node.Apply(e)
}

func (k *keeper) catchUp() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.behind = false
	for _, e := range k.late {
		k.node.Apply(e)
	}
}

// What is sent to a group between the join and the read of its history isn't the
// history's: however little of that was asked for, it comes, in order and once.
func TestRewind_takes_nothing_from_what_is_live(t *testing.T) {
	for _, way := range []string{"connecting", "joining"} {
		t.Run(way, func(t *testing.T) {
			k := &keeper{MemoryBackplane: hubs.NewMemoryBackplane()}
			s := newServer(t, hubs.Config{Backplane: k})
			blue := hubs.Entry{Kind: hubs.SendToGroups, Groups: []string{"blue"}}
			connect(t, s, "", "other") // the hub is followed
			_, _ = sendTo(t, s, blue, "older")
			want := []string{"{}\x1e"}
			frame, _ := sendTo(t, s, blue, "newest")
			want = append(want, frame)
			var mu sync.Mutex
			var live []string
			k.read = func() {
				mu.Lock()
				defer mu.Unlock()
				for _, text := range []string{"live 1", "live 2", "live 3"} {
					b, frame := message(text)
					e := blue
					e.Message = b
					if _, err := k.Publish(context.Background(), &e, hubs.PublishOptions{}); err != nil {
						t.Error(err)
					}
					live = append(live, frame)
				}
			}
			var w *wire
			if way == "connecting" {
				w = serveInfo(t, s, hubs.ConnectionInfo{ID: "c", Principal: hubs.Principal{Groups: []string{"blue"}}, Rewind: &hubs.Rewind{Last: 1}})
				w.send(handshake)
			} else {
				w = connect(t, s, "", "c")
				want = want[1:]
				c, _ := s.Connection("c")
				c.PlanRewind("r", hubs.Rewind{Last: 1}, func(hubs.Position, hubs.Rewound) []*protocol.Message { return nil })
				command(t, s, &hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{"c"}, Groups: []string{"blue"}, Reason: "r"})
			}
			w.expect(want...) // of the history
			mu.Lock()
			w.expect(live...)
			mu.Unlock()
			frame, _ = sendTo(t, s, blue, "end")
			w.expect(frame)
		})
	}
}

// A node that is behind applies later what a client has had from the history.
func TestRewind_sends_once_what_its_node_applies_later(t *testing.T) {
	k := &keeper{MemoryBackplane: hubs.NewMemoryBackplane()}
	s := newServer(t, hubs.Config{Backplane: k})
	blue := hubs.Entry{Kind: hubs.SendToGroups, Groups: []string{"blue"}}
	var early string
	k.read = func() {
		k.mu.Lock()
		k.behind = true
		k.mu.Unlock()
		b, frame := message("early")
		early = frame
		e := blue
		e.Message = b
		if _, err := k.Publish(context.Background(), &e, hubs.PublishOptions{}); err != nil {
			t.Error(err)
		}
	}
	w := serveInfo(t, s, hubs.ConnectionInfo{ID: "c", Principal: hubs.Principal{Groups: []string{"blue"}}, Rewind: &hubs.Rewind{Last: 5}})
	w.send(handshake)
	w.expect("{}\x1e")
	first, ok := w.read()
	if !ok || first != early {
		t.Fatalf("got %q, want %q", first, early)
	}
	k.catchUp()
	frame, _ := sendTo(t, s, blue, "end")
	w.expect(frame)
}
