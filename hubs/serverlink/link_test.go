package serverlink_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/serverlink"
	"github.com/signalbox/signalbox/internal/testenv"
)

// two returns the edge with the clients, and that with an app server which the
// former knows.
func two(t testing.TB, change ...func(*options)) (clients, servers *node, app *appServer) {
	t.Helper()
	url := testenv.Redis(t)
	clients, servers = newNode(t, url, change...), newNode(t, url, change...)
	app = servers.local.connect(chat, "app", 0)
	clients.knows(chat, true)
	return clients, servers, app
}

func TestLink_carries_a_pairing_both_ways(t *testing.T) {
	t.Parallel()
	a, _, app := two(t)
	c := newClient("c1")
	s, d := a.mustOpen(c)
	p := get(t, "pairing", app.opened)
	if diff := cmp.Diff(c, p.client); diff != "" {
		t.Errorf("client as the app server is told of it (-want +got):\n%s", diff)
	}
	if s.ServerID() != "app" {
		t.Errorf("server id %q", s.ServerID())
	}

	long := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	for _, m := range []said{{"hello", pairing.DataInvocation}, {long, pairing.DataOther}, {"", pairing.DataUnknown}, {"bye", pairing.DataClose}} {
		if err := s.Send(t.Context(), []byte(m.text), m.kind); err != nil {
			t.Fatal(err)
		}
		if got := get(t, "message", p.said); got != m {
			t.Fatalf("got %d bytes of type %d, want %d of %d", len(got.text), got.kind, len(m.text), m.kind)
		}
	}

	p.deliver(t, "welcome ")
	p.deliver(t, long)
	if got := d.got(); got != "welcome "+long {
		t.Errorf("client got %d bytes", len(got))
	}
	s.End("gone", "other")
	if got := get(t, "end", p.ended); got != [2]string{"gone", "other"} {
		t.Errorf("end %q", got)
	}
	if err := s.Send(t.Context(), []byte("x"), pairing.DataOther); !errors.Is(err, pairing.ErrEnded) {
		t.Errorf("send after the end: %v", err)
	}
	eventually(t, "empty link", func() bool { return a.fleet.Stats().Sessions == 0 })
}

// Clients of several tenants that share a link are paired at the same time.
func TestLink_pairings_that_begin_together(t *testing.T) {
	t.Parallel()
	a, b, app := two(t)
	other := pairing.Hub{Tenant: serverlink.SharesLink(chat.Tenant), Name: "chat"}
	otherApp := b.local.connect(other, "other", 0)
	a.knows(other, true)
	a.mustOpen(newClient("first")) // the link is there
	get(t, "pairing", app.opened)
	const each = 200
	begin := make(chan struct{})
	var opening sync.WaitGroup
	for i := range 2 * each {
		c := newClient(fmt.Sprint("c", i))
		if i%2 == 1 {
			c.Hub = other
		}
		opening.Go(func() {
			<-begin
			if _, _, err := a.open(c); err != nil {
				t.Errorf("%s: %v", c.ConnectionID, err)
			}
		})
	}
	close(begin)
	for range each {
		get(t, "pairing", app.opened)
		get(t, "pairing of the other tenant", otherApp.opened)
	}
	opening.Wait()
	if n := a.fleet.Stats().Lost; n != 0 {
		t.Errorf("%d pairings were lost with their link", n)
	}
}

func TestLink_says_what_ends_a_pairing(t *testing.T) {
	t.Parallel()
	a, b, app := two(t)
	for _, row := range []struct {
		name string
		do   func(*paired)
		want string
	}{
		{"close_with_reason", func(p *paired) { p.down.Close(hubs.Position{}, "enough") }, "close enough"},
		{"close_without_reason", func(p *paired) { p.down.Close(hubs.Position{}, "") }, "close "},
		{"server_connection_lost", func(p *paired) { p.down.Lost(errTest) }, "lost"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, d := a.mustOpen(newClient(row.name))
			p := get(t, "pairing", app.opened)
			p.deliver(t, "last words")
			row.do(p)
			if first, second := get(t, "delivery", d.events), get(t, "ending", d.events); first != "deliver" || second != row.want {
				t.Errorf("got %q, %q, want deliver, %q", first, second, row.want)
			}
			if err := s.Send(t.Context(), []byte("x"), pairing.DataOther); !errors.Is(err, pairing.ErrEnded) {
				t.Errorf("send after the end: %v", err)
			}
			s.End("", "") // too late to matter
			// What is delivered after the end has no place any more.
			p.deliver(t, "too late")
			eventually(t, "end at the other edge", func() bool { return b.fleet.Stats().Hosted == 0 })
			select {
			case got := <-p.ended:
				t.Errorf("the app server was told %q of what it did itself", got)
			default:
			}
		})
	}
}

// An app server may speak, and even close the client, before Open has returned.
func TestLink_app_server_that_speaks_first(t *testing.T) {
	t.Parallel()
	a, _, app := two(t)
	var settled sync.WaitGroup
	app.early = func(p *paired) {
		p.down.Deliver(hubs.Position{}, []byte("early"), &settled)
		p.down.Close(hubs.Position{}, "at once")
	}
	s, d := a.mustOpen(newClient("c1"))
	if first, second := get(t, "delivery", d.events), get(t, "ending", d.events); first != "deliver" || second != "close at once" {
		t.Errorf("got %q, %q", first, second)
	}
	waitFor(t, "settled", &settled)
	if err := s.Send(t.Context(), []byte("x"), pairing.DataOther); !errors.Is(err, pairing.ErrEnded) {
		t.Errorf("send after the end: %v", err)
	}
}

func TestLink_pause_comes_behind_everything_before_it(t *testing.T) {
	t.Parallel()
	a, _, app := two(t)
	s, d := a.mustOpen(newClient("c1"))
	p := get(t, "pairing", app.opened)
	p.pause = func(context.Context) error {
		if m := get(t, "message before the pause", p.said); m.text != "before" {
			t.Errorf("paused behind %q", m.text)
		}
		var settled sync.WaitGroup
		for range 100 {
			p.down.Deliver(hubs.Position{}, []byte("x"), &settled)
		}
		return nil
	}
	if err := s.Send(t.Context(), []byte("before"), pairing.DataOther); err != nil {
		t.Fatal(err)
	}
	if err := s.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(d.got()); got != 100 {
		t.Errorf("%d of 100 deliveries had come when Pause returned", got)
	}
	p.pause = func(context.Context) error { return errTest }
	if err := s.Pause(t.Context()); err == nil || !strings.Contains(err.Error(), errTest.Error()) {
		t.Errorf("failed pause: %v", err)
	}
	// The end doesn't wait for a pause that hangs.
	entered := make(chan struct{})
	p.pause = func(ctx context.Context) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	}
	paused := make(chan error, 1)
	go func() { paused <- s.Pause(context.Background()) }()
	get(t, "pause", entered)
	s.End("tired", "")
	if err := get(t, "end of pause", paused); !errors.Is(err, pairing.ErrEnded) {
		t.Errorf("pause that was cut: %v", err)
	}
	if got := get(t, "end", p.ended); got[0] != "tired" {
		t.Errorf("end %q", got)
	}
}

// What a client said before it left reaches the app server before it hears that
// it has left.
func TestLink_end_comes_behind_what_was_said(t *testing.T) {
	t.Parallel()
	a, _, app := two(t)
	s, _ := a.mustOpen(newClient("c1"))
	p := get(t, "pairing", app.opened)
	hold := make(chan struct{})
	p.hold.Store(&hold)
	for i := range 50 {
		if err := s.Send(t.Context(), fmt.Appendf(nil, "%d", i), pairing.DataOther); err != nil {
			t.Fatal(err)
		}
	}
	s.End("", "")
	close(hold)
	get(t, "end", p.ended)
	if len(p.said) != 50 {
		t.Errorf("%d of 50 messages before the end", len(p.said))
	}
}

// A slow app server makes its client wait, in bounded memory; another client of
// the same link, and of the same tenant, notices nothing.
// It looks at the heap, so it isn't parallel to others.
// A tenant whose clients fill the link has to wait; another tenant's go on.
func TestLink_that_is_cut_ends_its_pairings(t *testing.T) {
	t.Parallel()
	a, b, app := two(t)
	s, d := a.mustOpen(newClient("c1"))
	p := get(t, "pairing", app.opened)
	// One delivery whose place is never found: the cut settles it.
	held := make(chan struct{})
	d.mu.Lock()
	d.take = func(_ hubs.Position, _ []byte, settled *sync.WaitGroup) {
		settled.Add(1)
		go func() {
			<-held
			settled.Done()
		}()
	}
	d.mu.Unlock()
	var settled sync.WaitGroup
	p.down.Deliver(hubs.Position{}, []byte("x"), &settled)
	b.proxy.cut()
	if got := get(t, "lost", d.events); got != "lost" {
		t.Fatalf("got %q", got)
	}
	if got := get(t, "end", p.ended); got[0] == "" {
		t.Error("the app server is told no reason")
	}
	waitFor(t, "settled", &settled)
	close(held)
	if err := s.Send(t.Context(), []byte("x"), pairing.DataOther); !errors.Is(err, pairing.ErrEnded) {
		t.Errorf("send: %v", err)
	}
	// The next client makes a new link.
	a.mustOpen(newClient("c2"))
	get(t, "pairing", app.opened)
}

// An edge that hangs without closing anything is noticed by its silence, from
// both sides.
func TestLink_to_an_edge_that_hangs(t *testing.T) {
	t.Parallel()
	a, b, app := two(t, func(o *options) {
		o.timing = serverlink.Timing{PingEvery: 100 * time.Millisecond, DeadAfter: 400 * time.Millisecond}
	})
	_, d := a.openSoon("c1")
	p := get(t, "pairing", app.opened)
	b.proxy.stall()
	hung := time.Now()
	if got := get(t, "lost", d.events); got != "lost" {
		t.Fatalf("got %q", got)
	}
	t.Logf("told after %v", d.lostAt.Sub(hung))
	get(t, "end", p.ended)
	// While it hangs, clients are refused in bounded time.
	if _, _, err := a.open(newClient("c2")); err == nil {
		t.Error("paired with an edge that hangs")
	}
}

// With the times of production, the clients of an edge that hangs are told
// within 2 s. The bound here leaves room for a loaded machine.
func TestLink_default_times_keep_the_promise(t *testing.T) {
	t.Parallel()
	a, b, app := two(t, func(o *options) { o.timing = serverlink.Timing{} })
	_, d := a.openSoon("c1")
	get(t, "pairing", app.opened)
	b.proxy.stall()
	hung := time.Now()
	get(t, "lost", d.events)
	t.Logf("told after %v", d.lostAt.Sub(hung))
}

func TestLink_closes_when_idle(t *testing.T) {
	t.Parallel()
	a, b, app := two(t, func(o *options) { o.timing.IdleAfter = 20 * time.Millisecond })
	s, _ := a.mustOpen(newClient("c1"))
	p := get(t, "pairing", app.opened)
	if n := b.fleet.Stats().Accepted; n != 1 {
		t.Errorf("%d links", n)
	}
	s.End("", "")
	get(t, "end", p.ended)
	eventually(t, "no link", func() bool { return a.fleet.Stats().Links == 0 && b.fleet.Stats().Accepted == 0 })
	for i := range 50 { // some hit the moment at which it closes
		s, _ := a.mustOpen(newClient(fmt.Sprint("c", i)))
		s.End("", "")
		time.Sleep(time.Duration(i) * time.Millisecond)
	}
}

// Many clients open, talk and leave at once while links are cut: every one is
// either served or told.
func TestLink_churn_with_cuts(t *testing.T) {
	t.Parallel()
	a, b, _ := two(t)
	const workers, rounds = 8, 100
	var work sync.WaitGroup
	stop := make(chan struct{})
	cuts := make(chan struct{})
	go func() {
		defer close(cuts)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				b.proxy.cut()
			}
		}
	}()
	for w := range workers {
		work.Go(func() {
			for i := range rounds {
				s, d, err := a.open(newClient(fmt.Sprint(w, "-", i)))
				if err != nil {
					continue
				}
				for range 5 {
					if err := s.Send(t.Context(), []byte("hello"), pairing.DataOther); err != nil {
						if !errors.Is(err, pairing.ErrEnded) {
							t.Errorf("send: %v", err)
						}
						select {
						case <-d.events:
						case <-time.After(patience):
							t.Error("a client whose link was cut isn't told")
						}
						break
					}
				}
				s.End("", "")
			}
		})
	}
	work.Wait()
	close(stop)
	<-cuts
	eventually(t, "nothing left", func() bool {
		return a.fleet.Stats().Sessions == 0 && b.fleet.Stats().Hosted == 0
	})
}

// Messages without bytes cost memory, too.
// An edge that ends says all that it has to say before it closes its links.
func TestClose_comes_behind_what_was_said(t *testing.T) {
	t.Parallel()
	t.Run("of_the_clients_edge", func(t *testing.T) {
		t.Parallel()
		a, _, app := two(t)
		s, _ := a.mustOpen(newClient("c1"))
		p := get(t, "pairing", app.opened)
		message := bytes.Repeat([]byte("x"), 10<<10)
		for range 20 {
			if err := s.Send(t.Context(), message, pairing.DataOther); err != nil {
				t.Fatal(err)
			}
		}
		s.End("the edge ends", "")
		a.fleet.Close()
		if got := get(t, "end", p.ended); got[0] != "the edge ends" || len(p.said) != 20 {
			t.Errorf("end %q behind %d of 20 messages", got[0], len(p.said))
		}
	})
	t.Run("of_the_app_servers_edge", func(t *testing.T) {
		t.Parallel()
		a, b, app := two(t)
		_, d := a.mustOpen(newClient("c1"))
		p := get(t, "pairing", app.opened)
		_, still := a.mustOpen(newClient("c2"))
		q := get(t, "pairing", app.opened)
		var settled sync.WaitGroup
		for range 50 {
			p.down.Deliver(hubs.Position{}, bytes.Repeat([]byte("x"), 10<<10), &settled)
		}
		p.down.Close(hubs.Position{}, "over")
		b.fleet.Close()
		for range 50 {
			if got := get(t, "delivery", d.events); got != "deliver" {
				t.Fatalf("got %q", got)
			}
		}
		if got := get(t, "end", d.events); got != "close over" {
			t.Errorf("got %q", got)
		}
		if got := get(t, "end of the other", still.events); got != "lost" {
			t.Errorf("got %q", got)
		}
		get(t, "end for the app server", q.ended)
		waitFor(t, "settled", &settled)
	})
}

// Messages of all sizes, both ways at once, of several tenants on shared links,
// under the pressure of their windows: each pairing has all of its own, in order.
