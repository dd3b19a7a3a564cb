package hubs_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
)

// model is the client as the official ones count: it drops what it has had,
// ignores what comes before a Sequence, and stops at a Sequence beyond what it
// had from the socket before.
type model struct {
	*resumer
	n *notes

	latest, next int64
	strange      bool
	shown        int

	unacked []string // targets of invocations, from number base on
	base    int64
	sent    int
	heard   int // invocations that the server has handed on
}

// cutOff loses the socket and with it up to lose bytes that the server hasn't read.
func (c *model) cutOff(lose int) {
	c.mu.Lock()
	c.in = c.in[:max(0, len(c.in)-lose)]
	c.mu.Unlock()
	c.cut()
	c.strange = true
}

func (c *model) comeBack() {
	c.t.Helper()
	c.back()
	c.number(protocol.Sequence, c.base)
	for _, target := range c.unacked {
		c.resumer.invoke("", target)
	}
}

func (c *model) invoke() {
	c.t.Helper()
	c.sent++
	target := strconv.Itoa(c.sent)
	c.unacked = append(c.unacked, target)
	c.resumer.invoke("", target)
}

// take takes in up to most messages that are there.
func (c *model) take(most int) {
	c.t.Helper()
	for range most {
		var m protocol.Message
		c.mu.Lock()
		n, err := c.proto.Parse(c.out, &m)
		own := m.Clone()
		c.out = c.out[n:]
		c.mu.Unlock()
		if err != nil {
			c.t.Fatal(err)
		}
		if n == 0 {
			return
		}
		c.got(own)
	}
}

func (c *model) got(m *protocol.Message) {
	c.t.Helper()
	if c.strange && m.Type != protocol.Sequence {
		c.t.Fatalf("type %d came before the Sequence", m.Type)
	}
	switch m.Type {
	case protocol.Sequence:
		c.strange = false
		if m.SequenceID > c.next {
			c.t.Fatalf("Sequence %d, the client had %d", m.SequenceID, c.next-1)
		}
		c.next = m.SequenceID
	case protocol.Ack:
		if m.SequenceID >= c.base+int64(len(c.unacked)) {
			c.t.Fatalf("Ack %d for what was never sent", m.SequenceID)
		}
		for c.base <= m.SequenceID {
			c.base, c.unacked = c.base+1, c.unacked[1:]
		}
	case protocol.Invocation:
		n := c.next
		c.next++
		if n <= c.latest {
			return
		}
		c.latest = n
		var text []string
		if err := values.Decode(m.Arguments, &text); err != nil {
			c.t.Fatal(err)
		}
		if c.shown++; text[0] != strconv.Itoa(c.shown) {
			c.t.Fatalf("push %s came, want %d", text[0], c.shown)
		}
	case protocol.Ping:
	default:
		c.t.Fatalf("got %+v", m)
	}
}

// hear checks what the server has handed on.
func (c *model) hear() {
	c.t.Helper()
	for {
		select {
		case target := <-c.n.targets:
			if c.heard++; target != strconv.Itoa(c.heard) {
				c.t.Fatalf("invocation %s was handed on, want %d", target, c.heard)
			}
		default:
			return
		}
	}
}

// FuzzStatefulReconnect sends in both directions while the socket is cut, at
// any point and in the middle of replays. In the end everything has arrived
// once and in order.
func FuzzStatefulReconnect(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 6, 0, 7, 0, 1, 6, 7, 2, 3, 6, 7})
	f.Add([]byte{0, 8, 16, 24, 10, 3, 6, 7, 18, 3, 14, 7, 2, 3, 22, 7, 0, 10, 3})
	f.Add([]byte{1, 1, 1, 46, 7, 1, 70, 7, 1, 1, 254, 7, 0, 1, 0, 1})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 250, 4, 3, 6, 7, 26, 3, 6, 7, 0, 0, 0, 3, 250, 3, 6, 7})
	f.Fuzz(func(t *testing.T, ops []byte) {
		ops = ops[:min(len(ops), 300)]
		proto := protocol.NewJSON()
		if len(ops)%2 == 1 {
			proto = protocol.NewMessagePack()
		}
		n := newNotes()
		s, err := hubs.NewServer(hubs.Config{Name: "chat", Dispatcher: n, Options: hubs.Options{StatefulReconnectBufferSize: 200}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		c := &model{resumer: dialStateful(t, s, proto, "a"), n: n, next: 1, base: 1}
		away, pushed := false, 0
		for _, op := range ops {
			switch detail := int(op >> 3); op % 8 {
			case 0, 4:
				pushed++
				push(t, s, pushed, pushed)
			case 1, 5:
				if !away {
					c.invoke()
				}
			case 2:
				if !away {
					c.take(1 + detail)
				}
			case 3:
				if !away {
					c.number(protocol.Ack, c.latest)
				}
			case 6:
				if !away {
					c.cutOff(detail * 20)
					away = true
				}
			case 7:
				c.strange = true
				c.comeBack()
				away = false
			}
			c.hear()
		}
		if away {
			c.comeBack()
		}
		deadline := time.Now().Add(wait)
		for acked := int64(-1); c.shown < pushed || c.heard < c.sent; {
			c.take(1000)
			c.hear()
			if c.latest != acked && !c.strange {
				acked = c.latest
				c.number(protocol.Ack, acked)
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d of %d pushes and %d of %d invocations arrived", c.shown, pushed, c.heard, c.sent)
			}
			time.Sleep(time.Millisecond)
		}
		c.take(1000)
		c.hear()
		if c.shown != pushed || c.heard != c.sent {
			t.Fatalf("%d pushes and %d invocations arrived, want %d and %d", c.shown, c.heard, pushed, c.sent)
		}
	})
}
