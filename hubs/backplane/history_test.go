package backplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
)

// to is a message to a group.
func to(group string, i int) *hubs.Entry {
	return &hubs.Entry{Kind: hubs.SendToGroups, Groups: []string{group}, Message: &hubs.Broadcast{
		Target: "say", Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: fmt.Appendf(nil, `[%q,%d]`, group, i)},
	}}
}

// all reads every page of q.
func all(t testing.TB, h hubs.Historian, q hubs.HistoryQuery) (entries []*hubs.Entry, err error) {
	t.Helper()
	q.Accepted = true
	_, err = hubs.EachPage(context.Background(), h, q, func(page *hubs.HistoryPage) bool {
		entries = append(entries, page.Entries...)
		return true
	})
	return entries, err
}

// What a command costs Redis is what it reports itself.
func commandCalls(t testing.TB, c *redis.Client, commands ...string) int {
	t.Helper()
	info, err := c.Info(context.Background(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for line := range strings.Lines(info) {
		name, rest, _ := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		for _, command := range commands {
			if name == command {
				calls, _, _ := strings.Cut(rest, ",")
				n, err := strconv.Atoi(calls)
				if err != nil {
					t.Fatal(err)
				}
				sum += n
			}
		}
	}
	return sum
}

func TestHistory_trimmed_is_gone_with_what_is_left(t *testing.T) {
	url := newRedis(t)
	client := newClient(t, url)
	r := process(t, url)
	h := r.Hub(tenant, hub, Settings{GroupIndex: true}).(hubs.Historian)
	var at []hubs.Position
	for i := range 300 {
		p, err := h.(hubs.Backplane).Publish(t.Context(), to([]string{"busy", "quiet"}[i/299], i), hubs.PublishOptions{})
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, p)
	}
	if err := client.XTrimMaxLen(t.Context(), redisclient.Hub(tenant, hub).Stream(), 50).Err(); err != nil {
		t.Fatal(err)
	}
	for _, s := range []hubs.Selection{{Every: true}, {Groups: []string{"busy"}}, {Groups: []string{"quiet"}}} {
		_, err := all(t, h, hubs.HistoryQuery{Select: s, After: &at[100], Limit: 100})
		var gone *hubs.HistoryGoneError
		if !errors.As(err, &gone) || gone.After != at[100] || gone.To != at[249] {
			t.Errorf("%+v: %v", s, err)
			continue
		}
		left, err := all(t, h, hubs.HistoryQuery{Select: s, After: &gone.To, Limit: 7})
		want := map[string]int{"busy": 49, "quiet": 1}[strings.Join(s.Groups, "")]
		if s.Every {
			want = 50
		}
		if err != nil || len(left) != want {
			t.Errorf("%+v: %d left, want %d: %v", s, len(left), want, err)
		}
		// The newest don't miss what is gone.
		newest, err := all(t, h, hubs.HistoryQuery{Select: s, Newest: true, Limit: 100})
		if err != nil || len(newest) != want || newest[0].Number != left[len(left)-1].Number {
			t.Errorf("%+v: newest %d: %v", s, len(newest), err)
		}
	}
}

// A group of 20 messages in a hub of 20,000 costs Redis what 20 messages cost.
func TestHistory_of_a_quiet_group_costs_what_it_has(t *testing.T) {
	url := newRedis(t)
	client := newClient(t, url)
	r := process(t, url)
	indexed := r.Hub(tenant, hub, Settings{GroupIndex: true})
	const total, every = 20_000, 1_000
	var first hubs.Position
	var wg sync.WaitGroup
	slots := make(chan struct{}, 256)
	for i := range total {
		if i == 1 {
			wg.Wait()
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			group := "busy"
			if i%every == 0 {
				group = "quiet"
			}
			at, err := indexed.Publish(t.Context(), to(group, i), hubs.PublishOptions{})
			if err != nil {
				t.Error(err)
			}
			if i == 0 {
				first = at
			}
		})
	}
	wg.Wait()
	cost := func(s hubs.Selection) (entries, reads int) {
		before := commandCalls(t, client, "xrange", "xrevrange")
		got, err := all(t, indexed.(hubs.Historian), hubs.HistoryQuery{Select: s, After: &first, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		return len(got), commandCalls(t, client, "xrange", "xrevrange") - before
	}
	entries, reads := cost(hubs.Selection{Groups: []string{"quiet"}})
	if entries != total/every-1 || reads > 150 {
		t.Errorf("%d entries for %d reads of streams", entries, reads)
	}
	// The same without the index looks at all of it.
	scanned, all := cost(hubs.Selection{Groups: []string{"quiet"}, All: true})
	if scanned != entries || all < total/16 {
		t.Errorf("%d entries for %d reads of streams", scanned, all)
	}
	t.Logf("with the index %d reads, without %d", reads, all)
}

// The index counts only from where it is kept without a break.
func TestHistory_index_switched_off_and_on_misses_nothing(t *testing.T) {
	r := process(t, newRedis(t))
	settings := Settings{GroupIndex: true}
	h := r.HubWith(tenant, hub, func() Settings { return settings })
	var first hubs.Position
	for i := range 30 {
		settings.GroupIndex = i/10 != 1
		at, err := h.Publish(t.Context(), to("g", i), hubs.PublishOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = at
		}
	}
	got, err := all(t, h.(hubs.Historian), hubs.HistoryQuery{Select: hubs.Selection{Groups: []string{"g"}}, After: &first, Limit: 8})
	if err != nil || len(got) != 29 {
		t.Errorf("%d of 29: %v", len(got), err)
	}
	newest, err := all(t, h.(hubs.Historian), hubs.HistoryQuery{Select: hubs.Selection{Groups: []string{"g"}}, Newest: true, Limit: 8})
	if err != nil || len(newest) != 30 {
		t.Errorf("%d of 30, newest first: %v", len(newest), err)
	}
}

// A hub that begins anew with a clock that was ahead before leaves no index behind.
func TestHistory_index_of_an_epoch_whose_clock_was_ahead(t *testing.T) {
	url := newRedis(t)
	client := newClient(t, url)
	r := process(t, url)
	h := r.Hub(tenant, hub, Settings{GroupIndex: true})
	k := redisclient.Hub(tenant, hub)
	if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: k.GroupIndex("g"), ID: "99999999999999-5", Values: []string{"n", ""}}).Err(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := h.Publish(t.Context(), to("g", i), hubs.PublishOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := all(t, h.(hubs.Historian), hubs.HistoryQuery{Select: hubs.Selection{Groups: []string{"g"}}, Limit: 8})
	if err != nil || len(got) != 3 {
		t.Errorf("%d of 3: %v", len(got), err)
	}
}

// A thousand clients that come back together are answered from memory: Redis is
// read once, for what came before this process followed the hub.
func TestHistory_storm_is_answered_from_memory(t *testing.T) {
	url := newRedis(t)
	client := newClient(t, url)
	a, b := process(t, url), process(t, url)
	for i := range 200 {
		publish(t, a, say("p", i+1))
	}
	n := newNode()
	subscribe(t, b, n)
	for i := range 100 {
		publish(t, a, say("p", 201+i))
	}
	n.waitEntries(t, 100)
	after := hubs.Position{Epoch: n.entries[0].Epoch, Number: 150}
	before := commandCalls(t, client, "evalsha", "eval", "xrange", "xrevrange")
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			page, err := b.Hub(tenant, hub, Settings{}).(hubs.Historian).History(t.Context(), hubs.HistoryQuery{Select: hubs.Selection{All: true}, After: &after, Limit: 1000})
			if err != nil || len(page.Entries) != 150 {
				t.Errorf("%d entries: %v", len(page.Entries), err)
			}
		})
	}
	wg.Wait()
	if reads := commandCalls(t, client, "evalsha", "eval") - before; reads > 3 {
		t.Errorf("Redis was asked %d times", reads)
	}
	if s := b.Stats(); s.Recalled != 1000 || s.HistoryReads != 0 {
		t.Errorf("recalled %d, read %d", s.Recalled, s.HistoryReads)
	}
}

// What is in memory is bounded, and given back when the last node leaves.
func TestWindow_is_bounded(t *testing.T) {
	r := process(t, newRedis(t))
	n := newNode()
	leave := subscribe(t, r, n)
	for i := range windowEntries + 300 {
		publish(t, r, say("p", i+1))
	}
	n.waitEntries(t, windowEntries+300)
	f := r.feed(hubID{tenant: tenant, hub: hub})
	f.mu.Lock()
	entries, bytes := len(f.window.entries), f.window.bytes
	f.mu.Unlock()
	if entries != windowEntries || int64(bytes) != r.windows.total() || bytes > windowBytes {
		t.Errorf("%d entries of %d bytes, all: %d", entries, bytes, r.windows.total())
	}
	large := say("large", 1)
	large.Message.Arguments.Bytes = []byte(`["large",1,"` + strings.Repeat("x", 200<<10) + `"]`)
	publish(t, r, large)
	publish(t, r, large)
	n.waitEntries(t, windowEntries+302)
	if r.windows.total() > windowBytes {
		t.Errorf("%d bytes", r.windows.total())
	}
	leave()
	if r.windows.total() != 0 {
		t.Errorf("%d bytes are left", r.windows.total())
	}
}

// BenchmarkHistory reads the newest 100 of a hub, from memory and from Redis.
func BenchmarkHistory(b *testing.B) {
	client, err := redisclient.New(testenv.Redis(b), "bench")
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	r, err := New(Config{Redis: client, EdgeRun: "bench", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	h := r.Hub(tenant, hub, Settings{})
	var last hubs.Position
	n := newNode()
	leave, err := h.Subscribe(b.Context(), n)
	if err != nil {
		b.Fatal(err)
	}
	for i := range 900 {
		if last, err = h.Publish(b.Context(), say("p", i), hubs.PublishOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	after := hubs.Position{Epoch: last.Epoch, Number: last.Number - 100}
	read := func(b *testing.B) {
		before := redisCPU(b, client)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				page, err := h.(hubs.Historian).History(context.Background(), hubs.HistoryQuery{Select: hubs.Selection{All: true}, After: &after, Limit: 200})
				if err != nil || len(page.Entries) != 100 {
					b.Error(len(page.Entries), err)
				}
			}
		})
		b.ReportMetric((redisCPU(b, client)-before)*1e6/float64(b.N), "redis-us/op")
	}
	b.Run("memory", read)
	leave()
	b.Run("redis", read)
}

// The bytes of all of a tenant's streams are known as a sum over its hubs, and
// bounded: the hub that publishes gives way, another tenant's doesn't.
func TestSizes_of_a_tenant_are_known_and_bounded(t *testing.T) {
	url := newRedis(t)
	client := newClient(t, url)
	r := process(t, url)
	const limit = 1 << 20
	fill := func(hub string, count int) {
		h := r.Hub(tenant, hub, Settings{TenantBytes: limit})
		for i := range count {
			e := say("p", i)
			e.Message.Arguments.Bytes = fmt.Appendf(nil, `["p",%d,%q]`, i, strings.Repeat("x", 4000))
			if _, err := h.Publish(t.Context(), e, hubs.PublishOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	known := func() int64 {
		bytes, err := StreamBytes(t.Context(), client, tenant)
		if err != nil {
			t.Fatal(err)
		}
		return bytes
	}
	length := func(hub string) int64 { return client.XLen(t.Context(), redisclient.Hub(tenant, hub).Stream()).Val() }
	fill("first", 192)
	eventually(t, "size of the first hub", func() bool { return known() > 192*4000 })
	if length("first") != 192 {
		t.Errorf("%d entries", length("first"))
	}
	fill("second", 640)
	eventually(t, "sum within the limit", func() bool {
		fill("second", 64)
		return known() > 0 && known() <= limit+limit/8
	})
	if length("first") != 192 || length("second")*4000 > limit/2 {
		t.Errorf("%d and %d entries", length("first"), length("second"))
	}
	if bytes, err := StreamBytes(t.Context(), client, "01JCTENANT000000000000000B"); err != nil || bytes != 0 {
		t.Errorf("another tenant has %d bytes, %v", bytes, err)
	}
	// A hub whose stream has ended counts no more.
	if err := client.HSet(t.Context(), redisclient.StreamSizes(tenant), "first", "999999999 1000").Err(); err != nil {
		t.Fatal(err)
	}
	if known() > limit {
		t.Errorf("an ended stream still counts: %d", known())
	}
}

// What is trimmed, or lost with its epoch, while a page of it is being read is told.
func TestHistory_that_goes_away_while_it_is_read_is_gone(t *testing.T) {
	for name, newest := range map[string]bool{"trimmed": false, "new epoch": false, "new epoch, from the newest": true} {
		t.Run(name, func(t *testing.T) {
			url := newRedis(t)
			client := newClient(t, url)
			writer, r := process(t, url), process(t, url)
			const total = scanPage + 100
			for i := range total {
				publish(t, writer, say("p", i+1))
			}
			k := redisclient.Hub(tenant, hub)
			hookOn(r.client, runsScript(historySource), func() {
				if name == "trimmed" {
					if err := client.XTrimMaxLen(t.Context(), k.Stream(), 20).Err(); err != nil {
						t.Error(err)
					}
					return
				}
				if err := client.Del(t.Context(), k.Head()).Err(); err != nil {
					t.Error(err)
				}
				begun := make([]hubs.Begun, total) // not one by one: the reader waits meanwhile, and not for long
				for i := range begun {
					var err error
					if begun[i], err = writer.Hub(tenant, hub, Settings{}).(hubs.Pipeline).Begin(t.Context(), say("other", i+1), hubs.PublishOptions{}, false); err != nil {
						t.Error(err)
						return
					}
				}
				for _, b := range begun {
					if _, err := b.Accepted(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
			h := r.Hub(tenant, hub, Settings{}).(hubs.Historian)
			got, err := all(t, h, hubs.HistoryQuery{Select: hubs.Selection{All: true}, Newest: newest, Limit: hubs.MaxHistoryPage})
			var gone *hubs.HistoryGoneError
			if !errors.As(err, &gone) {
				t.Errorf("%d of %d entries: %v", len(got), total, err)
			}
			for _, e := range got {
				if who, _ := said(e); who != "p" {
					t.Fatalf("entry %d is of another epoch", e.Number)
				}
			}
		})
	}
}

// A tenant that fills the memory for windows with quiet hubs leaves the others their
// part; and nothing that a window has dropped is held on to.
func TestWindow_tenants_share_the_memory(t *testing.T) {
	var all windows
	entry := func(n uint64, size int) *hubs.Entry {
		e := say("p", 1)
		e.Epoch, e.Number, e.Message.Arguments.Bytes = "e", n, make([]byte, size)
		return e
	}
	hog := make([]*window, 80)
	for i := range hog {
		hog[i] = &window{all: &all, tenant: "hog"}
		for n := range uint64(4) {
			hog[i].add(entry(n+1, 80<<10))
		}
	}
	other := &window{all: &all, tenant: "other"}
	for n := range uint64(100) {
		other.add(entry(n+1, 1000))
	}
	if len(other.entries) != 100 {
		t.Errorf("the other tenant has %d of its 100 entries", len(other.entries))
	}
	quiet := window{all: &all, tenant: "third"}
	quiet.prepend([]*hubs.Entry{entry(2, 1000), entry(1, 1000)})
	if len(quiet.entries) != 2 {
		t.Errorf("a third one has %d entries", len(quiet.entries))
	}
	if !all.over("hog", 0) || all.over("other", 0) {
		t.Errorf("%d bytes, of %v", all.bytes, all.tenants)
	}
	w := window{all: &all, tenant: "other"}
	for n := range uint64(windowEntries) {
		w.add(entry(n+1, 10))
	}
	gone := make(chan struct{}, 1)
	func() {
		large := entry(windowEntries+1, windowBytes/4)
		runtime.AddCleanup(large, func(int) { gone <- struct{}{} }, 0)
		w.add(large)
	}()
	for n := range uint64(3) {
		w.add(entry(windowEntries+2+n, windowBytes/4))
	}
	eventually(t, "end of a dropped entry", func() bool {
		runtime.GC()
		return len(gone) > 0
	})
	runtime.KeepAlive(&w)
}
