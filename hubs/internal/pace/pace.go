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
