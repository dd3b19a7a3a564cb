package hubs

// Away reports whether the client has no socket now and may come back.
func (c *Connection) Away() bool {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.isAway()
}
