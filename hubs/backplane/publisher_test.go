package backplane

import "testing"

// The script remembers the answers to as many sequences as a batch has. However
// many publishers gave up, all of a batch whose round trip broke must be found
// there when it is asked for again.
func TestPublisher_numbers_a_batch_without_holes(t *testing.T) {
	p := &publisher{}
	for i := range 10 * batchEntries {
		q := &request{}
		if i%batchEntries != 0 { // the others have given up
			q.state.Store(abandoned)
		}
		p.queue = append(p.queue, q)
	}
	batch := p.take()
	if len(batch) != 10 {
		t.Fatalf("a batch of %d, want the 10 that still wait", len(batch))
	}
	slots := map[uint64]bool{}
	for i, q := range batch {
		if q.seq != uint64(i+1) {
			t.Errorf("request %d has sequence %d", i, q.seq)
		}
		slots[q.seq%batchEntries] = true
	}
	if len(slots) != len(batch) {
		t.Errorf("%d requests share %d slots", len(batch), len(slots))
	}
}
