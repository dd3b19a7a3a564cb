// Package openid signs people in with an OpenID provider: the authorization code
// flow with PKCE, a nonce and a state (OpenID Connect Core 1.0, RFC 7636).
package openid

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Config is what an operator says of the provider.
type Config struct {
	Issuer       string
	ClientID     string
	ClientSecret string // "" = a public client
	// RedirectURL is where the provider sends the browser back.
	RedirectURL string
	// Client reaches the provider; nil = one with a time-out of ten seconds.
	Client *http.Client
}

// timeout bounds one request to the provider.
const timeout = 10 * time.Second

// Provider is an OpenID provider. It is safe for concurrent use.
type Provider struct {
	config Config

	mu         sync.Mutex
	discovered *discovered // nil until the provider answered once
}

type discovered struct {
	provider *oidc.Provider
	verifier *oidc.IDTokenVerifier
	oauth    oauth2.Config
}

// Identity is who somebody is at the provider.
type Identity struct {
	Issuer  string
	Subject string
	Email   string // "" = it doesn't say
	// EmailVerified is the provider's word; without one it is false.
	EmailVerified bool
}

// New makes a Provider. It isn't asked before somebody signs in.
func New(c Config) *Provider {
	if c.Client == nil {
		c.Client = &http.Client{Timeout: timeout}
	}
	return &Provider{config: c}
}

// Attempt is what has to be kept, in the browser's session, until the provider
// sends the browser back.
type Attempt struct{ State, Nonce, Verifier string }

// Begin returns where to send the browser, and what to keep. The error is that of
// a provider that can't be reached.
func (p *Provider) Begin(ctx context.Context, random func() string) (url string, a Attempt, err error) {
	d, err := p.discover(ctx)
	if err != nil {
		return "", Attempt{}, err
	}
	a = Attempt{State: random(), Nonce: random(), Verifier: oauth2.GenerateVerifier()}
	return d.oauth.AuthCodeURL(a.State, oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)), a, nil
}

// ErrRefused is for what the provider, or whoever stands in for it, sent back that
// proves nothing.
var ErrRefused = errors.New("sign-in with the OpenID provider refused")

// Finish exchanges the code that came back for an identity. What doesn't belong to
// the attempt, or isn't signed by the provider for this client, is ErrRefused.
func (p *Provider) Finish(ctx context.Context, a Attempt, state, code string) (Identity, error) {
	if a.State == "" || subtle.ConstantTimeCompare([]byte(a.State), []byte(state)) != 1 {
		return Identity{}, fmt.Errorf("%w: another state", ErrRefused)
	}
	d, err := p.discover(ctx)
	if err != nil {
		return Identity{}, err
	}
	ctx = oidc.ClientContext(ctx, p.config.Client)
	token, err := d.oauth.Exchange(ctx, code, oauth2.VerifierOption(a.Verifier))
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return Identity{}, fmt.Errorf("%w: code: %s", ErrRefused, refused.ErrorCode)
	}
	if err != nil {
		return Identity{}, fmt.Errorf("exchange code: %w", err)
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := d.verifier.Verify(ctx, raw)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: ID token: %w", ErrRefused, err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(a.Nonce)) != 1 {
		return Identity{}, fmt.Errorf("%w: another nonce", ErrRefused)
	}
	var claims struct {
		Email         string `json:"email"`
		EmailVerified *bool  `json:"email_verified"`
	}
	if err := id.Claims(&claims); err != nil {
		return Identity{}, fmt.Errorf("%w: claims: %w", ErrRefused, err)
	}
	verified := claims.EmailVerified
	if claims.Email == "" { // many providers say it at the userinfo endpoint alone
		info, err := d.userInfo(ctx, token, id.Subject)
		if err != nil {
			return Identity{}, err
		}
		claims.Email, verified = info.Email, &info.EmailVerified
	}
	return Identity{Issuer: id.Issuer, Subject: id.Subject, Email: claims.Email, EmailVerified: verified != nil && *verified}, nil
}

// userInfo asks who the bearer of the access token is, who must be the one of the
// ID token (OpenID Connect Core 1.0, 5.3.2).
func (d *discovered) userInfo(ctx context.Context, token *oauth2.Token, subject string) (*oidc.UserInfo, error) {
	if d.provider.UserInfoEndpoint() == "" {
		return new(oidc.UserInfo), nil
	}
	info, err := d.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return nil, fmt.Errorf("ask for user info: %w", err)
	}
	if info.Subject != subject {
		return nil, fmt.Errorf("%w: user info of another subject", ErrRefused)
	}
	return info, nil
}

// discover reads the provider's metadata, once it answers.
func (p *Provider) discover(ctx context.Context) (*discovered, error) {
	p.mu.Lock()
	known := p.discovered
	p.mu.Unlock()
	if known != nil {
		return known, nil
	}
	// The provider keeps the context for its keys: it must outlive the request.
	provider, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), p.config.Client), p.config.Issuer)
	if err != nil {
		return nil, fmt.Errorf("reach OpenID provider: %w", err)
	}
	d := &discovered{
		provider: provider,
		verifier: provider.VerifierContext(oidc.ClientContext(context.Background(), p.config.Client), &oidc.Config{ClientID: p.config.ClientID}),
		oauth: oauth2.Config{
			ClientID: p.config.ClientID, ClientSecret: p.config.ClientSecret, RedirectURL: p.config.RedirectURL,
			Endpoint: provider.Endpoint(), Scopes: []string{oidc.ScopeOpenID, "email"},
		},
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.discovered = d
	return d, nil
}
