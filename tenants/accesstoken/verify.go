package accesstoken

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/signalbox/signalbox/tenants"
)

// What Verify holds tokens to.
const (
	MaxLength     = 4096 // bytes of the encoded token, as in Azure's SDKs
	MaxClaims     = 100
	Leeway        = 60 * time.Second // for exp, nbf and iat
	MaxClientLife = 24 * time.Hour   // client and server tokens
	MaxRESTLife   = time.Hour
)

// Kind is what a token is for. Kinds are not interchangeable.
type Kind string

// The kinds of tokens. The value is the first segment of the audience's path.
const (
	Client Kind = "client"
	Server Kind = "server"
	REST   Kind = "api"
)

// Target is what a request asks for: a token must have been made for it.
type Target struct {
	Kind Kind
	// Hosts are the names by which the tenant is reached, with or without a port.
	Hosts []string
	// Slug of the tenant: /t/{slug} may precede the path.
	Slug string
	// Hub is the canonical hub name of Client and Server requests.
	Hub string
	// Path is the escaped path of a REST request, without /t/{slug}.
	Path string
}

// ErrInvalid is the one answer to every token that is not good for a request:
// malformed, signed by another key, expired, for another audience. The wrapped
// text says why; it is for logs of the tenant, not for the caller.
var ErrInvalid = errors.New("invalid access token")

// ErrWrongKind is returned for a good token of this tenant that was made for
// another kind of request.
var ErrWrongKind = errors.New("access token of another kind")

// ErrEnded is ErrInvalid for a token that is still good by the leeway, but not to begin a
// connection that ends with it. Who sees it has found a key of the tenant's to have signed
// it.
var ErrEnded error = signedError{invalid("token is expired, and connections end with it")}

func invalid(why string) error { return fmt.Errorf("%w: %s", ErrInvalid, why) }

// signedError is why a token isn't good although a key of the tenant has signed it.
type signedError struct{ error }

// Unwrap makes it the error that it was made of.
func (e signedError) Unwrap() error { return e.error }

// Reason says why a token that a key of the tenant has signed isn't good. That gives
// away nothing but to whoever has the key. It is false for every other error.
func Reason(err error) (why string, ok bool) {
	signed, ok := errors.AsType[signedError](err)
	if !ok {
		return "", false
	}
	return strings.TrimPrefix(signed.Error(), ErrInvalid.Error()+": "), true
}

// Verify checks token against the tenant's keys and the target and returns what
// it says about its bearer. Errors are ErrInvalid or ErrWrongKind.
//
// Accepted are HS256 and HS512 signatures by any of the keys; the header's kid
// does not choose the key (Azure's SDKs put a random number there). exp is
// mandatory. A token lives at most MaxClientLife or MaxRESTLife, counted from
// iat, else nbf, else now. The audience is compared as audience says.
func Verify(keys []tenants.DocKey, token string, target Target, now time.Time) (*Principal, error) {
	p, signed, err := verify(keys, token, target, now)
	if signed && errors.Is(err, ErrInvalid) {
		err = signedError{err}
	}
	return p, err
}

// verify is Verify; signed reports whether a key of the tenant made the signature.
func verify(keys []tenants.DocKey, token string, target Target, now time.Time) (_ *Principal, signed bool, err error) {
	form, err := read(token)
	if err != nil {
		return nil, false, err
	}
	if err := form.sharedKeyHeader(); err != nil {
		return nil, false, err
	}
	claims := jwt.MapClaims{}
	var keyID string
	_, err = newParser(now, "HS256", "HS512").ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		text := token[:strings.LastIndexByte(token, '.')]
		for _, k := range keys {
			if k.Secret != "" && t.Method.Verify(text, t.Signature, []byte(k.Secret)) == nil {
				keyID = k.ID
				return []byte(k.Secret), nil
			}
		}
		return nil, errors.New("no key of the tenant made this signature")
	})
	signed = keyID != ""
	if err != nil {
		return nil, signed, invalid(err.Error())
	}
	p, err := newPrincipal(claims, keyID, target.Kind)
	if err != nil {
		return nil, signed, err
	}
	p.readService()
	if err := checkLife(claims, target.Kind, now); err != nil {
		return nil, signed, err
	}
	audiences, err := claims.GetAudience()
	if err != nil {
		return nil, signed, invalid(err.Error())
	}
	if err := checkAudience(audiences, p.tenantWide, target); err != nil {
		return nil, signed, err
	}
	return p, signed, nil
}

// Lapsed returns when a token expired. It has verified nothing. ok is false for a
// token that hasn't expired by now, or doesn't say when it does.
//
// Whoever verifies such a token as of that time learns whose it was.
func Lapsed(token string, now time.Time) (at time.Time, ok bool) {
	form, err := read(token)
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Expires jwt.NumericDate `json:"exp"`
	}
	if err := json.Unmarshal([]byte(`{"exp":`+string(form.claims["exp"])+`}`), &claims); err != nil {
		return time.Time{}, false
	}
	at = claims.Expires.Time
	return at, !at.IsZero() && now.Sub(at) > Leeway
}

// CheckKey reports whether bearer is one of the tenant's access keys itself,
// as the REST API accepts in place of a token, and which one. The time it takes
// depends on neither.
func CheckKey(keys []tenants.DocKey, bearer string) (keyID string, ok bool) {
	got := sha256.Sum256([]byte(bearer))
	for _, k := range keys {
		want := sha256.Sum256([]byte(k.Secret))
		if subtle.ConstantTimeCompare(got[:], want[:]) == 1 && k.Secret != "" {
			keyID, ok = k.ID, true
		}
	}
	return keyID, ok
}

// newParser returns the parser of the library for these algorithms.
func newParser(now time.Time, algorithms ...string) *jwt.Parser {
	return jwt.NewParser(
		jwt.WithValidMethods(algorithms),
		jwt.WithStrictDecoding(),
		jwt.WithLeeway(Leeway),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithTimeFunc(func() time.Time { return now }),
	)
}

// checkLife refuses tokens made to live too long.
func checkLife(claims jwt.MapClaims, kind Kind, now time.Time) error {
	longest := MaxClientLife
	if kind == REST {
		longest = MaxRESTLife
	}
	// The library has validated the types of all three.
	exp, _ := claims.GetExpirationTime()
	begin := now.Add(Leeway)
	if nbf, _ := claims.GetNotBefore(); nbf != nil {
		begin = nbf.Time
	}
	if iat, _ := claims.GetIssuedAt(); iat != nil {
		begin = iat.Time
	}
	if life := exp.Sub(begin); life > longest {
		return invalid(fmt.Sprintf("lives %s, at most %s is accepted", life, longest))
	}
	return nil
}
