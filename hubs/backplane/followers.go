package backplane

import (
	"context"
	"errors"
	"fmt"
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
	// sel is n where it says what it has; nil = it gets all partitions.
	sel hubs.Selective

	over context.Context // until it has left for good
	stop context.CancelFunc
	turn chan struct{} // holds one while it moves, leaves, or is looked at

	mu sync.Mutex
	// era is nil while nothing is followed; it changes with turn.
	era *era
	// follows is closed when era isn't nil, or never will be again.
	follows chan struct{}
	// selected are names that are to be followed although n doesn't have them yet, by
	// how many ask for it.
	selected map[string]int
	// joining are the entries being applied that put connections into groups, in any
	// partition.
	joining []*hubs.Entry
}

// followerKey finds a follower.
type followerKey struct {
	id hubID
	n  hubs.Node
}

func newFollower(h *hubBackplane, n hubs.Node) *follower {
	f := &follower{h: h, n: n, turn: make(chan struct{}, 1), follows: make(chan struct{}), selected: make(map[string]int)}
	f.sel, _ = n.(hubs.Selective)
	f.over, f.stop = context.WithCancel(h.r.ctx)
	return f
}

// enterEra begins with partitions, whose entries n gets. f.turn is held.
func (f *follower) enterEra(ctx context.Context, p Partitions, n hubs.Node) (*era, error) {
	if !p.several() {
		e := newEra(f, p, n)
		return e, e.whole(ctx)
	}
	if err := f.h.enter(ctx, p); err != nil {
		return nil, err
	}
	e := newEra(f, p, n)
	if err := e.want(ctx, f.interest(p)); err != nil {
		e.end()
		return nil, err
	}
	return e, nil
}

// begin makes e the era, or tells those who wait for one that there will be none.
func (f *follower) begin(e *era) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.era = e
	close(f.follows)
}

// leave ends the era. f.turn is held.
func (f *follower) leave() {
	f.mu.Lock()
	e := f.era
	if e != nil {
		f.era, f.follows = nil, make(chan struct{})
	}
	f.mu.Unlock()
	if e != nil {
		e.end()
	}
}

// end leaves the hub for good.
func (f *follower) end() {
	r := f.h.r
	r.mu.Lock()
	delete(r.followers, followerKey{f.h.id, f.n})
	r.mu.Unlock()
	f.stop()
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	f.leave()
}

// current is the era, nil while nothing is followed.
func (f *follower) current() *era {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.era
}

// watchPartitions has a follower moved whenever its hub's partitions change.
func (r *Redis) watchPartitions(f *follower) {
	r.mu.Lock()
	r.followers[followerKey{f.h.id, f.n}] = f
	r.mu.Unlock()
	if f.behind() { // meanwhile
		r.start(f.move)
	}
}

// PartitionsChanged has the nodes of a tenant's hubs follow the partitions that are
// in the hubs' settings now. Else it is noticed after Config.SweepEvery.
func (r *Redis) PartitionsChanged(tenant tenants.ID) {
	r.eachFollower(func(id hubID) bool { return id.tenant == tenant }, nil)
}

// eachFollower has those that are behind moved, and calls look for the others, with their
// turn. Who has it by himself looks by himself.
func (r *Redis) eachFollower(which func(hubID) bool, look func(*follower)) {
	r.mu.Lock()
	var some []*follower
	for key, f := range r.followers {
		if which(key.id) {
			some = append(some, f)
		}
	}
	r.mu.Unlock()
	for _, f := range some {
		select {
		case f.turn <- struct{}{}:
		default:
			continue
		}
		behind := f.behind()
		if !behind && look != nil {
			look(f)
		}
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
	before := f.current()
	if f.over.Err() != nil || before == nil || !f.behind() {
		return
	}
	last := before.at() // what comes until it has left is among what it is told of
	f.leave()
	held := &holding{n: f.n}
	for pause := retryPause; ; pause = min(2*pause, reconnectMost) {
		ctx, cancel := context.WithTimeout(f.over, subscribePatience)
		next, err := f.enterEra(ctx, f.h.settings().Partitions, held)
		cancel()
		if err == nil && held.release(last) {
			f.begin(next)
			break
		}
		if err == nil {
			err = errHeld
			next.end()
		}
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
// followed. Nothing is while it moves.
func (f *follower) behind() bool {
	e := f.current()
	return e != nil && f.h.settings().Partitions.Generation > e.in.Generation
}

// Select implements hubs.Selector.
func (h *hubBackplane) Select(ctx context.Context, n hubs.Node, names ...string) (release func(), err error) {
	h.r.mu.Lock()
	f := h.r.followers[followerKey{h.id, n}]
	h.r.mu.Unlock()
	if f == nil {
		return nil, fmt.Errorf("select: %w: the node has not subscribed", hubs.ErrUnavailable)
	}
	if f.sel == nil {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, subscribePatience)
	defer cancel()
	f.pin(names, 1)
	if err := f.want(ctx, names); err != nil {
		f.pin(names, -1)
		return nil, fmt.Errorf("select: %w", err)
	}
	return sync.OnceFunc(func() { f.pin(names, -1) }), nil
}

// pin counts who has selected names.
func (f *follower) pin(names []string, by int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range names {
		if f.selected[name] += by; f.selected[name] == 0 {
			delete(f.selected, name)
		}
	}
}

// want returns once names that are pinned are followed, and the groups that they are
// about to join.
func (f *follower) want(ctx context.Context, names []string) error {
	for {
		f.mu.Lock()
		e, follows := f.era, f.follows
		for _, joins := range f.joining {
			if slices.ContainsFunc(names, func(name string) bool {
				return slices.Contains(joins.Connections, name) || slices.Contains(joins.Users, name)
			}) {
				names = append(slices.Clip(names), joins.Groups...)
			}
		}
		f.mu.Unlock()
		if e != nil {
			err := e.want(ctx, e.in.allOf(names))
			if !errors.Is(err, errEra) {
				return err
			}
		}
		select {
		case <-follows: // at once, where the era that ended has not been left yet
			if e != nil && f.current() == e {
				return fmt.Errorf("%w: closed", hubs.ErrUnavailable)
			}
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", hubs.ErrUnavailable, ctx.Err())
		case <-f.over.Done():
			return fmt.Errorf("%w: closed", hubs.ErrUnavailable)
		}
	}
}

// prepare selects the groups that an entry has connections of this node join. What it
// returns is called when the entry has been applied.
func (f *follower) prepare(within *era, e *hubs.Entry) (done func()) {
	// Who selects such a connection after this knows of the groups, and who has done so
	// before is seen here: one of both sees to it that they are followed.
	f.mu.Lock()
	f.joining = append(f.joining, e)
	arrives := func(name string) bool { return f.selected[name] > 0 }
	joins := slices.ContainsFunc(e.Connections, arrives) || slices.ContainsFunc(e.Users, arrives)
	f.mu.Unlock()
	joins = joins || f.sel.Joins(e)
	if joins {
		f.pin(e.Groups, 1)
		// Until the era ends: then its node is told of a gap.
		_ = within.want(within.over, within.in.allOf(e.Groups))
	}
	return func() {
		if joins {
			f.pin(e.Groups, -1)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if i := slices.Index(f.joining, e); i >= 0 {
			f.joining = slices.Delete(f.joining, i, i+1)
		}
	}
}

// interest are the partitions that the node is to get. Names are pinned before they
// become members and until they are: so they are read first.
func (f *follower) interest(p Partitions) []bool {
	if f.sel == nil {
		all := make([]bool, p.Count)
		for i := range all {
			all[i] = true
		}
		return all
	}
	f.mu.Lock()
	some := p.allOf(nil)
	for name := range f.selected {
		some[p.of(name)] = true
	}
	f.mu.Unlock()
	left := p.Count - count(some)
	f.sel.Members(func(name string) bool {
		if i := p.of(name); !some[i] {
			some[i] = true
			left--
		}
		return left > 0
	})
	return some
}

func count(some []bool) (n int) {
	for _, is := range some {
		if is {
			n++
		}
	}
	return n
}

// allOf are the partitions of names, and the first.
func (p Partitions) allOf(names []string) []bool {
	if !p.several() {
		return nil
	}
	some := make([]bool, p.Count)
	some[0] = true
	for _, name := range names {
		some[p.of(name)] = true
	}
	return some
}
