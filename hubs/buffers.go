package hubs

import "sync"

// maxPooled is the largest buffer in bytes that goes back to the pool.
const maxPooled = 64 << 10

var bufferPool = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// getBuffer returns an empty buffer with room for at least size bytes.
func getBuffer(size int) *[]byte {
	b := bufferPool.Get().(*[]byte)
	if cap(*b) < size {
		*b = make([]byte, 0, size)
	}
	*b = (*b)[:0]
	return b
}

func putBuffer(b *[]byte) {
	if cap(*b) <= maxPooled {
		bufferPool.Put(b)
	}
}
