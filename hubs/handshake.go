package hubs

import (
	"errors"
	"fmt"
	"io"

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
	if err := s.register(c, protocol.AppendHandshakeResponse(nil, "")); err != nil {
		s.log.Warn("connection can't join the hub", "hub", s.name, "connection", c.ID(), "error", err)
		return c.refuseHandshake(withDetail(protocol.HandshakeErrorText(err, false), err, opt.EnableDetailedErrors))
	}
	firstCheck := min(opt.KeepAliveInterval, opt.ClientTimeoutInterval)
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
	return errors.Is(err, io.EOF) || errors.As(err, &lost)
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
