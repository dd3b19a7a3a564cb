package hubs

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// What goes to one client directly (completions, stream items, messages to the
// caller) doesn't travel through the Backplane, but must not overtake what the
// same hub method published before: it waits on this node until the entry that
// it follows has been applied here. With a Backplane that applies before
// Publish returns, nothing ever waits.

// progress is how far a Server has applied its hub's entries.
//
// Lock order: progress.mu before outbound.mu.
type progress struct {
	mu     sync.Mutex
	places []place // by partition; one in most hubs
	// generation is the latest of the hub's partitions that was heard of.
	generation int
	waiting    map[*Connection]*waiting // connections with frames that wait
	// heads are those connections by what their first frames wait for, so that an
	// entry costs nothing for the others. It may name some that wait no more.
	heads map[Position][]*Connection
	moved chan struct{} // closed with the next entry; nil while nobody awaits one
}

// place is how far a Server has applied one partition.
type place struct {
	at     Position // of the last entry applied
	begun  Position // of the last entry whose application has begun
	before string   // the epoch before that of at
	// followed: entries of it are applied here. The first partition always is.
	followed bool
}

// place returns the partition's that an epoch belongs to. p.mu is held.
func (p *progress) place(epoch string) *place {
	n := PartitionOf(epoch)
	if g := generationOf(epoch); g > p.generation {
		p.generation = g
		p.places = nil // those of before are over
	}
	for len(p.places) <= n {
		p.places = append(p.places, place{})
	}
	return &p.places[n]
}

// begunBehind returns an entry's position, or that of the last entry whose application
// has begun where it has no number, and with it where the other partitions are.
func (p *progress) begunBehind(own Position) Position {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := PartitionOf(own.Epoch)
	if own.Number == 0 {
		own = p.place(own.Epoch).begun
	}
	if len(p.places) == 1 {
		return own
	}
	parts := []Position{own}
	for i := range p.places {
		if i != n && (i == 0 || p.places[i].followed) {
			parts = append(parts, p.places[i].begun)
		}
	}
	return AcrossPartitions(parts...)
}

// waiting is what waits for one connection, in order.
type waiting struct {
	frames []waitingFrame
	// How many of them there are, and their bytes, without those that were passed on.
	messages, bytes int
}

// count notes that a frame has come or gone.
func (w *waiting) count(f *waitingFrame, sign int) {
	if !f.item.passed {
		w.messages += sign
		w.bytes += sign * len(f.item.frame)
	}
}

type waitingFrame struct {
	after Position
	item  queued
	last  bool // the connection ends with it
}

// do sends the frame.
func (w *waitingFrame) do(c *Connection) {
	if w.last {
		if c.finish(w.item, ErrClosedByServer, EndNormal) {
			writers.schedule(c)
		}
		c.cancel(ErrClosedByServer)
	} else if c.enqueue(w.item) {
		writers.schedule(c)
	}
}

// reached reports whether the entry at a position has been applied, or those of all
// its partitions. p.mu is held.
func (p *progress) reached(at Position) bool {
	_, missing := p.missing(at)
	return !missing
}

// missing returns the first part of a position that has not been reached.
func (p *progress) missing(at Position) (part Position, missing bool) {
	if at.Number == 0 {
		return at, false
	}
	if at.isVector() {
		for _, part := range at.Partitions() {
			if part, missing := p.missing(part); missing {
				return part, true
			}
		}
		return at, false
	}
	if p.generation > 0 && generationOf(at.Epoch) < p.generation {
		return at, false // nothing of it will be applied any more
	}
	n := PartitionOf(at.Epoch)
	if n > 0 && generationOf(at.Epoch) == p.generation && (n >= len(p.places) || !p.places[n].followed) {
		return at, false // nothing of it is for connections of this node
	}
	if n >= len(p.places) {
		return at, true
	}
	pl := &p.places[n]
	return at, at.Epoch != pl.before && (at.Epoch != pl.at.Epoch || pl.at.Number < at.Number)
}

// begins notes that e is being applied.
func (p *progress) begins(e *Entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.place(e.Epoch).begun = e.Position()
}

// skip notes that nothing up to this position will be applied any more, nor any of the
// epochs before, and lets go what waited for that.
func (p *progress) skip(before, to Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	moved := false
	next := to.Partitions()
	for _, part := range before.Partitions() {
		begunAnew := !slices.ContainsFunc(next, func(n Position) bool { return n.Epoch == part.Epoch })
		if pl := p.place(part.Epoch); part.Epoch != "" && begunAnew && pl.before != part.Epoch {
			pl.before, moved = part.Epoch, true
		}
	}
	for _, n := range next {
		pl := p.place(n.Epoch)
		pl.followed = true
		if n.Epoch != pl.at.Epoch || n.Number > pl.at.Number {
			pl.at, pl.begun, moved = n, n, true
		}
	}
	if moved {
		p.releaseAll()
	}
}

// rests notes that nothing of a partition is applied any more, and lets go what waited for
// that.
func (p *progress) rests(epoch string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := PartitionOf(epoch); generationOf(epoch) == p.generation && n < len(p.places) {
		p.places[n] = place{}
		p.releaseAll()
	}
}

// releaseAll lets go what need not wait any more. p.mu is held.
func (p *progress) releaseAll() {
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
	clear(p.heads)
	for c := range p.waiting {
		p.release(c)
	}
}

// applied notes that e has been applied and lets go what waited for it; it runs
// before the next entry, so that what follows e goes out between the two.
func (p *progress) applied(e *Entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pl := p.place(e.Epoch)
	next := pl.at.Epoch == e.Epoch && pl.at.Number+1 == e.Number
	if pl.at.Epoch != "" && pl.at.Epoch != e.Epoch { // "": skip has said which was before
		pl.before = pl.at.Epoch
	}
	pl.at = Position{Epoch: e.Epoch, Number: e.Number}
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
	if len(p.waiting) == 0 {
		clear(p.heads)
		return
	}
	if next {
		heads := p.heads[pl.at]
		delete(p.heads, pl.at)
		for _, c := range heads {
			p.release(c)
		}
		return
	}
	clear(p.heads)
	for c := range p.waiting {
		p.release(c)
	}
}

// release lets go what need not wait any more of c's. p.mu is held.
func (p *progress) release(c *Connection) {
	w := p.waiting[c]
	if w == nil {
		return
	}
	n := 0
	for n < len(w.frames) && p.reached(w.frames[n].after) {
		w.count(&w.frames[n], -1)
		w.frames[n].do(c)
		n++
	}
	if w.frames = w.frames[n:]; len(w.frames) == 0 {
		delete(p.waiting, c)
	} else {
		p.awaits(c, w.frames[0].after)
	}
	c.out.mu.Lock()
	c.out.signal()
	c.out.mu.Unlock()
}

// awaits notes the entry that c's first frame waits for, the first of several.
// p.mu is held.
func (p *progress) awaits(c *Connection, at Position) {
	if at.isVector() {
		at, _ = p.missing(at)
	}
	if p.heads == nil {
		p.heads = make(map[Position][]*Connection)
	}
	p.heads[at] = append(p.heads[at], c)
}

// forget drops what waits for a connection that has ended.
func (p *progress) forget(c *Connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, c)
}

// follow makes all that is sent directly to c from now on come after the entry
// at p.
func (c *Connection) follow(p Position) {
	if p.Duplicate {
		return // its entry may be older than this node's subscription
	}
	at := &c.server.progress
	at.mu.Lock()
	defer at.mu.Unlock()
	if c.after.Number > 0 && c.after.Epoch != p.Epoch && at.reached(c.after) {
		c.after = Position{} // so that it doesn't grow with each partition that was published to
	}
	c.after = JoinPositions(c.after, p)
}

// followed is what c's direct messages come after.
func (c *Connection) followed() Position {
	at := &c.server.progress
	at.mu.Lock()
	defer at.mu.Unlock()
	return c.after
}

// sendFollowing is Send for a hub's own messages: behind the entries that c
// follows.
func (c *Connection) sendFollowing(m *protocol.Message) error {
	frame, err := c.proto.Append(make([]byte, 0, roomFor(m)), m)
	if err != nil {
		return err
	}
	c.SendAfter(c.followed(), frame, !(m.Type == protocol.Completion && m.HasError))
	return nil
}

// roomFor is what the frame of m is likely to need.
func roomFor(m *protocol.Message) int {
	return 48 + len(m.InvocationID) + len(m.Target) + len(m.Arguments.Bytes) + len(m.Item.Bytes) + len(m.Result.Bytes) + len(m.Error)
}

// SendAfter queues a frame of c's hub protocol behind everything up to the entry
// at p, which is or will be applied on this node. Frames of one connection stay
// in the order of the calls when their positions don't go back. It doesn't block.
func (c *Connection) SendAfter(p Position, frame []byte, metered bool) {
	next := waitingFrame{after: p, item: queued{frame: frame}}
	if metered {
		next.item.units = Units(len(frame))
	}
	c.doAfter(next)
}

// closeFollowing closes the connection behind what it follows.
func (c *Connection) closeFollowing() {
	c.doAfter(waitingFrame{after: c.followed(), item: queued{frame: c.closeFrame("", false)}, last: true})
}

func (c *Connection) doAfter(next waitingFrame) {
	at := &c.server.progress
	at.mu.Lock()
	w := at.waiting[c]
	if w == nil && at.reached(next.after) {
		at.mu.Unlock()
		next.do(c)
		return
	}
	defer at.mu.Unlock()
	if w == nil {
		if c.isEnding() {
			return
		}
		if at.waiting == nil {
			at.waiting = make(map[*Connection]*waiting)
		}
		w = &waiting{}
		at.waiting[c] = w
		at.awaits(c, next.after)
	}
	opt := c.server.options.Load()
	if !next.item.passed && (w.messages >= opt.OutboundMessages || (w.bytes > 0 && w.bytes+len(next.item.frame) > opt.OutboundBytes)) {
		// The backplane is far behind; the client may find a node that isn't.
		delete(at.waiting, c)
		c.end(ErrUnavailable, "", true)
		return
	}
	w.frames = append(w.frames, next)
	w.count(&next, 1)
}

// AwaitWritten returns when what has been sent to the client by now has been
// handed to its transport, or never will be. With stateful reconnect it doesn't
// wait.
func (c *Connection) AwaitWritten(ctx context.Context) error {
	o := &c.out
	o.mu.Lock()
	until := o.sent + uint64(o.messages)
	for {
		if o.sent >= until || o.ending || o.dead || c.resume != nil {
			o.mu.Unlock()
			return nil
		}
		if o.room == nil {
			o.room = make(chan struct{})
		}
		room := o.room
		o.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		o.mu.Lock()
	}
}

// AwaitApplied waits until this node has applied the entry at p, so that what is
// sent to a connection afterwards comes behind it. A position that is older than
// this node's subscription may never count as applied: ctx must have an end.
func (s *Server) AwaitApplied(ctx context.Context, p Position) error {
	at := &s.progress
	for {
		at.mu.Lock()
		if at.reached(p) {
			at.mu.Unlock()
			return nil
		}
		if at.moved == nil {
			at.moved = make(chan struct{})
		}
		moved := at.moved
		at.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// errEnded: the connection takes in no more.
var errEnded = errors.New("the connection has ended")

// AwaitRoom waits until so little waits for the connection that a stream to it
// may go on. It fails when the connection has ended or ctx is done.
func (c *Connection) AwaitRoom(ctx context.Context) error {
	return c.awaitRoom(ctx, streamMessages, streamBytes)
}

// awaitRoom waits until fewer than messages and bytes wait for c.
func (c *Connection) awaitRoom(ctx context.Context, messages, bytes int) error {
	at, o := &c.server.progress, &c.out
	for {
		at.mu.Lock()
		o.mu.Lock()
		m, b := o.messages, o.bytes
		if w := at.waiting[c]; w != nil {
			m, b = m+w.messages, b+w.bytes
		}
		if d := o.detour; d != nil { // that waits for who asks for room here, or behind
			m, b = m-d.messages, b-d.bytes
		}
		if o.ending || o.dead {
			o.mu.Unlock()
			at.mu.Unlock()
			return errEnded
		}
		if m < messages && b < bytes {
			o.mu.Unlock()
			at.mu.Unlock()
			return nil
		}
		if o.room == nil {
			o.room = make(chan struct{})
		}
		room := o.room
		o.mu.Unlock()
		at.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// signal wakes those who wait for room. o.mu is held.
func (o *outbound) signal() {
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}
