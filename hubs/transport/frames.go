package transport

import (
	"encoding/binary"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

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
	opPong         = 10
)

// frameError is a client's breach of the rules of frames, and how the socket is
// closed for it.
type frameError struct {
	status websocket.StatusCode
	code   string // for hubs.Meter.Refused
	text   string // at most 123 bytes
}

func (e *frameError) Error() string { return e.text }

func breach(text string) *frameError {
	return &frameError{websocket.StatusProtocolError, hubs.RefusedProtocol, text}
}

var (
	errReservedBits = breach("a frame has reserved bits set")
	errOpcode       = breach("a frame has a reserved opcode")
	errUnmasked     = breach("a frame of a client must be masked")
	errLength       = breach("a frame's length has its first bit set")
	errControl      = breach("a control frame must be in one piece of at most 125 bytes")
	errContinuation = breach("a continuation without a message")
	errInterleaved  = breach("a message begins inside another")
	errFragments    = &frameError{websocket.StatusPolicyViolation, hubs.RefusedFlood, "a message may come in at most 1024 frames"}
	errEmptyFrames  = &frameError{websocket.StatusPolicyViolation, hubs.RefusedFlood, "more than 50 pings, pongs and empty messages a second"}
	errInvalidUTF8  = &frameError{websocket.StatusInvalidFramePayloadData, hubs.RefusedProtocol, "a text message must be UTF-8"}
	errReason       = &frameError{websocket.StatusInvalidFramePayloadData, hubs.RefusedProtocol, "the reason of a close frame must be UTF-8"}
	errSlowMessage  = &frameError{websocket.StatusPolicyViolation, hubs.RefusedTimeout, "a message that has begun must be complete in time"}
)

// frames follows a client's frames while their bytes pass by on the way to the
// WebSocket library, which counts nothing and answers every ping. The zero value
// is at the beginning of a connection.
type frames struct {
	payload   uint64 // bytes of the frame's payload still to come
	head      [14]byte
	have      uint8 // bytes of head
	inMessage bool
	closing   bool   // in a close frame
	closed    bool   // by it: what comes behind doesn't matter
	fragments uint16 // of the message, so far
	reason    text   // of the close frame
	empty     pace.Meter
}

// pass follows p, the next bytes of the connection. An error is final; the first
// good bytes of p come before the frame that is wrong.
func (f *frames) pass(p []byte) (good int, err *frameError) {
	for at := 0; at < len(p) && !f.closed; {
		if f.payload > 0 {
			n := min(uint64(len(p)-at), f.payload)
			if f.closing && !f.goodbye(p[at:at+int(n)]) {
				return good, errReason
			}
			f.payload -= n
			at += int(n)
			continue
		}
		if f.have == 0 {
			good = at
		}
		n := copy(f.head[f.have:f.size()], p[at:])
		f.have += uint8(n)
		at += n
		if int(f.have) < f.size() {
			continue
		}
		f.have = 0
		if err := f.frame(); err != nil {
			return good, err
		}
	}
	return len(p), nil
}

// goodbye checks a part of a close frame: its reason is text, and goes back to
// the client.
func (f *frames) goodbye(p []byte) bool {
	mask := f.head[2:6]
	var plain [maxControlPayload]byte
	at := int(f.head[1]&0x7f) - int(f.payload)
	for i, b := range p {
		plain[i] = b ^ mask[(at+i)%len(mask)]
	}
	valid := f.reason.valid(plain[min(max(2-at, 0), len(p)):len(p)])
	if f.closed = uint64(len(p)) == f.payload; f.closed {
		valid = valid && f.reason.ends()
	}
	return valid
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
	if f.head[1]&0x80 != 0 {
		size += 4 // the mask
	}
	return size
}

// frame judges a frame by its head.
func (f *frames) frame() *frameError {
	first, length := f.head[0], uint64(f.head[1]&0x7f)
	fin, op := first&0x80 != 0, first&0xf
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		length = binary.BigEndian.Uint64(f.head[2:])
	}
	f.payload = length
	switch {
	case first&0x70 != 0:
		return errReservedBits
	case op > opPong || op > opBinary && op < opClose:
		return errOpcode
	case f.head[1]&0x80 == 0:
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
		f.closing, f.closed = true, length == 0
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
