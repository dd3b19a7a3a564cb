package hubs

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/signalbox/signalbox/hubs/internal/grown"
	"github.com/signalbox/signalbox/hubs/internal/unhurried"
)

// errTakenID: another connection of the hub has the id.
var errTakenID = errors.New("the connection id is in use")

// Serve runs one connection to its end: handshake, subscription, stored groups,
// OnConnected, messages, OnDisconnected. It returns nil when the client left in
// the orderly way. ctx bounds the connection's lifetime; t is closed when Serve
// returns.
func (s *Server) Serve(ctx context.Context, info ConnectionInfo, t Transport) error {
	v, err := s.open(ctx, info, t)
	if v == nil {
		return err
	}
	return v.run(err)
}

// Start is Serve on goroutines of its own, for transports that outlive their
// request; ended gets what Serve would return. Once the client is connected, a
// fresh goroutine goes on: what the handshake and OnConnected need of stack
// would be most of what an idle connection keeps.
func (s *Server) Start(ctx context.Context, info ConnectionInfo, t Transport, ended func(error)) {
	grown.Go(func() {
		v, err := s.open(ctx, info, t)
		if v == nil {
			ended(err)
			return
		}
		go func() { ended(v.run(err)) }()
	})
}

// served is a connection that Serve runs.
type served struct {
	c  *Connection
	in *inbound
	// shaken: the handshake is done.
	shaken bool
	// stop ends the watch over the context; nil when that never ends.
	stop func() bool
}

// open begins with a connection, up to and with OnConnected. run must follow,
// with the error, unless there is nothing to run.
func (s *Server) open(ctx context.Context, info ConnectionInfo, t Transport) (*served, error) {
	if info.ID == "" {
		info.ID = NewConnectionID()
	}
	c := &Connection{server: s, info: info, transport: t, openedAt: time.Now(), born: clock()}
	if s.tallies != nil {
		c.tally = s.tallies.TallyTo(c)
	}
	c.out.done = make(chan struct{})
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	if info.StatefulReconnect && t.Kind() == WebSockets {
		c.resume = newResumption()
	}
	if err := s.enter(c); err != nil {
		c.cancel(err)
		t.Abort()
		return nil, err
	}
	v := &served{c: c}
	if i, ok := t.(Intermittent); ok {
		c.intermittent = i
		i.OnReady(func() { c.wake(false) })
	}
	if ctx.Done() != nil {
		v.stop = context.AfterFunc(ctx, func() { c.abort(context.Cause(ctx)) })
	}
	timers.add(c, c.handshakeTimeout())

	v.in = newInbound(c)
	err := s.shakeHands(c, v.in)
	if err == nil {
		v.shaken = true
		return v, s.greet(c)
	}
	var deliberate *Error
	if !errors.As(err, &deliberate) {
		s.meter.Refused(RefusedHandshake)
	}
	if by := c.endedBy(); by != nil {
		err = by
	}
	if c.proxied != nil {
		s.withdraw(c, err)
	}
	s.log.Debug("handshake failed", "hub", s.name, "connection", c.ID(), "error", err)
	return v, err
}

// run goes on with a connection to its end; err is what open returned.
func (v *served) run(err error) error {
	c, s := v.c, v.c.server
	defer s.leave(c)
	if v.stop != nil {
		defer v.stop()
	}
	defer timers.remove(c)
	if v.shaken {
		err = s.converse(c, v.in, err)
	}
	v.in.release()
	if c.proxied != nil {
		c.proxied.end(err)
	}
	// Here the end is either said, and bounded by check, or there is nobody to
	// say it to.
	if !c.isEnding() {
		c.abort(err)
	}
	<-c.out.done
	c.awaitDetour()
	c.socket().Abort()
	c.clearBacklog()
	return err
}

// greet tells that a connection has passed the handshake. converse must follow.
func (s *Server) greet(c *Connection) (err error) {
	s.meter.ConnectionOpened(c)
	s.log.Debug("connected", "hub", s.name, "connection", c.ID(), "transport", string(c.Transport()), "protocol", c.proto.Name())
	if p := s.guard(c, func() {
		if err = c.chain().connected(c.ctx, c); err != nil {
			s.meter.Refused(RefusedConnection)
		}
	}); p != nil {
		err = p
	}
	return err
}

// converse serves a connection that was greeted: everything between the store's
// add and remove. err is what greet returned.
func (s *Server) converse(c *Connection, in *inbound, err error) error {
	if p := s.guard(c, func() {
		defer c.invocations.Wait()
		defer func() { c.endCalls(err) }()
		if err == nil {
			err = in.messages()
		}
	}); p != nil {
		err = p
	}
	err = c.sayEnd(err)

	s.store.remove(c)
	c.leaveAll(true)
	c.cancel(err)
	s.progress.forget(c)
	s.presence.forgetWatcher(c)
	if p := s.guard(c, func() { c.chain().disconnected(context.WithoutCancel(c.ctx), c, err) }); p != nil {
		err = errors.Join(err, p)
	}
	s.meter.ConnectionClosed(c, time.Since(c.openedAt))
	s.log.Debug("disconnected", "hub", s.name, "connection", c.ID(), "cause", err)
	return err
}

// guard runs f and turns a panic of a filter or dispatcher into an error.
func (s *Server) guard(c *Connection, f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("panic while serving a connection", "hub", s.name, "connection", c.ID(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	f()
	return nil
}

// errPanic stands for a panic, whose text stays in the log.
var errPanic = errors.New("the server failed")

// sayEnd tells the client why its connection ends, where that is still possible
// and not yet done, and returns the cause.
func (c *Connection) sayEnd(err error) error {
	if by := c.endedBy(); by != nil {
		return by
	}
	detailed := c.server.options.Load().EnableDetailedErrors
	var lost *transportError
	var flood *floodError
	var oversize *oversizeError
	switch {
	case err == nil:
		if c.leftQuietly() {
			writers.schedule(c)
		}
	case errors.Is(err, ErrMoved):
		if c.finish(queued{}, err, EndNormal) {
			writers.schedule(c)
		}
	case errors.As(err, &lost):
		c.abort(err)
	case errors.Is(err, errPanic):
		if c.finish(queued{frame: c.closeFrame(textClosedWithError, false)}, err, EndFailed) {
			writers.schedule(c)
		}
	case errors.As(err, &flood):
		c.endAs(EndPolicy, err, flood.text, false)
	case errors.As(err, &oversize):
		c.endAs(EndTooLarge, err, c.limitText(RefusedTooLarge, oversize.limit, withDetail(textClosedWithError, err, detailed)), false)
	default:
		c.end(err, withDetail(textClosedWithError, err, detailed), false)
	}
	return err
}

// transportError is an end of the transport that the client didn't announce.
type transportError struct{ err error }

func (e *transportError) Error() string { return "transport: " + e.err.Error() }
func (e *transportError) Unwrap() error { return e.err }

// register makes the connection part of the hub: what is published from when
// it returns reaches the connection, after the handshake's answer; nil when that
// is a hub server's.
func (s *Server) register(c *Connection, answer []byte) error {
	if err := s.subscribe(c.ctx); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	release, err := s.selected(c.ctx, c.names()...)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	defer release()
	c.hold(queued{frame: answer})
	c.awaitGroups()
	if err := s.admit(c); err != nil {
		return err
	}
	var groups []UserGroup
	if c.User() != "" {
		ctx := unhurried.With(c.ctx, subscribeTimeout)
		defer ctx.Stop()
		groups, err = s.Backplane().UserGroups(ctx, c.User())
		if err == nil {
			var release func()
			if release, err = s.selected(ctx, namesOfGroups(groups)...); err == nil {
				defer release()
			}
		}
		switch {
		case errors.Is(err, ErrUnavailable):
			groups = nil
			go c.awaitUserGroups()
		case err != nil:
			s.store.remove(c)
			c.leaveAll(true)
			return fmt.Errorf("read the user's groups: %w", err)
		}
	}
	c.joinFirst(s.options.Load().MaximumGroups)
	c.joinStored(groups, s.options.Load().MaximumGroups)
	return nil
}

func namesOfGroups(groups []UserGroup) []string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.Name
	}
	return names
}

// userGroupsRetry is how soon the groups of a user are read again when they couldn't
// be.
const userGroupsRetry = time.Second

// awaitUserGroups is for a client that came while the Backplane was away: nothing
// can be published then, so it is served. When its user turns out to be in groups,
// it is asked to connect again, since nobody knows what it has missed by then.
func (c *Connection) awaitUserGroups() {
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(userGroupsRetry):
		}
		ctx, cancel := context.WithTimeout(c.ctx, subscribeTimeout)
		groups, err := c.server.Backplane().UserGroups(ctx, c.User())
		cancel()
		switch {
		case err == nil && len(groups) == 0:
			return
		case err == nil:
			c.Close("The groups of the user are known again.", true)
			return
		}
	}
}
