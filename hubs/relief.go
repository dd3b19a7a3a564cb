package hubs

import (
	"cmp"
	"slices"
)

// RefusedMemory is given to Meter.Refused for a connection that Relieve has ended.
const RefusedMemory = "edge_memory"

// holding calls f for every frame that the connection holds for its client: what
// waits, what is being written, and what was sent and may have to be sent again.
func (c *Connection) holding(f func(queued)) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.dead {
		return
	}
	each := func(items []queued) {
		for _, item := range items {
			f(item)
		}
	}
	each(o.queue)
	if r := c.resume; r != nil && r.on {
		each(r.sent) // and what is being written is among it
	} else {
		each(o.taken)
	}
	if o.detour != nil {
		for _, d := range o.detour.items {
			f(d.item)
		}
	}
	if x := o.conflation.Load(); x != nil {
		for _, g := range x.groups {
			for _, l := range g.values {
				if l.waits {
					f(l.item)
				}
			}
		}
	}
}

// holdings is what connections hold together. A frame that several have is there once.
type holdings struct {
	own    int
	shared map[*byte]int // how many have it
	bytes  int           // of shared
}

// common is what tells a frame that several connections may have from others, nil for
// those that one has alone.
func (item *queued) common() *byte {
	if item.shared == nil && len(item.frame) <= maxShared || len(item.frame) == 0 {
		return nil
	}
	return &item.frame[0]
}

func (h *holdings) add(item queued) {
	frame := item.common()
	if frame == nil {
		h.own += len(item.frame)
		return
	}
	if h.shared[frame]++; h.shared[frame] == 1 {
		h.bytes += len(item.frame)
	}
}

// part is what one connection holds of it, a frame that n have being an n-th of that.
func (h *holdings) part(c *Connection) (bytes int) {
	c.holding(func(item queued) {
		if frame := item.common(); frame != nil {
			bytes += len(item.frame) / max(1, h.shared[frame])
			return
		}
		bytes += len(item.frame)
	})
	return bytes
}

// without takes a connection out and returns how many bytes nobody holds any more.
func (h *holdings) without(c *Connection) (bytes int) {
	c.holding(func(item queued) {
		if frame := item.common(); frame != nil {
			if h.shared[frame]--; h.shared[frame] != 0 {
				return
			}
		}
		bytes += len(item.frame)
	})
	return bytes
}

func holdingsOf(all []*Connection) *holdings {
	h := &holdings{shared: make(map[*byte]int)}
	for _, c := range all {
		c.holding(h.add)
	}
	return h
}

// Waiting is how many bytes the Server holds for its clients: what waits for them,
// and what may have to be sent again. A message to many is held once.
func (s *Server) Waiting() (bytes int) {
	h := holdingsOf(s.store.snapshot())
	return h.own + h.bytes
}

// Relieve frees so many bytes of those of Waiting, for a process that is short of
// memory: connections are ended, those with the most first, without a last word,
// since what is in the way of that is what takes the memory. It returns how many
// were freed. Who holds no more than least stays; of what several hold each has its
// part.
func (s *Server) Relieve(bytes, least int) (freed int) {
	type held struct {
		c     *Connection
		bytes int
	}
	all := s.store.snapshot()
	h := holdingsOf(all)
	var list []held
	for _, c := range all {
		if n := h.part(c); n > least {
			list = append(list, held{c, n})
		}
	}
	slices.SortFunc(list, func(a, b held) int { return cmp.Compare(b.bytes, a.bytes) })
	for _, one := range list {
		if freed >= bytes {
			break
		}
		s.meter.Refused(RefusedMemory)
		freed += h.without(one.c)
		one.c.abort(ErrSlowConsumer)
	}
	return freed
}
