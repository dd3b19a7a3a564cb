package rest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tinylib/msgp/msgp"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/internal/fault"
)

const acceptedBodies = "application/json with target and arguments, or application/octet-stream with ready frames"

// bodyPatience bounds the reading of one body.
const bodyPatience = 10 * time.Second

// messageStep is the size that one message is metered as (design, section 8).
const messageStep = 64 << 10

// message reads the request's body and returns the message and its size in
// bytes, which is within the tenant's limit.
func (c *call) message(w http.ResponseWriter) (*hubs.Broadcast, int, error) {
	media, parameters, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	charset := strings.ToLower(parameters["charset"])
	if err != nil || media != "application/json" && media != "application/octet-stream" || charset != "" && charset != "utf-8" {
		return nil, 0, fault.New(unsupportedMedia, "The Content-Type is not one of "+acceptedBodies+".")
	}
	if e := c.r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, 0, fault.New(unsupportedMedia, "Bodies must not be compressed: send no Content-Encoding.")
	}
	// A body that drips must not hold a request open; not every writer can tell.
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(bodyPatience))
	body, err := io.ReadAll(http.MaxBytesReader(w, c.r.Body, maxBodyBytes))
	_ = conn.SetReadDeadline(time.Time{})
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, 0, fault.New(fault.TooLarge, fmt.Sprintf("The body is larger than %d bytes.", maxBodyBytes)).WithCode("body_too_large")
		}
		return nil, 0, fault.Wrap(fault.Invalid, "The body could not be read.", err)
	}
	var m *hubs.Broadcast
	var size int
	if media == "application/json" {
		m, size, err = parseJSON(body)
	} else {
		m, size, err = parseFrames(body)
	}
	if err != nil {
		return nil, 0, err
	}
	if most := c.Limits.MaxMessageBytes; size > most {
		return nil, 0, fault.New(fault.TooLarge, fmt.Sprintf("The message has %d bytes: max_message_bytes is %d.", size, most)).WithCode("message_too_large")
	}
	return m, size, nil
}

// charge is how many messages a send of that size is metered as.
func charge(size int) int { return max(1, (size+messageStep-1)/messageStep) }

// parseJSON reads {"target": ..., "arguments": [...]}; SDKs write the names in
// different casings.
func parseJSON(body []byte) (*hubs.Broadcast, int, error) {
	d := jsontext.NewDecoder(bytes.NewReader(body))
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
		return nil, 0, invalid("target", "The target is missing.", "the name of the client's method, a text of 1 character or more")
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
	_, err := protocol.CountArguments(m.Arguments)
	if err == nil {
		// Some clients get it as MessagePack: what has no such form must fail here
		// and not on the way to them.
		_, err = protocol.AppendMessagePack(nil, m.Arguments)
	}
	if err != nil {
		return invalid("arguments", "The arguments are not valid: "+problemOf(err),
			fmt.Sprintf("an array of up to %d values, nested up to %d levels", protocol.MaxArguments, protocol.MaxDepth))
	}
	return nil
}

// parseFrames reads a MessagePack map from hub protocol names to complete,
// framed invocations.
func parseFrames(body []byte) (*hubs.Broadcast, int, error) {
	bad := func(problem string) error {
		return invalid("body", problem, "a MessagePack map from json or messagepack to one complete, framed invocation")
	}
	count, rest, err := msgp.ReadMapHeaderBytes(body)
	if err != nil || count == 0 || count > 8 {
		return nil, 0, bad("The body is not a MessagePack map of 1 to 8 frames.")
	}
	m := &hubs.Broadcast{Frames: make(map[string][]byte, 2)}
	largest := 0
	for range count {
		var name string
		var frame []byte
		if name, rest, err = msgp.ReadStringBytes(rest); err != nil {
			return nil, 0, bad("A name in the body is not a text.")
		}
		if frame, rest, err = msgp.ReadBytesZC(rest); err != nil {
			return nil, 0, bad("A frame in the body is not binary.")
		}
		name = strings.ToLower(name)
		p, known := protocol.ByName(name)
		if !known {
			continue // a frame for clients that aren't served, like blazorpack
		}
		if m.Frames[name] != nil {
			return nil, 0, bad("The body has two frames for " + name + ".")
		}
		frame = bytes.Clone(frame)
		if err := readFrame(m, p, frame); err != nil {
			return nil, 0, bad("The frame for " + name + " is not valid: " + problemOf(err))
		}
		m.Frames[name] = frame
		largest = max(largest, len(frame))
	}
	if len(rest) > 0 {
		return nil, 0, bad("There is more after the map.")
	}
	if len(m.Frames) == 0 {
		return nil, 0, bad("The body has no frame for a hub protocol that is served.")
	}
	return m, largest, nil
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
