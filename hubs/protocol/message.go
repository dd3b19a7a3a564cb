package protocol

import "slices"

// Type is the kind of a hub message. The numbers are those of the wire
// (SignalR HubProtocol.md, "Message Headers" and following sections).
type Type int8

// The hub message types. Handshake messages have no number; they are in handshake.go.
const (
	// Unknown stands for every number that a Type can't hold. Numbers that it
	// can hold are kept, known or not: both are to be ignored.
	Unknown Type = 0

	Invocation       Type = 1
	StreamItem       Type = 2
	Completion       Type = 3
	StreamInvocation Type = 4
	CancelInvocation Type = 5
	Ping             Type = 6
	Close            Type = 7
	Ack              Type = 8
	Sequence         Type = 9
)

// Encoding says in which notation a Raw value is written.
type Encoding uint8

// The two notations of arguments, items and results.
const (
	JSON Encoding = iota
	MessagePack
)

// Raw is a value that nobody has needed to look into: one complete JSON value
// or one complete MessagePack object. The zero Raw is absent, which is not the
// same as null.
type Raw struct {
	Encoding Encoding
	Bytes    []byte
}

// Present reports whether there is a value at all.
func (r Raw) Present() bool { return len(r.Bytes) > 0 }

// Header is one entry of a message's headers, kept in wire order.
type Header struct{ Name, Value string }

// Message is one hub message; Type says which of the other fields mean
// something. A Message filled by Parse borrows from the buffer that was
// parsed, and the next Parse into it uses its slices again: whoever keeps it
// longer than either clones it.
type Message struct {
	Type         Type
	Headers      []Header
	InvocationID string // "" = absent: nobody waits for an answer
	Target       string
	Arguments    Raw // one array; its length is ArgumentCount
	// ArgumentCount is the number of elements in Arguments, counted while parsing.
	ArgumentCount  int
	StreamIDs      []string
	Item           Raw
	Result         Raw    // Completion: absent = void or error
	Error          string // Completion and Close
	HasError       bool   // set by Parse: an error may be an empty text
	AllowReconnect bool   // Close
	SequenceID     int64  // Ack, Sequence
	// BindingError is the reason why the arguments of an otherwise good
	// Invocation or StreamInvocation can't be used (MessagePack only: they are
	// missing or no array). The invocation fails; the connection goes on.
	BindingError string
}

// Clone returns a copy of m that borrows from nothing.
func (m *Message) Clone() *Message {
	c := *m
	c.Headers = slices.Clone(m.Headers)
	c.StreamIDs = slices.Clone(m.StreamIDs)
	c.Arguments, c.Item, c.Result = m.Arguments.Clone(), m.Item.Clone(), m.Result.Clone()
	return &c
}

// reset empties m and keeps the memory of its slices.
func (m *Message) reset() {
	*m = Message{Headers: m.Headers[:0], StreamIDs: m.StreamIDs[:0], InvocationID: m.InvocationID, Target: m.Target}
}

// TransferFormat is what a transport must be able to carry
// (TransportProtocols.md, "Transfer Format").
type TransferFormat string

// The two transfer formats.
const (
	Text   TransferFormat = "Text"
	Binary TransferFormat = "Binary"
)

// Protocol is one hub protocol: how messages are framed and written.
// Implementations are stateless and safe for concurrent use.
type Protocol interface {
	// Name is the name used in the handshake: "json" or "messagepack".
	Name() string
	// TransferFormat is what a transport must carry for this protocol.
	TransferFormat() TransferFormat
	// Encoding is the notation of the raw values inside this protocol's messages.
	Encoding() Encoding
	// Parse reads the first message of data into m and returns how many bytes
	// it took, framing included. It returns 0 and no error when data holds no
	// complete message yet. m borrows from data. An error means the peer broke
	// the protocol (*Error); the connection can't go on.
	Parse(data []byte, m *Message) (int, error)
	// Append writes m, framing included, and returns the longer slice. Raw
	// values in the other notation are transcoded. It fails only when such a
	// value can't be transcoded.
	Append(dst []byte, m *Message) ([]byte, error)
}
