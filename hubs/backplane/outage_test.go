package backplane

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
)

func TestRedis_away_publishes_fail_fast(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		p, url := newProxy(t, newRedis(t))
		r := process(t, url)
		n := newNode()
		subscribe(t, r, n)
		publish(t, r, say("a", 1))
		p.refuse.Store(true)
		p.cut()
		h := r.Hub(tenant, hub, Settings{})
		_, err := h.Publish(t.Context(), say("a", 2), hubs.PublishOptions{})
		if !errors.Is(err, hubs.ErrUnavailable) {
			t.Errorf("while Redis is away: %v", err)
		}
		eventually(t, "open breaker", r.health.open)
		if _, err := h.Publish(t.Context(), say("a", 3), hubs.PublishOptions{}); !errors.Is(err, hubs.ErrUnavailable) || errors.Is(err, hubs.ErrOutcomeUnknown) {
			t.Errorf("breaker open: %v", err)
		}
		if _, err := h.Ask(t.Context(), hubs.Query{Kind: hubs.CountConnections}); !errors.Is(err, hubs.ErrUnavailable) {
			t.Errorf("ask: %v", err)
		}
		p.refuse.Store(false)
		eventually(t, "closed breaker", func() bool { return !r.health.open() })
		at := publish(t, r, say("a", 4))
		n.wait(t, "entry", func(e []*hubs.Entry, _ []hubs.Gap) bool { return len(e) > 0 && e[len(e)-1].Number == at.Number })
		inOrder(t, n.waitEntries(t, 1))
		if len(n.lost()) != 0 {
			t.Errorf("losses %v", n.lost())
		}
	})
}

// Connections break again and again while two publishers work: what was
// answered is there once and in order, what failed at most once.
func TestConnections_cut_keep_order_and_tell_the_truth(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		p, front := newProxy(t, url)
		r, watcher := process(t, front), process(t, url)
		n := newNode()
		subscribe(t, watcher, n)
		mine := newNode()
		subscribe(t, r, mine)

		stop := make(chan struct{})
		var cutter sync.WaitGroup
		cutter.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(30 * time.Millisecond):
					p.cut()
				}
			}
		})
		const each = 300
		outcomes := make([]map[int]error, 2)
		var wg sync.WaitGroup
		for w := range outcomes {
			outcomes[w] = make(map[int]error)
			wg.Go(func() {
				for i := 1; i <= each; i++ {
					_, outcomes[w][i] = r.Hub(tenant, hub, Settings{}).Publish(t.Context(), say(fmt.Sprint(w), i), hubs.PublishOptions{})
				}
			})
		}
		wg.Wait()
		close(stop)
		cutter.Wait()

		eventually(t, "closed breaker", func() bool { return !r.health.open() })
		end := publish(t, watcher, say("end", 1))
		for _, n := range []*node{n, mine} {
			n.wait(t, "end", func(e []*hubs.Entry, _ []hubs.Gap) bool { return len(e) > 0 && e[len(e)-1].Number == end.Number })
			got := n.waitEntries(t, 1)
			inOrder(t, got) // also: nothing twice
			there := make(map[string]bool)
			for _, e := range got {
				who, i := said(e)
				there[fmt.Sprint(who, "/", i)] = true
			}
			for w, all := range outcomes {
				for i, err := range all {
					present := there[fmt.Sprint(w, "/", i)]
					if err == nil && !present {
						t.Errorf("%d/%d was accepted and never came", w, i)
					}
					if err != nil && present && !errors.Is(err, hubs.ErrOutcomeUnknown) {
						t.Errorf("%d/%d failed (%v) and came", w, i, err)
					}
				}
			}
			if len(n.lost()) != 0 {
				t.Errorf("losses %v", n.lost())
			}
		}
	})
}

// The answer is lost on the way: the repeat finds out that the publish happened.
func TestAnswer_lost_is_asked_for_again(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		r := process(t, url)
		client := newClient(t, url)
		publish(t, r, say("a", 1))
		pub := r.publisher(hubID{tenant: tenant, hub: hub}, Settings{})
		data, _, err := encodeEntry(say("a", 2), address{}, false)
		if err != nil {
			t.Fatal(err)
		}
		k := redisclient.Hub(tenant, hub)
		send := func(seq uint64) string {
			t.Helper()
			s, err := publishScript.Eval(t.Context(), client, append(pub.fixed, pub.fixed[3]), hubID{}.newEpoch(), data, k.Doorbell(), seq,
				batchEntries, 180_000, 100_000, 1<<28, headLife.Milliseconds(), 1, "", 0, "", 0, userGroups).Text()
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		first, again := send(2), send(2)
		if first != again {
			t.Errorf("%q, then %q", first, again)
		}
		send(4)
		if s := send(3); s != "late" {
			t.Errorf("a straggler was answered %q", s)
		}
		if length := client.XLen(t.Context(), k.Stream()).Val(); length != 3 {
			t.Errorf("%d entries", length)
		}
	})
}

func TestRedis_silent_is_away(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		p, url := newProxy(t, newRedis(t))
		r := process(t, url)
		n := newNode()
		subscribe(t, r, n)
		publish(t, r, say("a", 1))
		n.waitEntries(t, 1)
		p.stall()
		_, err := r.Hub(tenant, hub, Settings{}).Publish(t.Context(), say("a", 2), hubs.PublishOptions{})
		if !errors.Is(err, hubs.ErrUnavailable) || !errors.Is(err, hubs.ErrOutcomeUnknown) {
			t.Errorf("while Redis is silent: %v", err)
		}
		p.resume()
		eventually(t, "closed breaker", func() bool { return !r.health.open() })
		at := publish(t, r, say("a", 3))
		n.wait(t, "entry", func(e []*hubs.Entry, _ []hubs.Gap) bool { return len(e) > 0 && e[len(e)-1].Number == at.Number })
		inOrder(t, n.waitEntries(t, 1))
	})
}

func TestScript_is_loaded_again_after_a_flush(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		r := process(t, url)
		publish(t, r, say("a", 1))
		if err := newClient(t, url).ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if at := publish(t, r, say("a", 2)); at.Number != 2 {
			t.Errorf("number %d", at.Number)
		}
	})
}

func TestClose_answers_whoever_waits(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		p, url := newProxy(t, newRedis(t))
		r := process(t, url)
		publish(t, r, say("a", 1))
		p.stall()
		failed := make(chan error, 1)
		go func() {
			_, err := r.Hub(tenant, hub, Settings{}).Publish(background, say("a", 2), hubs.PublishOptions{})
			failed <- err
		}()
		eventually(t, "publish under way", func() bool {
			pub := r.publisher(hubID{tenant: tenant, hub: hub}, Settings{})
			pub.mu.Lock()
			defer pub.mu.Unlock()
			return pub.running
		})
		r.Close()
		if err := <-failed; !errors.Is(err, hubs.ErrUnavailable) {
			t.Errorf("publish: %v", err)
		}
		if _, err := r.Hub(tenant, hub, Settings{}).Subscribe(t.Context(), newNode()); !errors.Is(err, hubs.ErrUnavailable) {
			t.Errorf("subscribe: %v", err)
		}
		r.Close()
	})
}

// Redis is full: a publish fails before anything of it is done.
func TestRedis_full_takes_nothing(t *testing.T) {
	inBothModes(t, func(t *testing.T) {
		url := newRedis(t)
		client := newClient(t, url)
		r := process(t, url)
		n := newNode()
		subscribe(t, r, n)
		publish(t, r, say("a", 1))
		full := func(bytes string) {
			t.Helper()
			if err := client.ConfigSet(t.Context(), "maxmemory", bytes).Err(); err != nil {
				t.Fatal(err)
			}
		}
		full("1")
		_, err := r.Hub(tenant, hub, Settings{}).Publish(t.Context(), say("a", 2), hubs.PublishOptions{Charge: 1, IdempotencyKey: "k"})
		if !errors.Is(err, hubs.ErrUnavailable) || errors.Is(err, hubs.ErrOutcomeUnknown) {
			t.Errorf("while Redis is full: %v", err)
		}
		full("0")
		at, err := r.Hub(tenant, hub, Settings{}).Publish(t.Context(), say("a", 3), hubs.PublishOptions{IdempotencyKey: "k"})
		if err != nil || at.Number != 2 || at.Duplicate {
			t.Errorf("after that: %+v, %v", at, err)
		}
		inOrder(t, n.waitEntries(t, 2))
	})
}
