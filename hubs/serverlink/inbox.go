package serverlink

import "sync"

// inbox is what one pairing is yet to be told, in order. The goroutine that
// tells it exists only while there is something to tell.
type inbox[T any] struct {
	mu      sync.Mutex
	items   []T
	running bool
}

// push adds an item and, when nothing runs, starts run in work. run takes items
// until take returns none.
func (q *inbox[T]) push(work *sync.WaitGroup, run func(), item T) {
	q.mu.Lock()
	q.items = append(q.items, item)
	start := !q.running
	q.running = true
	q.mu.Unlock()
	if start {
		work.Go(run)
	}
}

// take returns what has come; none ends the run.
func (q *inbox[T]) take() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items = nil
	if len(items) == 0 {
		q.running = false
	}
	return items
}

// Payloads are copied into buffers that are used again: short ones, which nearly
// all messages are, and whole pieces.
var short, long = buffers(shortPayload), buffers(maxPayload)

const shortPayload = 4 << 10

func buffers(size int) *sync.Pool {
	return &sync.Pool{New: func() any { b := make([]byte, 0, size); return &b }}
}

// keep copies b; release gives the copy back.
func keep(b []byte) *[]byte {
	var p *[]byte
	switch {
	case len(b) <= shortPayload:
		p = short.Get().(*[]byte)
	case len(b) <= maxPayload:
		p = long.Get().(*[]byte)
	default: // of an edge that cuts messages into longer pieces
		p = new([]byte)
	}
	*p = append((*p)[:0], b...)
	return p
}

func release(p *[]byte) {
	if p == nil {
		return
	}
	switch cap(*p) {
	case shortPayload:
		short.Put(p)
	case maxPayload:
		long.Put(p)
	}
}
