package serverlink

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A frame is a length (3 bytes, big endian, of what follows), a kind (1 byte),
// the number of the pairing (uvarint; 0 = the link itself) and the fields of
// the kind. Strings and lists begin with their length as uvarint. Pairings are
// numbered by the edge that dialled and numbers are never used again.

// kind says what a frame is. The numbers travel between edges of different
// versions: never reuse one.
type kind uint8

const (
	kindPing kind = 1 // number
	kindPong kind = 2 // the number of the ping

	// From the client's edge.
	kindOpen  kind = 3 // see appendOpen
	kindData  kind = 4 // flags, type, payload
	kindPause kind = 5
	kindEnd   kind = 6 // reason, movedTo

	// From the app server's edge.
	kindOpened  kind = 7  // server id
	kindRefused kind = 8  // refusal, text
	kindDeliver kind = 9  // flags, position, payload
	kindPaused  kind = 10 // text; empty when all is well
	kindClose   kind = 11 // flags, position, reason
	kindMigrate kind = 12
	kindLost    kind = 13 // text

	// From both: bytes consumed, then chunks settled, since the last one.
	kindProgress kind = 14

	// From the client's edge, see pairing.Session.Hold.
	kindHold    kind = 15
	kindRelease kind = 16
)

// The flags of kindData, kindDeliver and kindClose.
const (
	flagMore  = 1 << 0 // the message goes on in the next frame
	flagAfter = 1 << 1 // a number follows
	flagEpoch = 1 << 2 // before it, the epoch; without it the last one counts
)

const (
	// maxFrame bounds what follows the length of a frame. Only kindOpen comes near.
	maxFrame = 256 << 10
	// maxPayload is the most that one frame carries of a message, so that long
	// messages of one client don't hold up others.
	maxPayload = 32 << 10
	// maxMessage bounds a message of a client that comes in several frames. Hubs
	// allow 1 MiB.
	maxMessage = 16 << 20
	// maxText bounds reasons, server ids and names.
	maxText = 16 << 10
	// maxList bounds the claims and the headers of a client.
	maxList = 4096

	lengthSize = 3
)

// errFrame is the cause of the end of a link whose peer breaks the format.
var errFrame = errors.New("malformed frame")

// frame is one frame as read; body is good until the next read.
type frame struct {
	kind    kind
	session uint64
	body    []byte
}

// frameReader reads frames into one buffer.
type frameReader struct {
	in  *bufio.Reader
	buf []byte
}

func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{in: bufio.NewReaderSize(r, 64<<10), buf: make([]byte, 0, 4<<10)}
}

// next returns the next frame. io.EOF comes only between two frames.
func (r *frameReader) next() (frame, error) {
	var head [lengthSize]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		return frame{}, err
	}
	n := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	if n < 2 || n > maxFrame {
		return frame{}, fmt.Errorf("%w: %d bytes, may have 2 to %d", errFrame, n, maxFrame)
	}
	if cap(r.buf) < n {
		r.buf = make([]byte, 0, n)
	}
	b := r.buf[:n]
	if _, err := io.ReadFull(r.in, b); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	f := fields{rest: b[1:]}
	session := f.uvarint()
	if f.err != nil {
		return frame{}, f.err
	}
	return frame{kind: kind(b[0]), session: session, body: f.rest}, nil
}

// begin appends the head of a frame; finish gives it its length.
func begin(b []byte, k kind, session uint64) []byte {
	return binary.AppendUvarint(append(b, 0, 0, 0, byte(k)), session)
}

// finish writes the length of the frame that is all of b and extra bytes more.
func finish(b []byte, extra int) []byte {
	n := len(b) - lengthSize + extra
	b[0], b[1], b[2] = byte(n>>16), byte(n>>8), byte(n)
	return b
}

func appendString[S string | []byte](b []byte, s S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// cut shortens a text to what a frame may hold.
func cut(s string) string {
	if len(s) > maxText {
		return s[:maxText]
	}
	return s
}

// fields reads the fields of a frame; after an error it yields zeros.
type fields struct {
	rest []byte
	err  error
}

func (f *fields) fail(what string) {
	if f.err == nil {
		f.err = fmt.Errorf("%w: %s", errFrame, what)
	}
	f.rest = nil
}

func (f *fields) byte() byte {
	if len(f.rest) == 0 {
		f.fail("ends within a field")
		return 0
	}
	b := f.rest[0]
	f.rest = f.rest[1:]
	return b
}

func (f *fields) uvarint() uint64 {
	v, n := binary.Uvarint(f.rest)
	if n <= 0 {
		f.fail("no number")
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

// count is a uvarint of at most most.
func (f *fields) count(most int) int {
	v := f.uvarint()
	if v > uint64(most) {
		f.fail("number out of bounds")
		return 0
	}
	return int(v)
}

// bytes returns a part of the frame.
func (f *fields) bytes(most int) []byte {
	n := f.count(most)
	if n > len(f.rest) {
		f.fail("string is cut short")
		return nil
	}
	b := f.rest[:n]
	f.rest = f.rest[n:]
	return b
}

func (f *fields) string() string { return string(f.bytes(maxText)) }

// end reports what went wrong; what is left over belongs to later versions.
func (f *fields) end() error { return f.err }
