package values

import (
	"encoding"
	jsonv1 "encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/signalbox/signalbox/hubs/protocol"
)

var (
	rawType  = reflect.TypeFor[protocol.Raw]()
	timeType = reflect.TypeFor[time.Time]()
	anyType  = reflect.TypeFor[any]()

	jsonMarshaler     = reflect.TypeFor[jsonv1.Marshaler]()
	jsonMarshalerTo   = reflect.TypeFor[json.MarshalerTo]()
	jsonUnmarshaler   = reflect.TypeFor[jsonv1.Unmarshaler]()
	jsonUnmarshalFrom = reflect.TypeFor[json.UnmarshalerFrom]()
	textMarshaler     = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler   = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// way is how a type is written or read.
type way uint8

const (
	byKind way = iota
	asTime
	asText // through its text methods
	asJSON // through its JSON form
)

// class is what is known of a type.
type class struct {
	write, read way
	fields      []field        // of a struct byKind
	byName      map[string]int // lower-case name → index into fields
}

// field is one property of a struct.
type field struct {
	name      string
	index     []int
	omitEmpty bool
	omitZero  bool
}

var classes sync.Map // reflect.Type → *class

// classOf returns the class of t.
func classOf(t reflect.Type) *class {
	if c, ok := classes.Load(t); ok {
		return c.(*class)
	}
	c := newClass(t)
	known, _ := classes.LoadOrStore(t, c)
	return known.(*class)
}

func newClass(t reflect.Type) *class {
	c := &class{write: writeWay(t), read: readWay(t)}
	if t.Kind() != reflect.Struct || (c.write != byKind && c.read != byKind) {
		return c
	}
	fields, ok := fieldsOf(t, nil)
	c.byName = make(map[string]int, len(fields))
	for i, f := range fields {
		name := strings.ToLower(f.name)
		if _, twice := c.byName[name]; twice {
			ok = false
		}
		c.byName[name] = i
	}
	if !ok {
		// Rules that only the JSON library knows.
		c.write, c.read = max(c.write, asJSON), max(c.read, asJSON)
	}
	c.fields = fields
	return c
}

func writeWay(t reflect.Type) way {
	p := reflect.PointerTo(t)
	switch {
	case t == timeType:
		return asTime
	case t.Kind() == reflect.Interface, t.Kind() == reflect.Pointer:
		return byKind
	case p.Implements(jsonMarshaler), p.Implements(jsonMarshalerTo), t == reflect.TypeFor[time.Duration]():
		return asJSON
	case p.Implements(textMarshaler):
		return asText
	}
	return byKind
}

func readWay(t reflect.Type) way {
	p := reflect.PointerTo(t)
	switch {
	case t == timeType:
		return asTime
	case t.Kind() == reflect.Interface, t.Kind() == reflect.Pointer:
		return byKind
	case p.Implements(jsonUnmarshaler), p.Implements(jsonUnmarshalFrom), t == reflect.TypeFor[time.Duration]():
		return asJSON
	case p.Implements(textUnmarshaler):
		return asText
	}
	return byKind
}

// fieldsOf lists the properties of struct t, those of embedded structs in
// their place. It reports false when a tag asks for more than names and omitting.
func fieldsOf(t reflect.Type, above []int) (fields []field, ok bool) {
	ok = true
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("json")
		if tag == "-" || (!f.IsExported() && !f.Anonymous) {
			continue
		}
		index := append(append([]int(nil), above...), i)
		name, options, _ := strings.Cut(tag, ",")
		if f.Anonymous && name == "" {
			if f.Type.Kind() != reflect.Struct || !f.IsExported() || (tagged && tag != "") || classOf(f.Type).write != byKind {
				ok = false
				continue
			}
			inner, simple := fieldsOf(f.Type, index)
			fields, ok = append(fields, inner...), ok && simple
			continue
		}
		if !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		p := field{name: name, index: index}
		for option := range strings.SplitSeq(options, ",") {
			switch option {
			case "":
			case "omitempty":
				p.omitEmpty = true
			case "omitzero":
				p.omitZero = true
			default:
				ok = false
			}
		}
		if strings.ContainsAny(name, `'"\`) {
			ok = false
		}
		fields = append(fields, p)
	}
	return fields, ok
}

// Check returns an error unless values of t can be read from messages.
func Check(t reflect.Type) error { return check(t, nil) }

func check(t reflect.Type, above []reflect.Type) error {
	for _, a := range above {
		if a == t {
			return nil
		}
	}
	if t == rawType {
		if len(above) > 0 {
			return fmt.Errorf("%s can only stand by itself", t)
		}
		return nil
	}
	if t == reflect.TypeFor[time.Duration]() {
		return fmt.Errorf("%s has no agreed form: use a number", t)
	}
	if readWay(t) != byKind {
		return nil
	}
	above = append(above[:len(above):len(above)], t)
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return nil
	case reflect.Interface:
		if t.NumMethod() == 0 {
			return nil
		}
		return fmt.Errorf("%s is an interface: nothing says what to read into it", t)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return check(t.Elem(), above)
	case reflect.Map:
		k := t.Key()
		if k.Kind() != reflect.String && !isInteger(k.Kind()) && readWay(k) != asText {
			return fmt.Errorf("%s: keys must be strings, integers or have text methods", t)
		}
		return check(t.Elem(), above)
	case reflect.Struct:
		fields, ok := fieldsOf(t, nil)
		if !ok {
			return nil // what the JSON library makes of it
		}
		for _, f := range fields {
			if err := check(t.FieldByIndex(f.index).Type, above); err != nil {
				return fmt.Errorf("field %s of %s: %w", f.name, t, err)
			}
		}
		return nil
	}
	return fmt.Errorf("%s can't be read from a message", t)
}

func isInteger(k reflect.Kind) bool { return k >= reflect.Int && k <= reflect.Uint64 }
