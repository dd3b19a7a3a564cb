package adminapi

import (
	"cmp"
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/go-chi/chi/v5"

	"github.com/signalbox/signalbox/adminapi/operatorapi"
	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/internal/httpserver"
	"github.com/signalbox/signalbox/internal/scope"
	"github.com/signalbox/signalbox/tenants"
)

// operatorSessionLife is how long an operator's session lasts at most; without
// requests it ends before that (tenantstore.OperatorSessions).
const operatorSessionLife = 8 * time.Hour

// Edges reaches the edges of the fleet.
type Edges interface {
	// Edges lists those that live.
	Edges(ctx context.Context) ([]FleetEdge, error)
	// Hold empties an edge, which serves again by itself after life; life 0 lets it serve
	// at once.
	Hold(ctx context.Context, e FleetEdge, life time.Duration) error
}

// FleetEdge is an edge that lives.
type FleetEdge struct {
	Run, Address string           // of the internal listener
	State        *fleet.EdgeState // nil = it doesn't answer
}

// OperatorsConfig is what the operators' API needs.
type OperatorsConfig struct {
	Tenants      *tenants.Service
	Billing      *billing.Service
	Sessions     scs.Store
	Edges        Edges
	LimitFigures func(context.Context, tenants.ID) (map[string]LimitFigures, error)
	// Console is the built console of operators; nil when there is none.
	Console fs.FS
	// Dev lets cookies travel without TLS.
	Dev    bool
	Logger *slog.Logger
	Now    func() time.Time // nil = time.Now
}

// operators serves the operators' API, with the same code around operations as that of
// customers.
type operators struct {
	*server
	edges Edges
}

var _ operatorapi.ServerInterface = (*operators)(nil)

// NewOperators returns the handler of the operators' listener: their API under
// /operator/, and their console everywhere else. It belongs on no listener that
// strangers reach.
func NewOperators(c OperatorsConfig) (http.Handler, error) {
	spec, err := OperatorSpec()
	if err != nil {
		return nil, err
	}
	s := &operators{edges: c.Edges, server: &server{
		tenants: c.Tenants, billing: c.Billing, dev: c.Dev, logger: c.Logger, now: c.Now, sessions: newSessions(c.Sessions, c.Dev), limitFigures: c.LimitFigures,
	}}
	if s.now == nil {
		s.now = time.Now
	}
	s.sessions.Lifetime = operatorSessionLife
	s.sessions.Cookie.Name = cmp.Or(map[bool]string{true: "signalbox-operator"}[c.Dev], "__Host-signalbox-operator")
	s.sessions.Cookie.SameSite = http.SameSiteStrictMode
	s.sessions.ErrorFunc = s.problem
	s.limit = newLimiter(defaultRequestsPerMinute, s.now)
	if err := s.serves(spec, tenants.OperatorOperations); err != nil {
		return nil, err
	}
	pages, err := s.console(c.Console, operatorContentSecurityPolicy)
	if err != nil {
		return nil, err
	}
	s.handlers = operatorapi.HandlerWithOptions(s, operatorapi.ChiServerOptions{
		BaseRouter: chi.NewRouter(), Middlewares: []operatorapi.MiddlewareFunc{s.tagged, s.once, s.conditional},
		ErrorHandlerFunc: func(w http.ResponseWriter, r *http.Request, err error) {
			s.problem(w, r, parameterFault(routedOf(r), err))
		},
	})
	api := s.checkedHandler(s.identifyOperator)
	whole := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/operator/") {
			api.ServeHTTP(w, r)
			return
		}
		pages.ServeHTTP(w, r)
	})
	return chi.Chain(
		httpserver.KeepRequestID, httpserver.Recover(c.Logger), httpserver.SecurityHeaders(operatorContentSecurityPolicy, !c.Dev),
	).Handler(whole), nil
}

// operatorContentSecurityPolicy is contentSecurityPolicy without the data plane.
const operatorContentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// identifyOperator finds out which operator asks, by token or else by session. That
// the operator still is one is looked up each time.
func (s *operators) identifyOperator(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var caller tenants.Caller
		var err error
		if header := r.Header.Get("Authorization"); header != "" {
			scheme, token, _ := strings.Cut(header, " ")
			if !strings.EqualFold(scheme, "Bearer") {
				s.problem(w, r, fault.New(fault.Unauthenticated, "The Authorization header must hold a Bearer token.").WithCode("invalid_token"))
				return
			}
			caller, err = s.tenants.AuthenticateOperator(r.Context(), tenants.Secret(strings.TrimSpace(token)))
		} else if id := s.sessions.GetString(r.Context(), tenants.SessionOperator); id != "" {
			var o tenants.Operator
			if o, err = s.tenants.SignedInOperator(r.Context(), id); err == nil {
				caller.Operator, caller.Session = &o, id
			} else if fault.KindOf(err) == fault.Unauthenticated {
				err = nil // as nobody: who was removed can still sign out
			}
		}
		if err != nil {
			s.problem(w, r, err)
			return
		}
		caller.AtOperators = true
		caller.RequestID, caller.IP, caller.UserAgent = httpserver.RequestID(r.Context()), remoteIP(r), userAgent(r)
		next.ServeHTTP(w, r.WithContext(context.WithValue(scope.System(r.Context(), scope.Operator), identityKey{}, caller)))
	})
}

// GetOperatorOpenapi implements operatorapi.ServerInterface.
func (s *operators) GetOperatorOpenapi(w http.ResponseWriter, r *http.Request) {
	s.answer(w, r, http.StatusOK, s.spec, nil)
}

// SetUpOperator implements operatorapi.ServerInterface.
func (s *operators) SetUpOperator(w http.ResponseWriter, r *http.Request) {
	in, err := body[operatorapi.OperatorSetup](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	made, err := s.tenants.SetUpOperator(r.Context(), callerOf(r), tenants.Secret(in.Token), tenants.Secret(in.Password))
	s.answer(w, r, http.StatusOK, operatorapi.OperatorSetupResult{Secret: made.Secret.Reveal(), URI: made.URI.Reveal()}, err)
}

// ConfirmOperator implements operatorapi.ServerInterface.
func (s *operators) ConfirmOperator(w http.ResponseWriter, r *http.Request) {
	in, err := body[operatorapi.OperatorConfirmation](r)
	if err == nil {
		err = s.tenants.ConfirmOperator(r.Context(), callerOf(r), tenants.Secret(in.Token), tenants.Secret(in.Code))
	}
	s.done(w, r, err)
}

// SignInOperator implements operatorapi.ServerInterface. The session gets a fresh
// token, so that one planted before means nothing.
func (s *operators) SignInOperator(w http.ResponseWriter, r *http.Request) {
	in, err := body[operatorapi.OperatorSignIn](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	o, err := s.tenants.SignInOperator(r.Context(), callerOf(r), in.Email, tenants.Secret(in.Password), tenants.Secret(in.Code))
	if err != nil {
		s.problem(w, r, err)
		return
	}
	if err = s.sessions.Clear(r.Context()); err == nil {
		err = s.sessions.RenewToken(r.Context())
	}
	if err != nil {
		s.problem(w, r, fault.Wrap(fault.Unavailable, "Signing in is not possible right now.", err))
		return
	}
	s.sessions.Put(r.Context(), tenants.SessionOperator, o.ID)
	s.answer(w, r, http.StatusOK, operatorSession(o), nil)
}

// GetOperatorSession implements operatorapi.ServerInterface.
func (s *operators) GetOperatorSession(w http.ResponseWriter, r *http.Request) {
	s.answer(w, r, http.StatusOK, operatorSession(*callerOf(r).Operator), nil)
}

func operatorSession(o tenants.Operator) operatorapi.OperatorSession {
	return operatorapi.OperatorSession{ID: o.ID, Name: o.Name, Email: o.Email}
}

// SignOutOperator implements operatorapi.ServerInterface.
func (s *operators) SignOutOperator(w http.ResponseWriter, r *http.Request) {
	s.done(w, r, signOut(r.Context(), s.sessions, s.tenants.OperatorSignedOut(r.Context(), callerOf(r))))
}

// ListOperatorTokens implements operatorapi.ServerInterface.
func (s *operators) ListOperatorTokens(w http.ResponseWriter, r *http.Request, params operatorapi.ListOperatorTokensParams) {
	all, err := s.tenants.OperatorTokens(r.Context(), callerOf(r))
	page, next, err := paged(err, newestOperatorTokens, all, params.Cursor, params.Limit)
	answer := operatorapi.OperatorTokenList{Tokens: make([]operatorapi.OperatorToken, 0, len(page)), NextCursor: next}
	for _, t := range page {
		answer.Tokens = append(answer.Tokens, operatorToken(t))
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

var newestOperatorTokens = order[tenants.OperatorToken]{
	list: "operator_tokens", down: true, place: func(t tenants.OperatorToken) []string { return []string{moment(t.Created), t.ID} },
}

// CreateOperatorToken implements operatorapi.ServerInterface.
func (s *operators) CreateOperatorToken(w http.ResponseWriter, r *http.Request) {
	in, err := body[operatorapi.OperatorTokenRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	scopes := make([]tenants.Scope, len(in.Scopes))
	for i, scope := range in.Scopes {
		scopes[i] = tenants.Scope(scope)
	}
	t, secret, err := s.tenants.CreateOperatorToken(r.Context(), callerOf(r), in.Name, scopes, in.ExpiresInDays)
	s.answer(w, r, http.StatusCreated, operatorapi.OperatorTokenCreated{Token: operatorToken(t), Secret: secret.Reveal()}, err)
}

// DeleteOperatorToken implements operatorapi.ServerInterface.
func (s *operators) DeleteOperatorToken(w http.ResponseWriter, r *http.Request, id string) {
	s.done(w, r, s.tenants.DeleteOperatorToken(r.Context(), callerOf(r), id))
}

func operatorToken(t tenants.OperatorToken) operatorapi.OperatorToken {
	shown := operatorapi.OperatorToken{
		ID: t.ID, Name: t.Name, Hint: t.Hint, Scopes: make([]operatorapi.OperatorScope, len(t.Scopes)), CreatedAt: t.Created.UTC(), ExpiresAt: t.Expires.UTC(), LastUsedAt: optional(t.LastUsed),
	}
	for i, scope := range t.Scopes {
		shown.Scopes[i] = operatorapi.OperatorScope(scope)
	}
	return shown
}
