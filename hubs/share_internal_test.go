package hubs

import (
	"testing"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// crowd puts n connections of a Share into the pool.
func crowd(p *writerPool, s *Share, n int) {
	server := &Server{share: s}
	for range n {
		p.add(s, &Connection{server: server})
	}
}

// newPool returns a pool that nothing but the test writes for.
func newPool(limit int) *writerPool {
	return &writerPool{limit: limit, active: make(map[*writer]struct{}), watching: true}
}

// next lets a writer that has written so many bytes take its next connection, and
// returns whose it is.
func next(p *writerPool, w *writer, written int) *Share {
	p.active[w] = struct{}{}
	if p.take(w, written, nil) == nil {
		return nil
	}
	return w.share
}

func TestShare_few_connections_do_not_wait_for_many(t *testing.T) {
	t.Parallel()
	p, noisy, calm := newPool(4), NewShare(1), NewShare(1)
	crowd(p, noisy, 10_000)
	w := new(writer)
	for range 100 {
		next(p, w, 4<<10)
	}
	crowd(p, calm, 20)
	before := 0
	for left := 20; left > 0; {
		switch next(p, w, 4<<10) {
		case noisy:
			before++
		case calm:
			left--
		}
	}
	if before > 40 {
		t.Errorf("%d connections of 10,000 were written for before 20 others", before)
	}
}

func TestShare_turns_are_counted_in_bytes(t *testing.T) {
	t.Parallel()
	p, large, small := newPool(4), NewShare(1), NewShare(1)
	crowd(p, large, 5_000)
	crowd(p, small, 5_000)
	bytes := make(map[*Share]int)
	w, written := new(writer), 0
	for range 2_000 {
		s := next(p, w, written)
		written = 1 << 10
		if s == large {
			written = 63 << 10
		}
		bytes[s] += written + writeCost
	}
	if ratio := float64(bytes[large]) / float64(bytes[small]); ratio < 0.8 || ratio > 1.25 {
		t.Errorf("large messages got %.2f times what small ones got", ratio)
	}
}

func TestShare_weights(t *testing.T) {
	t.Parallel()
	p, heavy, light := newPool(4), NewShare(4), NewShare(1)
	crowd(p, heavy, 5_000)
	crowd(p, light, 5_000)
	count := make(map[*Share]int)
	w := new(writer)
	for range 2_000 {
		count[next(p, w, 3<<10)]++
	}
	if ratio := float64(count[heavy]) / float64(count[light]); ratio < 3.5 || ratio > 4.5 {
		t.Errorf("weight 4 got %.2f times what weight 1 got", ratio)
	}
}

func TestShare_never_has_all_writers(t *testing.T) {
	t.Parallel()
	p, noisy, calm := newPool(4), NewShare(16), NewShare(1)
	crowd(p, noisy, 1_000)
	for i := range 3 {
		if next(p, new(writer), 0) != noisy {
			t.Fatalf("writer %d has nothing to do", i+1)
		}
	}
	if next(p, new(writer), 0) != nil {
		t.Error("a Share has all writers")
	}
	crowd(p, calm, 1)
	if next(p, new(writer), 0) != calm {
		t.Error("the last writer doesn't write for the other Share")
	}
}

func TestShare_gains_nothing_by_pausing(t *testing.T) {
	t.Parallel()
	p, sly, steady := newPool(4), NewShare(1), NewShare(1)
	crowd(p, steady, 5_000)
	bytes := make(map[*Share]int)
	w, written := new(writer), 0
	for range 2_000 {
		if !sly.waits {
			crowd(p, sly, 1) // one large message at a time
		}
		s := next(p, w, written)
		written = 1 << 10
		if s == sly {
			written = 63 << 10
		}
		bytes[s] += written + writeCost
	}
	if ratio := float64(bytes[sly]) / float64(bytes[steady]); ratio > 1.5 {
		t.Errorf("who pauses got %.2f times what the other got", ratio)
	}
}

// greedy is a transport that makes its connection have more to write.
type greedy struct {
	Transport
	c     *Connection
	frame []byte
	left  int
}

func (g *greedy) Write([]byte) error {
	if g.left--; g.left > 0 {
		g.c.enqueue(queued{frame: g.frame})
	}
	return nil
}

func TestFlush_lets_others_have_their_turn(t *testing.T) {
	t.Parallel()
	s, err := NewServer(Config{Name: "chat"})
	if err != nil {
		t.Fatal(err)
	}
	g := &greedy{frame: make([]byte, 64<<10), left: 100}
	c := &Connection{server: s, transport: g, proto: protocol.NewJSON()}
	g.c = c
	c.out.done = make(chan struct{})
	if !c.enqueue(queued{frame: g.frame}) {
		t.Fatal("nothing to write")
	}
	written, more := c.flush()
	if !more || written < flushTurn || written > 2*flushTurn {
		t.Errorf("wrote %d bytes, more %v; want a turn of %d", written, more, flushTurn)
	}
	for more {
		_, more = c.flush()
	}
	if g.left != 0 {
		t.Errorf("%d frames were never written", g.left)
	}
}
