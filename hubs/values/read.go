package values

import (
	"encoding"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/tinylib/msgp/msgp"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// decode reads the first MessagePack object of b into v and returns what
// follows it. nil makes v its zero value.
func decode(b []byte, v reflect.Value) (rest []byte, err error) {
	if len(b) == 0 {
		return b, errMalformed
	}
	if msgp.IsNil(b) {
		v.SetZero()
		return b[1:], nil
	}
	t := v.Type()
	if t.PkgPath() != "" || t.Kind() == reflect.Struct {
		switch c := classOf(t); c.read {
		case asTime:
			return decodeTime(b, v)
		case asText:
			text, rest, err := readText(b, t)
			if err != nil {
				return b, err
			}
			return rest, v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(text)
		case asJSON:
			return throughJSON(b, v)
		case byKind:
			if t.Kind() == reflect.Struct {
				return decodeObject(b, v, c)
			}
		}
	}
	switch t.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(t.Elem()))
		}
		return decode(b, v.Elem())
	case reflect.Interface:
		if t.NumMethod() > 0 {
			return b, mismatch("a value", t)
		}
		x, rest, err := decodeAny(b)
		if err == nil && x != nil {
			v.Set(reflect.ValueOf(x))
		}
		return rest, err
	case reflect.Slice, reflect.Array:
		return decodeList(b, v)
	case reflect.Map:
		return decodeMap(b, v)
	}
	return decodeScalar(b, v)
}

// throughJSON lets v read its own JSON.
func throughJSON(b []byte, v reflect.Value) ([]byte, error) {
	rest, err := msgp.Skip(b)
	if err != nil {
		return b, errMalformed
	}
	text, err := protocol.AppendJSON(nil, protocol.Raw{Encoding: protocol.MessagePack, Bytes: b[:len(b)-len(rest)]})
	if err != nil {
		return b, err
	}
	return rest, json.Unmarshal(text, v.Addr().Interface(), jsonOptions)
}

func readText(b []byte, t reflect.Type) (text, rest []byte, err error) {
	if msgp.NextType(b) != msgp.StrType {
		return nil, b, mismatch(kindName(b), t)
	}
	text, rest, err = msgp.ReadStringZC(b)
	if err != nil {
		return nil, b, errMalformed
	}
	if !utf8.Valid(text) {
		return nil, b, errUTF8
	}
	return text, rest, nil
}

// decodeTime reads a timestamp extension, or the text that JSON peers write.
func decodeTime(b []byte, v reflect.Value) ([]byte, error) {
	if msgp.NextType(b) == msgp.StrType {
		text, rest, err := readText(b, timeType)
		if err != nil {
			return b, err
		}
		return rest, v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(text)
	}
	at, rest, err := readTime(b)
	if err != nil {
		return b, mismatch(kindName(b), timeType)
	}
	v.Set(reflect.ValueOf(at))
	return rest, nil
}

func readTime(b []byte) (time.Time, []byte, error) {
	at, rest, err := msgp.ReadTimeBytes(b)
	return at.UTC(), rest, err
}

func decodeScalar(b []byte, v reflect.Value) ([]byte, error) {
	t, next := v.Type(), msgp.NextType(b)
	switch kind := t.Kind(); {
	case kind == reflect.String:
		text, rest, err := readText(b, t)
		if err != nil {
			return b, err
		}
		v.SetString(string(text))
		return rest, nil
	case kind == reflect.Bool && next == msgp.BoolType:
		x, rest, err := msgp.ReadBoolBytes(b)
		v.SetBool(x)
		return rest, err
	case v.CanInt() && (next == msgp.IntType || next == msgp.UintType):
		n, rest, err := msgp.ReadInt64Bytes(b)
		if err != nil || v.OverflowInt(n) {
			return b, outOfRange(t)
		}
		v.SetInt(n)
		return rest, nil
	case v.CanUint() && (next == msgp.IntType || next == msgp.UintType):
		n, rest, err := msgp.ReadUint64Bytes(b)
		if err != nil || v.OverflowUint(n) {
			return b, outOfRange(t)
		}
		v.SetUint(n)
		return rest, nil
	case v.CanFloat():
		f, rest, ok := readFloat(b, next)
		if !ok {
			return b, mismatch(kindName(b), t)
		}
		if v.OverflowFloat(f) {
			return b, outOfRange(t)
		}
		v.SetFloat(f)
		return rest, nil
	}
	return b, mismatch(kindName(b), t)
}

// readFloat reads any number.
func readFloat(b []byte, next msgp.Type) (float64, []byte, bool) {
	switch next {
	case msgp.Float32Type:
		f, rest, err := msgp.ReadFloat32Bytes(b)
		return float64(f), rest, err == nil
	case msgp.Float64Type:
		f, rest, err := msgp.ReadFloat64Bytes(b)
		return f, rest, err == nil
	case msgp.IntType:
		n, rest, err := msgp.ReadInt64Bytes(b)
		return float64(n), rest, err == nil
	case msgp.UintType:
		n, rest, err := msgp.ReadUint64Bytes(b)
		return float64(n), rest, err == nil
	}
	return 0, b, false
}

func decodeList(b []byte, v reflect.Value) ([]byte, error) {
	t := v.Type()
	if t.Elem().Kind() == reflect.Uint8 && t.Elem().PkgPath() == "" && msgp.NextType(b) == msgp.BinType {
		content, rest, err := msgp.ReadBytesZC(b)
		switch {
		case err != nil:
			return b, errMalformed
		case t.Kind() == reflect.Slice:
			v.SetBytes(append([]byte{}, content...))
		case len(content) != t.Len():
			return b, mismatch(strconv.Itoa(len(content))+" bytes", t)
		default:
			reflect.Copy(v, reflect.ValueOf(content))
		}
		return rest, nil
	}
	if msgp.NextType(b) != msgp.ArrayType {
		return b, mismatch(kindName(b), t)
	}
	count, rest, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil || uint64(count) > uint64(len(rest)) {
		return b, errMalformed
	}
	if t.Kind() == reflect.Array {
		if int(count) != t.Len() {
			return b, mismatch(strconv.Itoa(int(count))+" elements", t)
		}
		for i := range t.Len() {
			if rest, err = decode(rest, v.Index(i)); err != nil {
				return b, err
			}
		}
		return rest, nil
	}
	v.Set(reflect.MakeSlice(t, 0, min(int(count), 64)))
	for range count {
		if v.Len() == v.Cap() {
			v.Grow(1)
		}
		v.SetLen(v.Len() + 1)
		if rest, err = decode(rest, v.Index(v.Len()-1)); err != nil {
			return b, err
		}
	}
	return rest, nil
}

func decodeMap(b []byte, v reflect.Value) ([]byte, error) {
	t := v.Type()
	count, rest, err := mapHeader(b, t)
	if err != nil {
		return b, err
	}
	m := reflect.MakeMap(t)
	for range count {
		key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		if rest, err = decodeKey(rest, key); err != nil {
			return b, err
		}
		if m.MapIndex(key).IsValid() {
			return b, errDuplicate
		}
		if rest, err = decode(rest, value); err != nil {
			return b, err
		}
		m.SetMapIndex(key, value)
	}
	v.Set(m)
	return rest, nil
}

func mapHeader(b []byte, t reflect.Type) (uint32, []byte, error) {
	if msgp.NextType(b) != msgp.MapType {
		return 0, b, mismatch(kindName(b), t)
	}
	count, rest, err := msgp.ReadMapHeaderBytes(b)
	if err != nil || 2*uint64(count) > uint64(len(rest)) {
		return 0, b, errMalformed
	}
	return count, rest, nil
}

// decodeKey reads a map's key; an integer may come as text, as from JavaScript.
func decodeKey(b []byte, key reflect.Value) ([]byte, error) {
	t := key.Type()
	if !isInteger(t.Kind()) || (t.PkgPath() != "" && classOf(t).read == asText) || msgp.NextType(b) != msgp.StrType {
		return decode(b, key)
	}
	text, rest, err := readText(b, t)
	if err != nil {
		return b, err
	}
	if key.CanInt() {
		n, err := strconv.ParseInt(string(text), 10, t.Bits())
		key.SetInt(n)
		return rest, err
	}
	n, err := strconv.ParseUint(string(text), 10, t.Bits())
	key.SetUint(n)
	return rest, err
}

func decodeObject(b []byte, v reflect.Value, c *class) ([]byte, error) {
	count, rest, err := mapHeader(b, v.Type())
	if err != nil {
		return b, err
	}
	seen := make([]bool, len(c.fields))
	for range count {
		var name []byte
		if name, rest, err = readText(rest, v.Type()); err != nil {
			return b, err
		}
		i, known := c.find(name)
		if !known {
			if rest, err = msgp.Skip(rest); err != nil {
				return b, errMalformed
			}
			continue
		}
		if seen[i] {
			return b, errDuplicate
		}
		seen[i] = true
		if rest, err = decode(rest, v.FieldByIndex(c.fields[i].index)); err != nil {
			return b, err
		}
	}
	return rest, nil
}

// find returns the property with this name in any case.
func (c *class) find(name []byte) (int, bool) {
	if i, ok := c.byName[string(name)]; ok {
		return i, true
	}
	i, ok := c.byName[strings.ToLower(string(name))]
	return i, ok
}

// decodeAny reads what nobody gave a type: bool, int64 (uint64 above it),
// float64, string, []byte, time.Time, []any or map[string]any.
func decodeAny(b []byte) (any, []byte, error) {
	switch next := msgp.NextType(b); next {
	case msgp.NilType:
		return nil, b[1:], nil
	case msgp.BoolType:
		return read(msgp.ReadBoolBytes, b)
	case msgp.IntType, msgp.UintType:
		n, rest, err := msgp.ReadUint64Bytes(b)
		if err == nil && n > math.MaxInt64 {
			return n, rest, nil
		}
		return read(msgp.ReadInt64Bytes, b)
	case msgp.Float32Type, msgp.Float64Type:
		f, rest, _ := readFloat(b, next)
		return f, rest, nil
	case msgp.StrType:
		text, rest, err := readText(b, anyType)
		return string(text), rest, err
	case msgp.BinType:
		content, rest, err := msgp.ReadBytesZC(b)
		return append([]byte{}, content...), rest, err
	case msgp.ArrayType:
		var list []any
		rest, err := decodeList(b, reflect.ValueOf(&list).Elem())
		return list, rest, err
	case msgp.MapType:
		var m map[string]any
		rest, err := decodeMap(b, reflect.ValueOf(&m).Elem())
		return m, rest, err
	}
	at, rest, err := readTime(b)
	if err != nil {
		return nil, b, mismatch(kindName(b), anyType)
	}
	return at, rest, nil
}

func read[T any](f func([]byte) (T, []byte, error), b []byte) (any, []byte, error) {
	v, rest, err := f(b)
	return v, rest, err
}

func kindName(b []byte) string { return "MessagePack " + msgp.NextType(b).String() }
