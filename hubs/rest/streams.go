package rest

import (
	"bytes"
	"net/http"
	"strconv"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// The streams here are those that a client has asked for, by the id of its
// invocation: whoever handles the invocation sends their items and their end.

// sendToStream sends the body as one item of a client's stream, and ends the
// stream when completed says so.
func (h *Handler) sendToStream(w http.ResponseWriter, c *call) (int, error) {
	key, err := idempotencyKey(c.r)
	if err != nil {
		return 0, err
	}
	ack, err := c.ack()
	if err != nil {
		return 0, err
	}
	completed := false
	if s := c.r.URL.Query().Get("completed"); s != "" {
		if completed, err = strconv.ParseBool(s); err != nil {
			return 0, invalid("completed", "The parameter is not valid.", "true, false")
		}
	}
	media, body, err := c.body(w, mediaJSON, mediaMessagePack, mediaFrames)
	if err != nil {
		return 0, err
	}
	if err := c.fits(len(body)); err != nil {
		return 0, err
	}
	item := protocol.Raw{Encoding: protocol.JSON, Bytes: bytes.TrimSpace(body)}
	switch media {
	case mediaMessagePack:
		item = protocol.Raw{Encoding: protocol.MessagePack, Bytes: body}
	case mediaFrames: // as the SDK of Azure writes it for several hub protocols
		if item, err = parseItem(body); err != nil {
			return 0, err
		}
	}
	if err := item.Check(); err != nil || !item.Present() {
		return 0, invalid("body", "The item can't be read.", "one value of "+media)
	}
	frames, err := framesOf(&protocol.Message{Type: protocol.StreamItem, InvocationID: c.stream, Item: item})
	if err != nil {
		return 0, invalid("body", "The item is not valid: "+problemOf(err), "a value that JSON and MessagePack can hold")
	}
	b, err := c.open(charge(len(body)))
	if err != nil {
		return 0, err
	}
	at, err := b.Publish(c.r.Context(), c.toConnection(frames), hubs.PublishOptions{IdempotencyKey: key, Charge: charge(len(body)), Ack: ack})
	if err != nil {
		return 0, err
	}
	if completed {
		// A client ignores the end of a stream that has ended, so a repeat is harmless.
		if err := c.endStream(b, ""); err != nil {
			return 0, err
		}
	}
	return h.accepted(w, c, at, ack)
}

// completeStream ends a client's stream, with an error when there is a reason.
func (h *Handler) completeStream(w http.ResponseWriter, c *call) (int, error) {
	reason, err := c.failure()
	if err != nil {
		return 0, err
	}
	b, err := c.open(0)
	if err != nil {
		return 0, err
	}
	return http.StatusAccepted, c.endStream(b, reason)
}

func (c *call) endStream(b hubs.Backplane, reason string) error {
	frames, err := framesOf(&protocol.Message{Type: protocol.Completion, InvocationID: c.stream, Error: reason, HasError: reason != ""})
	if err != nil {
		return err
	}
	_, err = b.Publish(c.r.Context(), c.toConnection(frames), hubs.PublishOptions{})
	return err
}

func (c *call) toConnection(frames map[string][]byte) *hubs.Entry {
	return &hubs.Entry{Kind: hubs.SendToConnections, Connections: []string{c.connection}, Message: &hubs.Broadcast{Frames: frames}}
}

// framesOf encodes m in every hub protocol.
func framesOf(m *protocol.Message) (map[string][]byte, error) {
	frames := make(map[string][]byte, 2)
	for _, name := range []string{"json", "messagepack"} {
		p, _ := protocol.ByName(name) // both are there
		frame, err := p.Append(nil, m)
		if err != nil {
			return nil, err
		}
		frames[name] = frame
	}
	return frames, nil
}
