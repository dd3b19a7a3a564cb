package edge

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/directory"
)

// maxURL bounds a request's URL, in bytes. A token of 4 KiB in the query fits.
const maxURL = 8 << 10

// maxSlug is longer than any slug.
const maxSlug = 64

// errTwoTenants refuses a URL whose host and prefix name different tenants.
var errTwoTenants = errors.New("the host and the path name different tenants")

// destination is what a request's URL says before any token is read.
type destination struct {
	tenant *tenants.Document
	err    error // why there is no tenant: of the directory, or errTwoTenants
}

type destinationKey struct{}

// destined is the context of a request whose destination is known.
type destined struct {
	context.Context
	destination
	query url.Values // parsed, once somebody has asked; nobody changes it
}

// Value implements context.Context.
func (d *destined) Value(key any) any {
	if key == (destinationKey{}) {
		return d
	}
	return d.Context.Value(key)
}

// destinationOf returns what resolve has found.
func destinationOf(r *http.Request) destination {
	d, ok := r.Context().Value(destinationKey{}).(*destined)
	if !ok {
		return destination{err: directory.ErrNotFound}
	}
	return d.destination
}

// queryOf returns the request's query, which is parsed once. Only the goroutine that
// serves the request calls it.
func queryOf(r *http.Request) url.Values {
	d, ok := r.Context().Value(destinationKey{}).(*destined)
	if !ok {
		return r.URL.Query()
	}
	if d.query == nil {
		d.query = r.URL.Query()
	}
	return d.query
}

// resolver finds the tenant of a request from its URL alone: by a host that the
// tenant owns, else by the path's prefix /t/{slug}, else the default one.
type resolver struct {
	directory     *directory.Directory
	serviceHosts  map[string]bool
	defaultTenant string // slug
}

// handler finds the tenant, takes the prefix off the path and passes on. It
// answers nothing itself: each interface has its own form of errors.
func (v *resolver) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.RequestURI) > maxURL {
			w.Header().Set("Connection", "close")
			http.Error(w, "The URL is longer than 8192 bytes.", http.StatusRequestURITooLong)
			return
		}
		u, slug := cutPrefix(r.URL)
		r = r.WithContext(&destined{Context: r.Context(), destination: v.find(r.Context(), r.Host, slug)})
		r.URL = u
		next.ServeHTTP(w, r)
	})
}

func (v *resolver) find(ctx context.Context, host, slug string) destination {
	owner, err := v.byHost(ctx, strings.ToLower(host))
	switch {
	case err != nil:
		return destination{err: err}
	case owner != nil && slug != "" && slug != owner.Slug:
		return destination{err: errTwoTenants}
	case owner != nil:
		return destination{tenant: owner}
	case slug == "":
		slug = v.defaultTenant
	}
	if slug == "" || len(slug) > maxSlug {
		return destination{err: directory.ErrNotFound}
	}
	t, err := v.directory.BySlug(ctx, slug)
	return destination{tenant: t, err: err}
}

// byHost returns the tenant that owns the host with or without its port, or nil
// when the host is nobody's.
func (v *resolver) byHost(ctx context.Context, host string) (*tenants.Document, error) {
	bare := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		bare = h
	}
	shared := v.serviceHosts[bare]
	for _, candidate := range []string{host, bare} {
		if candidate == bare && shared {
			break // a host of the service; a port of it may still be a tenant's
		}
		t, err := v.directory.ByHost(ctx, candidate)
		switch {
		case err == nil:
			return t, nil
		case errors.Is(err, directory.ErrNotFound):
		case shared: // nobody can be asked, and prefixes must go on working
		default:
			return nil, err
		}
		if candidate == bare {
			break
		}
	}
	return nil, nil
}

// cutPrefix takes /t/{slug} off a URL. The slug is "" where there is no prefix.
func cutPrefix(u *url.URL) (*url.URL, string) {
	rest, ok := strings.CutPrefix(u.Path, "/t/")
	if !ok {
		return u, ""
	}
	slug, rest, _ := strings.Cut(rest, "/")
	cut := *u
	cut.Path = "/" + rest
	if u.RawPath != "" {
		// A slug has nothing to escape: a URL that escapes its prefix has none.
		raw, ok := strings.CutPrefix(u.RawPath, "/t/"+slug)
		if !ok {
			return u, ""
		}
		cut.RawPath = raw
	}
	return &cut, slug
}
