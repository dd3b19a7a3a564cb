package adminapi

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// maxTagged bounds the answers that get an ETag, in bytes: what is larger is sent
// as it is made.
const maxTagged = 1 << 20

// etagOf is the strong tag of a representation. It is made of the bytes, so that it
// changes with everything that is shown and with nothing else: the revision of a
// tenant counts changes of its other hubs and keys, too.
func etagOf(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
}

// settingsTag is the tag of what is set of a thing that is shown with its use, which
// changes all the time. The tag of the whole has it in front: If-None-Match goes by the
// whole, If-Match by what is set.
func settingsTag(settings ...any) string {
	text, _ := json.Marshal(settings) // plain values: none of them fails
	return etagOf(text)
}

// settingsTags are of the operations that read such things.
var settingsTags = map[string]func(*server, context.Context, tenants.Caller, *routed) (string, error){
	"getBudget": func(s *server, ctx context.Context, c tenants.Caller, of *routed) (string, error) {
		sub, _, err := s.tenants.Subscription(ctx, c, of.place().Account)
		return settingsTag(sub.Budget), err
	},
	"getPlan": func(s *server, ctx context.Context, c tenants.Caller, of *routed) (string, error) {
		sub, _, err := s.tenants.Subscription(ctx, c, of.place().Account)
		return planTag(sub), err
	},
	"getLimit": func(s *server, ctx context.Context, c tenants.Caller, of *routed) (string, error) {
		_, limits, _, err := s.tenants.Limits(ctx, c, of.place().Tenant)
		if err != nil {
			return "", err
		}
		return tagAmong(limits, of.params["limit"])
	},
	"getOperatorLimit": func(s *server, ctx context.Context, _ tenants.Caller, of *routed) (string, error) {
		_, limits, err := s.tenants.AnyTenant(ctx, of.place().Tenant)
		if err != nil {
			return "", err
		}
		return tagAmong(limits, of.params["limit"])
	},
}

// ofUse is the part of a tag behind that of the settings.
var ofUse = regexp.MustCompile(`\.[\w-]+"`)

// entityTag is one in a list.
var entityTag = regexp.MustCompile(`(?:W/)?"[^"]*"`)

// matches tells whether a field with tags has tag, or is *. Weak tags match where
// weak is set (RFC 9110, section 8.8.3.2).
func matches(field, tag string, weak bool) bool {
	if strings.TrimSpace(field) == "*" {
		return true
	}
	for _, t := range entityTag.FindAllString(field, -1) {
		if weak {
			t = strings.TrimPrefix(t, "W/")
		}
		if t == tag {
			return true
		}
	}
	return false
}

// tagged gives answers their ETag: those of operations that read, and of those that
// answer the same after a change. Who has the present representation gets 304.
func (s *server) tagged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		found := routedOf(r)
		if found.method != http.MethodGet && !found.shows {
			next.ServeHTTP(w, r)
			return
		}
		rec := &recorder{to: w, most: maxTagged}
		next.ServeHTTP(rec, r)
		tag(rec)
		if found.method == http.MethodGet && rec.status == http.StatusOK {
			field := strings.Join(r.Header.Values(ifNoneMatchHeader), ",")
			if present := rec.Header().Get(etagHeader); field != "" && present != "" && matches(field, present, true) {
				rec.status = http.StatusNotModified
				rec.body.Reset()
				rec.Header().Del("Content-Type")
			}
		}
		rec.send()
	})
}

// tag gives a recorded answer its ETag, behind that of the settings if it has one.
func tag(rec *recorder) {
	if rec.passing || rec.status != http.StatusOK && rec.status != http.StatusCreated || rec.Header().Get("Content-Type") != "application/json" {
		return
	}
	whole := etagOf(rec.body.Bytes())
	if settings := rec.Header().Get(etagHeader); settings != "" {
		whole = strings.TrimSuffix(settings, `"`) + "." + whole[1:]
	}
	rec.Header().Set(etagHeader, whole)
}

// conditional carries out changes that are to happen only if what they change is
// still what the caller has seen. That is looked at twice: before anything is done,
// and again in the transaction that makes the change, with the tenant or the account
// locked, so that nobody changes it between the look and the change.
func (s *server) conditional(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		found := routedOf(r)
		field := r.Header.Get(ifMatchHeader)
		if field == "" || !found.takesIfMatch() {
			next.ServeHTTP(w, r)
			return
		}
		seen := s.look(r.Context(), r)
		if seen.status != http.StatusOK {
			seen.to = w
			seen.send()
			return
		}
		if settingsTags[found.read.id] != nil {
			field = ofUse.ReplaceAllString(field, `"`)
		}
		present := seen.Header().Get(etagHeader)
		unchanged := func() error {
			if matches(field, present, false) {
				return nil
			}
			w.Header().Set(etagHeader, present)
			return fault.New(fault.Changed, "It was changed since the ETag in If-Match was made. The present one is in the ETag of this answer.")
		}
		if err := unchanged(); err != nil {
			s.problem(w, r, err)
			return
		}
		ctx, looked := tenants.Guarded(r.Context(), func(ctx context.Context) error {
			if err := s.tenants.Lock(ctx, callerOf(r), found.place()); err != nil {
				return err
			}
			seen := s.look(ctx, r)
			if seen.status != http.StatusOK {
				return fault.New(fault.Changed, "It is gone, or not to be seen any more.")
			}
			present = seen.Header().Get(etagHeader)
			return unchanged()
		})
		rec := &recorder{to: w}
		next.ServeHTTP(rec, r.WithContext(ctx))
		if rec.status < http.StatusMultipleChoices && !looked() {
			s.logger.ErrorContext(ctx, "a change was not made in a transaction that looks at its condition", "operation", found.id)
		}
		rec.send()
	})
}

// look answers the request to read what r changes, as its caller sees it, or just the
// tag of its settings. Scopes of tokens are about what leaves the process, so they don't
// count here.
func (s *server) look(ctx context.Context, r *http.Request) *recorder {
	change, rec := routedOf(r), new(recorder)
	if settings := settingsTags[change.read.id]; settings != nil {
		present, err := settings(s, ctx, callerOf(r), change)
		if err != nil {
			s.problem(rec, r, err)
			return rec
		}
		rec.Header().Set(etagHeader, present)
		rec.WriteHeader(http.StatusOK)
		return rec
	}
	read := &routed{operation: change.read, params: change.params}
	ctx = context.WithValue(ctx, routedKey{}, read)
	ctx = context.WithValue(ctx, chi.RouteCtxKey, (*chi.Context)(nil))
	get := r.Clone(ctx)
	get.Method, get.Body, get.ContentLength = http.MethodGet, http.NoBody, 0
	get.URL.RawQuery = ""
	get.Header = make(http.Header)
	s.handlers.ServeHTTP(rec, get)
	return rec
}
