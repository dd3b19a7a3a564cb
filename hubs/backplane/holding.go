package backplane

import (
	"errors"
	"slices"
	"sync"

	"github.com/signalbox/signalbox/hubs"
)

// holding is a node that gets what came since it began only when it is released.
type holding struct {
	n hubs.Node

	mu    sync.Mutex
	open  bool
	held  []func()
	over  bool // too much came to be held
	began []hubs.Position
}

// heldMost is how much is held; whoever gets more begins again.
const heldMost = 10_000

var errHeld = errors.New("too much came while the partitions were entered")

// hold keeps f for later. h.mu is held.
func (h *holding) hold(f func()) {
	if h.over = h.over || len(h.held) >= heldMost; h.over {
		h.held = nil
		return
	}
	h.held = append(h.held, f)
}

func (h *holding) do(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open {
		f()
		return
	}
	h.hold(f)
}

// Apply implements hubs.Node. What is held matches nothing.
func (h *holding) Apply(e *hubs.Entry) (matched int) {
	h.mu.Lock()
	if h.open {
		h.mu.Unlock()
		return h.n.Apply(e)
	}
	h.hold(func() { h.n.Apply(e) })
	h.mu.Unlock()
	return 0
}

// Answer implements hubs.Node.
func (h *holding) Answer(q hubs.Query) int { return h.n.Answer(q) }

// List implements hubs.Node.
func (h *holding) List(q hubs.ListQuery) hubs.Page { return h.n.List(q) }

// Lost implements hubs.Node.
func (h *holding) Lost(g hubs.Gap) { h.do(func() { h.n.Lost(g) }) }

// Begins implements hubs.Node.
func (h *holding) Begins(at hubs.Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open {
		h.n.Begins(at)
		return
	}
	h.began = append(h.began, at)
}

// begun is where it has begun, in all partitions. h.mu is held.
func (h *holding) begun() hubs.Position {
	slices.SortFunc(h.began, func(a, b hubs.Position) int { return hubs.PartitionOf(a.Epoch) - hubs.PartitionOf(b.Epoch) })
	return hubs.AcrossPartitions(h.began...)
}

// drop forgets a beginning that came to nothing.
func (h *holding) drop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held, h.began, h.over = nil, nil, false
}

// release tells the node of the gap behind last, then where it begins, and gives it what
// came since. It reports false when that was too much to be held: then it does nothing.
func (h *holding) release(last hubs.Position) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return false
	}
	h.n.Lost(hubs.Gap{Reason: "epoch", Last: last, Next: h.begun()})
	for _, at := range h.began {
		h.n.Begins(at)
	}
	for _, f := range h.held {
		f()
	}
	h.open, h.held = true, nil
	return true
}
