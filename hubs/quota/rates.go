package quota

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// NewMessages returns a limiter of messages for one edge; figures may be nil, there
// and in the others.
func NewMessages(r redis.UniversalClient, figures *Figures, log *slog.Logger) *Messages {
	m := newRate(r, figures, log, "messages_per_second")
	m.shared, m.self = true, rand.Text()
	return m
}

// NewRequests returns a limiter of REST requests, which cost Redis and the edges as
// much as messages do.
func NewRequests(r redis.UniversalClient, figures *Figures, log *slog.Logger) *Messages {
	return newRate(r, figures, log, "requests_per_second")
}

// NewConnects returns a limiter of new connections.
func NewConnects(r redis.UniversalClient, figures *Figures, log *slog.Logger) *Messages {
	return newRate(r, figures, log, "connects_per_second")
}

// NewTokenIssues returns a limiter of tokens that are issued.
func NewTokenIssues(r redis.UniversalClient, figures *Figures, log *slog.Logger) *Messages {
	return newRate(r, figures, log, "token_issues_per_second")
}

func newRate(r redis.UniversalClient, figures *Figures, log *slog.Logger, limit string) *Messages {
	named := func(name string) *Messages {
		return &Messages{redis: r, log: log, row: row(limit), now: time.Now, key: func(t tenants.ID) string { return redisclient.RateBucket(t, name) }}
	}
	m := named(limit)
	m.tried, m.figures = named(limit+":tried"), figures
	return m
}

// RateOf is the rate in l that the limiter is of.
func (m *Messages) RateOf(l *tenants.Limits) Rate {
	return Rate{PerSecond: m.row.Of(l), Burst: m.row.Burst(l)}
}

// Name is the limit's.
func (m *Messages) Name() string { return m.row.Name }

// Charge takes n out of the limit of l, as Take does. What a value that is only tried
// out would have refused is counted.
func (m *Messages) Charge(ctx context.Context, id tenants.ID, l *tenants.Limits, n int) error {
	return m.ChargeFor(ctx, id, l, n, nil)
}

// ChargeFor is Charge for one of those who divide the limit, as in TakeFor.
func (m *Messages) ChargeFor(ctx context.Context, id tenants.ID, l *tenants.Limits, n int, s *Share) error {
	if l.Tried != nil && m.row.Of(l.Tried) > 0 {
		tried := Rate{PerSecond: m.row.Of(l.Tried), Burst: m.row.Burst(l)}
		if depth := m.row.Of(l); tried.Burst == depth { // no bucket of its own: a second's worth
			tried.Burst = tried.PerSecond
		}
		var refusal *Refusal
		if errors.As(m.tried.Take(ctx, id, tried, n), &refusal) {
			m.figures.Would(id, m.row.Name)
		}
	}
	err := m.TakeFor(ctx, id, m.RateOf(l), n, s)
	if err == nil {
		m.figures.Use(id, m.row.Name, n)
	}
	return err
}

// no refuses something beyond a rate.
func (m *Messages) no(r Rate, after time.Duration) *Refusal {
	return refuse(m.row, r.PerSecond, r.depth(), after)
}
