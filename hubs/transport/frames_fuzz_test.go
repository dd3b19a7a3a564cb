package transport_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/transport"
)

// pipes is a net.Listener whose connections are pipes in memory.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (*pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// dial returns the client's end of a new connection.
func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.accept <- server
	return client
}

// fuzzUpgrade is what every input begins with.
const fuzzUpgrade = "GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"

// FuzzWSFrames sends raw bytes to the real handler in place of WebSocket frames.
// Whatever they are, the server's own frames are well-formed to the last, a close
// frame is the last, the connection is gone when its client is, and a neighbour
// is served.
func FuzzWSFrames(f *testing.F) {
	hello := masked(0x81, []byte(handshake))
	for _, seed := range [][]byte{
		hello,
		append(bytes.Clone(hello), masked(0x81, []byte(call("a")))...),
		append(bytes.Clone(hello), masked(0x82, []byte("\x02\x91\x06"))...),
		masked(0x82, []byte(`{"protocol":"messagepack","version":1}`+"\x1e\x02\x91\x06")),
		append(bytes.Clone(hello), masked(0x89, []byte("ping"))...),
		append(append(bytes.Clone(hello), masked(0x01, []byte("{"))...), masked(0x80, []byte("}\x1e"))...),
		append(bytes.Clone(hello), masked(0x88, []byte("\x03\xe8bye"))...),
		append(bytes.Clone(hello), masked(0x81, []byte("\xff\xfe"))...),
		append(bytes.Clone(hello), 0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0),
		append(bytes.Clone(hello), 0xf1, 0x80, 0, 0, 0, 0),
		append(bytes.Clone(hello), bytes.Repeat(masked(0x01, nil), 2)...),
		append(bytes.Clone(hello), masked(0x81, []byte(strings.Repeat(ping, 300)))...),
		append(bytes.Clone(hello), bytes.Repeat([]byte(" "), 5000)...),
		[]byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		f.Add(seed, uint16(0))
		f.Add(seed, uint16(3))
	}
	hub, err := hubs.NewServer(hubs.Config{Name: "chat"})
	if err != nil {
		f.Fatal(err)
	}
	ep := &transport.Endpoint{Server: hub, Scope: "chat", StatefulReconnect: true}
	handler, err := transport.NewHandler(transport.Options{Resolve: func(*http.Request) (*transport.Endpoint, error) { return ep, nil }})
	if err != nil {
		f.Fatal(err)
	}
	listener := &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: wait}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	f.Cleanup(func() {
		_ = hub.Close()
		handler.Wait()
		_ = server.Close()
		<-served
	})
	neighbour := newFrameClient(f, listener)
	neighbour.write(hello)
	if _, b, err := neighbour.frame(); err != nil || string(b) != "{}\x1e" {
		f.Fatalf("the neighbour's handshake: %q, %v", b, err)
	}

	f.Fuzz(func(t *testing.T, data []byte, size uint16) {
		_ = neighbour.conn.SetDeadline(time.Now().Add(wait))
		c := newFrameClient(t, listener)
		go func() {
			for rest := data; len(rest) > 0; {
				n := min(int(size)+1, len(rest))
				if _, err := c.conn.Write(rest[:n]); err != nil {
					return // closed meanwhile
				}
				rest = rest[n:]
			}
			// A ping is answered when everything before it has been read, unless
			// it is swallowed by a frame that goes on.
			c.write(masked(0x89, []byte("the last ping")))
			c.write(masked(0x88, []byte("\x03\xe8")))
			time.AfterFunc(20*time.Millisecond, func() { c.conn.Close() }) // the server waits inside a frame
		}()
		closed := false
		for {
			opcode, payload, err := c.frame()
			if err != nil {
				break
			}
			switch {
			case closed:
				t.Fatalf("a frame of opcode %d behind the close frame", opcode)
			case opcode == 1 && !utf8.Valid(payload):
				t.Fatalf("text that is not UTF-8: %q", payload)
			case opcode > 2 && opcode < 8 || opcode == 9 || opcode > 10:
				t.Fatalf("a frame of opcode %d", opcode)
			case opcode >= 8 && len(payload) > 125:
				t.Fatalf("a control frame of %d bytes", len(payload))
			case opcode == 8 && len(payload) > 0:
				if status := binary.BigEndian.Uint16(payload); status < 1000 || status > 4999 || !utf8.Valid(payload[2:]) {
					t.Fatalf("closed with %q", payload)
				}
			}
			closed = opcode == 8
			if closed {
				c.conn.Close()
			}
		}
		c.conn.Close()
		until(t, "the end of the connection", func() bool { return hub.Connections() == 1 })
		b, want := message("still here")
		if _, err := hub.Backplane().Publish(t.Context(), &hubs.Entry{Kind: hubs.SendToAll, Message: b}, hubs.PublishOptions{}); err != nil {
			t.Fatal(err)
		}
		for {
			_, got, err := neighbour.frame()
			if err != nil {
				t.Fatalf("the neighbour: %v", err)
			}
			if strings.HasSuffix(string(got), want) {
				return
			}
		}
	})
}

// newFrameClient opens a WebSocket over a pipe.
func newFrameClient(t testing.TB, l *pipes) *rawSocket {
	conn := l.dial()
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	r := &rawSocket{conn: conn, in: bufio.NewReader(conn)}
	if _, err := io.WriteString(conn, fuzzUpgrade); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(r.in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(fmt.Errorf("upgrade: %v, %w", resp, err))
	}
	return r
}
