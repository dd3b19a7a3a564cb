package backplane

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// The entry format: one MessagePack array, its first element the version. A
// reader refuses other versions and ignores elements after the ones it knows,
// so that edges of neighbouring releases understand each other.
const (
	entryVersion  = 1
	entryElements = 13
	// Behind those comes a Conflation where there is one: milliseconds and key.
	conflationElements = 2
	broadcastSize      = 4
)

// maxEntryBytes is the largest encoded entry: a message of the largest plan (1
// MiB) in two ready frames, with room for names.
const maxEntryBytes = 3 << 20

// address says where the matches of an entry are to be reported. The zero
// address asks for no report.
type address struct {
	run string
	id  uint64
}

// encodeEntry returns the entry as it is stored and, when hashed is set, a hash of
// all but the reply address: equal hashes mean the same request.
func encodeEntry(e *hubs.Entry, reply address, hashed bool) (data []byte, hash string, err error) {
	size := 128 + len(e.Reason)
	for _, names := range [][]string{e.Groups, e.Users, e.Connections, e.Excluded, e.ExcludedUsers} {
		for _, s := range names {
			size += len(s) + 5
		}
	}
	if m := e.Message; m != nil {
		size += len(m.Target) + len(m.Arguments.Bytes) + 32
		for name, f := range m.Frames {
			size += len(name) + len(f) + 16
		}
	}
	if size > maxEntryBytes {
		return nil, "", fmt.Errorf("%w: about %d bytes, the most is %d", hubs.ErrEntryTooLarge, size, maxEntryBytes)
	}
	b := make([]byte, 0, size+len(reply.run))
	elements := uint32(entryElements)
	if e.Conflate != nil {
		elements += conflationElements
	}
	b = msgp.AppendArrayHeader(b, elements)
	b = msgp.AppendUint8(b, entryVersion)
	b = msgp.AppendUint8(b, uint8(e.Kind))
	b = appendNames(b, e.Groups)
	b = appendNames(b, e.Users)
	b = appendNames(b, e.Connections)
	b = appendNames(b, e.Excluded)
	b = appendNames(b, e.ExcludedUsers)
	b = appendBroadcast(b, e.Message)
	b = msgp.AppendString(b, e.Reason)
	b = msgp.AppendBool(b, e.AllowReconnect)
	b = msgp.AppendInt64(b, e.TTLSeconds)
	var conflation []byte
	if how := e.Conflate; how != nil {
		conflation = msgp.AppendInt64(msgp.AppendInt64(nil, how.Every.Milliseconds()), int64(how.Key))
	}
	if hashed {
		whole := sha256.New()
		whole.Write(b)
		whole.Write(conflation)
		hash = hex.EncodeToString(whole.Sum(nil)[:16])
	}
	b = msgp.AppendString(b, reply.run)
	b = msgp.AppendUint64(b, reply.id)
	b = append(b, conflation...)
	return b, hash, nil
}

func appendNames(b []byte, names []string) []byte {
	b = msgp.AppendArrayHeader(b, uint32(len(names)))
	for _, s := range names {
		b = msgp.AppendString(b, s)
	}
	return b
}

func appendBroadcast(b []byte, m *hubs.Broadcast) []byte {
	if m == nil {
		return msgp.AppendNil(b)
	}
	b = msgp.AppendArrayHeader(b, broadcastSize)
	b = msgp.AppendString(b, m.Target)
	b = msgp.AppendUint8(b, uint8(m.Arguments.Encoding))
	b = msgp.AppendBytes(b, m.Arguments.Bytes)
	var names []string
	for name := range m.Frames {
		names = append(names, name)
	}
	slices.Sort(names) // equal entries have equal bytes
	b = msgp.AppendMapHeader(b, uint32(len(names)))
	for _, name := range names {
		b = msgp.AppendString(b, name)
		b = msgp.AppendBytes(b, m.Frames[name])
	}
	return b
}

// decodeEntry reads what encodeEntry wrote. The entry borrows from data. It
// never allocates more than a small multiple of len(data), whatever data says.
func decodeEntry(data []byte) (*hubs.Entry, address, error) {
	if len(data) > maxEntryBytes {
		return nil, address{}, fmt.Errorf("entry of %d bytes", len(data))
	}
	r := reader{rest: data}
	elements := r.array()
	if r.err == nil && elements < entryElements {
		return nil, address{}, fmt.Errorf("entry of %d elements", elements)
	}
	if v := r.uint8(); r.err == nil && v != entryVersion {
		return nil, address{}, fmt.Errorf("entry of version %d", v)
	}
	var e hubs.Entry
	e.Kind = hubs.Kind(r.uint8())
	e.Groups = r.names()
	e.Users = r.names()
	e.Connections = r.names()
	e.Excluded = r.names()
	e.ExcludedUsers = r.names()
	e.Message = r.broadcast()
	e.Reason = r.string()
	e.AllowReconnect = r.bool()
	e.TTLSeconds = r.int64()
	reply := address{run: r.string(), id: r.uint64()}
	if elements >= entryElements+conflationElements {
		if every, key := r.int64(), r.int64(); every != 0 {
			e.Conflate = &hubs.Conflation{Every: time.Duration(every) * time.Millisecond, Key: int(key)}
		}
	}
	if r.err != nil {
		return nil, address{}, fmt.Errorf("decode entry: %w", r.err)
	}
	if e.Kind < hubs.SendToAll || e.Kind > hubs.PresenceWish {
		return nil, address{}, fmt.Errorf("entry of kind %d", e.Kind)
	}
	if (e.Kind <= hubs.SendToConnections || e.Kind > hubs.CloseConnections && e.Kind <= hubs.PresenceSet) && e.Message == nil {
		return nil, address{}, errors.New("send without a message")
	}
	if (e.Kind == hubs.PresenceSet || e.Kind == hubs.PresenceGone) && (len(e.Groups) != 1 || len(e.Connections) == 0) {
		return nil, address{}, errors.New("presence of no connection or group")
	}
	return &e, reply, nil
}

// errLength is a length that the bytes at hand can't hold.
var errLength = errors.New("length exceeds the data")

// reader takes values off the front of rest; after the first error all values
// are zero.
type reader struct {
	rest []byte
	err  error
}

func read[T any](r *reader, f func([]byte) (T, []byte, error)) (v T) {
	if r.err != nil {
		return v
	}
	var zero T
	if v, r.rest, r.err = f(r.rest); r.err != nil {
		return zero
	}
	return v
}

func (r *reader) uint8() uint8   { return read(r, msgp.ReadUint8Bytes) }
func (r *reader) uint64() uint64 { return read(r, msgp.ReadUint64Bytes) }
func (r *reader) int64() int64   { return read(r, msgp.ReadInt64Bytes) }
func (r *reader) bool() bool     { return read(r, msgp.ReadBoolBytes) }
func (r *reader) string() string { return read(r, msgp.ReadStringBytes) }
func (r *reader) bytes() []byte  { return read(r, msgp.ReadBytesZC) }

// array and dict read a header and refuse one that promises more elements than
// there are bytes: memory is taken only for what is there.
func (r *reader) array() int { return r.bounded(read(r, msgp.ReadArrayHeaderBytes)) }
func (r *reader) dict() int  { return r.bounded(read(r, msgp.ReadMapHeaderBytes)) }

func (r *reader) bounded(n uint32) int {
	if r.err == nil && uint64(n) > uint64(len(r.rest)) {
		r.err = errLength
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

func (r *reader) names() []string {
	n := r.array()
	if n == 0 {
		return nil
	}
	names := make([]string, 0, n)
	for range n {
		s := r.string()
		if r.err != nil {
			return nil
		}
		names = append(names, s)
	}
	return names
}

func (r *reader) broadcast() *hubs.Broadcast {
	if r.err != nil || msgp.IsNil(r.rest) {
		if r.err == nil {
			r.rest, r.err = msgp.ReadNilBytes(r.rest)
		}
		return nil
	}
	if n := r.array(); r.err == nil && n != broadcastSize {
		r.err = fmt.Errorf("message of %d elements", n)
		return nil
	}
	m := &hubs.Broadcast{Target: r.string()}
	encoding := protocol.Encoding(r.uint8())
	if r.err == nil && encoding > protocol.MessagePack {
		r.err = fmt.Errorf("arguments in encoding %d", encoding)
	}
	m.Arguments = protocol.Raw{Encoding: encoding, Bytes: r.bytes()}
	if n := r.dict(); n > 0 {
		m.Frames = make(map[string][]byte, min(n, 8))
		for range n {
			name := r.string()
			frame := r.bytes()
			if r.err != nil {
				return nil
			}
			m.Frames[name] = frame
		}
	}
	if r.err != nil {
		return nil
	}
	return m
}
