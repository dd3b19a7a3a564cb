package pairing_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// wait bounds every wait for something that must happen.
const wait = 10 * time.Second

const (
	handshake = "{\"protocol\":\"json\",\"version\":1}\x1e"
	answer    = "{}\x1e"
	ping      = "{\"type\":6}\x1e"
	show      = "{\"type\":1,\"target\":\"show\",\"arguments\":[]}\x1e"
	goodbye   = "{\"type\":7,\"error\":\"app_server_lost: The app server behind this connection is gone. Connect again.\",\"allowReconnect\":true}\x1e"
)

func invocation(n int) string {
	return fmt.Sprintf("{\"type\":1,\"target\":\"say\",\"arguments\":[%d]}\x1e", n)
}

// socket is a hubs.Transport in memory, and the client at its other end.
type socket struct {
	t     *testing.T
	ended chan error

	mu    sync.Mutex
	cond  *sync.Cond
	in    []byte
	out   []byte
	inEnd error
	still bool // Write waits
}

func (*socket) Kind() hubs.TransportKind          { return hubs.WebSockets }
func (*socket) SetFormat(protocol.TransferFormat) {}
func (s *socket) Close(hubs.Ending)               { s.end(io.ErrClosedPipe) }
func (s *socket) Abort()                          { s.end(io.ErrUnexpectedEOF) }

func (s *socket) Wait() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.in) == 0 && s.inEnd == nil {
		s.cond.Wait()
	}
	if len(s.in) > 0 {
		return nil
	}
	return s.inEnd
}

func (s *socket) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := copy(p, s.in)
	s.in = s.in[n:]
	return n, nil
}

func (s *socket) Write(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.still && s.inEnd == nil {
		s.cond.Wait()
	}
	if s.inEnd != nil && !errors.Is(s.inEnd, io.EOF) {
		return s.inEnd
	}
	s.out = append(s.out, p...)
	s.cond.Broadcast()
	return nil
}

func (s *socket) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inEnd == nil {
		s.inEnd = err
	}
	s.cond.Broadcast()
}

func (s *socket) send(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in = append(s.in, text...)
	s.cond.Broadcast()
}

// stall has the client read nothing, or again.
func (s *socket) stall(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.still = on
	s.cond.Broadcast()
}

// expectAll reads the records of a text.
func (s *socket) expectAll(text string) {
	s.t.Helper()
	records := strings.SplitAfter(text, "\x1e")
	s.expect(records[:len(records)-1]...)
}

// expect reads these records.
func (s *socket) expect(want ...string) {
	s.t.Helper()
	timer := time.AfterFunc(wait, func() {
		s.t.Errorf("nothing came within %v", wait)
		s.Abort()
	})
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range want {
		for !bytes.ContainsRune(s.out, 0x1e) {
			if s.inEnd != nil && !errors.Is(s.inEnd, io.EOF) {
				s.t.Fatalf("the connection ended, want %q", w)
			}
			s.cond.Wait()
		}
		i := bytes.IndexByte(s.out, 0x1e)
		got := string(s.out[:i+1])
		s.out = s.out[i+1:]
		if got != w {
			s.t.Fatalf("got %q, want %q", got, w)
		}
	}
}

// fleet is a pairing.Opener that remembers what it is asked for.
type fleet struct {
	err    error // Open fails with it
	opened chan *session
	next   int
}

func newFleet() *fleet { return &fleet{opened: make(chan *session, 100)} }

func (f *fleet) Open(_ context.Context, c *pairing.Client, d pairing.Downstream) (pairing.Session, error) {
	if f.err != nil {
		return nil, f.err
	}
	f.next++
	s := &session{client: *c, d: d, id: fmt.Sprint("server", f.next), sent: make(chan sent, 1000), ended: make(chan [2]string, 10), paused: make(chan struct{}, 10), holds: make(chan bool, 100)}
	f.opened <- s
	return s, nil
}

// sent is what reached an app server.
type sent struct {
	payload string
	t       pairing.DataType
}

type session struct {
	client  pairing.Client
	d       pairing.Downstream
	id      string
	sent    chan sent
	ended   chan [2]string
	paused  chan struct{}
	holds   chan bool
	answers chan struct{} // holds one: the client has been answered

	mu      sync.Mutex
	sendErr error
	block   chan struct{} // Send waits for it
	onPause func(ctx context.Context) error
}

func (s *session) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *session) ServerID() string { return s.id }

func (s *session) Send(ctx context.Context, payload []byte, t pairing.DataType) error {
	s.mu.Lock()
	block, err := s.block, s.sendErr
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.sent <- sent{string(payload), t}
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (s *session) Hold(on bool) { s.holds <- on }

func (s *session) Pause(ctx context.Context) error {
	s.mu.Lock()
	f := s.onPause
	s.mu.Unlock()
	var err error
	if f != nil {
		err = f(ctx)
	}
	s.paused <- struct{}{}
	return err
}

func (s *session) End(reason, movedTo string) { s.ended <- [2]string{reason, movedTo} }

// deliver gives the client bytes and checks that they have their place.
func (s *session) deliver(t *testing.T, text string) {
	t.Helper()
	var settled sync.WaitGroup
	s.d.Deliver(hubs.Position{}, []byte(text), &settled)
	settled.Wait()
}

// house is an edge with one hub, whose clients are paired by a fleet.
type house struct {
	t      *testing.T
	server *hubs.Server
	fleet  *fleet

	mu      sync.Mutex
	refused map[string]int
}

func newHouse(t *testing.T, settings ...func(*pairing.Config)) *house {
	t.Helper()
	h := &house{t: t, fleet: newFleet(), refused: map[string]int{}}
	cfg := pairing.Config{
		Hub: pairing.Hub{Tenant: "t1", Name: "chat"}, Opener: h.fleet, Logger: slog.New(slog.DiscardHandler),
		Refused: func(code string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.refused[code]++
		},
	}
	for _, set := range settings {
		set(&cfg)
	}
	p := pairing.NewProxy(cfg)
	var err error
	if h.server, err = hubs.NewServer(hubs.Config{Name: "chat", Handle: func(context.Context, *hubs.Connection, hubs.Opening) (hubs.Handler, error) {
		return hubs.Handler{Proxy: p}, nil
	}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.server.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		p.Wait()
	})
	return h
}

// connect begins a connection and sends the handshake request.
func (h *house) connect(info hubs.ConnectionInfo) *socket {
	h.t.Helper()
	s := h.serve(info)
	s.send(handshake)
	return s
}

// serve begins a connection.
func (h *house) serve(info hubs.ConnectionInfo) *socket {
	s := &socket{t: h.t, ended: make(chan error, 1)}
	s.cond = sync.NewCond(&s.mu)
	go func() { s.ended <- h.server.Serve(context.Background(), info, s) }()
	return s
}

// paired connects a client and answers its handshake.
func (h *house) paired() (*socket, *session) {
	h.t.Helper()
	c := h.connect(hubs.ConnectionInfo{ID: "c"})
	s := next(h.t, h.fleet.opened)
	s.deliver(h.t, answer)
	c.expect(answer)
	return c, s
}

func (h *house) count(code string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refused[code]
}

// next waits for a value.
func next[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(wait):
		t.Fatalf("nothing came within %v", wait)
		panic("unreachable")
	}
}

// want waits for a value.
func want[T comparable](t *testing.T, from <-chan T, want T) {
	t.Helper()
	if got := next(t, from); got != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// none checks that nothing has come.
func none[T any](t *testing.T, from <-chan T) {
	t.Helper()
	select {
	case got := <-from:
		t.Fatalf("got %v", got)
	default:
	}
}
