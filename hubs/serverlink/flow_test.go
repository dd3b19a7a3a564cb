package serverlink_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/serverlink"
	"github.com/signalbox/signalbox/tenants"
)

func TestLink_slow_app_server_stalls_its_client_alone(t *testing.T) {
	t.Parallel()
	a, b, app := two(t)
	slow, _ := a.mustOpen(newClient("slow"))
	stuck := get(t, "pairing", app.opened)
	hold := make(chan struct{})
	stuck.hold.Store(&hold)
	quick, quickEnd := a.mustOpen(newClient("quick"))
	free := get(t, "pairing", app.opened)

	message := bytes.Repeat([]byte("x"), 16<<10)
	sent := make(chan int, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		n := 0
		for slow.Send(ctx, message, pairing.DataOther) == nil {
			n++
		}
		sent <- n
	}()
	for i := range 2000 {
		text := fmt.Sprint(i)
		if err := quick.Send(t.Context(), []byte(text), pairing.DataOther); err != nil {
			t.Fatal(err)
		}
		if got := get(t, "message of the quick client", free.said); got.text != text {
			t.Fatalf("got %q, want %q", got.text, text)
		}
		free.deliver(t, text)
	}
	if quickEnd.chunks != 2000 {
		t.Errorf("%d deliveries", quickEnd.chunks)
	}
	cancel()
	// 256 KiB are 16 of these messages.
	if n := get(t, "end of the slow client", sent); n < 15 || n > 17 {
		t.Errorf("%d messages of 16 KiB were taken for an app server that takes none", n)
	}
	if q := a.fleet.Stats().Queued + b.fleet.Stats().Queued; q != 0 {
		t.Errorf("%d bytes are queued", q)
	}
	close(hold)
}

// A client that its own edge can't follow has its app server stop; one that doesn't
// loses the client. Others notice nothing.
func TestLink_slow_client_holds_its_app_server_alone(t *testing.T) {
	a, b, app := two(t)
	slow, slowEnd := a.mustOpen(newClient("slow"))
	toSlow := get(t, "pairing", app.opened)
	hold := make(chan struct{})
	slowEnd.mu.Lock()
	slowEnd.hold = hold
	slowEnd.mu.Unlock()
	_, quickEnd := a.mustOpen(newClient("quick"))
	toQuick := get(t, "pairing", app.opened)
	chunk := bytes.Repeat([]byte("x"), 16<<10)
	var settled sync.WaitGroup
	sent := 0
	for held := false; !held; sent++ {
		toSlow.down.Deliver(hubs.Position{}, chunk, &settled)
		if sent > 70 {
			t.Fatalf("nothing is held after %d KiB", 16*sent)
		}
		select {
		case held = <-toSlow.holds:
		default:
		}
		toQuick.deliver(t, "y")
	}
	if got := len(quickEnd.got()); got != sent {
		t.Errorf("the quick client got %d of %d", got, sent)
	}
	close(hold)
	if get(t, "release", toSlow.holds) {
		t.Error("held twice")
	}
	waitFor(t, "settled", &settled)
	eventually(t, "all there", func() bool { return len(slowEnd.got()) == sent*len(chunk) })
	if n := b.fleet.Stats().Overrun; n != 0 {
		t.Errorf("overrun %d", n)
	}
	slow.End("", "")
}

func TestLink_holds_for_the_client_s_edge(t *testing.T) {
	t.Parallel()
	a, _, app := two(t)
	s, _ := a.mustOpen(newClient("c"))
	p := get(t, "pairing", app.opened)
	for _, on := range []bool{true, false, true} {
		s.Hold(on)
		if got := get(t, "hold", p.holds); got != on {
			t.Errorf("got %v, want %v", got, on)
		}
	}
	s.End("", "")
	s.Hold(false) // which means nothing any more
	get(t, "end", p.ended)
}

func TestLink_client_whose_app_server_does_not_stop_is_given_up_alone(t *testing.T) {
	a, b, app := two(t)
	slow, slowEnd := a.mustOpen(newClient("slow"))
	toSlow := get(t, "pairing", app.opened)
	hold := make(chan struct{})
	slowEnd.mu.Lock()
	slowEnd.hold = hold
	slowEnd.mu.Unlock()
	_, quickEnd := a.mustOpen(newClient("quick"))
	toQuick := get(t, "pairing", app.opened)

	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	chunk := bytes.Repeat([]byte("x"), 16<<10)
	var settled sync.WaitGroup
	for i := range 2000 { // 32 MiB
		toSlow.down.Deliver(hubs.Position{}, chunk, &settled)
		if i%20 == 0 {
			toQuick.deliver(t, "y")
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 24<<20 {
		t.Errorf("the heap grew by %d bytes for a client that may have 16 MiB waiting", grown)
	}
	if got := len(quickEnd.got()); got != 100 {
		t.Errorf("the quick client got %d of 100", got)
	}
	if got := get(t, "end of the slow client", toSlow.ended); got[0] == "" {
		t.Error("the app server is told no reason")
	}
	waitFor(t, "settled", &settled)
	if n := b.fleet.Stats().Overrun; n != 1 {
		t.Errorf("overrun %d", n)
	}
	close(hold)
	eventually(t, "lost", func() bool {
		slowEnd.mu.Lock()
		defer slowEnd.mu.Unlock()
		return slowEnd.lost != nil
	})
	if n := len(slowEnd.got()); n > hubs.MaxBacklog {
		t.Errorf("the slow client got %d bytes", n)
	}
	slow.End("", "")
}

func TestLink_tenants_take_turns(t *testing.T) {
	t.Parallel()
	a, b, app := two(t)
	// Tenants are spread over links: find one that shares the first's.
	other := pairing.Hub{Tenant: serverlink.SharesLink(chat.Tenant), Name: "chat"}
	otherApp := b.local.connect(other, "other", 0)
	a.knows(other, true)
	const floods = 20
	var work sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for i := range floods {
		a.mustOpen(newClient(fmt.Sprint("flood", i)))
		p := get(t, "pairing", app.opened)
		work.Go(func() {
			chunk := bytes.Repeat([]byte("x"), 32<<10)
			var settled sync.WaitGroup
			for ctx.Err() == nil {
				p.down.Deliver(hubs.Position{}, chunk, &settled)
				settled.Wait()
			}
		})
	}
	c := newClient("calm")
	c.Hub = other
	_, d := a.mustOpen(c)
	p := get(t, "pairing", otherApp.opened)
	for range 200 {
		p.deliver(t, "z")
	}
	if len(d.got()) != 200 {
		t.Errorf("got %d of 200", len(d.got()))
	}
	if n := a.fleet.Stats().Links; n != 1 {
		t.Errorf("%d links, the tenants were meant to share one", n)
	}
	cancel()
	work.Wait()
}

func TestLink_window_counts_empty_messages(t *testing.T) {
	t.Parallel()
	a, _, app := two(t)
	s, _ := a.mustOpen(newClient("c1"))
	p := get(t, "pairing", app.opened)
	hold := make(chan struct{})
	p.hold.Store(&hold)
	var sent atomic.Int64
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(ended)
		for s.Send(ctx, nil, pairing.DataOther) == nil {
			sent.Add(1)
		}
	}()
	eventually(t, "full window", func() bool { return sent.Load() >= 1000 })
	other, _ := a.mustOpen(newClient("c2"))
	q := get(t, "pairing", app.opened)
	for range 1000 { // time enough for the first to go on, if it could
		if err := other.Send(t.Context(), []byte("x"), pairing.DataOther); err != nil {
			t.Fatal(err)
		}
		get(t, "message", q.said)
	}
	cancel()
	get(t, "end of the client", ended)
	if n := sent.Load(); n > 1100 {
		t.Errorf("%d messages were taken for an app server that takes none", n)
	}
	close(hold)
}

func TestLink_keeps_order_under_pressure(t *testing.T) {
	t.Parallel()
	a, b, _ := two(t)
	const pairings, messages = 12, 250
	numbered := func(i, size int) []byte {
		return append(fmt.Appendf(nil, "%d:", i), bytes.Repeat([]byte{byte('a' + i%26)}, size)...)
	}
	size := func() int {
		switch rand.IntN(10) {
		case 0:
			return rand.IntN(200 << 10)
		case 1, 2:
			return rand.IntN(40 << 10)
		}
		return rand.IntN(300)
	}
	whole := func(i int, got []byte) bool {
		prefix := fmt.Sprintf("%d:", i)
		rest, ok := bytes.CutPrefix(got, []byte(prefix))
		return ok && len(bytes.Trim(rest, string(rune('a'+i%26)))) == 0
	}
	var work sync.WaitGroup
	defer work.Wait()
	for n := range pairings {
		hub := pairing.Hub{Tenant: tenants.ID(fmt.Sprintf("01JCTENANT%016d", n%3)), Name: fmt.Sprint("hub", n)}
		app := b.local.connect(hub, "app", 0)
		a.knows(hub, true)
		c := newClient(fmt.Sprint("c", n))
		c.Hub = hub
		s, d := a.mustOpen(c)
		p := get(t, "pairing", app.opened)
		work.Go(func() { // the client
			for i := range messages {
				if err := s.Send(t.Context(), numbered(i, size()), pairing.DataOther); err != nil {
					t.Errorf("send: %v", err)
					return
				}
			}
		})
		var total atomic.Int64
		work.Go(func() { // the app server hears and speaks
			var settled sync.WaitGroup
			for i := range messages {
				select {
				case m := <-p.said:
					if !whole(i, []byte(m.text)) {
						t.Errorf("message %d is %.20q and has %d bytes", i, m.text, len(m.text))
						return
					}
				case <-time.After(patience):
					t.Errorf("no message %d within %v", i, patience)
					return
				}
				m := numbered(i, size())
				total.Add(int64(len(m)))
				p.down.Deliver(hubs.Position{}, m, &settled)
				if i%5 == 4 {
					settled.Wait() // it has no window of its own
				}
			}
			settled.Wait()
			rest := []byte(d.got())
			if int64(len(rest)) != total.Load() {
				t.Errorf("the client has %d of %d bytes", len(rest), total.Load())
			}
			for i := range messages {
				var ok bool
				if rest, ok = bytes.CutPrefix(rest, fmt.Appendf(nil, "%d:", i)); !ok {
					t.Errorf("delivery %d begins with %.20q", i, rest)
					return
				}
				rest = bytes.TrimLeft(rest, string(rune('a'+i%26)))
			}
		})
	}
}
