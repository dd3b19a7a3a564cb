package appserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// writeTimeout bounds Write, as hubs.Transport asks.
const writeTimeout = 10 * time.Second

// Why a client is gone.
var (
	errClosed   = errors.New("the connection is closed")
	errOverflow = errors.New("the client sends faster than the hub takes in")
	errInstance = errors.New("the service instance that had the client is gone")
)

// client is one client of the service: a hubs.Transport over the server
// connection that it belongs to.
type client struct {
	app      *App
	link     *link
	id       string
	instance string        // service instance that has it
	served   chan struct{} // closed when the hub is done with it
	released chan struct{} // closed when the service has let go of it
	release  sync.Once

	mu     sync.Mutex
	in     []byte        // what has come and not been read
	end    error         // what Wait returns when in is empty; io.EOF and hubs.ErrMoved wait for that
	wake   chan struct{} // has a value when in or end has changed
	moving bool          // the service has asked for a pause so as to move it
	stays  bool          // and taken it back
	gone   bool          // the service has let go of it, or been told to
	answer bool          // the handshake's answer is not for the client
	hold   chan struct{} // the client is behind: closed when Write may go on; nil else
	owed   bool          // the answer to that pause is due after the Write under way
	busy   bool          // Write is under way
}

var _ hubs.Transport = (*client)(nil)

func newClient(l *link, m *serviceprotocol.OpenConnection) *client {
	c := &client{app: l.app, link: l, id: m.ConnectionID, wake: make(chan struct{}, 1), served: make(chan struct{}), released: make(chan struct{})}
	for _, h := range m.Headers {
		switch {
		case strings.EqualFold(h.Name, serviceprotocol.HeaderInstanceID) && len(h.Values) > 0:
			c.instance = h.Values[0]
		case strings.EqualFold(h.Name, serviceprotocol.HeaderMigrateFrom):
			c.answer = true
		}
	}
	return c
}

// infoOf is what the hub is told of a client.
func infoOf(m *serviceprotocol.OpenConnection) hubs.ConnectionInfo {
	claims := make([]hubs.Claim, 0, len(m.Claims))
	for _, c := range m.Claims {
		claims = append(claims, hubs.Claim(c))
	}
	info := hubs.ConnectionInfo{ID: m.ConnectionID, Principal: principalOf(claims), Headers: map[string][]string{}}
	for _, h := range m.Headers {
		switch {
		case strings.HasPrefix(strings.ToLower(h.Name), "asrs-"):
		case strings.EqualFold(h.Name, "X-Forwarded-For") && len(h.Values) > 0:
			first, _, _ := strings.Cut(h.Values[0], ",")
			info.RemoteAddress = strings.TrimSpace(first)
		default:
			info.Headers[h.Name] = h.Values
		}
	}
	query, _ := url.ParseQuery(strings.TrimPrefix(m.Query, "?")) // as much as can be read
	info.Query = query
	return info
}

// Kind implements hubs.Transport: the service doesn't tell.
func (c *client) Kind() hubs.TransportKind { return hubs.WebSockets }

// SetFormat implements hubs.Transport.
func (c *client) SetFormat(protocol.TransferFormat) {}

// Wait implements hubs.Transport.
func (c *client) Wait() error {
	for {
		c.mu.Lock()
		n, end := len(c.in), c.end
		c.mu.Unlock()
		switch {
		case n > 0 && (end == nil || errors.Is(end, io.EOF) || errors.Is(end, hubs.ErrMoved)):
			return nil
		case end != nil:
			return end
		}
		<-c.wake
	}
}

// Read implements hubs.Transport.
func (c *client) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := copy(p, c.in)
	if c.in = c.in[n:]; len(c.in) == 0 {
		c.in = nil
	}
	return n, nil
}

// feed takes in what the client has sent. It doesn't block: the connection that
// it comes from serves others too.
func (c *client) feed(b []byte) {
	c.mu.Lock()
	fits := len(c.in)+len(b) <= c.app.opt.ClientBuffer
	if fits && c.end == nil {
		c.in = append(c.in, b...)
	}
	c.mu.Unlock()
	if fits {
		c.signal()
		return
	}
	c.app.log.Warn("client sends faster than the hub takes in, it is closed", "hub", c.app.hubKey, "connection", c.id)
	c.finish(errOverflow)
	c.letGo("The client sends faster than the hub takes in.")
}

func (c *client) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// finish makes Wait return err; the first error counts, and one that loses what
// has come wins over one that doesn't.
func (c *client) finish(err error) {
	c.mu.Lock()
	if c.end == nil || errors.Is(c.end, io.EOF) || errors.Is(c.end, hubs.ErrMoved) {
		c.end = err
	}
	c.mu.Unlock()
	c.signal()
}

// closed says that the service has let go of the client.
func (c *client) closed(err error) {
	c.mu.Lock()
	c.gone = true
	c.goOn()
	c.mu.Unlock()
	c.finish(err)
	c.release.Do(func() { close(c.released) })
}

// moveTimeout is how long the service may take to move a client that is paused.
const moveTimeout = 15 * time.Second

// awaitMove waits, for a client that is paused, until another app server has it:
// the service needs this one's server connection until then.
func (c *client) awaitMove() {
	c.mu.Lock()
	moving := c.moving && !c.stays
	c.mu.Unlock()
	if !moving {
		return
	}
	timer := time.NewTimer(moveTimeout)
	defer timer.Stop()
	select {
	case <-c.released:
	case <-c.link.done:
	case <-timer.C:
	case <-c.app.ctx.Done():
	}
}

// isGone reports whether the service has let go of the client, or been told to.
func (c *client) isGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// pause does what the service asks of a client: to end it here since it goes on
// elsewhere, of which Close says when it is done, or to write no more to it for a
// while since it is behind.
func (c *client) pause(moves bool) {
	c.mu.Lock()
	gone, again := c.gone, c.moving
	switch {
	case moves:
		c.moving = true
	case !gone && c.hold == nil:
		c.hold = make(chan struct{})
		c.owed = c.busy
	default:
		c.mu.Unlock()
		return
	}
	owed := c.owed
	c.mu.Unlock()
	switch {
	case !moves && !owed, again && gone: // it has been ended for a pause before this one
		c.acknowledgePause()
	case moves && !again && !gone:
		c.finish(hubs.ErrMoved)
	}
}

// resume takes a pause back. What has begun to end can't go on: the client is
// closed instead of moved, unless it is to be moved all the same.
func (c *client) resume(moves bool) {
	c.mu.Lock()
	c.goOn()
	c.stays = c.moving && !moves
	ended := c.stays && c.gone
	c.mu.Unlock()
	if ended {
		c.link.post(&serviceprotocol.CloseConnection{ConnectionID: c.id})
		c.release.Do(func() { close(c.released) })
	}
}

// goOn lets Write go on. c.mu is held.
func (c *client) goOn() {
	if c.hold != nil {
		close(c.hold)
		c.hold, c.owed = nil, false
	}
}

func (c *client) acknowledgePause() {
	c.link.post(&serviceprotocol.ConnectionFlowControl{ConnectionID: c.id, Connection: serviceprotocol.FlowClient, Operation: serviceprotocol.FlowPauseAck})
}

// Write implements hubs.Transport. For a client that is behind it takes as long as
// the service waits for that.
func (c *client) Write(p []byte) error {
	c.mu.Lock()
	for c.hold != nil && !c.gone {
		hold := c.hold
		c.mu.Unlock()
		select {
		case <-hold:
		case <-c.link.done:
		}
		c.mu.Lock()
		if ended := c.gone || c.hold == hold; ended {
			c.mu.Unlock()
			return nil // why the client is gone, Wait says
		}
	}
	if c.gone {
		c.mu.Unlock()
		return errClosed
	}
	if c.answer {
		// The client has its answer from the app server that it comes from.
		i := bytes.IndexByte(p, 0x1E)
		c.answer = i < 0
		p = p[i+1:]
	}
	c.busy = true
	c.mu.Unlock()
	defer c.written()
	if len(p) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	return c.link.send(ctx, &serviceprotocol.ConnectionData{ConnectionID: c.id, Payload: p})
}

// written answers the pause that came while Write was under way.
func (c *client) written() {
	c.mu.Lock()
	owed := c.owed
	c.busy, c.owed = false, false
	c.mu.Unlock()
	if owed {
		c.acknowledgePause()
	}
}

// Close implements hubs.Transport.
func (c *client) Close(hubs.Ending) {
	c.finish(errClosed)
	c.letGo("")
}

// Abort implements hubs.Transport.
func (c *client) Abort() { c.Close(hubs.EndFailed) }

// letGo tells the service, once, that the hub is done with the client.
func (c *client) letGo(reason string) {
	c.mu.Lock()
	told, moved := c.gone, c.moving && !c.stays
	c.gone = true
	c.goOn()
	c.mu.Unlock()
	switch {
	case told:
	case moved:
		c.acknowledgePause()
	default:
		c.link.post(&serviceprotocol.CloseConnection{ConnectionID: c.id, Error: reason})
	}
}
