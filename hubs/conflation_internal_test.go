package hubs

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// TestConflation_by_the_clock looks at a connection at times of its own.
func TestConflation_by_the_clock(t *testing.T) {
	t.Parallel()
	s, err := NewServer(Config{Name: "chat"})
	if err != nil {
		t.Fatal(err)
	}
	l := &listening{written: make(chan string, 1000)}
	c := &Connection{server: s, transport: l, proto: protocol.NewJSON()}
	c.out.done = make(chan struct{})
	c.ctx, c.cancel = context.WithCancelCause(t.Context())
	c.open.Store(true)
	c.join("g", 10, nil)
	const every = time.Hour // it ends when the test says so
	c.setConflation("g", Conflation{Every: every, Key: 0})
	x := c.out.conflation.Load()
	publish := func(key string, n int) {
		t.Helper()
		s.Apply(&Entry{Kind: SendToGroups, Groups: []string{"g"}, Message: &Broadcast{
			Target: "p", Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: fmt.Appendf(nil, "[%q,%d]", key, n)},
		}})
	}
	var got strings.Builder
	wrote := func(want ...string) { // one or more writes
		t.Helper()
		for _, w := range want {
			frame := `{"type":1,"target":"p","arguments":[` + w + "]}\x1e"
			for got.Len() == 0 {
				got.WriteString(<-l.written)
			}
			rest, ok := strings.CutPrefix(got.String(), frame)
			if !ok {
				t.Fatalf("wrote %q, want %q", got.String(), frame)
			}
			got.Reset()
			got.WriteString(rest)
		}
	}
	idle := func() int64 { // when a writer has taken all that is due
		t.Helper()
		for {
			c.out.mu.Lock()
			busy := c.out.writing
			c.out.mu.Unlock()
			if !busy {
				if len(l.written) > 0 || got.Len() > 0 {
					t.Fatalf("and also wrote %q %d", got.String(), len(l.written))
				}
				return clock()
			}
			time.Sleep(time.Millisecond)
		}
	}
	publish("a", 1)
	wrote(`"a",1`)
	publish("b", 1)
	wrote(`"b",1`)
	publish("c", 1)
	wrote(`"c",1`)
	now := idle()
	publish("b", 2)
	publish("a", 2)
	publish("b", 3)
	publish("a", 3)
	publish("b", 4)
	if in := c.checkConflated(x, now); in <= 0 || in > every {
		t.Errorf("the next check is in %v", in)
	}
	idle()
	// In the order of the hub, not in that of the keys.
	c.checkConflated(x, now+int64(every))
	wrote(`"a",3`, `"b",4`)
	if idle(); len(x.groups["g"].values) != 2 || x.keys != 2 {
		t.Errorf("%d keys are kept of %d, want those that were sent last", x.keys, len(x.groups["g"].values))
	}
	publish("c", 2) // its time is over: at once
	wrote(`"c",2`)
	c.checkConflated(x, idle()+int64(every))
	if idle(); x.keys != 0 || x.bytes != 0 || len(x.ready) != 0 {
		t.Errorf("at rest %d keys and %d bytes are kept", x.keys, x.bytes)
	}

	// Bounds: of a client that takes in nothing.
	c.out.mu.Lock()
	c.out.held = true
	c.out.mu.Unlock()
	for n := range maxConflated + 100 {
		publish(fmt.Sprint(n), n)
	}
	if x.keys > maxConflated || len(c.out.queue) != 100 {
		t.Errorf("%d keys are kept, and %d messages are in the queue", x.keys, len(c.out.queue))
	}
	for n := range maxConflated {
		publish(strings.Repeat("x", 1000)+fmt.Sprint(n), n)
		if most := s.options.Load().OutboundBytes; x.bytes > most {
			t.Fatalf("%d bytes are kept, the most is %d", x.bytes, most)
		}
	}
	if !c.isEnding() {
		t.Error("more than the queue holds was pressed out, and the client isn't closed")
	}
	if x.keys != 0 || x.bytes != 0 {
		t.Errorf("%d keys and %d bytes are kept of one that is closed", x.keys, x.bytes)
	}
}

func TestConflation_has_one_key_for_equal_values(t *testing.T) {
	t.Parallel()
	raw := func(text string) protocol.Raw {
		return protocol.Raw{Encoding: protocol.JSON, Bytes: []byte(text)}
	}
	packed := func(text string) protocol.Raw {
		b, err := protocol.AppendMessagePack(nil, raw(text))
		if err != nil {
			t.Fatal(err)
		}
		return protocol.Raw{Encoding: protocol.MessagePack, Bytes: b}
	}
	key := func(target string, r protocol.Raw, index int) string {
		return keyOf(&Broadcast{Target: target, Arguments: r}, index)
	}
	long := `["` + strings.Repeat("x", 1000) + `",1]`
	for _, text := range []string{`["a",1]`, `[{"id":7},2]`, long} {
		if a, b := key("m", raw(text), 0), key("m", packed(text), 0); a != b || a == "" {
			t.Errorf("%.20s: %q and %q", text, a, b)
		}
	}
	if a := key("m", raw(long), 0); len(a) > longKey {
		t.Errorf("a key of %d bytes is kept", len(a))
	}
	if key("m", raw(`["a",1]`), 0) == key("n", raw(`["a",1]`), 0) || key("m", raw(`["a",1]`), 0) == key("m", raw(`["a",1]`), 1) {
		t.Error("different keys are one")
	}
	if key("m", raw(`["a"]`), 3) != key("m", raw(`["b"]`), NoKey) {
		t.Error("without the argument, the method is not the key")
	}
	if key("", raw(`["a"]`), 0) != "" {
		t.Error("what is no invocation has a key")
	}
}
