package hubs

import (
	"sync"
	"sync/atomic"
)

// How much of a queue leaves in one write. Small frames are copied together up
// to batchBytes; a larger one goes by itself, uncopied.
const (
	batchBytes    = 16 << 10
	batchMessages = 64
)

// queued is one framed hub message on its way out. Frames are shared between
// connections: nobody changes them.
type queued struct {
	frame []byte
	// shared is the frame and what others have of it; nil = it goes to nobody else.
	shared *Shared
	tally  Tally // of the entry that it is of; nil = of none
	units  int   // messages to meter; 0 for what is never counted, see also unnumbered
	// passed: it comes from the client's hub server, see Connection.Forward. It
	// counts in the backlog instead of filling the queue.
	passed bool
	// beside: it doesn't fill the queue either, see conflation.go.
	beside bool
}

// outbound is the bounded queue of one connection. A writer owns the connection
// while writing is set; at rest there is no goroutine and no buffer.
type outbound struct {
	mu       sync.Mutex
	queue    []queued
	spare    []queued // an emptied queue, kept when it is small
	taken    []queued // what a writer has of it, not with stateful reconnect
	messages int      // waiting, taken ones included until they are written
	bytes    int
	passed   int    // of messages, those that fill no queue
	passing  int    // their bytes
	sent     uint64 // messages handed to the transport, not with stateful reconnect
	writing  bool
	held     bool // nothing leaves yet: the handshake's answer must be first
	// unanswered: that answer isn't in the queue yet, it comes from a hub server.
	unanswered bool
	sealed     bool                       // nothing but the last frame is taken in
	cut        bool                       // the writer drops the rest of what it has taken
	behind     bool                       // the transport has the rest of a message, see Trying
	ending     bool                       // the last frame is queued; nothing more is taken in
	since      int64                      // clock() when ending was set
	closing    bool                       // the transport is being closed
	detour     *detour                    // where items wait meanwhile; see rewind.go
	conflation atomic.Pointer[conflation] // nil until a group is joined so
	driving    chan struct{}              // closed when nobody empties a detour any more
	seen       *seen                      // what rewinds have sent, newest first
	dead       bool
	how        Ending
	cause      error
	done       chan struct{} // closed once the transport is closed
	room       chan struct{} // closed by signal; nil while nobody waits for room
}

// spareLimit is the largest queue, in messages, that a connection keeps at rest.
const spareLimit = 8

// enqueue adds an item and reports whether the caller must schedule the
// connection with the writers. A full queue ends the connection.
func (c *Connection) enqueue(item queued) (schedule bool) { return c.enqueueEntry(item, nil) }

// enqueueEntry is enqueue for the message of an entry; d is nil when it is none's.
func (c *Connection) enqueueEntry(item queued, d *delivery) (schedule bool) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ending || o.dead || o.sealed || d != nil && o.seen != nil && o.repeats(d.e) {
		return false
	}
	if x := o.conflation.Load(); x != nil && d != nil && d.conflate {
		if taken, schedule := c.conflate(x, item, d); taken {
			return schedule
		}
	}
	if !c.hasRoom(item) {
		return c.tooSlow()
	}
	if w := o.detour; w != nil {
		var e *Entry
		if d != nil {
			e = d.e
		}
		w.items = append(w.items, detoured{item: item, entry: e})
		w.messages++
		w.bytes += len(item.frame)
		o.count(item)
		return false
	}
	return o.push(item)
}

// hasRoom reports whether the queue has room for an item. c.out.mu is held.
func (c *Connection) hasRoom(item queued) bool {
	if item.passed {
		return true
	}
	opt, o := c.server.options.Load(), &c.out
	// One message larger than the whole queue is let through when nothing waits.
	messages, bytes := o.messages-o.passed, o.bytes-o.passing
	if messages < opt.OutboundMessages && (bytes <= 0 || bytes+len(item.frame) <= opt.OutboundBytes) {
		return true
	}
	if o.unanswered && o.detour == nil {
		// Before the answer the client isn't connected, and owed nothing.
		o.drop()
		return true
	}
	return false
}

// tooSlow ends the connection of a client that doesn't take in what it is sent; all
// that waits is lost. c.out.mu is held.
func (c *Connection) tooSlow() (schedule bool) {
	o := &c.out
	c.server.meter.Refused(RefusedSlowConsumer)
	goodbye := queued{frame: c.closeFrame(c.limitText(RefusedSlowConsumer, c.server.options.Load().OutboundBytes, textSlowConsumer), true), units: unnumbered}
	if o.held {
		goodbye = queued{} // nothing may come before the handshake's answer
	}
	o.drop()
	c.cancel(ErrSlowConsumer)
	return o.last(goodbye, ErrSlowConsumer, EndNormal)
}

// finish queues the last item; see outbound.last.
func (c *Connection) finish(item queued, cause error, how Ending) (schedule bool) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ending || o.dead {
		return false
	}
	return o.last(item, cause, how)
}

// leftQuietly closes the transport of a client that has left in the orderly
// way: what still waits is for nobody.
func (c *Connection) leftQuietly() (schedule bool) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ending || o.dead {
		return false
	}
	o.drop()
	return o.last(queued{}, nil, EndNormal)
}

// seal keeps everything from the connection but its Close message.
func (c *Connection) seal() {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.sealed = true
}

// last queues the connection's last item, or none when it is empty. o.mu is held.
func (o *outbound) last(item queued, cause error, how Ending) (schedule bool) {
	o.ending, o.since, o.cause, o.how = true, clock(), cause, how
	o.signal()
	o.held = false
	if x := o.conflation.Load(); x != nil {
		for _, next := range x.empty(nil) {
			schedule = o.push(next) || schedule
		}
	}
	if d := o.detour; d != nil { // what waits there comes before it; no history does
		o.detour = nil
		for _, next := range d.items {
			if next.rewind == nil {
				schedule = o.release(d, next.item) || schedule
			}
		}
	}
	if item.frame != nil {
		item.units = unnumbered
		return o.push(item) || schedule
	}
	schedule = schedule || !o.writing
	o.writing = true
	return schedule
}

// push appends an item. o.mu is held.
func (o *outbound) push(item queued) (schedule bool) {
	if o.queue == nil {
		o.queue, o.spare = o.spare, nil
	}
	o.queue = append(o.queue, item)
	o.count(item)
	if o.writing || o.held {
		return false
	}
	o.writing = true
	return true
}

// count counts an item in. o.mu is held.
func (o *outbound) count(item queued) {
	o.messages++
	o.bytes += len(item.frame)
	if item.passed || item.beside {
		o.passed++
		o.passing += len(item.frame)
	}
}

// drop forgets everything that hasn't been handed to the transport. o.mu is held.
func (o *outbound) drop() {
	o.queue, o.detour, o.messages, o.bytes, o.passed, o.passing = nil, nil, 0, 0, 0, 0
	if x := o.conflation.Load(); x != nil {
		x.clear()
	}
	o.signal()
	o.cut = o.writing
}

// hold keeps everything back until wake releases it, the first item being item.
// When that is empty it comes from a hub server, see forwardAnswer.
func (c *Connection) hold(item queued) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ending && !o.dead {
		o.held = true
		if item.frame == nil {
			o.unanswered = true
			return
		}
		item.units = unnumbered
		o.push(item)
	}
}

// wake lets a writer go on with what waits: after hold, and when an
// Intermittent transport has become ready.
func (c *Connection) wake(release bool) {
	o := &c.out
	o.mu.Lock()
	if release {
		o.held = false
	}
	schedule := !o.writing && !o.held && !o.dead && (o.waiting() || o.ending)
	if schedule {
		o.writing = true
	}
	o.mu.Unlock()
	if schedule {
		writers.schedule(c)
	}
}

// isEnding reports whether the connection takes in no more.
func (c *Connection) isEnding() bool {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.ending || c.out.dead
}

// abort ends the connection at once; what waits is lost. The first cause wins.
func (c *Connection) abort(cause error) {
	o := &c.out
	o.mu.Lock()
	t := c.die(cause)
	o.mu.Unlock()
	c.cancel(cause)
	t.Abort()
}

// die marks the connection as dead and returns the transport that the caller
// has to abort. c.out.mu is held.
func (c *Connection) die(cause error) Transport {
	o := &c.out
	o.drop()
	if !o.dead {
		o.dead = true
		if o.cause == nil {
			o.cause = cause
		}
		if !o.closing {
			close(o.done)
		}
	}
	return c.transport
}

// endedBy is why the connection was ended from this side; nil when it wasn't.
func (c *Connection) endedBy() error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.cause
}

// flush writes what waits until nothing is left, the transport isn't ready, or
// the connection is dead. Only the writer that owns the connection calls it. It
// returns how many bytes that were, and whether it broke off, since others have
// their turn: then the caller still owns the connection.
func (c *Connection) flush() (written int, more bool) {
	o := &c.out
	for {
		o.mu.Lock()
		o.cut = false
		if o.dead {
			o.mu.Unlock()
			return written, false
		}
		if o.behind {
			o.behind = false
			t := c.transport
			o.mu.Unlock()
			if err := t.(Trying).Rest(); err != nil {
				c.abort(err)
				return written, false
			}
			continue
		}
		if written >= flushTurn && o.waiting() {
			o.mu.Unlock()
			return written, true
		}
		var batch []queued
		if !o.held && (c.intermittent == nil || c.intermittent.Ready()) {
			batch = c.take()
		}
		t := c.transport
		if len(batch) == 0 {
			o.writing = false
			// There is no last word to a client that is away.
			finished := o.ending && (len(o.queue) == 0 || c.isAway()) && !o.closing
			o.closing = o.closing || finished
			o.mu.Unlock()
			if finished {
				go c.closeTransport(t)
			}
			return written, false
		}
		o.mu.Unlock()

		for _, item := range batch {
			written += len(item.frame)
		}
		if err := c.writeBatch(t, batch); err != nil && !c.lost(t, err) {
			c.abort(err)
			return written, false
		}
		c.recycle(batch)
	}
}

// take returns what is to be written now. c.out.mu is held.
func (c *Connection) take() []queued {
	if x := c.out.conflation.Load(); x != nil && !c.out.ending {
		c.pull(x)
	}
	if r := c.resume; r != nil && r.on {
		return r.take(c, c.server.options.Load().StatefulReconnectBufferSize)
	}
	c.out.taken, c.out.queue = c.out.queue, nil
	return c.out.taken
}

// recycle keeps a small batch for the next one.
func (c *Connection) recycle(batch []queued) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(batch)
	o.taken = nil
	switch r := c.resume; {
	case r != nil && r.on:
		r.recycle(batch)
	case o.queue == nil && cap(batch) <= spareLimit:
		o.spare = batch[:0]
	}
}

// closeTransport runs on a goroutine of its own since an orderly close waits
// for the client; Serve waits for it.
func (c *Connection) closeTransport(t Transport) {
	defer close(c.out.done)
	t.Close(c.out.how)
}

// writeBatch hands items to the transport, joined where they are small.
func (c *Connection) writeBatch(t Transport, batch []queued) error {
	limit, most := batchBytes, batchMessages
	if c.intermittent != nil {
		// One answer carries everything: the queue is bounded anyway.
		limit, most = int(^uint(0)>>1), len(batch)
	}
	for len(batch) > 0 {
		n, size := 1, len(batch[0].frame)
		for n < len(batch) && n < most && size+len(batch[n].frame) <= limit {
			size += len(batch[n].frame)
			n++
		}
		if err := writeJoined(t, batch[:n], size); err != nil {
			return err
		}
		if c.written(batch[:n], size) {
			return nil
		}
		batch = batch[n:]
	}
	return nil
}

// writeJoined writes items in one piece.
func writeJoined(t Transport, items []queued, size int) error {
	if len(items) == 1 {
		if s := items[0].shared; s != nil {
			if sharing, ok := t.(Sharing); ok {
				return sharing.WriteShared(s)
			}
		}
		return t.Write(items[0].frame)
	}
	buf := getBuffer(size)
	defer putBuffer(buf)
	for _, it := range items {
		*buf = append(*buf, it.frame...)
	}
	return t.Write(*buf)
}

// written accounts for items that have left and reports whether the rest of the
// batch has been dropped meanwhile.
func (c *Connection) written(items []queued, size int) (cut bool) {
	c.lastWrite.Store(clock())
	resumable := c.resume != nil && c.resume.on
	fresh := items
	if resumable {
		fresh = c.resume.unmetered(items)
	}
	c.meterWritten(fresh)
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cut || o.dead {
		return true
	}
	if resumable {
		return false // take has done it: what is written waits for an Ack, not in the queue
	}
	o.messages -= len(items)
	o.sent += uint64(len(items))
	o.bytes -= size
	if c.proxied != nil || o.conflation.Load() != nil {
		for _, it := range items {
			c.passedOn(it)
		}
	}
	o.signal()
	return false
}
