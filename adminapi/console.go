package adminapi

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/go-chi/chi/v5/middleware"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// hashedAssets is the folder of files whose names change with their content.
const hashedAssets = "assets/"

// entryPage is the page that loads the console.
const entryPage = "index.html"

const gzipLevel = 5

// nonceMark is where the entry page wants the nonce of its styles.
const nonceMark = "__STYLE_NONCE__"

// styleSource is what policies say of styles; withNonce adds to it.
const styleSource = "style-src 'self'"

// withNonce is a policy that allows the styles, too, that the page's own scripts write
// as the component kit does: with the nonce.
func withNonce(policy, nonce string) string {
	return strings.Replace(policy, styleSource, styleSource+" 'nonce-"+nonce+"'", 1)
}

// contentSecurityPolicy allows the console its own scripts and styles, none of them
// inline, and connections to the data plane.
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
		"default-src 'none'", "script-src 'self'", styleSource, "img-src 'self'", "font-src 'self'",
		"connect-src " + strings.Join(connect, " "), "manifest-src 'self'",
		"base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'",
	}
	if !dev {
		directives = append(directives, "upgrade-insecure-requests")
	}
	return strings.Join(directives, "; ")
}

// consoleFile is one file of the console, read once.
type consoleFile struct {
	content []byte
	etag    string
}

// readConsole reads all files, by their paths.
func readConsole(files fs.FS) (map[string]consoleFile, error) {
	all := make(map[string]consoleFile)
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		all[name] = consoleFile{content: content, etag: fmt.Sprintf(`W/"%x"`, sha256.Sum256(content))}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read console: %w", err)
	}
	return all, nil
}

// console serves the built console: files by name, hashed ones for ever, and the
// entry page for every address that looks like no file, because the console
// routes by itself. Each entry page has a nonce of its own, which is added to policy.
func (s *server) console(files fs.FS, policy string) (http.Handler, error) {
	if files == nil {
		return s.noConsole("The console is not part of this build."), nil
	}
	all, err := readConsole(files)
	if err != nil {
		return nil, err
	}
	if bytes.Count(all[entryPage].content, []byte(nonceMark)) != 1 {
		return s.noConsole("The console in this build is an older one, whose page has no place for a nonce: build it again with make web."), nil
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			s.problem(w, r, fault.New(fault.NotAllowed, "This address takes GET, HEAD."))
			return
		}
		name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
		file, ok := all[name]
		if !ok && !strings.HasPrefix(name, hashedAssets) && path.Ext(name) == "" {
			name = entryPage
			file, ok = all[name]
		}
		if !ok {
			s.problem(w, r, fault.New(fault.NotFound, "There is nothing at this address."))
			return
		}
		if name == entryPage {
			nonce := rand.Text()
			w.Header().Set("Content-Security-Policy", withNonce(policy, nonce))
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Cache-Control", "no-store")
			_, _ = w.Write(bytes.Replace(file.content, []byte(nonceMark), []byte(nonce), 1)) // who is gone needs no page
			return
		}
		w.Header().Set("ETag", file.etag)
		if strings.HasPrefix(name, hashedAssets) {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		} else {
			w.Header().Set("Cache-Control", "no-cache")
		}
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(file.content))
	})
	return middleware.Compress(gzipLevel)(handler), nil
}

// noConsole answers at the console's addresses where there is none to serve.
func (s *server) noConsole(why string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.problem(w, r, fault.New(fault.NotFound, why+" The API is described at "+referencePath+"."))
	})
}
