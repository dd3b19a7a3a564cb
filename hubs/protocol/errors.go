package protocol

// Error says how a peer broke the protocol. Where ASP.NET Core SignalR has a
// text for the case, Message is that text (that of its InvalidDataException).
// At most a property or header name of the peer's is repeated in it, so it is
// safe to log; whether a client may see it is the engine's decision.
type Error struct{ Message string }

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Limits of one message. Breaking one of them is an *Error.
const (
	// MaxDepth is how deep arrays and objects may nest, the message itself
	// included (System.Text.Json's default, which ASP.NET keeps).
	MaxDepth = 64
	// MaxArguments is the number of arguments of one invocation.
	MaxArguments = 64
	// MaxHeaders is the number of headers of one message.
	MaxHeaders = 16
	// MaxHeaderBytes is the length of a header's name and value together.
	MaxHeaderBytes = 1024
	// MaxStreamIDs is the number of client streams of one invocation.
	MaxStreamIDs = 10
	// MaxTargetBytes is the length of a target.
	MaxTargetBytes = 256
	// MaxInvocationIDBytes is the length of an invocation or stream id.
	MaxInvocationIDBytes = 128
	// MaxProperties is the number of properties of a JSON message or handshake,
	// unknown ones included.
	MaxProperties = 32
	// MaxHandshakeBytes is the length of a handshake message.
	MaxHandshakeBytes = 4096
)

var (
	errReadingJSON        = &Error{"Error reading JSON."}
	errTooManyProperties  = &Error{"The message has more than 32 properties."}
	errTooManyArguments   = &Error{"The message has more than 64 arguments."}
	errTooManyHeaders     = &Error{"The message has more than 16 headers."}
	errHeaderTooLong      = &Error{"A header is longer than 1024 bytes."}
	errTooManyStreamIDs   = &Error{"The message has more than 10 stream ids."}
	errTargetTooLong      = &Error{"The target is longer than 256 bytes."}
	errInvocationTooLong  = &Error{"The invocation id is longer than 128 bytes."}
	errStreamIDTooLong    = &Error{"A stream id is longer than 128 bytes."}
	errExclusive          = &Error{"The 'error' and 'result' properties are mutually exclusive."}
	errNullStreamID       = &Error{"Null value for 'streamIds' is not valid."}
	errMessageTooBig      = &Error{"Messages over 2GB in size are not supported."}
	errReadingMessagePack = &Error{"Error reading MessagePack."}
	errTrailingBytes      = &Error{"Unexpected bytes after the message."}
	errResultKind         = &Error{"Invalid invocation result kind."}
)

func errMissing(property string) *Error {
	return &Error{"Missing required property '" + property + "'."}
}

func errExpected(property, kind string) *Error {
	return &Error{"Expected '" + property + "' to be of type " + kind + "."}
}

func errReading(field, kind string) *Error {
	return &Error{"Reading '" + field + "' as " + kind + " failed."}
}

func errNullOrEmpty(what string) *Error {
	return &Error{"Null or empty " + what + "."}
}
