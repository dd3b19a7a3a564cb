package rest

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// maxBodyBytes bounds every request body (Azure: 1 MB).
const maxBodyBytes = 1 << 20

// Scope is for whom a request is made.
type Scope struct {
	Tenant tenants.ID
	// Limits are the tenant's; MaxMessageBytes bounds each message.
	Limits tenants.Limits
	// Backplane returns that of one of the tenant's hubs, by canonical name. Its
	// error is answered as it is.
	Backplane func(hub string) (hubs.Backplane, error)
	// Admit, when set, is asked before anything is sent or changed; messages is
	// what a send is metered as, 0 when it is no send. A *LimitError is answered
	// with 429.
	Admit func(ctx context.Context, hub string, messages int) error
}

// Config is what a Handler is made of.
type Config struct {
	// Scope authenticates a request. A *fault.Error is answered as it is, any
	// other error is logged and answered with 500. Required.
	Scope func(*http.Request) (Scope, error)
	// PositionKey seals positions: 32 bytes, the same on every edge. Required.
	PositionKey []byte
	// Logger gets failures; never tokens or payloads. Required.
	Logger *slog.Logger
}

// Handler serves everything below /api.
type Handler struct {
	scope     func(*http.Request) (Scope, error)
	positions cipher.AEAD
	nonces    []byte
	log       *slog.Logger
	routes    *chi.Mux
}

// NewHandler returns a Handler. It expects paths without a tenant's prefix.
func NewHandler(cfg Config) (*Handler, error) {
	if cfg.Scope == nil || cfg.Logger == nil {
		return nil, errors.New("rest: Scope and Logger are required")
	}
	h := &Handler{scope: cfg.Scope, log: cfg.Logger}
	if err := h.usePositionKey(cfg.PositionKey); err != nil {
		return nil, err
	}
	h.routes = h.router()
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Names may hold encoded slashes: routes are found in the path as it was
	// sent, and a router around this one must not have decided on another.
	rctx := chi.NewRouteContext()
	rctx.Routes = h.routes
	rctx.RoutePath = r.URL.EscapedPath()
	h.routes.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), chi.RouteCtxKey, rctx)))
}

// style is the difference between the two forms of the API: the codes of
// success, and whether what doesn't exist is told.
type style struct {
	legacy bool // v1
}

// pick returns the status of the style.
func (s style) pick(legacy, current int) int {
	if s.legacy {
		return legacy
	}
	return current
}

func (h *Handler) router() *chi.Mux {
	r := chi.NewRouter()
	r.NotFound(func(w http.ResponseWriter, r *http.Request) { h.fail(w, r, noRoute()) })
	r.MethodNotAllowed(h.wrongMethod)
	for _, path := range []string{"/api/health", "/api/v1/health"} {
		r.Get(path, healthy)
		r.Head(path, healthy)
	}
	h.legacyRoutes(r)
	h.currentRoutes(r)
	return r
}

// legacyRoutes are those of v1.
func (h *Handler) legacyRoutes(r chi.Router) {
	const hub = "/api/v1/hubs/{hub}"
	s := style{legacy: true}
	r.Post(hub, h.with(s, h.sendToAll))
	r.Post(hub+"/users/{user}", h.with(s, h.sendToUser))
	r.Post(hub+"/connections/{connection}", h.with(s, h.sendToConnection))
	r.Post(hub+"/groups/{group}", h.with(s, h.sendToGroup))
	h.commonRoutes(r, hub, s)
}

// currentRoutes are those of 2022-06-01 and later.
func (h *Handler) currentRoutes(r chi.Router) {
	const hub = "/api/hubs/{hub}"
	s := style{}
	r.Post(hub+"/:send", h.with(s, h.sendToAll))
	r.Post(hub+"/users/{user}/:send", h.with(s, h.sendToUser))
	r.Post(hub+"/connections/{connection}/:send", h.with(s, h.sendToConnection))
	r.Post(hub+"/groups/{group}/:send", h.with(s, h.sendToGroup))
	r.Post(hub+"/:closeConnections", h.with(s, h.closeAll))
	r.Post(hub+"/users/{user}/:closeConnections", h.with(s, h.closeUser))
	r.Post(hub+"/groups/{group}/:closeConnections", h.with(s, h.closeGroup))
	r.Delete(hub+"/connections/{connection}/groups", h.with(s, h.leaveAllGroups))
	h.commonRoutes(r, hub, s)
}

// commonRoutes are in both forms.
func (h *Handler) commonRoutes(r chi.Router, hub string, s style) {
	exists := func(path string, op operation) {
		r.Get(hub+path, h.with(s, op))
		r.Head(hub+path, h.with(s, op))
	}
	exists("/connections/{connection}", h.connectionExists)
	exists("/groups/{group}", h.groupExists)
	exists("/users/{user}", h.userExists)
	exists("/groups/{group}/users/{user}", h.userInGroup)
	exists("/users/{user}/groups/{group}", h.userInGroup)
	r.Delete(hub+"/connections/{connection}", h.with(s, h.closeConnection))
	r.Put(hub+"/groups/{group}/connections/{connection}", h.with(s, h.addConnection))
	r.Delete(hub+"/groups/{group}/connections/{connection}", h.with(s, h.removeConnection))
	for _, path := range []string{"/groups/{group}/users/{user}", "/users/{user}/groups/{group}"} {
		r.Put(hub+path, h.with(s, h.addUser))
		r.Delete(hub+path, h.with(s, h.removeUser))
	}
	r.Delete(hub+"/users/{user}/groups", h.with(s, h.removeUserFromAll))
}

func noRoute() error {
	return fault.New(fault.NotFound, "There is no such route. See the documentation of the REST API for its paths.")
}

// healthy needs no authentication: SDKs send none.
func healthy(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

// call is one authenticated request with valid names.
type call struct {
	Scope
	style   style
	r       *http.Request
	version string // api-version, "" when there is none
	hub     string

	group, user, connection string
}

// operation answers a call: with a status of success, or an error.
type operation func(w http.ResponseWriter, c *call) (status int, err error)

// callPatience bounds one request's work behind the handler.
const callPatience = 5 * time.Second

// with makes a handler of an operation.
func (h *Handler) with(s style, op operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), callPatience)
		defer cancel()
		r = r.WithContext(ctx)
		// The router takes an empty segment for a name.
		if slices.Contains(chi.RouteContext(ctx).URLParams.Values, "") {
			h.fail(w, r, noRoute())
			return
		}
		c, err := h.call(s, r)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		status, err := op(w, c)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		w.WriteHeader(status)
	}
}

// call authenticates r and checks its names.
func (h *Handler) call(s style, r *http.Request) (*call, error) {
	scope, err := h.scope(r)
	if err != nil {
		return nil, err
	}
	c := &call{Scope: scope, style: s, r: r}
	if err := c.names(); err != nil {
		return nil, err
	}
	return c, nil
}

// open gets the hub's backplane once all of the request has been checked: the
// first use of a hub makes it, and a bad request must not. Then it asks the
// tenant's limits.
func (c *call) open(messages int) (hubs.Backplane, error) {
	b, err := c.Backplane(c.hub)
	if err != nil {
		return nil, err
	}
	if c.Admit != nil {
		if err := c.Admit(c.r.Context(), c.hub, messages); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (h *Handler) wrongMethod(w http.ResponseWriter, r *http.Request) {
	allowed := ""
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
		if h.routes.Match(chi.NewRouteContext(), m, r.URL.EscapedPath()) {
			if allowed != "" {
				allowed += ", "
			}
			allowed += m
		}
	}
	w.Header().Set("Allow", allowed)
	h.fail(w, r, fault.New(methodNotAllowed, fmt.Sprintf("This route takes %s.", allowed)))
}
