package backplane

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
)

// killFollowers breaks the connections over which everybody hears of what is
// published.
func killFollowers(t *testing.T, c *redis.Client) {
	t.Helper()
	if !withoutPubSub(t) {
		if err := c.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err(); err != nil {
			t.Fatalf("kill doorbell connections: %v", err)
		}
		return
	}
	killReaders(t, c)
}

// killReaders breaks the connections that read streams.
func killReaders(t *testing.T, c *redis.Client) {
	t.Helper()
	list, err := c.ClientList(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range testenv.Readers(list) {
		if err := c.ClientKillByFilter(t.Context(), "ID", id).Err(); err != nil {
			t.Fatalf("kill reader: %v", err)
		}
	}
}

// Doorbell connections that break while messages flow delay them, but lose,
// repeat or reorder none.
func TestDoorbell_killed_loses_nothing(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		a, b := process(t, url), process(t, url)
		client := newClient(t, url)
		n := newNode()
		subscribe(t, a, n)
		const total = 2000
		for i := range total {
			publish(t, b, say("p", i+1))
			if i%250 == 125 {
				killFollowers(t, client)
			}
		}
		got := n.waitEntries(t, total)
		inOrder(t, got)
		if len(got) != total || len(n.lost()) != 0 {
			t.Errorf("%d entries, losses %v", len(got), n.lost())
		}
		if a.Stats().Reconnects == 0 {
			t.Error("no connection was broken")
		}
	})
}

// deafen takes the hub's doorbell away behind the process's back.
func deafen(t *testing.T, r *Redis, client *redis.Client) {
	t.Helper()
	d := r.doorbell(hubID{tenant: tenant})
	if d.streams != nil {
		deafenReader(r)
		return
	}
	d.mu.Lock()
	err := d.conn.Unsubscribe(t.Context(), redisclient.Hub(tenant, hub).Doorbell())
	d.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "unsubscribed channel", func() bool {
		return len(client.PubSubChannels(background, "*bell*").Val()) == 0
	})
}

// deafenReader is deafen for a process without Pub/Sub.
func deafenReader(r *Redis) {
	r.doorbell(hubID{tenant: tenant}).streams.Unfollow(redisclient.Hub(tenant, hub).Stream())
}

// noSweep leaves repairs to what a test rings.
func noSweep(c *Config) { c.SweepEvery = time.Hour }

// What was rung while the connection was down is read when it is up again.
func TestDoorbell_back_reads_what_it_missed(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		p, front := newProxy(t, url)
		r, other := process(t, front, noSweep), process(t, url)
		n := newNode()
		subscribe(t, r, n)
		publish(t, other, say("p", 1))
		n.waitEntries(t, 1)
		p.refuse.Store(true)
		p.cut()
		for i := range 10 {
			publish(t, other, say("p", i+2))
		}
		p.refuse.Store(false)
		inOrder(t, n.waitEntries(t, 11))
		if len(n.lost()) != 0 || r.Stats().CatchUps == 0 {
			t.Errorf("losses %v, %+v", n.lost(), r.Stats())
		}
	})
}

// A doorbell that skips a number makes the stream be read, which has it.
func TestDoorbell_gap_is_read_from_the_stream(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		client := newClient(t, url)
		r := process(t, url, noSweep)
		n := newNode()
		subscribe(t, r, n)
		deafen(t, r, client)
		for i := range 4 {
			publish(t, r, say("p", i+1))
		}
		k := redisclient.Hub(tenant, hub)
		stream, err := client.XRange(t.Context(), k.Stream(), "-", "+").Result()
		if err != nil || len(stream) != 4 {
			t.Fatalf("%d entries in the stream, %v", len(stream), err)
		}
		ring := func(m redis.XMessage) {
			ms, number, _ := strings.Cut(m.ID, "-")
			r.doorbell(hubID{tenant: tenant}).ring(k.Doorbell(), fmt.Sprintf("E%s %s %s %s", m.Values["epoch"], number, ms, m.Values["entry"]))
		}
		ring(stream[0])
		n.waitEntries(t, 1)
		ring(stream[2])
		inOrder(t, n.waitEntries(t, 3))
		ring(stream[3])
		ring(stream[1]) // late
		ring(stream[3]) // and once more
		got := n.waitEntries(t, 4)
		inOrder(t, got)
		if len(got) != 4 || len(n.lost()) != 0 {
			t.Errorf("%d entries, losses %v", len(got), n.lost())
		}
	})
}

// A number that is given twice is noticed by its time, without a sweep.
func TestDoorbell_of_a_number_given_twice_is_a_loss(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		client := newClient(t, url)
		r := process(t, url, noSweep)
		n := newNode()
		subscribe(t, r, n)
		for i := range 5 {
			publish(t, r, say("kept", i+1))
		}
		last := n.waitEntries(t, 5)[4]
		k := redisclient.Hub(tenant, hub)
		var ms uint64
		if err := client.HSet(t.Context(), k.Head(), "at", headWith(t, client, k, func(at []uint64) { at[0], ms = 2, at[1] })).Err(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "later millisecond", func() bool {
			return client.Time(background).Val().UnixMilli() > int64(ms)
		})
		if at := publish(t, r, say("forked", 1)); at.Number != 3 || at.Epoch != last.Epoch {
			t.Fatalf("position %+v", at)
		}
		n.wait(t, "loss", func(_ []*hubs.Entry, g []hubs.Gap) bool { return len(g) == 1 })
		publish(t, r, say("forked", 2))
		n.wait(t, "entry", func(e []*hubs.Entry, _ []hubs.Gap) bool {
			return e[len(e)-1].Epoch != last.Epoch && e[len(e)-1].Number == 1
		})
	})
}

// A doorbell that never rings at all only delays.
func TestSweep_finds_what_no_doorbell_told(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		client := newClient(t, url)
		r := process(t, url)
		n := newNode()
		subscribe(t, r, n)
		publish(t, r, say("p", 1))
		n.waitEntries(t, 1)
		deafen(t, r, client)
		for i := range 10 {
			publish(t, r, say("p", i+2))
		}
		inOrder(t, n.waitEntries(t, 11))
	})
}

// For how long the oldest has waited that isn't carried out, until it is.
func TestLag_lasts_until_all_is_carried_out(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		r := process(t, newRedis(t))
		n, held := newNode(), make(chan struct{})
		n.hook = func(*hubs.Entry) { <-held }
		release := sync.OnceFunc(func() { close(held) })
		defer release()
		subscribe(t, r, n)
		eventually(t, "a node at rest", func() bool { return r.Lag() == Lag{} })
		publish(t, r, say("a", 1))
		publish(t, r, say("a", 2))
		eventually(t, "a lag while it is held", func() bool { return r.Lag().Oldest > 10*time.Millisecond })
		release()
		n.waitEntries(t, 2)
		eventually(t, "no lag", func() bool { return r.Lag() == Lag{} })
	})
}
