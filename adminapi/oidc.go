package adminapi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/openid"
)

// OpenID is an OpenID provider.
type OpenID interface {
	Begin(ctx context.Context, random func() string) (url string, a openid.Attempt, err error)
	Finish(ctx context.Context, a openid.Attempt, state, code string) (openid.Identity, error)
}

// The values of a session that waits for the provider to send the browser back.
const (
	oidcState    = "oidc_state"
	oidcNonce    = "oidc_nonce"
	oidcVerifier = "oidc_verifier"
	oidcSince    = "oidc_since" // Unix seconds
	oidcNext     = "oidc_next"
	oidcRemember = "oidc_remember"
	oidcLink     = "oidc_link" // the user to link the identity to; "" = sign in
)

// oidcLife is how long somebody may be at the provider.
const oidcLife = 10 * time.Minute

// GetSignInOptions implements ServerInterface.
func (s *server) GetSignInOptions(w http.ResponseWriter, r *http.Request) {
	options := SignInOptions{ConfirmSignUps: s.tenants.ConfirmsSignUps()}
	if s.openID != nil {
		options.Oidc = &struct {
			Name string `json:"name"`
		}{s.idName}
	}
	s.answer(w, r, http.StatusOK, options, nil)
}

// BeginOidc implements ServerInterface.
func (s *server) BeginOidc(w http.ResponseWriter, r *http.Request) {
	in, err := body[OidcStartRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	to, err := s.beginOpenID(r, "")
	s.sessions.Put(r.Context(), oidcNext, value(in.Next))
	s.sessions.Put(r.Context(), oidcRemember, value(in.Remember))
	s.answer(w, r, http.StatusOK, OidcStart{URL: to}, err)
}

// LinkIdentity implements ServerInterface. It takes the password: else whoever
// finds an open browser could get in for ever.
func (s *server) LinkIdentity(w http.ResponseWriter, r *http.Request) {
	in, err := body[PasswordConfirmation](r)
	if err == nil {
		err = s.tenants.Prove(r.Context(), callerOf(r), tenants.Secret(in.Password))
	}
	if err != nil {
		s.problem(w, r, err)
		return
	}
	to, err := s.beginOpenID(r, callerOf(r).User)
	s.answer(w, r, http.StatusOK, OidcStart{URL: to}, err)
}

// beginOpenID keeps a fresh attempt in the browser's session and returns where to
// send the browser.
func (s *server) beginOpenID(r *http.Request, link tenants.UserID) (string, error) {
	if s.openID == nil {
		return "", fault.New(fault.NotFound, "There is no OpenID provider here.")
	}
	if err := s.tenants.AttemptIdentity(r.Context(), callerOf(r)); err != nil {
		return "", err
	}
	to, a, err := s.openID.Begin(r.Context(), rand.Text)
	if err != nil {
		return "", fault.Wrap(fault.Unavailable, "The OpenID provider can't be reached right now.", err).WithCode("provider_unavailable")
	}
	ctx := r.Context()
	for key, v := range map[string]any{
		oidcState: a.State, oidcNonce: a.Nonce, oidcVerifier: a.Verifier, oidcSince: s.now().Unix(), oidcLink: string(link), oidcNext: "", oidcRemember: false,
	} {
		s.sessions.Put(ctx, key, v)
	}
	return to, nil
}

// FinishOidc implements ServerInterface. It answers a browser that somebody else
// sent here, so what goes wrong is shown by the console.
func (s *server) FinishOidc(w http.ResponseWriter, r *http.Request, params FinishOidcParams) {
	if s.openID == nil {
		s.problem(w, r, fault.New(fault.NotFound, "There is no OpenID provider here."))
		return
	}
	ctx := r.Context()
	a := openid.Attempt{State: s.sessions.PopString(ctx, oidcState), Nonce: s.sessions.PopString(ctx, oidcNonce), Verifier: s.sessions.PopString(ctx, oidcVerifier)}
	link, next := tenants.UserID(s.sessions.PopString(ctx, oidcLink)), s.sessions.PopString(ctx, oidcNext)
	since, remember := time.Unix(s.sessions.GetInt64(ctx, oidcSince), 0), s.sessions.GetBool(ctx, oidcRemember)
	back := "/sign-in"
	if link != "" {
		back = "/security"
	}
	p, err := s.proveOpenID(r, a, since, params)
	if err == nil && link != "" {
		next, err = "/security", s.linkOpenID(r, link, p)
	} else if err == nil {
		next, err = s.signInOpenID(r, p, next, remember)
	}
	if err != nil {
		e, ok := errors.AsType[*fault.Error](err)
		if !ok {
			e = fault.Wrap(fault.Internal, "", err)
		}
		s.logger.InfoContext(ctx, "sign-in with the OpenID provider failed", "error", err)
		next = back + "?error=" + url.QueryEscape(e.Code)
	}
	http.Redirect(w, r, next, http.StatusFound)
}

func (s *server) proveOpenID(r *http.Request, a openid.Attempt, since time.Time, params FinishOidcParams) (tenants.ProvedIdentity, error) {
	refused := func(err error) error {
		return fault.Wrap(fault.Unauthenticated, "The OpenID provider did not confirm who you are.", err).WithCode("provider_refused")
	}
	switch {
	case a.State == "" || s.now().Sub(since) > oidcLife:
		return tenants.ProvedIdentity{}, refused(errors.New("no attempt of this browser"))
	case value(params.Error) != "":
		return tenants.ProvedIdentity{}, refused(fmt.Errorf("the provider says %q", value(params.Error)))
	}
	id, err := s.openID.Finish(r.Context(), a, value(params.State), value(params.Code))
	if errors.Is(err, openid.ErrRefused) {
		return tenants.ProvedIdentity{}, refused(err)
	}
	if err != nil {
		return tenants.ProvedIdentity{}, fault.Wrap(fault.Unavailable, "The OpenID provider can't be reached right now.", err).WithCode("provider_unavailable")
	}
	return tenants.ProvedIdentity{Issuer: id.Issuer, Subject: id.Subject, Email: id.Email, EmailVerified: id.EmailVerified}, nil
}

// linkOpenID links an identity to the user who began it, while still signed in.
func (s *server) linkOpenID(r *http.Request, u tenants.UserID, p tenants.ProvedIdentity) error {
	c := callerOf(r)
	if c.User != u {
		return fault.New(fault.Unauthenticated, "Sign in again to link the identity.").WithCode("provider_refused")
	}
	return s.tenants.LinkIdentity(r.Context(), c, u, p)
}

// relative is a path of the console itself, and of no other host.
var relative = regexp.MustCompile(`^/([^/\\].*)?$`)

// signInOpenID signs in whoever an identity belongs to and returns the path to go
// on to.
func (s *server) signInOpenID(r *http.Request, p tenants.ProvedIdentity, next string, remember bool) (string, error) {
	u, err := s.tenants.SignInWithIdentity(r.Context(), callerOf(r), p)
	if err != nil {
		return "", err
	}
	if !relative.MatchString(next) {
		next = "/"
	}
	if u.SecondFactor {
		_, err := s.beginSecondStep(r, u, remember)
		return "/sign-in?step=code&next=" + url.QueryEscape(next), err
	}
	return next, s.signInUser(r, u, remember)
}

// ListIdentities implements ServerInterface.
func (s *server) ListIdentities(w http.ResponseWriter, r *http.Request, params ListIdentitiesParams) {
	all, err := s.tenants.Identities(r.Context(), callerOf(r))
	page, next, err := paged(err, oldestIdentities, all, params.Cursor, params.Limit)
	answer := IdentityList{Identities: make([]Identity, 0, len(page)), NextCursor: next}
	for _, i := range page {
		answer.Identities = append(answer.Identities, Identity{ID: i.ID, Issuer: i.Issuer, Email: i.Email, LinkedAt: i.Linked.UTC()})
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

var oldestIdentities = order[tenants.Identity]{
	list: "identities", place: func(i tenants.Identity) []string { return []string{moment(i.Linked), i.ID} },
}

// UnlinkIdentity implements ServerInterface.
func (s *server) UnlinkIdentity(w http.ResponseWriter, r *http.Request, id IdentityPath) {
	s.done(w, r, s.tenants.UnlinkIdentity(r.Context(), callerOf(r), id))
}
