package transport

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/coder/websocket"
)

// press makes WebSocket messages of hub messages, with the library's own hand: a
// WebSocket that ends in memory. What a server writes of a message is the same for
// all its clients, so one that goes to many needs to be framed, and the library's
// locks to be taken, only once.
type press struct {
	mu   sync.Mutex
	conn *websocket.Conn
	out  bytes.Buffer
	sink io.Writer // where the library writes: out
}

// pressed is the process's press.
var pressed = sync.OnceValues(newPress)

func newPress() (*press, error) {
	p := new(press)
	p.sink = &p.out
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://press/", nil)
	if err != nil {
		return nil, err
	}
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
	}
	// As upgrade does for clients.
	p.conn, err = websocket.Accept(&pressWriter{header: make(http.Header), press: p}, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled,
	})
	return p, err
}

// make returns the message p as it goes over the wire.
func (p *press) make(kind websocket.MessageType, message []byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out.Reset()
	if err := p.conn.Write(context.Background(), kind, message); err != nil {
		return nil, err
	}
	return bytes.Clone(p.out.Bytes()), nil
}

// pressWriter is the ResponseWriter of the press's upgrade.
type pressWriter struct {
	header http.Header
	press  *press
}

func (w *pressWriter) Header() http.Header         { return w.header }
func (w *pressWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *pressWriter) WriteHeader(int)             {}

// Hijack implements http.Hijacker.
func (w *pressWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	here, there := net.Pipe() // of which nothing is read, and nothing but its end is used
	conn := pressConn{here, w.press}
	return conn, bufio.NewReadWriter(bufio.NewReaderSize(conn, readBufferSize), bufio.NewWriterSize(conn, writeBufferSize)), there.Close()
}

// pressConn collects what is written.
type pressConn struct {
	net.Conn
	press *press
}

func (c pressConn) Write(p []byte) (int, error) { return c.press.sink.Write(p) }
