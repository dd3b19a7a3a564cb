package backplane

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

// era is the time in which a follower follows a hub with the same partitions: the first,
// and those in which its node has members. A partition is followed before the node has
// its first member there, and until it has had none for a while.
type era struct {
	f  *follower
	in Partitions
	n  hubs.Node  // is called
	of sync.Mutex // held while it is, so for one partition at a time

	over context.Context
	stop context.CancelFunc
	work sync.WaitGroup // the parts

	mu    sync.Mutex
	parts []*followed // by number; nil = it isn't followed

	// leave is for a hub that is one stream, whose feed is feed.
	leave func()
	feed  *feed
}

// followed is a partition that is followed, or is about to be.
type followed struct {
	node  *partitionNode
	feed  *feed         // set before began is closed
	began chan struct{} // closed when the node gets its entries
	over  context.Context
	stop  context.CancelFunc

	// Guarded by era.mu.
	uses int       // counts who wanted it
	idle time.Time // since when the node has had no member in it; zero = it has
}

// partitionRests is for how many sweeps a partition is followed without members, so
// that who comes and goes costs no subscription each time.
const partitionRests = 5

// errEra: the era has ended.
var errEra = errors.New("the hub's partitions have changed")

func newEra(f *follower, p Partitions, n hubs.Node) *era {
	e := &era{f: f, in: p, n: n}
	e.over, e.stop = context.WithCancel(f.over)
	if p.several() {
		e.parts = make([]*followed, p.Count)
	}
	return e
}

// whole follows a hub that is one stream.
func (e *era) whole(ctx context.Context) (err error) {
	e.leave, e.feed, err = e.f.h.follow(ctx, e.n)
	if err != nil {
		e.stop()
	}
	return err
}

// want returns once the partitions are followed. The error is errEra when the era has
// ended.
func (e *era) want(ctx context.Context, some []bool) error {
	var wait []*followed
	e.mu.Lock()
	if e.over.Err() != nil {
		e.mu.Unlock()
		return errEra
	}
	for i, is := range some {
		if !is {
			continue
		}
		if e.parts[i] == nil {
			e.parts[i] = e.begin(i)
		}
		e.parts[i].uses++
		wait = append(wait, e.parts[i])
	}
	e.mu.Unlock()
	for _, p := range wait {
		select {
		case <-p.began:
		case <-e.over.Done():
			return errEra
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", hubs.ErrUnavailable, ctx.Err())
		}
	}
	return nil
}

// begin follows one more partition. e.mu is held.
func (e *era) begin(i int) *followed {
	id := e.f.h.id
	id.part = e.in.name(i)
	p := &followed{node: &partitionNode{era: e, none: id.noEpoch()}, began: make(chan struct{})}
	p.over, p.stop = context.WithCancel(e.over)
	e.work.Add(1)
	if !e.f.h.r.start(func() { e.follow(id, p) }) {
		e.work.Done() // the backplane closes, and with it the era
	}
	return p
}

// follow has a partition's entries applied until its part is stopped.
func (e *era) follow(id hubID, p *followed) {
	defer e.work.Done()
	d, channel := e.f.h.r.doorbell(id), id.keys().Doorbell()
	f := d.follow(id, channel, p.node)
	select {
	case <-f.live:
		f.begin(p.node)
		p.feed = f
		close(p.began)
		<-p.over.Done()
	case <-p.over.Done():
	}
	d.unfollow(channel, f, p.node)
	f.settle()
}

// end leaves all, and returns when the node isn't called any more.
func (e *era) end() {
	e.mu.Lock()
	e.stop()
	e.mu.Unlock()
	if e.leave != nil {
		e.leave()
	}
	e.work.Wait()
}

// at is where the node has been called for last, in all partitions that it gets.
func (e *era) at() hubs.Position {
	var feeds []*feed
	if e.feed != nil {
		feeds = append(feeds, e.feed)
	}
	e.mu.Lock()
	for _, p := range e.parts {
		if p != nil && p.isFollowed() {
			feeds = append(feeds, p.feed)
		}
	}
	e.mu.Unlock()
	parts := make([]hubs.Position, 0, len(feeds))
	for _, of := range feeds {
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

func (p *followed) isFollowed() bool {
	select {
	case <-p.began:
		return true
	default:
		return false
	}
}

// rest leaves partitions in which the node has had no member for so long.
func (f *follower) rest(after time.Duration) {
	e := f.current()
	if e == nil || f.sel == nil || !e.in.several() {
		return
	}
	uses := make([]int, e.in.Count)
	e.mu.Lock()
	for i, p := range e.parts {
		if p != nil {
			uses[i] = p.uses
		}
	}
	e.mu.Unlock()
	used := f.interest(e.in)
	var left []*followed
	e.mu.Lock()
	for i, p := range e.parts {
		switch {
		case p == nil:
		case used[i] || p.uses != uses[i]: // or perhaps it is, since it was looked
			p.idle = time.Time{}
		case p.idle.IsZero():
			p.idle = time.Now()
		case p.isFollowed() && time.Since(p.idle) >= after:
			e.parts[i] = nil
			left = append(left, p)
		}
	}
	e.mu.Unlock()
	for _, p := range left {
		p.node.rest()
		p.stop()
	}
}

// partitionNode is an era's node in one partition.
type partitionNode struct {
	era  *era
	none string // see hubID.noEpoch
	// begun and gone say from when until when the node is called. They are guarded by
	// era.of.
	begun, gone bool
}

// preparer is a node that has something to do before an entry is applied.
type preparer interface {
	// prepare returns what is to be called behind that; nil = nothing. It may wait.
	prepare(e *hubs.Entry) (done func())
}

// prepare implements preparer.
func (p *partitionNode) prepare(e *hubs.Entry) (done func()) {
	if p.era.f.sel == nil || e.Kind != hubs.AddToGroup && e.Kind != hubs.AddUserToGroup {
		return nil
	}
	return p.era.f.prepare(p.era, e)
}

func (p *partitionNode) position(at hubs.Position) hubs.Position {
	if at.Epoch == "" {
		at.Epoch = p.none
	}
	return at
}

// called calls the node, if it is one of the partition's now.
func (p *partitionNode) called(call func(hubs.Node)) {
	p.era.of.Lock()
	defer p.era.of.Unlock()
	if p.begun && !p.gone {
		call(p.era.n)
	}
}

// Apply implements hubs.Node.
func (p *partitionNode) Apply(e *hubs.Entry) (matched int) {
	p.called(func(n hubs.Node) { matched = n.Apply(e) })
	return matched
}

// Answer implements hubs.Node.
func (p *partitionNode) Answer(q hubs.Query) (matched int) {
	p.called(func(n hubs.Node) { matched = n.Answer(q) })
	return matched
}

// List implements hubs.Node.
func (p *partitionNode) List(q hubs.ListQuery) (page hubs.Page) {
	p.called(func(n hubs.Node) { page = n.List(q) })
	return page
}

// Lost implements hubs.Node.
func (p *partitionNode) Lost(g hubs.Gap) {
	g.Last, g.Next = p.position(g.Last), p.position(g.Next)
	p.called(func(n hubs.Node) { n.Lost(g) })
}

// Begins implements hubs.Node: what was applied before is none of the node's.
func (p *partitionNode) Begins(at hubs.Position) {
	p.era.of.Lock()
	defer p.era.of.Unlock()
	if !p.gone {
		p.begun = true
		p.era.n.Begins(p.position(at))
	}
}

// rest ends it: the node isn't called any more.
func (p *partitionNode) rest() {
	p.era.of.Lock()
	defer p.era.of.Unlock()
	p.gone = true
	p.era.f.sel.Rests(p.none)
}
