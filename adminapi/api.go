package adminapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/go-chi/chi/v5"

	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/httpserver"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// maxBody bounds request bodies, in bytes; deadline what one request may take.
const (
	maxBody  = 64 << 10
	deadline = 20 * time.Second
)

// Config is what the API needs.
type Config struct {
	Tenants  *tenants.Service
	Billing  *billing.Service
	Sessions scs.Store
	// Keys finds the keys of tenants' issuers, for judging tokens.
	Keys accesstoken.PublicKeys
	// OpenID is the provider with which people sign in; nil = none.
	OpenID OpenID
	// OpenIDName names the provider for people.
	OpenIDName string
	// StreamBytes is what the messages that a tenant's hubs keep take. Nil: nobody
	// knows.
	StreamBytes func(context.Context, tenants.ID) (int64, error)
	// LimitFigures is what edges have counted of a tenant's limits today, by the names
	// of the limits. Nil: nobody knows.
	LimitFigures func(context.Context, tenants.ID) (map[string]LimitFigures, error)
	// Console is the built console; nil when there is none.
	Console fs.FS
	// RequestsPerMinute bounds the requests of one caller; 0 = 1,200.
	RequestsPerMinute int
	// Dev serves the mailbox and lets cookies travel without TLS.
	Dev    bool
	Logger *slog.Logger
	Now    func() time.Time // nil = time.Now
}

// server has the handlers of the document's operations.
type server struct {
	tenants    *tenants.Service
	billing    *billing.Service
	statements billing.Statements
	sessions   *scs.SessionManager
	keys       accesstoken.PublicKeys
	openID     OpenID // nil = none
	idName     string
	spec       json.RawMessage
	router     routers.Router
	// operations are those of the document, by what the router finds.
	operations map[*openapi3.Operation]*operation
	// handlers serves the operations, without what is checked before.
	handlers    http.Handler
	limit       *limiter
	streamBytes func(context.Context, tenants.ID) (int64, error)
	// limitFigures is nil where nobody knows.
	limitFigures func(context.Context, tenants.ID) (map[string]LimitFigures, error)
	dev          bool
	logger       *slog.Logger
	now          func() time.Time
}

var _ ServerInterface = (*server)(nil)

// New returns the handler of the whole public listener: the API under /v1, its
// document, and the console everywhere else.
func New(c Config) (http.Handler, error) {
	spec, err := Spec()
	if err != nil {
		return nil, err
	}
	s := &server{
		tenants: c.Tenants, billing: c.Billing, statements: c.Billing, dev: c.Dev, logger: c.Logger, now: c.Now,
		sessions: newSessions(c.Sessions, c.Dev), keys: c.Keys, openID: c.OpenID, idName: c.OpenIDName, streamBytes: c.StreamBytes,
		limitFigures: c.LimitFigures,
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.limit = newLimiter(cmp.Or(c.RequestsPerMinute, defaultRequestsPerMinute), s.now)
	if err := s.serves(spec, tenants.Operations); err != nil {
		return nil, err
	}
	reference, err := newReference(spec)
	if err != nil {
		return nil, err
	}
	s.sessions.ErrorFunc = s.problem
	policy := contentSecurityPolicy(c.Tenants.Endpoints(), c.Dev)
	pages, err := s.console(c.Console, policy)
	if err != nil {
		return nil, err
	}

	s.handlers = HandlerWithOptions(s, ChiServerOptions{BaseRouter: chi.NewRouter(), Middlewares: []MiddlewareFunc{s.tagged, s.once, s.conditional}, ErrorHandlerFunc: func(w http.ResponseWriter, r *http.Request, err error) {
		s.problem(w, r, parameterFault(routedOf(r), err))
	}})
	api := s.checkedHandler(s.identify)
	whole := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case path == "/v1" || strings.HasPrefix(path, "/v1/") || path == "/openapi.json":
			api.ServeHTTP(w, r)
		case path == referencePath && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			reference.ServeHTTP(w, r)
		default:
			pages.ServeHTTP(w, r)
		}
	})
	return chi.Chain(
		httpserver.KeepRequestID, httpserver.Recover(c.Logger), httpserver.SecurityHeaders(policy, !c.Dev),
	).Handler(whole), nil
}

// serves makes what finds and checks the operations of a document.
func (s *server) serves(spec *openapi3.T, table map[string]tenants.Operation) error {
	var err error
	if s.spec, err = json.Marshal(spec); err != nil {
		return fmt.Errorf("write OpenAPI document as JSON: %w", err)
	}
	if s.operations, err = operationTable(spec, table); err != nil {
		return err
	}
	if s.router, err = gorillamux.NewRouter(checked(spec)); err != nil {
		return fmt.Errorf("make router of OpenAPI document: %w", err)
	}
	return nil
}

// checkedHandler is s.handlers behind all that is looked at before an operation is
// carried out.
func (s *server) checkedHandler(identify func(http.Handler) http.Handler) http.Handler {
	return chi.Chain(
		noStore, s.sameOrigin(), httpserver.Deadline(deadline), httpserver.LimitBody(maxBody), s.find, s.limitAddress,
		s.sessions.LoadAndSave, identify, s.limitCaller, s.admit, s.negotiate, s.strict, s.validate,
	).Handler(s.handlers)
}

// problem answers with an error.
func (s *server) problem(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.DeadlineExceeded) && fault.KindOf(err) == fault.Internal {
		err = fault.Wrap(fault.Unavailable, "This took too long. Please try again.", err)
	}
	httpserver.Problem(w, r, s.logger, err)
}

// answer answers with a value, or with the error when there is one.
func (s *server) answer(w http.ResponseWriter, r *http.Request, status int, v any, err error) {
	if err != nil {
		s.problem(w, r, err)
		return
	}
	encoded, err := json.Marshal(v)
	if err != nil { // seen before anything is sent
		s.problem(w, r, fmt.Errorf("encode answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(encoded, '\n')) // the caller may have gone; there is nobody to tell
}

// done answers 204, or with the error when there is one.
func (s *server) done(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		s.problem(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// body reads the request's JSON, which was checked against the document.
func body[T any](r *http.Request) (T, error) {
	var v T
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		// The document's whole numbers include 1.5e1, Go's don't.
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return v, fault.InvalidFields(fault.Field{Name: wrong.Field, Message: "has the wrong type", Accepted: "a whole number, in digits alone"})
		}
		return v, fault.Wrap(fault.Invalid, "The body is not the JSON that was expected.", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return v, fault.New(fault.Invalid, "The body has something after the JSON value.")
	}
	return v, nil
}

// noStore keeps answers, which may hold secrets, out of caches.
func noStore(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// sameOrigin refuses what a browser sends from another site.
func (s *server) sameOrigin() func(http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.problem(w, r, fault.New(fault.Forbidden, "The request came from a page of another site.").WithCode("cross_origin"))
	}))
	return protection.Handler
}

// value returns what p points to, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// filled returns nil for the zero value.
func filled[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// optional returns nil for the zero time.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
