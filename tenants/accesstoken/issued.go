package accesstoken

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/signalbox/signalbox/tenants"
)

// PublicKeys finds the keys of issuers.
type PublicKeys interface {
	// Find returns a key of one tenant's issuer by its id, for one algorithm; an
	// empty id finds a key only when it is the only one. It returns ErrNoKey for a
	// key that isn't there, and ErrUnavailable when that can't be known now. The id
	// it returns is the key's own.
	Find(ctx context.Context, t tenants.ID, issuer tenants.Issuer, id string, a tenants.Algorithm) (key crypto.PublicKey, keyID string, err error)
}

// Errors of PublicKeys.
var (
	ErrNoKey = errors.New("the issuer has no such key")
	// ErrUnavailable is returned by VerifyIssued, too.
	ErrUnavailable = errors.New("the issuer's keys are not available")
)

// IsIssued reports whether a token says that a private key signed it, so that
// VerifyIssued is to judge it and not Verify.
func IsIssued(token string) bool {
	form, err := read(token)
	return err == nil && slices.Contains(tenants.Algorithms, form.algorithm())
}

func (f form) algorithm() tenants.Algorithm { return tenants.Algorithm(textOf(f.header["alg"])) }

// VerifyIssued checks the token of a client that one of the tenant's identity
// providers issued. Errors are ErrInvalid, ErrWrongKind and ErrUnavailable.
//
// The token's iss chooses among the tenant's issuers, whose settings say which
// algorithms and audiences are accepted; kid chooses among the keys of that
// issuer. Nothing in the token leads to a key from elsewhere. Life and times are
// bounded as in Verify.
func VerifyIssued(ctx context.Context, t *tenants.Document, keys PublicKeys, token string, target Target, now time.Time) (*Principal, error) {
	form, err := read(token)
	if err != nil {
		return nil, err
	}
	if err := form.issuedHeader(); err != nil {
		return nil, err
	}
	if target.Kind != Client {
		return nil, invalid("tokens of issuers are for clients")
	}
	iss := textOf(form.claims["iss"])
	i := slices.IndexFunc(t.Issuers, func(i tenants.Issuer) bool { return iss != "" && i.Issuer == iss })
	if i < 0 {
		return nil, invalid("the tenant has no such issuer")
	}
	issuer := t.Issuers[i]
	issuer.IssuerSettings = issuer.WithDefaults()
	algorithm := form.algorithm()
	if !slices.Contains(issuer.Algorithms, algorithm) {
		return nil, invalid("the issuer's tokens are not signed by " + string(algorithm))
	}
	key, keyID, err := keys.Find(ctx, t.ID, issuer, textOf(form.header["kid"]), algorithm)
	switch {
	case errors.Is(err, ErrUnavailable):
		return nil, err
	case err != nil:
		return nil, invalid(err.Error())
	case !fits(key, algorithm):
		return nil, invalid("the key is not one for " + string(algorithm))
	}
	claims := jwt.MapClaims{}
	if _, err := newParser(now, string(algorithm)).ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
		return nil, invalid(err.Error())
	}
	p, err := issued(claims, issuer, keyID)
	if err != nil {
		return nil, err
	}
	if err := checkLife(claims, Client, now); err != nil {
		return nil, err
	}
	if err := checkIssuedAudience(claims, issuer, target); err != nil {
		return nil, err
	}
	return p, nil
}

// issued makes the principal of an issuer's token.
func issued(claims jwt.MapClaims, issuer tenants.Issuer, keyID string) (*Principal, error) {
	p, err := newPrincipal(claims, keyID, Client)
	if err != nil {
		return nil, err
	}
	p.IssuerID = issuer.ID
	if p.UserID, err = userID(claims, issuer.UserClaim); err != nil {
		return nil, err
	}
	if p.UserID == "" {
		return nil, invalid(issuer.UserClaim + " is missing: the token names no user")
	}
	if issuer.CloseOnExpiry {
		p.CloseAt = p.ExpiresAt
	}
	return p, nil
}

func checkIssuedAudience(claims jwt.MapClaims, issuer tenants.Issuer, target Target) error {
	audiences, err := claims.GetAudience()
	if err != nil {
		return invalid(err.Error())
	}
	if len(issuer.Audiences) == 0 {
		return checkAudience(audiences, false, target)
	}
	if len(audiences) > maxAudiences {
		return invalid("too many audiences")
	}
	for _, a := range audiences {
		if slices.Contains(issuer.Audiences, a) {
			return nil
		}
	}
	return invalid("audience is not one of the issuer's")
}

// fits reports whether a key is of the kind of its algorithm: a public key must
// never come to be used as a shared secret, nor a curve for another.
func fits(key crypto.PublicKey, a tenants.Algorithm) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return a == tenants.RS256
	case *ecdsa.PublicKey:
		return a == tenants.ES256 && k.Curve.Params().BitSize == 256
	case ed25519.PublicKey:
		return a == tenants.EdDSA
	}
	return false
}
