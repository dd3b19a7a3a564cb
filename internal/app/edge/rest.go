package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/quota"
	"github.com/signalbox/signalbox/hubs/rest"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/httpserver"
	"github.com/signalbox/signalbox/internal/telemetry"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
	"github.com/signalbox/signalbox/tenants/directory"
)

// bodyTime bounds how long a REST request's body may take to arrive.
const bodyTime = 10 * time.Second

// backends serves /api for all tenants.
type backends struct {
	auth    *authenticator
	hubs    *registry
	limits  *limits
	crowd   *crowd
	refused func(t tenants.ID, hub, code string)
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
	if r.Method != http.MethodGet && r.Method != http.MethodHead && b.hubs.pressure.short() {
		b.refused(t.ID, "", codeMemory)
		f := fault.New(fault.Unavailable, "The edge is short of memory; nothing was carried out.").WithCode(codeMemory)
		f.RetryAfter = 2 * time.Second
		return rest.Scope{}, f
	}
	leave, err := b.crowd.enter(t, r.URL.Path)
	if err != nil {
		b.refused(t.ID, "", codeCrowd)
		return rest.Scope{Slow: func(ctx context.Context) { b.limits.refusals.Wait(ctx, stranger(t.ID, r)) }}, err
	}
	let := false
	defer func() {
		if !let {
			leave()
		}
	}()
	key, err := b.auth.rest(t, r)
	switch {
	case wrongKind(err):
		b.refused(t.ID, "", codeTokenKind)
		return rest.Scope{}, fault.New(fault.Forbidden, "The access token is not one for the REST API.").WithCode(codeTokenKind)
	case errors.Is(err, errRevoked):
		b.refused(t.ID, "", codeRevoked)
		return rest.Scope{}, denied
	case err != nil:
		b.refused(t.ID, "", codeToken)
		return rest.Scope{}, fault.New(fault.Unauthenticated, notGood(t, err).Text).WithCode(codeToken)
	case t.Status != tenants.Active:
		b.refused(t.ID, "", codeSuspended)
		return rest.Scope{}, fault.New(fault.Forbidden, "The tenant is suspended.").WithCode(codeSuspended)
	}
	if err := b.simulateREST(r, t); err != nil {
		return rest.Scope{}, err
	}
	if err := b.hubs.budgets.request(t, r.Method); err != nil {
		return rest.Scope{}, b.overBudget(t, "", err)
	}
	in := t.LimitsAt(time.Now())
	slow := func(ctx context.Context) { b.limits.refusals.Wait(ctx, quota.Refused{Tenant: t.ID}) }
	if err := b.charge(r.Context(), b.limits.requests, t, "", 1); err != nil {
		return rest.Scope{Slow: slow}, err
	}
	let = true
	return rest.Scope{
		Done:      leave,
		Slow:      slow,
		Tenant:    t.ID,
		Limits:    *in,
		Presence:  in.Presence(),
		Backplane: func(hub string) (hubs.Backplane, error) { return b.backplane(t, hub, key) },
		Admit: func(ctx context.Context, hub string, messages int) error {
			return b.admit(ctx, t, hub, messages)
		},
		AdmitGroups: func(hub string, groups []string, others func() error) error {
			return b.answer(t, hub, b.limits.groups.Charge(t.ID, hub, groups, b.hubs.inForce(t), others))
		},
		Allowances: func(sends bool) []rest.Allowance { return b.allowances(t, sends) },
		Token: func(hub, user string, life time.Duration) (string, error) {
			if err := b.charge(r.Context(), b.limits.tokens, t, hub, 1); err != nil {
				return "", err
			}
			return clientTokenFor(t, baseURL(r), hub, user, life)
		},
		Base:    baseURL(r),
		Refused: func(hub, code string) { b.refused(t.ID, hub, code) },
	}, nil
}

// baseURL is the tenant's base URL as the request has it: its host, and the
// path's prefix where it has one.
func baseURL(r *http.Request) string {
	base := url.URL{Scheme: "http", Host: r.Host}
	if httpserver.Secure(r) {
		base.Scheme = "https"
	}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if prefix, cut := strings.CutSuffix(path, r.URL.EscapedPath()); cut {
		base.Path = prefix
	}
	return base.String()
}

// clientTokenFor makes a token with the first of the tenant's keys that is good.
func clientTokenFor(t *tenants.Document, base, hub, user string, life time.Duration) (string, error) {
	key, ok := t.SigningKey()
	if !ok {
		return "", fault.New(fault.Forbidden, "The tenant has no access key to sign tokens with.")
	}
	minted, err := accesstoken.MintClient(key, base, accesstoken.ClientOptions{Hub: hub, UserID: user, Life: life}, time.Now())
	if err != nil {
		return "", fault.Wrap(fault.Invalid, "No token can be made for this host and user.", err)
	}
	return minted.Token, nil
}

func (b *backends) backplane(t *tenants.Document, hub, key string) (hubs.Backplane, error) {
	var many *hubLimitError
	if err := b.hubs.allowed(t, hub); errors.As(err, &many) {
		b.refused(t.ID, "", codeHubs)
		return nil, fault.New(fault.Forbidden, fmt.Sprintf("The tenant has all of its %d hubs in use; delete one, or use one of them.", many.Max)).WithLimit(many.Limit)
	} else if err != nil {
		return nil, err
	}
	return b.hubs.backplaneBy(t, hub, key), nil
}

// admit charges a send to the tenant's messages per second and its deliveries. Requests
// are charged when they come.
func (b *backends) admit(ctx context.Context, t *tenants.Document, hub string, messages int) error {
	if messages == 0 {
		return nil
	}
	if err := b.hubs.budgets.sending(b.hubs.current(t)); err != nil {
		return b.overBudget(t, hub, err)
	}
	in := b.hubs.inForce(t)
	err := b.limits.messages.Charge(ctx, t.ID, in, messages)
	if err == nil {
		err = b.limits.deliveries.Admit(ctx, t.ID, in)
	}
	return b.answer(t, hub, err)
}

// overBudget counts a refusal by budgets and makes it one of the REST API.
func (b *backends) overBudget(t *tenants.Document, hub string, err error) error {
	var over *budgetError
	if !errors.As(err, &over) {
		return err
	}
	b.refused(t.ID, hub, over.code())
	return over.fault()
}

// charge takes n out of one of the tenant's rates.
func (b *backends) charge(ctx context.Context, rate *quota.Messages, t *tenants.Document, hub string, n int) error {
	return b.answer(t, hub, rate.Charge(ctx, t.ID, b.hubs.inForce(t), n))
}

// answer counts a refusal and makes it one of the REST API.
func (b *backends) answer(t *tenants.Document, hub string, err error) error {
	var limit *quota.Refusal
	if !errors.As(err, &limit) {
		return err
	}
	b.refused(t.ID, hub, limit.Code)
	return b.asAnswer(limit)
}

// asAnswer is a refusal as one of the REST API.
func (b *backends) asAnswer(limit *quota.Refusal) error {
	e := &rest.LimitError{Limit: limit.Limit, Text: textOf(limit)}
	if limit.Rate() && limit.Max > 0 {
		e.Window = time.Duration(limit.Burst) * time.Second / time.Duration(limit.Max)
	}
	return e
}

// textOf says in a sentence what a refusal is about.
func textOf(r *quota.Refusal) string {
	row, _ := tenants.Row(r.Limit.Limit)
	return fmt.Sprintf("%s: the limit is %d %s (%s).", row.Title, r.Max, row.Unit, row.Name)
}

// allowances are what is left of the rates that a request counts against, that of
// messages first.
func (b *backends) allowances(t *tenants.Document, sends bool) []rest.Allowance {
	in := b.hubs.inForce(t)
	rates := []*quota.Messages{b.limits.requests}
	if sends {
		rates = []*quota.Messages{b.limits.messages, b.limits.requests}
	}
	all := make([]rest.Allowance, len(rates))
	for i, m := range rates {
		r := m.RateOf(in)
		all[i].Name = m.Name()
		all[i].Quota, all[i].Window = policy(r)
		all[i].Remaining, all[i].Reset = m.Left(t.ID, r)
	}
	return all
}

// policy is a rate as a bucket: what it holds, and how long it takes to fill.
func policy(r quota.Rate) (quota int64, window time.Duration) {
	depth := max(r.Burst, r.PerSecond)
	if r.PerSecond <= 0 {
		return int64(depth), time.Second
	}
	return int64(depth), time.Duration(depth) * time.Second / time.Duration(r.PerSecond)
}
