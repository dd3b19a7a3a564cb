package appserver

import (
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/connectionstring"
	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// The claims of tokens that the service reads (ClaimsUtility of the Azure SignalR
// SDK). All others of a client are passed on to the app server.
const (
	claimPrefix       = "asrs.s."
	claimUserPrefix   = "asrs.u." // of a claim that would collide with one of the service's
	claimUserID       = "asrs.s.uid"
	claimServer       = "asrs.s.sn"
	claimSticky       = "asrs.s.ssticky"
	claimTransports   = "asrs.s.htt"
	claimCloseOnEnd   = "asrs.s.coae"
	claimEnds         = "asrs.s.aeo"
	claimDetails      = "asrs.s.derror"
	claimHandshake    = "asrs.s.cht"
	defaultHandshake  = 15 * time.Second
	serverTokenLife   = time.Hour
	maxTokenBytes     = 4096
	maxHandshakeLimit = 30 * time.Second
)

// endpoint is where the service is, and the key that signs its tokens.
type endpoint struct{ *connectionstring.Endpoint }

// serverToken opens server connections of a hub.
func (e endpoint) serverToken(hub, serverID string, now time.Time) (string, error) {
	return e.mint(jwt.MapClaims{"nameid": serverID}, "server", hub, now, serverTokenLife)
}

func (e endpoint) mint(claims jwt.MapClaims, kind, hub string, now time.Time, life time.Duration) (string, error) {
	claims["aud"] = e.Audience + kind + "/?hub=" + url.QueryEscape(hub)
	claims["iat"], claims["nbf"], claims["exp"] = now.Unix(), now.Unix(), now.Add(life).Unix()
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(e.Key)
}

// clientToken lets a client in as p.
func (a *App) clientToken(p *hubs.Principal, now time.Time) (string, error) {
	claims := jwt.MapClaims{}
	for _, c := range p.Claims {
		add(claims, tokenClaim(c.Type), c.Value)
	}
	if p.UserID != "" {
		claims[claimUserID] = p.UserID
	}
	switch a.opt.Sticky {
	case PreferServer:
		claims[claimServer], claims[claimSticky] = a.serverID, "Preferred"
	case RequireServer:
		claims[claimServer], claims[claimSticky] = a.serverID, "Required"
	case AnyServer:
	}
	if len(a.opt.Transports) > 0 {
		claims[claimTransports] = transportMask(a.opt.Transports)
	}
	if a.opt.CloseOnExpiry && !p.Expires.IsZero() {
		claims[claimCloseOnEnd], claims[claimEnds] = "true", p.Expires.Unix()
	}
	options := a.hub.Options()
	if options.EnableDetailedErrors {
		claims[claimDetails] = "True"
	}
	if limit := options.HandshakeTimeout; limit != defaultHandshake {
		claims[claimHandshake] = int64(min(max(limit, time.Second), maxHandshakeLimit) / time.Second)
	}
	return a.endpoint.mint(claims, "client", a.hubKey, now, a.opt.TokenLife)
}

// add adds a value to a claim, which becomes an array with the second.
func add(claims jwt.MapClaims, name, value string) {
	switch was := claims[name].(type) {
	case nil:
		claims[name] = value
	case string:
		claims[name] = []string{was, value}
	case []string:
		claims[name] = append(was, value)
	}
}

// transportMask is HttpTransportType of ASP.NET Core, in decimal.
func transportMask(kinds []hubs.TransportKind) int {
	mask := 0
	for _, k := range kinds {
		switch k {
		case hubs.WebSockets:
			mask |= 1
		case hubs.ServerSentEvents:
			mask |= 2
		case hubs.LongPolling:
			mask |= 4
		}
	}
	return mask
}

// tokenClaim is the name under which a claim comes back from the service as it
// was: not one of the service's own, nor of the user's id, and not one that becomes
// one of .NET's types which tokens have another name for.
func tokenClaim(name string) string {
	if name == "sub" || name == "nameid" || systemClaims[name] || strings.HasPrefix(name, "asrs.") ||
		serviceprotocol.ShortClaim(serviceprotocol.LongClaim(name)) != name {
		return claimUserPrefix + name
	}
	return name
}

// systemClaims are those of tokens themselves.
var systemClaims = map[string]bool{
	"aud": true, "exp": true, "iat": true, "nbf": true, "iss": true, "actort": true, "acr": true, "azp": true, "c_hash": true, "jti": true, "nonce": true,
}

// principalOf reads who a client is from the claims that the service passes on.
func principalOf(claims []hubs.Claim) hubs.Principal {
	var p hubs.Principal
	for _, c := range claims {
		own, ours := strings.CutPrefix(c.Type, claimUserPrefix)
		switch {
		case c.Type == claimUserID:
			p.UserID = c.Value
		case strings.HasPrefix(c.Type, claimPrefix), systemClaims[c.Type]:
		case ours:
			p.Claims = append(p.Claims, hubs.Claim{Type: own, Value: c.Value})
		default:
			p.Claims = append(p.Claims, hubs.Claim{Type: serviceprotocol.ShortClaim(c.Type), Value: c.Value})
		}
	}
	if p.UserID == "" {
		for _, c := range claims {
			if serviceprotocol.ShortClaim(c.Type) == "sub" {
				p.UserID = c.Value
				break
			}
		}
	}
	return p
}
