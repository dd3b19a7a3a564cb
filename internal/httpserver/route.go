package httpserver

import (
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"
)

// WithRoutes lets handlers outside of a chi router see which of its patterns was
// chosen, once it has served: chi fills in the routing context that it finds. It
// goes around whatever calls RoutePattern.
func WithRoutes(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, s := scoped(r)
		s.routes = chi.NewRouteContext()
		next.ServeHTTP(w, r)
	})
}

// RoutePattern is the pattern that a chi router chose for r, such as
// "/v1/tenants/{tenant}", or "" when no route was reached. It is for
// telemetry.HTTPOptions.
func RoutePattern(r *http.Request) string {
	c := chi.RouteContext(r.Context())
	if c == nil {
		return ""
	}
	whole := ""
	for _, pattern := range c.RoutePatterns {
		whole = strings.TrimSuffix(whole, "/*")
		// A router that was mounted with the path left whole repeats what is before.
		if !strings.HasPrefix(pattern, whole) {
			pattern = whole + pattern
		}
		whole = pattern
	}
	return whole
}
