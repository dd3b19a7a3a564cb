package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"
	"unicode/utf8"
)

// scripted is a connection whose client sends data in pieces and goes.
type scripted struct {
	net.Conn
	data []byte
	size int
	out  bytes.Buffer
}

func (c *scripted) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.data[:min(c.size, len(c.data))])
	c.data = c.data[n:]
	return n, nil
}

func (c *scripted) Write(p []byte) (int, error)    { return c.out.Write(p) }
func (*scripted) SetReadDeadline(time.Time) error  { return nil }
func (*scripted) SetWriteDeadline(time.Time) error { return nil }
func (*scripted) Close() error                     { return nil }

// readAll reads messages to the end, at most size bytes at a time.
func readAll(ws *webSocket, size int) (messages []string, err error) {
	buf := make([]byte, size)
	for at := uint64(0); ; {
		if err := ws.Wait(); err != nil {
			return messages, err
		}
		for {
			n, err := ws.Read(buf)
			if err != nil {
				return messages, err
			}
			if n == 0 {
				break
			}
			if ws.Frame() != at {
				at = ws.Frame()
				messages = append(messages, "")
			}
			messages[len(messages)-1] += string(buf[:n])
		}
	}
}

// FuzzFrames: how a client's bytes are cut on their way, and in what pieces they
// are read, changes nothing of what is read, answered and said of them; and text
// is checked as in one piece.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0x81, 0x83, 1, 2, 3, 4, 'a', 'b', 'c', 0x01, 0xfe, 0, 1, 0, 0, 0, 0, 'x', 0x80, 0x80, 0, 0, 0, 0}, byte(1), byte(3))
	f.Add([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 'x', 0x89, 0x81, 9, 9, 9, 9, 'p'}, byte(3), byte(1))
	f.Add(append([]byte{0x01, 0x80, 0, 0, 0, 0}, bytes.Repeat([]byte{0x00, 0x80, 0, 0, 0, 0}, maxFragments)...), byte(5), byte(9))
	f.Add([]byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8, 0xff}, byte(2), byte(2))
	f.Add(append([]byte{0x82, 0xfe, 1, 0, 7, 8, 9, 10}, bytes.Repeat([]byte("0123456789abcdef"), 16)...), byte(200), byte(50))
	f.Add([]byte("\xf0\x9f\x98\x80\xe2\x82"), byte(1), byte(1))
	f.Fuzz(func(t *testing.T, data []byte, cut, size byte) {
		whole := &webSocket{conn: &scripted{data: bytes.Clone(data), size: len(data)}}
		parts := &webSocket{conn: &scripted{data: bytes.Clone(data), size: int(cut) + 1}}
		want, wrong := readAll(whole, len(data)+1)
		got, inParts := readAll(parts, int(size)+1)
		if wrong == nil || inParts == nil {
			t.Fatalf("a connection without end: %v, %v", wrong, inParts)
		}
		// The rate of empty frames depends on the time in between.
		flood := func(err error) bool { return err.Error() == errEmptyFrames.Error() }
		if flood(wrong) || flood(inParts) {
			return
		}
		if wrong.Error() != inParts.Error() {
			t.Errorf("in pieces of %d: %v, as a whole: %v", int(cut)+1, inParts, wrong)
		}
		// Of a message that proves to be wrong, less may be read in pieces.
		if errors.Is(wrong, io.ErrUnexpectedEOF) || errors.Is(wrong, io.EOF) {
			if len(got) != len(want) {
				t.Fatalf("in pieces %d messages, as a whole %d", len(got), len(want))
			}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("message %d in pieces is %q, as a whole %q", i, got[i], want[i])
				}
			}
			if a, b := whole.conn.(*scripted).out.String(), parts.conn.(*scripted).out.String(); a != b {
				t.Errorf("in pieces answered with %q, as a whole with %q", b, a)
			}
		}
		valid := true
		var check text
		for rest := data; len(rest) > 0; {
			piece := rest[:min(int(size)+1, len(rest))]
			rest = rest[len(piece):]
			valid = valid && check.valid(piece)
		}
		if ends := check.ends(); (valid && ends) != utf8.Valid(data) {
			t.Errorf("text: %t, %t, want %t", valid, ends, utf8.Valid(data))
		}
	})
}

func BenchmarkWebSocket_read(b *testing.B) {
	message := append([]byte{0x81, 0x80 | 100, 1, 2, 3, 4}, make([]byte, 100)...)
	unmask(message[6:], [4]byte{1, 2, 3, 4}, 0)
	conn := &scripted{size: len(message)}
	ws := &webSocket{conn: conn}
	buf := make([]byte, 4<<10)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		conn.data = message
		if err := ws.Wait(); err != nil {
			b.Fatal(err)
		}
		if n, err := ws.Read(buf); n != 100 || err != nil {
			b.Fatal(n, err)
		}
	}
}
