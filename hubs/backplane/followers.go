package backplane

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/tenants"
)

// follower is a node that follows a hub, through all changes of its partitions.
type follower struct {
	h *hubBackplane
	n hubs.Node

	over  context.Context // until it has left for good
	stop  context.CancelFunc
	turn  chan struct{} // holds one while the rest is used
	in    Partitions
	feeds []*feed
	leave func() // nil: it follows nothing now
}

func newFollower(h *hubBackplane, n hubs.Node) *follower {
	f := &follower{h: h, n: n, turn: make(chan struct{}, 1)}
	f.over, f.stop = context.WithCancel(h.r.ctx)
	return f
}

// follow begins with partitions, whose entries n gets. f.turn is held.
func (f *follower) follow(ctx context.Context, p Partitions, n hubs.Node) error {
	f.in, f.feeds = p, nil
	if !p.several() {
		leave, of, err := f.h.follow(ctx, n)
		f.leave = leave
		f.feeds = append(f.feeds, of)
		return err
	}
	if err := f.h.enter(ctx, p); err != nil {
		return err
	}
	s := f.h.settings()
	s.Partitions = p
	leaves, errs := make([]func(), p.Count), make([]error, p.Count)
	f.feeds = make([]*feed, p.Count)
	one := oneAtATime{n: n}
	var work sync.WaitGroup
	for i := range p.Count {
		h, _ := f.h.in(s, i)
		work.Go(func() {
			leaves[i], f.feeds[i], errs[i] = h.follow(ctx, &partitionNode{all: &one, none: h.id.noEpoch()})
		})
	}
	work.Wait()
	leave := func() {
		for _, l := range leaves {
			if l != nil {
				l()
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		leave()
		return err
	}
	f.leave = leave
	return nil
}

// end leaves the hub for good.
func (f *follower) end() {
	f.h.r.mu.Lock()
	delete(f.h.r.followers, f)
	f.h.r.mu.Unlock()
	f.stop()
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	if f.leave != nil {
		f.leave()
		f.leave = nil
	}
}

// at is where the node has been called for last, in all partitions. f.turn is held.
func (f *follower) at() hubs.Position {
	parts := make([]hubs.Position, 0, len(f.feeds))
	for _, of := range f.feeds {
		of.calls.Lock()
		at := of.given
		of.calls.Unlock()
		if at.Epoch == "" {
			at.Epoch = of.id.noEpoch()
		}
		parts = append(parts, at)
	}
	return hubs.AcrossPartitions(parts...)
}

// watchPartitions has a follower moved whenever its hub's partitions change.
func (r *Redis) watchPartitions(f *follower) {
	r.mu.Lock()
	r.followers[f] = struct{}{}
	r.mu.Unlock()
	if f.behind() { // meanwhile
		r.start(f.move)
	}
}

// PartitionsChanged has the nodes of a tenant's hubs follow the partitions that are
// in the hubs' settings now. Else it is noticed after Config.SweepEvery.
func (r *Redis) PartitionsChanged(tenant tenants.ID) {
	r.moveFollowers(func(id hubID) bool { return id.tenant == tenant })
}

func (r *Redis) moveFollowers(which func(hubID) bool) {
	r.mu.Lock()
	var some []*follower
	for f := range r.followers {
		if which(f.h.id) {
			some = append(some, f)
		}
	}
	r.mu.Unlock()
	for _, f := range some {
		select {
		case f.turn <- struct{}{}:
		default:
			continue // it is moving, or looks by itself
		}
		behind := f.behind()
		<-f.turn
		if behind {
			r.start(f.move)
		}
	}
}

// move follows the hub's partitions instead of those before, and tells the node that
// what was accepted in between is lost to it.
func (f *follower) move() {
	select {
	case f.turn <- struct{}{}:
	case <-f.over.Done():
		return
	}
	defer func() { <-f.turn }()
	if f.over.Err() != nil || f.leave == nil || !f.behind() {
		return
	}
	last := f.at() // what comes until it has left is among what it is told of
	f.leave()
	f.leave = nil
	held := &holding{n: f.n}
	for pause := retryPause; ; pause = min(2*pause, reconnectMost) {
		ctx, cancel := context.WithTimeout(f.over, subscribePatience)
		err := f.follow(ctx, f.h.settings().Partitions, held)
		cancel()
		if err == nil && held.release(last) {
			break
		}
		if err == nil {
			err = errHeld
			f.leave()
		}
		f.leave = nil
		f.h.r.log.Warn("hub's partitions aren't followed yet", "tenant", f.h.id.tenant, "hub", f.h.id.hub, "error", err)
		held.drop()
		select {
		case <-time.After(pause):
		case <-f.over.Done():
			return
		}
	}
	f.h.r.stats.epochs.Add(1)
	if f.behind() {
		f.h.r.start(f.move)
	}
}

// behind reports whether the hub's partitions are later ones than those that are
// followed. f.turn is held.
func (f *follower) behind() bool { return f.h.settings().Partitions.Generation > f.in.Generation }

// oneAtATime calls a node for several feeds.
type oneAtATime struct {
	mu sync.Mutex
	n  hubs.Node
}

// partitionNode is a node's part in one partition.
type partitionNode struct {
	all  *oneAtATime
	none string // see hubID.noEpoch
}

func (p *partitionNode) position(at hubs.Position) hubs.Position {
	if at.Epoch == "" {
		at.Epoch = p.none
	}
	return at
}

// Apply implements hubs.Node.
func (p *partitionNode) Apply(e *hubs.Entry) int {
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	return p.all.n.Apply(e)
}

// Answer implements hubs.Node.
func (p *partitionNode) Answer(q hubs.Query) int {
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	return p.all.n.Answer(q)
}

// List implements hubs.Node.
func (p *partitionNode) List(q hubs.ListQuery) hubs.Page {
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	return p.all.n.List(q)
}

// Lost implements hubs.Node.
func (p *partitionNode) Lost(g hubs.Gap) {
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	g.Last, g.Next = p.position(g.Last), p.position(g.Next)
	p.all.n.Lost(g)
}

// Begins implements hubs.Node.
func (p *partitionNode) Begins(at hubs.Position) {
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	p.all.n.Begins(p.position(at))
}

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
