package hubs_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// keeper is a Backplane whose first read of the history comes when a test wants it
// to, and whose nodes may be behind.
type keeper struct {
	*hubs.MemoryBackplane
	read func() // before the first read
	once sync.Once

	nodes atomic.Int32

	mu     sync.Mutex
	behind bool
	begun  bool // the nodes that are behind have begun with what they don't apply
	late   []func()
}

func (k *keeper) History(ctx context.Context, q hubs.HistoryQuery) (hubs.HistoryPage, error) {
	if k.read != nil {
		k.once.Do(k.read)
	}
	return k.MemoryBackplane.History(ctx, q)
}

func (k *keeper) Subscribe(ctx context.Context, n hubs.Node) (func(), error) {
	leave, err := k.MemoryBackplane.Subscribe(ctx, lateNode{n, k})
	k.nodes.Add(1)
	return func() {
		leave()
		k.nodes.Add(-1)
	}, err
}

// lateNode applies what comes while its keeper is behind later.
type lateNode struct {
	hubs.Node
	k *keeper
}

func (n lateNode) Apply(e *hubs.Entry) int {
	n.k.mu.Lock()
	defer n.k.mu.Unlock()
	if s, ok := n.Node.(*hubs.Server); ok && n.k.behind {
		if n.k.begun {
			n.k.late = append(n.k.late, s.Begin(e))
		} else {
			n.k.late = append(n.k.late, func() { s.Apply(e) })
		}
		return 0
	}
	return n.Node.Apply(e)
}

func (k *keeper) catchUp() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.behind = false
	for _, apply := range k.late {
		apply()
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

// falls makes the nodes fall behind; with begun, amid what comes next.
func (k *keeper) falls(begun bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.behind, k.begun = true, begun
}

// rewinding connects a client of group blue that wants what it has missed.
func rewinding(t *testing.T, s *hubs.Server) *wire {
	t.Helper()
	w := serveInfo(t, s, hubs.ConnectionInfo{ID: "c", Principal: hubs.Principal{Groups: []string{"blue"}}, Rewind: &hubs.Rewind{Last: 5}})
	w.send(handshake)
	w.expect("{}\x1e")
	return w
}

// A node that is amid an entry applies it to a client that has had it from the
// history.
func TestRewind_sends_once_what_its_node_is_amid(t *testing.T) {
	t.Parallel()
	k := &keeper{MemoryBackplane: hubs.NewMemoryBackplane()}
	s := newServer(t, hubs.Config{Backplane: k})
	blue := hubs.Entry{Kind: hubs.SendToGroups, Groups: []string{"blue"}}
	connect(t, s, "", "other")
	k.falls(true)
	amid, _ := sendTo(t, s, blue, "amid")
	w := rewinding(t, s)
	w.expect(amid)
	k.catchUp()
	frame, _ := sendTo(t, s, blue, "end")
	w.expect(frame)
}

// A node that has applied nothing since it follows the hub puts everything in one
// order nevertheless: what it hasn't applied yet isn't history, whoever it is for.
func TestRewind_on_a_node_that_has_applied_nothing(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"a new hub", "one with history", "one that was followed before"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			k := &keeper{MemoryBackplane: hubs.NewMemoryBackplane()}
			s := newServer(t, hubs.Config{Backplane: k, Linger: time.Nanosecond})
			blue := hubs.Entry{Kind: hubs.SendToGroups, Groups: []string{"blue"}}
			var missed []string
			miss := func(text string) {
				frame, _ := sendTo(t, s, blue, text)
				missed = append(missed, frame)
			}
			switch what {
			case "one with history":
				miss("1")
			case "one that was followed before":
				w := connect(t, s, "", "other")
				miss("1")
				w.hangUp()
				until(t, "the hub isn't followed", func() bool { return k.nodes.Load() == 0 })
				miss("2")
			}
			k.falls(false)
			live := make(chan string, 3)
			k.read = func() { // between the subscription and the read of the history
				for _, text := range []string{"to blue", "to all", "to blue again"} {
					e := blue
					if text == "to all" {
						e = hubs.Entry{Kind: hubs.SendToAll}
					}
					b, frame := message(text)
					e.Message = b
					if _, err := k.Publish(context.Background(), &e, hubs.PublishOptions{}); err != nil {
						t.Error(err)
					}
					live <- frame
				}
			}
			w := rewinding(t, s)
			w.expect(missed...)
			all := []string{<-live, <-live, <-live}
			k.catchUp()
			w.expect(all...)
			frame, _ := sendTo(t, s, blue, "end")
			w.expect(frame)
		})
	}
}
