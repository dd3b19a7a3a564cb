package protocol

import (
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tinylib/msgp/msgp"
)

// mpWriter writes JSON as MessagePack. Heads hold counts that aren't known
// before the end, so contents are written first and moved behind their head:
// no memory is needed, and a byte moves at most MaxDepth times.
type mpWriter struct {
	b       []byte
	objects bool // one was written: names must be checked
}

func (t *mpWriter) message(dst []byte) ([]byte, error) {
	if !utf8.Valid(t.b) {
		return dst, errReadingJSON
	}
	dst, end, err := t.value(dst, skipSpace(t.b, 0), MaxDepth-1)
	if err == nil && skipSpace(t.b, end) != len(t.b) {
		err = errReadingJSON
	}
	return dst, err
}

// value writes the value at b[i] and returns the index after it.
func (t *mpWriter) value(dst []byte, i, depth int) (_ []byte, end int, err error) {
	if i >= len(t.b) {
		return dst, 0, errReadingJSON
	}
	switch t.b[i] {
	case '"':
		return t.text(dst, i)
	case '[':
		return t.array(dst, i, depth)
	case '{':
		return t.object(dst, i, depth)
	case 't':
		end, dst = scanLiteral(t.b, i, "true"), msgp.AppendBool(dst, true)
	case 'f':
		end, dst = scanLiteral(t.b, i, "false"), msgp.AppendBool(dst, false)
	case 'n':
		end, dst = scanLiteral(t.b, i, "null"), msgp.AppendNil(dst)
	default:
		return t.number(dst, i)
	}
	if end < 0 {
		return dst, 0, errReadingJSON
	}
	return dst, end, nil
}

func (t *mpWriter) number(dst []byte, i int) ([]byte, int, error) {
	end := scanNumber(t.b, i)
	if end < 0 {
		return dst, 0, errReadingJSON
	}
	text := t.b[i:end]
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return appendMPInt(dst, n), end, nil
	}
	if n, err := strconv.ParseUint(string(text), 10, 64); err == nil {
		return msgp.AppendUint64(dst, n), end, nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.IsInf(f, 0) {
		return dst, 0, errNumberRange
	}
	return msgp.AppendFloat64(dst, f), end, nil
}

func (t *mpWriter) text(dst []byte, i int) ([]byte, int, error) {
	end, escaped := scanString(t.b, i)
	if end < 0 {
		return dst, 0, errReadingJSON
	}
	if !escaped {
		return msgp.AppendStringFromBytes(dst, t.b[i+1:end-1]), end, nil
	}
	at := len(dst)
	dst, _ = jsontext.AppendUnquote(dst, t.b[i:end]) // scanned: the error can only report a U+FFFD
	var head [5]byte
	return insert(dst, at, appendMPStringHead(head[:0], len(dst)-at)), end, nil
}

// appendMPStringHead writes the shortest head of a text of n bytes.
func appendMPStringHead(dst []byte, n int) []byte {
	switch {
	case n <= 31:
		return append(dst, 0xA0|byte(n))
	case n <= math.MaxUint8:
		return append(dst, 0xD9, byte(n))
	case n <= math.MaxUint16:
		return append(dst, 0xDA, byte(n>>8), byte(n))
	default:
		return append(dst, 0xDB, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
}

// appendMPHeader writes the shortest head of an array or a map.
func appendMPHeader(dst []byte, count int, mapping bool) []byte {
	if mapping {
		return msgp.AppendMapHeader(dst, uint32(count))
	}
	return msgp.AppendArrayHeader(dst, uint32(count))
}

func (t *mpWriter) array(dst []byte, i, depth int) (_ []byte, end int, err error) {
	if depth <= 0 {
		return dst, 0, errDepth
	}
	at, count := len(dst), 0
	i = skipSpace(t.b, i+1)
	for more := i >= len(t.b) || t.b[i] != ']'; more; count++ {
		if dst, i, err = t.value(dst, i, depth-1); err != nil {
			return dst, 0, err
		}
		i = skipSpace(t.b, i)
		if i >= len(t.b) || t.b[i] != ',' && t.b[i] != ']' {
			return dst, 0, errReadingJSON
		}
		if more = t.b[i] == ','; more {
			i = skipSpace(t.b, i+1)
		}
	}
	var head [5]byte
	return insert(dst, at, appendMPHeader(head[:0], count, false)), i + 1, nil
}

func (t *mpWriter) object(dst []byte, i, depth int) (_ []byte, end int, err error) {
	if depth <= 0 {
		return dst, 0, errDepth
	}
	t.objects = true
	at, count := len(dst), 0
	i, more := openObject(t.b, i)
	for ; more; count++ {
		_, _, value := scanName(t.b, i)
		if value < 0 {
			return dst, 0, errReadingJSON
		}
		if dst, _, err = t.text(dst, i); err != nil {
			return dst, 0, err
		}
		if dst, i, err = t.value(dst, value, depth-1); err != nil {
			return dst, 0, err
		}
		if i, more = nextMember(t.b, i); i < 0 {
			return dst, 0, errReadingJSON
		}
	}
	var head [5]byte
	return insert(dst, at, appendMPHeader(head[:0], count, true)), i, nil
}
