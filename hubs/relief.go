package hubs

import (
	"cmp"
	"slices"
)

// RefusedMemory is given to Meter.Refused for a connection that Relieve has ended.
const RefusedMemory = "edge_memory"

// waiting is what the connection holds for its client, in bytes: what waits, and
// what was sent and isn't acknowledged.
func (c *Connection) waiting() int {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.dead {
		return 0
	}
	bytes := o.bytes
	if r := c.resume; r != nil {
		bytes += r.kept
	}
	return bytes
}

// Waiting is how many bytes the Server holds for its clients: what waits for them,
// and what may have to be sent again. Frames that several share count for each.
func (s *Server) Waiting() (bytes int) {
	for _, c := range s.store.snapshot() {
		bytes += c.waiting()
	}
	return bytes
}

// Relieve frees so many bytes of those of Waiting, for a process that is short of
// memory: connections are ended, those with the most first, without a last word,
// since what is in the way of that is what takes the memory. It returns how many
// were freed; at the most all that is held beyond least for each.
func (s *Server) Relieve(bytes, least int) (freed int) {
	type held struct {
		c     *Connection
		bytes int
	}
	var list []held
	for _, c := range s.store.snapshot() {
		if n := c.waiting(); n > least {
			list = append(list, held{c, n})
		}
	}
	slices.SortFunc(list, func(a, b held) int { return cmp.Compare(b.bytes, a.bytes) })
	for _, h := range list {
		if freed >= bytes {
			break
		}
		s.meter.Refused(RefusedMemory)
		h.c.abort(ErrSlowConsumer)
		freed += h.bytes
	}
	return freed
}
