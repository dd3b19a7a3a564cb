package upstream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/tenants"
)

// The bounds of an answer that streams.
const (
	maxItem = 64 << 10 // bytes; one unit of metering
	// streamIdle is how long an upstream may say nothing; comments of SSE count.
	streamIdle = 60 * time.Second
)

// form is how the items of a stream are told apart.
type form int

const (
	notStreamed form = iota
	lines            // NDJSON: one JSON value per line
	events           // Server-Sent Events: the data of each is one JSON value
)

func streamForm(contentType string) form {
	t, _, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
		return notStreamed
	case t == "application/x-ndjson", t == "application/ndjson", t == "application/jsonl", t == "application/x-jsonlines":
		return lines
	case t == "text/event-stream":
		return events
	}
	return notStreamed
}

// copyList completes a stream that was answered with a JSON array: its elements
// are the items.
func (k *call) copyList(a *answer) {
	list := protocol.Raw{Encoding: protocol.JSON, Bytes: a.body}
	if !isJSON(a.contentType) || list.Check() != nil || bytes.TrimLeft(a.body, " \t\r\n")[0] != '[' {
		k.invalid("The upstream's answer is no stream: application/x-ndjson, text/event-stream, or a JSON array.")
		return
	}
	for item := range protocol.Elements(list) {
		if k.item(item.Bytes) != nil {
			break
		}
	}
	k.complete("")
}

// copyStream passes on the items of an answer that streams, until it ends, the
// client cancels it or leaves.
func (k *call) copyStream(a *answer) {
	began := time.Now()
	body := a.stream
	t := k.s.d.tenant
	select {
	case t.streams <- struct{}{}:
		defer func() { <-t.streams }()
	default:
		_ = body.Close()
		k.s.d.refuse(codeBusy)
		k.complete(hubs.InvocationError(k.m.Target, hubs.NewError("Too many streams of the upstream are open. Try again later."), false))
		return
	}
	stop := context.AfterFunc(k.ctx, func() { _ = body.Close() })
	idle := time.AfterFunc(streamIdle, func() { _ = body.Close() })
	quiet := func() { idle.Reset(streamIdle) }
	var err error
	if streamForm(a.contentType) == lines {
		err = readLines(body, quiet, k.item)
	} else {
		err = readEvents(body, quiet, k.item)
	}
	timedOut := !idle.Stop()
	stop()
	_ = body.Close()

	d := a.post.delivery(began, a, nil)
	var said *errStreamText
	text, code := "", ""
	switch {
	case err == nil, k.ctx.Err() != nil:
	case errors.As(err, &said):
		text, code = said.text, codeStatus
	case errors.Is(err, errItemTooLarge):
		text, code = "An item of the upstream's stream is larger than 65536 bytes.", codeTooLarge
	case errors.Is(err, errNoValue):
		text, code = "An item of the upstream's stream is not one JSON value.", codeInvalid
	case timedOut:
		text, code = "The upstream's stream said nothing for too long.", codeTimeout
	default:
		text, code = "The upstream's stream broke off.", codeUnreachable
	}
	if code != "" {
		k.s.d.refuse(code)
		d.Outcome, d.Error = tenants.Failed, code
		text = "An error occurred on the server while streaming results. HubException: " + text
	}
	t.record(d)
	k.complete(text)
}

// errNoValue: an item that is no JSON value.
var errNoValue = errors.New("an item is not one JSON value")

// item sends one item of the stream, once the client has room for it.
func (k *call) item(value []byte) error {
	v := protocol.Raw{Encoding: protocol.JSON, Bytes: value}
	if v.Check() != nil {
		return errNoValue
	}
	if err := k.s.c.AwaitRoom(k.ctx); err != nil {
		return err
	}
	if k.s.c.Send(&protocol.Message{Type: protocol.StreamItem, InvocationID: k.m.InvocationID, Item: v}) != nil {
		return errNoValue
	}
	return nil
}

// readLines gives every line that isn't empty to each. quiet is called for every
// line.
func readLines(r io.Reader, quiet func(), each func([]byte) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4<<10), maxItem+2) // with its line end
	for s.Scan() {
		quiet()
		line := bytes.TrimSpace(s.Bytes())
		if len(line) == 0 {
			continue
		}
		if err := each(line); err != nil {
			return err
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return errItemTooLarge
	}
	return s.Err()
}

// readEvents gives the data of every event to each (the EventSource chapter of
// the HTML standard). An event "error" ends the stream with its data as the error,
// "end" without one.
func readEvents(r io.Reader, quiet func(), each func([]byte) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4<<10), maxItem+8)
	var name string
	var data []byte
	first := true
	for s.Scan() {
		quiet()
		line := bytes.TrimSuffix(s.Bytes(), []byte("\r"))
		if first {
			line, first = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")), false
		}
		if len(line) > 0 {
			field, value, _ := bytes.Cut(line, []byte(":"))
			value = bytes.TrimPrefix(value, []byte(" "))
			switch string(field) {
			case "event":
				name = string(value)
			case "data":
				if len(data)+len(value) > maxItem {
					return errItemTooLarge
				}
				data = append(append(data, value...), '\n')
			}
			continue
		}
		value := bytes.TrimSpace(data)
		switch {
		case name == "error":
			return &errStreamText{eventError(value)}
		case name == "end":
			return nil
		case len(value) > 0:
			if err := each(value); err != nil {
				return err
			}
		}
		name, data = "", data[:0]
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return errItemTooLarge
	}
	return s.Err()
}

// eventError is the text of an error event: JSON as errorText reads it, or text.
func eventError(data []byte) string {
	a := &answer{status: 400, body: data}
	text := errorText(a, "")
	if text == "" && !json.Valid(data) {
		text = shown(string(data))
	}
	if text == "" {
		text = "The upstream ended the stream with an error."
	}
	return text
}
