package values

import (
	"encoding"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/tinylib/msgp/msgp"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// writer writes MessagePack.
type writer struct {
	custom bool // a value wrote its own JSON
	depth  int
}

func (w *writer) arguments(args []any) (protocol.Raw, error) {
	b := msgp.AppendArrayHeader(make([]byte, 0, 64), uint32(len(args)))
	for i, v := range args {
		var err error
		if b, err = w.append(b, v); err != nil {
			return protocol.Raw{}, argumentError(i, err)
		}
	}
	return protocol.Raw{Encoding: protocol.MessagePack, Bytes: b}, nil
}

func (w *writer) append(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return msgp.AppendNil(dst), nil
	case string:
		return appendText(dst, v)
	case int:
		return appendInt(dst, int64(v)), nil
	case bool:
		return msgp.AppendBool(dst, v), nil
	case []byte:
		return msgp.AppendBytes(dst, v), nil
	case time.Time:
		return msgp.AppendTimeExt(dst, v), nil
	case protocol.Raw:
		w.custom = w.custom || v.Encoding == protocol.JSON
		return protocol.AppendMessagePack(dst, v)
	}
	out, err := w.value(dst, reflect.ValueOf(v))
	if err != nil {
		return dst, err
	}
	return out, nil
}

func (w *writer) value(dst []byte, v reflect.Value) ([]byte, error) {
	if w.depth++; w.depth >= protocol.MaxDepth {
		return dst, errDepth
	}
	defer func() { w.depth-- }()
	t := v.Type()
	var c *class
	if t.PkgPath() != "" || t.Kind() == reflect.Struct {
		c = classOf(t)
		switch c.write {
		case asTime:
			return msgp.AppendTimeExt(dst, v.Interface().(time.Time)), nil
		case asText:
			text, err := addressable(v).Interface().(encoding.TextMarshaler).MarshalText()
			if err != nil {
				return dst, err
			}
			return appendText(dst, string(text))
		case asJSON:
			return w.throughJSON(dst, v)
		}
	}
	switch t.Kind() {
	case reflect.Bool:
		return msgp.AppendBool(dst, v.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return appendInt(dst, v.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return msgp.AppendUint64(dst, v.Uint()), nil
	case reflect.Float32, reflect.Float64:
		return appendFloat(dst, v)
	case reflect.String:
		return appendText(dst, v.String())
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			return msgp.AppendNil(dst), nil
		}
		return w.value(dst, v.Elem())
	case reflect.Slice, reflect.Array:
		return w.list(dst, v)
	case reflect.Map:
		return w.mapping(dst, v)
	case reflect.Struct:
		return w.object(dst, v, c)
	}
	return dst, mismatchWrite(t)
}

func mismatchWrite(t reflect.Type) error { return &json.SemanticError{GoType: t} }

// throughJSON writes what v's own JSON says.
func (w *writer) throughJSON(dst []byte, v reflect.Value) ([]byte, error) {
	w.custom = true
	b, err := json.Marshal(v.Interface(), jsonOptions)
	if err != nil {
		return dst, err
	}
	return protocol.AppendMessagePack(dst, protocol.Raw{Encoding: protocol.JSON, Bytes: b})
}

// addressable returns a pointer to v or to a copy of it.
func addressable(v reflect.Value) reflect.Value {
	if v.CanAddr() {
		return v.Addr()
	}
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return p
}

// list writes a nil slice as an empty array, as the JSON library does; of bytes
// as bin.
func (w *writer) list(dst []byte, v reflect.Value) ([]byte, error) {
	if v.Type().Elem().Kind() == reflect.Uint8 && v.Type().Elem().PkgPath() == "" {
		if v.Kind() == reflect.Array {
			v = addressable(v).Elem()
		}
		return msgp.AppendBytes(dst, v.Bytes()), nil
	}
	dst = msgp.AppendArrayHeader(dst, uint32(v.Len()))
	for i := range v.Len() {
		var err error
		if dst, err = w.value(dst, v.Index(i)); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// mapping writes entries in the order of their names, so that equal maps have
// equal bytes.
func (w *writer) mapping(dst []byte, v reflect.Value) ([]byte, error) {
	type entry struct {
		name  string
		value reflect.Value
	}
	entries := make([]entry, 0, v.Len())
	for it := v.MapRange(); it.Next(); {
		name, err := keyName(it.Key())
		if err != nil {
			return dst, err
		}
		entries = append(entries, entry{name, it.Value()})
	}
	slices.SortFunc(entries, func(a, b entry) int {
		switch {
		case a.name < b.name:
			return -1
		case a.name > b.name:
			return 1
		}
		return 0
	})
	dst = msgp.AppendMapHeader(dst, uint32(len(entries)))
	for i, e := range entries {
		if i > 0 && entries[i-1].name == e.name {
			return dst, errDuplicate
		}
		var err error
		if dst, err = appendText(dst, e.name); err != nil {
			return dst, err
		}
		if dst, err = w.value(dst, e.value); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// keyName is the property name for a map's key.
func keyName(k reflect.Value) (string, error) {
	if k.Kind() == reflect.Interface {
		k = k.Elem()
	}
	if !k.IsValid() {
		return "", errMalformed
	}
	if k.Type().PkgPath() != "" && classOf(k.Type()).write == asText {
		text, err := addressable(k).Interface().(encoding.TextMarshaler).MarshalText()
		return string(text), err
	}
	switch {
	case k.Kind() == reflect.String:
		return k.String(), nil
	case k.CanInt():
		return strconv.FormatInt(k.Int(), 10), nil
	case k.CanUint():
		return strconv.FormatUint(k.Uint(), 10), nil
	}
	return "", mismatchWrite(k.Type())
}

func (w *writer) object(dst []byte, v reflect.Value, c *class) ([]byte, error) {
	count := 0
	for i := range c.fields {
		if !c.fields[i].omits(v) {
			count++
		}
	}
	dst = msgp.AppendMapHeader(dst, uint32(count))
	for i := range c.fields {
		f := &c.fields[i]
		if f.omits(v) {
			continue
		}
		dst = msgp.AppendString(dst, f.name)
		var err error
		if dst, err = w.value(dst, v.FieldByIndex(f.index)); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// omits reports whether the property is left out of s.
func (f *field) omits(s reflect.Value) bool {
	if !f.omitEmpty && !f.omitZero {
		return false
	}
	v := s.FieldByIndex(f.index)
	if f.omitZero {
		if z, ok := v.Interface().(interface{ IsZero() bool }); ok && z.IsZero() || v.IsZero() {
			return true
		}
	}
	if !f.omitEmpty {
		return false
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return v.IsNil()
	case reflect.String, reflect.Slice, reflect.Map, reflect.Array:
		return v.Len() == 0
	}
	return false
}

func appendText(dst []byte, s string) ([]byte, error) {
	if !validText(s) {
		return dst, errUTF8
	}
	return msgp.AppendString(dst, s), nil
}

// appendInt writes the shortest form.
func appendInt(dst []byte, n int64) []byte {
	if n >= 0 {
		return msgp.AppendUint64(dst, uint64(n))
	}
	return msgp.AppendInt64(dst, n)
}

func appendFloat(dst []byte, v reflect.Value) ([]byte, error) {
	f := v.Float()
	if !isFinite(f) {
		return dst, errNotFinite
	}
	if v.Kind() == reflect.Float32 {
		return msgp.AppendFloat32(dst, float32(f)), nil
	}
	return msgp.AppendFloat64(dst, f), nil
}
