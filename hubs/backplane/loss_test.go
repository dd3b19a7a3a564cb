package backplane

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
)

// What a new epoch's stream has lost already goes with the one report.
func TestEpoch_change_is_told_once(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		client := newClient(t, url)
		r := process(t, url)
		n := newNode()
		subscribe(t, r, n)
		publish(t, r, say("old", 1))
		n.waitEntries(t, 1)
		deafen(t, r, client)
		pipe := client.TxPipeline() // no sweep comes between
		pipe.FlushAll(t.Context())
		for i := range 3 {
			data, _, err := encodeEntry(say("new", i+1), address{}, false)
			if err != nil {
				t.Fatal(err)
			}
			script(pipe, data, uint64(i+1))
		}
		pipe.XTrimMaxLen(t.Context(), redisclient.Hub(tenant, hub).Stream(), 1)
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := n.waitEntries(t, 2)
		if who, i := said(got[1]); who != "new" || i != 3 {
			t.Errorf("%s %d", who, i)
		}
		if gaps := n.lost(); len(gaps) != 1 || gaps[0].Reason != "epoch" {
			t.Errorf("losses %v", gaps)
		}
	})
}

func TestTrimmed_past_a_reader_is_told_once(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		client := newClient(t, url)
		a, b := process(t, url), process(t, url)
		n, healthy := newNode(), newNode()
		block := make(chan struct{})
		n.hook = func(e *hubs.Entry) {
			if e.Number == 1 {
				<-block
			}
		}
		subscribe(t, a, n)
		subscribe(t, b, healthy)
		// While the reader hangs in entry 1, more comes than its inbox holds, and the
		// stream loses the oldest of it.
		const total = inboxEntries + 500
		for i := range total {
			publish(t, b, say("p", i+1))
		}
		healthy.waitEntries(t, total)
		if err := client.XTrimMaxLen(t.Context(), redisclient.Hub(tenant, hub).Stream(), 100).Err(); err != nil {
			t.Fatal(err)
		}
		close(block)
		n.wait(t, "last entry", func(e []*hubs.Entry, _ []hubs.Gap) bool { return len(e) > 0 && e[len(e)-1].Number == total })
		publish(t, b, say("p", total+1))
		n.wait(t, "live entry", func(e []*hubs.Entry, _ []hubs.Gap) bool { return e[len(e)-1].Number == total+1 })
		gaps := n.lost()
		missing := uint64(0)
		for _, g := range gaps {
			if g.Reason != "trimmed" {
				t.Errorf("gap %+v", g)
			}
			missing += g.To - g.From + 1
		}
		if len(gaps) != 1 || missing+uint64(len(n.entries)) != total+1 || a.Stats().Missing != missing {
			t.Errorf("gaps %v, %d entries, counted %d", gaps, len(n.entries), a.Stats().Missing)
		}
		if len(healthy.lost()) != 0 {
			t.Errorf("the other process lost %v", healthy.lost())
		}
	})
}

func TestStream_gone_is_a_loss(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		client := newClient(t, url)
		r := process(t, url)
		n := newNode()
		subscribe(t, r, n)
		deafen(t, r, client)
		pipe := client.TxPipeline() // no sweep comes between
		publishScript.Load(t.Context(), client)
		for i := range 3 {
			data, _, err := encodeEntry(say("p", i), address{}, false)
			if err != nil {
				t.Fatal(err)
			}
			script(pipe, data, uint64(i+1))
		}
		pipe.Del(t.Context(), redisclient.Hub(tenant, hub).Stream())
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.wait(t, "loss", func(_ []*hubs.Entry, g []hubs.Gap) bool { return len(g) == 1 })
		if g := n.lost()[0]; g.Reason != "trimmed" || g.From != 1 || g.To != 3 || g.Next.Number != 3 {
			t.Errorf("gap %+v", g)
		}
	})
}

// script publishes raw bytes the way a publisher would.
func script(c redis.Scripter, data []byte, seq uint64) *redis.Cmd {
	k := redisclient.Hub(tenant, hub)
	return publishScript.EvalSha(background, c, []string{k.Head(), k.Stream(), k.Accepted()},
		".raw", seq, data, k.Doorbell(), 0, hubID{}.newEpoch()+fmt.Sprintf(" %d %d %d %d", 180_000, 100_000, 1<<28, headLife.Milliseconds()))
}

func TestRedis_emptied_begins_a_new_epoch(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		client := newClient(t, url)
		a, b := process(t, url), process(t, url)
		nodeA, nodeB := newNode(), newNode()
		subscribe(t, a, nodeA)
		subscribe(t, b, nodeB)
		for i := range 5 {
			publish(t, a, say("old", i+1))
		}
		nodeA.waitEntries(t, 5)
		nodeB.waitEntries(t, 5)
		if err := client.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		first := publish(t, a, say("new", 1))
		if first.Number != 1 {
			t.Errorf("the new epoch begins with %d", first.Number)
		}
		publish(t, b, say("new", 2))
		for _, n := range []*node{nodeA, nodeB} {
			got := n.waitEntries(t, 7)
			inOrder(t, got)
			if gaps := n.lost(); len(got) != 7 || len(gaps) != 1 || gaps[0].Reason != "epoch" {
				t.Errorf("%d entries, losses %v", len(got), gaps)
			}
		}
	})
}

// Redis emptied and nobody publishes: the nodes learn it all the same, once.
func TestRedis_emptied_is_noticed_at_rest(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		client := newClient(t, url)
		r := process(t, url)
		n := newNode()
		subscribe(t, r, n)
		publish(t, r, say("old", 1))
		n.waitEntries(t, 1)
		if err := client.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		n.wait(t, "loss", func(_ []*hubs.Entry, g []hubs.Gap) bool { return len(g) == 1 })
		publish(t, r, say("new", 1))
		n.waitEntries(t, 2)
		if gaps := n.lost(); len(gaps) != 1 {
			t.Errorf("losses %v", gaps)
		}
	})
}

// A replica that lacked the newest entries took over: numbers are given twice.
func TestRedis_went_back_is_a_loss(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		client := newClient(t, url)
		r := process(t, url)
		n := newNode()
		subscribe(t, r, n)
		for i := range 5 {
			publish(t, r, say("kept", i+1))
		}
		n.waitEntries(t, 5)
		k := redisclient.Hub(tenant, hub)
		pipe := client.TxPipeline()
		pipe.HSet(t.Context(), k.Head(), "at", headWith(t, client, k, func(at []uint64) { at[0] = 3 }))
		pipe.XTrimMaxLen(t.Context(), k.Stream(), 0)
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.wait(t, "loss", func(_ []*hubs.Entry, g []hubs.Gap) bool { return len(g) == 1 })
		publish(t, r, say("forked", 1))
		got := n.waitEntries(t, 6)
		// Positions of the lost history must not be taken for those of the new one.
		if who, _ := said(got[5]); who != "forked" || got[5].Number != 1 || got[5].Epoch == got[4].Epoch || len(n.lost()) != 1 {
			t.Errorf("last is %s %d, losses %v", who, got[5].Number, n.lost())
		}
	})
}

func TestPoison_is_passed_over(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		client := newClient(t, url)
		r := process(t, url)
		n := newNode()
		n.hook = func(e *hubs.Entry) {
			if who, _ := said(e); who == "panic" {
				panic("poison")
			}
		}
		subscribe(t, r, n)
		publish(t, r, say("a", 1))
		if err := publishScript.Load(t.Context(), client).Err(); err != nil {
			t.Fatal(err)
		}
		bad := [][]byte{nil, []byte("random"), {0x9d, 9}, {0xdd, 0x7f, 0xff, 0xff, 0xff}, []byte(strings.Repeat("x", 10<<20))}
		for i, data := range bad {
			if err := script(client, data, uint64(i+1)).Err(); err != nil {
				t.Fatal(err)
			}
		}
		// And one that didn't come from the script at all.
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: redisclient.Hub(tenant, hub).Stream(), Values: []string{"what", "ever"}}).Err(); err != nil {
			t.Fatal(err)
		}
		publish(t, r, say("panic", 1))
		last := publish(t, r, say("a", 2))
		n.waitEntries(t, 2)
		if want := uint64(len(bad) + 3); last.Number != want {
			t.Errorf("number %d, want %d", last.Number, want)
		}
		if got := r.Stats().Poison; got < uint64(len(bad)+1) || len(n.lost()) != 0 {
			t.Errorf("%d counted, losses %v", got, n.lost())
		}
	})
}

func TestRedis_started_anew_without_data(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		old, next := newRedis(t), newRedis(t)
		p, url := newProxy(t, old)
		other, err := redis.ParseURL(next)
		if err != nil {
			t.Fatal(err)
		}
		oldOptions, err := redis.ParseURL(old)
		if err != nil {
			t.Fatal(err)
		}
		r := process(t, url)
		n := newNode()
		subscribe(t, r, n)
		for i := range 3 {
			publish(t, r, say("old", i+1))
		}
		n.waitEntries(t, 3)
		c := newClient(t, next)
		if oldOptions.Password != "" { // both answer to the password in the URL
			if err := c.ConfigSet(t.Context(), "requirepass", oldOptions.Password).Err(); err != nil {
				t.Fatal(err)
			}
		}
		p.target.Store(&other.Addr)
		p.cut()
		eventually(t, "publish", func() bool {
			ctx, cancel := context.WithTimeout(background, patience)
			defer cancel()
			_, err := r.Hub(tenant, hub, Settings{}).Publish(ctx, say("new", 1), hubs.PublishOptions{})
			return err == nil
		})
		n.waitEntries(t, 4)
		if gaps := n.lost(); len(gaps) != 1 || gaps[0].Reason != "epoch" {
			t.Errorf("losses %v", gaps)
		}
	})
}

// A stream is bounded in count beside its retention.
func TestStream_is_bounded(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		client := newClient(t, url)
		for name, change := range map[string]func(*Config){
			"entries": func(c *Config) { c.StreamEntries = 200 },
			"bytes":   func(c *Config) { c.StreamBytes = 10_000 },
		} {
			r := process(t, url, change)
			var wg sync.WaitGroup
			h := r.Hub(tenant, name, Settings{})
			for i := range 1024 {
				wg.Go(func() {
					if _, err := h.Publish(t.Context(), say("a", i), hubs.PublishOptions{}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			// Redis trims whole blocks of 100 entries, and only now and then.
			if length := client.XLen(t.Context(), redisclient.Hub(tenant, name).Stream()).Val(); length < 100 || length > 600 {
				t.Errorf("bound by %s: %d entries", name, length)
			}
		}
	})
}

// An entry that no publish can follow, since its id lies in the far future, doesn't
// stop the hub: it begins anew, and its nodes are told.
func TestFuture_entry_does_not_stop_the_hub(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		client := newClient(t, url)
		r := process(t, url)
		n := newNode()
		subscribe(t, r, n)
		publish(t, r, say("before", 1))
		n.waitEntries(t, 1)
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: redisclient.Hub(tenant, hub).Stream(), ID: "99999999999999-0", Values: []any{"from", "the future"}}).Err(); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if at := publish(t, r, say("behind", i+1)); at.Number != uint64(i+1) {
				t.Errorf("publish %d has number %d", i+1, at.Number)
			}
		}
		n.wait(t, "the entries behind it", func(e []*hubs.Entry, _ []hubs.Gap) bool { return len(e) == 4 })
		if gaps := n.lost(); len(gaps) != 1 || gaps[0].Reason != "epoch" {
			t.Errorf("losses %v", gaps)
		}
	})
}
