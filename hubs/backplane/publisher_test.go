package backplane

import (
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/redisclient"
)

// The script remembers the answers to as many sequences as a batch has. However
// many publishers gave up, all of a batch whose round trip broke must be found
// there when it is asked for again.
func TestPublisher_numbers_a_batch_without_holes(t *testing.T) {
	p := &publisher{party: new(party)}
	for i := range 10 * batchEntries {
		q := &request{}
		if i%batchEntries != 0 { // the others have given up
			q.state.Store(abandoned)
		}
		p.queue = append(p.queue, q)
	}
	batch := p.take(false)
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

// Lives aren't prolonged with each publish, but what a key must live for is always
// in hand; and a stream that is gone is given a life again.
func TestPublish_keys_have_lives(t *testing.T) {
	t.Parallel()
	url := newRedis(t)
	client, r := newClient(t, url), process(t, url)
	keys := redisclient.Hub(tenant, hub)
	left := func(key string) time.Duration { return client.PTTL(t.Context(), key).Val() }
	for i := range 9 {
		if i == 4 {
			// As if it had rested for nearly as long as it may.
			client.PExpire(t.Context(), keys.Stream(), time.Minute)
			client.HSet(t.Context(), keys.Head(), "at", headWith(t, client, keys, func(at []uint64) { at[1] -= 15_000 }))
		}
		publish(t, r, say("a", i))
		if got := left(keys.Stream()); got < 240*time.Second {
			t.Errorf("after %d publishes the stream lives for %v", i+1, got)
		}
		if got := left(keys.Head()); got < time.Hour {
			t.Errorf("after %d publishes the head lives for %v", i+1, got)
		}
	}
	// As if the hub had rested until its stream ended.
	client.Del(t.Context(), keys.Stream())
	client.HSet(t.Context(), keys.Head(), "at", headWith(t, client, keys, func(at []uint64) { at[1] -= 240_000 }))
	publish(t, r, say("a", 9))
	if got := left(keys.Stream()); got < 240*time.Second {
		t.Errorf("a new stream lives for %v", got)
	}
}
