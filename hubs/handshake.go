package hubs

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/signalbox/signalbox/hubs/internal/unhurried"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// shakeHands reads the handshake request, makes the connection part of the hub
// and answers. When it fails, the client has been told (HubProtocol.md,
// "Overview"; texts of ASP.NET Core's HubConnectionContext.HandshakeAsync).
func (s *Server) shakeHands(c *Connection, in *inbound) error {
	opt := s.options.Load()
	req, err := handshakeRequest(in)
	if isTransportEnd(err) {
		return err // nobody is left to answer
	}
	var proto protocol.Protocol
	if err == nil {
		proto, err = req.Choose(c.transport.Kind().Formats()...)
	}
	if err != nil {
		return c.refuseHandshake(protocol.HandshakeErrorText(err, opt.EnableDetailedErrors))
	}
	c.proto = proto
	c.transport.SetFormat(proto.TransferFormat())
	if p := s.guard(c, func() { err = s.begin(c, req) }); p != nil {
		err = p
	}
	if err != nil {
		return s.refuseClient(c, err)
	}
	firstCheck := min(opt.KeepAliveInterval, opt.ClientTimeoutInterval)
	if end := c.expires(); opt.CloseOnAuthenticationExpiration && !end.IsZero() {
		firstCheck = min(firstCheck, time.Until(end))
	}
	if c.resume != nil && req.Version >= statefulVersion {
		firstCheck = min(firstCheck, acknowledgeEvery)
		c.out.mu.Lock()
		c.resume.on = true
		c.out.mu.Unlock()
	}
	c.lastRead.Store(clock())
	c.lastWrite.Store(clock())
	c.open.Store(true)
	timers.hurry(c, firstCheck)
	c.wake(true)
	return nil
}

// begin finds who handles the connection and makes it part of the hub.
func (s *Server) begin(c *Connection, req protocol.HandshakeRequest) error {
	o := Opening{Handshake: req, Request: c.info.Request}
	c.info.Request = nil // it may be large
	var h Handler
	if s.handle != nil {
		ctx := unhurried.With(c.ctx, c.handshakeTimeout())
		defer ctx.Stop()
		var err error
		if h, err = s.handle(ctx, c, o); err != nil {
			return err
		}
	}
	if h.Proxy != nil {
		return s.handOver(c, h.Proxy, o)
	}
	if c.dispatcher = h.Dispatcher; c.dispatcher == nil {
		c.dispatcher = s.chain.dispatcher
	}
	return s.register(c, protocol.AppendHandshakeResponse(nil, ""))
}

// refuseClient answers the handshake of a client that can't be let in, unless it
// has its answer.
func (s *Server) refuseClient(c *Connection, err error) error {
	var deliberate *Error
	switch {
	case c.endedBy() != nil:
		return err
	case errors.As(err, &deliberate):
		_ = c.refuseHandshake(deliberate.text)
		return err
	}
	s.log.Warn("connection can't join the hub", "hub", s.name, "connection", c.ID(), "error", err)
	return c.refuseHandshake(withDetail(protocol.HandshakeErrorText(err, false), err, s.options.Load().EnableDetailedErrors))
}

// handshakeRequest reads until the request is complete.
func handshakeRequest(in *inbound) (protocol.HandshakeRequest, error) {
	for {
		if err := in.fill(); err != nil {
			return protocol.HandshakeRequest{}, err
		}
		req, n, err := protocol.ParseHandshakeRequest(in.waiting())
		if n > 0 {
			in.take(n)
		}
		if n > 0 || err != nil {
			return req, err
		}
	}
}

// isTransportEnd reports whether err is the end of the transport, announced or not.
func isTransportEnd(err error) bool {
	var lost *transportError
	return errors.Is(err, io.EOF) || errors.Is(err, ErrMoved) || errors.As(err, &lost)
}

// refuseHandshake answers with an error and ends the connection.
func (c *Connection) refuseHandshake(text string) error {
	cause := fmt.Errorf("%w: %s", ErrHandshake, text)
	c.out.mu.Lock()
	c.out.drop() // a success that was held back
	c.out.mu.Unlock()
	if c.finish(queued{frame: protocol.AppendHandshakeResponse(nil, text)}, cause, EndNormal) {
		writers.schedule(c)
	}
	return cause
}
