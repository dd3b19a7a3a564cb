package backplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

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
		send := func(seq uint64, slot string) string {
			t.Helper()
			s, err := publishScript.Eval(t.Context(), client, pub.fixed[:4], pub.field, seq, data, k.Doorbell(), 1,
				hubID{}.newEpoch()+" "+pub.limits, slot).Text()
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		first, again := send(2, ""), send(2, "")
		if first != again {
			t.Errorf("%q, then %q", first, again)
		}
		send(4, "")
		if s := send(3, ""); s != "late" {
			t.Errorf("a straggler was answered %q", s)
		}
		// Of a round trip with several all can be asked for again, until others have their slots.
		sixth, seventh := send(6, "6"), send(7, "7")
		send(8, "")
		if again6, again7 := send(6, "6"), send(7, "7"); again6 != sixth || again7 != seventh || sixth == seventh {
			t.Errorf("%q and %q, then %q and %q", sixth, seventh, again6, again7)
		}
		send(70, "6")
		if s := send(6, "6"); s != "late" {
			t.Errorf("a straggler of several was answered %q", s)
		}
		last := send(71, "")
		accepted, err := parseAnswer(last)
		if err != nil {
			t.Fatal(err)
		}
		if length := client.XLen(t.Context(), k.Stream()).Val(); length != 8 {
			t.Errorf("%d entries", length)
		}
		// Neither the end of the epoch nor that of the stream has a repeat carried out anew.
		for what, end := range map[string]func() error{
			"epoch": func() error { return forkScript.Run(t.Context(), client, pub.fixed[:2], accepted.epoch).Err() },
			"stream": func() error {
				return sealStream.Run(t.Context(), client, []string{k.Head(), k.Accepted()}, headLife.Milliseconds()).Err()
			},
		} {
			if err := end(); err != nil {
				t.Fatal(err)
			}
			if again := send(71, ""); again != last {
				t.Errorf("after the end of its %s %q, then %q", what, last, again)
			}
		}
		if err := publishScript.Run(t.Context(), client, pub.fixed[:3], pub.field, 72, data, k.Doorbell(), 1, "e "+pub.limits).Err(); !redis.HasErrorPrefix(err, "SEALED") {
			t.Errorf("a publish to a sealed stream: %v", err)
		}
	})
}

// A head that the version before has written: its numbers go on, and its totals.
func TestPublish_goes_on_where_the_version_before_was(t *testing.T) {
	t.Parallel()
	url := newRedis(t)
	client := newClient(t, url)
	k := redisclient.Hub(tenant, hub)
	ms := client.Time(t.Context()).Val().UnixMilli()
	client.HSet(t.Context(), k.Head(), "epoch", "before", "number", 7, "ms", ms, "sum", 700)
	client.XAdd(t.Context(), &redis.XAddArgs{Stream: k.Stream(), ID: fmt.Sprintf("%d-7", ms), Values: []any{"epoch", "before", "entry", "x", "sum", 700}})
	minute := ms / 60_000
	for m := minute; m <= minute+1; m++ { // it may end meanwhile
		client.HSet(t.Context(), k.Accepted(), m, 20)
	}
	var total int64
	cfg := testConfig(t, newClient(t, url))
	cfg.OnAccepted = func(a Accepted) { total = a.Total }
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	n := newNode()
	subscribe(t, r, n)
	for i := range 2 {
		at, err := r.Hub(tenant, hub, Settings{}).Publish(t.Context(), say("a", i), hubs.PublishOptions{Charge: 1})
		if err != nil || at.Epoch != "before" || at.Number != uint64(8+i) {
			t.Fatalf("position %+v, %v", at, err)
		}
		if i == 0 && total != 21 {
			t.Errorf("total %d, want 21", total)
		}
	}
	if n.waitEntries(t, 2); len(n.lost()) != 0 {
		t.Errorf("losses %v", n.lost())
	}
	// Which that version's script can't go on with.
	if got := client.HGet(t.Context(), k.Head(), "number").Val(); got != closedNumber {
		t.Errorf("number %q", got)
	}
}

// What publishers were answered last takes no room in the head for long.
func TestPublish_forgets_publishers_that_rest(t *testing.T) {
	t.Parallel()
	url := newRedis(t)
	client, r := newClient(t, url), process(t, url)
	k := redisclient.Hub(tenant, hub)
	now := client.Time(t.Context()).Val()
	field := func(seq uint64, at time.Time) string {
		return string(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, seq), uint64(at.UnixMilli())))
	}
	for i := range 40 {
		client.HSet(t.Context(), k.Head(), fmt.Sprintf(".old%d", i), field(1, now.Add(-21*time.Minute)))
	}
	client.HSet(t.Context(), k.Head(), ".other", field(1, now))
	for i := range 64 {
		publish(t, r, say("a", i))
	}
	fields, err := client.HKeys(t.Context(), k.Head()).Result()
	slices.Sort(fields)
	if want := []string{".other", "." + r.run, "at", "epoch", "ms", "number"}; err != nil || !slices.Equal(fields, want) {
		t.Errorf("the head has %q, want %q (%v)", fields, want, err)
	}
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
