package hubs

import (
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// TransportKind is one of the transports of TransportProtocols.md, by the name
// that negotiation uses.
type TransportKind string

// The transports.
const (
	WebSockets       TransportKind = "WebSockets"
	ServerSentEvents TransportKind = "ServerSentEvents"
	LongPolling      TransportKind = "LongPolling"
)

// Formats are the transfer formats that the transport carries, in the order in
// which negotiation names them.
func (k TransportKind) Formats() []protocol.TransferFormat {
	if k == ServerSentEvents {
		return textOnly
	}
	return textAndBinary
}

var (
	textOnly      = []protocol.TransferFormat{protocol.Text}
	textAndBinary = []protocol.TransferFormat{protocol.Text, protocol.Binary}
)

// Ending is how a transport is closed.
type Ending uint8

// The endings.
const (
	// EndNormal: the hub said all it had to say, a Close message included.
	EndNormal Ending = iota
	// EndFailed: the server failed.
	EndFailed
	// EndPolicy: the client broke a limit.
	EndPolicy
	// EndTooLarge: the client sent too large a message.
	EndTooLarge
)

// Transport carries one connection's bytes; it knows nothing of hub messages.
// One goroutine reads (Wait, Read), one at a time writes (Write, Close), and
// anybody may call Abort at any time.
type Transport interface {
	Kind() TransportKind
	// Wait blocks until Read has something to give. It returns io.EOF when the
	// client ended the connection in the orderly way, ErrMoved when it goes on at
	// another server, a *Violation when it broke the transport's rules, and another
	// error when it is gone.
	Wait() error
	// Read copies bytes that have arrived and returns how many, all of one frame,
	// whose borders mean nothing else. 0 and no error: call Wait again.
	Read(p []byte) (int, error)
	// Write sends p as a whole. It returns within 10 s; an error means that the
	// client is gone. It doesn't keep p.
	Write(p []byte) error
	// SetFormat is called once, before the first Write.
	SetFormat(f protocol.TransferFormat)
	// Close ends the connection in the orderly way: Wait then returns an error.
	// It returns within 10 s.
	Close(e Ending)
	// Abort ends the connection at once without blocking: all other methods
	// then return an error.
	Abort()
}

// Framed is a Transport that tells the client's frames apart, each of which may
// hold many hub messages.
type Framed interface {
	Transport
	// Frame is the number of the frame that Read gave bytes of last. Only the
	// reader calls it.
	Frame() uint64
}

// Intermittent is a Transport that can't be written to at all times, such as
// long polling between two polls. What is sent meanwhile waits in the queue of
// the connection.
type Intermittent interface {
	Transport
	// Ready reports whether Write may be called. It must not block.
	Ready() bool
	// OnReady sets what is to be called, without locks, whenever Ready has
	// become true. It is called once, before anything else.
	OnReady(wake func())
	// Lapsed reports whether the client has stayed away for longer than timeout.
	Lapsed(timeout time.Duration) bool
}

// Claim is one statement about the user of a connection; types may repeat.
type Claim struct{ Type, Value string }

// Principal is who a connection belongs to, as authenticated by whoever serves
// the transport.
type Principal struct {
	// UserID is what SendToUsers and the user's groups go by. Empty: no user.
	UserID string
	Claims []Claim
	// Credential names the key or session that vouched for the user, so that
	// its connections can be found and closed.
	Credential string
	// Expires is when the authentication ends; zero = never. It matters only to
	// Options.CloseOnAuthenticationExpiration and to filters.
	Expires time.Time
	// Groups are joined by the connection before anything is sent to it.
	Groups []string
	// Authentication is what else the authenticator knows; hubs only keeps it.
	Authentication any
}

// ConnectionInfo is what is known of a connection before the handshake.
type ConnectionInfo struct {
	// ID is the public id. Empty: Serve makes one with NewConnectionID.
	ID        string
	Principal Principal
	// Query and Headers are those of the first request, without credentials.
	// Connections share them: nobody may change them.
	Query   map[string][]string
	Headers map[string][]string
	// StatefulReconnect says that the client has negotiated stateful reconnect
	// and may come back on another WebSocket, see Server.Resume. With version 1
	// of the hub protocol it has no effect.
	StatefulReconnect bool
	// HandshakeTimeout replaces that of Options; 0 = it doesn't.
	HandshakeTimeout time.Duration
	// Rewind is what of the history of Principal.Groups the connection gets before
	// anything that is new; nil = nothing.
	Rewind *Rewind
	// Request is what whoever serves the transport wants who handles the
	// connection to know of its first request. It goes into the Opening and is
	// then forgotten.
	Request any
	// RemoteAddress is the client's address as host:port.
	RemoteAddress string
}
