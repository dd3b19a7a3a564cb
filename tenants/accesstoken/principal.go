package accesstoken

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/permissions"
)

// The longest accepted ids of users and tokens, in bytes.
const (
	MaxUserID  = 256
	MaxTokenID = 256
)

// The claims of Azure SignalR tokens that the service reads (ClaimsUtility of
// the Azure SignalR SDK). It also knows asrs.s.derror, which asks for the inner
// causes of errors: hub methods' are in the texts that app servers send anyway, and
// the service's own have a code and a reason for everybody.
const (
	claimUserID           = "asrs.s.uid"
	claimTransports       = "asrs.s.htt"
	claimCloseOnExpiry    = "asrs.s.coae"
	claimExpiresOn        = "asrs.s.aeo"
	claimPollSeconds      = "asrs.s.ttl"
	claimHandshakeSeconds = "asrs.s.cht"

	// This service's own: for claimScope see scopeTenant; the others are texts or
	// lists of texts.
	claimScope       = "sbx.scope"
	claimPermissions = "sbx.permissions"
	claimGroups      = "sbx.groups"
	claimSimulate    = "sbx.simulate"

	// claimGroup is where Web PubSub has the groups to join when connecting.
	claimGroup = "webpubsub.group"
)

// claimRoles are where roles are, those of Web PubSub among them: its own claim,
// its plural, and the name that .NET writes.
var claimRoles = []string{"role", "roles", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"}

// ServicePrefix begins the names of claims that are for the service alone.
const ServicePrefix = "sbx."

// scopeTenant lets a REST token whose audience is the API's root be used for
// every path below it. Without the claim an audience is one path.
const scopeTenant = "tenant"

// maxNumericDate bounds exp, nbf and iat: the year 5138, far below where
// conversions overflow.
const maxNumericDate = 1e11

// Principal is what a verified token says about its bearer.
type Principal struct {
	Kind   Kind
	KeyID  string // the access key, or the issuer's key, that signed it
	UserID string // "" = anonymous
	// IssuerID is the tenant's issuer whose key signed it; "" = an access key.
	IssuerID string
	// TokenID is the token's jti, "" when it has none.
	TokenID string
	// IssuedAt is the token's iat, else nbf; zero when it has neither.
	IssuedAt time.Time
	// Groups are joined by connections made with the token.
	Groups []string
	// Permissions are what the client may do without a backend.
	Permissions permissions.Set
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
	// Simulate names a limit whose refusal the bearer wants to see once; "" = none.
	Simulate string
	// Claims are all claims of the token as decoded.
	Claims map[string]any

	tenantWide bool
}

// Credential is the token as revocations know it.
func (p *Principal) Credential() tenants.Credential {
	return tenants.Credential{TokenID: p.TokenID, UserID: p.UserID, KeyID: p.KeyID, IssuerID: p.IssuerID, IssuedAt: p.IssuedAt}
}

// newPrincipal reads the claims that mean the same whoever signed them.
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
	p := &Principal{Kind: kind, KeyID: keyID, ExpiresAt: exp.Time, Claims: claims}
	if iat, _ := claims.GetIssuedAt(); iat != nil {
		p.IssuedAt = iat.Time
	} else if nbf, _ := claims.GetNotBefore(); nbf != nil {
		p.IssuedAt = nbf.Time
	}
	if v, ok := claims["jti"]; ok {
		// A token whose id can't be named could not be revoked by it.
		id, isText := v.(string)
		if !isText || len(id) > MaxTokenID {
			return nil, invalid("jti is no text of up to " + strconv.Itoa(MaxTokenID) + " bytes")
		}
		p.TokenID = id
	}
	p.Simulate, _ = claims[claimSimulate].(string)
	p.UserID, err = userID(claims, claimUserID, "nameid", "sub")
	p.readPermissions()
	return p, err
}

// readPermissions reads what the client may do by itself. What can't be read is
// ignored: it allows nothing.
func (p *Principal) readPermissions() {
	list := texts(p.Claims[claimPermissions])
	for _, name := range claimRoles {
		for _, role := range texts(p.Claims[name]) {
			if permissions.IsRole(role) {
				list = append(list, role)
			}
		}
	}
	p.Permissions = permissions.NewSet(list)
	for _, name := range []string{claimGroups, claimGroup} {
		for _, group := range texts(p.Claims[name]) {
			if IsName(group) && utf8.RuneCountInString(group) <= permissions.MaxGroup && !slices.Contains(p.Groups, group) {
				p.Groups = append(p.Groups, group)
			}
		}
	}
}

// IsName reports whether edges take s for the name of a group or a user, as far as
// its characters go: not all of them blanks, none of them a control character.
func IsName(s string) bool {
	return utf8.ValidString(s) && strings.TrimSpace(s) != "" && !strings.ContainsFunc(s, unicode.IsControl)
}

// readService reads the claims with which the tenant's servers tune the service;
// they count in tokens of access keys alone.
func (p *Principal) readService() {
	claims := p.Claims
	p.tenantWide = claims[claimScope] == scopeTenant
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
	if truth(claims[claimCloseOnExpiry]) {
		p.CloseAt = p.ExpiresAt
		if n, ok := number(claims[claimExpiresOn]); ok && n > 0 && n <= maxNumericDate {
			p.CloseAt = time.Unix(n, 0)
		}
	}
}

// texts returns the texts of a claim that is one or a list of them.
func texts(claim any) []string {
	switch v := claim.(type) {
	case string:
		return []string{v}
	case []any:
		list := make([]string, 0, len(v))
		for _, item := range v {
			if s, ok := item.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}

// userID finds the user in the first of the claims that is there, else nobody:
// in tokens of access keys asrs.s.uid, else nameid, else sub. Of several values of
// one claim the first counts.
func userID(claims jwt.MapClaims, names ...string) (string, error) {
	for _, name := range names {
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
