package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"time"
)

const (
	// directHead is the largest head in bytes of a request that is served directly.
	directHead = 4 << 10
	// idleHands is how many goroutines wait for further connections: what comes in a
	// rush finds stacks that have grown already.
	idleHands = 64
	// hangupAfter is after how long a request takes so long that it is looked whether
	// its client is still there.
	hangupAfter = 100 * time.Millisecond
)

// direct serves requests of one strict form by itself, see directRequest, and hands
// connections that bring anything else over to net/http, together with what it has
// read: it is the listener of those. What takes thousands of clients a second, each
// with a request or two, would spend as much on net/http's buffers, goroutines,
// contexts and header maps as on the rest.
type direct struct {
	net.Listener
	handler http.Handler
	takes   func(path string) bool
	logger  *slog.Logger
	// base is what contexts of requests are made of. It has the server, as net/http's
	// do: by that a reverse proxy knows that it may abort an answer.
	base context.Context

	others chan net.Conn // for net/http
	failed chan error    // of Listener, for net/http, which knows when to go on
	done   chan struct{} // closed by Close

	mu      sync.Mutex
	closed  bool
	busy    map[*hand]bool // with a connection; true: a request is being answered
	idle    []*hand
	serving int           // requests that are being answered
	quiet   chan struct{} // closed when none is any more, once somebody waits for that
}

func newDirect(l net.Listener, server *http.Server, c Config) *direct {
	return &direct{
		base:     context.WithValue(context.Background(), http.ServerContextKey, server),
		Listener: l, handler: c.Handler, takes: c.Direct, logger: c.Logger,
		others: make(chan net.Conn), failed: make(chan error), done: make(chan struct{}), busy: make(map[*hand]bool),
	}
}

// run accepts connections until Close.
func (d *direct) run() {
	for {
		conn, err := d.Listener.Accept()
		if err == nil {
			d.take(conn)
			continue
		}
		select {
		case d.failed <- err:
		case <-d.done:
			return
		}
	}
}

// Accept implements net.Listener: connections for net/http.
func (d *direct) Accept() (net.Conn, error) {
	select {
	case conn := <-d.others:
		return conn, nil
	case err := <-d.failed:
		return nil, err
	case <-d.done:
		return nil, net.ErrClosed
	}
}

// Close takes no more connections and closes those on which no request is being
// answered.
func (d *direct) Close() error {
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		close(d.done)
		for _, h := range d.idle {
			close(h.next)
		}
		d.idle = nil
		for h, answering := range d.busy {
			if !answering {
				_ = h.conn.Close() // its reader says so
			}
		}
	}
	d.mu.Unlock()
	return d.Listener.Close()
}

// wait returns when no request is being answered after Close, or with ctx: then the
// connections of those that are have been closed.
func (d *direct) wait(ctx context.Context) error {
	d.mu.Lock()
	if d.serving == 0 {
		d.mu.Unlock()
		return nil
	}
	if d.quiet == nil {
		d.quiet = make(chan struct{})
	}
	quiet := d.quiet
	d.mu.Unlock()
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for h := range d.busy {
		_ = h.conn.Close() // there is nothing more to be said on it
	}
	return context.Cause(ctx)
}

// take has a connection served.
func (d *direct) take(conn net.Conn) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		_ = conn.Close() // as those that the kernel hasn't handed out
		return
	}
	var h *hand
	if last := len(d.idle) - 1; last >= 0 {
		h, d.idle = d.idle[last], d.idle[:last]
	} else {
		h = newHand(d)
		go h.run() // ends with Close, or when there are enough of them
	}
	h.conn = conn
	d.busy[h] = false
	d.mu.Unlock()
	h.next <- struct{}{}
}

// begin reports whether a request may be answered.
func (d *direct) begin(h *hand) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.busy[h] = true
	d.serving++
	return true
}

// closing reports whether Close has been called.
func (d *direct) closing() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// finish notes that a request is answered and reports whether there may be another on
// its connection.
func (d *direct) finish(h *hand) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answered(h)
	return !d.closed
}

// answered notes that a hand answers no request any more. d.mu is held.
func (d *direct) answered(h *hand) {
	if !d.busy[h] {
		return
	}
	d.busy[h] = false
	if d.serving--; d.serving == 0 && d.quiet != nil {
		close(d.quiet)
		d.quiet = nil
	}
}

// release takes the connection from its hand: whoever has it now answers for it.
func (d *direct) release(h *hand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answered(h)
	delete(d.busy, h)
	h.conn = nil
}

// rest reports whether a hand waits for another connection.
func (d *direct) rest(h *hand) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || len(d.idle) >= idleHands {
		return false
	}
	d.idle = append(d.idle, h)
	return true
}

// handOver gives a connection to net/http.
func (d *direct) handOver(conn net.Conn, read []byte) {
	select {
	case d.others <- &begun{Conn: conn, read: read}:
	case <-d.done:
		_ = conn.Close() // as net/http does with what asks now
	}
}

// begun is a connection of which something has been read.
type begun struct {
	net.Conn
	read []byte
}

// Read implements net.Conn.
func (b *begun) Read(p []byte) (int, error) {
	if len(b.read) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.read)
	if b.read = b.read[n:]; len(b.read) == 0 {
		b.read = nil
	}
	return n, nil
}

// CloseWrite is what net/http does before it closes a connection whose client may
// still be sending.
func (b *begun) CloseWrite() error {
	if c, ok := b.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// hand is a goroutine that serves one connection after another.
type hand struct {
	d    *direct
	next chan struct{} // there is a conn
	conn net.Conn      // guarded by d.mu where the hand doesn't have it

	buf    [directHead]byte
	have   int // bytes in buf
	answer directBuffers

	// The look for the client's end.
	timer   *time.Timer
	mu      sync.Mutex
	hangup  func()        // ends the request's context; nil = nobody is to look
	looking chan struct{} // closed when who looks has ended; nil = nobody does
	found   [1]byte
	founds  int
}

func newHand(d *direct) *hand {
	h := &hand{d: d, next: make(chan struct{}, 1)}
	h.timer = time.AfterFunc(time.Hour, h.look)
	h.timer.Stop()
	return h
}

func (h *hand) run() {
	for range h.next {
		conn := h.conn
		left := h.serve(conn)
		h.d.release(h)
		if !left {
			_ = conn.Close() // whatever is wrong with it, it is over
		}
		if !h.d.rest(h) {
			return
		}
	}
}

// serve answers the requests of a connection. It reports whether somebody else has the
// connection now.
func (h *hand) serve(conn net.Conn) (left bool) {
	remote := conn.RemoteAddr().String()
	patience := readHeaderTimeout
	for h.have = 0; ; patience = idleTimeout {
		if h.have == 0 {
			if conn.SetReadDeadline(time.Now().Add(patience)) != nil {
				return false
			}
			if h.have, _ = conn.Read(h.buf[:]); h.have == 0 {
				return false
			}
		}
		ctx, cancel := context.WithCancel(h.d.base)
		r, size := directRequest(ctx, h.buf[:h.have])
		if r == nil || !h.d.takes(r.URL.Path) {
			cancel()
			h.d.release(h)
			h.d.handOver(conn, append([]byte(nil), h.buf[:h.have]...))
			return true
		}
		if !h.d.begin(h) {
			cancel()
			return false
		}
		r.RemoteAddr = remote
		h.have = copy(h.buf[:], h.buf[size:h.have])
		again, left := h.respond(conn, r, cancel)
		if left {
			return true
		}
		if !h.d.finish(h) || !again {
			return false
		}
	}
}

// respond has one request answered; cancel ends its context. again: there may be
// another on the connection; left: somebody else has it.
func (h *hand) respond(conn net.Conn, r *http.Request, cancel func()) (again, left bool) {
	defer cancel()
	w := &directAnswer{h: h, conn: conn}
	if h.have == 0 { // else the client has sent more, and is there
		h.watch(cancel)
	}
	fine := h.call(w, r)
	if w.over {
		return false, true
	}
	w.over = true
	h.unwatch(conn)
	if !fine {
		return false, false
	}
	return w.finish(h.d.closing()), false
}

// call calls the handler and reports whether it returned.
func (h *hand) call(w *directAnswer, r *http.Request) (fine bool) {
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler { //nolint:errorlint // a sentinel that net/http compares the same way
			h.d.logger.Debug("panic while a request was served", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	h.d.handler.ServeHTTP(w, r)
	return true
}

// watch has hangup called when the client goes away before unwatch, if that takes
// long.
func (h *hand) watch(hangup func()) {
	h.mu.Lock()
	h.hangup = hangup
	h.mu.Unlock()
	h.timer.Reset(hangupAfter)
}

// unwatch ends what watch has begun. What was read meanwhile is in buf.
func (h *hand) unwatch(conn net.Conn) {
	h.mu.Lock()
	h.hangup = nil
	looking := h.looking
	h.looking = nil
	h.mu.Unlock()
	h.timer.Stop() // who looks later finds no hangup
	if looking == nil {
		return
	}
	_ = conn.SetReadDeadline(time.Unix(1, 0)) // ends it
	<-looking
	_ = conn.SetReadDeadline(time.Time{}) // a closed connection says so at the next read
	h.have = copy(h.buf[:], h.found[:h.founds])
}

// look waits for the client's end, or for its next request. hangup tells of the former.
func (h *hand) look() {
	h.mu.Lock()
	hangup := h.hangup
	if hangup == nil || h.looking != nil {
		h.mu.Unlock()
		return
	}
	ended := make(chan struct{})
	h.looking = ended
	conn := h.conn // which the hand has, as long as there is a hangup
	_ = conn.SetReadDeadline(time.Time{})
	h.mu.Unlock()
	defer close(ended)
	var err error
	if h.founds, err = conn.Read(h.found[:]); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		hangup()
	}
}
