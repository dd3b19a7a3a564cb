package adminapi

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/httpserver"
	"github.com/signalbox/signalbox/tenants"
)

// How long a session lasts without a request, and at most.
const (
	sessionIdle = 30 * time.Minute
	sessionLife = 12 * time.Hour
)

// sessionUser is the session's one value: the user's id.
const sessionUser = "user"

// newSessions makes the session manager. Only hashes of session tokens are
// stored. The __Host- prefix binds the cookie to this host, path and TLS; a
// development server without TLS can't have it.
func newSessions(store scs.Store, dev bool) *scs.SessionManager {
	m := scs.New()
	m.Store = store
	m.HashTokenInStore = true
	m.IdleTimeout = sessionIdle
	m.Lifetime = sessionLife
	m.Cookie.Name = "__Host-signalbox"
	m.Cookie.Secure = true
	if dev {
		m.Cookie.Name = "signalbox"
		m.Cookie.Secure = false
	}
	m.Cookie.HttpOnly = true
	m.Cookie.SameSite = http.SameSiteLaxMode
	m.Cookie.Path = "/"
	return m
}

// identity is who a request comes from; the caller's User is "" when nobody is
// signed in.
type identityKey struct{}

// callerOf returns who asks, and from where.
func callerOf(r *http.Request) tenants.Caller {
	c, _ := r.Context().Value(identityKey{}).(tenants.Caller)
	return c
}

// identify finds out who asks, by API token or else by session. A token that is
// not good is refused even where none is needed.
func (s *server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var caller tenants.Caller
		if header := r.Header.Get("Authorization"); header != "" {
			scheme, token, _ := strings.Cut(header, " ")
			if !strings.EqualFold(scheme, "Bearer") {
				s.problem(w, r, fault.New(fault.Unauthenticated, "The Authorization header must hold a Bearer token.").WithCode("invalid_token"))
				return
			}
			var err error
			if caller, err = s.tenants.Authenticate(r.Context(), tenants.Secret(strings.TrimSpace(token))); err != nil {
				s.problem(w, r, err)
				return
			}
		} else {
			caller.User = tenants.UserID(s.sessions.GetString(r.Context(), sessionUser))
		}
		caller.RequestID = httpserver.RequestID(r.Context())
		caller.IP = remoteIP(r)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, caller)))
	})
}

// remoteIP is the caller's address, as httpserver.Forwarded found it.
func remoteIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// signInUser starts a session for a user under a fresh token, so that a token
// planted before means nothing.
func (s *server) signInUser(ctx context.Context, u tenants.UserID) error {
	if err := s.sessions.RenewToken(ctx); err != nil {
		return fault.Wrap(fault.Unavailable, "Signing in is not possible right now.", err)
	}
	s.sessions.Put(ctx, sessionUser, string(u))
	return nil
}
