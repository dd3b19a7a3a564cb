package backplane

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// Partitions say in how many streams a hub is kept. Each is one for all of this
// package: it has its own numbers, epochs, doorbell, publishers and feeds. The hub's
// backplane sends each entry to one of them, and reads and follows all.
//
// Whenever the number is changed the generation grows, and with it all streams are
// other ones. The old ones are sealed before anybody uses the new: so who hasn't heard
// of the change is refused, and nothing is accepted that those who have don't get.
type Partitions struct {
	// Generation is how often the number was changed; 0 = never: the hub is one
	// stream with the hub's own name.
	Generation int
	Count      int // 1 to hubs.MaxPartitions; it isn't looked at in generation 0
}

func (p Partitions) several() bool { return p.Generation > 0 }

// names are those of the partitions, as hubID has them.
func (p Partitions) names() []string {
	if !p.several() {
		return []string{""}
	}
	names := make([]string, p.Count)
	for i := range names {
		names[i] = p.name(i)
	}
	return names
}

func (p Partitions) name(i int) string { return strconv.Itoa(p.Generation) + "." + strconv.Itoa(i) }

// of is the partition of a group, a user or a connection.
func (p Partitions) of(name string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	return int(h.Sum32() % uint32(p.Count))
}

// ofAll is the partition of several of them: theirs, or the first when they have several.
// So a message for them is one entry, with one number, that a connection gets once.
func (p Partitions) ofAll(names []string) int {
	if len(names) == 0 {
		return 0
	}
	first := p.of(names[0])
	for _, n := range names[1:] {
		if p.of(n) != first {
			return 0
		}
	}
	return first
}

// route is the partition that an entry goes to: that of all whom it names, else the first.
func (p Partitions) route(e *hubs.Entry) int {
	if p.Count < 2 {
		return 0
	}
	switch e.Kind {
	case hubs.SendToAll, hubs.RemoveFromAllGroups, hubs.RemoveUserFromGroups:
		return 0
	case hubs.SendToUsers:
		return p.ofAll(e.Users)
	case hubs.SendToConnections, hubs.InvokeConnection, hubs.ClientResult:
		return p.ofAll(e.Connections)
	case hubs.SendToGroups, hubs.AddToGroup, hubs.RemoveFromGroup, hubs.AddUserToGroup, hubs.RemoveUserFromGroup, hubs.PresenceSet, hubs.PresenceGone, hubs.PresenceWish:
		return p.ofAll(e.Groups)
	case hubs.CloseConnections:
		switch {
		case len(e.Connections) > 0:
			return p.ofAll(e.Connections)
		case len(e.Users) > 0:
			return p.ofAll(e.Users)
		}
		return p.ofAll(e.Groups)
	}
	return 0
}

// changesMembers reports whether an entry puts connections into groups or takes them out.
// In a hub with several partitions its publish is answered when all nodes have carried it
// out: what comes next may be in another.
func changesMembers(e *hubs.Entry) bool {
	switch e.Kind {
	case hubs.AddToGroup, hubs.RemoveFromGroup, hubs.RemoveFromAllGroups, hubs.AddUserToGroup, hubs.RemoveUserFromGroup, hubs.RemoveUserFromGroups:
		return true
	}
	return false
}

// in returns the backplane of one partition and its settings: its part of what the hub
// may keep.
func (h *hubBackplane) in(s Settings, i int) (*hubBackplane, Settings) {
	id := h.id
	id.part = s.Partitions.name(i)
	if n := s.Partitions.Count; n > 1 {
		s.Messages = max(1, defaulted(s.Messages, h.r.cfg.StreamEntries)/n)
		s.Bytes = max(1, defaulted(s.Bytes, h.r.cfg.StreamBytes)/int64(n))
	}
	s.Partitions = Partitions{}
	return &hubBackplane{r: h.r, id: id, settings: func() Settings { return s }, by: h.by}, s
}

// asked returns the partition whose order a question has its place in; h itself when
// the hub is one stream.
func (h *hubBackplane) asked(ctx context.Context, q hubs.Query) (*hubBackplane, error) {
	name := q.Name
	if q.Kind == hubs.CountConnections {
		name = ""
	}
	return h.partitionOf(ctx, name)
}

// listed is asked for a list.
func (h *hubBackplane) listed(ctx context.Context, q hubs.ListQuery) (*hubBackplane, error) {
	return h.partitionOf(ctx, q.Group)
}

// partitionOf returns the partition of a name, the first for none.
func (h *hubBackplane) partitionOf(ctx context.Context, name string) (*hubBackplane, error) {
	s := h.settings()
	if !s.Partitions.several() {
		return h, nil
	}
	if err := h.enter(ctx, s.Partitions); err != nil {
		return nil, err
	}
	i := 0
	if name != "" {
		i = s.Partitions.of(name)
	}
	h, _ = h.in(s, i)
	return h, nil
}

// errSealed: the hub has other partitions than this process knows of. Nothing was
// published; what is newer is on its way here.
var errSealed = errors.New("the hub has other partitions by now")

// sealStream closes a stream for good: its head becomes a text, its epoch, with which the
// publish script fails before it does anything. The stream stays, for whoever reads it
// together with others. KEYS: head. ARGV: how long that is remembered, in ms.
var sealStream = redis.NewScript(`
if redis.call('TYPE', KEYS[1]).ok == 'string' then return 0 end
local epoch = redis.call('HGET', KEYS[1], 'epoch') or ''
redis.call('SET', KEYS[1], epoch, 'PX', ARGV[1])
return 1`)

// replacePartitions notes the partitions in force, unless they are others than were
// sealed. KEYS: the note. ARGV: generation that was sealed, generation, number.
var replacePartitions = redis.NewScript(`
if (redis.call('HGET', KEYS[1], 'generation') or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'generation', ARGV[2], 'count', ARGV[3])
return 1`)

// partitionsInForce returns those of a hub that Redis knows.
func (r *Redis) partitionsInForce(ctx context.Context, id hubID) (p Partitions, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	values, err := r.client.HMGet(ctx, redisclient.Hub(id.tenant, id.hub).Partitions(), "generation", "count").Result()
	if err != nil {
		return Partitions{}, fmt.Errorf("read partitions: %w: %w", hubs.ErrUnavailable, err)
	}
	if values[0] == nil {
		return Partitions{}, nil
	}
	for i, to := range []*int{&p.Generation, &p.Count} {
		text, _ := values[i].(string)
		if *to, err = strconv.Atoi(text); err != nil {
			return Partitions{}, fmt.Errorf("read partitions: %w", err)
		}
	}
	if p.Generation < 1 || p.Count < 1 || p.Count > hubs.MaxPartitions {
		return Partitions{}, fmt.Errorf("%d partitions of generation %d", p.Count, p.Generation)
	}
	return p, nil
}

// enter makes sure that the partitions are in force: that nothing is accepted in those
// before. It asks Redis once for each hub and generation.
func (h *hubBackplane) enter(ctx context.Context, p Partitions) error {
	base := hubID{tenant: h.id.tenant, hub: h.id.hub}
	h.r.mu.Lock()
	known := h.r.inForce[base]
	h.r.mu.Unlock()
	if known == p.Generation {
		return nil
	}
	if p.Count < 1 || p.Count > hubs.MaxPartitions {
		return fmt.Errorf("a hub of %d partitions: 1 to %d", p.Count, hubs.MaxPartitions)
	}
	for {
		now, err := h.r.partitionsInForce(ctx, base)
		if err != nil {
			return err
		}
		if now.Generation > p.Generation {
			return fmt.Errorf("%w: %w", hubs.ErrUnavailable, errSealed)
		}
		if now.Generation == p.Generation {
			h.r.mu.Lock()
			h.r.inForce[base] = max(h.r.inForce[base], p.Generation)
			h.r.mu.Unlock()
			return nil
		}
		if err := h.r.replacePartitions(ctx, base, now, p); err != nil {
			return fmt.Errorf("change partitions: %w: %w", hubs.ErrUnavailable, err)
		}
	}
}

// replacePartitions seals the partitions of a hub and puts others in force. Several
// processes may do it at a time.
func (r *Redis) replacePartitions(ctx context.Context, id hubID, from, to Partitions) error {
	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	for _, part := range from.names() {
		id.part = part
		k := id.keys()
		if err := sealStream.Run(ctx, r.client, []string{k.Head()}, headLife.Milliseconds()).Err(); err != nil {
			return err
		}
	}
	return replacePartitions.Run(ctx, r.client, []string{id.keys().Partitions()}, from.Generation, to.Generation, to.Count).Err()
}

// forgetPartitions drops what is known of hubs that nobody uses here: their tenant may
// be gone.
func (r *Redis) forgetPartitions() {
	r.mu.Lock()
	defer r.mu.Unlock()
	used := make(map[hubID]struct{}, len(r.inForce))
	for f := range r.followers {
		used[f.h.id] = struct{}{}
	}
	for id := range r.pipelines {
		id.part = ""
		used[id] = struct{}{}
	}
	for id := range r.inForce {
		if _, is := used[id]; !is {
			delete(r.inForce, id)
		}
	}
}

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
