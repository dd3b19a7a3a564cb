package httpserver

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-chi/chi/v5"
)

func TestRoutePatternIsSeenOutsideOfTheRouter(t *testing.T) {
	t.Parallel()
	inner := chi.NewRouter()
	inner.Get("/tenants/{tenant}", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(chi.URLParam(r, "tenant"))) })
	router := chi.NewRouter()
	router.Mount("/v1", inner)
	whole := chi.NewRouter()
	whole.Get("/v2/tenants/{tenant}", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(chi.URLParam(r, "tenant"))) })
	router.Handle("/v2/*", whole)
	for path, want := range map[string]struct {
		pattern, body string
		code          int
	}{
		"/v1/tenants/acme": {"/v1/tenants/{tenant}", "acme", http.StatusOK},
		"/v2/tenants/acme": {"/v2/tenants/{tenant}", "acme", http.StatusOK},
		"/elsewhere":       {"", "404 page not found\n", http.StatusNotFound},
	} {
		var pattern string
		h := WithRoutes(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			router.ServeHTTP(w, r)
			pattern = RoutePattern(r)
		}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if pattern != want.pattern || w.Code != want.code || w.Body.String() != want.body {
			t.Errorf("%s: pattern %q, answer %d %q", path, pattern, w.Code, w.Body)
		}
	}
	if got := RoutePattern(httptest.NewRequest(http.MethodGet, "/", nil)); got != "" {
		t.Errorf("pattern %q without a router", got)
	}
}
