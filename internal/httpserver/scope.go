package httpserver

import (
	"context"
	"net/http"

	"github.com/go-chi/chi/v5"
)

// scope is what the middlewares of this package note of a request, in one context:
// with one for each of them, and a copy of the request with each, they would cost
// more than many a handler.
type scope struct {
	context.Context
	secure bool
	id     string
	routes *chi.Context // nil but inside WithRoutes
}

type scopeKey struct{}

// Value implements context.Context.
func (s *scope) Value(key any) any {
	switch {
	case key == scopeKey{}:
		return s
	case key == chi.RouteCtxKey && s.routes != nil:
		return s.routes
	}
	return s.Context.Value(key)
}

// scoped returns r with a scope that is this middleware's to write to: the one that
// r's context is, when that was made by the middleware around it, else a new one
// that knows what those further out know.
func scoped(r *http.Request) (*http.Request, *scope) {
	if s, ok := r.Context().(*scope); ok {
		return r, s
	}
	s := &scope{Context: r.Context()}
	if outer := scopeOf(r.Context()); outer != nil {
		s.secure, s.id = outer.secure, outer.id
	}
	return r.WithContext(s), s
}

// scopeOf returns the innermost scope, or nil.
func scopeOf(ctx context.Context) *scope {
	s, _ := ctx.Value(scopeKey{}).(*scope)
	return s
}
