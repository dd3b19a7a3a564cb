package transport

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Sizes in bytes of the buffers that a WebSocket keeps at rest, in place of
// net/http's 4 KiB each way. The write buffer only collects a message's header, and
// control frames, each of which must leave in one write: a whole message may come
// between two, see patientConn.writeWhole. Messages are put together by patientConn.
const (
	readBufferSize  = 256
	writeBufferSize = 2 + maxControlPayload
)

const (
	// writeTimeout bounds one write to the socket.
	writeTimeout = 10 * time.Second
	// writeDeadlineStep is how much earlier than writeTimeout a write may fail,
	// so that the deadline isn't set anew for each one.
	writeDeadlineStep = time.Second
	// maxCorked is the largest frame in bytes that is copied to leave in one write.
	maxCorked = 64 << 10
)

// upgrader is the ResponseWriter of a WebSocket upgrade. It hands out the
// connection as a patientConn with small buffers.
type upgrader struct {
	http.ResponseWriter
	messageTimeout time.Duration
	conn           *patientConn
}

// Hijack implements http.Hijacker.
func (u *upgrader) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	raw, brw, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early := make([]byte, brw.Reader.Buffered())
	_, _ = brw.Reader.Read(early) // from memory
	_ = raw.SetDeadline(time.Time{})
	u.conn = &patientConn{Conn: raw, early: early, messageTimeout: u.messageTimeout}
	return u.conn, bufio.NewReadWriter(bufio.NewReaderSize(u.conn, readBufferSize), bufio.NewWriterSize(u.conn, writeBufferSize)), nil
}

// patientConn is a net.Conn that bounds the time of every write and of every
// message that is being read, without a timer or a context per operation, that
// keeps an eye on the client's frames, and that can put the parts of a frame
// together into one write.
type patientConn struct {
	net.Conn
	messageTimeout time.Duration

	// Only for who reads: one at a time, as the WebSocket's lock has it.
	early  []byte // read by net/http before the upgrade
	frames frames
	wrong  *frameError // what a frame broke: nothing more is read
	failed bool        // nothing more comes

	// Who closes the socket reads on until the client's close frame, maybe while
	// the reader takes note of a message.
	inMessage atomic.Bool
	deadline  atomic.Bool // a read deadline is set
	stopped   atomic.Bool // see stopReading
	over      atomic.Bool // a close frame was read, or is to be written: no message may follow

	mu       sync.Mutex
	deadSet  time.Time // when the write deadline was set last
	corked   bool
	together *[]byte
	rest     []byte // of a message that had no room as a whole; nobody changes it
}

// Read reads what the client sent, up to a frame that breaks the rules.
func (c *patientConn) Read(p []byte) (int, error) {
	switch {
	case c.stopped.Load():
		return 0, c.drain()
	case c.wrong != nil:
		return 0, c.wrong
	}
	n, err := c.read(p)
	c.failed = c.failed || err != nil
	if n > 0 {
		n, c.wrong = c.frames.pass(p[:n])
		if c.frames.closed {
			c.over.Store(true)
		}
		if n == 0 {
			return 0, c.wrong
		}
	}
	return n, err
}

func (c *patientConn) read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil
		}
		return n, nil
	}
	// Most messages are there as a whole and need no deadline.
	if c.inMessage.Load() && c.deadline.CompareAndSwap(false, true) {
		if err := c.Conn.SetReadDeadline(time.Now().Add(c.messageTimeout)); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && c.inMessage.Load() {
		return 0, errSlowMessage
	}
	return n, err
}

// What is still taken from a client that is being closed, so that the close
// frame arrives before the socket's end.
const (
	drainBytes = 256 << 10
	drainTime  = time.Second
)

// stopReading makes whoever reads wait for the client's end of the socket, for a
// while and without a look at what comes.
func (c *patientConn) stopReading() { c.stopped.Store(true) }

func (c *patientConn) drain() error {
	if err := c.Conn.SetReadDeadline(time.Now().Add(drainTime)); err != nil {
		return err
	}
	scrap := getFrameBuffer()
	defer putFrameBuffer(scrap)
	for left := drainBytes; left > 0; {
		n, err := c.Conn.Read((*scrap)[:cap(*scrap)])
		if err != nil {
			return err
		}
		left -= n
	}
	return io.EOF
}

// cut closes the socket at once. Over TLS, Close might wait to take its leave.
func (c *patientConn) cut() error {
	if secure, ok := c.Conn.(interface{ NetConn() net.Conn }); ok {
		return secure.NetConn().Close()
	}
	return c.Conn.Close()
}

func (c *patientConn) messageBegins() { c.inMessage.Store(true) }

func (c *patientConn) messageEnds() {
	c.inMessage.Store(false)
	if c.deadline.CompareAndSwap(true, false) {
		_ = c.Conn.SetReadDeadline(time.Time{}) // a closed connection says so at the next read
	}
}

// frameBuffers holds buffers in which a frame or an event is put together. What
// is in them is another connection's: getFrameBuffer empties them.
var frameBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

func getFrameBuffer() *[]byte {
	b := frameBuffers.Get().(*[]byte)
	*b = (*b)[:0]
	return b
}

func putFrameBuffer(b *[]byte) {
	if cap(*b) <= maxCorked+writeBufferSize {
		frameBuffers.Put(b)
	}
}

// cork collects what is written from now on, if it is not too large.
func (c *patientConn) cork(size int) {
	if size > maxCorked {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked, c.together = true, getFrameBuffer()
}

// uncork writes what was collected.
func (c *patientConn) uncork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.corked {
		return nil
	}
	c.corked = false
	b := c.together
	c.together = nil
	var err error
	if len(*b) > 0 {
		_, err = c.write(*b)
	}
	putFrameBuffer(b)
	return err
}

// writeWhole writes a whole message that the library has framed elsewhere, unless the
// close frame ends what may be written. Only who writes messages calls it.
func (c *patientConn) writeWhole(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over.Load() {
		return net.ErrClosed
	}
	_, err := c.write(p)
	return err
}

// tryWhole is writeWhole of what nobody changes, without waiting for the client: sent
// says whether the message is on its way, behind that a part of it is left for
// whoever writes next. It isn't sent when somebody else writes.
func (c *patientConn) tryWhole(p []byte) (sent, behind bool, err error) {
	conn, ok := c.Conn.(syscall.Conn) // not over TLS
	if !ok || !c.mu.TryLock() {
		return false, false, nil
	}
	defer c.mu.Unlock()
	switch {
	case c.over.Load():
		return false, false, net.ErrClosed
	case c.corked || len(c.rest) > 0:
		return false, false, nil
	}
	if err := c.setWriteDeadline(); err != nil {
		return false, false, err
	}
	n, err := writeNow(conn, p)
	if err != nil || n == 0 {
		return false, false, err
	}
	if n < len(p) {
		c.rest = p[n:]
	}
	return true, n < len(p), nil
}

// writeRest writes what tryWhole has left.
func (c *patientConn) writeRest() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.write(nil)
	return err
}

// Write may be called by the reader as well, for pongs and close frames; each
// call holds a whole control frame, so frames never mix.
func (c *patientConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.corked {
		*c.together = append(*c.together, p...)
		return len(p), nil
	}
	return c.write(p)
}

// write writes p within writeTimeout. c.mu is held: it orders writers, and no
// writer waits for longer than the deadline.
func (c *patientConn) write(p []byte) (int, error) {
	if err := c.setWriteDeadline(); err != nil {
		return 0, err
	}
	if rest := c.rest; len(rest) > 0 {
		c.rest = nil
		if _, err := c.Conn.Write(rest); err != nil {
			return 0, err
		}
	}
	if len(p) == 0 {
		return 0, nil
	}
	return c.Conn.Write(p)
}

// setWriteDeadline gives a write its time. c.mu is held.
func (c *patientConn) setWriteDeadline() error {
	now := time.Now()
	if now.Sub(c.deadSet) <= writeDeadlineStep {
		return nil
	}
	if err := c.Conn.SetWriteDeadline(now.Add(writeTimeout)); err != nil {
		return err
	}
	c.deadSet = now
	return nil
}
