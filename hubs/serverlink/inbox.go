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

// overhead is what a message costs the edge that has to keep it, beyond its
// bytes: windows count it, too, or many empty messages would take much memory.
const overhead = 256

// payloads are buffers for the short messages that nearly all are.
var payloads = sync.Pool{New: func() any { b := make([]byte, 0, pooledPayload); return &b }}

const pooledPayload = 2 * overhead

// keep copies b; release gives the copy back.
func keep(b []byte) *[]byte {
	if len(b) > pooledPayload {
		c := append([]byte(nil), b...)
		return &c
	}
	p := payloads.Get().(*[]byte)
	*p = append((*p)[:0], b...)
	return p
}

func release(p *[]byte) {
	if p != nil && cap(*p) == pooledPayload {
		payloads.Put(p)
	}
}
