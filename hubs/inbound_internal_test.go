package hubs

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// trickle is the transport of a client whose every byte comes alone.
type trickle struct {
	absent
	left string
}

func (*trickle) Wait() error { return nil }

func (r *trickle) Read(p []byte) (int, error) {
	n := copy(p[:1], r.left)
	r.left = r.left[n:]
	return n, nil
}

// searches is a protocol that counts the bytes that it is asked to parse.
type searches struct {
	protocol.Protocol
	calls, bytes int
}

func (p *searches) Parse(data []byte, m *protocol.Message) (int, error) {
	p.calls++
	p.bytes += len(data)
	return p.Protocol.Parse(data, m)
}

// trickled is what reads n bytes that hold no end of a message from a transport
// that gives them one at a time, and then whatever follows.
func trickled(t testing.TB, p protocol.Protocol, bytes string) *inbound {
	t.Helper()
	s, err := NewServer(Config{Name: "chat"})
	if err != nil {
		t.Fatal(err)
	}
	return newInbound(&Connection{server: s, transport: &trickle{left: bytes}, proto: p})
}

// pour reads all that the transport has, byte by byte, and parses after each.
func pour(t testing.TB, in *inbound) {
	t.Helper()
	for in.transport.(*trickle).left != "" {
		if err := in.fill(); err != nil {
			t.Fatal(err)
		}
		if err := in.parse(); err != nil {
			t.Fatal(err)
		}
	}
}

// longPing is a message of about n bytes.
func longPing(p protocol.Protocol, n int) string {
	if p.Encoding() == protocol.JSON {
		return fmt.Sprintf("{\"type\":6,\"x\":%q}\x1e", strings.Repeat("x", n))
	}
	m := "\x92\x06\xda" + string(binary.BigEndian.AppendUint16(nil, uint16(n))) + strings.Repeat("x", n)
	return string(binary.AppendUvarint(nil, uint64(len(m)))) + m
}

func TestBytesOfAMessageAreSearchedOnce(t *testing.T) {
	t.Parallel()
	const size = 30_000
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		t.Run(p.Name(), func(t *testing.T) {
			t.Parallel()
			counted := &searches{Protocol: p}
			text := longPing(p, size)
			in := trickled(t, counted, text+text+text)
			pour(t, in)
			if n := len(in.waiting()); n != 0 {
				t.Fatalf("%d bytes of three whole messages wait", n)
			}
			// MessagePack has the length first: to look at it is no search.
			if most := 2 * 3 * len(text); p.Encoding() == protocol.JSON && (counted.calls != 6 || counted.bytes > most) {
				t.Errorf("%d bytes were searched in %d parts, want at most %d in 6", counted.bytes, counted.calls, most)
			}
		})
	}
	t.Run("a message that gets too long is refused", func(t *testing.T) {
		t.Parallel()
		in := trickled(t, protocol.NewJSON(), strings.Repeat("x", 32769))
		for range 32768 {
			if err := in.fill(); err != nil {
				t.Fatal(err)
			}
			if err := in.parse(); err != nil {
				t.Fatalf("after %d bytes: %v", len(in.waiting()), err)
			}
		}
		if err := in.fill(); err != nil {
			t.Fatal(err)
		}
		if err := in.parse(); err == nil || !strings.Contains(err.Error(), "The maximum message size of 32768B was exceeded.") {
			t.Errorf("got %v", err)
		}
	})
}

// BenchmarkTrickle reads one message of 30 kB that comes byte by byte.
func BenchmarkTrickle(b *testing.B) {
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		b.Run(p.Name(), func(b *testing.B) {
			text := longPing(p, 30_000)
			in := trickled(b, p, "")
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				in.transport.(*trickle).left = text
				pour(b, in)
			}
		})
	}
}
