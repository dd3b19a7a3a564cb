package loadgen

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range and resolution of latencies: 10 µs to 60 s in two digits.
const (
	leastLatency = 10
	mostLatency  = 60_000_000 // µs
	digits       = 2
	shards       = 16
)

// measure keeps what was published and how long it took to be read.
type measure struct {
	// clocked: messages are stamped with when they were due, by ClockStamp, and
	// their number is known to nobody.
	clocked bool
	from    atomic.Int64 // Unix µs; what is due before isn't measured
	until   atomic.Int64
	shards  [shards]shard

	// conflated: of the messages with one key readers need only the newest.
	conflated bool

	mu       sync.Mutex
	messages []message      // by number
	newest   map[int]uint64 // by key, while conflated
	pending  int            // messages that not all of their readers have read
	freed    chan struct{}
	refused  int
	publish  int // messages due in the window
}

// message is one publish.
type message struct {
	due      int64 // Unix µs
	waiting  int32
	measured bool
	// superseded: a newer one with its key is on its way, so nobody waits for it.
	superseded bool
}

// shard spreads what readers write.
type shard struct {
	mu        sync.Mutex
	latencies *hdrhistogram.Histogram
	delivered int // in the window
	frames    int // reads with messages in the window
}

func newMeasure() *measure {
	m := &measure{freed: make(chan struct{}, 1)}
	for i := range m.shards {
		m.shards[i].latencies = hdrhistogram.New(leastLatency, mostLatency, digits)
	}
	return m
}

// window says what is measured: messages that are due in it.
func (m *measure) window(from, until time.Time) {
	m.until.Store(until.UnixMicro())
	m.from.Store(from.UnixMicro())
}

// sent notes a message with a key that goes out now, to so many readers, and numbers
// it.
func (m *measure) sent(due time.Time, readers, key int) uint64 {
	at := due.UnixMicro()
	from := m.from.Load()
	measured := from > 0 && at >= from && at < m.until.Load()
	m.mu.Lock()
	defer m.mu.Unlock()
	if measured {
		m.publish++
	}
	m.messages = append(m.messages, message{due: at, waiting: int32(readers), measured: measured})
	if readers > 0 {
		m.pending++
	}
	n := uint64(len(m.messages) - 1)
	if m.conflated {
		if m.newest == nil {
			m.newest = make(map[int]uint64)
		}
		if before, ok := m.newest[key]; ok && m.messages[before].waiting > 0 {
			m.messages[before].superseded = true
			m.done()
		}
		m.newest[key] = n
	}
	return n
}

// forget takes a message back that was not accepted.
func (m *measure) forget(n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if msg := &m.messages[n]; msg.waiting > 0 {
		msg.waiting = 0
		if !msg.superseded {
			m.done()
		}
	}
}

// done notes that a message has nobody left to reach. m.mu is held.
func (m *measure) done() {
	m.pending--
	select {
	case m.freed <- struct{}{}:
	default:
	}
}

func (m *measure) refuse() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused++
}

// read notes the messages in data, which reader has just read.
func (m *measure) read(reader int, data []byte) {
	now := time.Now().UnixMicro()
	s := &m.shards[reader%shards]
	counted := false
	stamps(data, func(n uint64) {
		due, measured, known := m.arrived(n)
		if !known || !measured {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = s.latencies.RecordValue(min(max(now-due, leastLatency), mostLatency)) // in range
		s.delivered++
		if !counted {
			counted = true
			s.frames++
		}
	})
}

func (m *measure) arrived(n uint64) (due int64, measured, known bool) {
	if m.clocked {
		return int64(n), true, true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n >= uint64(len(m.messages)) || m.messages[n].waiting == 0 {
		return 0, false, false
	}
	msg := &m.messages[n]
	if msg.waiting--; msg.waiting == 0 && !msg.superseded {
		m.done()
	}
	return msg.due, msg.measured, true
}

// room waits until fewer than most messages are on their way.
func (m *measure) room(ctx context.Context, most int) error {
	for {
		m.mu.Lock()
		pending := m.pending
		m.mu.Unlock()
		if pending < most {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return nil
		}
		select {
		case <-m.freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// lost counts deliveries that have not come.
func (m *measure) lost() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for i := range m.messages {
		if !m.messages[i].superseded {
			n += int(m.messages[i].waiting)
		}
	}
	return n
}

// total joins the shards.
func (m *measure) total() (latencies *hdrhistogram.Histogram, delivered, frames int) {
	latencies = hdrhistogram.New(leastLatency, mostLatency, digits)
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		latencies.Merge(s.latencies)
		delivered += s.delivered
		frames += s.frames
		s.mu.Unlock()
	}
	return latencies, delivered, frames
}
