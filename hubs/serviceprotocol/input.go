package serviceprotocol

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// maxSkipDepth is how deep an object may nest that is passed over.
const maxSkipDepth = 32

// input is MessagePack that is read from the front. A method that reports false
// found something else, or less; the input is of no use then.
type input []byte

// head is a kind of container: its fix, 16 bit and 32 bit forms.
type head struct{ fix, wide, widest byte }

var (
	arrayHead = head{0x90, 0xDC, 0xDD}
	mapHead   = head{0x80, 0xDE, 0xDF}
)

// take cuts off the first n bytes.
func (in *input) take(n int) ([]byte, bool) {
	if n < 0 || n > len(*in) {
		return nil, false
	}
	b := (*in)[:n:n]
	*in = (*in)[n:]
	return b, true
}

// number reads n bytes, big-endian.
func (in *input) number(n int) (uint64, bool) {
	b, ok := in.take(n)
	if !ok {
		return 0, false
	}
	switch n {
	case 1:
		return uint64(b[0]), true
	case 2:
		return uint64(binary.BigEndian.Uint16(b)), true
	case 4:
		return uint64(binary.BigEndian.Uint32(b)), true
	default:
		return binary.BigEndian.Uint64(b), true
	}
}

// open reads the head of a container and returns the number of its items or
// entries. nil is an empty one.
func (in *input) open(kind head) (int, bool) {
	b, ok := in.take(1)
	if !ok {
		return 0, false
	}
	var width int
	switch c := b[0]; {
	case c&0xF0 == kind.fix:
		return int(c & 0x0F), true
	case c == kind.wide:
		width = 2
	case c == kind.widest:
		width = 4
	default:
		return 0, c == 0xC0
	}
	n, ok := in.number(width)
	if !ok || n > math.MaxInt32 {
		return 0, false
	}
	return int(n), true
}

// integer reads an integer of any width that an int64 holds.
func (in *input) integer() (int64, bool) {
	if len(*in) == 0 {
		return 0, false
	}
	c := (*in)[0]
	switch c {
	case 0xD0, 0xD1, 0xD2, 0xD3:
		*in = (*in)[1:]
		width := 1 << (c - 0xD0)
		v, ok := in.number(width)
		shift := 64 - 8*width
		return int64(v<<shift) >> shift, ok
	}
	if c >= 0xE0 {
		*in = (*in)[1:]
		return int64(int8(c)), true
	}
	v, ok := in.unsigned()
	return int64(v), ok && v <= math.MaxInt64
}

// unsigned reads an integer that isn't negative, in any form.
func (in *input) unsigned() (uint64, bool) {
	if len(*in) == 0 {
		return 0, false
	}
	switch c := (*in)[0]; {
	case c < 0x80:
		*in = (*in)[1:]
		return uint64(c), true
	case c >= 0xCC && c <= 0xCF:
		*in = (*in)[1:]
		return in.number(1 << (c - 0xCC))
	case c >= 0xD0 && c <= 0xD3:
		v, ok := in.integer()
		return uint64(v), ok && v >= 0
	}
	return 0, false
}

func (in *input) boolean() (v, ok bool) {
	b, ok := in.take(1)
	if !ok || b[0] != 0xC2 && b[0] != 0xC3 {
		return false, false
	}
	return b[0] == 0xC3, true
}

// text reads a string or nil.
func (in *input) text() (string, bool) {
	b, ok := in.take(1)
	if !ok {
		return "", false
	}
	var n uint64
	switch c := b[0]; {
	case c == 0xC0:
		return "", true
	case c >= 0xA0 && c <= 0xBF:
		n = uint64(c & 0x1F)
	case c >= 0xD9 && c <= 0xDB:
		if n, ok = in.number(1 << (c - 0xD9)); !ok {
			return "", false
		}
	default:
		return "", false
	}
	if b, ok = in.take(int(n)); !ok || !utf8.Valid(b) {
		return "", false
	}
	return string(b), true
}

// bytes reads a byte array, or nil, without a copy.
func (in *input) bytes() ([]byte, bool) {
	b, ok := in.take(1)
	if !ok {
		return nil, false
	}
	c := b[0]
	if c == 0xC0 {
		return nil, true
	}
	if c < 0xC4 || c > 0xC6 {
		return nil, false
	}
	n, ok := in.number(1 << (c - 0xC4))
	if !ok {
		return nil, false
	}
	return in.take(int(n))
}

// skip passes over one object with all that is in it. It keeps count of the
// objects to come instead of calling itself, and of the depth.
func (in *input) skip() bool {
	var open [maxSkipDepth]int // objects to come, per level
	for depth := 0; ; {
		objects, ok := in.skipHead()
		if !ok || objects > len(*in) {
			return false
		}
		if objects > 0 {
			if depth == maxSkipDepth {
				return false
			}
			open[depth] = objects
			depth++
			continue
		}
		for depth > 0 {
			if open[depth-1]--; open[depth-1] > 0 {
				break
			}
			depth--
		}
		if depth == 0 {
			return true
		}
	}
}

// skipHead passes over one object but for what is in it, which it counts.
func (in *input) skipHead() (objects int, ok bool) {
	if len(*in) == 0 {
		return 0, false
	}
	c := (*in)[0]
	switch {
	case c >= 0x90 && c <= 0x9F, c == 0xDC, c == 0xDD:
		return in.open(arrayHead)
	case c >= 0x80 && c <= 0x8F, c == 0xDE, c == 0xDF:
		n, ok := in.open(mapHead)
		return 2 * n, ok
	}
	*in = (*in)[1:]
	size, ok := 0, true
	switch {
	case c < 0x80, c >= 0xE0, c == 0xC0, c == 0xC2, c == 0xC3:
	case c >= 0xA0 && c <= 0xBF:
		size = int(c & 0x1F)
	case c == 0xCA:
		size = 4
	case c == 0xCB:
		size = 8
	case c >= 0xCC && c <= 0xCF:
		size = 1 << (c - 0xCC)
	case c >= 0xD0 && c <= 0xD3:
		size = 1 << (c - 0xD0)
	case c >= 0xD4 && c <= 0xD8:
		size = 1 + 1<<(c-0xD4)
	case c >= 0xC4 && c <= 0xC6:
		size, ok = in.size(1 << (c - 0xC4))
	case c >= 0xC7 && c <= 0xC9:
		size, ok = in.size(1 << (c - 0xC7))
		size++
	case c >= 0xD9 && c <= 0xDB:
		size, ok = in.size(1 << (c - 0xD9))
	default: // 0xC1 is never used
		return 0, false
	}
	if !ok {
		return 0, false
	}
	_, ok = in.take(size)
	return 0, ok
}

func (in *input) size(width int) (int, bool) {
	n, ok := in.number(width)
	return int(n), ok
}
