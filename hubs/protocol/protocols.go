package protocol

import (
	"bytes"
	"strings"
)

// The newest and the oldest version of the hub protocols that are spoken.
// Version 2 adds Ack and Sequence (stateful reconnect).
const (
	MinVersion = 1
	MaxVersion = 2
)

// recordSeparator ends every JSON message (HubProtocol.md, "JSON Encoding").
const recordSeparator = 0x1E

// NewJSON returns the hub protocol "json".
func NewJSON() Protocol { return jsonProtocol{} }

// NewMessagePack returns the hub protocol "messagepack".
func NewMessagePack() Protocol { return messagePackProtocol{} }

// ByName finds a hub protocol by its handshake name, in any case as ASP.NET does.
func ByName(name string) (Protocol, bool) {
	for _, p := range [...]Protocol{jsonProtocol{}, messagePackProtocol{}} {
		if strings.EqualFold(p.Name(), name) {
			return p, true
		}
	}
	return nil, false
}

// IsVersionSupported reports whether both hub protocols are spoken in version v.
func IsVersionSupported(v int) bool { return v >= MinVersion && v <= MaxVersion }

// Oversized reports whether the first message of data, complete or not, is
// longer than limit bytes, framing excluded. Ask before Parse: a length that
// is only declared counts too, so nobody waits for bytes that would be refused.
func Oversized(p Protocol, data []byte, limit int) bool {
	if p.Encoding() == MessagePack {
		size, n, err := readLength(data)
		return err == nil && n > 0 && size > limit
	}
	return len(data) > limit && bytes.IndexByte(data[:limit+1], recordSeparator) < 0
}

// HasEnd reports whether a message may end within more, which follows on bytes
// that hold no whole message of p. Parse knows that at once of a message that has
// its length before it, hence it is always true of those.
func HasEnd(p Protocol, more []byte) bool {
	return p.Encoding() == MessagePack || bytes.IndexByte(more, recordSeparator) >= 0
}

// reuse returns the string of b, which is was when the two are equal: a
// reused Message that meets the same target again allocates nothing.
func reuse(was string, b []byte) string {
	if was == string(b) {
		return was
	}
	return string(b)
}
