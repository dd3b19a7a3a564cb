package accesstoken

import (
	"net"
	"net/url"
	"strings"
)

// maxAudiences bounds how many audiences of one token are looked at.
const maxAudiences = 10

// checkAudience returns nil when one of the audiences is the target:
//
//   - scheme http or https, no user, no fragment;
//   - host one of the target's hosts, compared in lower case without port (SDKs
//     sign the host of the endpoint without its port);
//   - path equal to the target's, segment by segment after percent-decoding,
//     with one slash at either end trimmed and an optional /t/{slug} before it;
//   - for client and server tokens exactly one hub parameter in the query,
//     equal to the target's hub in lower case; for REST the query is ignored.
//
// A tenant-wide REST token names the API's root instead of a path.
// It returns ErrWrongKind when an audience would do for another kind.
func checkAudience(audiences []string, tenantWide bool, target Target) error {
	if len(audiences) > maxAudiences {
		return invalid("too many audiences")
	}
	otherKind := false
	for _, a := range audiences {
		u, err := url.Parse(a)
		if err != nil || u.User != nil || u.Fragment != "" || u.Opaque != "" || (u.Scheme != "http" && u.Scheme != "https") {
			continue
		}
		if !oneOf(u.Hostname(), target.Hosts) {
			continue
		}
		path, ok := segments(u.EscapedPath())
		if !ok {
			continue
		}
		if len(path) > 2 && path[0] == "t" && path[1] == target.Slug {
			path = path[2:]
		}
		if kind := Kind(path[0]); kind != target.Kind {
			otherKind = otherKind || kind == Client || kind == Server || kind == REST
			continue
		}
		if target.Kind == REST {
			if want, ok := segments(target.Path); ok && (equal(path, want) || tenantWide && len(path) == 1) {
				return nil
			}
			continue
		}
		query, err := url.ParseQuery(u.RawQuery)
		if hubs := query["hub"]; err == nil && len(path) == 1 && len(hubs) == 1 && target.Hub != "" && strings.ToLower(hubs[0]) == target.Hub {
			return nil
		}
	}
	if otherKind {
		return ErrWrongKind
	}
	return invalid("audience is not what was asked for")
}

// segments splits an escaped path and decodes each part, so that an escaped
// slash stays inside its part. One slash at either end does not count.
func segments(escaped string) ([]string, bool) {
	escaped = strings.TrimSuffix(strings.TrimPrefix(escaped, "/"), "/")
	parts := strings.Split(escaped, "/")
	for i, p := range parts {
		decoded, err := url.PathUnescape(p)
		if err != nil {
			return nil, false
		}
		parts[i] = decoded
	}
	return parts, true
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func oneOf(host string, hosts []string) bool {
	host = strings.ToLower(host)
	for _, h := range hosts {
		if name, _, err := net.SplitHostPort(h); err == nil {
			h = name
		}
		if host != "" && strings.EqualFold(host, strings.Trim(h, "[]")) {
			return true
		}
	}
	return false
}
