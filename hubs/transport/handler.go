package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

// The texts of HttpConnectionDispatcher that clients may look for.
const (
	textIDRequired      = "Connection ID required"
	textUnknownID       = "No Connection with that ID"
	textChangeTransport = "Cannot change transports mid-connection"
	textPostWebSocket   = "POST requests are not allowed for WebSocket connections."
	textDelete          = "Cannot terminate this connection using the DELETE endpoint."
	textOtherUser       = "This connection belongs to another user."
	textForgeries       = "Too many unknown connection IDs come from this address: at most %d a minute are answered."
)

// Handler is the HTTP side of any number of hubs: whatever path it is mounted
// on, a POST to .../negotiate negotiates and everything else is a transport.
type Handler struct {
	opt    Options
	tokens *tokens

	live    sync.Map       // localKey(scope, id) → *connection
	serving sync.WaitGroup // connections that outlive their requests

	strangers strangers
	interned  interned
}

// NewHandler returns a Handler, or an error that says which option is wrong.
func NewHandler(o Options) (*Handler, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	t, err := newTokens(o.TokenKey, o.FormerTokenKeys...)
	if err != nil {
		return nil, err
	}
	return &Handler{opt: o, tokens: t}, nil
}

// Mount serves one hub at path on mux, for a program that is its own only node:
// no authentication, every origin and transport. Use NewHandler for more.
func Mount(mux *http.ServeMux, path string, s *hubs.Server) error {
	ep := &Endpoint{Server: s, Scope: s.Name(), StatefulReconnect: true}
	h, err := NewHandler(Options{Resolve: func(*http.Request) (*Endpoint, error) { return ep, nil }})
	if err != nil {
		return err
	}
	path = strings.TrimSuffix(path, "/")
	mux.Handle(path, h)
	mux.Handle(path+"/", h)
	return nil
}

// Wait returns when every connection that outlives its requests (WebSockets and
// long polling) has ended. Close or Drain the Servers first.
func (h *Handler) Wait() { h.serving.Wait() }

// connection is a connection that this node serves.
type connection struct {
	kind hubs.TransportKind
	in   *pipe         // what POSTs bring; nil for WebSockets
	poll *pollingState // nil but for long polling
	ws   *sockets      // nil but for WebSockets with stateful reconnect
	// begun is set when this node has become the connection's owner; decided is
	// closed when that is known, either way. Until then nothing may be taken in
	// for it: what another node owns has no use for it here.
	begun   atomic.Bool
	decided chan struct{}
}

// served waits until it is known whose the connection is and reports whether it
// is this node's. Relayed requests don't wait: their sender took this node for
// the owner.
func (c *connection) served(q *request) bool {
	if !q.relayed {
		select {
		case <-c.decided:
		case <-q.r.Context().Done():
		}
	}
	return c.begun.Load()
}

// ServeHTTP answers a client.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !crossOrigin(w, r) {
		return
	}
	h.serve(w, r, false)
}

// ServeRelayed answers a request that another node has passed on with
// Ownership.Relay. It never passes it on again and leaves CORS to that node.
// The listener must be open to the nodes alone.
func (h *Handler) ServeRelayed(w http.ResponseWriter, r *http.Request) { h.serve(w, r, true) }

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, relayed bool) {
	w.Header().Set("Cache-Control", "no-cache, no-store")
	negotiate := strings.HasSuffix(r.URL.Path, "/negotiate")
	methods := []string{http.MethodGet, http.MethodPost, http.MethodDelete}
	if negotiate {
		methods = []string{http.MethodPost}
	}
	if !slices.Contains(methods, r.Method) {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		writeText(w, http.StatusMethodNotAllowed, "")
		return
	}
	ep, err := h.opt.Resolve(r)
	if err != nil {
		h.writeError(w, err)
		return
	}
	q := request{w: w, r: r, ep: ep, relayed: relayed, query: ep.Query}
	if q.query == nil {
		q.query = r.URL.Query()
	}
	if !h.checkOrigin(&q) {
		return
	}
	if ep.Complete != nil {
		if err := ep.Complete(ep); err != nil {
			h.writeError(w, err)
			return
		}
	}
	if negotiate {
		h.negotiate(&q)
		return
	}
	h.transport(&q)
}

// request is one request on its way to a connection.
type request struct {
	w       http.ResponseWriter
	r       *http.Request
	ep      *Endpoint
	query   url.Values
	relayed bool

	token connectionToken
	id    string // the public connection id in token
}

// param returns a query value; keys are compared without regard to case.
func (q *request) param(name string) string {
	if v := q.query.Get(name); v != "" {
		return v
	}
	for k, v := range q.query {
		if strings.EqualFold(k, name) && len(v) > 0 {
			return v[0]
		}
	}
	return ""
}

// transport answers everything but negotiation.
func (h *Handler) transport(q *request) {
	text := q.param("id")
	kind := kindOf(q.r)
	if text == "" {
		if kind == hubs.WebSockets && q.r.Method == http.MethodGet && !q.ep.RequireNegotiation {
			h.unnegotiated(q)
			return
		}
		writeText(q.w, http.StatusBadRequest, textIDRequired)
		return
	}
	var err error
	if q.token, err = h.tokens.open(text, q.ep.Scope); err != nil {
		if h.strangers.tooMany(q.r, h.opt.ForgedTokensPerMinute) {
			h.opt.Refused(q.r, RefusedGuesses)
			q.w.Header().Set("Retry-After", "60")
			writeText(q.w, http.StatusTooManyRequests, fmt.Sprintf(textForgeries, h.opt.ForgedTokensPerMinute))
			return
		}
		writeText(q.w, http.StatusNotFound, textUnknownID)
		return
	}
	if !q.token.isFor(q.ep.Principal.UserID) {
		h.opt.Refused(q.r, RefusedOtherUser)
		writeText(q.w, http.StatusForbidden, textOtherUser)
		return
	}
	q.id = q.token.connectionID()
	if q.ep.Lapsed != nil && !h.continued(q) {
		return
	}
	switch q.r.Method {
	case http.MethodPost:
		h.withOwned(q, h.post)
	case http.MethodDelete:
		h.withOwned(q, h.delete)
	default:
		h.get(q, kind)
	}
}

// continued reports whether a request with a lapsed token goes on here; otherwise
// it has been answered, by the node that serves its connection if need be.
func (h *Handler) continued(q *request) bool {
	_, here := h.find(q)
	if !here && !q.relayed {
		if owner, err := h.opt.Ownership.Owner(q.r.Context(), q.ep.Scope, q.id); err != nil || owner != "" {
			h.relay(q, owner, err)
			return false
		}
	}
	if err := q.ep.Lapsed(q.id); err != nil {
		h.writeError(q.w, err)
		return false
	}
	if !here { // it has just ended
		writeText(q.w, http.StatusNotFound, textUnknownID)
	}
	return here
}

// kindOf tells which transport a GET asks for.
func kindOf(r *http.Request) hubs.TransportKind {
	switch {
	case headerHas(r.Header, "Accept", "text/event-stream"):
		return hubs.ServerSentEvents
	case headerHas(r.Header, "Upgrade", "websocket"):
		return hubs.WebSockets
	}
	return hubs.LongPolling
}

// find returns the connection when this node serves it.
func (h *Handler) find(q *request) (*connection, bool) {
	v, ok := h.live.Load(localKey(q.ep.Scope, q.id))
	if !ok {
		return nil, false
	}
	c := v.(*connection)
	return c, c.served(q)
}

// withOwned calls f for a connection of this node and passes the request on to
// another node's.
func (h *Handler) withOwned(q *request, f func(*request, *connection)) {
	if c, ok := h.find(q); ok {
		f(q, c)
		return
	}
	if q.relayed {
		writeText(q.w, http.StatusNotFound, textUnknownID)
		return
	}
	owner, err := h.opt.Ownership.Owner(q.r.Context(), q.ep.Scope, q.id)
	h.relay(q, owner, err)
}

// relay passes the request on, or answers that there is nobody to pass it on to.
func (h *Handler) relay(q *request, owner string, err error) {
	if err == nil {
		err = ErrOwnerGone
		if owner != "" && !q.relayed {
			err = h.opt.Ownership.Relay(q.w, q.r, owner)
		}
	}
	switch {
	case err == nil:
	case errors.Is(err, ErrSpent), errors.Is(err, ErrOwnerGone):
		writeText(q.w, http.StatusNotFound, textUnknownID)
	default:
		h.opt.Logger.Warn("owner of a connection can't be reached", "connection", q.id, "error", err)
		writeText(q.w, http.StatusServiceUnavailable, "")
	}
}

// get starts a transport, or goes on with one.
func (h *Handler) get(q *request, kind hubs.TransportKind) {
	if !q.ep.allows(kind) {
		writeText(q.w, http.StatusNotFound, string(kind)+" transport not supported by this end point type")
		return
	}
	c := newConnection(kind)
	if kind == hubs.WebSockets && q.token.resumable {
		c.ws = new(sockets)
	}
	other, taken := h.live.LoadOrStore(localKey(q.ep.Scope, q.id), c)
	if taken {
		switch c := other.(*connection); {
		case c.served(q):
			h.again(q, kind, c)
		case q.relayed:
			writeText(q.w, http.StatusNotFound, textUnknownID)
		default:
			owner, err := h.opt.Ownership.Owner(q.r.Context(), q.ep.Scope, q.id)
			h.elsewhere(q, owner, err)
		}
		return
	}
	claimed := false
	defer func() {
		if !claimed { // Admit or Ownership panics: nobody may wait for what comes of it
			h.live.CompareAndDelete(localKey(q.ep.Scope, q.id), c)
			close(c.decided)
		}
	}()
	done, refuse := h.claim(q)
	claimed = true
	if refuse != nil {
		// Before the answer, which may be a poll relayed for minutes: the client's
		// other requests must find the owner meanwhile.
		h.live.CompareAndDelete(localKey(q.ep.Scope, q.id), c)
		close(c.decided)
		refuse()
		return
	}
	// It outlives the request: nothing of q may be kept.
	scope, id := q.ep.Scope, q.id
	end := func() {
		ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
		defer cancel()
		// First the claim, then the entry: between the two the id must not look
		// like one that nobody has used.
		h.opt.Ownership.Release(ctx, scope, id)
		h.live.CompareAndDelete(localKey(scope, id), c)
		done()
	}
	c.begun.Store(true)
	close(c.decided)
	switch kind {
	case hubs.WebSockets:
		h.serveWebSocket(q, c.ws, end)
	case hubs.ServerSentEvents:
		defer end()
		h.serveEvents(q, c.in)
	case hubs.LongPolling:
		h.startPolling(q, c, end)
	}
}

// releaseTimeout bounds telling Ownership that a connection has ended.
const releaseTimeout = 5 * time.Second

// newConnection returns what a transport needs to be found by later requests.
func newConnection(kind hubs.TransportKind) *connection {
	c := &connection{kind: kind, decided: make(chan struct{})}
	if kind != hubs.WebSockets {
		c.in = newPipe()
	}
	if kind == hubs.LongPolling {
		c.poll = newPollingState(c.in)
	}
	return c
}

// again answers a GET for a connection that this node serves already.
func (h *Handler) again(q *request, kind hubs.TransportKind, c *connection) {
	switch {
	case c.kind != kind:
		writeText(q.w, http.StatusBadRequest, textChangeTransport)
	case kind == hubs.LongPolling:
		q.renew()
		h.servePoll(q, c.poll)
	case c.ws != nil:
		h.resume(q, c.ws)
	case c.in != nil && c.in.ended():
		writeText(q.w, http.StatusNotFound, textUnknownID)
	default:
		writeText(q.w, http.StatusConflict, "")
	}
}

// renew tells the connection of a poll, which each brings the credentials that its
// client has then, until when those are good.
func (q *request) renew() {
	if q.ep.Lapsed != nil {
		return
	}
	c, ok := q.ep.Server.Connection(q.id)
	if !ok {
		return // before its handshake
	}
	c.Renew(q.ep.Principal.Expires)
	if q.ep.Renewed != nil {
		q.ep.Renewed(c)
	}
}

// claim makes this node the connection's owner and asks Endpoint.Admit. When
// the connection is not to begin here it returns what answers the request.
func (h *Handler) claim(q *request) (done, refuse func()) {
	ctx := q.r.Context()
	if q.relayed {
		return nil, func() { writeText(q.w, http.StatusNotFound, textUnknownID) }
	}
	decide := h.opt.Ownership.Claim
	expired := h.opt.Clock().After(q.token.expires)
	if expired {
		decide = h.opt.Ownership.Owner
	}
	owner, err := decide(ctx, q.ep.Scope, q.id)
	if errors.Is(err, ErrUnsure) {
		err = nil
		if kindOf(q.r) == hubs.LongPolling {
			// It may be the second poll of a connection on another node, and an
			// answer to a first one would look like an empty message to the client.
			owner, err = h.opt.Ownership.Owner(ctx, q.ep.Scope, q.id)
		}
		switch {
		case err == nil:
		case errors.Is(err, ErrSpent): // nobody else's
			err = nil
		default:
			h.opt.Ownership.Release(ctx, q.ep.Scope, q.id)
			return nil, func() {
				q.w.Header().Set("Retry-After", "2")
				writeText(q.w, http.StatusServiceUnavailable, "")
			}
		}
	}
	if err != nil || owner != "" || expired {
		return nil, func() { h.elsewhere(q, owner, err) }
	}
	if done, err = q.admit(); err != nil {
		h.opt.Ownership.Release(ctx, q.ep.Scope, q.id)
		return nil, func() { h.writeError(q.w, err) }
	}
	return done, nil
}

// elsewhere answers a GET for a connection that another node may own.
func (h *Handler) elsewhere(q *request, owner string, err error) {
	if err == nil && owner != "" && kindOf(q.r) == hubs.WebSockets && !q.token.resumable {
		// One connection has only one WebSocket.
		writeText(q.w, http.StatusConflict, "")
		return
	}
	h.relay(q, owner, err)
}

// admit asks Endpoint.Admit, if there is one.
func (q *request) admit() (done func(), err error) {
	if q.ep.Admit == nil {
		return func() {}, nil
	}
	done, err = q.ep.Admit(q.r.Context(), q.id)
	if err == nil && done == nil {
		done = func() {}
	}
	return done, err
}

// info is what the hub learns of the request; credentials stay here.
func (h *Handler) info(q *request) hubs.ConnectionInfo {
	query := make(map[string][]string, len(q.query))
	for k, v := range q.query {
		if !strings.EqualFold(k, "access_token") && !strings.EqualFold(k, "id") {
			query[k] = v
		}
	}
	headers := make(map[string][]string, len(h.opt.KeepHeaders))
	for _, k := range h.opt.KeepHeaders {
		if v := q.r.Header.Values(k); len(v) > 0 {
			headers[http.CanonicalHeaderKey(k)] = v
		}
	}
	return hubs.ConnectionInfo{
		ID: q.id, Principal: q.ep.Principal, Query: h.interned.values(query), Headers: h.interned.values(headers), RemoteAddress: q.r.RemoteAddr, HandshakeTimeout: q.ep.HandshakeTimeout,
		StatefulReconnect: q.token.resumable, Request: q.ep.Request, Rewind: q.ep.Rewind,
	}
}

// headerHas reports whether a comma-separated header names value, parameters
// aside, in any case.
func headerHas(h http.Header, name, value string) bool {
	for _, line := range h.Values(name) {
		for part := range strings.SplitSeq(line, ",") {
			part, _, _ = strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(part), value) {
				return true
			}
		}
	}
	return false
}
