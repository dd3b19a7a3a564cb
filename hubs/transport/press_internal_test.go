package transport

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/hubs"
)

// What is pressed is one frame of RFC 6455, 5.2, unmasked and final, whatever was
// pressed before.
func TestPress_makes_one_frame(t *testing.T) {
	t.Parallel()
	p, err := newPress()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
		for _, size := range []int{1, 125, 126, 127, 128, 1<<16 - 1, 1 << 16, 200_000, 5} {
			message := bytes.Repeat([]byte{'m'}, size)
			want := []byte{0x80 | byte(kind)}
			switch {
			case size < 126:
				want = append(want, byte(size))
			case size < 1<<16:
				want = binary.BigEndian.AppendUint16(append(want, 126), uint16(size))
			default:
				want = binary.BigEndian.AppendUint64(append(want, 127), uint64(size))
			}
			want = append(want, message...)
			got, err := p.make(kind, message)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%v of %d bytes: %d bytes %x…, %v", kind, size, len(got), got[:min(len(got), 16)], err)
			}
			if again, _ := p.make(kind, message); &again[0] == &got[0] {
				t.Error("two messages have the same memory")
			}
		}
	}
}

// BenchmarkWrite is what a message of 240 bytes to one client costs beside the
// system call.
func BenchmarkWrite(b *testing.B) {
	p, err := newPress()
	if err != nil {
		b.Fatal(err)
	}
	ws := &webSocket{conn: p.conn, net: &patientConn{Conn: discarding{}}, format: websocket.MessageText}
	// The library's frames go the same way as those of a client's WebSocket.
	p.sink = ws.net
	message := bytes.Repeat([]byte{'m'}, 240)
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := ws.Write(message); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("shared", func(b *testing.B) {
		shared := &hubs.Shared{Bytes: message}
		b.ReportAllocs()
		for b.Loop() {
			if err := ws.WriteShared(shared); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// discarding is a socket that takes everything.
type discarding struct{ net.Conn }

func (discarding) Write(p []byte) (int, error)      { return len(p), nil }
func (discarding) SetWriteDeadline(time.Time) error { return nil }
