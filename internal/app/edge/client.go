package edge

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/clientmethods"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/quota"
	"github.com/signalbox/signalbox/hubs/transport"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/httpserver"
	"github.com/signalbox/signalbox/internal/telemetry"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
	"github.com/signalbox/signalbox/tenants/directory"
	"github.com/signalbox/signalbox/tenants/permissions"
)

// The codes of refusals at the client endpoint.
const (
	codeToken     = "invalid_token"
	codeRevoked   = "token_revoked"
	codeIssuer    = "issuer_unavailable"
	codeTokenKind = "wrong_token_kind"
	codeSuspended = "tenant_suspended"
	codeHubs      = "hub_limit"
	codeInvalid   = "invalid"

	codeConnects    = "connect_rate"
	codeUnavailable = "unavailable"
	codeUnheard     = "publish_lost"
)

// textSuspended is what clients and app servers of a suspended tenant are refused with.
const textSuspended = codeSuspended + ": the tenant is suspended"

// HeaderDraining is on the answers of an edge that takes no new connections any
// more: nothing was done, another edge will do it.
const HeaderDraining = "Signalbox-Draining"

// refuse is an answer in plain text, as SignalR clients show it.
func refuse(status int, text string) *transport.Error {
	return &transport.Error{Status: status, Text: text, Header: http.Header{}}
}

func retryable(e *transport.Error, after time.Duration) *transport.Error {
	e.Header.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(after.Seconds())))))
	return e
}

// unauthorized is the answer to every bad token and to every unknown tenant.
func unauthorized() *transport.Error {
	e := refuse(http.StatusUnauthorized, "The access token is missing, expired, or not good for this URL.")
	e.Header.Set("WWW-Authenticate", "Bearer")
	return e
}

// notGood is unauthorized for a token of a tenant that is there: to whoever has a key
// of a development tenant, it says why.
func notGood(t *tenants.Document, err error) *transport.Error {
	e := unauthorized()
	if why, ok := accesstoken.Reason(err); ok && t.Environment == tenants.Development {
		e.Text += whyNot + why + "."
	}
	return e
}

// whyNot is before the reason in what development tenants are told.
const whyNot = " Development tenants are told why: "

// clients serves /client for all tenants.
type clients struct {
	auth    *authenticator
	hubs    *registry
	limits  *limits
	refused func(t tenants.ID, hub, code string)
}

// resolve finds and authenticates what a client's request is for.
func (c *clients) resolve(r *http.Request) (*transport.Endpoint, error) {
	telemetry.SetRoute(r.Context(), "/client")
	d := destinationOf(r)
	hub, misnamed := hubOf(r)
	if misnamed != nil { // whether there is the tenant or not
		if d.err == nil {
			c.refused(d.tenant.ID, "", codeInvalid)
		}
		return nil, refuse(http.StatusBadRequest, "Bad request: "+misnamed.Error()+".")
	}
	switch {
	case errors.Is(d.err, directory.ErrNotFound):
		_ = c.auth.nobody(r)
		return nil, unauthorized()
	case errors.Is(d.err, errTwoTenants):
		return nil, refuse(http.StatusBadRequest, "The host belongs to one tenant and the path names another.")
	case d.err != nil:
		return nil, retryable(refuse(http.StatusServiceUnavailable, "The service can't tell now whose URL this is."), time.Second)
	}
	t := d.tenant
	in := t.LimitsAt(time.Now())
	if err := c.limits.arrive(r, t, in); err != nil {
		return nil, c.refusalOf(stranger(t.ID, r), r, t, hub, err)
	}
	p, err := c.auth.client(t, r, hub)
	lapsed := false
	if errors.Is(err, accesstoken.ErrInvalid) && continues(r) {
		// Clients go on sending the token that they connected with.
		var old *accesstoken.Principal
		if old, lapsed = c.auth.lapsed(t, r, hub); lapsed {
			p, err = old, nil
		}
	}
	switch {
	case wrongKind(err):
		c.refused(t.ID, hub, codeTokenKind)
		return nil, refuse(http.StatusForbidden, "The access token is not one for clients.")
	case errors.Is(err, accesstoken.ErrUnavailable):
		c.refused(t.ID, hub, codeIssuer)
		return nil, retryable(refuse(http.StatusServiceUnavailable, "The keys of the token's issuer can't be had now."), time.Second)
	case errors.Is(err, errRevoked):
		c.refused(t.ID, hub, codeRevoked)
		return nil, unauthorized()
	case err != nil:
		c.refused(t.ID, "", codeToken)
		return nil, notGood(t, err)
	case p.UserID != "" && hubs.CheckUser(p.UserID) != nil:
		c.refused(t.ID, "", codeToken)
		return nil, refuse(http.StatusUnauthorized, "The access token's user can't be served: "+hubs.CheckUser(p.UserID).Error())
	case t.Status != tenants.Active:
		c.refused(t.ID, hub, codeSuspended)
		return nil, refuse(http.StatusForbidden, textSuspended)
	}
	if end := endOf(p, t.Hubs[hub].CloseOnExpiry); begins(r) && !end.IsZero() && !end.After(time.Now()) {
		// It would be closed at once, with leave to come back, for as long as the leeway is.
		c.refused(t.ID, "", codeToken)
		return nil, notGood(t, accesstoken.ErrEnded)
	}
	return &transport.Endpoint{
		Principal:         hubs.Principal{UserID: p.UserID},
		Scope:             string(t.ID) + "/" + hub,
		Origins:           t.Hubs[hub].AllowedOrigins,
		Query:             queryOf(r),
		StatefulReconnect: resumable(in),
		Complete:          func(ep *transport.Endpoint) error { return c.complete(ep, r, asking{t, in, hub, p, lapsed}) },
	}, nil
}

// asking is who asks for what with a request of a client.
type asking struct {
	t      *tenants.Document
	in     *tenants.Limits
	hub    string
	p      *accesstoken.Principal
	lapsed bool
}

// complete judges what limits say of a request, which count for nobody whose page may not
// use the hub, and finds the hub.
func (c *clients) complete(ep *transport.Endpoint, r *http.Request, a asking) (err error) {
	t, in, hub, p := a.t, a.in, a.hub, a.p
	if begins(r) {
		if err := c.simulateConnect(r.Context(), t, p, clientToken(r)); err != nil {
			return c.refusal(r, t, hub, err)
		}
	}
	if err := c.limits.begin(r.Context(), r, t, in, p.UserID); err != nil {
		return c.refusal(r, t, hub, err)
	}
	if ep.Rewind, err = c.rewind(t, hub, p, r); err != nil {
		return err
	}
	ep.Transports, ep.HandshakeTimeout, ep.PollTimeout = transports(p.Transports), p.HandshakeTimeout, p.PollTimeout
	if negotiation(r) {
		// Nothing is kept for it, so nothing of the hub is made yet. A tenant that
		// is full is told now, before its clients try three transports.
		if err := errors.Join(c.hubs.admits(), c.hubs.budgets.connecting(t), c.hubs.allowed(t, hub)); err != nil {
			return c.refusal(r, t, hub, err)
		}
		return c.refusal(r, t, hub, c.limits.peek(r.Context(), t, in, p.UserID, t.Hubs[hub]))
	}
	served, err := c.hubs.get(t, hub)
	if err != nil {
		return c.refusal(r, t, hub, err)
	}
	ep.Server = served.server
	ep.Principal = hubs.Principal{
		UserID: p.UserID, Claims: userClaims(p), Credential: p.KeyID, Expires: p.CloseAt, Groups: p.Groups, Authentication: kept(p),
	}
	ep.Request = &pairing.Request{Claims: p.Claims, ForeignIssuer: p.IssuerID != "", Host: r.Host, Header: r.Header, RawQuery: r.URL.RawQuery}
	ep.Admit = func(ctx context.Context, id string) (func(), error) {
		if err := errors.Join(c.hubs.admits(), c.hubs.budgets.connecting(c.hubs.current(t))); err != nil {
			return nil, c.refusal(r, t, hub, err)
		}
		t := c.hubs.current(t)
		in := t.LimitsAt(time.Now())
		release, oldest, err := c.limits.admit(ctx, t, in, newcomer{hub: hub, id: id, user: p.UserID, r: r})
		c.closeOldest(t, oldest, in)
		return release, c.refusal(r, t, hub, err)
	}
	ep.Renewed = func(k *hubs.Connection) { served.keeper.polled(k, p) }
	if a.lapsed {
		ep.Lapsed = func(id string) error {
			if k, ok := served.server.Connection(id); ok && time.Since(tokenOf(k).ExpiresAt) <= accesstoken.Leeway {
				return nil
			}
			c.refused(t.ID, "", codeToken)
			return unauthorized()
		}
	}
	return nil
}

// refusedRequest counts what the transports refuse for the tenant of the URL.
func (c *clients) refusedRequest(r *http.Request, code string) {
	d := destinationOf(r)
	if d.err != nil {
		return // nobody's
	}
	hub, err := hubOf(r)
	if err != nil || !c.hubs.uses(d.tenant, hub) {
		hub = "" // anybody may name any, which must not grow what is counted
	}
	c.refused(d.tenant.ID, hub, code)
}

// rewind reads what of the history of the token's groups the client asks for.
func (c *clients) rewind(t *tenants.Document, hub string, p *accesstoken.Principal, r *http.Request) (*hubs.Rewind, error) {
	asked := queryOf(r)["rewind"]
	if len(asked) == 0 {
		return nil, nil
	}
	w, err := clientmethods.ParseRewind(asked[len(asked)-1], func(token string) (hubs.Position, error) {
		return c.hubs.openPosition(t.ID, hub, token)
	})
	if err != nil {
		c.refused(t.ID, hub, clientmethods.CodeArgument)
		return nil, refuse(http.StatusBadRequest, "Bad request: "+err.Error()+".")
	}
	everybody := permissions.NewSet(t.Hubs[hub].ClientPermissions)
	for _, group := range p.Groups {
		_, own := p.Permissions.Allows(permissions.ReadHistory, group, p.UserID)
		if _, all := everybody.Allows(permissions.ReadHistory, group, p.UserID); !own && !all {
			c.refused(t.ID, hub, clientmethods.CodeDenied)
			return nil, refuse(http.StatusForbidden, "A rewind needs the permission readHistory for every group of the token.")
		}
	}
	return &w, nil
}

// kept is what a connection keeps of its token. The decoded claims are read before
// that, and would be the largest part of what an idle connection has in memory.
func kept(p *accesstoken.Principal) *accesstoken.Principal {
	k := *p
	k.Claims = nil
	return &k
}

// refusal turns what says no into an answer; nil stays nil.
func (c *clients) refusal(r *http.Request, t *tenants.Document, hub string, err error) error {
	if err == nil {
		return nil
	}
	return c.refusalOf(quota.Refused{Tenant: t.ID}, r, t, hub, err)
}

// refusalOf is refusal of an error for an answer that waits for its turn among those of
// whom.
func (c *clients) refusalOf(whom quota.Refused, r *http.Request, t *tenants.Document, hub string, err error) error {
	var limit *quota.Refusal
	var many *hubLimitError
	var budget *budgetError
	var f *fault.Error
	switch {
	case errors.As(err, &budget):
		c.refused(t.ID, hub, budget.code())
		return refuse(http.StatusForbidden, budget.Error())
	case errors.As(err, &limit):
		if !c.hubs.uses(t, hub) {
			hub = "" // anybody may name any, which must not grow what is counted
		}
		c.refused(t.ID, hub, limit.Code)
		limit.RequestID = httpserver.RequestID(r.Context())
		after := limit.RetryAfter()
		if limit.Code == codeConnects {
			after += rand.N(after + time.Second) // or all that were refused come back together
			limit.RetryAfterMS = after.Milliseconds()
		}
		c.limits.refusals.Wait(r.Context(), whom)
		return retryable(refuse(http.StatusTooManyRequests, limit.Error()), after)
	case errors.As(err, &many):
		c.refused(t.ID, "", codeHubs)
		many.RequestID = httpserver.RequestID(r.Context())
		return refuse(http.StatusForbidden, many.Error())
	case errors.As(err, &f):
		c.refused(t.ID, hub, f.Code)
		status := http.StatusBadRequest
		if f.Kind == fault.Forbidden {
			status = http.StatusForbidden
		}
		return refuse(status, f.Error())
	case errors.Is(err, errDraining):
		c.refused(t.ID, hub, codeUnavailable)
		e := retryable(refuse(http.StatusServiceUnavailable, "This node is being replaced; connect again."), time.Second)
		e.Header.Set(HeaderDraining, "1")
		return e
	case errors.Is(err, errMemory):
		c.refused(t.ID, hub, codeMemory)
		return retryable(refuse(http.StatusServiceUnavailable, textMemory), 2*time.Second)
	case errors.Is(err, errCutOff):
		return retryable(refuse(http.StatusServiceUnavailable, "This node is cut off from the others; connect again."), time.Second)
	}
	return err
}

// negotiation reports whether r only asks for a connection token.
func negotiation(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/negotiate") }

// continues reports whether r may be one of a connection that has begun. WebSockets
// are authenticated when they begin, so theirs always show a token that is good.
func continues(r *http.Request) bool {
	return !negotiation(r) && queryOf(r).Has("id") && !strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// clientPath reports whether a path is one of the client endpoint.
func clientPath(path string) bool {
	switch path {
	case "/client", "/client/", "/client/negotiate":
		return true
	}
	return false
}

// directPath reports whether requests of a path may be served without net/http:
// clients that begin with a connection.
func directPath(path string) bool {
	if rest, ok := strings.CutPrefix(path, "/t/"); ok {
		_, path, _ = strings.Cut(rest, "/")
		path = "/" + path
	}
	return clientPath(path)
}

// hubOf returns the canonical name of the hub in the query, which must be there
// exactly once. It is no part of the query's text: connections keep it, and would keep
// their whole request.
func hubOf(r *http.Request) (string, error) {
	names := queryOf(r)["hub"]
	if len(names) != 1 {
		return "", errors.New("the query must have exactly one parameter hub")
	}
	name, err := tenants.HubName(names[0])
	return strings.Clone(name), err
}

// transports reads a mask of asrs.s.htt; 0 = all.
func transports(mask int) []hubs.TransportKind {
	var list []hubs.TransportKind
	for bit, kind := range []hubs.TransportKind{hubs.WebSockets, hubs.ServerSentEvents, hubs.LongPolling} {
		if mask&(1<<bit) != 0 {
			list = append(list, kind)
		}
	}
	return list
}
