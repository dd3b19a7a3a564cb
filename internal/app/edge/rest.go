package edge

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/quota"
	"github.com/signalbox/signalbox/hubs/rest"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/httpserver"
	"github.com/signalbox/signalbox/internal/telemetry"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/directory"
)

// bodyTime bounds how long a REST request's body may take to arrive.
const bodyTime = 10 * time.Second

// backends serves /api for all tenants.
type backends struct {
	auth     *authenticator
	hubs     *registry
	messages *quota.Messages
	requests *quota.Messages
	refused  func(t tenants.ID, hub, code string)
}

// bounded gives slow senders an end; the server itself has none, since
// connections of clients may last for ever.
func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Not supported only by recorders in tests.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
		next.ServeHTTP(w, r)
	})
}

// scope authenticates a REST request and says for whom it is.
func (b *backends) scope(r *http.Request) (rest.Scope, error) {
	telemetry.SetRoute(r.Context(), cmp.Or(httpserver.RoutePattern(r), "/api"))
	d := destinationOf(r)
	denied := fault.New(fault.Unauthenticated, "The access token is missing, expired, or not good for this URL.").WithCode(codeToken)
	switch {
	case errors.Is(d.err, directory.ErrNotFound):
		_ = b.auth.nobody(r)
		return rest.Scope{}, denied
	case errors.Is(d.err, errTwoTenants):
		return rest.Scope{}, fault.New(fault.Invalid, "The host belongs to one tenant and the path names another.")
	case d.err != nil:
		f := fault.Wrap(fault.Unavailable, "The service can't tell now whose URL this is.", d.err)
		f.RetryAfter = time.Second
		return rest.Scope{}, f
	}
	t := d.tenant
	switch err := b.auth.rest(t, r); {
	case wrongKind(err):
		b.refused(t.ID, "", codeTokenKind)
		return rest.Scope{}, fault.New(fault.Forbidden, "The access token is not one for the REST API.").WithCode(codeTokenKind)
	case err != nil:
		b.refused(t.ID, "", codeToken)
		return rest.Scope{}, denied
	case t.Status != tenants.Active:
		b.refused(t.ID, "", codeSuspended)
		return rest.Scope{}, fault.New(fault.Forbidden, "The tenant is suspended.").WithCode(codeSuspended)
	}
	return rest.Scope{
		Tenant:    t.ID,
		Limits:    t.Limits,
		Backplane: func(hub string) (hubs.Backplane, error) { return b.backplane(t, hub) },
		Admit: func(ctx context.Context, hub string, messages int) error {
			return b.admit(ctx, t, hub, messages)
		},
	}, nil
}

func (b *backends) backplane(t *tenants.Document, hub string) (hubs.Backplane, error) {
	var many *hubLimitError
	if err := b.hubs.allowed(t, hub); errors.As(err, &many) {
		b.refused(t.ID, "", codeHubs)
		return nil, fault.New(fault.Forbidden, many.Error()).WithCode(codeHubs)
	} else if err != nil {
		return nil, err
	}
	return b.hubs.bus.Hub(t.ID, hub, settings(t)), nil
}

// admit charges a send to the tenant's messages per second. What only changes or
// asks something is charged to a bucket of the same size for such requests: it
// is not metered, but no tenant may flood the others with it.
func (b *backends) admit(ctx context.Context, t *tenants.Document, hub string, messages int) error {
	bucket, name, count := b.messages, "messages_per_second", messages
	if messages == 0 {
		bucket, name, count = b.requests, "requests_per_second", 1
	}
	err := bucket.Take(ctx, t.ID, rateOf(t.Limits), count)
	var limit *quota.Refusal
	if !errors.As(err, &limit) {
		return err
	}
	b.refused(t.ID, hub, limit.Code)
	return &rest.LimitError{
		Code: limit.Code, Name: name, Limit: limit.Limit, Window: time.Second,
		RetryAfter: limit.RetryAfter, Text: limit.Error(),
	}
}
