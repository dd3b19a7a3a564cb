package hubs

import "time"

// Begin is the first half of Apply: the entry is about to be carried out.
func (s *Server) Begin(e *Entry) (carryOut func()) {
	s.progress.begins(e)
	return func() { s.Apply(e) }
}

// WaitForPresence says how long what of presence is published may take, before there
// is any.
func (s *Server) WaitForPresence(d time.Duration) { s.presence.patience = d }

// Away reports whether the client has no socket now and may come back.
func (c *Connection) Away() bool {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.isAway()
}
