package protocol

import (
	"encoding/base64"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tinylib/msgp/msgp"
)

// jsonWriter writes MessagePack as JSON.
type jsonWriter struct {
	r       mpReader
	objects bool // one was written: names must be checked
}

func (t *jsonWriter) value(dst []byte, depth int) ([]byte, error) {
	size, _, ok := mpSize(t.r.b)
	if !ok {
		return dst, errReadingMessagePack
	}
	switch msgp.NextType(t.r.b) {
	case msgp.ArrayType:
		return t.array(dst, depth)
	case msgp.MapType:
		return t.mapping(dst, depth)
	case msgp.NilType:
		dst = append(dst, "null"...)
	case msgp.BinType:
		content, _, err := msgp.ReadBytesZC(t.r.b)
		if err != nil {
			return dst, errReadingMessagePack
		}
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, content)
		dst = append(dst, '"')
	default:
		return t.scalar(dst)
	}
	t.r.b, t.r.pending = t.r.b[size:], t.r.pending-1
	return dst, nil
}

// scalar writes what may also be a map's key; of those only text and
// timestamps come out in quotes.
func (t *jsonWriter) scalar(dst []byte) ([]byte, error) {
	b := t.r.b
	size, _, ok := mpSize(b)
	if !ok {
		return dst, errReadingMessagePack
	}
	switch msgp.NextType(b) {
	case msgp.StrType:
		text, _, err := msgp.ReadStringZC(b)
		if err != nil {
			return dst, errReadingMessagePack
		}
		if !utf8.Valid(text) {
			return dst, errInvalidUTF8
		}
		dst, _ = jsontext.AppendQuote(dst, text) // fails on invalid UTF-8 alone
	case msgp.BoolType:
		dst = strconv.AppendBool(dst, b[0] == 0xC3)
	case msgp.IntType:
		n, _, err := msgp.ReadInt64Bytes(b)
		if err != nil {
			return dst, errReadingMessagePack
		}
		dst = strconv.AppendInt(dst, n, 10)
	case msgp.UintType:
		n, _, err := msgp.ReadUint64Bytes(b)
		if err != nil {
			return dst, errReadingMessagePack
		}
		dst = strconv.AppendUint(dst, n, 10)
	case msgp.Float32Type:
		f, _, err := msgp.ReadFloat32Bytes(b)
		if err != nil || !isFinite(float64(f)) {
			return dst, errNotFinite
		}
		dst = jsontext.AppendFloat(dst, float64(f), 32)
	case msgp.Float64Type:
		f, _, err := msgp.ReadFloat64Bytes(b)
		if err != nil || !isFinite(f) {
			return dst, errNotFinite
		}
		dst = jsontext.AppendFloat(dst, f, 64)
	default:
		at, err := mpTimestamp(b)
		if err != nil {
			return dst, err
		}
		dst = append(dst, '"')
		dst = at.AppendFormat(dst, time.RFC3339Nano)
		dst = append(dst, '"')
	}
	t.r.b, t.r.pending = b[size:], t.r.pending-1
	return dst, nil
}

func isFinite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// mpTimestamp reads the timestamp extension (MessagePack spec, "Timestamp
// extension type") that b, whose length is known to be good, begins with.
func mpTimestamp(b []byte) (time.Time, error) {
	kind := 1 // where the extension's type stands
	if b[0] >= 0xC7 && b[0] <= 0xC9 {
		_, kind, _ = mpLength(b)
	}
	if int8(b[kind]) != msgp.MsgTimeExtension {
		return time.Time{}, errExtension
	}
	at, _, err := msgp.ReadTimeUTCBytes(b)
	if err != nil || at.Year() < 1 || at.Year() > 9999 {
		return time.Time{}, errTimestamp
	}
	return at, nil
}

func (t *jsonWriter) array(dst []byte, depth int) ([]byte, error) {
	if depth <= 0 {
		return dst, errDepth
	}
	count, ok := t.r.array()
	if !ok {
		return dst, errReadingMessagePack
	}
	dst = append(dst, '[')
	for i := range count {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = t.value(dst, depth-1); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func (t *jsonWriter) mapping(dst []byte, depth int) ([]byte, error) {
	if depth <= 0 {
		return dst, errDepth
	}
	count, ok := t.r.mapping()
	if !ok {
		return dst, errReadingMessagePack
	}
	t.objects = true
	dst = append(dst, '{')
	for i := range count {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = t.key(dst); err != nil {
			return dst, err
		}
		dst = append(dst, ':')
		if dst, err = t.value(dst, depth-1); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

func (t *jsonWriter) key(dst []byte) ([]byte, error) {
	switch msgp.NextType(t.r.b) {
	case msgp.StrType:
		return t.scalar(dst)
	case msgp.IntType, msgp.UintType, msgp.BoolType, msgp.Float32Type, msgp.Float64Type:
		dst, err := t.scalar(append(dst, '"'))
		return append(dst, '"'), err
	case msgp.InvalidType:
		return dst, errReadingMessagePack
	default:
		return dst, errMapKey
	}
}
