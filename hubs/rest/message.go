package rest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tinylib/msgp/msgp"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// messageStep is the size that one message is metered as (design, section 8).
const messageStep = 64 << 10

// message reads the request's body and returns the message and its size in
// bytes, which is within the tenant's limit.
func (c *call) message(w http.ResponseWriter) (*hubs.Broadcast, int, error) {
	media, body, err := c.body(w, mediaJSON, mediaFrames, mediaMessagePack)
	if err != nil {
		return nil, 0, err
	}
	var m *hubs.Broadcast
	var size int
	switch media {
	case mediaJSON:
		m, size, err = parseJSON(body)
	case mediaFrames:
		m, size, err = parseFrames(body)
	default:
		m, size, err = parseMessagePack(body)
	}
	if err == nil {
		err = c.fits(size)
	}
	return m, size, err
}

// charge is how many messages a send of that size is metered as.
func charge(size int) int { return max(1, (size+messageStep-1)/messageStep) }

// parseJSON reads {"target": ..., "arguments": [...]}; SDKs write the names in
// different casings.
func parseJSON(body []byte) (*hubs.Broadcast, int, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(body)) // which it doesn't copy
	if d.PeekKind() != '{' {
		return nil, 0, badJSON(d, "The body is not a JSON object.")
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, 0, badJSON(d, "The body is not valid JSON.")
	}
	var m hubs.Broadcast
	seen := make(map[string]bool, 2)
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, 0, badJSON(d, "The body is not valid JSON.")
		}
		field := strings.ToLower(name.String())
		if seen[field] {
			return nil, 0, invalid(field, "The field is given twice.", "")
		}
		value, err := d.ReadValue()
		if err != nil {
			return nil, 0, badJSON(d, "The body is not valid JSON.")
		}
		switch field {
		case "target":
			err = readTarget(&m, value)
		case "arguments":
			err = readArguments(&m, value)
		default:
			err = invalid(shorten(field), "There is no such field.", "target, arguments")
		}
		if err != nil {
			return nil, 0, err
		}
		seen[field] = true
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, 0, badJSON(d, "The body is not valid JSON.")
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, 0, badJSON(d, "There is more after the JSON object.")
	}
	if m.Target == "" {
		return nil, 0, missingTarget()
	}
	if !m.Arguments.Present() {
		m.Arguments = protocol.Raw{Encoding: protocol.JSON, Bytes: []byte("[]")}
	}
	return &m, len(m.Target) + len(m.Arguments.Bytes), nil
}

func badJSON(d *jsontext.Decoder, problem string) error {
	return invalid("body", fmt.Sprintf("%s (byte %d)", problem, d.InputOffset()), `{"target": text, "arguments": array}`)
}

func readTarget(m *hubs.Broadcast, v jsontext.Value) error {
	if v.Kind() != '"' {
		return invalid("target", "The target is not a text.", "the name of the client's method")
	}
	target, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return invalid("target", "The target is not a valid text.", "")
	}
	m.Target = string(target)
	return nil
}

func readArguments(m *hubs.Broadcast, v jsontext.Value) error {
	if v.Kind() == 'n' {
		return nil // as if it were missing
	}
	m.Arguments = protocol.Raw{Encoding: protocol.JSON, Bytes: bytes.Clone(v)}
	return checkArguments(m.Arguments)
}

// scratches are for what is written only to see that it can be.
var scratches = sync.Pool{New: func() any { return new([]byte) }}

// mostScratch is the largest that is kept, in bytes.
const mostScratch = 64 << 10

// checkArguments refuses arguments that can't be written in every hub protocol:
// what has no such form must fail here and not on the way to clients.
func checkArguments(arguments protocol.Raw) error {
	_, err := protocol.CountArguments(arguments)
	if err == nil {
		scratch := scratches.Get().(*[]byte)
		out := (*scratch)[:0]
		if arguments.Encoding == protocol.JSON {
			out, err = protocol.AppendMessagePack(out, arguments)
		} else {
			out, err = protocol.AppendJSON(out, arguments)
		}
		if cap(out) <= mostScratch {
			*scratch = out
		}
		scratches.Put(scratch)
	}
	if err != nil {
		return invalid("arguments", "The arguments are not valid: "+problemOf(err),
			fmt.Sprintf("an array of up to %d values, nested up to %d levels", protocol.MaxArguments, protocol.MaxDepth))
	}
	return nil
}

// parseMessagePack reads a MessagePack map of the same fields as parseJSON.
func parseMessagePack(body []byte) (*hubs.Broadcast, int, error) {
	bad := func(problem string) error {
		return invalid("body", problem, "a MessagePack map of target and arguments")
	}
	if err := (protocol.Raw{Encoding: protocol.MessagePack, Bytes: body}).Check(); err != nil {
		return nil, 0, bad("The body is not one MessagePack value.")
	}
	count, rest, err := msgp.ReadMapHeaderBytes(body)
	if err != nil || count > 2 {
		return nil, 0, bad("The body is not a MessagePack map of up to 2 fields.")
	}
	var m hubs.Broadcast
	for range count {
		var name string
		if name, rest, err = msgp.ReadStringBytes(rest); err != nil {
			return nil, 0, bad("A name in the body is not a text.")
		}
		value := rest
		if rest, err = msgp.Skip(rest); err != nil {
			return nil, 0, bad("A value in the body can't be read.")
		}
		value = value[:len(value)-len(rest)]
		switch field := strings.ToLower(name); {
		case field == "target" && m.Target == "":
			if m.Target, _, err = msgp.ReadStringBytes(value); err != nil || !utf8.ValidString(m.Target) {
				return nil, 0, invalid("target", "The target is not a text.", "the name of the client's method")
			}
		case field == "arguments" && !m.Arguments.Present():
			if msgp.IsNil(value) {
				break // as if it were missing
			}
			m.Arguments = protocol.Raw{Encoding: protocol.MessagePack, Bytes: bytes.Clone(value)}
			if err := checkArguments(m.Arguments); err != nil {
				return nil, 0, err
			}
		default:
			return nil, 0, invalid(shorten(field), "There is no such field, or it is given twice.", "target, arguments")
		}
	}
	if m.Target == "" {
		return nil, 0, missingTarget()
	}
	if !m.Arguments.Present() {
		m.Arguments = protocol.Raw{Encoding: protocol.JSON, Bytes: []byte("[]")}
	}
	return &m, len(m.Target) + len(m.Arguments.Bytes), nil
}

func missingTarget() error {
	return invalid("target", "The target is missing.", "the name of the client's method, a text of 1 character or more")
}

// parseFrames reads a MessagePack map from hub protocol names to complete,
// framed invocations.
func parseFrames(body []byte) (*hubs.Broadcast, int, error) {
	m := &hubs.Broadcast{Frames: make(map[string][]byte, 2)}
	largest := 0
	err := eachFrame(body, "invocation", func(name string, p protocol.Protocol, frame []byte) error {
		if err := readFrame(m, p, frame); err != nil {
			return err
		}
		m.Frames[name] = frame
		largest = max(largest, len(frame))
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return m, largest, nil
}

// parseItem reads such a map of stream items and returns the first one's value, which
// the others must have, too.
func parseItem(body []byte) (item protocol.Raw, err error) {
	err = eachFrame(body, "stream item", func(_ string, p protocol.Protocol, frame []byte) error {
		var msg protocol.Message
		n, err := p.Parse(frame, &msg)
		switch {
		case err != nil:
			return err
		case n != len(frame):
			return &protocol.Error{Message: "It is not exactly one frame."}
		case msg.Type != protocol.StreamItem:
			return &protocol.Error{Message: "It is not a stream item."}
		}
		if !item.Present() {
			item = msg.Clone().Item
		}
		return nil
	})
	return item, err
}

// eachFrame gives take the frames in a body, copied, of protocols that are served;
// there is at least one. An error of take is about the frame.
func eachFrame(body []byte, what string, take func(name string, p protocol.Protocol, frame []byte) error) error {
	bad := func(problem string) error {
		return invalid("body", problem, "a MessagePack map from json or messagepack to one complete, framed "+what)
	}
	count, rest, err := msgp.ReadMapHeaderBytes(body)
	if err != nil || count == 0 || count > 8 {
		return bad("The body is not a MessagePack map of 1 to 8 frames.")
	}
	seen := make(map[string]bool, 2)
	for range count {
		var name string
		var frame []byte
		if name, rest, err = msgp.ReadStringBytes(rest); err != nil {
			return bad("A name in the body is not a text.")
		}
		if frame, rest, err = msgp.ReadBytesZC(rest); err != nil {
			return bad("A frame in the body is not binary.")
		}
		name = strings.ToLower(name)
		p, known := protocol.ByName(name)
		if !known {
			continue // a frame for clients that aren't served, like blazorpack
		}
		if seen[name] {
			return bad("The body has two frames for " + name + ".")
		}
		seen[name] = true
		if err := take(name, p, bytes.Clone(frame)); err != nil {
			return bad("The frame for " + name + " is not valid: " + problemOf(err))
		}
	}
	if len(rest) > 0 {
		return bad("There is more after the map.")
	}
	if len(seen) == 0 {
		return bad("The body has no frame for a hub protocol that is served.")
	}
	return nil
}

// readFrame checks a ready frame. Target and arguments of the first one serve
// the clients of protocols that have no frame of their own.
func readFrame(m *hubs.Broadcast, p protocol.Protocol, frame []byte) error {
	var msg protocol.Message
	n, err := p.Parse(frame, &msg)
	switch {
	case err != nil:
		return err
	case n != len(frame):
		return &protocol.Error{Message: "It is not exactly one frame."}
	case msg.Type != protocol.Invocation || msg.InvocationID != "" || len(msg.StreamIDs) > 0:
		return &protocol.Error{Message: "It is not an invocation without an answer."}
	case msg.Target == "":
		return &protocol.Error{Message: "It has no target."}
	}
	if m.Target == "" {
		clone := msg.Clone()
		m.Target, m.Arguments = clone.Target, clone.Arguments
	}
	return nil
}

// problemOf returns the text of a protocol error, which may be shown.
func problemOf(err error) string {
	var p *protocol.Error
	if errors.As(err, &p) {
		return p.Message
	}
	return "It can't be read."
}

// shorten keeps what is quoted from a request small.
func shorten(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}
