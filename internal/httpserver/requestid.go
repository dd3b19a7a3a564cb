package httpserver

import (
	"context"
	"crypto/rand"
	"net/http"
	"regexp"
)

// requestIDHeader carries the request's id in the answer.
const requestIDHeader = "X-Request-Id"

// WithRequestID gives every request a random id, in its context and in the
// answer's X-Request-Id. Ids that callers send are ignored.
func WithRequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, s := scoped(r)
		s.id = "req_" + rand.Text()
		w.Header().Set(requestIDHeader, s.id)
		next.ServeHTTP(w, r)
	})
}

// requestID is what a caller may call a request, so that it can be found in the
// logs of both sides and hide nothing in them.
var requestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// KeepRequestID is WithRequestID where callers have a say: an id that they send
// is the request's, if it has the form.
func KeepRequestID(next http.Handler) http.Handler {
	fresh := WithRequestID(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ids := r.Header.Values(requestIDHeader)
		if len(ids) != 1 || !requestID.MatchString(ids[0]) {
			fresh.ServeHTTP(w, r)
			return
		}
		r, s := scoped(r)
		s.id = ids[0]
		w.Header().Set(requestIDHeader, s.id)
		next.ServeHTTP(w, r)
	})
}

// RequestID returns the id of the request that ctx is of, or "".
func RequestID(ctx context.Context) string {
	if s := scopeOf(ctx); s != nil {
		return s.id
	}
	return ""
}
