package transport

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxRequestedHeaders bounds what a preflight may ask for, in bytes.
const maxRequestedHeaders = 1024

// checkOrigin applies Options.Origins to every kind of request, WebSocket
// upgrades included, since browsers don't. When it reports false, the request
// has been answered: refused, or a preflight.
func (h *Handler) checkOrigin(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true // not a browser, or its own page: the token decides
	}
	if !h.originAllowed(r, origin) {
		h.opt.Refused(r, RefusedOrigin)
		writeText(w, http.StatusForbidden, "This origin is not allowed.")
		return false
	}
	// Clients send credentials, so a wildcard would not do.
	w.Header().Set("Access-Control-Allow-Origin", origin)
	w.Header().Set("Access-Control-Allow-Credentials", "true")
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

func (h *Handler) originAllowed(r *http.Request, origin string) bool {
	var allowed []string
	if h.opt.Origins != nil {
		allowed = h.opt.Origins(r)
	}
	if len(allowed) == 0 || slices.ContainsFunc(allowed, func(a string) bool { return strings.EqualFold(a, origin) }) {
		return true
	}
	u, err := url.Parse(origin)
	// Behind a proxy nobody can tell here what the page's scheme must be.
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) && (r.TLS == nil || u.Scheme == "https")
}
