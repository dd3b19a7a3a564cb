package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// bare is the physical limit: a server that holds connections of coder/websocket
// at its leanest and writes ready bytes to each of them in turn, with no queue, no
// protocol and nothing decided.
type bare struct {
	mu    sync.Mutex
	conns []*websocket.Conn
}

// leanWriter hands out the connection with buffers that are as small as they may
// be, so that those of net/http go.
type leanWriter struct{ http.ResponseWriter }

func (w leanWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack implements http.Hijacker.
func (w leanWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, _, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	const least = 256
	return conn, bufio.NewReadWriter(bufio.NewReaderSize(conn, least), bufio.NewWriterSize(conn, least)), nil
}

func serveBare() error {
	b := &bare{}
	mux := http.NewServeMux()
	mux.HandleFunc("/connection", b.connect)
	mux.HandleFunc("POST /blast", b.blast)
	return serve(mux)
}

func (b *bare) connect(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(leanWriter{w}, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return
	}
	b.mu.Lock()
	b.conns = append(b.conns, ws)
	b.mu.Unlock()
	go func() { // the handler ends, and what net/http holds with it
		for {
			if _, _, err := ws.Reader(context.Background()); err != nil {
				return
			}
		}
	}()
}

// blast writes messages of so many bytes to every connection in turn, some joined
// in each write, at so many rounds per second (0: as fast as it goes), for so many
// seconds, and answers how many messages it has written.
func (b *bare) blast(w http.ResponseWriter, r *http.Request) {
	number := func(name string) float64 {
		n, _ := strconv.ParseFloat(r.URL.Query().Get(name), 64)
		return n
	}
	frame := []byte(strings.Repeat("x", int(number("size")*number("joined"))))
	b.mu.Lock()
	conns := b.conns
	b.mu.Unlock()
	began, written := time.Now(), 0
	for round := 0; time.Since(began).Seconds() < number("seconds"); round++ {
		if rate := number("rate"); rate > 0 {
			time.Sleep(time.Until(began.Add(time.Duration(float64(round) / rate * float64(time.Second)))))
		}
		for _, ws := range conns {
			if err := ws.Write(r.Context(), websocket.MessageText, frame); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			written += int(number("joined"))
		}
	}
	_, _ = fmt.Fprint(w, written)
}

// drain opens clients of a bare server that only read, without a library: the
// reading costs as little as it can.
func drain(ctx context.Context, base string, clients int) (end func(), err error) {
	conns := make([]net.Conn, 0, clients)
	end = func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}
	host := strings.TrimPrefix(base, "http://")
	for range clients {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
		if err != nil {
			end()
			return nil, err
		}
		conns = append(conns, c)
		_, err = fmt.Fprintf(c, "GET /connection HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", host)
		if err == nil {
			var head [4096]byte
			var n int
			if n, err = c.Read(head[:]); err == nil && !strings.HasPrefix(string(head[:n]), "HTTP/1.1 101") {
				err = errors.New("no WebSocket: " + string(head[:n]))
			}
		}
		if err != nil {
			end()
			return nil, err
		}
		go func() {
			var buf [8 << 10]byte
			for {
				if _, err := c.Read(buf[:]); err != nil {
					return
				}
			}
		}()
	}
	return end, nil
}
