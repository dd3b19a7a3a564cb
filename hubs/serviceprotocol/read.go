package serviceprotocol

import (
	"errors"
	"io"
)

// maxPrefix is the longest length prefix, in bytes.
const maxPrefix = 5

// The size of a Reader's buffer, in bytes: what it begins with, and what it keeps
// after a longer message.
const (
	minBuffer  = 4 << 10
	keptBuffer = 64 << 10
)

// Parse reads one message without its length prefix. Byte slices of the message
// are parts of body. Errors are *Error.
func Parse(body []byte) (Message, error) {
	c := codec{reading: true, in: body, items: MaxItems}
	var ok bool
	if c.length, ok = c.in.open(arrayHead); !ok || c.length == 0 || c.length > len(c.in) {
		return nil, errMalformed
	}
	kind := Type(c.readInt32())
	if c.err != nil {
		return nil, c.err
	}
	c.left = c.length - 1
	m := newMessage(kind)
	m.layout(&c)
	if c.err != nil {
		return nil, c.err
	}
	return m, nil
}

// newMessage returns an empty message of a type.
func newMessage(t Type) Message {
	if create, ok := creators[t]; ok {
		return create()
	}
	return &Unknown{Kind: t}
}

var creators = map[Type]func() Message{
	TypeHandshakeRequest:             func() Message { return new(HandshakeRequest) },
	TypeHandshakeResponse:            func() Message { return new(HandshakeResponse) },
	TypePing:                         func() Message { return new(Ping) },
	TypeOpenConnection:               func() Message { return new(OpenConnection) },
	TypeCloseConnection:              func() Message { return new(CloseConnection) },
	TypeConnectionData:               func() Message { return new(ConnectionData) },
	TypeMultiConnectionData:          func() Message { return new(MultiConnectionData) },
	TypeUserData:                     func() Message { return new(UserData) },
	TypeMultiUserData:                func() Message { return new(MultiUserData) },
	TypeBroadcastData:                func() Message { return new(BroadcastData) },
	TypeJoinGroup:                    func() Message { return new(JoinGroup) },
	TypeLeaveGroup:                   func() Message { return new(LeaveGroup) },
	TypeGroupBroadcastData:           func() Message { return new(GroupBroadcastData) },
	TypeMultiGroupBroadcastData:      func() Message { return new(MultiGroupBroadcastData) },
	TypeServiceError:                 func() Message { return new(ServiceError) },
	TypeUserJoinGroup:                func() Message { return new(UserJoinGroup) },
	TypeUserLeaveGroup:               func() Message { return new(UserLeaveGroup) },
	TypeJoinGroupWithAck:             func() Message { return new(JoinGroupWithAck) },
	TypeLeaveGroupWithAck:            func() Message { return new(LeaveGroupWithAck) },
	TypeAck:                          func() Message { return new(Ack) },
	TypeCheckUserInGroupWithAck:      func() Message { return new(CheckUserInGroupWithAck) },
	TypeServiceEvent:                 func() Message { return new(ServiceEvent) },
	TypeCheckGroupExistenceWithAck:   func() Message { return new(CheckGroupExistenceWithAck) },
	TypeCheckConnectionExistence:     func() Message { return new(CheckConnectionExistenceWithAck) },
	TypeCheckUserExistenceWithAck:    func() Message { return new(CheckUserExistenceWithAck) },
	TypeUserJoinGroupWithAck:         func() Message { return new(UserJoinGroupWithAck) },
	TypeUserLeaveGroupWithAck:        func() Message { return new(UserLeaveGroupWithAck) },
	TypeAccessKeyRequest:             func() Message { return new(AccessKeyRequest) },
	TypeAccessKeyResponse:            func() Message { return new(AccessKeyResponse) },
	TypeCloseConnectionWithAck:       func() Message { return new(CloseConnectionWithAck) },
	TypeCloseConnectionsWithAck:      func() Message { return new(CloseConnectionsWithAck) },
	TypeCloseUserConnectionsWithAck:  func() Message { return new(CloseUserConnectionsWithAck) },
	TypeCloseGroupConnectionsWithAck: func() Message { return new(CloseGroupConnectionsWithAck) },
	TypeClientInvocation:             func() Message { return new(ClientInvocation) },
	TypeClientCompletion:             func() Message { return new(ClientCompletion) },
	TypeErrorCompletion:              func() Message { return new(ErrorCompletion) },
	TypeServiceMapping:               func() Message { return new(ServiceMapping) },
	TypeConnectionReconnect:          func() Message { return new(ConnectionReconnect) },
	TypeConnectionFlowControl:        func() Message { return new(ConnectionFlowControl) },
	TypeGroupMemberQuery:             func() Message { return new(GroupMemberQuery) },
	TypeRefreshAuth:                  func() Message { return new(RefreshAuth) },
	TypeGetConnectionClaims:          func() Message { return new(GetConnectionClaims) },
	TypeUpdateConnectionClaims:       func() Message { return new(UpdateConnectionClaims) },
}

// Reader cuts a stream of bytes into messages. The stream may split and join them
// anywhere. It is for one goroutine.
type Reader struct {
	source     io.Reader
	max        int
	buf        []byte
	start, end int // of what has been received and not returned
}

// NewReader returns a Reader of source that refuses messages longer than
// maxMessage bytes.
func NewReader(source io.Reader, maxMessage int) *Reader {
	return &Reader{source: source, max: maxMessage}
}

// Next returns the next message. Its byte slices are the Reader's: they are valid
// until the next call. Errors: io.EOF between two messages, io.ErrUnexpectedEOF
// within one, *Error when the peer broke the protocol, else the source's. After
// an error the stream is of no more use.
func (r *Reader) Next() (Message, error) {
	for {
		size, n, err := readLength(r.buf[r.start:r.end])
		if err != nil {
			return nil, err
		}
		if n > 0 && size > r.max {
			return nil, errTooBig(r.max)
		}
		if n > 0 && r.end-r.start >= n+size {
			body := r.buf[r.start+n : r.start+n+size]
			r.start += n + size
			return Parse(body)
		}
		if err := r.fill(n + size); err != nil {
			return nil, err
		}
	}
}

// fill receives more of a message that is total bytes long, as far as known. The
// buffer grows with what has come, never by what a peer has only announced.
func (r *Reader) fill(total int) error {
	if r.start == r.end {
		r.start, r.end = 0, 0
		if len(r.buf) > keptBuffer {
			r.buf = nil
		}
	}
	if held := r.end - r.start; r.end == len(r.buf) {
		size := len(r.buf)
		if held > size/2 || size < minBuffer {
			size = max(minBuffer, min(2*held, total+minBuffer))
		}
		next := r.buf
		if size > len(r.buf) {
			next = make([]byte, size)
		}
		copy(next, r.buf[r.start:r.end])
		r.buf, r.start, r.end = next, 0, held
	}
	n, err := r.source.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	if errors.Is(err, io.EOF) && r.end > r.start {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readLength reads a length prefix: seven bits a byte, least significant first,
// the top bit says that another byte follows. n is 0 while it is incomplete.
func readLength(b []byte) (size, n int, err error) {
	for i := range min(len(b), maxPrefix) {
		size |= int(b[i]&0x7F) << (7 * i)
		if b[i]&0x80 == 0 {
			if size > 1<<31-1 {
				return 0, 0, errLength
			}
			return size, i + 1, nil
		}
	}
	if len(b) >= maxPrefix {
		return 0, 0, errLength
	}
	return 0, 0, nil
}
