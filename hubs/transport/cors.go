package transport

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxRequestedHeaders bounds what a preflight may ask for, in bytes.
const maxRequestedHeaders = 1024

const (
	headerAllowOrigin      = "Access-Control-Allow-Origin"
	headerAllowCredentials = "Access-Control-Allow-Credentials"
)

// crossOrigin lets pages of every origin read the answer, which until the token and the
// origin have been judged is a refusal of Options.Resolve, and answers preflights. Those carry no token, so all are
// answered alike: which origins a hub allows would tell whether it is there. When it
// reports false, the request has been answered.
func crossOrigin(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true // not a browser, or its own page
	}
	// Clients send credentials, so a wildcard would not do.
	w.Header().Set(headerAllowOrigin, origin)
	w.Header().Set(headerAllowCredentials, "true")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return true
	}
	w.Header().Add("Vary", "Access-Control-Request-Headers")
	w.Header().Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" && len(asked) <= maxRequestedHeaders {
		w.Header().Set("Access-Control-Allow-Headers", asked)
	}
	w.Header().Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return false
}

// checkOrigin applies Endpoint.Origins to every kind of request, WebSocket upgrades
// included, since browsers don't. When it reports false, the request has been refused.
func (h *Handler) checkOrigin(q *request) bool {
	origin := q.r.Header.Get("Origin")
	if q.relayed || origin == "" || q.ep.allowsOrigin(q.r, origin) {
		return true
	}
	q.w.Header().Del(headerAllowOrigin)
	q.w.Header().Del(headerAllowCredentials)
	h.opt.Refused(q.r, RefusedOrigin)
	writeText(q.w, http.StatusForbidden, "This origin is not allowed.")
	return false
}

func (e *Endpoint) allowsOrigin(r *http.Request, origin string) bool {
	if len(e.Origins) == 0 || slices.ContainsFunc(e.Origins, func(a string) bool { return strings.EqualFold(a, origin) }) {
		return true
	}
	u, err := url.Parse(origin)
	// Behind a proxy nobody can tell here what the page's scheme must be.
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) && (r.TLS == nil || u.Scheme == "https")
}
