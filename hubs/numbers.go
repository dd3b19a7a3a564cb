package hubs

import "github.com/signalbox/signalbox/hubs/protocol"

// The numbers of stateful reconnect: what goes out gets one and is kept, what
// comes in is checked by it. resumption holds them.

// take returns what is to be written now; c.out.mu is held. Messages leave the
// queue for sent as far as the buffer has room.
func (r *resumption) take(c *Connection, limit int) []queued {
	o := &c.out
	if r.away {
		return nil
	}
	batch := r.batch[:0]
	r.writing = r.last() + 1
	if r.replay {
		r.replay, r.writing = false, r.first
		batch = c.control(batch, protocol.Sequence, r.first)
		batch = append(batch, r.sent...)
	}
	n := 0
	for ; n < len(o.queue); n++ {
		it := o.queue[n]
		size := len(it.frame)
		if it.units != unnumbered {
			if r.unacked > 0 && r.unacked+size > limit {
				break
			}
			r.sent = append(r.sent, it)
			r.unacked += size
			r.kept += size
		}
		batch = append(batch, it)
		o.messages--
		o.bytes -= size
		c.passedOn(it)
	}
	if n > 0 {
		rest := copy(o.queue, o.queue[n:])
		clear(o.queue[rest:])
		o.queue = o.queue[:rest]
		if rest == 0 && cap(o.queue) > spareLimit {
			o.queue = nil
		}
		o.signal()
	}
	if !o.ending { // nothing comes after a Close message
		if r.ack {
			r.ack, r.told = false, r.received.Load()
			batch = c.control(batch, protocol.Ack, r.told)
		}
		if r.ping {
			r.ping = false
			batch = c.control(batch, protocol.Ping, 0)
		}
	}
	return batch
}

// control appends a message without a number.
func (c *Connection) control(batch []queued, kind protocol.Type, number int64) []queued {
	frame, err := c.proto.Append(nil, &protocol.Message{Type: kind, SequenceID: number})
	if err != nil {
		return batch // there is nothing in it that can't be encoded
	}
	return append(batch, queued{frame: frame, units: unnumbered})
}

// recycle keeps a small, empty batch for the next one. c.out.mu is held.
func (r *resumption) recycle(batch []queued) {
	if r.batch = batch[:0]; cap(batch) > spareLimit {
		r.batch = nil
	}
}

// unmetered returns those of the written items that weren't written before: what is
// sent again counts nothing.
func (r *resumption) unmetered(items []queued) []queued {
	from := len(items)
	for i := range items {
		if items[i].units == unnumbered {
			continue
		}
		if r.writing > r.metered {
			r.metered = r.writing
			from = min(from, i)
		}
		r.writing++
	}
	return items[from:]
}

// The ends of clients that number in a way that can't be.
var (
	errAckAhead      error = &operationError{text: "Ack ID greater than amount of messages we've sent."}
	errSequenceAhead error = &operationError{text: "Sequence ID greater than amount of messages we've received."}
	errSequenceZero  error = &operationError{text: "Sequence ID is less than 1."}
)

// acknowledged frees what the client has taken in.
func (c *Connection) acknowledged(n int64) error {
	limit := c.server.options.Load().StatefulReconnectBufferSize
	r, o := c.resume, &c.out
	o.mu.Lock()
	if n > r.last() {
		o.mu.Unlock()
		return errAckAhead
	}
	for ; r.acked < n; r.acked++ {
		r.unacked -= len(r.sent[r.acked+1-r.first].frame)
	}
	// A client that was cut off in a replay may acknowledge what it has had from
	// an earlier socket, and yet refuse a Sequence beyond what it had from the
	// latest. So those are kept until an Ack shows that the replay has arrived,
	// or, for a client that never gets that far, until there are too many.
	if r.acked > r.earlier || r.kept > 2*limit {
		gone := int(r.acked + 1 - r.first)
		for _, it := range r.sent[:gone] {
			r.kept -= len(it.frame)
		}
		clear(r.sent[:gone])
		if r.sent = r.sent[gone:]; len(r.sent) == 0 && cap(r.sent) > spareLimit {
			r.sent = nil
		}
		r.first = r.acked + 1
	}
	schedule := o.waiting() && o.begin()
	o.mu.Unlock()
	if schedule {
		writers.schedule(c)
	}
	return nil
}

// admit does what numbers ask of a message that has come in and reports whether
// it is to be handled. Only the reader calls it.
func (c *Connection) admit(m *protocol.Message) (bool, error) {
	r := c.resume
	if !r.on {
		return true, nil
	}
	if r.strange && m.Type != protocol.Sequence {
		return false, nil
	}
	switch m.Type {
	case protocol.Sequence:
		r.strange = false
		switch {
		case m.SequenceID > r.received.Load()+1:
			return false, errSequenceAhead
		case m.SequenceID < 1:
			return false, errSequenceZero
		}
		r.next = m.SequenceID
		return false, nil
	case protocol.Ack:
		return false, c.acknowledged(m.SequenceID)
	case protocol.Invocation, protocol.StreamInvocation, protocol.StreamItem, protocol.Completion, protocol.CancelInvocation:
		n := r.next
		r.next++
		if n <= r.received.Load() {
			return false, nil
		}
		r.received.Store(n)
	}
	return true, nil
}
