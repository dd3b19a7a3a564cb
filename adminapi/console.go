package adminapi

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/signalbox/signalbox/tenants"
)

// hashedAssets is the folder of files whose names change with their content.
const hashedAssets = "assets/"

// contentSecurityPolicy allows the console its own scripts and connections to
// the data plane. Inline styles are allowed, because the component kit writes
// its variables that way; scripts never are.
func contentSecurityPolicy(e tenants.Endpoints, dev bool) string {
	connect := []string{"'self'"}
	if u, err := url.Parse(e.Service()); err == nil {
		socket := "wss://"
		if u.Scheme == "http" {
			socket = "ws://"
		}
		hosts := []string{u.Host, e.Host("*")}
		for _, host := range hosts {
			connect = append(connect, u.Scheme+"://"+host, socket+host)
		}
	}
	directives := []string{
		"default-src 'none'", "script-src 'self'", "style-src 'self' 'unsafe-inline'", "img-src 'self' data:", "font-src 'self'",
		"connect-src " + strings.Join(connect, " "), "manifest-src 'self'",
		"base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'",
	}
	if !dev {
		directives = append(directives, "upgrade-insecure-requests")
	}
	return strings.Join(directives, "; ")
}

// console serves the built console: files by name, hashed ones for ever, and the
// entry page for every address that is none, because the console routes by
// itself.
func console(files fs.FS) http.Handler {
	if files == nil {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "The console is not part of this build. The API is described at /openapi.json.", http.StatusNotFound)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
		info, err := fs.Stat(files, name)
		switch {
		case err == nil && !info.IsDir() && name != "index.html":
		case err != nil && !errors.Is(err, fs.ErrNotExist), strings.HasPrefix(name, hashedAssets), path.Ext(name) != "" && name != "index.html":
			http.NotFound(w, r)
			return
		default:
			name = "index.html"
		}
		if strings.HasPrefix(name, hashedAssets) {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		} else {
			w.Header().Set("Cache-Control", "no-cache")
		}
		http.ServeFileFS(w, r, files, strings.TrimSuffix(name, "index.html"))
	})
}
