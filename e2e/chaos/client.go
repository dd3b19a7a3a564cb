package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/e2e/chaos/history"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// retries are the pauses of a stock client with automatic reconnect; the last one
// is repeated, a stock client would give up.
var retries = []time.Duration{0, 2 * time.Second, 10 * time.Second, 10 * time.Second}

// client is one SignalR client with automatic reconnect. It notes everything.
type client struct {
	name      string
	tenant    *tenant
	groups    []string
	transport string
	proto     protocol.Protocol
	token     string
	stateful  bool
	load      *load
	// edge pins the client to one edge; -1 = any. base overrides its address.
	edge int
	base func(edge int) string
	// roam sends every request of a connection to any edge; without, all of them
	// go to one.
	roam bool
	// slow makes the client take its time for each read; 0 = it doesn't.
	slow time.Duration

	connected atomic.Bool
	at        atomic.Int32 // the edge
	attempts  atomic.Int64 // to connect

	mu      sync.Mutex
	socket  socket
	calls   map[string]chan answer
	serial  int
	life    *history.Life
	refused []error // why it couldn't connect
	closed  []string
}

// answer is how a call ends: with a completion, or with the end of its connection.
type answer struct {
	completion *protocol.Message
	err        error
}

// received is what a payload says.
type received struct {
	Tenant    string `json:"tenant"`
	Group     string `json:"group"`
	Publisher string `json:"publisher"`
	N         int    `json:"n"`
	T         int64  `json:"t"` // Unix µs
	Padding   string `json:"p,omitempty"`
}

// run connects, and again whenever the connection has ended, until ctx is done.
func (c *client) run(ctx context.Context) {
	failed := 0
	for ctx.Err() == nil {
		lived, err := c.live(ctx)
		if ctx.Err() != nil {
			return
		}
		if lived {
			failed = 0
		}
		pause := retries[min(failed, len(retries)-1)]
		failed++
		var r *refusedError
		if errors.As(err, &r) && r.status == 429 {
			pause = max(pause, time.Second)
		}
		// A little jitter, as any client has.
		if pause += rand.N(100 * time.Millisecond); pause > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

// live is one connection from its negotiation to its end; lived says whether it
// ever was one.
func (c *client) live(ctx context.Context) (lived bool, err error) {
	s, rest, err := c.connect(ctx)
	if err != nil {
		c.mu.Lock()
		c.refused = append(c.refused, err)
		c.mu.Unlock()
		return false, err
	}
	defer s.Close()
	l := &history.Life{
		Client: c.name, Tenant: c.tenant.slug, Groups: c.groups, Transport: c.transport,
		Edge: fmt.Sprintf("edge %d", c.at.Load()+1), Began: time.Now(), Ending: history.Open,
	}
	c.mu.Lock()
	c.socket, c.life = s, l
	c.calls = make(map[string]chan answer)
	c.mu.Unlock()
	c.connected.Store(true)
	if c.load != nil {
		c.load.back(c, l.Began)
	}
	pinging, stop := context.WithCancel(ctx)
	go c.ping(pinging, s)
	ending, err := c.read(ctx, s, l, rest)
	stop()
	c.connected.Store(false)
	c.mu.Lock()
	c.socket = nil
	lost := errCallLost
	if ending == history.Closed {
		lost = errCallClosed
	}
	for id, call := range c.calls {
		call <- answer{err: lost}
		delete(c.calls, id)
	}
	c.life = nil
	c.mu.Unlock()
	l.Ended = time.Now()
	if ctx.Err() == nil {
		l.Ending = ending
		if err != nil {
			l.Reason = err.Error()
		}
	}
	if c.load != nil {
		c.load.history.Lived(l)
	}
	return true, err
}

func (c *client) address(edge int) string {
	if c.base != nil {
		return c.base(edge)
	}
	return "http://" + c.load.w.edgeAddrs[edge] + "/t/" + c.tenant.slug
}

// pick is the edge for the next connection.
func (c *client) pick() int {
	if c.edge >= 0 {
		return c.edge
	}
	return c.load.w.front.next()
}

// connect negotiates, dials and shakes hands. Like behind a balancer, an edge that
// doesn't take the connection is passed over, and the two requests may reach two
// edges.
func (c *client) connect(ctx context.Context) (socket, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c.attempts.Add(1)
	var id string
	var err error
	for range edgeCount {
		if id, err = negotiate(ctx, c.address(c.pick()), hubName, c.token, c.stateful); !isDial(err) {
			break
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("negotiate: %w", err)
	}
	binary := c.proto.TransferFormat() == protocol.Binary
	var s socket
	for range edgeCount {
		at := c.pick()
		c.at.Store(int32(at))
		if s, err = dial(ctx, c.transport, c.address(at), hubName, id, c.token, binary, func() string {
			if c.roam {
				return c.address(c.pick())
			}
			return c.address(at)
		}); !isDial(err) {
			break
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	rest, err := c.shake(ctx, s)
	if err != nil {
		s.Close()
		return nil, nil, err
	}
	return s, rest, nil
}

// isDial reports whether nobody listened.
func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func (c *client) shake(ctx context.Context, s socket) ([]byte, error) {
	version := 1
	if c.stateful {
		version = 2
	}
	if err := s.Write(ctx, protocol.AppendHandshakeRequest(nil, protocol.HandshakeRequest{Protocol: c.proto.Name(), Version: version})); err != nil {
		return nil, fmt.Errorf("send handshake: %w", err)
	}
	for {
		data, err := s.Read(ctx)
		if err != nil {
			return nil, fmt.Errorf("read handshake: %w", err)
		}
		if len(data) == 0 {
			continue // a poll that brought nothing
		}
		text, n, err := protocol.ParseHandshakeResponse(data)
		if err != nil || text != "" {
			return nil, fmt.Errorf("handshake refused: %w %s", err, text)
		}
		return data[n:], nil
	}
}

// errSilent: nothing came for serverTimeout.
var errSilent = errors.New("the server was silent")

// read takes in what comes until the connection ends.
func (c *client) read(ctx context.Context, s socket, l *history.Life, data []byte) (history.Ending, error) {
	for {
		for len(data) > 0 {
			var m protocol.Message
			n, err := c.proto.Parse(data, &m)
			if err != nil || n == 0 {
				return history.Broken, fmt.Errorf("bad frame: %w", err)
			}
			data = data[n:]
			if m.Type == protocol.Close {
				c.mu.Lock()
				c.closed = append(c.closed, m.Error)
				c.mu.Unlock()
				return history.Closed, fmt.Errorf("closed: %s", m.Error)
			}
			if err := c.take(l, &m); err != nil {
				return history.Broken, err
			}
		}
		if c.slow > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(c.slow):
			}
		}
		patience := serverTimeout
		if c.transport == longPolling {
			patience = 100 * time.Second // a stock client waits that long for a poll
		}
		reading, cancel := context.WithTimeoutCause(ctx, patience, errSilent)
		var err error
		data, err = s.Read(reading)
		silent := errors.Is(context.Cause(reading), errSilent)
		cancel()
		switch {
		case err == nil:
		case silent:
			return history.Broken, errSilent
		case errors.Is(err, errGone), websocket.CloseStatus(err) != -1:
			return history.Closed, err
		default:
			return history.Broken, err
		}
	}
}

// take notes one hub message.
func (c *client) take(l *history.Life, m *protocol.Message) error {
	switch m.Type {
	case protocol.Invocation:
		for r := range protocol.Elements(m.Arguments) {
			text, err := protocol.AppendJSON(nil, r)
			if err != nil {
				return err
			}
			p, err := parsePayload(text)
			if err != nil {
				return fmt.Errorf("bad payload %.100q: %w", text, err)
			}
			now := time.Now()
			l.Receipts = append(l.Receipts, history.Receipt{ID: history.ID{Tenant: p.Tenant, Publisher: p.Publisher, N: p.N}, Group: p.Group, At: now})
			if c.load != nil {
				c.load.delivered(c, p, now)
			}
			break // what follows is the sender, written by the edge
		}
	case protocol.Completion:
		c.mu.Lock()
		call := c.calls[m.InvocationID]
		delete(c.calls, m.InvocationID)
		c.mu.Unlock()
		if call != nil {
			call <- answer{completion: m.Clone()}
		}
	}
	return nil
}

// pingEvery is how often clients ping.
const pingEvery = 10 * time.Second

func (c *client) ping(ctx context.Context, s socket) {
	frame, err := c.proto.Append(nil, &protocol.Message{Type: protocol.Ping})
	if err != nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pingEvery):
		}
		writing, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := s.Write(writing, frame)
		cancel()
		if err != nil && ctx.Err() == nil && c.transport == webSockets {
			s.Close() // the reader notices
		}
	}
}

var (
	errNotConnected = errors.New("not connected")
	errCallLost     = errors.New("the connection ended before the answer")
	errCallClosed   = fmt.Errorf("%w: it was closed by the service", errCallLost)
)

// invoke calls a hub method and waits for its answer.
func (c *client) invoke(ctx context.Context, target string, arguments protocol.Raw) (*protocol.Message, error) {
	c.mu.Lock()
	s := c.socket
	if s == nil {
		c.mu.Unlock()
		return nil, errNotConnected
	}
	c.serial++
	id := fmt.Sprint(c.serial)
	end := make(chan answer, 1)
	c.calls[id] = end
	c.mu.Unlock()
	frame, err := c.proto.Append(nil, &protocol.Message{Type: protocol.Invocation, InvocationID: id, Target: target, Arguments: arguments})
	if err != nil {
		return nil, err
	}
	// When it can't be written the connection has ended, or is about to; how is told
	// by its reader.
	unwritten := s.Write(ctx, frame)
	select {
	case a := <-end:
		return a.completion, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", errCallLost, cmp.Or(unwritten, ctx.Err()))
	}
}
