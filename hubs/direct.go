package hubs

import "time"

// An entry for few connections that comes after a rest is written by who applies it,
// when no writer has anything to do: to hand it to writers takes longer than the write,
// and wakes a thread for each. Nobody waits for a client so, see Trying. In a rush the
// writers do better: what comes meanwhile leaves with it, in one write.

const (
	// directRest is how long a Server has had no entry before.
	directRest = time.Millisecond
	// directMost is to how many connections one entry is written so.
	directMost = 32
	// directCost is what such a write counts beside putting the message into the
	// queue, as so many recipients.
	directCost = writeCost / recipientCost
)

// Trying is a Transport that can write without waiting for the client.
type Trying interface {
	Sharing
	// TryShared is WriteShared that doesn't wait. It reports in sent whether the message is
	// on its way; else nothing of it is. Behind is set when there was room for a
	// part only: the rest comes before whatever is written next, and Rest writes it.
	TryShared(s *Shared) (sent, behind bool, err error)
	// Rest writes what TryShared has left, like Write.
	Rest() error
}

// writeDirectly writes to connections, each with outbound.writing just set, and
// returns those that it leaves to the writers.
func (s *Server) writeDirectly(due []*Connection) (left []*Connection) {
	left = due[:0]
	for _, c := range due {
		written, more := c.tryFlush()
		if more {
			left = append(left, c)
		}
		if written > 0 {
			s.reached += directCost
		}
	}
	return left
}

// tryFlush is flush for a connection with one message that it shares with others and
// nothing special, without waiting for the client. More says that a writer has to go on.
func (c *Connection) tryFlush() (written int, more bool) {
	o := &c.out
	o.mu.Lock()
	t, tries := c.transport.(Trying)
	if !tries || len(o.queue) != 1 || o.queue[0].shared == nil || o.behind || o.dead || o.held || o.ending ||
		o.conflation.Load() != nil || c.resume != nil && c.resume.on {
		o.mu.Unlock()
		return 0, true
	}
	o.cut = false
	batch := c.take()
	o.mu.Unlock()

	sent, behind, err := t.TryShared(batch[0].shared)
	if err != nil {
		c.abort(err)
		return 0, false
	}
	if sent {
		written = len(batch[0].frame)
		c.written(batch, written)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.taken = nil
	if !sent && !o.cut && !o.dead {
		o.queue = append(batch, o.queue...)
		return 0, true
	}
	clear(batch)
	if o.queue == nil && cap(batch) <= spareLimit {
		o.spare = batch[:0]
	}
	o.behind = behind
	if behind || o.dead || o.ending || o.waiting() {
		return written, true
	}
	o.writing = false
	return written, false
}
