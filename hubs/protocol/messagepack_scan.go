package protocol

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// mpSize describes the head of one MessagePack object: its length in bytes
// without its elements, and how many objects follow as its elements (a map has
// two per entry). It reports false on a head that is no MessagePack or that
// promises more bytes than b has.
func mpSize(b []byte) (size, elements int, ok bool) {
	if len(b) == 0 {
		return 0, 0, false
	}
	c := b[0]
	switch {
	case c < 0x80 || c >= 0xE0: // fixint
		return 1, 0, true
	case c < 0x90: // fixmap
		return 1, 2 * int(c&0x0F), true
	case c < 0xA0: // fixarray
		return 1, int(c & 0x0F), true
	case c < 0xC0: // fixstr
		size = 1 + int(c&0x1F)
		return size, 0, size <= len(b)
	}
	switch c {
	case 0xC0, 0xC2, 0xC3: // nil, false, true
		return 1, 0, true
	case 0xCC, 0xD0: // 8 bits
		size = 2
	case 0xCD, 0xD1: // 16 bits
		size = 3
	case 0xCA, 0xCE, 0xD2: // 32 bits
		size = 5
	case 0xCB, 0xCF, 0xD3: // 64 bits
		size = 9
	case 0xD4, 0xD5, 0xD6, 0xD7, 0xD8: // fixext 1 to 16
		size = 2 + 1<<(c-0xD4)
	case 0xC4, 0xD9, 0xC5, 0xDA, 0xC6, 0xDB: // bin, str
		n, head, ok := mpLength(b)
		return head + n, 0, ok && head+n <= len(b)
	case 0xC7, 0xC8, 0xC9: // ext
		n, head, ok := mpLength(b)
		return head + 1 + n, 0, ok && head+1+n <= len(b)
	case 0xDC, 0xDD: // array
		n, head, ok := mpLength(b)
		return head, n, ok
	case 0xDE, 0xDF: // map
		n, head, ok := mpLength(b)
		return head, 2 * n, ok
	default: // 0xC1 is never used
		return 0, 0, false
	}
	return size, 0, size <= len(b)
}

// mpLength reads the length that follows the first byte of b, and returns it
// with the length of the head that it ends.
func mpLength(b []byte) (n, head int, ok bool) {
	switch b[0] {
	case 0xC4, 0xD9, 0xC7:
		if len(b) >= 2 {
			return int(b[1]), 2, true
		}
	case 0xC5, 0xDA, 0xC8, 0xDC, 0xDE:
		if len(b) >= 3 {
			return int(binary.BigEndian.Uint16(b[1:])), 3, true
		}
	case 0xC6, 0xDB, 0xC9, 0xDD, 0xDF:
		// Nothing so long fits in a message; and twice that fits in any int.
		if len(b) >= 5 {
			n := binary.BigEndian.Uint32(b[1:])
			return int(n), 5, n < 1<<30
		}
	}
	return 0, 0, false
}

// mpReader reads a message's objects one after the other. Every object takes at
// least one byte, so pending, the number of objects that have been promised and
// not yet been read, may never exceed the bytes that are left: one budget for
// the whole message, nested heads included, checked before anything is read.
type mpReader struct {
	b       []byte
	pending int
}

// skip passes over one object in which depth more levels may nest. It returns
// the object's bytes.
func (r *mpReader) skip(depth int) ([]byte, bool) {
	var left [MaxDepth]int // elements still to come, per open level
	start, level := r.b, -1
	for {
		size, elements, ok := mpSize(r.b)
		if !ok {
			return nil, false
		}
		r.b = r.b[size:]
		r.pending += elements - 1
		if r.pending > len(r.b) {
			return nil, false
		}
		if elements > 0 || isMPContainer(start[len(start)-len(r.b)-size]) {
			if level++; level >= depth || level >= MaxDepth {
				return nil, false
			}
			left[level] = elements
		} else if level >= 0 {
			left[level]--
		}
		for level >= 0 && left[level] == 0 {
			if level--; level >= 0 {
				left[level]--
			}
		}
		if level < 0 {
			n := len(start) - len(r.b)
			return start[:n:n], true
		}
	}
}

func isMPContainer(c byte) bool { return c >= 0x80 && c < 0xA0 || c >= 0xDC && c <= 0xDF }

// array opens an array and returns the number of its elements, which the reader
// then expects.
func (r *mpReader) array() (int, bool) {
	if len(r.b) == 0 || msgp.NextType(r.b) != msgp.ArrayType {
		return 0, false
	}
	return r.open(1)
}

// mapping opens a map and returns the number of its entries.
func (r *mpReader) mapping() (int, bool) {
	if len(r.b) == 0 || msgp.NextType(r.b) != msgp.MapType {
		return 0, false
	}
	return r.open(2)
}

func (r *mpReader) open(objectsPerElement int) (int, bool) {
	size, elements, ok := mpSize(r.b)
	if !ok {
		return 0, false
	}
	r.b = r.b[size:]
	r.pending += elements - 1
	return elements / objectsPerElement, r.pending <= len(r.b)
}

// text reads a string; nil tells null from the empty string.
func (r *mpReader) text() (s []byte, null, ok bool) {
	if msgp.IsNil(r.b) {
		r.b, r.pending = r.b[1:], r.pending-1
		return nil, true, true
	}
	s, rest, err := msgp.ReadStringZC(r.b)
	if err != nil || !utf8.Valid(s) {
		return nil, false, false
	}
	r.b, r.pending = rest, r.pending-1
	return s, false, true
}

// integer reads an integer of any width. Floats are none.
func (r *mpReader) integer() (int64, bool) {
	if len(r.b) == 0 {
		return 0, false
	}
	switch msgp.NextType(r.b) {
	case msgp.IntType, msgp.UintType:
	default:
		return 0, false
	}
	n, rest, err := msgp.ReadInt64Bytes(r.b)
	if err != nil {
		return 0, false
	}
	r.b, r.pending = rest, r.pending-1
	return n, true
}

func (r *mpReader) boolean() (v, ok bool) {
	v, rest, err := msgp.ReadBoolBytes(r.b)
	if err != nil {
		return false, false
	}
	r.b, r.pending = rest, r.pending-1
	return v, true
}
