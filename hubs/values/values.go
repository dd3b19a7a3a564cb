package values

import (
	"math"
	"reflect"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// jsonOptions are those of every call of the JSON library.
var jsonOptions = json.JoinOptions(json.MatchCaseInsensitiveNames(true))

// Append appends v in notation e and returns the longer slice; on an error dst
// comes back as it was. NaN and infinities are errors in both notations.
func Append(dst []byte, e protocol.Encoding, v any) ([]byte, error) {
	if raw, ok := v.(protocol.Raw); ok {
		if e == protocol.MessagePack {
			return protocol.AppendMessagePack(dst, raw)
		}
		return protocol.AppendJSON(dst, raw)
	}
	if e == protocol.MessagePack {
		w := writer{}
		return w.append(dst, v)
	}
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	}
	b, err := json.Marshal(v, jsonOptions)
	if err != nil {
		return dst, err
	}
	return append(dst, b...), nil
}

// Encode returns v as a raw value in notation e; see Append.
func Encode(e protocol.Encoding, v any) (protocol.Raw, error) {
	b, err := Append(nil, e, v)
	return protocol.Raw{Encoding: e, Bytes: b}, err
}

// Arguments returns an invocation's arguments in notation e; see Append.
func Arguments(e protocol.Encoding, args ...any) (protocol.Raw, error) {
	if len(args) > protocol.MaxArguments {
		return protocol.Raw{}, errTooMany
	}
	if e == protocol.MessagePack {
		return (&writer{}).arguments(args)
	}
	b := append(make([]byte, 0, 64), '[')
	for i, v := range args {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = Append(b, e, v); err != nil {
			return protocol.Raw{}, argumentError(i, err)
		}
	}
	return protocol.Raw{Encoding: e, Bytes: append(b, ']')}, nil
}

// Portable returns arguments for peers of both notations. They are MessagePack,
// from which JSON follows without a loss, unless one of them writes its own
// JSON: that may hold numbers which only JSON can.
func Portable(args ...any) (protocol.Raw, error) {
	if len(args) > protocol.MaxArguments {
		return protocol.Raw{}, errTooMany
	}
	w := writer{}
	r, err := w.arguments(args)
	if w.custom {
		return Arguments(protocol.JSON, args...)
	}
	return r, err
}

// Decode reads r, which must have been checked, into what v points to.
func Decode(r protocol.Raw, v any) error {
	return DecodeValue(r, reflect.ValueOf(v).Elem())
}

// DecodeValue reads r, which must have been checked, into v, which must be
// settable. Strings and byte slices are copies.
func DecodeValue(r protocol.Raw, v reflect.Value) error {
	if v.Type() == rawType {
		v.Set(reflect.ValueOf(r.Clone()))
		return nil
	}
	if r.Encoding == protocol.MessagePack {
		rest, err := decode(r.Bytes, v)
		if err == nil && len(rest) > 0 {
			err = errTrailing
		}
		return err
	}
	if v.Type().PkgPath() == "" && decodeSimple(r.Bytes, v) {
		return nil
	}
	return json.Unmarshal(r.Bytes, v.Addr().Interface(), jsonOptions)
}

// decodeSimple reads the commonest JSON values without the machinery that
// others need. It reports false when the value isn't one of them.
func decodeSimple(b []byte, v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		if len(b) < 2 || b[0] != '"' || b[len(b)-1] != '"' {
			return false
		}
		for _, c := range b[1 : len(b)-1] {
			if c == '\\' || c == '"' {
				return false
			}
		}
		v.SetString(string(b[1 : len(b)-1]))
		return true
	case reflect.Int, reflect.Int64, reflect.Int32:
		if len(b) > 9 {
			return false
		}
		n := int64(0)
		digits := b
		if len(b) > 1 && b[0] == '-' {
			digits = b[1:]
		}
		for _, c := range digits {
			if c < '0' || c > '9' {
				return false
			}
			n = 10*n + int64(c-'0')
		}
		if len(digits) < len(b) {
			n = -n
		}
		v.SetInt(n)
		return len(b) > 0
	}
	return false
}

// isFinite reports whether f can be written in both notations.
func isFinite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }
