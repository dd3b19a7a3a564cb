package backplane

import (
	"errors"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
)

// without makes a process that does without Pub/Sub.
func without(c *Config) { c.StreamsOnly = true }

// A question is answered behind all that was accepted before it, although it takes
// another way than entries.
func TestAsk_without_PubSub_is_behind_what_was_accepted(t *testing.T) {
	url := newRedis(t)
	client := newClient(t, url)
	a, b := process(t, url, without, noSweep), process(t, url, without, noSweep)
	n := newNode()
	subscribe(t, a, n)
	publish(t, b, say("p", 1))
	n.waitEntries(t, 1)
	deafenReader(a)
	const total = 20
	for i := 1; i < total; i++ {
		publish(t, b, say("p", i+1))
	}
	seen := 0
	n.list = func() hubs.Page {
		n.mu.Lock()
		defer n.mu.Unlock()
		seen = len(n.entries)
		return hubs.Page{}
	}
	if _, err := b.Hub(tenant, hub, Settings{}).List(t.Context(), hubs.ListQuery{Kind: hubs.ListConnections, Limit: 1}); err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if seen != total || a.Stats().CatchUps == 0 {
		t.Errorf("answered behind %d of %d entries, %d catch-ups", seen, total, a.Stats().CatchUps)
	}
	if channels := client.PubSubChannels(t.Context(), "*").Val(); len(channels) != 0 {
		t.Errorf("somebody listens to %q", channels)
	}
}

// What comes while an inbox isn't read is read later.
func TestInbox_outlives_its_reader(t *testing.T) {
	url := newRedis(t)
	client := newClient(t, url)
	patient := func(c *Config) { c.AnswerPatience = patience }
	a, b := process(t, url, without, patient), process(t, url, without, patient)
	subscribe(t, a, newNode())
	for range 4 {
		killReaders(t, client)
		if got, err := b.Hub(tenant, hub, Settings{}).Ask(t.Context(), hubs.Query{Kind: hubs.CountConnections}); got != 1 || err != nil {
			t.Fatalf("%d, %v", got, err)
		}
	}
}

// A process that others have taken for dead, since its inbox was lost, makes it
// again and is asked again; one that is dead is forgotten and not waited for.
func TestInbox_lost_is_made_again(t *testing.T) {
	t.Parallel()
	url := newRedis(t)
	client := newClient(t, url)
	a, b := process(t, url, without), process(t, url, without)
	n := newNode()
	subscribe(t, a, n)
	edges := redisclient.Hub(tenant, hub).Edges()
	if err := errors.Join(client.Del(t.Context(), a.inbox.key, edges).Err(), client.SAdd(t.Context(), edges, "dead").Err()); err != nil {
		t.Fatal(err)
	}
	count := func() (int, error) {
		return b.Hub(tenant, hub, Settings{}).Ask(t.Context(), hubs.Query{Kind: hubs.CountConnections})
	}
	eventually(t, "answer of who was taken for dead", func() bool {
		got, err := count()
		return got == 1 && err == nil
	})
	if left := client.SMembers(t.Context(), edges).Val(); len(left) != 1 || left[0] != a.run {
		t.Errorf("edges %q", left)
	}
	// Redis has lost who follows the hub: one who does so itself says it doesn't know.
	subscribe(t, b, newNode())
	if err := client.Del(t.Context(), edges).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := count(); !errors.Is(err, hubs.ErrUnanswered) {
		t.Errorf("edges unknown: %d, %v", got, err)
	}
	// An edge that lives by its lease but can't be asked isn't passed over.
	c := process(t, url, without, func(c *Config) { c.AnswerPatience = shortPatience })
	if err := errors.Join(client.SAdd(t.Context(), edges, "deaf").Err(), client.HSet(t.Context(), redisclient.EdgeLease("deaf"), "addr", "-").Err()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Hub(tenant, hub, Settings{}).Ask(t.Context(), hubs.Query{Kind: hubs.CountConnections}); !errors.Is(err, hubs.ErrUnanswered) {
		t.Errorf("an edge is deaf: %v", err)
	}
}

// What was read doesn't stay, and a process that ends takes its inbox along.
func TestInbox_is_emptied(t *testing.T) {
	url := newRedis(t)
	client := newClient(t, url)
	a := process(t, url, without)
	subscribe(t, a, newNode())
	h := a.Hub(tenant, hub, Settings{})
	for range readMessages {
		if got, err := h.Ask(t.Context(), hubs.Query{Kind: hubs.CountConnections}); got != 1 || err != nil {
			t.Fatalf("%d, %v", got, err)
		}
	}
	eventually(t, "inbox with one message", func() bool { return client.XLen(background, a.inbox.key).Val() == 1 })
	a.Close()
	if n := client.Exists(t.Context(), a.inbox.key).Val(); n != 0 {
		t.Error("the inbox outlives its process")
	}
}
