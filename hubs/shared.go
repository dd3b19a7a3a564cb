package hubs

import "sync"

// Shared is a framed hub message on its way to many connections, all of one hub
// protocol.
type Shared struct {
	// Bytes is the message; nobody changes it.
	Bytes []byte

	once sync.Once
	made []byte
	err  error
}

// Made returns what form makes of the message when it is first asked for, which
// must be the same for all transports of the process.
func (s *Shared) Made(form func([]byte) ([]byte, error)) ([]byte, error) {
	s.once.Do(func() { s.made, s.err = form(s.Bytes) })
	return s.made, s.err
}

// Sharing is a Transport that makes of a message once what it writes to many
// clients.
type Sharing interface {
	Transport
	// WriteShared is Write of s.Bytes.
	WriteShared(s *Shared) error
}

// maxShared is the longest message, in bytes, of which a second form is kept while it
// is on its way.
const maxShared = 16 << 10

// share returns what the recipients of the entry share beside the frame; nil for
// messages to few.
func (d *delivery) share(frame []byte) *Shared {
	if len(frame) > maxShared || d.e.Kind != SendToAll && d.e.Kind != SendToGroups {
		return nil
	}
	return &Shared{Bytes: frame}
}
