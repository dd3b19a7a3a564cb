// Package pace bounds how often something may happen on one connection.
package pace

import "time"

// Limit is a rate and how far ahead of it a connection may be.
type Limit struct {
	PerSecond int64
	Burst     int64
}

// Meter counts against a Limit; its zero value has counted nothing. It belongs
// to one goroutine and takes 8 bytes, which is all that a connection within its
// limits ever costs.
type Meter struct{ due int64 }

// Wait counts n at the time now, whether they are beyond the limit or not, and returns
// how long it takes until the connection is within it again; 0 = it is.
func (m *Meter) Wait(now int64, l Limit, n int) time.Duration {
	due := max(m.due, now) + int64(float64(n)*float64(time.Second)/float64(l.PerSecond))
	m.due = due
	return max(0, time.Duration(due-now)-l.depth())
}

// Until is how long it takes until one more event is within the limit; 0 = it is.
func (m *Meter) Until(now int64, l Limit) time.Duration {
	each := int64(time.Second) / l.PerSecond
	return max(0, time.Duration(m.due-now-each*(l.Burst-1)))
}

// Idle reports whether nothing is left of what was counted.
func (m *Meter) Idle(now int64) bool { return m.due <= now }

// depth is how long it takes to be within the limit after a whole burst.
func (l Limit) depth() time.Duration {
	return time.Duration(float64(l.Burst) * float64(time.Second) / float64(l.PerSecond))
}

// Back takes one event back that Over has counted.
func (m *Meter) Back(l Limit) { m.due -= int64(time.Second) / l.PerSecond }

// Over counts one event at the time now, in nanoseconds of any monotonic clock
// above 0, and reports whether it is beyond the limit. An event that is beyond
// isn't counted.
func (m *Meter) Over(now int64, l Limit) bool {
	each := int64(time.Second) / l.PerSecond
	due := max(m.due, now)
	if due-now >= each*l.Burst {
		return true
	}
	m.due = due + each
	return false
}
