package serviceprotocol

// Append appends m with its length prefix to dst, in today's form. Text that is
// not UTF-8 is repaired.
func Append(dst []byte, m Message) []byte {
	start := len(dst)
	// Most messages need one byte of prefix: leave its place, and move the others.
	c := codec{out: append(dst, 0)}
	m.layout(&c)
	size := len(c.out) - start - 1
	if size < 0x80 {
		c.out[start] = byte(size)
		return c.out
	}
	var prefix [maxPrefix]byte
	n := 0
	for rest := size; rest > 0; n++ {
		prefix[n] = byte(rest&0x7F) | 0x80
		rest >>= 7
	}
	prefix[n-1] &^= 0x80
	c.out = append(c.out, prefix[1:n]...)
	copy(c.out[start+n:], c.out[start+1:start+1+size])
	copy(c.out[start:], prefix[:n])
	return c.out
}
