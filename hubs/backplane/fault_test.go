package backplane

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
)

// killPubSub breaks the Pub/Sub connections of everybody.
func killPubSub(t *testing.T, c *redis.Client) {
	t.Helper()
	if err := c.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err(); err != nil {
		t.Fatalf("kill doorbell connections: %v", err)
	}
}

// Doorbell connections that break while messages flow delay them, but lose,
// repeat or reorder none.
func TestDoorbell_killed_loses_nothing(t *testing.T) {
	url := newRedis(t)
	a, b := process(t, url), process(t, url)
	client := newClient(t, url)
	n := newNode()
	subscribe(t, a, n)
	const total = 2000
	for i := range total {
		publish(t, b, say("p", i+1))
		if i%250 == 125 {
			killPubSub(t, client)
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
}

// deafen takes the hub's doorbell away behind the process's back.
func deafen(t *testing.T, r *Redis, client *redis.Client) {
	t.Helper()
	d := r.doorbell(tenant)
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

// noSweep leaves repairs to what a test rings.
func noSweep(c *Config) { c.SweepEvery = time.Hour }

// What was rung while the connection was down is read when it is up again.
func TestDoorbell_back_reads_what_it_missed(t *testing.T) {
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
}

// A doorbell that skips a number makes the stream be read, which has it.
func TestDoorbell_gap_is_read_from_the_stream(t *testing.T) {
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
		r.doorbell(tenant).ring(k.Doorbell(), fmt.Sprintf("E%s %s %s %s", m.Values["epoch"], number, ms, m.Values["entry"]))
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
}

// A number that is given twice is noticed by its time, without a sweep.
func TestDoorbell_of_a_number_given_twice_is_a_loss(t *testing.T) {
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
	if err := client.HSet(t.Context(), k.Head(), "number", 2).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "later millisecond", func() bool {
		now := client.Time(background).Val().UnixMilli()
		ms, _ := client.HGet(background, k.Head(), "ms").Int64()
		return now > ms
	})
	if at := publish(t, r, say("forked", 1)); at.Number != 3 || at.Epoch != last.Epoch {
		t.Fatalf("position %+v", at)
	}
	n.wait(t, "loss", func(_ []*hubs.Entry, g []hubs.Gap) bool { return len(g) == 1 })
	publish(t, r, say("forked", 2))
	n.wait(t, "entry", func(e []*hubs.Entry, _ []hubs.Gap) bool { return e[len(e)-1].Number == 4 })
}

// What a new epoch's stream has lost already goes with the one report.
func TestEpoch_change_is_told_once(t *testing.T) {
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
		data, _, err := encodeEntry(say("new", i+1), address{})
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
}

// A doorbell that never rings at all only delays.
func TestSweep_finds_what_no_doorbell_told(t *testing.T) {
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
}

func TestTrimmed_past_a_reader_is_told_once(t *testing.T) {
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
}

func TestStream_gone_is_a_loss(t *testing.T) {
	url := newRedis(t)
	client := newClient(t, url)
	r := process(t, url)
	n := newNode()
	subscribe(t, r, n)
	deafen(t, r, client)
	pipe := client.TxPipeline() // no sweep comes between
	publishScript.Load(t.Context(), client)
	for i := range 3 {
		data, _, err := encodeEntry(say("p", i), address{})
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
	if g := n.lost()[0]; g != (hubs.Gap{Reason: "trimmed", From: 1, To: 3}) {
		t.Errorf("gap %+v", g)
	}
}

// script publishes raw bytes the way a publisher would.
func script(c redis.Scripter, data []byte, seq uint64) *redis.Cmd {
	k := redisclient.Hub(tenant, hub)
	return publishScript.EvalSha(background, c, []string{k.Head(), k.Stream(), k.Accepted(), k.Publisher("raw"), k.Publisher("raw")},
		newEpoch(), data, k.Doorbell(), seq, batchEntries, 180_000, 100_000, 1<<28, headLife.Milliseconds(), 0, "", 0, "", 0, userGroups)
}

func TestRedis_emptied_begins_a_new_epoch(t *testing.T) {
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
}

// Redis emptied and nobody publishes: the nodes learn it all the same, once.
func TestRedis_emptied_is_noticed_at_rest(t *testing.T) {
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
}

// A replica that lacked the newest entries took over: numbers are given twice.
func TestRedis_went_back_is_a_loss(t *testing.T) {
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
	pipe.HSet(t.Context(), k.Head(), "number", 3)
	pipe.XTrimMaxLen(t.Context(), k.Stream(), 0)
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.wait(t, "loss", func(_ []*hubs.Entry, g []hubs.Gap) bool { return len(g) == 1 })
	publish(t, r, say("forked", 1))
	got := n.waitEntries(t, 6)
	if who, _ := said(got[5]); who != "forked" || got[5].Number != 4 || len(n.lost()) != 1 {
		t.Errorf("last is %s %d, losses %v", who, got[5].Number, n.lost())
	}
}

func TestPoison_is_passed_over(t *testing.T) {
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
}

func TestRedis_away_publishes_fail_fast(t *testing.T) {
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
}

// Connections break again and again while two publishers work: what was
// answered is there once and in order, what failed at most once.
func TestConnections_cut_keep_order_and_tell_the_truth(t *testing.T) {
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
}

// The answer is lost on the way: the repeat finds out that the publish happened.
func TestAnswer_lost_is_asked_for_again(t *testing.T) {
	url := newRedis(t)
	r := process(t, url)
	client := newClient(t, url)
	publish(t, r, say("a", 1))
	pub := r.publisher(hubID{tenant, hub}, Settings{})
	data, _, err := encodeEntry(say("a", 2), address{})
	if err != nil {
		t.Fatal(err)
	}
	k := redisclient.Hub(tenant, hub)
	send := func(seq uint64) string {
		t.Helper()
		s, err := publishScript.Eval(t.Context(), client, append(pub.fixed, pub.fixed[3]), newEpoch(), data, k.Doorbell(), seq,
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
}

func TestRedis_started_anew_without_data(t *testing.T) {
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
}

func TestRedis_silent_is_away(t *testing.T) {
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
}

func TestScript_is_loaded_again_after_a_flush(t *testing.T) {
	url := newRedis(t)
	r := process(t, url)
	publish(t, r, say("a", 1))
	if err := newClient(t, url).ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if at := publish(t, r, say("a", 2)); at.Number != 2 {
		t.Errorf("number %d", at.Number)
	}
}

func TestClose_answers_whoever_waits(t *testing.T) {
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
		pub := r.publisher(hubID{tenant, hub}, Settings{})
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
}

// Redis is full: a publish fails before anything of it is done.
func TestRedis_full_takes_nothing(t *testing.T) {
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
}

// A stream is bounded in count beside its retention.
func TestStream_is_bounded(t *testing.T) {
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
}
