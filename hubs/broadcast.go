package hubs

import (
	"fmt"
	"sync"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// Broadcast is one server-to-client invocation on its way to many connections.
// It is encoded at most once per hub protocol and shared by every recipient.
// It must not be copied or changed once it is published.
type Broadcast struct {
	Target    string
	Arguments protocol.Raw // one array
	// Frames holds ready, complete frames by hub protocol name where the
	// publisher supplied them; they win over Target and Arguments. Without a Target
	// each must be one invocation: clients of other protocols get it transcoded.
	Frames map[string][]byte

	mu      sync.Mutex
	encoded map[string][]byte
}

// Frame returns the framed invocation in p. Callers must not change the bytes.
func (b *Broadcast) Frame(p protocol.Protocol) ([]byte, error) {
	if f, ok := b.Frames[p.Name()]; ok {
		return f, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if f, ok := b.encoded[p.Name()]; ok {
		return f, nil
	}
	m := protocol.Message{Type: protocol.Invocation, Target: b.Target, Arguments: b.Arguments}
	if b.Target == "" && !b.parseFrame(&m) {
		return nil, fmt.Errorf("broadcast has no frame for hub protocol %q", p.Name())
	}
	f, err := p.Append(nil, &m)
	if err != nil {
		return nil, fmt.Errorf("encode broadcast as %s: %w", p.Name(), err)
	}
	if b.encoded == nil {
		b.encoded = make(map[string][]byte, 2)
	}
	b.encoded[p.Name()] = f
	return f, nil
}

// parseFrame reads one of the ready frames.
func (b *Broadcast) parseFrame(m *protocol.Message) bool {
	for name, f := range b.Frames {
		if p, known := protocol.ByName(name); known {
			n, err := p.Parse(f, m)
			return err == nil && n == len(f) && m.Type == protocol.Invocation
		}
	}
	return false
}
