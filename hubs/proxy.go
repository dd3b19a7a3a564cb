package hubs

import (
	"context"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// Handler is who handles what a client sends: one of the two. The zero Handler is
// Config.Dispatcher.
type Handler struct {
	Dispatcher Dispatcher
	Proxy      Proxy
}

// Opening is what is known of a client when its handshake request has come. The
// Server doesn't keep it.
type Opening struct {
	Handshake protocol.HandshakeRequest
	// Request is ConnectionInfo.Request.
	Request any
}

// Proxy passes clients on to hub servers elsewhere, which speak the hub protocol
// with them: they answer the handshake, ping, and decide when a silent client is
// gone. The Server goes on to deliver the hub's entries, to bound and filter what
// clients send, and to do stateful reconnect, of which the hub server knows
// nothing: it is to be offered version 1 of the hub protocol.
type Proxy interface {
	// Open begins the session of a client that is part of the hub already:
	// entries are held back for it until the handshake's answer comes with
	// Connection.Forward, which may be called before Open returns. ctx ends with
	// the time for the handshake. An error refuses the client; an *Error is shown
	// to it, and counted by who made it.
	Open(ctx context.Context, c *Connection, o Opening) (ProxySession, error)
}

// ProxySession is one client's way to its hub server.
type ProxySession interface {
	// Message passes on one message of the client: raw are its bytes, framing
	// included, m is what they say. It gets all but Ack and Sequence, those that
	// a filter has answered, and Completions of what this side has asked the
	// client. The connection's reader calls it, in the order of the wire, and reads
	// nothing more until it returns. It keeps neither. An error ends the connection.
	// Just before it passes an invocation on, it calls Connection.Asked.
	Message(ctx context.Context, m *protocol.Message, raw []byte) error
	// Close is called once, when nothing more comes from the client; cause is nil
	// when it left in the orderly way. It must not block.
	Close(cause error)
}

// pingForAway is how often a hub server is told that a client lives whose
// WebSocket is lost and which may still come back. Hub servers give silent
// clients 30 s by default; the client's own pings come every 15 s.
const pingForAway = 5 * time.Second

// proxied is what a connection with a Proxy has beyond others. It is the
// Dispatcher at the end of the filters.
type proxied struct {
	conn    *Connection
	session ProxySession

	// The reader's: the message on its way through the filters, and what became
	// of it at their end.
	raw        []byte
	failed     error
	back       back
	unanswered unanswered
}

var _ Dispatcher = (*proxied)(nil)

// Connected implements Dispatcher: the hub server knows since Open.
func (*proxied) Connected(context.Context, *Connection) error { return nil }

// Disconnected implements Dispatcher: Serve ends the session.
func (*proxied) Disconnected(context.Context, *Connection, error) {}

// Message implements Dispatcher for what the filters let through.
func (p *proxied) Message(ctx context.Context, _ *Connection, m *protocol.Message) error {
	// A session that can't go on is no refusal of the message: see handle.
	p.failed = p.session.Message(ctx, m, p.raw)
	return nil
}

// handle passes one message on, in the order of the wire whatever
// MaximumParallelInvocationsPerClient says: that is the hub server's matter.
func (p *proxied) handle(m *protocol.Message, raw []byte) error {
	c := p.conn
	switch m.Type {
	case protocol.Ack, protocol.Sequence:
		return c.idle(m.Type) // stateful reconnect ends here
	case protocol.Invocation, protocol.StreamInvocation:
		p.raw, p.failed = raw, nil
		if err := c.invokeNow(m); err != nil {
			return err
		}
		p.raw = nil
		return p.failed
	case protocol.Completion:
		if c.answered(m) {
			return nil // it was asked on behalf of others
		}
	case protocol.StreamItem, protocol.CancelInvocation:
		if m.Type == protocol.CancelInvocation && c.cancelServed(m.InvocationID) {
			return nil
		}
	case protocol.Ping:
		c.pinged.Store(true)
		if err := c.idle(m.Type); err != nil {
			return err
		}
	case protocol.Close:
		if err := p.session.Message(c.ctx, m, raw); err != nil {
			return err
		}
		return errClientClosed
	default:
		if err := c.idle(m.Type); err != nil {
			return err
		}
	}
	return p.session.Message(c.ctx, m, raw)
}

// pingForClient tells the hub server that a client lives that is away.
func (p *proxied) pingForClient() error {
	m := protocol.Message{Type: protocol.Ping}
	frame, err := p.conn.proto.Append(nil, &m)
	if err != nil {
		return err
	}
	return p.session.Message(p.conn.ctx, &m, frame)
}

// end ends the session, if there is one.
func (p *proxied) end(cause error) {
	if p.session != nil {
		p.session.Close(cause)
	}
}

// handOver makes a connection part of the hub, opens its session and waits for
// the hub server's answer to the handshake.
func (s *Server) handOver(c *Connection, proxy Proxy, o Opening) error {
	p := &proxied{conn: c, back: back{answered: make(chan struct{})}}
	c.proxied, c.dispatcher = p, p
	if err := s.register(c, nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.handshakeTimeout())
	defer cancel()
	session, err := proxy.Open(ctx, c, o)
	if err != nil {
		return err
	}
	p.session = session
	select {
	case <-p.back.answered:
		return c.endedBy() // the answer may be an error
	case <-c.out.done:
	case <-c.ctx.Done():
	}
	if by := c.endedBy(); by != nil {
		return by
	}
	return context.Cause(c.ctx)
}

// withdraw takes a connection out of the hub whose handshake failed after all.
func (s *Server) withdraw(c *Connection, cause error) {
	s.store.remove(c)
	c.leaveAll(true)
	c.endCalls(cause)
	c.cancel(cause)
	c.invocations.Wait()
	s.progress.forget(c)
	s.presence.forgetWatcher(c)
}

// back is the way from the hub server to its client.
type back struct {
	answered chan struct{} // closed when the handshake has been answered
	backlog  backlog

	mu     sync.Mutex // one piece after the other
	open   bool       // answered is closed
	broken bool       // nothing more is taken in
	rest   []byte     // the beginning of a message
	share  int        // of rest, what is counted in Server.backlogs
}
