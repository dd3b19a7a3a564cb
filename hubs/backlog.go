package hubs

import (
	"context"
	"sync/atomic"
	"time"
)

// The bounds of what waits for clients of hub servers, in bytes with
// backlogOverhead for each message.
const (
	// MaxBacklog is for one client. One larger message is let through when nothing
	// else waits.
	MaxBacklog = 16 << 20
	// maxBacklogs is for all clients of a Server together; no client is closed for
	// it that hasn't more than backlogShare.
	maxBacklogs  = 64 << 20
	backlogShare = 1 << 20

	// backlogOverhead is about what a message costs beyond its bytes.
	backlogOverhead = 64

	// leastTaken is what a client that is behind must take in while AwaitBacklog has
	// patience. At 30 s of it that is what a line of 18 kbit/s carries, and the half a
	// mebibyte at which app servers stop is gone within four minutes.
	leastTaken = 64 << 10
)

// backlog is what waits for one client of what its hub server has said.
type backlog struct {
	bytes atomic.Int64
	taken atomic.Int64 // what of it has left so far
}

// Backlog is how many bytes wait for the client of what Forward was given,
// overhead included.
func (c *Connection) Backlog() int {
	if c.proxied == nil {
		return 0
	}
	return int(c.proxied.back.backlog.bytes.Load())
}

// addBacklog makes room for a message of n bytes, or ends the connection and
// reports false.
func (c *Connection) addBacklog(n int) bool {
	size := int64(n + backlogOverhead)
	own := c.proxied.back.backlog.bytes.Add(size)
	all := c.server.backlogs.Add(size)
	if own == size || own <= MaxBacklog && (all <= maxBacklogs || own <= backlogShare) {
		return true
	}
	c.endTooSlow()
	return false
}

// endTooSlow is tooSlow for those who don't hold c.out.mu.
func (c *Connection) endTooSlow() {
	o := &c.out
	o.mu.Lock()
	schedule := false
	if !o.ending && !o.dead {
		schedule = c.tooSlow()
	}
	o.mu.Unlock()
	if schedule {
		writers.schedule(c)
	}
}

// passedOn notes that a message has left the queue. c.out.mu is held.
func (c *Connection) passedOn(it queued) {
	if !it.passed && !it.beside {
		return
	}
	c.out.passed--
	c.out.passing -= len(it.frame)
	if !it.passed {
		return
	}
	size := int64(len(it.frame) + backlogOverhead)
	c.proxied.back.backlog.bytes.Add(-size)
	c.proxied.back.backlog.taken.Add(size)
	c.server.backlogs.Add(-size)
}

// countRest counts the beginning of a message among what all clients have waiting.
// b.mu is held.
func (c *Connection) countRest(b *back) error {
	grown := len(b.rest) - b.share
	b.share = len(b.rest)
	if all := c.server.backlogs.Add(int64(grown)); grown > 0 && all > maxBacklogs && b.share > backlogShare {
		c.endTooSlow()
		return ErrSlowConsumer
	}
	return nil
}

// clearBacklog gives back the room of a connection that has ended.
func (c *Connection) clearBacklog() {
	if c.proxied == nil {
		return
	}
	b := &c.proxied.back
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken, b.rest = true, nil
	_ = c.countRest(b) // which is nothing any more
	c.server.backlogs.Add(-b.backlog.bytes.Swap(0))
}

// AwaitBacklog waits until the client's backlog is no more than most. A client
// that takes in less than 64 KiB of it within patience, be it a few bytes again and
// again, is closed as a slow consumer, unless it is away and may come back. It fails
// when the connection has ended or ctx is done.
func (c *Connection) AwaitBacklog(ctx context.Context, most int, patience time.Duration) error {
	if c.proxied == nil {
		return errEnded
	}
	o, b := &c.out, &c.proxied.back.backlog
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for seen := b.taken.Load(); ; {
		o.mu.Lock()
		if o.ending || o.dead {
			o.mu.Unlock()
			return errEnded
		}
		if b.bytes.Load() <= int64(most) {
			o.mu.Unlock()
			return nil
		}
		if o.room == nil {
			o.room = make(chan struct{})
		}
		room, away := o.room, c.isAway()
		o.mu.Unlock()
		if now := b.taken.Load(); now-seen >= leastTaken {
			seen = now
			timer.Reset(patience)
		}
		select {
		case <-room:
		case <-timer.C:
			o.mu.Lock()
			away = away || c.isAway() // it may have gone meanwhile
			o.mu.Unlock()
			now := b.taken.Load()
			if !away && now-seen < leastTaken {
				c.endTooSlow()
				return ErrSlowConsumer
			}
			seen = now
			timer.Reset(patience)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
