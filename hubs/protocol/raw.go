package protocol

import (
	"iter"
	"slices"
	"unicode/utf8"
)

// Clone returns a copy of r that borrows from nothing.
func (r Raw) Clone() Raw {
	return Raw{r.Encoding, slices.Clone(r.Bytes)}
}

// Check returns an *Error unless r is exactly one well-formed value that may
// stand inside a message: nested at most MaxDepth levels, the message included,
// and, in JSON, valid UTF-8. What Parse returns has been checked.
func (r Raw) Check() error {
	if r.Encoding == MessagePack {
		m := mpReader{b: r.Bytes, pending: 1}
		if _, ok := m.skip(MaxDepth - 1); !ok || len(m.b) > 0 {
			return errReadingMessagePack
		}
		return nil
	}
	if !utf8.Valid(r.Bytes) {
		return errReadingJSON
	}
	end := scanValue(r.Bytes, skipSpace(r.Bytes, 0), MaxDepth-1)
	if end < 0 || skipSpace(r.Bytes, end) != len(r.Bytes) {
		return errReadingJSON
	}
	return nil
}

// CountArguments checks that r is one array that can be an invocation's
// arguments and returns how many there are.
func CountArguments(r Raw) (int, error) {
	if err := r.Check(); err != nil {
		return 0, err
	}
	var count int
	if r.Encoding == MessagePack {
		var ok bool
		m := mpReader{b: r.Bytes, pending: 1}
		if count, ok = m.array(); !ok {
			return 0, errExpected("arguments", "Array")
		}
	} else {
		i := skipSpace(r.Bytes, 0)
		if r.Bytes[i] != '[' {
			return 0, errExpected("arguments", "Array")
		}
		_, count = scanArray(r.Bytes, i, MaxDepth)
	}
	if count > MaxArguments {
		return 0, errTooManyArguments
	}
	return count, nil
}

// NewArguments makes an arguments array in notation e of checked values;
// those in the other notation are transcoded. It fails where AppendJSON or
// AppendMessagePack do and on more than MaxArguments values.
func NewArguments(e Encoding, values ...Raw) (Raw, error) {
	if len(values) > MaxArguments {
		return Raw{}, errTooManyArguments
	}
	size := 8
	for _, v := range values {
		size += len(v.Bytes) + 1
	}
	b := make([]byte, 0, size)
	var err error
	if e == MessagePack {
		b = appendMPHeader(b, len(values), false)
		for _, v := range values {
			if b, err = appendMPRaw(b, v); err != nil {
				return Raw{}, err
			}
		}
		return Raw{MessagePack, b}, nil
	}
	b = append(b, '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendJSONRaw(b, v); err != nil {
			return Raw{}, err
		}
	}
	return Raw{JSON, append(b, ']')}, nil
}

// Elements yields the elements of r, a checked array; they borrow from r. It
// yields none when r is something else.
func Elements(r Raw) iter.Seq[Raw] {
	if r.Encoding == MessagePack {
		return r.messagePackElements
	}
	return r.jsonElements
}

// AppendElements appends the elements of r, as Elements yields them.
func AppendElements(dst []Raw, r Raw) []Raw {
	if r.Encoding == MessagePack {
		r.messagePackElements(func(e Raw) bool {
			dst = append(dst, e)
			return true
		})
		return dst
	}
	r.jsonElements(func(e Raw) bool {
		dst = append(dst, e)
		return true
	})
	return dst
}

func (r Raw) messagePackElements(yield func(Raw) bool) {
	m := mpReader{b: r.Bytes, pending: 1}
	count, ok := m.array()
	for range count {
		var element []byte
		if !ok {
			return
		}
		if element, ok = m.skip(MaxDepth); !ok || !yield(Raw{MessagePack, element}) {
			return
		}
	}
}

func (r Raw) jsonElements(yield func(Raw) bool) {
	b := r.Bytes
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '[' {
		return
	}
	for i < len(b) && b[i] != ']' {
		i = skipSpace(b, i+1) // the bracket or a comma
		end := scanValue(b, i, MaxDepth)
		if end < 0 || !yield(Raw{JSON, b[i:end:end]}) {
			return
		}
		i = skipSpace(b, end)
	}
}
