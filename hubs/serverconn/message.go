package serverconn

import (
	"bytes"
	"errors"
	"strings"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// broadcast makes a message of ready frames and returns the size of the largest in
// bytes. With an invocation id it is an invocation that awaits an answer, else one
// that awaits none. Frames of hub protocols that clients don't have here, like
// blazorpack, are left out.
func broadcast(payloads []serviceprotocol.Payload, invocation string, limit int, scratch *protocol.Message) (*hubs.Broadcast, int, error) {
	b := &hubs.Broadcast{Frames: make(map[string][]byte, len(payloads))}
	largest := 0
	for _, p := range payloads {
		known, ok := protocol.ByName(strings.ToLower(p.Protocol))
		if !ok {
			continue
		}
		if len(p.Data) > limit {
			return nil, 0, refuse(codeTooLarge, "the message has %d bytes: max_message_bytes is %d", len(p.Data), limit)
		}
		if err := checkFrame(known, p.Data, invocation, scratch); err != nil {
			return nil, 0, refuse(codeMessage, "the payload for %s is not valid: %s", known.Name(), err)
		}
		b.Frames[known.Name()] = bytes.Clone(p.Data)
		largest = max(largest, len(p.Data))
	}
	if len(b.Frames) == 0 {
		return nil, 0, refuse(codeMessage, "there is no payload for a hub protocol that clients have here: json or messagepack")
	}
	return b, largest, nil
}

// checkFrame checks that frame is exactly one invocation with that id.
func checkFrame(p protocol.Protocol, frame []byte, invocation string, m *protocol.Message) error {
	n, err := p.Parse(frame, m)
	var broken *protocol.Error
	switch {
	case errors.As(err, &broken):
		return broken
	case err != nil:
		return errors.New("it can't be read")
	case n != len(frame):
		return errors.New("it is not exactly one frame")
	case m.Type != protocol.Invocation || len(m.StreamIDs) > 0 || m.InvocationID != invocation:
		return errors.New("it is not the invocation that the message says")
	case m.Target == "":
		return errors.New("it has no target")
	}
	return nil
}

// spellOut gives the message target and arguments, for clients of hub protocols
// that there is no frame for.
func spellOut(b *hubs.Broadcast, scratch *protocol.Message) {
	for name, frame := range b.Frames {
		p, _ := protocol.ByName(name)
		if n, err := p.Parse(frame, scratch); err == nil && n == len(frame) {
			m := scratch.Clone()
			b.Target, b.Arguments = m.Target, m.Arguments
			return
		}
	}
}
