package strict

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"

	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// Same says in what the SDK and package serviceprotocol differ about a message;
// nil when they agree.
func Same(m Message, other serviceprotocol.Message) error {
	if m.Type != int(other.Type()) {
		return fmt.Errorf("type %d is %d to serviceprotocol", m.Type, other.Type())
	}
	value := reflect.ValueOf(other).Elem()
	fields := map[string]any{}
	for i := range value.NumField() {
		if field := value.Field(i); !field.IsZero() && (field.Kind() != reflect.Slice || field.Len() > 0) {
			if field.CanInt() {
				fields[value.Type().Field(i).Name] = field.Int()
			} else {
				fields[value.Type().Field(i).Name] = field.Interface()
			}
		}
	}
	delete(fields, "Kind"+unknownField(other))
	if !reflect.DeepEqual(fields, m.Fields) {
		return fmt.Errorf("message of type %d is %v to the SDK and %v to serviceprotocol", m.Type, m.Fields, fields)
	}
	return nil
}

// unknownField is empty for a message of an unknown type: its only field is the
// type itself.
func unknownField(m serviceprotocol.Message) string {
	if _, unknown := m.(*serviceprotocol.Unknown); unknown {
		return ""
	}
	return "-"
}

// Tap is an io.Writer that reads along: what goes over one direction of a server
// connection is written to it. Write fails at the first message that the SDK
// can't read or understands otherwise than package serviceprotocol.
type Tap struct {
	// Got is told of each message; may be nil.
	Got func(Message)

	held []byte
	err  error
}

// Write reads p, which may hold parts of messages or several of them.
func (t *Tap) Write(p []byte) (int, error) {
	t.held = append(t.held, p...)
	for t.err == nil && t.next() {
		continue
	}
	return len(p), t.err
}

// next reads one message, and tells whether there was one.
func (t *Tap) next() bool {
	size, prefix := 0, 0
	for ; ; prefix++ {
		if prefix == 5 {
			t.err = errors.New("a length prefix of more than 5 bytes")
			return false
		}
		if prefix == len(t.held) {
			return false
		}
		size |= int(t.held[prefix]&0x7F) << (7 * prefix)
		if t.held[prefix]&0x80 == 0 {
			prefix++
			break
		}
	}
	if len(t.held) < prefix+size {
		return false
	}
	body := bytes.Clone(t.held[prefix : prefix+size])
	t.held = t.held[prefix+size:]
	m, err := Parse(body)
	if err == nil {
		var other serviceprotocol.Message
		if other, err = serviceprotocol.Parse(body); err == nil {
			err = Same(m, other)
		}
	}
	if t.err = err; err == nil && t.Got != nil {
		t.Got(m)
	}
	return err == nil
}
