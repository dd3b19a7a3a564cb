package httpserver

import (
	"context"
	"crypto/rand"
	"net/http"
)

// requestIDHeader carries the request's id in the answer.
const requestIDHeader = "X-Request-Id"

type requestIDKey struct{}

// WithRequestID gives every request a random id, in its context and in the
// answer's X-Request-Id. Ids that callers send are ignored: they would end up in
// logs and in the audit.
func WithRequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := "req_" + rand.Text()
		w.Header().Set(requestIDHeader, id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id)))
	})
}

// RequestID returns the id that WithRequestID gave, or "".
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}
