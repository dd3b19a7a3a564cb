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
	s := &server{logger: slog.New(slog.DiscardHandler)}
	handler, err := s.console(fstest.MapFS{
		"index.html":          {Data: []byte("<title>console</title>")},
		"assets/app-1a2b.js":  {Data: []byte("js")},
		"color-scheme.js":     {Data: []byte("scheme")},
		"assets/deeper/x.css": {Data: []byte("css")},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		method, path string
		status       int
		text, cache  string
	}{
		"the_entry":                   {"GET", "/", 200, "console", "no-cache"},
		"the_entry_by_name":           {"GET", "/index.html", 200, "console", "no-cache"},
		"an_address_of_the_console":   {"GET", "/tenants/acme/keys", 200, "console", "no-cache"},
		"a_hashed_asset":              {"GET", "/assets/app-1a2b.js", 200, "js", "immutable"},
		"a_file_without_a_hash":       {"GET", "/color-scheme.js", 200, "scheme", "no-cache"},
		"an_asset_of_another_build":   {"GET", "/assets/app-9z.js", 404, "not_found", ""},
		"a_folder":                    {"GET", "/assets/deeper", 404, "not_found", ""},
		"a_dotted_address":            {"GET", "/.keep", 404, "not_found", ""},
		"a_file_that_is_not_there":    {"GET", "/robots.txt", 404, "not_found", ""},
		"a_way_out":                   {"GET", "/../../etc/passwd", 200, "console", "no-cache"},
		"a_redirect_to_somebody_else": {"GET", "//evil.example/x", 200, "console", "no-cache"},
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
	if handler, err = s.console(nil); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), referencePath) {
		t.Errorf("without a console: %d %s", w.Code, w.Body)
	}
}
