package rest

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// Scope is for whom a request is made.
type Scope struct {
	Tenant tenants.ID
	// Limits are the tenant's: of messages, bodies and batches.
	Limits tenants.Limits
	// Presence bounds who can be present in a group.
	Presence tenants.PresenceLimits
	// Backplane returns that of one of the tenant's hubs, by canonical name. Its
	// error is answered as it is.
	Backplane func(hub string) (hubs.Backplane, error)
	// Admit, when set, is asked before anything is sent or changed; messages is
	// what a send is metered as, 0 when it is no send. A *LimitError is answered
	// with 429.
	Admit func(ctx context.Context, hub string, messages int) error
	// AdmitGroups, when set, is asked before a message is sent to groups; it asks others,
	// which is Admit, and counts nothing for the groups when that refuses.
	AdmitGroups func(hub string, groups []string, others func() error) error
	// Allowances, when set, is what is left of the limits that sends, or other
	// requests, count against, for the headers of every answer. There is at least one.
	Allowances func(sends bool) []Allowance
	// Token makes a token with which a client connects to the hub; user "" =
	// nobody. Required for :generateToken.
	Token func(hub, user string, life time.Duration) (string, error)
	// Base is the tenant's base URL as the request has it, for links.
	Base string
	// Done, when set, is called once, when nothing is left to do but to answer.
	Done func()
	// Slow, when set, is called before a *LimitError is answered, behind Done; it may
	// take its time.
	Slow func(ctx context.Context)
	// Refused, when set, counts what is not carried out, by the code of the reason;
	// not what Backplane and Admit refuse, who count that themselves.
	Refused func(hub, code string)
}

// Config is what a Handler is made of.
type Config struct {
	// Scope authenticates a request. A *fault.Error is answered as it is, any
	// other error is logged and answered with 500. Required.
	Scope func(*http.Request) (Scope, error)
	// PositionKey seals positions: 32 bytes, the same on every edge. Required.
	PositionKey []byte
	// FormerPositionKeys have sealed positions before PositionKey, or will; they are
	// still good.
	FormerPositionKeys [][]byte
	// Logger gets failures; never tokens or payloads. Required.
	Logger *slog.Logger
}

// Handler serves everything below /api.
type Handler struct {
	scope     func(*http.Request) (Scope, error)
	positions []cipher.AEAD // the first one seals, all open
	nonces    sync.Pool     // of hash.Hash, keyed
	waits     waits
	log       *slog.Logger
	routes    *chi.Mux
}

// NewHandler returns a Handler. It expects paths without a tenant's prefix.
func NewHandler(cfg Config) (*Handler, error) {
	if cfg.Scope == nil || cfg.Logger == nil {
		return nil, errors.New("rest: Scope and Logger are required")
	}
	h := &Handler{
		scope: cfg.Scope, log: cfg.Logger,
		waits: waits{tenants: make(map[tenants.ID]int), hubs: make(map[waitKey]*hubWait)},
	}
	if err := h.usePositionKeys(cfg.PositionKey, cfg.FormerPositionKeys); err != nil {
		return nil, err
	}
	h.routes = h.router()
	return h, nil
}

// Routes lists the method and the pattern of every route, for whoever judges all of them.
func Routes() (all [][2]string) {
	// It fails for what the function returns alone.
	_ = chi.Walk(new(Handler).router(), func(method, pattern string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		all = append(all, [2]string{method, pattern})
		return nil
	})
	return all
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Names may hold encoded slashes: routes are found in the path as it was
	// sent, and a router around this one must not have decided on another.
	rctx := routeContexts.Get().(*chi.Context)
	rctx.Reset()
	rctx.Routes = h.routes
	rctx.RoutePath = r.URL.EscapedPath()
	h.routes.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), chi.RouteCtxKey, rctx)))
	routeContexts.Put(rctx) // not after a panic, whose answer may look at it
}

// routeContexts are used again, as chi's own are: nothing of a request is routed after
// it was served.
var routeContexts = sync.Pool{New: func() any { return chi.NewRouteContext() }}

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
	r.NotFound(h.noRoute)
	r.MethodNotAllowed(h.wrongMethod)
	for _, path := range []string{"/api/health", "/api/v1/health"} {
		r.Get(path, healthy)
		r.Head(path, healthy)
	}
	for _, path := range []string{"/api/auth/accessKey", "/api/v1/auth/accessKey"} {
		r.Get(path, h.accessKey)
	}
	r.Get("/api/openapi.yaml", serveSpec)
	h.legacyRoutes(r)
	h.currentRoutes(r)
	return r
}

// legacyRoutes are those of v1.
func (h *Handler) legacyRoutes(r chi.Router) {
	const hub = "/api/v1/hubs/{hub}"
	s := style{legacy: true}
	r.Post(hub, h.sending(s, h.sendToAll))
	r.Post(hub+"/users/{user}", h.sending(s, h.sendToUser))
	r.Post(hub+"/connections/{connection}", h.sending(s, h.sendToConnection))
	r.Post(hub+"/groups/{group}", h.sending(s, h.sendToGroup))
	h.commonRoutes(r, hub, s)
}

// currentRoutes are those of 2022-06-01 and later.
func (h *Handler) currentRoutes(r chi.Router) {
	const hub = "/api/hubs/{hub}"
	s := style{}
	r.Post(hub+"/:send", h.sending(s, h.sendToAll))
	r.Post(hub+"/users/{user}/:send", h.sending(s, h.sendToUser))
	r.Post(hub+"/connections/{connection}/:send", h.sending(s, h.sendToConnection))
	r.Post(hub+"/groups/{group}/:send", h.sending(s, h.sendToGroup))
	r.Post(hub+"/connections/{connection}/:invoke", h.operation(s, h.invokeConnection, true, mostInvokePatience+callPatience))
	r.Post(hub+"/connections/{connection}/streams/{stream}/:send", h.sending(s, h.sendToStream))
	r.Post(hub+"/connections/{connection}/streams/{stream}/:complete", h.with(s, h.completeStream))
	r.Post(hub+"/:execute", h.sending(s, h.execute))
	r.Post(hub+"/:generateToken", h.with(s, h.generateToken))
	r.Post(hub+"/:closeConnections", h.with(s, h.closeAll))
	r.Post(hub+"/users/{user}/:closeConnections", h.with(s, h.closeUser))
	r.Post(hub+"/groups/{group}/:closeConnections", h.with(s, h.closeGroup))
	r.Delete(hub+"/connections/{connection}/groups", h.with(s, h.leaveAllGroups))
	r.Get(hub+"/groups/{group}/connections", h.with(s, h.listing(hubs.ListConnections, mostAzurePage)))
	h.ownRoutes(r, hub, s)
	h.commonRoutes(r, hub, s)
}

// ownRoutes are our additions; openapi.yaml describes them.
func (h *Handler) ownRoutes(r chi.Router, hub string, s style) {
	r.Post(hub+"/:batch", h.operation(s, h.sendBatch, true, batchPatience))
	for path, kind := range map[string]hubs.ListKind{
		"/connections":              hubs.ListConnections,
		"/users":                    hubs.ListUsers,
		"/groups":                   hubs.ListGroups,
		"/users/{user}/connections": hubs.ListConnections,
		"/users/{user}/groups":      hubs.ListGroups,
		"/groups/{group}/users":     hubs.ListUsers,

		"/groups/{group}/presence/users": hubs.ListPresentUser,
	} {
		r.Get(hub+path, h.with(s, h.listing(kind, mostPageSize)))
		r.Get(hub+path+"/:count", h.with(s, h.counting(kind)))
	}
	r.Get(hub+"/messages", h.with(s, h.messages))
	r.Get(hub+"/presence/:count", h.with(s, h.countPresent))
	r.Get(hub+"/groups/{group}/presence", h.with(s, h.listing(hubs.ListPresent, mostPageSize)))
	r.Get(hub+"/groups/{group}/presence/:count", h.with(s, h.countPresent))
	for _, whose := range []string{"/connections/{connection}", "/users/{user}"} {
		r.Put(hub+"/groups/{group}/presence"+whose, h.with(s, h.setPresence))
		r.Delete(hub+"/groups/{group}/presence"+whose, h.with(s, h.clearPresence))
	}
	r.Get(hub+"/groups/{group}/connections/:count", h.with(s, h.counting(hubs.ListConnections)))
	r.Get(hub+"/connections/{connection}/groups", h.with(s, h.listing(hubs.ListGroups, mostPageSize)))
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
	for _, path := range []string{"/groups/{group}/connections/{connection}", "/connections/{connection}/groups/{group}"} {
		r.Put(hub+path, h.with(s, h.addConnection))
		r.Delete(hub+path, h.with(s, h.removeConnection))
	}
	for _, path := range []string{"/groups/{group}/users/{user}", "/users/{user}/groups/{group}"} {
		r.Put(hub+path, h.with(s, h.addUser))
		r.Delete(hub+path, h.with(s, h.removeUser))
	}
	r.Delete(hub+"/users/{user}/groups", h.with(s, h.removeUserFromAll))
}

// noRoute answers what is for no route.
func (h *Handler) noRoute(w http.ResponseWriter, r *http.Request) {
	h.told(w, r)
	h.fail(w, r, fault.New(fault.NotFound, "There is no such route. See the documentation of the REST API for its paths."))
}

// told puts what is left of a limit into an answer that no operation gives. Only
// who may use the tenant is told; others get the same answer without.
func (h *Handler) told(w http.ResponseWriter, r *http.Request) {
	h.scoped(r, func(scope Scope, err error) {
		if err == nil {
			(&call{Scope: scope, w: w, r: r}).limitHeaders()
		}
	})
}

// scoped has a request answered for its Scope, or for the error of who has none, and
// ends the Scope then. Nothing else asks for one.
func (h *Handler) scoped(r *http.Request, answer func(Scope, error)) {
	scope, err := h.scope(r)
	if end := scope.Done; end != nil {
		ended := false
		scope.Done = func() {
			if !ended {
				ended = true
				end()
			}
		}
		defer scope.Done()
	}
	answer(scope, err)
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

	group, user, connection, stream string

	w     http.ResponseWriter
	sends bool // it counts against the limit of messages
	known bool // the tenant may use the hub
}

// operation answers a call: with a status of success, or an error, or by itself
// (written).
type operation func(w http.ResponseWriter, c *call) (status int, err error)

// callPatience bounds one request's work behind the handler.
const callPatience = 5 * time.Second

// with makes a handler of an operation that sends no message.
func (h *Handler) with(s style, op operation) http.HandlerFunc {
	return h.operation(s, op, false, callPatience)
}

// sending makes a handler of an operation that sends messages.
func (h *Handler) sending(s style, op operation) http.HandlerFunc {
	return h.operation(s, op, true, callPatience)
}

func (h *Handler) operation(s style, op operation, sends bool, patience time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		r = r.WithContext(ctx)
		// The router takes an empty segment for a name.
		if slices.Contains(chi.RouteContext(ctx).URLParams.Values, "") {
			h.noRoute(w, r)
			return
		}
		h.scoped(r, func(scope Scope, err error) {
			h.carryOut(&call{Scope: scope, style: s, r: r, w: w, sends: sends}, op, err)
		})
	}
}

// carryOut checks a call's names and answers it, or err, for which it has no Scope.
func (h *Handler) carryOut(c *call, op operation, err error) {
	status := written
	if err == nil {
		c.limitHeaders()
		err = c.names()
	}
	if err == nil {
		status, err = op(c.w, c)
	}
	switch {
	case err != nil:
		c.refused(err)
		c.slow(err)
		h.fail(c.w, c.r, err)
	case status == written:
	case c.style.legacy || status == http.StatusNoContent || c.r.Method == http.MethodGet || c.r.Method == http.MethodHead:
		c.w.WriteHeader(status)
	default:
		_, _ = writeJSON(c.w, status, done(status)) // it always marshals
	}
}

// open gets the hub's backplane once all of the request has been checked: the
// first use of a hub makes it, and a bad request must not. Then it asks the
// tenant's limits.
func (c *call) open(messages int) (hubs.Backplane, error) {
	b, err := c.bus()
	if err != nil {
		return nil, err
	}
	return b, c.admit(messages)
}

// bus is open without asking the limits.
func (c *call) bus() (hubs.Backplane, error) {
	b, err := c.Backplane(c.hub)
	c.known = err == nil
	return b, err
}

// admitSend asks the tenant's limits, and those of the groups that entries are for, for
// what is metered as messages.
func (c *call) admitSend(messages int, entries ...*hubs.Entry) error {
	var groups []string
	for _, e := range entries {
		if e.Kind == hubs.SendToGroups {
			groups = append(groups, e.Groups...)
		}
	}
	if c.AdmitGroups == nil || len(groups) == 0 {
		return c.admit(messages)
	}
	return c.AdmitGroups(c.hub, groups, func() error { return c.admit(messages) })
}

// admit asks the tenant's limits.
func (c *call) admit(messages int) error {
	if c.Admit == nil {
		return nil
	}
	if err := c.Admit(c.r.Context(), c.hub, messages); err != nil {
		return err
	}
	c.limitHeaders()
	return nil
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
	h.told(w, r)
	h.fail(w, r, fault.New(methodNotAllowed, fmt.Sprintf("This route takes %s.", allowed)))
}
