package edge

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/quota"
	"github.com/signalbox/signalbox/hubs/serverconn"
	"github.com/signalbox/signalbox/hubs/transport"
	"github.com/signalbox/signalbox/internal/telemetry"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/directory"
)

// reasonHandler is why app servers lose the server connections of a hub.
const reasonHandler = "The hub's handler was changed: its clients are no longer given to app servers."

// servers serves /server for all tenants.
type servers struct {
	auth    *authenticator
	hubs    *registry
	limits  *limits
	refused func(t tenants.ID, hub, code string)
}

// ServeHTTP makes a request of an app server a server connection.
func (s *servers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	telemetry.SetRoute(r.Context(), "/server")
	a, err := s.admission(r)
	if err != nil {
		for name, values := range err.Header {
			w.Header()[name] = values
		}
		http.Error(w, err.Text, err.Status)
		return
	}
	s.hubs.servers.Accept(w, r, *a)
	// What the document said when it was read may be over; from here on changes find
	// the connection.
	if t, ok := s.hubs.directory.Cached(a.Hub.Tenant); ok {
		s.hubs.serversChanged(t)
		s.hubs.watchKeys(t)
	}
}

// admission finds and authenticates what a request is for. SDKs show the status of
// an error, and nothing else.
func (s *servers) admission(r *http.Request) (*serverconn.Admission, *transport.Error) {
	d := destinationOf(r)
	hub, misnamed := hubOf(r)
	if misnamed != nil { // whether there is the tenant or not
		return nil, refuse(http.StatusBadRequest, "Bad request: "+misnamed.Error()+".")
	}
	switch {
	case errors.Is(d.err, directory.ErrNotFound):
		_ = s.auth.nobody(r)
		return nil, unauthorized()
	case errors.Is(d.err, errTwoTenants):
		return nil, refuse(http.StatusBadRequest, "The host belongs to one tenant and the path names another.")
	case d.err != nil:
		return nil, retryable(refuse(http.StatusServiceUnavailable, "The service can't tell now whose URL this is."), time.Second)
	}
	t := d.tenant
	p, err := s.auth.server(t, r, hub)
	switch {
	case wrongKind(err):
		s.refused(t.ID, hub, codeTokenKind)
		return nil, refuse(http.StatusForbidden, "The access token is not one for app servers.")
	case err != nil:
		s.refused(t.ID, "", codeToken)
		return nil, notGood(t, err)
	case t.Status != tenants.Active:
		s.refused(t.ID, hub, codeSuspended)
		return nil, refuse(http.StatusForbidden, textSuspended)
	}
	if err := s.hubs.budgets.asking(t); err != nil {
		s.refused(t.ID, hub, refusedBy(err))
		return nil, refuse(http.StatusForbidden, err.Error())
	}
	if err := s.hubs.allowed(t, hub); err != nil {
		s.refused(t.ID, "", codeHubs)
		return nil, refuse(http.StatusForbidden, err.Error())
	}
	server, err := serverconn.ServerID(p.UserID, r.Header.Get("X-ASRS-Server-Id"))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "Bad request: "+err.Error()+".")
	}
	var share quota.Share
	return &serverconn.Admission{
		Hub: pairing.Hub{Tenant: t.ID, Name: hub}, ServerID: server, Credential: p.Credential(),
		ConnectionID: queryOf(r).Get("cid"),
		Handler:      t.Hubs[hub].Handler,
		Limits:       func() tenants.Limits { return *s.hubs.inForce(t) },
		Backplane:    func() hubs.Backplane { return s.hubs.backplaneBy(t, hub, p.KeyID) },
		Admit: func(ctx context.Context, groups []string, messages int) (time.Duration, error) {
			return s.admit(ctx, t, hub, groups, messages, &share)
		},
		Refused: func(code string) { s.refused(t.ID, hub, code) },
	}, nil
}

// admit takes messages of an app server out of the tenant's rates, as backends.admit
// does for the REST API, and says how long to wait where that one refuses. What is
// more than a rate ever gives at once takes all of it. Groups are those that it sends to,
// none when it sends nothing.
func (s *servers) admit(ctx context.Context, t *tenants.Document, hub string, groups []string, messages int, share *quota.Share) (time.Duration, error) {
	judge := s.hubs.budgets.sending
	if messages == 0 {
		judge = s.hubs.budgets.changing
	}
	if err := judge(s.hubs.current(t)); err != nil {
		return 0, err
	}
	if s.hubs.pressure.short() {
		return pressurePause, nil
	}
	bucket, count := s.limits.messages, messages
	if messages == 0 {
		bucket, count = s.limits.requests, 1
	}
	in := s.hubs.inForce(t)
	rate := bucket.RateOf(in)
	err := s.limits.groups.Charge(t.ID, hub, groups, in, func() error {
		if messages > 0 {
			if err := s.limits.deliveries.Admit(ctx, t.ID, in); err != nil {
				return err
			}
		}
		return bucket.ChargeFor(ctx, t.ID, in, min(count, max(rate.Burst, rate.PerSecond)), share)
	})
	var limit *quota.Refusal
	if rate.PerSecond > 0 && errors.As(err, &limit) {
		return max(limit.RetryAfter(), time.Millisecond), nil
	}
	return 0, err
}

// serversChanged ends the server connections that a tenant's document no longer
// allows.
func (g *registry) serversChanged(t *tenants.Document) {
	for _, reason := range []string{reasonDeleted, reasonSuspended, reasonRevoked, reasonTokenRevoked} {
		g.servers.CloseWhere(func(a *serverconn.Admission, _ bool) bool {
			return a.Hub.Tenant == t.ID && endReason(t, a.Credential) == reason
		}, reason)
	}
	g.servers.CloseWhere(func(a *serverconn.Admission, weak bool) bool {
		return a.Hub.Tenant == t.ID && !weak && !serverconn.TakesClients(t.Hubs[a.Hub.Name].Handler)
	}, reasonHandler)
}

// serverPath reports whether a path is the one of app servers.
func serverPath(path string) bool { return slices.Contains([]string{"/server", "/server/"}, path) }
