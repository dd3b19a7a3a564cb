package hubs

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// A connection that joins groups may ask for what it has missed of them. From the
// moment of the join until that has been sent, everything else for it waits in its
// detour, so that it comes behind: what was missed, in order, then what is new.
// What reaches the connection both ways is sent once.

// MaxRewind is the most messages that a rewind to the last so many can have.
const MaxRewind = 1000

// rewindPatience bounds each read of the history.
const rewindPatience = 5 * time.Second

// Rewind says what of the history of groups a connection gets when it joins them:
// one of Last, After and Since.
type Rewind struct {
	Last  int // the newest so many messages, 1 to MaxRewind
	After *Position
	Since time.Time
}

// Rewound tells how a rewind went.
type Rewound struct {
	Messages int               // sent
	Gone     *HistoryGoneError // some of what was asked for isn't kept any more; the rest was sent
	Err      error             // the history could not be read; nothing or not all was sent
}

// ErrNoHistory means that the hub's Backplane keeps none.
var ErrNoHistory = errors.New("this hub keeps no history")

// rewind is one on its way.
type rewind struct {
	spec   Rewind
	groups []string
	joined chan struct{}
	// tell sends a notice where messages are missing, before those that are left.
	tell bool
	// at is where the connection has joined, when an entry joined it.
	at Position
	// until is the last entry that the history has for it, of each partition: what
	// comes behind comes live. It has no number when there was none.
	until Position
	// done returns what the client is sent behind the messages.
	done func(at Position, r Rewound) []*protocol.Message
}

// detour is where what comes for a connection waits while history is put before it.
type detour struct {
	items    []detoured
	messages int // that wait here; outbound counts them, too
	bytes    int
}

// detoured is one thing that waits: a frame, that of an entry when entry is set,
// or the point at which a rewind begins.
type detoured struct {
	item   queued
	entry  *Entry
	rewind *rewind
}

// PlanRewind keeps a rewind for the AddToGroup entry with this Reason, which joins
// this connection to groups: it begins where that entry is carried out. done is
// called when all has been sent, with the position of the entry, and returns what
// is sent behind it; it isn't called when the connection ends before, or joins
// nothing. forget drops the plan; it reports true when the rewind has begun.
func (c *Connection) PlanRewind(reason string, r Rewind, done func(Position, Rewound) []*protocol.Message) (forget func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rewinds == nil {
		c.rewinds = make(map[string]*rewind, 1)
	}
	c.rewinds[reason] = &rewind{spec: r, done: done}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waits := c.rewinds[reason]
		delete(c.rewinds, reason)
		return !waits
	}
}

// planned takes the rewind of an entry, for those of its groups that c isn't in.
func (c *Connection) planned(e *Entry) *rewind {
	if e.Reason == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rewinds[e.Reason]
	delete(c.rewinds, e.Reason)
	if r != nil {
		r.at = e.Position()
		for _, g := range e.Groups {
			if _, in := c.groups[g]; !in {
				r.groups = append(r.groups, g)
			}
		}
	}
	return r
}

// begin makes everything for c wait behind r, which goes behind what waits
// already. It must come before the joins, and ready behind them: the history that
// is read then has all that the joins came too late for.
func (r *rewind) begin(c *Connection) {
	r.joined = make(chan struct{})
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ending || o.dead || o.sealed {
		return
	}
	start := o.detour == nil
	if start {
		o.detour = &detour{}
	}
	o.detour.items = append(o.detour.items, detoured{rewind: r})
	if !start {
		return
	}
	before, driving := o.driving, make(chan struct{})
	o.driving = driving
	go func() {
		defer close(driving)
		if before != nil {
			<-before // it is at its very end
		}
		c.drive()
	}()
}

// ready lets the rewind go on, for those of its groups that c is in now; all tells
// whether every join has succeeded.
func (r *rewind) ready(c *Connection, all bool) {
	r.groups = slices.DeleteFunc(r.groups, func(g string) bool { return !c.in(g) })
	if !all {
		r.done = nil // whoever asked for the join is told by other means
	}
	// Where the joins were no entry, the one that is being applied now may come to c
	// or not, those behind it will. All of a new hub comes live.
	r.until = c.server.progress.begunBehind(r.at)
	close(r.joined)
}

// seen is what a rewind has sent of a partition: this node may still be about to apply
// some of it.
type seen struct {
	from  uint64 // the first that was sent
	until Position
	Selection
	next *seen
}

// repeats reports whether a rewind has sent e. o.mu is held.
func (o *outbound) repeats(e *Entry) bool {
	for at := &o.seen; *at != nil; {
		s := *at
		if e.Epoch == s.until.Epoch && e.Number > s.until.Number {
			*at = s.next // entries come in order
			continue
		}
		if e.Epoch == s.until.Epoch && e.Number >= s.from && s.Matches(e) {
			return true
		}
		at = &s.next
	}
	return false
}

// awaitDetour waits for whoever empties the detour of a connection that has ended.
func (c *Connection) awaitDetour() {
	c.out.mu.Lock()
	driving := c.out.driving
	c.out.mu.Unlock()
	if driving != nil {
		<-driving
	}
}

// drive puts the history of each rewind where that stands.
func (c *Connection) drive() {
	o := &c.out
	for {
		o.mu.Lock()
		d := o.detour
		if d == nil || o.ending || o.dead {
			o.detour = nil
			o.mu.Unlock()
			return
		}
		var r *rewind
		schedule := false
		for len(d.items) > 0 && r == nil {
			next := d.items[0]
			d.items = d.items[1:]
			if r = next.rewind; r == nil {
				schedule = o.release(d, next.item) || schedule
			}
		}
		if r == nil {
			o.detour = nil
		}
		o.mu.Unlock()
		if schedule {
			writers.schedule(c)
		}
		if r == nil {
			return
		}
		c.replay(r)
	}
}

// release moves an item from the detour to the queue. o.mu is held.
func (o *outbound) release(d *detour, item queued) (schedule bool) {
	d.messages--
	d.bytes -= len(item.frame)
	o.messages-- // push counts it again
	o.bytes -= len(item.frame)
	if item.passed {
		o.passed--
		o.passing -= len(item.frame)
	}
	return o.push(item)
}

// replay sends the history that r asks for and what is to come behind it.
func (c *Connection) replay(r *rewind) {
	<-r.joined
	result, sent := c.sendHistory(r)
	if result.Err != nil && (r.done == nil || result.Messages > 0) {
		// Part of what was asked for would be missing, or come twice.
		c.end(ErrUnavailable, "", true)
		return
	}
	if r.done != nil {
		at := r.at
		if at.Number > 0 {
			at = r.until // the same, and where the other partitions were
		}
		c.beforeDetour(r.done(at, result)...)
	}
	if result.Err != nil || sent == nil {
		return
	}
	// What has come both ways, or will.
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	d := o.detour
	if d == nil {
		return
	}
	last := sent
	for last.next != nil {
		last = last.next
	}
	last.next, o.seen = o.seen, sent
	d.items = slices.DeleteFunc(d.items, func(i detoured) bool {
		twice := i.entry != nil && o.repeats(i.entry)
		if twice {
			d.messages--
			d.bytes -= len(i.item.frame)
			o.messages--
			o.bytes -= len(i.item.frame)
			o.sent++ // as the same message before
		}
		return twice
	})
	o.signal()
}

func (c *Connection) selection(r *rewind) Selection {
	return Selection{Groups: r.groups, ExceptUser: c.User(), ExceptOwnID: c.ID()}
}

// sendHistory sends the messages of r and returns what of them could come live as
// well; nil when nothing could.
func (c *Connection) sendHistory(r *rewind) (result Rewound, sent *seen) {
	h, ok := c.server.Backplane().(Historian)
	if !ok {
		return Rewound{Err: ErrNoHistory}, nil
	}
	if len(r.groups) == 0 {
		return Rewound{}, nil
	}
	q := HistoryQuery{Select: c.selection(r), After: r.spec.After, Since: r.spec.Since, Limit: 100}
	if r.until.Number > 0 {
		before := r.until.behind()
		q.Before = &before
	}
	var first []Position // that was sent of each partition
	send := func(page *HistoryPage) bool {
		if r.until.Number == 0 {
			return false
		}
		for _, e := range page.Entries {
			if result.Err = c.sendEntry(e); result.Err != nil {
				return false
			}
			result.Messages++
			if !slices.ContainsFunc(first, func(p Position) bool { return p.Epoch == e.Epoch }) {
				first = append(first, e.Position())
			}
		}
		return true
	}
	edge, err := readHistory(c.ctx, h, q, r.spec.Last, send)
	if errors.As(err, &result.Gone) {
		if r.tell {
			c.server.meter.Refused(RefusedGapTold)
			c.beforeDetour(c.server.gapNotice("trimmed", result.Gone.After, result.Gone.To))
		}
		q.After = &result.Gone.To
		if q.Before != nil && !q.Before.sameEpochs(*q.After) {
			q.Before, first = nil, nil // the hub has begun anew
		}
		edge, err = readHistory(c.ctx, h, q, 0, send)
	}
	if result.Err == nil {
		result.Err = err
	}
	for _, from := range first {
		end, ok := edge.in(from.Epoch)
		if !ok {
			continue // it ended before what was sent
		}
		if until, ok := r.until.in(from.Epoch); ok && q.Before != nil {
			end.Number = min(end.Number, until.Number)
		}
		if end != r.at {
			sent = &seen{from: from.Number, until: end, Selection: q.Select, next: sent}
		}
	}
	return result, sent
}

// ReadHistory hands the messages of q to send in their order; with last, the
// newest so many. It ends where the history did when it began.
func ReadHistory(ctx context.Context, h Historian, q HistoryQuery, last int, send func(*HistoryPage) bool) error {
	_, err := readHistory(ctx, h, q, last, send)
	return err
}

func readHistory(ctx context.Context, h Historian, q HistoryQuery, last int, send func(*HistoryPage) bool) (edge Position, err error) {
	if last == 0 {
		return EachPage(ctx, bounded{h}, q, send)
	}
	q.Newest, q.Limit = true, min(last, MaxHistoryPage)
	var newest []*Entry
	edge, err = EachPage(ctx, bounded{h}, q, func(page *HistoryPage) bool {
		newest = append(newest, page.Entries[:min(len(page.Entries), last-len(newest))]...)
		return len(newest) < last
	})
	if err == nil {
		slices.Reverse(newest)
		send(&HistoryPage{Entries: newest})
	}
	return edge, err
}

// bounded bounds each read, but not the time that a slow client takes between.
type bounded struct{ Historian }

// History implements Historian.
func (b bounded) History(ctx context.Context, q HistoryQuery) (HistoryPage, error) {
	ctx, cancel := context.WithTimeout(ctx, rewindPatience)
	defer cancel()
	return b.Historian.History(ctx, q)
}

// sendEntry sends the message of an entry before what is in the detour, once the
// client has room.
func (c *Connection) sendEntry(e *Entry) error {
	if _, _, ok := e.Message.Invocation(); !ok {
		return nil
	}
	frame, err := e.Message.Frame(c.proto)
	if err != nil {
		return nil //nolint:nilerr // as when it was live: it was logged then
	}
	if err := c.awaitRoom(c.ctx, streamMessages, streamBytes); err != nil {
		return err
	}
	c.before(queued{frame: frame, units: Units(len(frame)), tally: c.server.tally(e)})
	return nil
}

// beforeDetour sends messages before what is in the detour.
func (c *Connection) beforeDetour(all ...*protocol.Message) {
	for _, m := range all {
		if frame, err := c.proto.Append(nil, m); err == nil {
			c.before(queued{frame: frame, units: Units(len(frame))})
		}
	}
}

// before queues an item before what is in the detour.
func (c *Connection) before(item queued) {
	o := &c.out
	o.mu.Lock()
	schedule := false
	if !o.ending && !o.dead && !o.sealed {
		schedule = o.push(item)
	}
	o.mu.Unlock()
	if schedule {
		writers.schedule(c)
	}
}
