package transport

import (
	"bytes"
	"testing"
	"unicode/utf8"
)

// FuzzFrames: how a client's bytes are cut on their way changes nothing of what
// is said of them, and text is checked as in one piece.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0x81, 0x83, 0, 0, 0, 0, 'a', 'b', 'c', 0x01, 0xfe, 0, 1, 0, 0, 0, 0, 'x', 0x80, 0x80, 0, 0, 0, 0}, byte(1))
	f.Add([]byte{0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 'x', 0x8b, 0x80}, byte(3))
	f.Add(append([]byte{0x01, 0x80, 0, 0, 0, 0}, bytes.Repeat([]byte{0x00, 0x80, 0, 0, 0, 0}, maxFragments)...), byte(5))
	f.Add([]byte{0x88, 0x80, 0, 0, 0, 0, 0xff, 0xff}, byte(2))
	f.Add([]byte("\xf0\x9f\x98\x80\xe2\x82"), byte(1))
	f.Fuzz(func(t *testing.T, data []byte, size byte) {
		var whole, cut frames
		good, wrong := whole.pass(data)
		if good > len(data) || wrong == nil && good != len(data) {
			t.Fatalf("%d of %d bytes are good, %v", good, len(data), wrong)
		}
		var inPieces *frameError
		passed, valid := 0, true
		var check text
		for rest := data; len(rest) > 0; {
			piece := rest[:min(int(size)+1, len(rest))]
			rest = rest[len(piece):]
			if inPieces == nil {
				var n int
				n, inPieces = cut.pass(piece)
				passed += n
			}
			valid = valid && check.valid(piece)
		}
		// The rate of empty frames depends on the time in between.
		if inPieces != wrong && inPieces != errEmptyFrames && wrong != errEmptyFrames {
			t.Errorf("in pieces of %d: %v, as a whole: %v", int(size)+1, inPieces, wrong)
		}
		if inPieces == wrong && passed < good {
			t.Errorf("in pieces %d bytes are passed on, as a whole %d", passed, good)
		}
		if ends := check.ends(); (valid && ends) != utf8.Valid(data) {
			t.Errorf("text: %t, %t, want %t", valid, ends, utf8.Valid(data))
		}
	})
}

func BenchmarkFrames(b *testing.B) {
	message := append([]byte{0x81, 0x80 | 100, 1, 2, 3, 4}, bytes.Repeat([]byte("x"), 100)...)
	var f frames
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.pass(message); err != nil {
			b.Fatal(err)
		}
	}
}
