package pairing

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// The claims of Azure SignalR tokens that begin so are for the service, the
// others are the user's, renamed because they look like claims about the token
// (ClaimsUtility of the Azure SignalR SDK). Those of servicePrefix are this
// service's own.
const (
	systemPrefix  = "asrs.s."
	userPrefix    = "asrs.u."
	servicePrefix = "sbx."

	claimUser   = systemPrefix + "uid"
	claimServer = systemPrefix + "sn"
	claimSticky = systemPrefix + "ssticky"
)

// forApps are the claims for the service that the SDK reads in app servers, too:
// the user id, the authentication type, and which claims are names and roles.
var forApps = []string{claimUser, systemPrefix + "aut", systemPrefix + "nt", systemPrefix + "rt"}

// aboutToken are claims about the token itself. The SDK skips them, and renames
// those of users.
var aboutToken = []string{"aud", "exp", "iat", "nbf", "iss", "azp", "c_hash", "jti", "nonce"}

// claims lists what app servers are told about the bearer of a token, by the
// token's names in alphabetical order; lists become repeated claims. user is added
// to what an issuer of the tenant's own says, whose asrs.s claims count nothing.
func (r *Request) claims(user string) []hubs.Claim {
	var list []hubs.Claim
	if r.ForeignIssuer && user != "" {
		list = append(list, hubs.Claim{Type: claimUser, Value: user})
	}
	for _, name := range slices.Sorted(maps.Keys(r.Claims)) {
		switch {
		case strings.HasPrefix(name, systemPrefix):
			if r.ForeignIssuer || !slices.Contains(forApps, name) {
				continue
			}
		case slices.Contains(aboutToken, name), strings.HasPrefix(name, servicePrefix):
			continue
		}
		values, isList := r.Claims[name].([]any)
		if !isList {
			values = []any{r.Claims[name]}
		}
		for _, v := range values {
			list = append(list, hubs.Claim{Type: serviceprotocol.LongClaim(name), Value: claimText(v)})
		}
	}
	return list
}

// text is the value of a claim that must be one text, or "".
func (r *Request) text(name string) string {
	if r.ForeignIssuer {
		return ""
	}
	s, _ := r.Claims[name].(string)
	return s
}

// sticky is how much the client depends on the app server that negotiated.
func (r *Request) sticky() (server string, s Sticky) {
	server = r.text(claimServer)
	switch mode := r.text(claimSticky); {
	case server == "":
		return "", Anywhere
	case strings.EqualFold(mode, "Required"):
		return server, Required
	case strings.EqualFold(mode, "Preferred"):
		return server, Preferred
	}
	return "", Anywhere
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
