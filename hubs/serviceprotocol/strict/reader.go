package strict

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/tinylib/msgp/msgp"

	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// Message is a message as the SDK understood it. Fields are named as in package
// serviceprotocol; those that are empty, nil or 0 are left out. Ignored says that
// the SDK of March 2024 doesn't know the type.
type Message struct {
	Type    int
	Fields  map[string]any
	Ignored bool
}

// reader takes items off a message. Its methods panic with an error, as the SDK
// throws; Parse returns it.
type reader struct {
	b      []byte
	items  int // of the message
	fields map[string]any
	legacy bool // the SDK of March 2024
}

// Parse reads one message without its length prefix as the SDK of March 2024 and
// as today's do. Both have to read it to its end, and alike.
func Parse(body []byte) (Message, error) {
	latest, err := parse(body, false)
	if err != nil {
		return Message{}, err
	}
	legacy, err := parse(body, true)
	if err != nil {
		return Message{}, fmt.Errorf("the SDK of March 2024: %w", err)
	}
	latest.Ignored = legacy.Ignored
	return latest, nil
}

func parse(body []byte, legacy bool) (m Message, err error) {
	defer func() {
		if thrown := recover(); thrown != nil {
			cause, ok := thrown.(error)
			if !ok {
				panic(thrown)
			}
			err = fmt.Errorf("message of type %d: %w", m.Type, cause)
		}
	}()
	r := &reader{b: body, fields: map[string]any{}, legacy: legacy}
	r.items = r.array()
	m.Type = int(r.int32())
	m.Fields = r.fields
	read, known := layouts[m.Type]
	if !known || legacy && m.Type > lastLegacyType {
		m.Ignored = true
		return m, nil
	}
	if r.items != lengths[m.Type] && m.Type != int(serviceprotocol.TypePing) && (!legacy || m.Type != int(serviceprotocol.TypeAck)) {
		return m, fmt.Errorf("message of type %d: %d items, today's SDK writes %d", m.Type, r.items, lengths[m.Type])
	}
	read(r)
	// What the older SDK doesn't know comes at the end: it leaves that unread.
	if len(r.b) > 0 && !legacy {
		return m, fmt.Errorf("message of type %d: %d bytes are left unread", m.Type, len(r.b))
	}
	return m, nil
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func (r *reader) set(field string, value any, empty bool) {
	if !empty {
		r.fields[field] = value
	}
}

func (r *reader) array() int {
	n, rest, err := msgp.ReadArrayHeaderBytes(r.b)
	check(err)
	r.b = rest
	return int(n)
}

func (r *reader) mapping() int {
	n, rest, err := msgp.ReadMapHeaderBytes(r.b)
	check(err)
	r.b = rest
	return int(n)
}

func (r *reader) int32() int32 {
	if kind := msgp.NextType(r.b); kind != msgp.IntType && kind != msgp.UintType {
		panic(fmt.Errorf("%s where an integer is read", kind))
	}
	v, rest, err := msgp.ReadInt64Bytes(r.b)
	check(err)
	if v < math.MinInt32 || v > math.MaxInt32 {
		panic(errors.New("an integer is out of range"))
	}
	r.b = rest
	return int32(v)
}

func (r *reader) string() string {
	if msgp.IsNil(r.b) {
		r.b = r.b[1:]
		return ""
	}
	s, rest, err := msgp.ReadStringBytes(r.b)
	check(err)
	r.b = rest
	return s
}

func (r *reader) bytes() []byte {
	if msgp.IsNil(r.b) {
		r.b = r.b[1:]
		return nil
	}
	v, rest, err := msgp.ReadBytesBytes(r.b, nil)
	check(err)
	r.b = rest
	return v
}

func (r *reader) text(field string) {
	s := r.string()
	r.set(field, s, s == "")
}

func (r *reader) number(field string) {
	n := int64(r.int32())
	r.set(field, n, n == 0)
}

func (r *reader) data(field string) {
	b := r.bytes()
	r.set(field, b, len(b) == 0)
}

func (r *reader) boolean(field string) {
	v, rest, err := msgp.ReadBoolBytes(r.b)
	check(err)
	r.b = rest
	r.set(field, v, !v)
}

func (r *reader) strings(n int) []string {
	var all []string
	for range n {
		all = append(all, r.string())
	}
	return all
}

func (r *reader) texts(field string) {
	all := r.strings(r.array())
	r.set(field, all, len(all) == 0)
}

func (r *reader) claims() {
	var claims []serviceprotocol.Claim
	for range r.mapping() {
		claims = append(claims, serviceprotocol.Claim{Type: r.string(), Value: r.string()})
	}
	r.set("Claims", claims, len(claims) == 0)
}

// dictionary refuses a name that is already in it, whatever its case.
type dictionary map[string]bool

func (d dictionary) add(name string) {
	key := strings.ToLower(name)
	if d[key] {
		panic(fmt.Errorf("%q is in a dictionary twice", name))
	}
	d[key] = true
}

func (r *reader) headers() {
	var headers []serviceprotocol.Header
	names := dictionary{}
	for range r.mapping() {
		name := r.string()
		names.add(name)
		headers = append(headers, serviceprotocol.Header{Name: name, Values: r.strings(r.array())})
	}
	r.set("Headers", headers, len(headers) == 0)
}

func (r *reader) payloads() {
	var payloads []serviceprotocol.Payload
	names := dictionary{}
	for range r.mapping() {
		name := r.string()
		names.add(name)
		payloads = append(payloads, serviceprotocol.Payload{Protocol: name, Data: r.bytes()})
	}
	r.set("Payloads", payloads, len(payloads) == 0)
}

// extensions reads the extension map of a message to which only the keys in
// applicable apply.
func (r *reader) extensions(applicable ...int) {
	for range r.mapping() {
		key := int(r.int32())
		known := key >= 1 && key <= 6
		applies := false
		for _, a := range applicable {
			applies = applies || a == key
		}
		if !applies {
			if !known && !r.legacy {
				rest, err := msgp.Skip(r.b)
				check(err)
				r.b = rest
				continue
			}
			// The SDK goes on here, with the value as the next key.
			panic(fmt.Errorf("extension key %d doesn't apply: the SDK loses its place", key))
		}
		switch key {
		case 1:
			v, rest, err := msgp.ReadUint64Bytes(r.b)
			check(err)
			r.b = rest
			r.set("TracingID", v, v == 0)
		case 2:
			r.number("TTL")
			r.set("HasTTL", true, false)
		case 3:
			r.text("Protocol")
		case 4:
			r.text("Filter")
		case 5:
			r.number("DataType")
		case 6:
			r.boolean("Partial")
		}
	}
}
