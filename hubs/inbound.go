package hubs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// inbound turns the bytes of a connection into messages. It holds a buffer only
// while there are bytes in it.
type inbound struct {
	c         *Connection
	transport Transport // what is read from
	buf       *readBuffer
	framed    Framed // transport when it is one
	frame     uint64 // of the bytes that were read last
	inFrame   int    // hub messages that have ended in it
}

// newInbound returns what reads the connection's first socket.
func newInbound(c *Connection) *inbound {
	in := &inbound{c: c}
	in.readFrom(c.transport)
	return in
}

// readFrom makes t what is read from.
func (in *inbound) readFrom(t Transport) {
	in.transport = t
	in.framed, _ = t.(Framed)
	in.frame, in.inFrame = 0, 0
}

// readBuffer is what a connection borrows while it has something to read.
type readBuffer struct {
	data     []byte // what has been read and not been parsed
	searched int    // so many bytes of data hold no end of a message
	message  protocol.Message
}

var readBuffers = sync.Pool{New: func() any { return &readBuffer{data: make([]byte, 0, 4<<10)} }}

// release gives the buffer back.
func (in *inbound) release() {
	b := in.buf
	if b == nil {
		return
	}
	in.buf = nil
	if cap(b.data) > maxPooled {
		return
	}
	b.data, b.searched = b.data[:0], 0
	readBuffers.Put(b)
}

// waiting returns the bytes that have been read and not been taken.
func (in *inbound) waiting() []byte {
	if in.buf == nil {
		return nil
	}
	return in.buf.data
}

// take removes the first n bytes.
func (in *inbound) take(n int) {
	b := in.buf
	b.data, b.searched = b.data[:copy(b.data, b.data[n:])], 0
}

// fill waits for bytes and appends what one Read gives. io.EOF: the client
// ended the connection in the orderly way; any other error is a transportError.
func (in *inbound) fill() error {
	t := in.transport
	for {
		if in.buf != nil {
			n, err := in.read(t)
			if err != nil {
				return err
			}
			if n > 0 {
				return nil
			}
			if len(in.buf.data) == 0 {
				in.release()
			}
		}
		if err := t.Wait(); err != nil {
			switch {
			case errors.Is(err, io.EOF):
				return io.EOF
			case errors.Is(err, ErrMoved):
				return ErrMoved
			}
			return in.failed(err)
		}
		if in.buf == nil {
			in.buf = readBuffers.Get().(*readBuffer)
		}
	}
}

// read reads once into the free part of the buffer, which it makes larger when
// it is full. The caller bounds what is waiting.
func (in *inbound) read(t Transport) (int, error) {
	b := in.buf
	if len(b.data) == cap(b.data) {
		b.data = append(make([]byte, 0, 2*cap(b.data)), b.data...)
	}
	n, err := t.Read(b.data[len(b.data):cap(b.data)])
	if err != nil {
		if errors.Is(err, io.EOF) {
			return 0, io.EOF
		}
		return 0, in.failed(err)
	}
	if n > 0 {
		b.data = b.data[:len(b.data)+n]
		if in.framed != nil && in.frame != in.framed.Frame() {
			in.frame, in.inFrame = in.framed.Frame(), 0
		}
		in.c.lastRead.Store(clock())
		in.c.slowDown(n)
		if in.c.resume == nil { // else parse counts what isn't a resend
			in.c.server.meter.Received(n)
		}
	}
	return n, nil
}

// failed counts an end of the transport that is the client's fault.
func (in *inbound) failed(err error) error {
	var broken *Violation
	if errors.As(err, &broken) {
		in.c.server.meter.Refused(broken.Code)
	}
	return &transportError{err}
}

// errClientClosed: the client sent a Close message.
var errClientClosed = errors.New("the client closed the connection")

// messages handles messages until the connection ends. It returns nil when the
// client left in the orderly way.
func (in *inbound) messages() error {
	for {
		err := in.parse()
		switch {
		case errors.Is(err, errClientClosed):
			return nil
		case err != nil:
			return err
		case in.c.isEnding():
			return in.c.endedBy()
		}
		err = in.fill()
		switch {
		case err == nil:
		case in.reattach(err):
		case errors.Is(err, io.EOF) && len(in.waiting()) > 0:
			return invalidData("Connection terminated while reading a message.")
		case errors.Is(err, io.EOF):
			return nil
		default:
			return err
		}
	}
}

// parse handles every complete message that is waiting.
func (in *inbound) parse() error {
	c := in.c
	limit := c.server.options.Load().MaximumReceiveMessageSize
	ping := pingFrame(c.proto)
	data := in.waiting()
	taken := 0
	for len(data) > taken {
		m := &in.buf.message
		var n int
		var err error
		switch {
		case in.buf.searched > 0 && len(data) <= limit && !protocol.HasEnd(c.proto, data[in.buf.searched:]):
			// More of a message that isn't whole yet. A search from its beginning with
			// every byte would take the square of its length.
		case len(ping) <= limit && bytes.HasPrefix(data[taken:], ping):
			// By far the most of idle clients. A parser would need a larger stack than
			// they have, for good.
			*m, n = protocol.Message{Type: protocol.Ping}, len(ping)
		case protocol.Oversized(c.proto, data[taken:], limit):
			c.server.meter.Refused(RefusedTooLarge)
			return &oversizeError{limit, invalidData("The maximum message size of %dB was exceeded. The message size can be configured in AddHubOptions.", limit)}
		default:
			n, err = c.proto.Parse(data[taken:], m)
		}
		if err != nil {
			c.server.meter.Refused(RefusedProtocol)
			return &dataError{err}
		}
		if n == 0 {
			break
		}
		taken += n
		if err := in.crowded(m); err != nil {
			return err
		}
		if c.resume != nil {
			fresh, err := c.admit(m)
			if err != nil {
				c.server.meter.Refused(RefusedProtocol)
				return err
			}
			if !fresh {
				if m.Type == protocol.Ack || m.Type == protocol.Sequence {
					if err := c.idle(m.Type); err != nil {
						return err
					}
				}
				continue
			}
			c.server.meter.Received(n)
		}
		if err := c.handle(m, data[taken-n:taken]); err != nil {
			return err
		}
	}
	if taken > 0 {
		in.take(taken)
	}
	if in.buf != nil {
		in.buf.searched = len(in.buf.data)
	}
	return nil
}

// crowded counts the hub messages of a frame; an error means that there are too
// many. Items of streams don't count: clients put those that a program gives them
// in one go into one frame, and the hub method's pace bounds them.
func (in *inbound) crowded(m *protocol.Message) error {
	if in.framed == nil || m.Type == protocol.StreamItem {
		return nil
	}
	limit := in.c.server.options.Load().MaximumMessagesPerFrame
	if in.inFrame++; in.inFrame <= limit {
		return nil
	}
	in.c.server.meter.Refused(RefusedFlood)
	return &floodError{text: fmt.Sprintf("%s: more than %d hub messages in one WebSocket message. Connect again and send them in several.", RefusedFlood, limit)}
}

// handle does what one message asks; raw are its bytes.
func (c *Connection) handle(m *protocol.Message, raw []byte) error {
	if m.Type == protocol.Invocation || m.Type == protocol.StreamInvocation {
		c.turn.Lock()
		defer c.turn.Unlock()
		switch {
		case c.isEnding():
			if c.retiring.Load() != 0 {
				c.server.meter.Refused(RefusedRetiring)
			}
			return nil // it has crossed the Close message, by which its caller learns of it
		case m.InvocationID != "" && !c.takesCalls():
			return c.refuseRetiring(m)
		}
	}
	if c.proxied != nil {
		return c.proxied.handle(m, raw)
	}
	switch m.Type {
	case protocol.Ping:
		c.pinged.Store(true)
		return c.idle(m.Type)
	case protocol.Close:
		return errClientClosed
	case protocol.Invocation, protocol.StreamInvocation:
		return c.invoke(m)
	case protocol.Completion:
		if c.answered(m) {
			return nil
		}
		return c.dispatcher.Message(c.ctx, c, m)
	case protocol.StreamItem, protocol.CancelInvocation:
		if m.Type == protocol.CancelInvocation && c.cancelServed(m.InvocationID) {
			return nil
		}
		return c.dispatcher.Message(c.ctx, c, m)
	default:
		// HubProtocol.md asks for unknown types to be ignored. Of acknowledgements
		// and sequence numbers only stateful reconnect knows, in admit.
		return c.idle(m.Type)
	}
}
