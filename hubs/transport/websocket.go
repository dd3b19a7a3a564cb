package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// unnegotiated serves a WebSocket without a connection token (skipNegotiation):
// a new connection that no other request can ever name.
func (h *Handler) unnegotiated(q *request) {
	if !q.ep.allows(hubs.WebSockets) {
		writeText(q.w, http.StatusNotFound, string(hubs.WebSockets)+" transport not supported by this end point type")
		return
	}
	q.id = hubs.NewConnectionID()
	done, err := q.admit()
	if err != nil {
		h.writeError(q.w, err)
		return
	}
	h.serveWebSocket(q, nil, done)
}

// serveWebSocket upgrades the request and has the connection served to its end, on
// goroutines of its own: the request, its stack and net/http's buffers are let
// go of, which is most of what an idle connection would cost. end is called
// when it has ended. all is nil but for stateful reconnect.
func (h *Handler) serveWebSocket(q *request, all *sockets, end func()) {
	ws, ok := h.upgrade(q)
	if !ok {
		end() // it has been answered
		return
	}
	ws.resumable = all != nil
	all.begin(ws)
	info, server := h.info(q), q.ep.Server
	h.serving.Add(1)
	server.Start(context.Background(), info, ws, func(err error) {
		defer h.serving.Done()
		defer end()
		defer all.end()
		defer ws.Abort()
		h.ended(err, server, info.ID, hubs.WebSockets)
	})
}

// ended logs why a connection ended, where somebody may want to know.
func (h *Handler) ended(err error, s *hubs.Server, id string, kind hubs.TransportKind) {
	if err != nil {
		h.opt.Logger.Debug("connection ended", "hub", s.Name(), "connection", id, "transport", string(kind), "cause", err)
	}
}

const (
	// writeTimeout bounds one write to the socket.
	writeTimeout = 10 * time.Second
	// writeDeadlineStep is how much earlier than writeTimeout a write may fail,
	// so that the deadline isn't set anew for each one.
	writeDeadlineStep = time.Second
	// maxJoined is the largest frame in bytes whose head and payload are copied
	// together to leave in one write.
	maxJoined = 64 << 10
	// maxFrameHead is how many bytes the head of a server's frame has at most.
	maxFrameHead = 10
	// closeTime bounds an orderly close.
	closeTime = 5 * time.Second
)

// What is still taken from a client that is being closed for what it did, so that
// the close frame arrives before the socket's end.
const (
	drainBytes = 256 << 10
	drainTime  = time.Second
)

// webSocket is the hubs.Transport over one WebSocket (RFC 6455). At rest it has
// no buffer beside firstBytes, no timer and no context. It takes no extension.
type webSocket struct {
	conn           net.Conn
	messageTimeout time.Duration
	opcode         byte // of the frames that are written; 0 = opText
	// resumable: the client may come back unless it closes with status 1000.
	resumable bool

	// writing is held while a frame is written: by the hub's writer, and by the
	// reader for pongs and close frames.
	writing  sync.Mutex
	deadline time.Duration // of writes, since started
	closed   bool          // a close frame was sent: nothing may follow

	// reading is held while the socket is read: by the hub's reader, and by Close
	// when nobody else does. It guards what follows.
	reading  sync.Mutex
	frames   frames
	raw      []byte  // what was read and not been taken
	borrowed *[]byte // raw is in it, when it is not nil
	long     bool    // the last read brought all that it could
	control  []byte  // of a ping, pong or close frame
	isText   bool    // the message
	text     text
	timed    bool          // a read deadline is set
	ended    error         // why nothing more is read
	messages atomic.Uint64 // begun; only changed with reading held

	firstBytes [128]byte // holds most messages of clients, and all pings
}

var _ hubs.Framed = (*webSocket)(nil)

// Kind implements hubs.Transport.
func (*webSocket) Kind() hubs.TransportKind { return hubs.WebSockets }

// SetFormat implements hubs.Transport.
func (ws *webSocket) SetFormat(f protocol.TransferFormat) {
	if f == protocol.Binary {
		ws.opcode = opBinary
	}
}

// Frame implements hubs.Framed: a WebSocket message counts, in however many
// frames it came.
func (ws *webSocket) Frame() uint64 { return ws.messages.Load() }

// Wait implements hubs.Transport.
func (ws *webSocket) Wait() error {
	ws.reading.Lock()
	defer ws.reading.Unlock()
	return ws.advance()
}

// advance goes on to the next bytes of a message. ws.reading is held.
func (ws *webSocket) advance() error {
	for ws.ended == nil {
		f := &ws.frames
		if f.inPayload && f.payload > 0 && len(ws.raw) > 0 && !f.isControl() {
			return nil
		}
		ws.end(ws.step())
	}
	return ws.ended
}

// step does one thing: reads, takes a head, a part of a control frame, or the end
// of a frame. ws.reading is held.
func (ws *webSocket) step() error {
	f := &ws.frames
	switch {
	case f.inPayload && f.payload == 0:
		return ws.frameEnds()
	case len(ws.raw) == 0:
		return ws.fill()
	case f.inPayload: // of a control frame
		if ws.control == nil {
			ws.control = make([]byte, 0, f.payload)
		}
		ws.control, ws.raw = f.take(ws.control, ws.raw)
		return nil
	}
	fresh := !f.inMessage
	rest, wrong := f.next(ws.raw)
	if wrong != nil {
		return ws.breach(wrong)
	}
	ws.raw = rest
	if fresh && f.inPayload && !f.isControl() {
		// As in ASP.NET Core, either kind of message may carry either protocol.
		ws.messages.Add(1)
		ws.isText = f.opcode == opText
	}
	return nil
}

// frameEnds is called when a frame has come as a whole. ws.reading is held.
func (ws *webSocket) frameEnds() error {
	f := &ws.frames
	f.end()
	if !f.isControl() {
		if !f.inMessage && ws.isText && !ws.text.ends() {
			return ws.breach(errInvalidUTF8)
		}
	} else {
		payload := ws.control
		ws.control = nil
		switch f.opcode {
		case opPing:
			if err := ws.writeFrame(opPong, payload); err != nil {
				return err
			}
		case opClose:
			return ws.goodbye(payload)
		}
	}
	if !f.inMessage {
		ws.patient()
	}
	return nil
}

// Read implements hubs.Transport.
func (ws *webSocket) Read(p []byte) (int, error) {
	ws.reading.Lock()
	defer ws.reading.Unlock()
	f := &ws.frames
	dst := p[:0:len(p)]
	// It waits inside a message, never for one.
	for ws.ended == nil && (f.inMessage || f.inPayload) && len(dst) < len(p) && (len(dst) == 0 || len(ws.raw) > 0 || f.inPayload && f.payload == 0) {
		if !f.inPayload || f.payload == 0 || len(ws.raw) == 0 || f.isControl() {
			ws.end(ws.step())
			continue
		}
		from := len(dst)
		dst, ws.raw = f.take(dst, ws.raw)
		if ws.isText && !ws.text.valid(dst[from:]) {
			ws.end(ws.breach(errInvalidUTF8))
		}
	}
	if ws.ended != nil {
		return 0, ws.ended // nobody needs a part of a message that won't be complete
	}
	return len(dst), nil
}

// end notes why nothing more is read, if err says so. ws.reading is held.
func (ws *webSocket) end(err error) {
	if err != nil {
		ws.ended = err
		ws.giveBack()
	}
}

// fill reads from the socket. ws.reading is held.
func (ws *webSocket) fill() error {
	ws.giveBack()
	f := &ws.frames
	began := f.inMessage || f.inPayload
	buf := ws.firstBytes[:]
	if began || ws.long {
		ws.borrowed = getFrameBuffer()
		buf = (*ws.borrowed)[:cap(*ws.borrowed)]
	}
	// Most messages are there as a whole and need no deadline.
	if began && !ws.timed {
		if err := ws.conn.SetReadDeadline(time.Now().Add(ws.messageTimeout)); err != nil {
			return err
		}
		ws.timed = true
	}
	n, err := ws.conn.Read(buf)
	ws.raw, ws.long = buf[:n], n == len(buf)
	switch {
	case n > 0 || err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded) && began:
		return ws.breach(errSlowMessage)
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF // the socket closed without a close frame
	}
	return err
}

// patient takes back the deadline of a message. ws.reading is held.
func (ws *webSocket) patient() {
	if ws.timed {
		ws.timed = false
		_ = ws.conn.SetReadDeadline(time.Time{}) // a closed connection says so at the next read
	}
}

// giveBack gives the buffer that raw was in back. ws.reading is held.
func (ws *webSocket) giveBack() {
	ws.raw = nil
	if ws.borrowed != nil {
		putFrameBuffer(ws.borrowed)
		ws.borrowed = nil
	}
}

// goodbye answers a client's close frame and ends the connection. It is io.EOF
// when the client left without a complaint. Clients with stateful reconnect close
// without a status when they give up a socket and mean to come back.
func (ws *webSocket) goodbye(payload []byte) error {
	status := uint16(statusNone)
	switch {
	case len(payload) >= 2:
		if status = binary.BigEndian.Uint16(payload); !sendable(status) {
			return ws.breach(errStatus)
		}
		if !utf8.Valid(payload[2:]) {
			return ws.breach(errReason)
		}
	case len(payload) == 1:
		return ws.breach(errStatus)
	}
	_ = ws.sendClose(payload) // the client may have gone
	_ = ws.conn.Close()
	switch status {
	case statusNormal:
		return io.EOF
	case statusGoingAway, statusNone:
		if !ws.resumable {
			return io.EOF
		}
	}
	return fmt.Errorf("the client closed the WebSocket with status %d", status)
}

// sendable reports whether a close frame may have the status (RFC 6455, 7.4).
func sendable(status uint16) bool {
	switch status {
	case statusReserved, statusNone, statusAbnormal:
		return false
	}
	return status >= statusNormal && status <= statusLastOfRFC || status >= statusFirstOfApps && status <= statusLastOfApps
}

// breach ends the WebSocket of a client that broke the rules of frames. For a
// while it takes what still comes, without a look at it. ws.reading is held.
func (ws *webSocket) breach(wrong *frameError) error {
	ws.giveBack()
	if ws.sendClose(closePayload(wrong.status, wrong.text)) == nil && ws.conn.SetReadDeadline(time.Now().Add(drainTime)) == nil {
		scrap := getFrameBuffer()
		for left := drainBytes; left > 0; {
			n, err := ws.conn.Read((*scrap)[:cap(*scrap)])
			if err != nil {
				break
			}
			left -= n
		}
		putFrameBuffer(scrap)
	}
	_ = ws.conn.Close()
	if wrong.code == "" {
		return wrong
	}
	return &hubs.Violation{Code: wrong.code, Text: wrong.text}
}

// Write implements hubs.Transport.
func (ws *webSocket) Write(p []byte) error {
	opcode := ws.opcode
	if opcode == 0 {
		opcode = opText
	}
	return ws.writeFrame(opcode, p)
}

// writeFrame sends one frame that is a whole message.
func (ws *webSocket) writeFrame(opcode byte, p []byte) error {
	ws.writing.Lock()
	defer ws.writing.Unlock()
	if ws.closed {
		return net.ErrClosed
	}
	return ws.write(opcode, p)
}

// sendClose sends the close frame, unless one was sent: that is no error.
func (ws *webSocket) sendClose(payload []byte) error {
	ws.writing.Lock()
	defer ws.writing.Unlock()
	if ws.closed {
		return nil
	}
	ws.closed = true
	return ws.write(opClose, payload)
}

// write writes one frame within writeTimeout. ws.writing is held: it orders
// writers, and no writer waits for longer than the deadline.
func (ws *webSocket) write(opcode byte, p []byte) error {
	if now := time.Since(started); ws.deadline-now < writeTimeout-writeDeadlineStep {
		if err := ws.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return err
		}
		ws.deadline = now + writeTimeout
	}
	buf := getFrameBuffer()
	defer putFrameBuffer(buf)
	*buf = appendFrameHead(*buf, opcode, len(p))
	if len(p) <= maxJoined {
		*buf = append(*buf, p...)
		_, err := ws.conn.Write(*buf)
		return err
	}
	if _, err := ws.conn.Write(*buf); err != nil {
		return err
	}
	_, err := ws.conn.Write(p)
	return err
}

// appendFrameHead writes the head of a server's frame of size bytes.
func appendFrameHead(dst []byte, opcode byte, size int) []byte {
	dst = append(dst, bitFin|opcode)
	switch {
	case size <= maxControlPayload:
		return append(dst, byte(size))
	case size < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(size))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(size))
}

func closePayload(status uint16, text string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, status), text...)
}

// Close implements hubs.Transport: it sends a close frame and waits for the
// client's.
func (ws *webSocket) Close(e hubs.Ending) {
	status := uint16(statusNormal)
	switch e {
	case hubs.EndFailed:
		status = statusFailed
	case hubs.EndPolicy:
		status = statusPolicy
	case hubs.EndTooLarge:
		status = statusTooBig
	}
	limit := time.AfterFunc(closeTime, ws.Abort)
	defer limit.Stop()
	defer ws.conn.Close() //nolint:errcheck // it is closed, one way or another
	if ws.sendClose(closePayload(status, "")) != nil {
		return
	}
	// Whoever reads now may meet it. What else comes is for nobody.
	ws.reading.Lock()
	defer ws.reading.Unlock()
	scrap := getFrameBuffer()
	defer putFrameBuffer(scrap)
	for ws.advance() == nil {
		_, ws.raw = ws.frames.take((*scrap)[:0], ws.raw)
	}
}

// Abort implements hubs.Transport. Over TLS, Close might wait to take its leave.
func (ws *webSocket) Abort() {
	conn := ws.conn
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secure.NetConn()
	}
	_ = conn.Close() // closed twice is closed
}

// frameBuffers holds buffers in which a frame or an event is put together, or
// read. What is in them is another connection's: getFrameBuffer empties them.
var frameBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

func getFrameBuffer() *[]byte {
	b := frameBuffers.Get().(*[]byte)
	*b = (*b)[:0]
	return b
}

func putFrameBuffer(b *[]byte) {
	if cap(*b) <= maxJoined+maxFrameHead {
		frameBuffers.Put(b)
	}
}
