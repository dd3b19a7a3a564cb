package pairing

import "time"

// What waits for a client when its app server is asked to stop, and when to go on,
// in bytes as hubs.Connection.Backlog counts them. Between the two a client has
// enough to read for as long as the app server needs to begin again. They are near
// each other since the SDK, when a pause lasts longer than about a second, sends what
// it has only once the app has said something more, its next ping at the latest.
const (
	holdAt    = 512 << 10
	releaseAt = 384 << 10
)

// slowAfter is how long a client may take in next to nothing while it holds up its
// app server (hubs.Connection.AwaitBacklog), unless Config says otherwise.
const slowAfter = 30 * time.Second

// hold has the app server stop when too much waits for the client, until it has
// taken in most of that, and closes the client when it takes in next to nothing.
func (d *downstream) hold() {
	c := d.c
	if c.conn.Backlog() <= holdAt {
		return
	}
	c.mu.Lock()
	s := c.session
	if c.turn != d.turn || s == nil || d.held || c.moving || c.done || c.closed {
		c.mu.Unlock()
		return
	}
	d.held = true
	c.mu.Unlock()
	s.Hold(true)
	c.proxy.work.Go(func() {
		err := c.conn.AwaitBacklog(c.conn.Context(), releaseAt, c.proxy.SlowAfter)
		c.mu.Lock()
		d.held = false
		c.mu.Unlock()
		if err == nil { // else the client is gone, and its session ends
			s.Hold(false)
		}
	})
}
