package hubs

import (
	"time"

	"github.com/signalbox/signalbox/hubs/internal/pace"
)

// mostPause is how long a connection that sends too fast isn't read at a time.
const mostPause = 2 * time.Second

// slowDown waits, after n bytes were read, until the connection is within
// Options.ReceiveBytesPerSecond again, mostPause at the most: what the client sends
// meanwhile fills its own buffers. Only the reader calls it.
func (c *Connection) slowDown(n int) {
	o := c.server.options.Load()
	if o.ReceiveBytesPerSecond <= 0 {
		return
	}
	limit := pace.Limit{PerSecond: int64(o.ReceiveBytesPerSecond), Burst: int64(max(o.ReceiveBytesBurst, o.ReceiveBytesPerSecond))}
	wait := c.received.Wait(clock(), limit, n)
	if wait <= 0 {
		if c.overdue.Load() != 0 {
			c.overdue.Store(0)
		}
		return
	}
	c.Pause(func() {
		timer := time.NewTimer(min(wait, mostPause))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.ctx.Done():
		}
	})
	c.overdue.Store(int64(max(0, wait-mostPause)))
}

// Overdue is by how much the client is ahead of Options.ReceiveBytesPerSecond although
// it was read as slowly as can be: filters refuse its calls then. 0 = it isn't.
func (c *Connection) Overdue() time.Duration { return time.Duration(c.overdue.Load()) }
