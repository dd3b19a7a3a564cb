package accesstoken

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/signalbox/signalbox/tenants"
)

// issuer names this service in the tokens that it mints itself.
const issuer = "signalbox"

// Minted is a fresh token and where it is good.
type Minted struct {
	Token string
	// ID is the token's jti, by which it can be revoked.
	ID string
	// URL is the address to use it at: the client URL of the hub, or the root of
	// the REST API.
	URL       string
	ExpiresAt time.Time
}

// ClientOptions are what a client token says.
type ClientOptions struct {
	Hub    string        // canonical name
	UserID string        // "" = anonymous
	ID     string        // the token's jti; "" = one that no other token has
	Life   time.Duration // 0 = one hour, at most MaxClientLife
	// CloseOnExpiry closes the connection, too, when the token expires.
	CloseOnExpiry bool
	// Groups are joined by connections made with the token.
	Groups []string
	// Permissions are in the language of package permissions.
	Permissions []string
}

// ErrTooLong is returned for a token that would be longer than MaxLength.
var ErrTooLong = errors.New("the token would be longer than is accepted")

// MintClient makes a token for connecting to one hub of the tenant that is
// reached at endpoint, its public base URL (with /t/{slug} where it has no host
// of its own).
func MintClient(key tenants.DocKey, endpoint string, o ClientOptions, now time.Time) (Minted, error) {
	if len(o.UserID) > MaxUserID {
		return Minted{}, fmt.Errorf("user id has %d bytes, at most %d are accepted", len(o.UserID), MaxUserID)
	}
	u, err := parseEndpoint(endpoint)
	if err != nil {
		return Minted{}, err
	}
	at := u.JoinPath("client/")
	at.RawQuery = url.Values{"hub": {o.Hub}}.Encode()
	claims := jwt.MapClaims{}
	if o.UserID != "" {
		claims[claimUserID] = o.UserID
	}
	if o.CloseOnExpiry {
		claims[claimCloseOnExpiry] = "true"
	}
	if len(o.Groups) > 0 {
		claims[claimGroups] = o.Groups
	}
	if len(o.Permissions) > 0 {
		claims[claimPermissions] = o.Permissions
	}
	if len(o.ID) > MaxTokenID {
		return Minted{}, fmt.Errorf("token id has %d bytes, at most %d are accepted", len(o.ID), MaxTokenID)
	}
	return mint(key, at, claims, cmp.Or(o.ID, rand.Text()), o.Life, MaxClientLife, now)
}

// MintREST makes a token for the whole REST API of the tenant at endpoint.
// Life 0 means one hour, which is also the longest.
func MintREST(key tenants.DocKey, endpoint string, life time.Duration, now time.Time) (Minted, error) {
	u, err := parseEndpoint(endpoint)
	if err != nil {
		return Minted{}, err
	}
	return mint(key, u.JoinPath("api"), jwt.MapClaims{claimScope: scopeTenant}, rand.Text(), life, MaxRESTLife, now)
}

func mint(key tenants.DocKey, at *url.URL, claims jwt.MapClaims, id string, life, longest time.Duration, now time.Time) (Minted, error) {
	if key.Secret == "" {
		return Minted{}, fmt.Errorf("access key %s has no secret", key.ID)
	}
	if life == 0 {
		life = time.Hour
	}
	if life < time.Second || life > longest {
		return Minted{}, fmt.Errorf("token life is %s, accepted is 1s to %s", life, longest)
	}
	now = now.Truncate(time.Second)
	expires := now.Add(life)
	audience := *at
	audience.Host = hostWithoutPort(at)
	claims["aud"] = audience.String()
	claims["iss"] = issuer
	claims["jti"] = id
	claims["iat"] = now.Unix()
	claims["nbf"] = now.Unix()
	claims["exp"] = expires.Unix()
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	t.Header["kid"] = key.ID
	signed, err := t.SignedString([]byte(key.Secret))
	if err != nil {
		return Minted{}, fmt.Errorf("sign token: %w", err)
	}
	if len(signed) > MaxLength {
		return Minted{}, fmt.Errorf("%w: it has %d bytes, at most %d are", ErrTooLong, len(signed), MaxLength)
	}
	return Minted{Token: signed, ID: id, URL: at.String(), ExpiresAt: expires}, nil
}

// parseEndpoint reads a tenant's public base URL.
func parseEndpoint(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil {
		return nil, fmt.Errorf("endpoint must be an absolute http or https URL")
	}
	u.RawQuery, u.Fragment = "", ""
	u.Host = strings.ToLower(u.Host)
	return u, nil
}

// hostWithoutPort is how SDKs sign hosts. It keeps the brackets of an IPv6 address.
func hostWithoutPort(u *url.URL) string {
	if strings.Contains(u.Hostname(), ":") {
		return "[" + u.Hostname() + "]"
	}
	return u.Hostname()
}
