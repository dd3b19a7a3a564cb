package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// authenticator verifies tokens with the keys of the tenant that the URL named.
type authenticator struct {
	serviceHosts []string
	keys         accesstoken.PublicKeys // of the tenants' own issuers
	log          *slog.Logger
	verified     verified
	// used is told of each access key that was good for a request, or signed a token
	// that was.
	used func(t tenants.ID, key string)
}

// errRevoked is for a token that would be good, had it not been taken back.
var errRevoked = fmt.Errorf("%w: it was revoked", accesstoken.ErrInvalid)

// nobody's keys are tried where there is no tenant, so that the time of an
// answer doesn't tell whether there is one.
var nobody = []tenants.DocKey{{ID: "none", Secret: "not a key of anybody: verification fails with it like with a wrong one"}}

// target is what a token must be made for.
func (a *authenticator) target(t *tenants.Document, kind accesstoken.Kind) accesstoken.Target {
	return accesstoken.Target{Kind: kind, Hosts: slices.Concat(t.Hosts, a.serviceHosts), Slug: t.Slug}
}

// client verifies the token of a client that connects to hub.
func (a *authenticator) client(t *tenants.Document, r *http.Request, hub string) (*accesstoken.Principal, error) {
	target := a.target(t, accesstoken.Client)
	target.Hub = hub
	return a.verify(r.Context(), t, clientToken(r), target)
}

// lapsed verifies the token of a client whose token has expired since it connected,
// which may have shown the hub a newer one. ok is false for a token that is
// refused for another reason.
func (a *authenticator) lapsed(t *tenants.Document, r *http.Request, hub string) (p *accesstoken.Principal, ok bool) {
	token := clientToken(r)
	at, ok := accesstoken.Lapsed(token, time.Now())
	if !ok {
		return nil, false
	}
	target := a.target(t, accesstoken.Client)
	target.Hub = hub
	p, err := a.verifyAt(r.Context(), t, token, target, at)
	return p, err == nil
}

// again verifies a token that a client of hub shows after it has connected.
func (a *authenticator) again(ctx context.Context, t *tenants.Document, token, hub string) (*accesstoken.Principal, error) {
	target := a.target(t, accesstoken.Client)
	target.Hub = hub
	return a.verify(ctx, t, token, target)
}

// server verifies the token of an app server of hub, which is in the header.
func (a *authenticator) server(t *tenants.Document, r *http.Request, hub string) (*accesstoken.Principal, error) {
	target := a.target(t, accesstoken.Server)
	target.Hub = hub
	return a.verify(r.Context(), t, bearerToken(r), target)
}

// rest verifies the token of a REST request, which may be an access key itself.
func (a *authenticator) rest(t *tenants.Document, r *http.Request) (key string, err error) {
	bearer := bearerToken(r)
	if key, ok := accesstoken.CheckKey(t.GoodKeys(time.Now()), bearer); ok {
		if t.KeyRevoked(key) {
			return "", errRevoked
		}
		a.used(t.ID, key)
		return key, nil
	}
	target := a.target(t, accesstoken.REST)
	target.Path = r.URL.EscapedPath()
	p, err := a.verify(r.Context(), t, bearer, target)
	if err != nil {
		return "", err
	}
	return p.KeyID, nil
}

// nobody answers for a tenant that doesn't exist.
func (a *authenticator) nobody(r *http.Request) error {
	_, _ = accesstoken.CheckKey(nobody, bearerToken(r))
	_, _ = accesstoken.Verify(nobody, clientToken(r), accesstoken.Target{Kind: accesstoken.Client}, time.Now())
	return accesstoken.ErrInvalid
}

// verify judges a token by the tenant's access keys, or its issuers, and its
// revocations. One that was good before isn't taken apart again, unless it is of an
// issuer, whose keys come and go.
func (a *authenticator) verify(ctx context.Context, t *tenants.Document, token string, target accesstoken.Target) (*accesstoken.Principal, error) {
	if len(token) > accesstoken.MaxLength {
		return a.verifyAt(ctx, t, token, target, time.Now())
	}
	now, key := time.Now(), keyOfToken(token, target)
	if p := a.verified.find(t, key, now); p != nil && t.Vouched(p.Credential(), now) && t.Revoked(p.Credential()) == "" {
		a.used(t.ID, p.KeyID)
		return p, nil
	}
	p, err := a.verifyAt(ctx, t, token, target, now)
	if err == nil && p.IssuerID == "" {
		a.verified.keep(t, key, p, now)
		a.used(t.ID, p.KeyID)
	}
	return p, err
}

func (a *authenticator) verifyAt(ctx context.Context, t *tenants.Document, token string, target accesstoken.Target, at time.Time) (*accesstoken.Principal, error) {
	var p *accesstoken.Principal
	var err error
	if len(t.Issuers) > 0 && accesstoken.IsIssued(token) {
		p, err = accesstoken.VerifyIssued(ctx, t, a.keys, token, target, at)
	} else {
		p, err = accesstoken.Verify(t.GoodKeys(time.Now()), token, target, at)
	}
	if err == nil && t.Revoked(p.Credential()) != "" {
		err = errRevoked
	}
	if err != nil {
		a.log.DebugContext(ctx, "token refused", "tenant_id", t.ID, "reason", err)
		return nil, err
	}
	return p, nil
}

// bearerToken returns the credentials of the Authorization header, or "".
func bearerToken(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// clientToken returns the token of a client: in the header, or in access_token,
// of which the last one counts, because browsers can't set headers on
// WebSockets and Server-Sent Events.
func clientToken(r *http.Request) string {
	if token := bearerToken(r); token != "" {
		return token
	}
	if all := queryOf(r)["access_token"]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// systemClaims are about the token, not about its bearer.
var systemClaims = []string{"aud", "exp", "iat", "nbf", "iss", "jti", "actort", "acr", "azp", "c_hash", "nonce"}

// userClaims lists what the token says about its bearer, by claim name. SDKs
// write asrs.u.X for a claim X of the user that would look like a system claim.
func userClaims(p *accesstoken.Principal) []hubs.Claim {
	names := make([]string, 0, len(p.Claims))
	for name := range p.Claims {
		if !strings.HasPrefix(name, "asrs.s.") && !strings.HasPrefix(name, accesstoken.ServicePrefix) && !slices.Contains(systemClaims, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var list []hubs.Claim
	for _, name := range names {
		values, isList := p.Claims[name].([]any)
		if !isList {
			values = []any{p.Claims[name]}
		}
		for _, v := range values {
			list = append(list, hubs.Claim{Type: strings.TrimPrefix(name, "asrs.u."), Value: claimText(v)})
		}
	}
	return list
}

// claimText is a claim's value as SDKs show it: text as it is, all else as JSON.
func claimText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// wrongKind reports whether a good token was used for another interface.
func wrongKind(err error) bool { return errors.Is(err, accesstoken.ErrWrongKind) }
