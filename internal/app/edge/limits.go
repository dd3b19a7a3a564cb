package edge

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/quota"
	"github.com/signalbox/signalbox/hubs/upstream"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/telemetry"
	"github.com/signalbox/signalbox/tenants"
)

// softPercent is how far beyond it a soft limit of a paid plan serves, in hundredths.
const softPercent = 120

// limits is all that bounds what tenants do on this edge.
type limits struct {
	connections *quota.Connections
	memberships *quota.Memberships
	messages    *quota.Messages
	requests    *quota.Messages
	connects    *quota.Messages
	tokens      *quota.Messages
	users       *quota.Users
	addresses   *quota.Addresses
	groups      *quota.Groups
	deliveries  *quota.Deliveries
	refusals    quota.Refusals
	figures     *quota.Figures
	redis       redis.UniversalClient
	// inForce returns a tenant's limits, or nil.
	inForce func(tenants.ID) *tenants.Limits
	// exempt are networks whose addresses aren't bounded.
	exempt   []netip.Prefix
	recorder *usage.Recorder
	metrics  *telemetry.EdgeMetrics
}

func newLimits(calls *redisclient.Batch, run string, exempt []netip.Prefix, recorder *usage.Recorder, log *slog.Logger) *limits {
	r := calls.Client()
	figures := quota.NewFigures(r, run, log)
	return &limits{
		redis: r, figures: figures, exempt: exempt, recorder: recorder,
		connections: quota.NewConnections(calls, run, log),
		memberships: quota.NewMemberships(r, run, log),
		messages:    quota.NewMessages(r, figures, log),
		requests:    quota.NewRequests(r, figures, log),
		connects:    quota.NewConnects(r, figures, log),
		tokens:      quota.NewTokenIssues(r, figures, log),
		users:       quota.NewUsers(calls, run, figures, log),
		addresses:   quota.NewAddresses(figures),
		groups:      quota.NewGroups(figures),
		deliveries:  quota.NewDeliveries(r, figures, log),
	}
}

// use connects the limits with what the edge knows of tenants.
func (l *limits) use(g *registry, metrics *telemetry.EdgeMetrics) {
	l.metrics = metrics
	inForce := func(id tenants.ID) *tenants.Limits {
		t, ok := g.directory.Cached(id)
		if !ok {
			return nil
		}
		return t.LimitsAt(time.Now())
	}
	l.inForce, l.figures.Limits, l.deliveries.Limits = inForce, inForce, inForce
	l.figures.Open, l.figures.Joined = l.connections.Open, l.memberships.Joined
	l.figures.OnEvent = func(e quota.Event) {
		t, ok := g.directory.Cached(e.Tenant)
		r, known := tenants.Row(e.Limit)
		if ok && known && t.Status == tenants.Active {
			g.upstreams.TellLimit(t, upstream.LimitEvent{Reached: e.Reached, Limit: r.Refusal(t.LimitsAt(time.Now()), 0), Used: e.Used})
		}
	}
}

// runs are what has to run for as long as the edge does.
func (l *limits) runs() []func(context.Context) error {
	return []func(context.Context) error{
		l.connections.Run, l.memberships.Run, l.messages.Run, l.requests.Run, l.connects.Run, l.tokens.Run, l.deliveries.Run, l.figures.Run,
		func(ctx context.Context) error {
			<-ctx.Done()
			l.users.Wait()
			return nil
		},
	}
}

// refused counts a refusal for the tenant.
func (l *limits) refused(t tenants.ID, hub, code string) {
	l.recorder.Refused(t, hub, code)
	l.metrics.Refused(code)
	l.figures.Refused(t, code)
}

// mostConnections is how many connections a tenant gets before one is refused.
func mostConnections(t *tenants.Document, l *tenants.Limits) int {
	if t.Plan == "free" {
		return l.MaxConnections
	}
	return l.MaxConnections * softPercent / 100
}

// addressOf is the address that a request comes from; false where addresses aren't
// bounded, or it is none.
func (l *limits) addressOf(r *http.Request) (netip.Addr, bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	a := peer.Addr().Unmap()
	return a, !slices.ContainsFunc(l.exempt, func(p netip.Prefix) bool { return p.Contains(a) })
}

// begins reports whether a client's request is the first of a connection: it
// negotiates, or skips that.
func begins(r *http.Request) bool { return negotiation(r) || !queryOf(r).Has("id") }

// arrive judges the first request of a connection by its address, before its token is
// looked at.
func (l *limits) arrive(r *http.Request, t *tenants.Document, in *tenants.Limits) error {
	l.figures.Seen(t.ID)
	a, bounded := l.addressOf(r)
	if !bounded || !begins(r) {
		return nil
	}
	return l.addresses.Arrive(t.ID, a, in)
}

// who is how a client is known that may be kept out; remote is its host:port.
func who(remote, user string) string {
	if peer, err := netip.ParseAddrPort(remote); err == nil {
		remote = quota.Whole(peer.Addr()).String()
	}
	return quota.Who(user, remote)
}

// stranger is who made a request whose token hasn't been looked at.
func stranger(t tenants.ID, r *http.Request) quota.Refused {
	address := r.RemoteAddr
	if peer, err := netip.ParseAddrPort(address); err == nil {
		address = quota.Whole(peer.Addr()).String()
	}
	return quota.Refused{Tenant: t, Address: address}
}

// begin judges the first request of a connection when its token is known.
func (l *limits) begin(ctx context.Context, r *http.Request, t *tenants.Document, in *tenants.Limits, user string) error {
	if !begins(r) {
		return nil
	}
	if refusal := l.figures.KeptOut(t.ID, who(r.RemoteAddr, user)); refusal != nil {
		return refusal
	}
	return l.connects.Charge(ctx, t.ID, in, 1)
}

// peek says what admit is going to, where it can be known and read by clients.
func (l *limits) peek(ctx context.Context, t *tenants.Document, in *tenants.Limits, user string, settings tenants.HubSettings) error {
	if user != "" && settings.UserConnections != tenants.CloseOldest {
		if err := l.users.Full(ctx, t.ID, user, in); err != nil {
			return err
		}
	}
	return l.hard(in, l.connections.Check(ctx, t.ID, mostConnections(t, in)))
}

// newcomer is a connection that is to be admitted.
type newcomer struct {
	hub, id, user string
	r             *http.Request
}

// admit counts a connection until release is called. oldest are the connections of its
// user that have to go for it.
func (l *limits) admit(ctx context.Context, t *tenants.Document, in *tenants.Limits, n newcomer) (release func(), oldest []quota.UserConnection, err error) {
	var releases []func()
	releaseAll := func() {
		for _, f := range releases {
			f()
		}
	}
	if a, bounded := l.addressOf(n.r); bounded {
		f, err := l.addresses.Open(t.ID, a, in)
		if err != nil {
			return nil, nil, err
		}
		releases = append(releases, f)
	}
	f, err := l.connections.Admit(ctx, t.ID, mostConnections(t, in))
	if err != nil {
		releaseAll()
		return nil, nil, l.hard(in, err)
	}
	releases = append(releases, f)
	if tried := in.Tried; tried != nil && tried.MaxConnections > 0 && l.connections.Open(t.ID) > tried.MaxConnections {
		l.figures.Would(t.ID, "max_connections")
	}
	if n.user != "" {
		f, oldest, err = l.users.Admit(ctx, t.ID, n.user, in, t.Hubs[n.hub].UserConnections == tenants.CloseOldest, quota.UserConnection{Hub: n.hub, ID: n.id})
		if err != nil {
			releaseAll()
			return nil, nil, err
		}
		releases = append(releases, f)
	}
	return releaseAll, oldest, nil
}

// hard says the limit itself where a soft one was passed by all that it may be.
func (l *limits) hard(in *tenants.Limits, err error) error {
	var refusal *quota.Refusal
	if errors.As(err, &refusal) {
		refusal.Max = int64(in.MaxConnections)
	}
	return err
}

// publish judges a message to groups, or to whomever when there are none, before it is
// published.
func (l *limits) publish(ctx context.Context, t tenants.ID, hub string, in *tenants.Limits, groups []string) error {
	return l.groups.Charge(t, hub, groups, in, func() error { return l.deliveries.Admit(ctx, t, in) })
}

// closeOldest ends connections of a user that had to go for a new one.
func (c *clients) closeOldest(t *tenants.Document, oldest []quota.UserConnection, in *tenants.Limits) {
	row, _ := tenants.Row("max_connections_per_user")
	text := (&quota.Refusal{Limit: row.Refusal(in, 0)}).Error()
	for _, o := range oldest {
		c.limits.refused(t.ID, o.Hub, row.Code)
		e := &hubs.Entry{Kind: hubs.CloseConnections, Connections: []string{o.ID}, Reason: text}
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
			defer cancel()
			if _, err := c.hubs.backplane(t, o.Hub).Publish(ctx, e, hubs.PublishOptions{}); err != nil {
				c.hubs.log.Warn("oldest connection of a user not closed", "tenant_id", t.ID, "hub", o.Hub, "error", err)
			}
		}()
	}
}
