package edge

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/clientmethods"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
	"github.com/signalbox/signalbox/tenants/permissions"
)

// lease is what a connection lives by: its token, and the end that this and the hub
// set.
type lease struct {
	hub   *gate
	close func() // ends the connection, with leave to reconnect
	mu    sync.Mutex
	token *accesstoken.Principal
	timer *time.Timer
	ended bool
}

// leaseKey is where a connection keeps its lease.
type leaseKey struct{}

// tokenOf is the token that a connection was made with, or the newest that its
// client has shown since.
func tokenOf(c *hubs.Connection) *accesstoken.Principal {
	if l, ok := c.Value(leaseKey{}).(*lease); ok {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.token
	}
	if p, ok := c.Principal().Authentication.(*accesstoken.Principal); ok {
		return p
	}
	return new(accesstoken.Principal) // which nothing vouches for
}

// endOf is when a token closes its connection in a hub that closes, or doesn't; zero =
// never.
func endOf(token *accesstoken.Principal, closes bool) time.Time {
	if exp := token.ExpiresAt; closes && (token.CloseAt.IsZero() || exp.Before(token.CloseAt)) {
		return exp
	}
	return token.CloseAt
}

// expiredSpread is the time over which connections are closed whose tokens have expired
// when their hub begins to close, so that their clients don't all come back at once.
const expiredSpread = 3 * time.Second

// renew puts a token in the place of the one before, nil = the same, and sets the end
// that is due by it and by the hub's settings; zero = there is none. One that has passed
// comes at some moment within over. A client whose token has run out may come back with a
// new one.
func (l *lease) renew(token *accesstoken.Principal, over time.Duration) (end time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if token != nil {
		l.token = token
	}
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	end = endOf(l.token, l.hub.closes.Load())
	if !end.IsZero() && !l.ended {
		in := time.Until(end)
		if in < 0 && over > 0 {
			in = rand.N(over)
		}
		l.timer = time.AfterFunc(in, l.close)
	}
	return end
}

// end stops the timer for good.
func (l *lease) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.timer != nil {
		l.timer.Stop()
	}
}

// refresh puts a newer token in the place of the one that the connection lives by:
// its permissions and its end count from now on. It must be of the same user. It is
// clientmethods.Config.Refresh.
func (g *gate) refresh(ctx context.Context, c *hubs.Connection, token string) (time.Time, error) {
	t, err := g.registry.directory.ByID(ctx, g.tenant)
	if err != nil {
		return time.Time{}, err
	}
	p, err := g.registry.auth.again(ctx, t, token, c.Hub())
	switch {
	case errors.Is(err, accesstoken.ErrUnavailable):
		return time.Time{}, &clientmethods.Refusal{Code: codeIssuer, Text: "the keys of the token's issuer can't be had now; try again"}
	case errors.Is(err, errRevoked):
		return time.Time{}, &clientmethods.Refusal{Code: codeRevoked, Text: "the token was revoked"}
	case err != nil:
		return time.Time{}, &clientmethods.Refusal{Code: clientmethods.CodeToken, Text: "the token is expired, or not good for this hub"}
	case p.UserID != c.User():
		return time.Time{}, &clientmethods.Refusal{Code: clientmethods.CodeOtherUser, Text: "the token is of another user than this connection"}
	}
	l, ok := c.Value(leaseKey{}).(*lease)
	if !ok {
		return time.Time{}, errors.New("the connection has no lease")
	}
	end := l.renew(p, 0)
	// What the document says may have changed since it was read: either this sees
	// it, or registry.changed sees the new token.
	if reason := g.endReason(c); reason != "" {
		c.Close(reason, false)
	}
	return end, nil
}

// polled is told of a poll of a client that has connected with an older token, or
// the same one: the newest is what the connection lives by.
func (g *gate) polled(c *hubs.Connection, p *accesstoken.Principal) {
	l, ok := c.Value(leaseKey{}).(*lease)
	if !ok || !p.ExpiresAt.After(tokenOf(c).ExpiresAt) {
		return
	}
	l.renew(p, 0)
	if reason := g.endReason(c); reason != "" { // as in refresh
		c.Close(reason, false)
	}
}

// closeOnExpiry puts the hub's setting in force, also for connections that live: the
// setting is stored first, so that one whose lease isn't seen here sees it.
func (s *servedHub) closeOnExpiry(closes bool) {
	if s.keeper.closes.Swap(closes) == closes {
		return
	}
	s.server.Each(func(c *hubs.Connection) {
		if l, ok := c.Value(leaseKey{}).(*lease); ok {
			l.renew(nil, expiredSpread)
		}
	})
}

// allow puts the permissions of a document in force for a hub.
func (s *servedHub) allow(t *tenants.Document, hub string) {
	set := permissions.NewSet(t.Hubs[hub].ClientPermissions)
	s.permissions.Store(&set)
}

// allowed is clientmethods.Config.Allowed.
func (s *servedHub) allowed(c *hubs.Connection, a permissions.Action, group string) bool {
	if _, ok := tokenOf(c).Permissions.Allows(a, group, c.User()); ok {
		return true
	}
	_, ok := s.permissions.Load().Allows(a, group, c.User())
	return ok
}
