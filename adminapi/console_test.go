package adminapi

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

// SEC-35: whatever path is asked for, nobody is sent to another host.
func TestConsole(t *testing.T) {
	t.Parallel()
	const policy = "default-src 'none'; style-src 'self'; img-src 'self'"
	s := &server{logger: slog.New(slog.DiscardHandler)}
	handler, err := s.console(fstest.MapFS{
		"index.html":          {Data: []byte(`<title>console</title><meta property="csp-nonce" nonce="__STYLE_NONCE__">`)},
		"assets/app-1a2b.js":  {Data: []byte("js")},
		"color-scheme.js":     {Data: []byte("scheme")},
		"assets/deeper/x.css": {Data: []byte("css")},
	}, policy)
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		method, path string
		status       int
		text, cache  string
	}{
		"the_entry":                   {"GET", "/", 200, "console", "no-store"},
		"the_entry_by_name":           {"GET", "/index.html", 200, "console", "no-store"},
		"an_address_of_the_console":   {"GET", "/tenants/acme/keys", 200, "console", "no-store"},
		"a_hashed_asset":              {"GET", "/assets/app-1a2b.js", 200, "js", "immutable"},
		"a_file_without_a_hash":       {"GET", "/color-scheme.js", 200, "scheme", "no-cache"},
		"an_asset_of_another_build":   {"GET", "/assets/app-9z.js", 404, "not_found", ""},
		"a_folder":                    {"GET", "/assets/deeper", 404, "not_found", ""},
		"a_dotted_address":            {"GET", "/.keep", 404, "not_found", ""},
		"a_file_that_is_not_there":    {"GET", "/robots.txt", 404, "not_found", ""},
		"a_way_out":                   {"GET", "/../../etc/passwd", 200, "console", "no-store"},
		"a_redirect_to_somebody_else": {"GET", "//evil.example/x", 200, "console", "no-store"},
		"another_method":              {"POST", "/", 405, "method_not_allowed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(row.method, "http://console.example", nil)
			r.URL.Path = row.path
			handler.ServeHTTP(w, r)
			if w.Code != row.status || !strings.Contains(w.Body.String(), row.text) || !strings.Contains(w.Header().Get("Cache-Control"), row.cache) {
				t.Errorf("answered %d, %q, %q", w.Code, w.Header().Get("Cache-Control"), w.Body)
			}
			if location := w.Header().Get("Location"); location != "" {
				t.Errorf("redirects to %s", location)
			}
		})
	}
	t.Run("SEC-40 each page has a nonce of its own for its styles", func(t *testing.T) {
		seen := make(map[string]bool)
		for range 3 {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/tenants", nil))
			got := w.Header().Get("Content-Security-Policy")
			_, rest, _ := strings.Cut(got, "style-src 'self' 'nonce-")
			nonce, _, _ := strings.Cut(rest, "'; img-src 'self'")
			if len(nonce) < 26 || seen[nonce] || !strings.Contains(w.Body.String(), `nonce="`+nonce+`"`) || w.Header().Get("ETag") != "" {
				t.Errorf("answered %v %s", w.Header(), w.Body)
			}
			seen[nonce] = true
		}
	})
	old, err := s.console(fstest.MapFS{"index.html": {Data: []byte("<title>console</title>")}}, policy)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	old.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "make web") {
		t.Errorf("with a console that has no place for a nonce: %d %s", w.Code, w.Body)
	}
	if handler, err = s.console(nil, policy); err != nil {
		t.Fatal(err)
	}
	w = httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), referencePath) {
		t.Errorf("without a console: %d %s", w.Code, w.Body)
	}
}
