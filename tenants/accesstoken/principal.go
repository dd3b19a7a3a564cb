package accesstoken

import (
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// MaxUserID is the longest accepted user id, in bytes.
const MaxUserID = 256

// The claims of Azure SignalR tokens that the service reads (ClaimsUtility of
// the Azure SignalR SDK).
const (
	claimUserID           = "asrs.s.uid"
	claimTransports       = "asrs.s.htt"
	claimCloseOnExpiry    = "asrs.s.coae"
	claimExpiresOn        = "asrs.s.aeo"
	claimPollSeconds      = "asrs.s.ttl"
	claimHandshakeSeconds = "asrs.s.cht"
	claimDetailedErrors   = "asrs.s.derror"

	// claimScope is this service's own: see scopeTenant.
	claimScope = "sbx.scope"
)

// scopeTenant lets a REST token whose audience is the API's root be used for
// every path below it. Without the claim an audience is one path.
const scopeTenant = "tenant"

// maxNumericDate bounds exp, nbf and iat: the year 5138, far below where
// conversions overflow.
const maxNumericDate = 1e11

// Principal is what a verified token says about its bearer.
type Principal struct {
	Kind   Kind
	KeyID  string // the access key that signed it
	UserID string // "" = anonymous
	// ExpiresAt is the token's exp.
	ExpiresAt time.Time
	// CloseAt is when a connection made with the token must be closed; zero =
	// it outlives the token.
	CloseAt time.Time
	// Transports is the mask of allowed transports (1 WebSockets, 2 Server-Sent
	// Events, 4 long polling); 0 = all.
	Transports int
	// PollTimeout is how long one long poll may wait; zero = the default.
	PollTimeout time.Duration
	// HandshakeTimeout is how long the client may take for its handshake; zero
	// = the default.
	HandshakeTimeout time.Duration
	// DetailedErrors asks for error texts with inner causes.
	DetailedErrors bool
	// Claims are all claims of the token as decoded.
	Claims map[string]any

	tenantWide bool
}

func newPrincipal(claims jwt.MapClaims, keyID string, kind Kind) (*Principal, error) {
	for _, name := range []string{"exp", "nbf", "iat"} {
		if v, ok := claims[name]; ok {
			if n, isNumber := v.(float64); !isNumber || n < 0 || n > maxNumericDate {
				return nil, invalid(name + " is no time in seconds")
			}
		}
	}
	exp, err := claims.GetExpirationTime()
	if err != nil || exp == nil {
		return nil, invalid("exp is missing")
	}
	p := &Principal{Kind: kind, KeyID: keyID, ExpiresAt: exp.Time, Claims: claims, tenantWide: claims[claimScope] == scopeTenant}
	if p.UserID, err = userID(claims); err != nil {
		return nil, err
	}
	// Values that make no sense are ignored, as Azure does: they only narrow or
	// tune, and the signer is the tenant itself.
	if n, ok := number(claims[claimTransports]); ok && n > 0 {
		p.Transports = int(n & 7)
	}
	if n, ok := number(claims[claimPollSeconds]); ok && n >= 1 && n <= 300 {
		p.PollTimeout = time.Duration(n) * time.Second
	}
	if n, ok := number(claims[claimHandshakeSeconds]); ok && n >= 1 && n <= 30 {
		p.HandshakeTimeout = time.Duration(n) * time.Second
	}
	p.DetailedErrors = truth(claims[claimDetailedErrors])
	if truth(claims[claimCloseOnExpiry]) {
		p.CloseAt = p.ExpiresAt
		if n, ok := number(claims[claimExpiresOn]); ok && n > 0 && n <= maxNumericDate {
			p.CloseAt = time.Unix(n, 0)
		}
	}
	return p, nil
}

// userID finds the user: asrs.s.uid, else nameid, else sub, else nobody. Of
// several values of one claim the first counts.
func userID(claims jwt.MapClaims) (string, error) {
	for _, name := range []string{claimUserID, "nameid", "sub"} {
		v, ok := claims[name]
		if !ok {
			continue
		}
		if list, isList := v.([]any); isList && len(list) > 0 {
			v = list[0]
		}
		id, isText := v.(string)
		if !isText {
			return "", invalid(name + " is no text")
		}
		if len(id) > MaxUserID {
			return "", invalid(name + " is longer than " + strconv.Itoa(MaxUserID) + " bytes")
		}
		return id, nil
	}
	return "", nil
}

// number reads a whole number that the SDKs write as text.
func number(v any) (int64, bool) {
	switch v := v.(type) {
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		return n, err == nil
	case float64:
		if v != v || v < -maxNumericDate || v > maxNumericDate {
			return 0, false
		}
		return int64(v), true
	}
	return 0, false
}

func truth(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case string:
		b, err := strconv.ParseBool(v)
		return err == nil && b
	}
	return false
}
