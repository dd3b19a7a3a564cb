package hubs

import (
	"cmp"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// closeWithin bounds the end of a connection: after this it is aborted.
const closeWithin = 10 * time.Second

// check does what time asks of the connection and returns when to look again.
// now is clock().
func (c *Connection) check(now int64) time.Duration {
	in := c.checkLife(now)
	if x := c.out.conflation.Load(); x != nil {
		in = min(in, c.checkConflated(x, now))
	}
	return in
}

// checkLife is check for keep-alive and time-outs.
func (c *Connection) checkLife(now int64) time.Duration {
	opt := c.server.options.Load()
	if c.isEnding() {
		return c.checkEnding(now)
	}
	if !c.open.Load() {
		if left := c.handshakeTimeout() - time.Duration(now-c.born); left > 0 {
			return left
		}
		_ = c.refuseHandshake(protocol.ErrHandshakeCanceled.Message)
		return closeWithin
	}
	if c.checkRetiring(now) {
		return retireCheck
	}
	idle := c.checkUploads(now, opt.UploadIdleTimeout)
	if end := c.expires(); opt.CloseOnAuthenticationExpiration && !end.IsZero() {
		// By the wall clock: that is what a token's end means.
		left := time.Until(end)
		if left <= 0 {
			c.end(ErrAuthenticationExpired, "", true)
			return closeWithin
		}
		idle = min(idle, left)
	}
	if c.intermittent != nil {
		// Polls are the client's sign of life and ours.
		if c.intermittent.Lapsed(opt.ClientTimeoutInterval) {
			c.server.meter.Refused(RefusedTimeout)
			c.abort(ErrClientTimeout)
			return maxCheck
		}
		return min(opt.ClientTimeoutInterval/4, idle)
	}

	longest := idle
	if c.resume != nil {
		if next, away := c.checkAway(now, opt.StatefulReconnectWindow); away {
			return next
		}
		longest = min(idle, c.checkAck(now))
	}
	if c.proxied != nil {
		return longest // the hub server pings, and gives up those that are silent
	}
	silence := opt.ClientTimeoutInterval
	if c.pinged.Load() && !c.unread.Load() {
		silence -= time.Duration(now - c.lastRead.Load())
		if silence <= 0 {
			c.server.meter.Refused(RefusedTimeout)
			if c.lost(c.socket(), ErrClientTimeout) {
				return longest // its network may be back in a moment
			}
			detail := &timeoutError{"Client hasn't sent a message/ping within the configured ClientTimeoutInterval."}
			c.end(ErrClientTimeout, withDetail(textClosedWithError, detail, opt.EnableDetailedErrors), true)
			return closeWithin
		}
	}
	quiet := opt.KeepAliveInterval - time.Duration(now-c.lastWrite.Load())
	if quiet <= 0 {
		c.ping()
		quiet = opt.KeepAliveInterval
	}
	return min(silence, quiet, longest)
}

// handshakeTimeout is how long the client may take for its handshake.
func (c *Connection) handshakeTimeout() time.Duration {
	return cmp.Or(c.info.HandshakeTimeout, c.server.options.Load().HandshakeTimeout)
}

// checkEnding aborts a connection whose end takes too long.
func (c *Connection) checkEnding(now int64) time.Duration {
	c.out.mu.Lock()
	since := c.out.since
	c.out.mu.Unlock()
	if left := closeWithin - time.Duration(now-since); left > 0 {
		return left
	}
	c.abort(ErrClosedByServer)
	return maxCheck
}

// ping sends a ping unless something is on its way anyway.
func (c *Connection) ping() {
	if c.pingAhead() {
		return
	}
	o := &c.out
	o.mu.Lock()
	schedule := !o.writing && !o.held && !o.ending && !o.dead && len(o.queue) == 0 && o.push(queued{frame: pingFrame(c.proto)})
	o.mu.Unlock()
	if schedule {
		writers.schedule(c)
	}
}

// pingFrames are the Ping messages of the hub protocols, which are the same every
// time.
var pingFrames = func() map[string][]byte {
	frames := make(map[string][]byte, 2)
	for _, name := range []string{"json", "messagepack"} {
		if p, known := protocol.ByName(name); known {
			frames[name], _ = p.Append(nil, &protocol.Message{Type: protocol.Ping}) // there is nothing in it that can't be encoded
		}
	}
	return frames
}()

// pingFrame is the Ping message in p. Nobody may change it.
func pingFrame(p protocol.Protocol) []byte { return pingFrames[p.Name()] }

// timeoutError is ErrClientTimeout in ASP.NET Core's words.
type timeoutError struct{ text string }

func (e *timeoutError) Error() string { return e.text }
func (e *timeoutError) Unwrap() error { return ErrClientTimeout }
