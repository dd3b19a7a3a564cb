package hubs

import (
	"strings"
	"testing"

	"github.com/signalbox/signalbox/hubs/internal/turns"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// What many are to be sent is held once, and short of memory nobody is cut off for their
// part of it while another holds more alone.
func TestRelieve_counts_once_what_many_are_sent(t *testing.T) {
	t.Parallel()
	const crowd, entries, own, least = 50, 10, 1000, 500
	s := held(t, NewShare(1), turns.New(turns.Options{Places: 1, MostPlaces: 1}), crowd, protocol.NewJSON())
	all := s.store.snapshot()
	for _, c := range all {
		c.transport, c.out.done = &absent{aborted: make(chan struct{})}, make(chan struct{})
	}
	want := 0
	for n := range entries {
		e := say(uint64(n + 1))
		if n == 0 { // too long to be kept in a second form
			e.Message.Arguments.Bytes = []byte(`["` + strings.Repeat("x", maxShared) + `"]`)
		}
		s.Apply(e)
		want += len(all[0].out.queue[n].frame)
	}
	if got := s.Waiting(); got != want {
		t.Errorf("%d bytes wait for %d, want those of the messages: %d", got, crowd, want)
	}
	alone := all[7]
	alone.enqueue(queued{frame: make([]byte, own)})
	if got := s.Waiting(); got != want+own {
		t.Errorf("%d bytes wait, want %d", got, want+own)
	}
	if freed := s.Relieve(1, least); freed != own {
		t.Errorf("%d bytes were freed, want %d", freed, own)
	}
	if freed := s.Relieve(1, least); freed != 0 || !alone.isEnding() {
		t.Errorf("%d bytes more were freed of those who have but a part", freed)
	}
	// What was written to all but one, it holds alone.
	for _, c := range all[1:] {
		if c != alone {
			c.out.mu.Lock()
			c.out.drop()
			c.out.mu.Unlock()
		}
	}
	if freed := s.Relieve(1, least); freed != want || !all[0].isEnding() {
		t.Errorf("%d bytes were freed, want %d", freed, want)
	}
	for _, c := range all[1:] {
		if c != alone && c.isEnding() {
			t.Fatal("another one was cut off")
		}
	}
}

// What a writer has taken is held until it is written.
func TestRelieve_counts_what_is_being_written(t *testing.T) {
	t.Parallel()
	s := held(t, NewShare(1), turns.New(turns.Options{Places: 1, MostPlaces: 1}), 1, protocol.NewJSON())
	s.Apply(say(1))
	c := s.store.snapshot()[0]
	want := s.Waiting()
	c.out.mu.Lock()
	batch := c.take()
	c.out.mu.Unlock()
	if got := s.Waiting(); got != want || want == 0 {
		t.Errorf("%d bytes wait while they are written, want %d", got, want)
	}
	c.recycle(batch)
	if got := s.Waiting(); got != 0 {
		t.Errorf("%d bytes wait when all is written", got)
	}
}
