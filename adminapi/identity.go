package adminapi

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/alexedwards/scs/v2"
	"github.com/oklog/ulid/v2"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/httpserver"
	"github.com/signalbox/signalbox/internal/scope"
	"github.com/signalbox/signalbox/tenants"
)

// How long a session lasts at most; without requests it ends before that
// (tenants.Sessions).
const (
	sessionLife     = 12 * time.Hour
	sessionLifeLong = 30 * 24 * time.Hour // when it is remembered
)

// secondStepLife is how long the second step of signing in may take.
const secondStepLife = 10 * time.Minute

// sessionPendingSince is when the first step was done, in Unix seconds.
const sessionPendingSince = "pending_since"

// sessionSignUp is the sign-up that waits to be confirmed in this browser.
const sessionSignUp = "signup"

// newSessions makes the session manager. Only hashes of session tokens are
// stored. The __Host- prefix binds the cookie to this host, path and TLS; a
// development server without TLS can't have it.
func newSessions(store scs.Store, dev bool) *scs.SessionManager {
	m := scs.New()
	m.Store = store
	m.HashTokenInStore = true
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
			caller.User = tenants.UserID(s.sessions.GetString(r.Context(), tenants.SessionUser))
			if caller.User != "" {
				caller.Session = s.sessions.GetString(r.Context(), tenants.SessionID)
			}
		}
		caller.RequestID = httpserver.RequestID(r.Context())
		caller.IP, caller.UserAgent = remoteIP(r), userAgent(r)
		next.ServeHTTP(w, r.WithContext(context.WithValue(scoped(r.Context(), routedOf(r), caller), identityKey{}, caller)))
	})
}

// maxUserAgent is how much of a User-Agent the audit has, in characters.
const maxUserAgent = 200

// userAgent is what the caller's program says it is.
func userAgent(r *http.Request) string {
	text := []rune(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return -1
		}
		return c
	}, strings.ToValidUTF8(r.UserAgent(), "")))
	return string(text[:min(len(text), maxUserAgent)])
}

// scoped returns ctx with the rows that the request may see: those of the caller's
// accounts, or of all for the operations by which people become known.
func scoped(ctx context.Context, to *routed, c tenants.Caller) context.Context {
	if to.Callers == tenants.Anybody {
		return scope.System(ctx, scope.SignIn)
	}
	return scope.ForUser(ctx, string(c.User), string(c.Account))
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
func (s *server) signInUser(r *http.Request, u tenants.User, remember bool) error {
	return s.startSession(r, tenants.SessionUser, u, remember)
}

// startSession starts a session under a fresh token, in which key says who the
// user is and nothing is left of before. It is refused when the user has another
// password by now than when it was proved who it is.
func (s *server) startSession(r *http.Request, key string, u tenants.User, remember bool) error {
	ctx := r.Context()
	if err := s.sessions.Clear(ctx); err != nil {
		return fault.Wrap(fault.Unavailable, "Signing in is not possible right now.", err)
	}
	if err := s.renewSession(r); err != nil {
		return err
	}
	s.sessions.Put(ctx, key, string(u.ID))
	s.sessions.Put(ctx, tenants.SessionPassword, u.PasswordVersion)
	s.sessions.Put(ctx, tenants.SessionRemembered, remember)
	if remember {
		s.sessions.SetDeadline(ctx, time.Now().Add(sessionLifeLong))
	}
	_, _, err := s.sessions.Commit(ctx) // before anything is answered
	if err != nil {
		return errors.Join(err, s.sessions.Destroy(ctx))
	}
	return nil
}

// renewSession gives the session another token and id, as every change of what it
// may do does.
func (s *server) renewSession(r *http.Request) error {
	ctx := r.Context()
	if err := s.tenants.SessionRenewed(ctx, callerOf(r)); err != nil {
		return err
	}
	if err := s.sessions.RenewToken(ctx); err != nil {
		return fault.Wrap(fault.Unavailable, "Signing in is not possible right now.", err)
	}
	s.sessions.Put(ctx, tenants.SessionID, ulid.Make().String())
	s.sessions.Put(ctx, tenants.SessionDevice, strings.ToValidUTF8(r.UserAgent(), ""))
	s.sessions.Put(ctx, tenants.SessionIP, remoteIP(r))
	return nil
}
