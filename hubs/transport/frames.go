package transport

import (
	"encoding/binary"
	"time"
	"unicode/utf8"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/internal/pace"
)

// What a client may do with frames beyond RFC 6455.
const (
	// maxFragments is how many frames one message may come in.
	maxFragments = 1024
	// maxControlPayload is the RFC's own bound, in bytes (5.5).
	maxControlPayload = 125
)

// emptyLimit is for frames that bring nothing: pings, pongs and empty messages.
var emptyLimit = pace.Limit{PerSecond: 50, Burst: 250}

// Opcodes of RFC 6455, 5.2.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// The bits of a frame's first byte that say that it is its message's last, and of
// the second that it is masked.
const (
	bitFin  = 0x80
	bitMask = 0x80
)

// Statuses of RFC 6455, 7.4.1.
const (
	statusNormal      = 1000
	statusGoingAway   = 1001
	statusProtocol    = 1002
	statusReserved    = 1004
	statusNone        = 1005 // never sent: there was none
	statusAbnormal    = 1006 // never sent
	statusInvalid     = 1007
	statusPolicy      = 1008
	statusTooBig      = 1009
	statusFailed      = 1011
	statusLastOfRFC   = 1014
	statusFirstOfApps = 3000
	statusLastOfApps  = 4999
)

// frameError is a client's breach of the rules of frames, and how the socket is
// closed for it.
type frameError struct {
	status uint16
	code   string // for hubs.Meter.Refused; empty: not counted
	text   string // at most 123 bytes
}

func (e *frameError) Error() string { return e.text }

func breach(text string) *frameError {
	return &frameError{statusProtocol, hubs.RefusedProtocol, text}
}

var (
	errReservedBits = breach("a frame has reserved bits set")
	errOpcode       = breach("a frame has a reserved opcode")
	errUnmasked     = breach("a frame of a client must be masked")
	errLength       = breach("a frame's length has its first bit set")
	errControl      = breach("a control frame must be in one piece of at most 125 bytes")
	errContinuation = breach("a continuation without a message")
	errInterleaved  = breach("a message begins inside another")
	errFragments    = &frameError{statusPolicy, hubs.RefusedFlood, "a message may come in at most 1024 frames"}
	errEmptyFrames  = &frameError{statusPolicy, hubs.RefusedFlood, "more than 50 pings, pongs and empty messages a second"}
	errInvalidUTF8  = &frameError{statusInvalid, hubs.RefusedProtocol, "a text message must be UTF-8"}
	errReason       = &frameError{statusInvalid, hubs.RefusedProtocol, "the reason of a close frame must be UTF-8"}
	errStatus       = &frameError{statusProtocol, "", "a close frame has no status, or one that may be sent"}
	errSlowMessage  = &frameError{statusPolicy, hubs.RefusedTimeout, "a message that has begun must be complete in time"}
)

// frames takes a client's frames apart. The zero value is at the beginning of a
// connection.
type frames struct {
	payload   uint64 // bytes of the frame's payload still to come
	head      [14]byte
	have      uint8 // bytes of head
	inPayload bool  // the head is complete and the frame isn't
	inMessage bool  // more frames of the message are to come
	opcode    byte
	masked    uint8  // bytes of the payload so far, modulo the mask's length
	fragments uint16 // of the message, so far
	empty     pace.Meter
}

// next takes what belongs to the frame's head off the front of p. Once
// f.inPayload is set, f tells what the frame is; an error is final.
func (f *frames) next(p []byte) (rest []byte, err *frameError) {
	for len(p) > 0 && !f.inPayload {
		n := copy(f.head[f.have:f.size()], p)
		f.have += uint8(n)
		p = p[n:]
		if int(f.have) == f.size() {
			if err := f.frame(); err != nil {
				return nil, err
			}
			f.inPayload, f.masked = true, 0
		}
	}
	return p, nil
}

// isControl reports whether the frame is a ping, a pong or a close frame.
func (f *frames) isControl() bool { return f.opcode >= opClose }

// take appends to dst what p has of the frame's payload, at most as much as dst
// has room for, and returns the rest of p.
func (f *frames) take(dst, p []byte) (all, rest []byte) {
	n := int(min(f.payload, uint64(len(p)), uint64(cap(dst)-len(dst))))
	from := len(dst)
	dst = append(dst, p[:n]...)
	unmask(dst[from:], [4]byte(f.head[f.have-4:f.have]), int(f.masked))
	f.masked = uint8(int(f.masked)+n) % 4
	f.payload -= uint64(n)
	return dst, p[n:]
}

// end is called when the whole payload has been taken.
func (f *frames) end() { f.inPayload, f.have = false, 0 }

// unmask takes the mask, of which offset bytes have been used, off b (RFC 6455,
// 5.3).
func unmask(b []byte, mask [4]byte, offset int) {
	var key [8]byte
	for i := range key {
		key[i] = mask[(offset+i)%len(mask)]
	}
	wide := binary.NativeEndian.Uint64(key[:])
	for len(b) >= len(key) {
		binary.NativeEndian.PutUint64(b, binary.NativeEndian.Uint64(b)^wide)
		b = b[len(key):]
	}
	for i := range b {
		b[i] ^= key[i]
	}
}

// size is how many bytes the head has, as far as can be told from what is there.
func (f *frames) size() int {
	if f.have < 2 {
		return 2
	}
	size := 2
	switch f.head[1] & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if f.head[1]&bitMask != 0 {
		size += 4 // the mask
	}
	return size
}

// frame judges a frame by its head.
func (f *frames) frame() *frameError {
	first, length := f.head[0], uint64(f.head[1]&0x7f)
	fin, op := first&bitFin != 0, first&0xf
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		length = binary.BigEndian.Uint64(f.head[2:])
	}
	f.payload, f.opcode = length, op
	switch {
	case first&0x70 != 0:
		return errReservedBits
	case op > opPong || op > opBinary && op < opClose:
		return errOpcode
	case f.head[1]&bitMask == 0:
		return errUnmasked
	case length>>63 != 0:
		return errLength
	case op >= opClose:
		if !fin || length > maxControlPayload {
			return errControl
		}
		if op != opClose {
			return f.nothing()
		}
		return nil
	case op == opContinuation && !f.inMessage:
		return errContinuation
	case op != opContinuation && f.inMessage:
		return errInterleaved
	case op != opContinuation:
		f.fragments = 0
		if fin && length == 0 {
			return f.nothing()
		}
	}
	f.inMessage = !fin
	if f.fragments++; f.fragments > maxFragments {
		return errFragments
	}
	return nil
}

// nothing counts a frame that brings nothing.
func (f *frames) nothing() *frameError {
	if f.empty.Over(int64(time.Since(started)), emptyLimit) {
		return errEmptyFrames
	}
	return nil
}

// started is where the clock of frames begins.
var started = time.Now()

// text checks a message that comes in pieces for UTF-8; RFC 6455, 8.1.
type text struct {
	rune [utf8.UTFMax]byte // the beginning of one
	n    uint8
}

// valid reports whether the message can go on with p.
func (t *text) valid(p []byte) bool {
	for t.n > 0 && len(p) > 0 {
		t.rune[t.n] = p[0]
		t.n++
		p = p[1:]
		if utf8.FullRune(t.rune[:t.n]) {
			if !utf8.Valid(t.rune[:t.n]) {
				return false
			}
			t.n = 0
		}
	}
	if utf8.Valid(p) {
		return true
	}
	// p may end inside a rune.
	cut := len(p)
	for i := len(p) - 1; i >= max(0, len(p)-utf8.UTFMax+1); i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				cut = i
			}
			break
		}
	}
	t.n = uint8(copy(t.rune[:], p[cut:]))
	return t.n > 0 && utf8.Valid(p[:cut])
}

// ends reports whether the message may end here, and begins the next.
func (t *text) ends() bool {
	whole := t.n == 0
	t.n = 0
	return whole
}
