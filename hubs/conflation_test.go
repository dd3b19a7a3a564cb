package hubs_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
)

// never is a conflation whose values wait for longer than any test lasts, and than
// any client may ask for.
var never = hubs.Conflation{Every: time.Hour, Key: 0}

// ticker publishes prices.
type ticker struct {
	t *testing.T
	s *hubs.Server
}

func (p ticker) join(id, group string, how hubs.Conflation) {
	p.t.Helper()
	e := &hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{id}, Groups: []string{group}, Conflate: &how}
	if command(p.t, p.s, e) != 1 {
		p.t.Fatalf("%s hasn't joined %s", id, group)
	}
}

func (p ticker) leave(id, group string) {
	p.t.Helper()
	if err := p.s.Context().RemoveFromGroup(p.t.Context(), id, group); err != nil {
		p.t.Fatal(err)
	}
}

func (p ticker) price(symbol string, n int, groups ...string) {
	p.t.Helper()
	if err := p.s.Context().Groups(groups...).Send(p.t.Context(), "price", symbol, n); err != nil {
		p.t.Fatal(err)
	}
}

func (p ticker) note(n int) {
	p.t.Helper()
	if err := p.s.Context().All().Send(p.t.Context(), "note", "", n); err != nil {
		p.t.Fatal(err)
	}
}

// textOf is a message as tests compare it.
func textOf(m *protocol.Message) string {
	var args []any
	if m == nil || m.Type != protocol.Invocation || values.Decode(m.Arguments, &args) != nil {
		return fmt.Sprintf("%+v", m)
	}
	return strings.TrimSpace(fmt.Sprintln(append([]any{m.Target}, args...)...))
}

// shows expects these messages, each as textOf writes it.
func (c *peer) shows(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got := textOf(c.next()); strings.Join(strings.Fields(got), " ") != w {
			c.t.Fatalf("got %q, want %q", got, w)
		}
	}
}

func TestConflation(t *testing.T) {
	t.Parallel()
	both := func(name string, test func(t *testing.T, p protocol.Protocol)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothProtocols(t, test)
		})
	}
	both("the first of each key at once, then the newest; on another node; metered as sent", func(t *testing.T, p protocol.Protocol) {
		m, bus := &meter{}, hubs.NewMemoryBackplane()
		far := ticker{t, newServer(t, hubs.Config{Backplane: bus})}
		s := newServer(t, hubs.Config{Backplane: bus, Meter: m})
		c := dial(t, s, p, "", "a")
		plain := dial(t, newServer(t, hubs.Config{Backplane: bus}), p, "", "b")
		far.join("a", "g", never)
		command(t, s, &hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{"b"}, Groups: []string{"g"}})
		far.price("AAPL", 0, "g")
		c.shows("price AAPL 0")
		far.price("MSFT", 0, "g")
		c.shows("price MSFT 0")
		for n := 1; n <= 50; n++ {
			far.price("AAPL", n, "g")
			far.price("MSFT", n, "g")
			far.note(n)
		}
		far.price("AAPL", 51, "g")
		for n := 1; n <= 50; n++ {
			c.shows(fmt.Sprintf("note %d", n))
		}
		far.leave("a", "g")
		c.shows("price MSFT 50", "price AAPL 51")
		far.price("AAPL", 52, "g")
		far.note(51)
		c.shows("note 51")
		plain.shows("price AAPL 0", "price MSFT 0", "price AAPL 1", "price MSFT 1", "note 1")
		until(t, "all is metered", func() (done bool) {
			m.get(func() { done = m.messages == 2+51+2 })
			return done
		})
	})
	both("the newest always arrives, in the order of its key", func(t *testing.T, p protocol.Protocol) {
		m := &meter{}
		s := newServer(t, hubs.Config{Meter: m})
		prices, c := ticker{t, s}, dial(t, s, p, "", "a")
		prices.join("a", "g", hubs.Conflation{Every: hubs.MinConflation})
		const keys, last = 5, 400
		for n := range last + 1 {
			for k := range keys {
				prices.price(fmt.Sprint("k", k), n, "g")
			}
		}
		seen, messages := map[string]int{}, 0
		for done := 0; done < keys; messages++ {
			var key string
			var n int
			if got := textOf(c.next()); must(fmt.Sscanf(got, "price %s %d", &key, &n)) != 2 {
				t.Fatalf("got %q", got)
			}
			if before, known := seen[key]; known && n <= before {
				t.Fatalf("%s: %d came behind %d", key, n, before)
			}
			if seen[key] = n; n == last {
				done++
			}
		}
		until(t, "what was sent is metered", func() (done bool) {
			m.get(func() { done = m.messages == messages })
			return done
		})
	})
	both("a slow client is not closed, and gets the newest", func(t *testing.T, p protocol.Protocol) {
		s := newServer(t, hubs.Config{Options: hubs.Options{OutboundMessages: 10}})
		prices, c := ticker{t, s}, dial(t, s, p, "", "a")
		prices.join("a", "g", hubs.Conflation{Every: hubs.MinConflation})
		c.stall(true)
		for n := range 2001 {
			for _, symbol := range []string{"A", "B", "C"} {
				prices.price(symbol, n, "g")
			}
		}
		prices.note(1)
		c.stall(false)
		var got []string
		for want := []string{"note  1", "price A 2000", "price B 2000", "price C 2000"}; len(want) > 0; {
			next := textOf(c.next())
			got = append(got, next)
			want = slices.DeleteFunc(want, func(w string) bool { return w == next })
		}
		// One write was stuck; behind it each key has its newest.
		if len(got) > 3+1+3 {
			t.Errorf("%d messages: %q", len(got), got)
		}
	})
	both("a Close message comes behind the newest", func(t *testing.T, p protocol.Protocol) {
		s := newServer(t, hubs.Config{})
		prices, c := ticker{t, s}, dial(t, s, p, "", "a")
		prices.join("a", "g", hubs.Conflation{Every: never.Every, Key: hubs.NoKey})
		prices.price("A", 0, "g")
		c.shows("price A 0")
		prices.price("B", 1, "g") // the method alone is the key
		prices.price("C", 2, "g")
		command(t, s, &hubs.Entry{Kind: hubs.CloseConnections, Connections: []string{"a"}})
		c.shows("price C 2")
		if m := c.next(); m == nil || m.Type != protocol.Close {
			t.Errorf("got %+v, want a Close message", m)
		}
	})
	both("several groups: one without conflation wins", func(t *testing.T, p protocol.Protocol) {
		s := newServer(t, hubs.Config{})
		prices, c := ticker{t, s}, dial(t, s, p, "", "a")
		prices.join("a", "g", never)
		prices.join("a", "h", never)
		prices.price("A", 0, "g", "h")
		c.shows("price A 0")
		prices.price("A", 1, "h", "g") // in any order it is the turn of one group
		prices.price("A", 2, "g", "h")
		command(t, s, &hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{"a"}, Groups: []string{"plain"}})
		prices.price("B", 3, "plain", "other")
		c.shows("price B 3")
		prices.price("A", 4, "h", "plain") // 2 was for h, too
		c.shows("price A 4")
		prices.leave("a", "g")
		prices.leave("a", "h")
		prices.note(1)
		c.shows("note 1")
	})
	both("several groups with conflation: the shortest interval, and nothing newer comes first", func(t *testing.T, p protocol.Protocol) {
		s := newServer(t, hubs.Config{})
		prices, c := ticker{t, s}, dial(t, s, p, "", "a")
		longer := never
		longer.Every *= 2
		prices.join("a", "a-long", longer)
		prices.join("a", "short", never)
		prices.join("a", "other", longer)
		prices.price("A", 0, "a-long", "short")
		c.shows("price A 0")
		prices.price("A", 1, "short") // its turn was that of 0
		prices.price("A", 2, "a-long", "short")
		prices.price("A", 3, "a-long") // where 2 waits: behind it the client would show what is old
		prices.price("B", 4, "a-long")
		c.shows("price B 4")
		prices.price("A", 5, "other") // for none of these
		c.shows("price A 5")
		prices.price("A", 6, "other", "a-long")
		prices.price("B", 7, "a-long")
		prices.leave("a", "other")
		prices.note(1)
		c.shows("note 1")
		prices.leave("a", "short")
		c.shows("price A 6")
		prices.leave("a", "a-long")
		c.shows("price B 7")
	})
	both("values of another kind, changes and excluded clients", func(t *testing.T, p protocol.Protocol) {
		s := newServer(t, hubs.Config{})
		prices, c := ticker{t, s}, dial(t, s, p, "", "a")
		prices.join("a", "g", hubs.Conflation{Every: never.Every, Key: 5}) // there is none
		prices.price("A", 0, "g")
		c.shows("price A 0")
		prices.price("B", 1, "g")
		prices.join("a", "g", never)
		prices.price("B", 2, "g") // another key now
		c.shows("price B 2")
		if err := s.Context().GroupExcept("g", "a").Send(t.Context(), "price", "B", 3); err != nil {
			t.Fatal(err)
		}
		command(t, s, &hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{"a"}, Groups: []string{"g"}}) // it stays as it is
		prices.price("B", 4, "g")
		prices.note(1)
		c.shows("note 1")
		prices.leave("a", "g")
		c.shows("price B 1", "price B 4")
	})
	both("more keys than can wait: none is lost", func(t *testing.T, p protocol.Protocol) {
		s := newServer(t, hubs.Config{Options: hubs.Options{OutboundMessages: 10_000}})
		prices, c := ticker{t, s}, dial(t, s, p, "", "a")
		prices.join("a", "g", never)
		const keys = 5000
		for n := range 2 {
			for k := range keys {
				prices.price(fmt.Sprint(k), n, "g")
			}
		}
		prices.leave("a", "g")
		newest := map[string]struct{}{}
		for len(newest) < keys {
			fields := strings.Fields(textOf(c.next()))
			if len(fields) != 3 {
				t.Fatalf("got %q with %d keys", fields, len(newest))
			}
			if fields[2] == "1" {
				newest[fields[1]] = struct{}{}
			}
		}
	})
	both("with stateful reconnect, what is sent is numbered, and what waits is replaced while the client is away", func(t *testing.T, p protocol.Protocol) {
		s := newServer(t, hubs.Config{})
		prices, c := ticker{t, s}, dialStateful(t, s, p, "a")
		prices.join("a", "g", hubs.Conflation{Every: hubs.MinConflation})
		prices.price("A", 0, "g")
		c.shows("price A 0")
		c.cut()
		for n := 1; n <= 50; n++ {
			prices.price("A", n, "g")
		}
		c.back()
		c.number(protocol.Sequence, 1)
		c.number(protocol.Ack, 1)
		m := c.next()
		if m == nil || m.Type != protocol.Sequence {
			t.Fatalf("got %+v, want a Sequence", m)
		}
		at, messages := m.SequenceID, int64(0)
		for {
			m := c.next()
			if m != nil && m.Type == protocol.Ack {
				continue
			}
			if messages++; textOf(m) == "price A 50" {
				break
			}
		}
		c.cut()
		c.back()
		c.number(protocol.Sequence, 1)
		if m := c.next(); m == nil || m.Type != protocol.Sequence || m.SequenceID > at+messages {
			t.Errorf("after %d messages from %d the client gets %+v", messages, at, m)
		}
	})
}

func must[T any](v T, _ error) T { return v }

func TestConflation_is_checked(t *testing.T) {
	t.Parallel()
	s := newServer(t, hubs.Config{})
	for _, c := range []struct {
		how  hubs.Conflation
		want string
	}{
		{hubs.Conflation{Every: 9 * time.Millisecond}, "conflate.everyMs must be 10 to 10000"},
		{hubs.Conflation{Every: 10*time.Second + 1}, "conflate.everyMs must be 10 to 10000"},
		{hubs.Conflation{Every: time.Second, Key: -2}, "conflate.key must be the index of an argument, 0 to 63, or absent"},
		{hubs.Conflation{Every: time.Second, Key: 64}, "conflate.key must be the index of an argument, 0 to 63, or absent"},
	} {
		if err := s.Context().AddToGroupConflated(t.Context(), "a", "g", c.how); err == nil || err.Error() != c.want {
			t.Errorf("%+v: %v, want %s", c.how, err, c.want)
		}
	}
}
