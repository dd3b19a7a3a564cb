package jwks

// Sets is how many key sets are kept.
func (c *Cache) Sets() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sets)
}
