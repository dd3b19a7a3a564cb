package hubs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// wait bounds every wait for something that must happen.
const wait = 10 * time.Second

const handshake = "{\"protocol\":\"json\",\"version\":1}\x1e"

// wire is a hubs.Transport in memory, and the client at its other end.
type wire struct {
	t     *testing.T
	kind  hubs.TransportKind
	ended chan error // what Serve returned

	mu      sync.Mutex
	cond    *sync.Cond
	in      []byte // from the client
	held    []byte // of the client's, until all of it is there; see together
	holding bool
	out     []byte // to the client, not yet read
	writes  int
	inEnd   error // what Wait returns when in is empty
	outEnd  bool
	ending  hubs.Ending
	stalled bool
	let     int // writes that a stalled client takes in nevertheless
	format  protocol.TransferFormat
}

func newWire(t *testing.T) *wire {
	w := &wire{t: t, kind: hubs.WebSockets, ended: make(chan error, 1)}
	w.cond = sync.NewCond(&w.mu)
	return w
}

func (w *wire) Kind() hubs.TransportKind { return w.kind }

func (w *wire) SetFormat(f protocol.TransferFormat) { w.format = f }

func (w *wire) Wait() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.in) == 0 && w.inEnd == nil {
		w.cond.Wait()
	}
	if len(w.in) > 0 {
		return nil
	}
	return w.inEnd
}

func (w *wire) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := copy(p, w.in)
	w.in = w.in[n:]
	return n, nil
}

var errAborted = errors.New("aborted")

func (w *wire) Write(p []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.stalled && w.let == 0 && !w.outEnd {
		w.cond.Wait()
	}
	if w.outEnd {
		return errAborted
	}
	w.let = max(w.let-1, 0)
	w.out = append(w.out, p...)
	w.writes++
	w.cond.Broadcast()
	return nil
}

func (w *wire) Close(e hubs.Ending) {
	w.mu.Lock()
	w.ending = e
	w.mu.Unlock()
	w.end(io.ErrClosedPipe)
}

func (w *wire) Abort() { w.end(errAborted) }

func (w *wire) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.inEnd == nil {
		w.inEnd = err
	}
	w.outEnd = true
	w.cond.Broadcast()
}

// hangUp is the client ending the connection in the orderly way.
func (w *wire) hangUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inEnd = io.EOF
	w.cond.Broadcast()
}

// stall makes the client stop or go on reading.
func (w *wire) stall(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stalled = on
	w.cond.Broadcast()
}

// letOne makes a client that reads nothing take in one write.
func (w *wire) letOne() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.let = 1
	w.cond.Broadcast()
}

func (w *wire) send(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.holding {
		w.held = append(w.held, text...)
		return
	}
	w.in = append(w.in, text...)
	w.cond.Broadcast()
}

// together has all that f sends arrive at once.
func (w *wire) together(f func()) {
	w.mu.Lock()
	w.holding = true
	w.mu.Unlock()
	f()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.in = append(w.in, w.held...)
	w.held, w.holding = nil, false
	w.cond.Broadcast()
}

// read returns the next record, or false at the end.
func (w *wire) read() (string, bool) {
	w.t.Helper()
	timer := time.AfterFunc(wait, func() {
		w.t.Errorf("nothing came within %v", wait)
		w.Abort()
	})
	defer timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if i := bytes.IndexByte(w.out, 0x1e); i >= 0 {
			record := string(w.out[:i+1])
			w.out = w.out[i+1:]
			return record, true
		}
		if w.outEnd {
			return "", false
		}
		w.cond.Wait()
	}
}

func (w *wire) expect(want ...string) {
	w.t.Helper()
	for _, s := range want {
		if got, ok := w.read(); got != s || !ok {
			w.t.Fatalf("got %q, want %q", got, s)
		}
	}
}

// expectEnd waits for the end and returns what Serve returned.
func (w *wire) expectEnd() error {
	w.t.Helper()
	if got, ok := w.read(); ok {
		w.t.Fatalf("got %q, want the end", got)
	}
	return w.serveReturned()
}

func (w *wire) serveReturned() error {
	w.t.Helper()
	select {
	case err := <-w.ended:
		return err
	case <-time.After(wait):
		w.t.Fatalf("Serve hasn't returned within %v", wait)
		return nil
	}
}

// newServer returns a Server that is closed with the test.
func newServer(t *testing.T, cfg hubs.Config) *hubs.Server {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "chat"
	}
	s, err := hubs.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// serve begins a connection without a handshake.
func serve(t *testing.T, s *hubs.Server, user, id string) *wire {
	t.Helper()
	return serveInfo(t, s, hubs.ConnectionInfo{ID: id, Principal: hubs.Principal{UserID: user}})
}

func serveInfo(t *testing.T, s *hubs.Server, info hubs.ConnectionInfo) *wire {
	t.Helper()
	w := newWire(t)
	go func() { w.ended <- s.Serve(context.Background(), info, w) }()
	return w
}

// connect begins a connection and finishes its handshake.
func connect(t *testing.T, s *hubs.Server, user, id string) *wire {
	t.Helper()
	w := serve(t, s, user, id)
	w.send(handshake)
	w.expect("{}\x1e")
	return w
}

// message returns a broadcast with one string argument and its JSON frame.
func message(text string) (*hubs.Broadcast, string) {
	b := &hubs.Broadcast{Target: "show", Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: fmt.Appendf(nil, "[%q]", text)}}
	f, err := b.Frame(protocol.NewJSON())
	if err != nil {
		panic(err)
	}
	return b, string(f)
}

// command carries an entry out and returns how many it matched.
func command(t *testing.T, s *hubs.Server, e *hubs.Entry) int {
	t.Helper()
	_, n, err := s.Backplane().Command(t.Context(), e, hubs.PublishOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// sendTo publishes text and returns the frame that clients get.
func sendTo(t *testing.T, s *hubs.Server, e hubs.Entry, text string) (frame string, matched int) {
	t.Helper()
	e.Message, frame = message(text)
	return frame, command(t, s, &e)
}

// until waits for cond, which some event makes true.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(wait)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, wait)
		}
		time.Sleep(time.Millisecond)
	}
}

// meter is a hubs.Meter that remembers.
type meter struct {
	mu                         sync.Mutex
	opened, closed             int
	messages, bytes, bytesRead int
	refused                    map[string]int
}

func (m *meter) add(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refused == nil {
		m.refused = map[string]int{}
	}
	f()
}

func (m *meter) ConnectionOpened(*hubs.Connection)                { m.add(func() { m.opened++ }) }
func (m *meter) ConnectionClosed(*hubs.Connection, time.Duration) { m.add(func() { m.closed++ }) }
func (m *meter) Delivered(n, b int)                               { m.add(func() { m.messages += n; m.bytes += b }) }
func (m *meter) Received(n int)                                   { m.add(func() { m.bytesRead += n }) }
func (m *meter) Refused(code string)                              { m.add(func() { m.refused[code]++ }) }

func (m *meter) get(f func()) { m.add(f) }
