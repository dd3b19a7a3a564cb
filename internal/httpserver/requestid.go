package httpserver

import (
	"context"
	"crypto/rand"
	"net/http"
)

// requestIDHeader carries the request's id in the answer.
const requestIDHeader = "X-Request-Id"

// WithRequestID gives every request a random id, in its context and in the
// answer's X-Request-Id. Ids that callers send are ignored: they would end up in
// logs and in the audit.
func WithRequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, s := scoped(r)
		s.id = "req_" + rand.Text()
		w.Header().Set(requestIDHeader, s.id)
		next.ServeHTTP(w, r)
	})
}

// RequestID returns the id that WithRequestID gave, or "".
func RequestID(ctx context.Context) string {
	if s := scopeOf(ctx); s != nil {
		return s.id
	}
	return ""
}
